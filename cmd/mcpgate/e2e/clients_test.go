package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// bearer adds a token to every request, as an OAuth client does.
type bearer struct {
	token string
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// sdk connects the official Go client to a server, with a revision of the
// protocol that it prefers.
func (g *gateway) sdk(server, token, version string, opt *mcp.ClientOptions) *mcp.ClientSession {
	g.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, opt)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint:   g.url + "/" + server + "/mcp",
		HTTPClient: &http.Client{Transport: bearer{token, g.client.Transport}},
		MaxRetries: -1,
	}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		g.Fatalf("connect to %s: %v", server, err)
	}
	return session
}

// upstreamLog notes what reaches an upstream.
type upstreamLog struct {
	next http.Handler
	mu   sync.Mutex
	// requests are "VERB session-id".
	requests []string
}

// ServeHTTP implements http.Handler.
func (l *upstreamLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.requests = append(l.requests, r.Method+" "+r.Header.Get("Mcp-Session-Id"))
	l.mu.Unlock()
	l.next.ServeHTTP(w, r)
}

func (l *upstreamLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.requests)
}

func TestClients(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried)
	var documents string
	servers := map[string]*mcp.Server{}
	for name, opt := range variants() {
		s := newMCPServer()
		servers[name] = s
		documents += serverDoc(name, serve(t, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, opt)))
	}
	logged := &upstreamLog{next: mcpHandler(&mcp.StreamableHTTPOptions{})}
	documents += serverDoc("logged", serve(t, logged))
	documents += serverDoc("resumed", serve(t, mcpHandler(&mcp.StreamableHTTPOptions{EventStore: mcp.NewMemoryEventStore(nil)})))
	g.apply(documents + weatherPolicy("json", "stream", "session-json", "session-stream", "logged", "resumed"))

	for server := range servers {
		for _, version := range []string{"2025-11-25", "2025-03-26", "2026-07-28"} {
			t.Run("GoSDK/"+server+"/"+version, func(t *testing.T) {
				t.Parallel()
				testGoSDK(t, g.in(t), server, version)
			})
		}
	}
	for _, c := range []struct{ server, version string }{{"session-json", "2025-11-25"}, {"session-stream", "2025-11-25"}, {"stream", "2026-07-28"}} {
		t.Run("Notification/"+c.server, func(t *testing.T) {
			testNotification(t, g.in(t), servers[c.server], c.server, c.version)
		})
	}
	t.Run("SessionBinding", func(t *testing.T) {
		t.Parallel()
		testSessionBinding(t, g.in(t), logged)
	})
	t.Run("Resume", func(t *testing.T) {
		t.Parallel()
		testResume(t, g.in(t))
	})
}

// The official client works as without a gateway, and sees and calls what its
// token allows.
func testGoSDK(t *testing.T, g *gateway, server, version string) {
	session := g.sdk(server, g.callers()["read"], version, nil)
	ctx := t.Context()
	stateful := strings.HasPrefix(server, "session")
	want := version
	if stateful && version == "2026-07-28" {
		want = "2025-11-25" // a server with sessions does not speak the newest
	}
	if got := session.InitializeResult().ProtocolVersion; got != want {
		t.Errorf("protocol version %s, want %s", got, want)
	}
	if id := session.ID(); strings.HasPrefix(id, "v1.") != stateful {
		t.Errorf("session id %q; stateful: %t", id, stateful)
	}
	tools, err := session.ListTools(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range tools.Tools {
		names = append(names, tool.Name)
	}
	if diff := cmp.Diff([]string{"get_forecast", "list_alerts"}, names); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
	prompts, err := session.ListPrompts(ctx, nil)
	if err != nil || len(prompts.Prompts) != 1 || prompts.Prompts[0].Name != "brief" {
		t.Errorf("prompts: %v %v", prompts, err)
	}
	resources, err := session.ListResources(ctx, nil)
	if err != nil || len(resources.Resources) != 1 || resources.Resources[0].URI != "weather://today" {
		t.Errorf("resources: %v %v", resources, err)
	}
	templates, err := session.ListResourceTemplates(ctx, nil)
	if err != nil || len(templates.ResourceTemplates) != 1 {
		t.Errorf("templates: %v %v", templates, err)
	}
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "get_forecast", Arguments: map[string]any{"place": "Oslo"}})
	if err != nil {
		t.Fatalf("get_forecast: %v", err)
	}
	if text, ok := result.Content[0].(*mcp.TextContent); !ok || text.Text != "get_forecast of Oslo" {
		t.Errorf("get_forecast: %v", result.Content[0])
	}
	if _, err := session.GetPrompt(ctx, &mcp.GetPromptParams{Name: "brief"}); err != nil {
		t.Errorf("prompt: %v", err)
	}
	if _, err := session.ReadResource(ctx, &mcp.ReadResourceParams{URI: "weather://places/oslo"}); err != nil {
		t.Errorf("resource: %v", err)
	}
	if err := session.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	// A client may give a connection up after a refusal, so each is on one of
	// its own.
	for name, forbidden := range map[string]func(*mcp.ClientSession) error{
		"tool": func(s *mcp.ClientSession) error {
			_, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "set_alert", Arguments: map[string]any{"place": "Oslo"}})
			return err
		},
		"prompt": func(s *mcp.ClientSession) error {
			_, err := s.GetPrompt(ctx, &mcp.GetPromptParams{Name: "secret"})
			return err
		},
		"resource": func(s *mcp.ClientSession) error {
			_, err := s.ReadResource(ctx, &mcp.ReadResourceParams{URI: "vault://today"})
			return err
		},
	} {
		session := g.sdk(server, g.callers()["read"], version, nil)
		if err := forbidden(session); err == nil || !strings.Contains(err.Error(), "Forbidden") {
			t.Errorf("use of a forbidden %s: %v, want Forbidden", name, err)
		}
		_ = session.Close() // broken by the refusal or not
	}
}

// A notification of the server reaches the client on the stream that stays
// open: of a session, or of subscriptions/listen.
func testNotification(t *testing.T, g *gateway, upstream *mcp.Server, server, version string) {
	changed := make(chan struct{}, 16)
	session := g.sdk(server, g.callers()["read"], version, &mcp.ClientOptions{
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
	})
	defer session.Close() //nolint:errcheck // the test is over
	// The stream may open after the connection is made: the server repeats.
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for i := 0; ; i++ {
		name := fmt.Sprintf("extra_%d", i)
		upstream.AddTool(&mcp.Tool{Name: name, InputSchema: map[string]any{"type": "object"}}, nil)
		upstream.RemoveTools(name)
		select {
		case <-changed:
			return
		case <-tick.C:
		case <-deadline:
			t.Fatal("no notification arrived")
		}
	}
}

// A session belongs to whom it was given to, on that server; the upstream sees
// its own id, and nothing of another's.
func testSessionBinding(t *testing.T, g *gateway, upstream *upstreamLog) {
	alice, bob := g.callers()["read"], g.callers()["users"]
	header := g.initialize("logged", alice)
	bound := strings.TrimPrefix(header, "Mcp-Session-Id: ")
	list := `{"jsonrpc":"2.0","id":3,"method":"tools/list"}`
	if a := g.post("logged", alice, list, header); a.status != http.StatusOK {
		t.Fatalf("own session: %d %s", a.status, a.body)
	}
	// A new token of the same principal goes on with the session.
	if a := g.post("logged", g.token("read", "weather:write"), list, header); a.status != http.StatusOK {
		t.Errorf("own session with a new token: %d %s", a.status, a.body)
	}
	seen := upstream.all()
	_, own, _ := strings.Cut(seen[len(seen)-1], " ")
	if own == "" || strings.Contains(own, bound) || strings.Contains(bound, own) {
		t.Errorf("the upstream saw the session id %q, the client has %q", own, bound)
	}
	last := bound[:len(bound)-1] + map[bool]string{true: "B", false: "A"}[strings.HasSuffix(bound, "A")]
	parts := strings.Split(bound, ".")
	refused := map[string]struct{ server, token, id string }{
		"another principal": {"logged", bob, bound},
		"another server":    {"session-json", alice, bound},
		"altered":           {"logged", alice, last},
		"shortened":         {"logged", alice, bound[:len(bound)-4]},
		"the upstream's":    {"logged", alice, own},
		"invented":          {"logged", alice, "1868a90c"},
		"without signature": {"logged", alice, strings.Join(parts[:3], ".")},
		"other version":     {"logged", alice, "v2" + strings.TrimPrefix(bound, "v1")},
	}
	for name, c := range refused {
		if a := g.post(c.server, c.token, list, "Mcp-Session-Id: "+c.id); a.status != http.StatusNotFound || !strings.Contains(a.body, "-32001") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		for _, verb := range []string{http.MethodGet, http.MethodDelete} {
			if a := g.verb(verb, c.server, c.token, "Mcp-Session-Id: "+c.id, "Last-Event-ID: x_1"); a.status != http.StatusNotFound {
				t.Errorf("%s, %s: %d %s", name, verb, a.status, a.body)
			}
		}
	}
	if now := upstream.all(); len(now) != len(seen) {
		t.Errorf("refused requests reached the upstream: %q", now[len(seen):])
	}
	if a := g.verb(http.MethodDelete, "logged", alice, header); a.status != http.StatusOK && a.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	if a := g.post("logged", alice, list, header); a.status != http.StatusNotFound {
		t.Errorf("ended session: %d %s", a.status, a.body)
	}
}

// A list that is fetched again by Last-Event-ID is filtered as it was the
// first time.
func testResume(t *testing.T, g *gateway) {
	token := g.callers()["read"]
	header := g.initialize("resumed", token)
	version := "MCP-Protocol-Version: 2025-11-25"
	a := g.post("resumed", token, `{"jsonrpc":"2.0","id":3,"method":"tools/list"}`, header, version)
	if diff := cmp.Diff([]string{"get_forecast", "list_alerts"}, listed(t, a, "tools/list")); diff != "" {
		t.Fatalf("first reply (-want +got):\n%s", diff)
	}
	var first string
	for lines := bufio.NewScanner(strings.NewReader(a.body)); lines.Scan(); {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok && first == "" {
			first = id
		}
	}
	if first == "" {
		t.Fatalf("no event id in the reply:\n%s", a.body)
	}
	again := g.verb(http.MethodGet, "resumed", token, header, version, "Last-Event-ID: "+first)
	if again.status != http.StatusOK {
		t.Fatalf("resume: %d %s", again.status, again.body)
	}
	if diff := cmp.Diff([]string{"get_forecast", "list_alerts"}, listed(t, again, "tools/list")); diff != "" {
		t.Errorf("resumed reply (-want +got):\n%s", diff)
	}
	if strings.Contains(again.body, "set_alert") {
		t.Errorf("the resumed stream shows a hidden tool:\n%s", again.body)
	}
}

// verb sends a request without a body.
func (g *gateway) verb(verb, server, token string, header ...string) answer {
	g.Helper()
	req, err := http.NewRequestWithContext(context.Background(), verb, g.url+"/"+server+"/mcp", nil)
	if err != nil {
		g.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+token)
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	return g.do(req)
}
