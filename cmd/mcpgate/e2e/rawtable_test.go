package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
)

// The servers of the table: a and b on the recorder, cred with a credential of
// its own, fwd that gets the client's token.
const tableDocuments = `kind: Server
name: a
upstream: {url: %[1]s/up/a}
---
kind: Server
name: b
upstream: {url: %[1]s/up/b}
---
kind: Server
name: cred
upstream: {url: %[1]s/up/cred, credential: {header: Authorization, scheme: Bearer, secret: "file:%[2]s"}}
---
kind: Server
name: apikey
upstream: {url: %[1]s/up/apikey, credential: {header: X-Api-Key, secret: "file:%[2]s"}}
---
kind: Server
name: fwd
upstream: {url: %[1]s/up/fwd, forwardClientToken: true}
---
kind: Server
name: off
enabled: false
upstream: {url: %[1]s/up/off}
---
kind: Scope
name: use
rules:
  - servers: [a, b, cred, apikey, fwd, off]
    tools: [get_forecast, "list_*", "läs_*"]
---
kind: Scope
name: admin
rules:
  - servers: [a, b]
    tools: [set_alert]
`

const upstreamSecret = "upstream-s3cret"

// table is the gateway that all rows share.
type table struct {
	*gateway
	upstream *recorder
	audit    *auditLog
	// slots bounds the rows on their way.
	slots chan struct{}
}

// startTable runs `mcpgate up` with the servers of the table.
func startTable(t testing.TB) *table {
	t.Helper()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(upstreamSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	audit := &auditLog{path: filepath.Join(dir, "audit.jsonl")}
	g := start(t, "  hosts: [gw.test, 127.0.0.1, localhost]\n  allowedOrigins: [\"https://app.example\"]\naudit: {path: "+audit.path+"}\n"+
		// Of a loaded machine no row may learn.
		"extAuthz: {timeout: 3s}\n")
	up := record(t)
	g.apply(fmt.Sprintf(tableDocuments, up.url(""), secret))
	return &table{gateway: g, upstream: up, audit: audit, slots: make(chan struct{}, 16)}
}

// verdict is what must become of a request.
type verdict struct {
	// status is 0 when the stream or connection must end without an answer.
	status int
	// rule is that of the audit line; "" means that authz is not asked.
	rule string
	// method, target and verb of the audit line, when set.
	method, target, verb string
	// server of the audit line; "a" when empty.
	server string
	// upstream is the request target that arrives there; "" for nothing.
	upstream string
	// body is what the upstream gets where it is not that of the row.
	body string
	// header are headers of the answer, which must have exactly these values;
	// "" means that the header is absent.
	header map[string]string
	// got are headers that the upstream gets, "(absent)" for none.
	got map[string]string
	// gotNot are values that a header must not have at the upstream.
	gotNot map[string]string
	// noBody is for an answer without a body: to HEAD, or to a preflight.
	noBody bool
	// closed says that the connection ends after the answer.
	closed bool
	// then is the status of the answer to tail.
	then int
}

// row is one request and its verdict. Of http1, http2 and lines one is set.
type row struct {
	name string
	// http1 is a whole request, bytes as they are. {case}, {token} and
	// {length} stand for the row's own, {length} for that of body.
	http1 string
	// http2 are its frames; the same stand for themselves in field values.
	http2 frames
	// body follows http1, and is what the upstream must get.
	body string
	// claims are further claims of the token; scope is "use" unless they say
	// otherwise.
	claims demo.Claims
	// token replaces the row's own token.
	token string
	// tail is a second request behind the first, for which want.then is the
	// answer.
	tail string
	want verdict
}

// fill puts the row's own values in place of the marks.
func (r row) fill(text, id, token string) string {
	return strings.NewReplacer("{case}", id, "{token}", token, "{length}", fmt.Sprint(len(r.body))).Replace(text)
}

// sending is a row on its way.
type sending struct {
	row
	id, token string
	outs      []outcome
	done      chan struct{}
}

// send sends a row on a connection of its own.
func (g *table) send(r row, id string) *sending {
	g.Helper()
	s := &sending{row: r, id: id, token: r.token, done: make(chan struct{})}
	if s.token == "" {
		s.token = g.token(id, "use", r.claims)
	}
	go func() {
		defer close(s.done)
		g.slots <- struct{}{}
		defer func() { <-g.slots }()
		if r.http1 == "" {
			f := r.http2
			f.fields = slices.Clone(f.fields)
			for i := range f.fields {
				f.fields[i].value = r.fill(f.fields[i].value, id, s.token)
			}
			f.data = r.body
			s.outs = []outcome{exchange2(g.address, f)}
			return
		}
		answers := 1
		if r.tail != "" {
			answers = 2
		}
		s.outs = exchange1(g.address, r.fill(r.http1, id, s.token)+r.body+r.fill(r.tail, id, s.token), answers)
	}()
	return s
}

// check checks what became of a row.
func (g *table) check(t *testing.T, s *sending) {
	t.Helper()
	<-s.done
	g.checkAnswer(t, s.outs[0], s.row)
	if s.tail != "" && (len(s.outs) < 2 || s.outs[1].status != s.want.then) {
		t.Errorf("the request behind it got %+v, want %d", s.outs[1:], s.want.then)
	}
	g.checkAudit(t, s.id, s.outs[0], s.want)
	g.checkUpstream(t, s.id, s.token, s.row)
}

func (g *table) checkAnswer(t *testing.T, o outcome, r row) {
	t.Helper()
	if o.status != r.want.status {
		t.Errorf("answer %d %s %s %v, want %d", o.status, o.end, o.body, o.header, r.want.status)
		return
	}
	if r.want.status >= 400 && !r.want.noBody {
		checkRefusal(t, o)
	}
	for name, want := range r.want.header {
		if got := strings.Join(o.header.Values(name), " & "); got != want {
			t.Errorf("answer has %s %q, want %q", name, got, want)
		}
	}
	if r.http1 != "" && o.closed != r.want.closed && (r.want.closed || r.tail != "") {
		t.Errorf("the connection ends: %t, want %t", o.closed, r.want.closed)
	}
	checkNoInternals(t, o)
}

// checkAudit compares what authz saw.
func (g *table) checkAudit(t *testing.T, id string, o outcome, want verdict) {
	t.Helper()
	mine := func(l auditLine) bool {
		return l.Subject == id || l.RequestID != "" && l.RequestID == o.header.Get("X-Request-Id")
	}
	if want.rule == "" {
		g.fence(t)
		if l, ok := g.audit.find(t, mine); ok {
			t.Errorf("authz was asked: %+v", l)
		}
		return
	}
	var line auditLine
	g.eventuallyIn(t, "the audit line", func() (ok bool) {
		line, ok = g.audit.find(t, mine)
		return ok
	})
	effect := "deny"
	switch {
	case want.rule == "granted":
		effect = "allow"
	case want.status == http.StatusServiceUnavailable:
		effect = "fail"
	}
	server := want.server
	if server == "" {
		server = "a"
	}
	if line.Rule != want.rule || line.Effect != effect || line.Server != server {
		t.Errorf("authz decided %q %q for server %q (%s), want %q %q for %q", line.Effect, line.Rule, line.Server, line.Reason, effect, want.rule, server)
	}
	for _, f := range [][3]string{{"method", line.Method, want.method}, {"target", line.Target, want.target}, {"verb", line.Verb, want.verb}} {
		if f[2] != "" && f[1] != f[2] {
			t.Errorf("authz saw %s %q, want %q", f[0], f[1], f[2])
		}
	}
}

// checkUpstream compares what the upstream got.
func (g *table) checkUpstream(t *testing.T, id, token string, r row) {
	t.Helper()
	got := g.upstream.of(id)
	if r.want.upstream == "" {
		if len(got) > 0 {
			t.Errorf("the upstream got %+v", got)
		}
		return
	}
	if len(got) != 1 {
		t.Errorf("the upstream got %d requests: %+v", len(got), got)
		return
	}
	s := got[0]
	if s.target != r.want.upstream {
		t.Errorf("the upstream got %q, want %q", s.target, r.want.upstream)
	}
	body := r.body
	if r.want.body != "" {
		body = r.want.body
	}
	if s.body != body {
		t.Errorf("the upstream got the body %q, want %q", s.body, body)
	}
	if len(s.trailers) > 0 {
		t.Errorf("the upstream got trailers %v", s.trailers)
	}
	want := map[string]string{
		"host": g.upstream.address, "authorization": "(absent)", "cookie": "(absent)", "x-mcpgate-subject": id, "x-mcpgate-client": "demo",
		"x-envoy-original-path": "(absent)", "x-envoy-auth-partial-body": "(absent)", "x-envoy-expected-rq-timeout-ms": "(absent)",
	}
	if s.method == http.MethodPost {
		want["content-type"] = "application/json"
	}
	for k, v := range r.want.got {
		want[k] = r.fill(v, id, token)
	}
	for name, v := range want {
		if got := s.one(name); got != v {
			t.Errorf("the upstream got %s %q, want %q", name, got, v)
		}
	}
	for name, v := range r.want.gotNot {
		if slices.Contains(s.values(name), v) {
			t.Errorf("the upstream got %s %q", name, s.values(name))
		}
	}
	for _, f := range s.fields {
		if strings.HasPrefix(f.name, "x-mcpgate") && !slices.Contains([]string{"x-mcpgate-subject", "x-mcpgate-client", "x-mcpgate-scopes"}, f.name) ||
			strings.HasPrefix(f.name, "x-envoy") && !ofEnvoy(f) || strings.Contains(f.value, token) && r.want.got["authorization"] == "" {
			t.Errorf("the upstream got %s: %s", f.name, f.value)
		}
	}
}

// ofEnvoy says that a header is Envoy's own word about the client's address:
// which of the two there is depends on the machine's own address.
func ofEnvoy(f field) bool {
	return f.name == "x-envoy-external-address" || f.name == "x-envoy-internal" && f.value == "true"
}

// checkNoOthers is called after all rows: nothing may have arrived but what
// the rows say.
func (g *table) checkNoOthers(t *testing.T, want map[string]int) {
	t.Helper()
	got := g.upstream.rows()
	for id, n := range got {
		if want[id] != n {
			t.Errorf("the upstream got %d requests of row %q, want %d: %+v", n, id, want[id], g.upstream.of(id))
		}
	}
}

// fence returns when the audit has everything that was decided before.
func (g *table) fence(t *testing.T) {
	t.Helper()
	o := exchange1(g.address, "GET /a/mcp HTTP/1.1\r\nHost: gw.test\r\n\r\n", 1)[0]
	id := o.header.Get("X-Request-Id")
	if id == "" {
		t.Fatalf("fence: %+v", o)
	}
	g.eventuallyIn(t, "the audit line of the fence", func() bool {
		_, ok := g.audit.find(t, func(l auditLine) bool { return l.RequestID == id })
		return ok
	})
}

// eventuallyIn is eventually for a test below the gateway's.
func (g *gateway) eventuallyIn(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// auditLine is what the table looks at in a line of the audit stream.
type auditLine struct {
	RequestID string `json:"request_id"`
	Server    string `json:"server"`
	Verb      string `json:"verb"`
	Method    string `json:"method"`
	Target    string `json:"target"`
	Subject   string `json:"subject"`
	Effect    string `json:"effect"`
	Rule      string `json:"rule"`
	Status    int    `json:"status"`
	Reason    string `json:"reason"`
	Dropped   int    `json:"dropped"`
}

// auditLog reads the audit stream as it grows.
type auditLog struct {
	path string

	mu    sync.Mutex
	at    int64
	lines []auditLine
}

// find returns the last whole line that fits.
func (a *auditLog) find(t testing.TB, fits func(auditLine) bool) (auditLine, bool) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.read(t)
	for _, l := range slices.Backward(a.lines) {
		if fits(l) {
			return l, true
		}
	}
	return auditLine{}, false
}

func (a *auditLog) read(t testing.TB) {
	t.Helper()
	f, err := os.Open(a.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.NewSectionReader(f, a.at, math.MaxInt64-a.at))
	if err != nil {
		t.Fatal(err)
	}
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	a.at += int64(len(data))
	for line := range bytes.Lines(data) {
		var l auditLine
		if err := json.Unmarshal(line, &l); err != nil || l.Dropped > 0 {
			t.Fatalf("audit line %q: %v", line, err)
		}
		a.lines = append(a.lines, l)
	}
}

// TestRawRequests is the regression table of raw requests through the whole
// gateway: for each, what the client gets, what authz saw and what the
// upstream got. The names refer to the experiments in which a live Envoy first
// showed the behaviour.
func TestRawRequests(t *testing.T) {
	t.Parallel()
	g := startTable(t)
	// While the first fetch of its keys hangs, not after it.
	late := g.send(lateRow(g), "late")

	want := map[string]int{}
	sendAll := func(section string, rows []row) []*sending {
		sent := make([]*sending, len(rows))
		for i, r := range rows {
			sent[i] = g.send(r, fmt.Sprintf("%s-%d", section, i))
			if r.want.upstream != "" {
				want[sent[i].id] = 1
			}
		}
		return sent
	}
	checkAll := func(section string, sent []*sending) {
		t.Run(section, func(t *testing.T) {
			for _, s := range sent {
				t.Run(s.name, func(t *testing.T) { g.check(t, s) })
			}
		})
	}
	slow := sendAll("slow", slowRows())
	for _, s := range []struct {
		name string
		rows []row
	}{
		{"path", pathRows()},
		{"path2", pathRows2()},
		{"wire", wireRows()},
		{"wire2", wireRows2()},
		{"header", headerRows()},
		{"body", bodyRows()},
		{"message", messageRows()},
		{"token", tokenRows(g)},
		{"cors", corsRows(g)},
	} {
		checkAll(s.name, sendAll(s.name, s.rows))
	}
	checkAll("slow", slow)
	t.Run("F5: no decision within the timeout", func(t *testing.T) { g.check(t, late) })
	g.checkNoOthers(t, want)
}
