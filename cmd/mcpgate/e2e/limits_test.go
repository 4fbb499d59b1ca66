package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
)

// metrics are the program's metrics by their name and labels as they stand in
// the text, without "mcpgate_".
func (g *gateway) metrics() map[string]float64 {
	g.Helper()
	o := exchange1("unix:"+filepath.Join(g.dir, "data", "admin.sock"), "GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n", 1)[0]
	if o.status != http.StatusOK || !strings.HasPrefix(o.header.Get("Content-Type"), "text/plain") {
		g.Fatalf("metrics: %d %v %s", o.status, o.header, o.end)
	}
	out := make(map[string]float64)
	for lines := bufio.NewScanner(strings.NewReader(o.body)); lines.Scan(); {
		if i := strings.LastIndexByte(lines.Text(), ' '); i > 0 && !strings.HasPrefix(lines.Text(), "#") {
			v, err := strconv.ParseFloat(lines.Text()[i+1:], 64)
			if err != nil {
				g.Fatalf("metrics: %q", lines.Text())
			}
			out[strings.TrimPrefix(lines.Text()[:i], "mcpgate_")] = v
		}
	}
	return out
}

// envoyStat is a counter of the gateway's Envoy.
func (g *gateway) envoyStat(name string) float64 {
	g.Helper()
	o := exchange1("unix:"+filepath.Join(g.dir, "data", "envoy.sock"), "GET /stats?filter=^"+name+"$ HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n", 1)[0]
	v, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimPrefix(o.body, name+":")), 64)
	if err != nil {
		g.Fatalf("stat %s: %d %q", name, o.status, o.body)
	}
	return v
}

// limitHits is how often a limit has refused something.
func (g *gateway) limitHits(limit string) float64 {
	g.Helper()
	return g.metrics()[`limit_hits_total{limit="`+limit+`"}`]
}

// Each limit of the configuration holds at its value and refuses one more,
// through Envoy, and each refusal is counted.
func TestLimits(t *testing.T) {
	t.Parallel()
	const (
		bodyBytes, headerBytes, headers = 4 << 10, 8 << 10, 40
		depth, name, uri                = 10, 20, 64
		items, replyBytes, open         = 5, 4 << 10, 2
	)
	g := start(t, fmt.Sprintf(`  maxRequestBytes: %d
limits: {headerBytes: %d, headerCount: %d, bodyDepth: %d, nameBytes: %d, uriBytes: %d, listItems: %d, listReplyBytes: %d, streamsPerPrincipal: %d}
`, bodyBytes, headerBytes, headers, depth, name, uri, items, replyBytes, open))
	lists := &lists{}
	g.apply("kind: Scope\nname: all\nrules: [{servers: [\"*\"], tools: [\"*\"], resources: [\"*\"]}]\n" +
		serverDoc("a", serve(t, newEcho("a"))) + serverDoc("b", serve(t, newEcho("b"))) + serverDoc("lists", serve(t, lists)))
	token := g.token("alice", "all")

	padTo := func(n int) string {
		text := call("get_forecast")
		return text + strings.Repeat(" ", n-len(text))
	}
	message := func(method, params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params + `}}`
	}
	for _, c := range []struct {
		limit      string
		at         int
		body       func(n int) string
		status     int
		rule, told string
	}{
		{"gateway.maxRequestBytes", bodyBytes, padTo, 413, "", ""},
		{"bodyDepth", depth, func(n int) string {
			return message("tools/call", `"name":"a","arguments":`+strings.Repeat("[", n-2)+strings.Repeat("]", n-2))
		}, 400, "body-depth", "bodyDepth"},
		{"nameBytes", name, func(n int) string {
			return message("tools/call", `"name":"`+strings.Repeat("n", n)+`"`)
		}, 400, "body-member-length", "nameBytes, uriBytes"},
		{"uriBytes", uri, func(n int) string {
			return message("resources/read", `"uri":"x://`+strings.Repeat("u", n-4)+`"`)
		}, 400, "body-member-length", "nameBytes, uriBytes"},
	} {
		before := g.metrics()
		if a := g.post("a", token, c.body(c.at)); a.status != http.StatusOK {
			t.Errorf("%s at %d: %d %s", c.limit, c.at, a.status, a.body)
		}
		if a := g.post("a", token, c.body(c.at+1)); a.status != c.status {
			t.Errorf("%s at %d: %d %s, want %d", c.limit, c.at+1, a.status, a.body, c.status)
		}
		if c.rule == "" {
			continue
		}
		after := g.metrics()
		for _, m := range []string{`limit_hits_total{limit="` + c.told + `"}`, `checks_total{effect="deny",rule="` + c.rule + `"}`} {
			if after[m] != before[m]+1 {
				t.Errorf("%s: %s went from %v to %v", c.limit, m, before[m], after[m])
			}
		}
	}

	testHeaderLimits(t, g, token, headerBytes, headers)
	for name, want := range map[string]float64{
		"http.mcp.downstream_rq_too_large":                 1,
		"http.mcp.downstream_cx_protocol_error":            4,
		"http.mcp.ext_authz.request_header_limits_reached": 1,
	} {
		if got := g.envoyStat(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}

	t.Run("listItems", func(t *testing.T) {
		list := message("tools/list", "")
		lists.set(items, 0)
		if a := g.post("lists", token, list); a.status != http.StatusOK {
			t.Errorf("at the limit: %d %s", a.status, a.body)
		}
		lists.set(items+1, 0)
		if a := g.post("lists", token, list); a.status != http.StatusBadGateway {
			t.Errorf("above the limit: %d %s", a.status, a.body)
		}
		if n := g.limitHits("listItems"); n != 1 {
			t.Errorf("counted %v", n)
		}
		lists.set(1, replyBytes)
		if a := g.post("lists", token, list); a.status != http.StatusOK || len(a.body) != replyBytes {
			t.Errorf("at the size: %d, %d bytes", a.status, len(a.body))
		}
		lists.set(1, replyBytes+1)
		if a := g.post("lists", token, list); a.status != http.StatusBadGateway {
			t.Errorf("above the size: %d %s", a.status, a.body)
		}
		if n := g.limitHits("listReplyBytes"); n != 1 {
			t.Errorf("counted %v", n)
		}
	})

	// Streams of one caller count on all servers together.
	t.Run("streamsPerPrincipal", func(t *testing.T) {
		g := g.in(t)
		t.Run("open", func(t *testing.T) {
			g.open(t, "a", token)
			g.open(t, "b", token)
			for range 3 {
				if a := g.verb("GET", "a", token, "Accept: text/event-stream"); a.status != http.StatusTooManyRequests || !strings.Contains(a.body, `"jsonrpc":"2.0"`) {
					t.Errorf("above the limit: %d %s", a.status, a.body)
				}
			}
			g.open(t, "a", g.token("bob", "all")) // another caller
			m := g.metrics()
			if m["streams_open"] != 3 || m["streams_principals"] != 2 || m[`limit_hits_total{limit="streamsPerPrincipal"}`] != 3 {
				t.Errorf("counted %v, %v, %v", m["streams_open"], m["streams_principals"], m[`limit_hits_total{limit="streamsPerPrincipal"}`])
			}
		})
		g.eventually("the streams are over", func() bool { return g.metrics()["streams_open"] == 0 })
		g.open(t, "b", token)
	})
}

// headerRoom is what the gateway's own headers take of the limits: at most so
// many, and so many bytes beside the names of the caller and its scopes.
const (
	headerRoom     = 16
	headerRoomSize = 512
)

// testHeaderLimits: Envoy refuses the header above the limit with 431. A
// request that leaves no room for the gateway's own headers gets no further
// than to the decision: 503.
func testHeaderLimits(t *testing.T, g *gateway, token string, bytes, count int) {
	t.Helper()
	good := []string{"Host: " + g.address, "Authorization: Bearer " + token, "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(goodCall))}
	send := func(lines ...string) int {
		return exchange1(g.address, "POST /a/mcp HTTP/1.1\r\n"+strings.Join(append(good, lines...), "\r\n")+"\r\n\r\n"+goodCall, 1)[0].status
	}
	many := func(n int) []string {
		lines := make([]string, n-len(good))
		for i := range lines {
			lines[i] = fmt.Sprintf("X-Note-%d: 1", i)
		}
		return lines
	}
	for n, want := range map[int]int{count - headerRoom: 200, count: 503, count + 1: 431, count + 100: 431} {
		if got := send(many(n)...); got != want {
			t.Errorf("%d header lines: %d, want %d", n, got, want)
		}
	}
	// The size counts names and values, and some of what separates them.
	used := len("POST /a/mcp HTTP/1.1\r\n" + strings.Join(good, "\r\n") + "\r\nX: \r\n\r\n")
	for n, want := range map[int]int{bytes - headerRoomSize: 200, bytes + 100: 431, 2 * bytes: 431} {
		if got := send("X: " + strings.Repeat("v", n-used)); got != want {
			t.Errorf("%d bytes of headers: %d, want %d", n, got, want)
		}
	}
}

// lists is an upstream that answers with a list of tools, of as many bytes as
// it is told to.
type lists struct {
	mu          sync.Mutex
	items, size int
}

func (l *lists) set(items, size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items, l.size = items, size
}

// ServeHTTP implements http.Handler.
func (l *lists) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for i := range l.items {
		names = append(names, fmt.Sprintf(`{"name":"t%d"}`, i))
	}
	text := `{"jsonrpc":"2.0","id":1,"result":{"tools":[` + strings.Join(names, ",") + `]}}`
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprint(w, text+strings.Repeat(" ", max(l.size-len(text), 0)))
}

// The check above the limit is refused with 503 while others wait for keys,
// and is counted; when they have ended, all goes on.
func TestChecksInFlight(t *testing.T) {
	t.Parallel()
	const limit = 3
	g := start(t, fmt.Sprintf("extAuthz: {timeout: 10s}\nlimits: {checksInFlight: %d}\n", limit))
	g.apply(everything + serverDoc("a", serve(t, newEcho("a"))))
	// An issuer whose key set is asked for and does not come.
	release, asked := make(chan struct{}), make(chan struct{}, 64)
	handler := &late{}
	slow, err := demo.NewIssuer(serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-release:
			handler.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})))
	if err != nil {
		t.Fatal(err)
	}
	if handler.Handler, err = slow.Handler(); err != nil {
		t.Fatal(err)
	}
	g.apply(fmt.Sprintf("kind: Issuer\nname: slow\nissuer: %s\naudiences: [%s]\n", slow.URL, g.url))
	<-asked
	waiting, err := slow.Token("alice", g.url, demo.Claims{"scope": "all"})
	if err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	for range limit {
		calls.Go(func() {
			if a, err := g.tryPost("a", waiting, goodCall); err != nil || a.status != http.StatusOK {
				t.Errorf("at the limit: %d %s, %v", a.status, a.body, err)
			}
		})
	}
	g.eventually("the checks wait", func() bool { return g.metrics()["checks_in_flight"] == limit })
	token := g.token("alice", "all")
	if a := g.post("a", token, goodCall); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("above the limit: %d %v %s", a.status, a.header, a.body)
	}
	if n := g.limitHits("checksInFlight"); n != 1 {
		t.Errorf("counted %v", n)
	}
	close(release)
	calls.Wait()
	g.want("a", token, http.StatusOK)
}

// The metrics are those of docs/operations.md, on the admin address alone, and
// no label is what a client has sent.
func TestMetrics(t *testing.T) {
	t.Parallel()
	g := start(t, "")
	g.apply(everything + serverDoc("a", serve(t, newEcho("a"))))
	token := g.token("mallory-the-subject", "all")
	g.want("a", token, http.StatusOK)
	for _, body := range []string{call("secret-tool"), `{"jsonrpc":"2.0","id":1,"method":"secret/method"}`, "{secret"} {
		g.post("a", g.token("mallory-the-subject", "secret-scope"), body)
	}
	o := exchange1("unix:"+filepath.Join(g.dir, "data", "admin.sock"), "GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n", 1)[0]
	for _, hidden := range []string{"secret", "mallory", token} {
		if strings.Contains(o.body, hidden) {
			t.Errorf("the metrics show %q", hidden)
		}
	}
	documented, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(o.body) {
		if name, ok := strings.CutPrefix(line, "# TYPE mcpgate_"); ok {
			name, _, _ = strings.Cut(name, " ")
			if !strings.Contains(string(documented), "mcpgate_"+name) {
				t.Errorf("docs/operations.md does not have mcpgate_%s", name)
			}
		}
	}
	m := g.metrics()
	for name, want := range map[string]float64{
		"ready":      1,
		"xds_envoys": 1,
		`checks_total{effect="allow",rule="granted"}`: 1,
		`checks_in_flight`:                            0,
		`issuer_usable{issuer="corp"}`:                1,
		`issuer_keys{issuer="corp"}`:                  1,
		`xds_rejections`:                              0,
		`registry_watch_restarts_total`:               0,
		`audit_dropped_total`:                         0,
		`token_cache_entries`:                         2 + 2, // one token each
		`check_duration_seconds_count`:                4,
	} {
		if got, ok := m[name]; !ok || got != want {
			t.Errorf("%s is %v (%v), want %v", name, got, ok, want)
		}
	}
	if m["registry_revision"] < 3 || m["registry_revision"] != m["xds_accepted_revision"] || m["xds_revision"] != m["registry_revision"] {
		t.Errorf("revisions %v, %v, %v", m["registry_revision"], m["xds_revision"], m["xds_accepted_revision"])
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, g.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := g.do(req); a.status != http.StatusNotFound {
		t.Errorf("metrics on the public listener: %d", a.status)
	}
}
