package listfilter

import (
	"fmt"
	"strings"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mcpgate/mcpgate/registry"
)

const (
	listed  = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"get"},{"name":"hidden"},{"name":"list_all"}]}}`
	allowed = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"get"},{"name":"list_all"}]}}`
)

func failure(id string, code int, text string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%q}}`, id, code, text)
}

func unusable(id string) string {
	return failure(id, -32603, "The reply of the server could not be used.")
}

func unanswered(id string) string { return failure(id, -32603, "The request could not be answered.") }

type messages = []*extprocv3.ProcessingRequest

// passed is a reply that went through whole.
func passed(body string) answered {
	return answered{headers: true, removed: true, body: body, ended: true}
}

func refused(status int, body string) answered {
	return answered{immediate: status, body: body, contentType: "application/json"}
}

func TestReplies(t *testing.T) {
	t.Parallel()
	resume := about("inspect=resume", "method=", "id=")
	initialize := about("inspect=session", "method=initialize")
	bound := answered{headers: true, session: "bound.corp.alice.agent.weather", body: "{}", ended: true}
	forward := func(s *registry.Server) { s.Upstream.ForwardClientToken = true }
	for name, tc := range map[string]struct {
		config Config
		in     messages
		want   answered
	}{
		// JSON.
		"JSON in one piece":       {Config{}, messages{start(about(), false, ok, asJSON, sessionID), last(listed)}, passed(allowed)},
		"JSON, then an empty end": {Config{}, messages{start(about(), false, ok, asJSON), piece(listed), last("")}, passed(allowed)},
		"JSON in pieces":          {Config{}, messages{start(about(), false, ok, asJSON), piece(listed[:30]), piece(""), piece(listed[30:60]), last(listed[60:])}, passed(allowed)},
		"JSON with trailers": {
			Config{},
			messages{start(about(), false, ok, asJSON), piece(listed), endTrailer()},
			answered{headers: true, removed: true, body: allowed, trailers: true},
		},
		"JSON with a charset":        {Config{}, messages{start(about(), false, ok, `content-type= Application/JSON; charset="UTF-8"`), last(listed)}, passed(allowed)},
		"caller who sees everything": {Config{}, messages{start(about("scopes=weather:all"), false, ok, asJSON), last(listed)}, passed(listed)},
		"caller who sees nothing": {
			Config{},
			messages{start(about("scopes=other"), false, ok, asJSON), last(listed)},
			passed(`{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}`),
		},
		"caller without scopes": {
			Config{},
			messages{start(about("scopes="), false, ok, asJSON), last(listed)},
			passed(`{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}`),
		},
		"prompts": {
			Config{},
			messages{start(about("method=prompts/list"), false, ok, asJSON), last(reply1(`{"prompts":[{"name":"greet"},{"name":"hidden"}]}`))},
			passed(reply1(`{"prompts":[{"name":"greet"}]}`)),
		},
		"resources": {
			Config{},
			messages{start(about("method=resources/list"), false, ok, asJSON), last(reply1(`{"resources":[{"uri":"hidden://"},{"uri":"weather://a"}]}`))},
			passed(reply1(`{"resources":[{"uri":"weather://a"}]}`)),
		},
		"resource templates": {
			Config{},
			messages{start(about("method=resources/templates/list"), false, ok, asJSON), last(reply1(`{"resourceTemplates":[{"uriTemplate":"hidden://{a}"},{"uriTemplate":"weather://{a}"}]}`))},
			passed(reply1(`{"resourceTemplates":[{"uriTemplate":"weather://{a}"}]}`)),
		},
		"error with the id":    {Config{}, messages{start(about(), false, ok, asJSON), last(failure("1", -32602, "bad cursor"))}, passed(failure("1", -32602, "bad cursor"))},
		"error with id null":   {Config{}, messages{start(about(), false, ok, asJSON), last(failure("null", -32700, "x"))}, passed(failure("null", -32700, "x"))},
		"error of another":     {Config{}, messages{start(about(), false, ok, asJSON), last(failure("2", -32602, "x"))}, refused(502, unusable("1"))},
		"string id":            {Config{}, messages{start(about(`id="a<b"`), false, ok, asJSON), last(`{"id":"a\u003cb","result":{}}`)}, passed(`{"id":"a\u003cb","result":{}}`)},
		"another id":           {Config{}, messages{start(about("id=2"), false, ok, asJSON), last(listed)}, refused(502, unusable("2"))},
		"id of another type":   {Config{}, messages{start(about(`id="1"`), false, ok, asJSON), last(listed)}, refused(502, unusable(`"1"`))},
		"request without id":   {Config{}, messages{start(about("id="), false, ok, asJSON), last(listed)}, refused(502, unusable("null"))},
		"server's request":     {Config{}, messages{start(about(), false, ok, asJSON), last(`{"id":1,"method":"ping"}`)}, refused(502, unusable("1"))},
		"batch":                {Config{}, messages{start(about(), false, ok, asJSON), last("[" + listed + "]")}, refused(502, unusable("1"))},
		"malformed":            {Config{}, messages{start(about(), false, ok, asJSON), last(listed[1:])}, refused(502, unusable("1"))},
		"truncated":            {Config{}, messages{start(about(), false, ok, asJSON), piece(listed[:50]), last("")}, refused(502, unusable("1"))},
		"empty":                {Config{}, messages{start(about(), false, ok, asJSON), last("")}, refused(502, unusable("1"))},
		"no body":              {Config{}, messages{start(about(), true, ok, asJSON)}, refused(502, unusable("1"))},
		"folded":               {Config{}, messages{start(about(), false, ok, asJSON), last(strings.Replace(listed, "tools", "Tools", 1))}, refused(502, unusable("1"))},
		"at the size limit":    {Config{MaxReplyBytes: len(listed)}, messages{start(about(), false, ok, asJSON), piece(listed[:9]), last(listed[9:])}, passed(allowed)},
		"above the size limit": {Config{MaxReplyBytes: len(listed) - 1}, messages{start(about(), false, ok, asJSON), piece(listed[:9]), last(listed[9:])}, refused(502, unusable("1"))},
		"too many items":       {Config{MaxItems: 2}, messages{start(about(), false, ok, asJSON), last(listed)}, refused(502, unusable("1"))},
		"held bytes used up":   {Config{MaxHeldBytes: 9}, messages{start(about(), false, ok, asJSON), last(listed)}, refused(502, unusable("1"))},

		// Status and type.
		"202":                      {Config{}, messages{start(about(), true, ":status= 202", sessionID)}, answered{headers: true, removed: true}},
		"202 with a body":          {Config{}, messages{start(about(), false, ":status= 202"), piece("hidden"), last("")}, passed("")},
		"204 with trailers":        {Config{}, messages{start(about(), false, ":status= 204"), endTrailer()}, answered{headers: true, removed: true, trailers: true}},
		"no content type":          {Config{}, messages{start(about(), false, ok), last(listed)}, refused(502, unusable("1"))},
		"HTML":                     {Config{}, messages{start(about(), false, ok, "content-type= text/html"), last(listed)}, refused(502, unusable("1"))},
		"two content types":        {Config{}, messages{start(about(), false, ok, asJSON, asEvents), last(listed)}, refused(502, unusable("1"))},
		"another charset":          {Config{}, messages{start(about(), false, ok, asJSON+"; charset=utf-7"), last(listed)}, refused(502, unusable("1"))},
		"compressed":               {Config{}, messages{start(about(), false, ok, asJSON, "content-encoding= gzip"), last("x")}, refused(502, unusable("1"))},
		"compressed events":        {Config{}, messages{start(about(), false, ok, asEvents, "content-encoding= br"), last("x")}, refused(502, unusable("1"))},
		"no status":                {Config{}, messages{start(about(), false, asJSON), last(listed)}, refused(502, unusable("1"))},
		"upstream's 401":           {Config{}, messages{start(about(), false, ":status= 401", asJSON), last("{}")}, refused(502, unusable("1"))},
		"upstream's 403":           {Config{}, messages{start(about(), true, ":status= 403")}, refused(502, unusable("1"))},
		"upstream's 407":           {Config{}, messages{start(about(), true, ":status= 407")}, refused(502, unusable("1"))},
		"redirect":                 {Config{}, messages{start(about(), true, ":status= 307")}, refused(502, unusable("1"))},
		"forwarded token: 401":     {Config{Policies: weather(forward)}, messages{start(about(), true, ":status= 401")}, refused(401, unanswered("1"))},
		"forwarded token: 307":     {Config{Policies: weather(forward)}, messages{start(about(), true, ":status= 307")}, refused(502, unusable("1"))},
		"404 without a body":       {Config{}, messages{start(about(), true, ":status= 404")}, refused(404, failure("1", -32001, "Not found."))},
		"404 as text":              {Config{}, messages{start(about(), false, ":status= 404", "content-type= text/plain"), piece("hid"), last("den")}, replaced(failure("1", -32001, "Not found."))},
		"404 as JSON":              {Config{}, messages{start(about(), false, ":status= 404", asJSON), last(failure("1", -32601, "x"))}, passed(failure("1", -32601, "x"))},
		"404 as other JSON":        {Config{}, messages{start(about(), false, ":status= 404", asJSON), last(`{"detail":"hidden"}`)}, replaced(failure("1", -32001, "Not found."))},
		"404 compressed":           {Config{}, messages{start(about(), false, ":status= 404", asJSON, "content-encoding= gzip"), last("x")}, refused(404, failure("1", -32001, "Not found."))},
		"400 with id null":         {Config{}, messages{start(about(), false, ":status= 400", asJSON), last(failure("null", -32000, "no session"))}, passed(failure("null", -32000, "no session"))},
		"400 that carries a list":  {Config{}, messages{start(about(), false, ":status= 400", asJSON), last(listed)}, passed(allowed)},
		"500 too large":            {Config{MaxReplyBytes: 3}, messages{start(about(), false, ":status= 500", asJSON), last(listed)}, refused(500, unanswered("1"))},
		"503 as text and trailers": {Config{}, messages{start(about(), false, ":status= 503"), piece("hidden"), endTrailer()}, answered{headers: true, removed: true, contentType: "application/json", body: unanswered("1"), trailers: true}},
		"status Envoy cannot send": {Config{}, messages{start(about(), true, ":status= 599")}, refused(502, unusable("1"))},
		"status outside HTTP":      {Config{}, messages{start(about(), true, ":status= 999")}, refused(502, unusable("1"))},

		// Events.
		"events":               {Config{}, messages{start(about(), false, ok, asEvents, sessionID), piece("id: 1\r\ndata: \r\n\r\nid: 2\rdata: "), piece(listed), piece("\n\n"), last("")}, passed("id: 1\ndata: \n\nid: 2\ndata: " + allowed + "\n\n")},
		"events with trailers": {Config{}, messages{start(about(), false, ok, asEvents), piece("data: " + listed + "\n\n"), endTrailer()}, answered{headers: true, removed: true, body: "data: " + allowed + "\n\n", trailers: true}},
		"events, none":         {Config{}, messages{start(about(), true, ok, asEvents)}, answered{headers: true, removed: true}},
		"event over lines":     {Config{}, messages{start(about(), false, ok, asEvents), last("data: " + listed[:16] + "\ndata: " + strings.Replace(listed[16:], ",{", "\ndata: ,{", 1) + "\n\n")}, answered{headers: true, removed: true, body: "data: " + allowed[:16] + "\ndata: " + allowed[16:] + "\n\n", ended: true}},
		"event unfinished":     {Config{}, messages{start(about(), false, ok, asEvents), last(": c\n\ndata: " + listed + "\n")}, passed(": c\n\n")},
		"events that are not replies": {
			Config{},
			messages{start(about(), false, ok, asEvents), last("event: message\ndata: {\"method\":\"notifications/progress\"}\n\nretry: 5\n\n")},
			passed("event: message\ndata: {\"method\":\"notifications/progress\"}\n\nretry: 5\n\n"),
		},
		"event of another request": {Config{}, messages{start(about("id=7"), false, ok, asEvents), last("event: message\nid: 9\ndata: " + listed + "\n\ndata: " + listed + "\n\n")}, passed("id: 9\n\n")},
		"event with an error":      {Config{}, messages{start(about(), false, ok, asEvents), last("data: " + failure("1", 1, "x") + "\n\n")}, passed("data: " + failure("1", 1, "x") + "\n\n")},
		"event with id null":       {Config{}, messages{start(about(), false, ok, asEvents), last("data: " + failure("null", 1, "x") + "\n\n")}, passed("")},
		"error status with events": {Config{}, messages{start(about(), false, ":status= 500", asEvents), last("data: " + listed + "\n\n")}, passed("data: " + allowed + "\n\n")},

		// Replays.
		"replay": {
			Config{},
			messages{start(resume, false, ok, asEvents, sessionID), last("id: 3\ndata: " + listed + "\n\ndata: " + strings.Replace(listed, `"id":1`, `"id":"x"`, 1) + "\n\n")},
			passed("id: 3\ndata: " + allowed + "\n\ndata: " + strings.Replace(allowed, `"id":1`, `"id":"x"`, 1) + "\n\n"),
		},
		"replay of other things": {
			Config{},
			messages{start(resume, false, ok, asEvents), last("data: {\"id\":1,\"result\":{\"content\":[]}}\n\ndata: {\"method\":\"m\"}\n\n")},
			passed("data: {\"id\":1,\"result\":{\"content\":[]}}\n\ndata: {\"method\":\"m\"}\n\n"),
		},
		"replay as JSON": {Config{}, messages{start(resume, false, ok, asJSON), last(listed)}, passed(allowed)},
		"replay refused": {Config{}, messages{start(resume, true, ":status= 405")}, refused(405, unanswered("null"))},

		// Sessions.
		"initialize":                  {Config{}, messages{start(initialize, false, ok, asJSON, sessionID), piece("{"), last("}")}, bound},
		"initialize, headers only":    {Config{}, messages{start(initialize, true, ok, asJSON, sessionID)}, answered{headers: true, session: bound.session}},
		"initialize with trailers":    {Config{}, messages{start(initialize, false, ok, asEvents, sessionID), piece("{}"), endTrailer()}, answered{headers: true, session: bound.session, body: "{}", trailers: true}},
		"initialize without session":  {Config{}, messages{start(initialize, false, ok, asJSON), last("{}")}, passed("{}")},
		"initialize in 200 KiB":       {Config{}, messages{start(initialize, false, ok, asJSON), last(strings.Repeat("x", 200<<10))}, passed(strings.Repeat("x", 200<<10))},
		"initialize compressed":       {Config{}, messages{start(initialize, false, ok, asJSON, "content-encoding= gzip"), last("x")}, passed("x")},
		"initialize accepted":         {Config{}, messages{start(initialize, false, ":status= 202", sessionID), last("x")}, answered{headers: true, session: bound.session, ended: true}},
		"initialize: unwrappable":     {Config{}, messages{start(initialize, false, ok, asJSON, "mcp-session-id= unwrappable"), last("{}")}, refused(502, unusable("1"))},
		"initialize: two ids":         {Config{}, messages{start(initialize, false, ok, asJSON, sessionID, sessionID), last("{}")}, refused(502, unusable("1"))},
		"initialize: empty id":        {Config{}, messages{start(initialize, false, ok, asJSON, "mcp-session-id= "), last("{}")}, refused(502, unusable("1"))},
		"initialize: 401":             {Config{}, messages{start(initialize, false, ":status= 401", asJSON), last("{}")}, refused(502, unusable("1"))},
		"initialize: 400 as JSON":     {Config{}, messages{start(initialize, false, ":status= 400", asJSON, sessionID), last("{}")}, passed("{}")},
		"initialize: 400 as text":     {Config{}, messages{start(initialize, false, ":status= 400"), last("x")}, replaced(unanswered("1"))},
		"initialize: panic, no leak":  {Config{}, messages{start(initialize, false, ok, asJSON, "mcp-session-id= panics"), last("{}")}, refused(502, unusable("1"))},
		"session id never without it": {Config{}, messages{start(resume, false, ok, asEvents, sessionID, sessionID), last("")}, passed("")},

		// Decisions.
		"no metadata":              {Config{}, messages{start(nil, false, ok, asJSON), last(listed)}, refused(500, unanswered("null"))},
		"no mode":                  {Config{}, messages{start(about("inspect="), false, ok, asJSON), last(listed)}, refused(500, unanswered("1"))},
		"mode none":                {Config{}, messages{start(about("inspect=none"), false, ok, asJSON), last(listed)}, refused(500, unanswered("1"))},
		"mode of another version":  {Config{}, messages{start(about("inspect=LIST"), false, ok, asJSON), last(listed)}, refused(500, unanswered("1"))},
		"no server":                {Config{}, messages{start(about("server="), false, ok, asJSON), last(listed)}, refused(500, unanswered("1"))},
		"route of another server":  {Config{}, messages{start(about("route=inspect:weather2@3"), false, ok, asJSON), last(listed)}, refused(500, unanswered("1"))},
		"plain route":              {Config{}, messages{start(about("route=plain:weather@3"), false, ok, asJSON), last(listed)}, refused(500, unanswered("1"))},
		"odd generation":           {Config{}, messages{start(about("route=inspect:weather@3x"), false, ok, asJSON), last(listed)}, refused(500, unanswered("1"))},
		"no subject":               {Config{}, messages{start(about("subject="), false, ok, asJSON), last(listed)}, refused(500, unanswered("1"))},
		"no issuer":                {Config{}, messages{start(about("issuer="), false, ok, asJSON), last(listed)}, refused(500, unanswered("1"))},
		"no method":                {Config{}, messages{start(about("method="), false, ok, asJSON), last(listed)}, refused(500, unanswered("1"))},
		"method of no list":        {Config{}, messages{start(about("method=tools/call"), false, ok, asJSON), last(listed)}, refused(500, unanswered("1"))},
		"method of no session":     {Config{}, messages{start(about("inspect=session"), false, ok, asJSON), last(listed)}, refused(500, unanswered("1"))},
		"id that is no id":         {Config{}, messages{start(about("inspect=none", `id={"a":1}`), false, ok, asJSON), last(listed)}, refused(500, unanswered("null"))},
		"id that is no JSON":       {Config{}, messages{start(about("inspect=none", `id="a",`), false, ok, asJSON), last(listed)}, refused(500, unanswered("null"))},
		"unknown server":           {Config{}, messages{start(about("server=x", "route=inspect:x@3"), false, ok, asJSON), last(listed)}, refused(502, unusable("1"))},
		"disabled server":          {Config{Policies: weather(func(s *registry.Server) { s.Enabled = new(bool) })}, messages{start(about(), false, ok, asJSON), last(listed)}, refused(502, unusable("1"))},
		"generation gone":          {Config{}, messages{start(about("route=inspect:weather@2"), false, ok, asJSON), last(listed)}, refused(502, unusable("1"))},
		"first message is a body":  {Config{}, messages{last(listed)}, refused(500, unanswered("null"))},
		"headers twice, held":      {Config{}, messages{start(about(), false, ok, asJSON), start(about(), false, ok, asJSON)}, refused(502, unusable("1"))},
		"headers twice, no header": {Config{}, messages{start(about(), false, ok), start(about(), false, ok)}, refused(502, unusable("1"))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := treat(t, newServer(t, tc.config), tc.in...)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(answered{}), cmpopts.EquateErrors()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestRefusalsNameTheirRule are the rules that are about more than the body:
// each refuses, and is counted under its own id.
func TestRefusalsNameTheirRule(t *testing.T) {
	t.Parallel()
	initialize := about("inspect=session", "method=initialize")
	for rule, in := range map[string]messages{
		"reply-no-decision":      {start(nil, false, ok, asJSON), last(listed)},
		"reply-server-gone":      {start(about("route=inspect:weather@2"), false, ok, asJSON), last(listed)},
		"reply-protocol":         {start(about(), false, ok, asJSON), start(about(), false, ok, asJSON)},
		"reply-status":           {start(about(), true, ":status= 307")},
		"reply-content-type":     {start(about(), false, ok, "content-type= text/html"), last(listed)},
		"reply-content-encoding": {start(about(), false, ok, asJSON, "content-encoding= gzip"), last("x")},
		"reply-session-id":       {start(initialize, false, ok, asJSON, "mcp-session-id= unwrappable"), last("{}")},
		"reply-internal":         {start(initialize, false, ok, asJSON, "mcp-session-id= panics"), last("{}")},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, Config{})
			treat(t, s, in...)
			m := s.Metrics()
			if diff := cmp.Diff(map[string]uint64{rule: 1}, m.Refused); diff != "" {
				t.Errorf("refused (-want +got)\n%s", diff)
			}
			if m.Unchanged+m.Changed+m.Aborted != 0 {
				t.Errorf("a refused reply is counted as one that passed: %+v", m)
			}
		})
	}
}

func replaced(body string) answered {
	return answered{headers: true, removed: true, contentType: "application/json", body: body, ended: true}
}

// TestCutStreams are the replies that are refused when their headers are out:
// what was sent before is filtered, and the stream ends with an error.
func TestCutStreams(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		config Config
		in     messages
		want   string
		why    reason
	}{
		"batch in an event":     {Config{}, messages{piece("data: " + listed + "\n\n"), piece("data: [" + listed + "]\n\n")}, "data: " + allowed + "\n\n", reasonShape},
		"unparsable event":      {Config{}, messages{piece("data: " + listed + "\n\n"), piece("data: /mcp?hidden\n\n")}, "data: " + allowed + "\n\n", reasonSyntax},
		"duplicate in an event": {Config{}, messages{piece(`data: {"id":1,"id":1,"result":{}}` + "\n\n")}, "", reasonDuplicate},
		"folded in an event":    {Config{}, messages{piece(`data: {"id":1,"RESULT":{}}` + "\n\n")}, "", reasonFolded},
		"no message":            {Config{}, messages{piece("data: {}\n\n")}, "", reasonShape},
		"event too large":       {Config{MaxReplyBytes: 50}, messages{piece("data: {}"), piece(strings.Repeat(" ", 50))}, "", reasonSize},
		"too many items":        {Config{MaxItems: 2}, messages{piece("data: " + listed + "\n\n")}, "", reasonItems},
		"held bytes used up":    {Config{MaxHeldBytes: 50}, messages{piece("data: {}"), piece(strings.Repeat(" ", 50))}, "", reasonBudget},
		"headers twice":         {Config{}, messages{start(about(), false, ok, asEvents)}, "", reasonProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := treat(t, newServer(t, tc.config), append(messages{start(about(), false, ok, asEvents)}, tc.in...)...)
			if got.body != tc.want || got.ended || got.trailers || !cutWith(got.err, tc.why) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestRulesAreDistinct(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, id := range Rules() {
		if seen[id] || !strings.HasPrefix(id, "reply-") {
			t.Errorf("rule %q", id)
		}
		seen[id] = true
	}
}
