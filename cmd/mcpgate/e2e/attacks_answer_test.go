package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// The messages of Envoy's own refusals.
const (
	noDecision    = "no authorization decision for this server"
	noAuthz       = "authorization service unavailable"
	noSuchServer  = "no such MCP server"
	gatewayFailed = "gateway error"
)

// answerRow is an answer of the decision service that the real one never
// gives, and what must become of the request.
type answerRow struct {
	name   string
	answer script
	status int
	// message is that of the JSON-RPC error; "" when the body is the script's.
	message string
	// arrives says that the request gets to the upstream.
	arrives bool
	// verb is POST when empty.
	verb string
	// edits of the request.
	edits []string
	// more checks what else there is to see.
	more func(t *testing.T, o outcome, got []seen)
}

// TestFaultyAnswers is E2 §0 F2, F3, F5, F9, F10, F11, F19, E2 §3 and §4, and
// E6 §3 row 2: whatever the decision service answers, only an allow for this
// server and this generation reaches the upstream.
func TestFaultyAnswers(t *testing.T) {
	t.Parallel()
	s := startScripted(t, nil, mcpServer("a", 3), mcpServer("b", 5), mcpServer("framing", 3))
	number := 0
	for _, table := range []struct {
		name string
		rows []answerRow
	}{
		{"no decision", noDecisionRows()},
		{"mutation", mutationRows()},
		{"error", errorRows()},
		{"denied", deniedRows()},
		{"allowed", allowedRows()},
	} {
		t.Run(table.name, func(t *testing.T) {
			for _, r := range table.rows {
				number++
				id := fmt.Sprintf("answer-%d", number)
				t.Run(r.name, func(t *testing.T) { s.checkAnswerRow(t, id, r) })
			}
		})
	}
	if n := s.envoy.Counter("cluster.no-decision.upstream_cx_none_healthy"); n != int64(len(noDecisionRows())) {
		t.Errorf("the alarm counter is %d, want %d", n, len(noDecisionRows()))
	}
	t.Run("F9: content-length of authz breaks the framing: why the list of check.allow is closed", s.testFraming)
	for row, n := range s.upstream.rows() {
		if n != 1 || row == "" {
			t.Errorf("the upstream got %d requests of row %q: %+v", n, row, s.upstream.of(row))
		}
	}
}

func (s *scripted) checkAnswerRow(t *testing.T, id string, r answerRow) {
	t.Helper()
	s.authz.set(id, r.answer)
	verb, body := r.verb, goodCall
	if verb == "" {
		verb = http.MethodPost
	}
	if verb != http.MethodPost {
		body = ""
	}
	req := row{http1: request1(verb, "/a/mcp", append([]string{"X-Script: {case}", "Origin: " + pageOrigin}, r.edits...)...), body: body}
	o := exchange1(s.address, req.fill(req.http1, id, "client-token")+body, 1)[0]
	if o.status != r.status {
		t.Fatalf("answer %d %s %s %v, want %d", o.status, o.end, o.body, o.header, r.status)
	}
	if r.message != "" {
		checkRefusal(t, o)
		if !strings.Contains(o.body, `"`+r.message+`"`) {
			t.Errorf("answer %d: %s, want %q", o.status, o.body, r.message)
		}
		if o.status == http.StatusServiceUnavailable && o.header.Get("Retry-After") != "1" {
			t.Errorf("answer 503 has retry-after %q", o.header.Get("Retry-After"))
		}
		if got := o.header.Get("Access-Control-Allow-Origin"); got != pageOrigin {
			t.Errorf("answer %d allows the origin %q", o.status, got)
		}
	}
	got := s.upstream.of(id)
	if r.arrives != (len(got) == 1) {
		t.Fatalf("the upstream got %+v, want a request: %t", got, r.arrives)
	}
	if n := len(s.authz.of(id)); n != 1 {
		t.Errorf("authz was asked %d times", n)
	}
	if r.more != nil {
		r.more(t, o, got)
	}
}

// routeValue is an allow whose metadata `route` is any value.
func routeValue(v *structpb.Value) script {
	return permitting(func(m *authv3.CheckResponse) { m.DynamicMetadata.Fields["route"] = v })
}

func routeText(s string) script { return routeValue(structpb.NewStringValue(s)) }

// noDecisionRows are answers that Envoy takes for an allow and that are none
// for this server: the request stays on the dead end.
func noDecisionRows() []answerRow {
	bytes := func(b ...byte) script {
		return func(context.Context, *authv3.CheckRequest) ([]byte, error) { return b, nil }
	}
	rows := []answerRow{
		{name: "F2: empty message", answer: bytes()},
		{name: "F2: nil response", answer: always(nil)},
		{name: "F2: zero response", answer: always(&authv3.CheckResponse{})},
		{name: "F2: unknown fields only", answer: bytes(0x98, 0x06, 0x01)},
		{name: "F2: status alone", answer: always(&authv3.CheckResponse{Status: &rpcstatus.Status{}})},
		{name: "F3: code 0 beats denied_response", answer: always(&authv3.CheckResponse{
			Status: &rpcstatus.Status{}, HttpResponse: deniedWith(403, "denied"),
		})},
		{name: "F3: code 0 beats error_response", answer: always(&authv3.CheckResponse{
			Status:       &rpcstatus.Status{},
			HttpResponse: &authv3.CheckResponse_ErrorResponse{ErrorResponse: &authv3.DeniedHttpResponse{Status: &typev3.HttpStatus{Code: 500}}},
		})},
		{name: "F3: code 0 and denied_response with the right metadata, no header change", answer: permitting(func(m *authv3.CheckResponse) {
			m.HttpResponse = deniedWith(403, "denied")
		})},
		{name: "E6 row 2: wrong server", answer: routeText("plain:b@5")},
		{name: "E6 row 2: generation + 1", answer: routeText("plain:a@4")},
		{name: "E6 row 2: generation - 1", answer: routeText("plain:a@2")},
		{name: "E6 row 2: no metadata", answer: permitting(func(m *authv3.CheckResponse) { m.DynamicMetadata = nil })},
		{name: "E6 row 2: metadata without route", answer: permitting(func(m *authv3.CheckResponse) {
			m.DynamicMetadata.Fields = map[string]*structpb.Value{"server": structpb.NewStringValue("a"), "decision": structpb.NewStringValue("allow")}
		})},
		{name: "E6 row 2: metadata without a header change", answer: permitting(func(m *authv3.CheckResponse) {
			m.HttpResponse = &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}}
		})},
		{name: "E6 row 2: route is a number", answer: routeValue(structpb.NewNumberValue(3))},
		{name: "E6 row 2: route is a list", answer: routeValue(structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewStringValue("plain:a@3")}}))},
		{name: "E6 row 2: route is an object", answer: routeValue(structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"route": structpb.NewStringValue("plain:a@3")}}))},
	}
	for _, text := range []string{"", "plain", "plain:a", "plain:a@", "a@3", "PLAIN:a@3", "plain:A@3", "plain:a@3 ", " plain:a@3", "plain:a@03", "plain:a@33", "plain:a@3\x00", "no-decision:a@3", "plain-forward:a@3"} {
		rows = append(rows, answerRow{name: fmt.Sprintf("E6 row 2: route %q", text), answer: routeText(text)})
	}
	for i := range rows {
		rows[i].status, rows[i].message = http.StatusServiceUnavailable, noDecision
	}
	return rows
}

// mutationRows are allows that would change what was decided about.
func mutationRows() []answerRow {
	set := func(name, value string) script {
		return permitting(func(m *authv3.CheckResponse) {
			ok := m.GetOkResponse()
			ok.Headers = append(ok.Headers, overwrite(name, value))
		})
	}
	var rows []answerRow
	for _, h := range []field{
		{":path", "/b/mcp"},
		{":method", "DELETE"},
		{":scheme", "https"},
		{":authority", "evil.test"},
		{"host", "evil.test"},
		{"x-note", "a\r\nx-mcpgate-subject: eve"},
		{"x-note", "a\x00b"},
		{"x-note", "a\nb"},
		{"x note", "a"},
		{"x-note:", "a"},
		{"x-note\r\nx-mcpgate-subject", "eve"},
	} {
		rows = append(rows, answerRow{name: fmt.Sprintf("E6 row 2: %q set to %q", h.name, h.value), answer: set(h.name, h.value)})
	}
	for _, name := range []string{":path", "host", ":method"} {
		rows = append(rows, answerRow{name: fmt.Sprintf("E2 §4: %q removed", name), answer: permitting(func(m *authv3.CheckResponse) {
			m.GetOkResponse().HeadersToRemove = []string{name}
		})})
	}
	for i := range rows {
		rows[i].status, rows[i].message = http.StatusServiceUnavailable, noAuthz
	}
	return rows
}

// errorRows are no answers at all, or answers that come too late.
func errorRows() []answerRow {
	rows := []answerRow{
		{name: "E6 row 2: not a protobuf", answer: func(context.Context, *authv3.CheckRequest) ([]byte, error) {
			return []byte("HTTP/1.1 200 OK\r\n\r\n"), nil
		}},
		{name: "E2 §6: cut protobuf of an allow", answer: func(_ context.Context, req *authv3.CheckRequest) ([]byte, error) {
			b, err := proto.Marshal(permit(routeOf(req)))
			return b[:len(b)-3], err
		}},
		{name: "E2 §6: random bytes", answer: func(context.Context, *authv3.CheckRequest) ([]byte, error) {
			source := rand.New(rand.NewPCG(1, 2))
			b := make([]byte, 64)
			for i := range b {
				b[i] = byte(source.Uint32() | 7) // wire type 7 exists in no field
			}
			return b, nil
		}},
		{name: "E6 row 2: no answer within the timeout", answer: func(ctx context.Context, _ *authv3.CheckRequest) ([]byte, error) {
			<-ctx.Done()
			return nil, status.FromContextError(ctx.Err()).Err()
		}},
	}
	for _, code := range []codes.Code{codes.Unknown, codes.Unavailable, codes.DeadlineExceeded, codes.PermissionDenied, codes.Unauthenticated, codes.Internal, codes.Canceled, codes.ResourceExhausted} {
		rows = append(rows, answerRow{name: "E6 row 2: gRPC error " + code.String(), answer: func(context.Context, *authv3.CheckRequest) ([]byte, error) {
			return nil, status.Error(code, "unix:/run/authz.sock: secret detail")
		}})
	}
	for i := range rows {
		rows[i].status, rows[i].message = http.StatusServiceUnavailable, noAuthz
	}
	return rows
}

func deniedWith(code int, body string, headers ...*corev3.HeaderValueOption) *authv3.CheckResponse_DeniedResponse {
	return &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
		Status: &typev3.HttpStatus{Code: typev3.StatusCode(code)}, Headers: headers, Body: body,
	}}
}

// deniedRows are E2 §3 and F19: refusals of any form are refusals.
func deniedRows() []answerRow {
	deny := func(code int, body string, headers ...*corev3.HeaderValueOption) script {
		return always(&authv3.CheckResponse{Status: &rpcstatus.Status{Code: 7}, HttpResponse: deniedWith(code, body, headers...)})
	}
	header := func(name string, want ...string) func(*testing.T, outcome, []seen) {
		return func(t *testing.T, o outcome, _ []seen) {
			t.Helper()
			if got := o.header.Values(name); !slices.Equal(got, want) {
				t.Errorf("answer has %s %q, want %q", name, got, want)
			}
		}
	}
	body := func(want string) func(*testing.T, outcome, []seen) {
		return func(t *testing.T, o outcome, _ []seen) {
			t.Helper()
			if o.body != want {
				t.Errorf("body of %d bytes, want %d", len(o.body), len(want))
			}
		}
	}
	appended := overwrite("www-authenticate", "Basic")
	appended.AppendAction = corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
	large := strings.Repeat("x", 20_000)
	rows := []answerRow{
		{name: "E2 §3: code 7 alone", answer: always(&authv3.CheckResponse{Status: &rpcstatus.Status{Code: 7}}), status: 403},
		{name: "E2 §3: code 7 beats ok_response", answer: permitting(func(m *authv3.CheckResponse) { m.Status.Code = 7 }), status: 403},
		{name: "E2 §3: code that nobody knows", answer: permitting(func(m *authv3.CheckResponse) { m.Status.Code = 4711 }), status: 403},
		{name: "E2 §3: negative code", answer: permitting(func(m *authv3.CheckResponse) { m.Status.Code = -1 }), status: 403},
		{name: "E2 §3: no status", answer: always(&authv3.CheckResponse{Status: &rpcstatus.Status{Code: 7}, HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{Body: "no"}}}), status: 403, more: body("no")},
		{name: "E2 §3: content type", answer: deny(401, "{}", overwrite("content-type", "application/json")), status: 401, more: header("Content-Type", "application/json")},
		{name: "E2 §3: no content type", answer: deny(401, "no"), status: 401, more: header("Content-Type", "text/plain")},
		{name: "E2 §3: two challenges", answer: deny(401, "no", overwrite("www-authenticate", "Bearer"), appended), status: 401, more: header("Www-Authenticate", "Bearer", "Basic")},
		{name: "E2 §3: large body", answer: deny(403, large), status: 403, more: body(large)},
		{name: "E2 §3: content-length of authz", answer: deny(403, "denied", overwrite("content-length", "3"), overwrite("transfer-encoding", "chunked")), status: 403, more: body("denied")},
		{name: "E2 §3: :status of authz", answer: deny(403, "denied", overwrite(":status", "200")), status: 403},
		{name: "E2 §3: HEAD", answer: deny(403, "denied"), status: 403, verb: "HEAD", more: body("")},
		{name: "E2 §3: line break in a header", answer: deny(403, "denied", overwrite("x-note", "a\r\nset-cookie: a=1")), status: 503, message: noAuthz},
		{name: "E2 §3: space in a header's name", answer: deny(403, "denied", overwrite("x note", "a")), status: 503, message: noAuthz},
		{name: "E2 §3: error_response without a status", answer: always(&authv3.CheckResponse{Status: &rpcstatus.Status{Code: 13}, HttpResponse: &authv3.CheckResponse_ErrorResponse{ErrorResponse: &authv3.DeniedHttpResponse{Body: "stack"}}}), status: 503, message: noAuthz},
		{name: "F10: raw_value is not sent", answer: always(&authv3.CheckResponse{Status: &rpcstatus.Status{Code: 7}, HttpResponse: deniedWith(401, "no", &corev3.HeaderValueOption{
			Header: &corev3.HeaderValue{Key: "www-authenticate", RawValue: []byte("Bearer")}, AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})}), status: 401, more: header("Www-Authenticate", "")},
	}
	for _, code := range []int{200, 201, 202, 400, 404, 405, 409, 413, 415, 429, 500, 503} {
		rows = append(rows, answerRow{name: fmt.Sprintf("E2 §3, F19: %d with JSON", code), answer: deny(code, "{}", overwrite("content-type", "application/json")), status: code, more: body("{}")})
	}
	return rows
}

// allowedRows are E2 §4: what an allow does to the headers, which package
// check relies on.
func allowedRows() []answerRow {
	change := func(f func(*authv3.OkHttpResponse)) script {
		return permitting(func(m *authv3.CheckResponse) { f(m.GetOkResponse()) })
	}
	got := func(name, want string) func(*testing.T, outcome, []seen) {
		return func(t *testing.T, _ outcome, s []seen) {
			t.Helper()
			if v := s[0].one(name); v != want {
				t.Errorf("the upstream got %s %q, want %q", name, v, want)
			}
		}
	}
	set := func(h *corev3.HeaderValueOption) script {
		return change(func(ok *authv3.OkHttpResponse) { ok.Headers = append(ok.Headers, h) })
	}
	rows := []answerRow{
		{name: "the right answer", answer: good},
		{name: "E2 §4: all of a name are replaced", answer: set(overwrite("mcp-name", "x")), edits: []string{"Mcp-Name: 1", "Mcp-Name: 2"}, more: got("mcp-name", "x")},
		{name: "E2 §4: the content type is replaced", answer: good, edits: []string{"Content-Type: text/plain"}, more: got("content-type", "application/json")},
		{name: "E2 §4: the token is replaced", answer: set(overwrite("authorization", "Bearer upstream")), more: got("authorization", "Bearer upstream")},
		{name: "E2 §4: removal in any case, all copies", answer: change(func(ok *authv3.OkHttpResponse) { ok.HeadersToRemove = []string{"X-NOTE"} }), edits: []string{"x-note: 1", "X-Note: 2"}, more: got("x-note", "(absent)")},
		{name: "E2 §4: UTF-8 passes", answer: set(overwrite("x-mcpgate-subject", "jörg")), more: got("x-mcpgate-subject", "jörg")},
		{name: "F10: raw_value becomes an empty value", answer: set(&corev3.HeaderValueOption{
			Header: &corev3.HeaderValue{Key: "authorization", RawValue: []byte("Bearer upstream")}, AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}), more: got("authorization", "")},
		{name: "F11: a name both set and removed is removed", answer: change(func(ok *authv3.OkHttpResponse) {
			ok.Headers = append(ok.Headers, overwrite("authorization", "Bearer upstream"))
			ok.HeadersToRemove = []string{"authorization"}
		}), more: got("authorization", "(absent)")},
		{name: "E2 §3: headers for the answer", answer: change(func(ok *authv3.OkHttpResponse) {
			ok.ResponseHeadersToAdd = []*corev3.HeaderValueOption{overwrite("x-note", "1")}
		}), more: func(t *testing.T, o outcome, _ []seen) {
			t.Helper()
			if v := o.header.Get("X-Note"); v != "1" {
				t.Errorf("answer has x-note %q", v)
			}
		}},
	}
	for i := range rows {
		rows[i].status, rows[i].arrives = http.StatusOK, true
	}
	return rows
}

// testFraming is F9: nothing in Envoy's configuration keeps authz from
// breaking the framing. What is shown is why the allow of package check can
// name no header that it does not list.
func (s *scripted) testFraming(t *testing.T) {
	s.authz.set("framing", permitting(func(m *authv3.CheckResponse) {
		ok := m.GetOkResponse()
		ok.Headers = append(ok.Headers, overwrite("content-length", "5"))
	}))
	const first, second = "hello", "POST /smuggled HTTP/1.1\r\nX-Case: smuggled\r\nContent-Length: 0\r\n\r\n"
	r := row{http1: post1("/framing/mcp", "X-Script: framing"), body: first + second}
	exchange1(s.address, r.fill(r.http1, "framing", "t")+r.body, 1)
	got := s.upstream.of("framing")
	if len(got) != 1 || got[0].one("content-length") != "5" || got[0].body != first {
		t.Errorf("the upstream got %+v: Envoy has changed, and guards the framing itself now", got)
	}
	s.eventually("the rest of the body is read as a request", func() bool { return len(s.upstream.of("smuggled")) == 1 })
}
