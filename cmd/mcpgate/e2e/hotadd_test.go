package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// everything lets a scope use every tool of every server, and of those that
// are added later.
const everything = "kind: Scope\nname: all\nrules: [{servers: [\"*\"], tools: [\"*\"]}]\n"

// unhurried gives a decision all the time that a busy machine may take: these
// tests are about changes, and a decision that comes late is a 503.
const unhurried = "extAuthz: {timeout: 10s}\n"

// serverDoc is the document of a server whose upstream is at origin.
func serverDoc(name, origin string) string {
	return fmt.Sprintf("---\nkind: Server\nname: %s\nupstream: {url: %s/mcp}\n", name, origin)
}

// The very next request after `server add` has its answer, on connections
// that were open before and on new ones, and nobody else notices: not the
// stream of another server, not the calls on a third.
func TestHotAddAnswersTheNextRequest(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried)
	origin, streaming := serve(t, newEcho("new")), newEcho("streaming")
	g.apply(everything + serverDoc("steady", origin) + serverDoc("streaming", serve(t, streaming)))
	token := g.token("alice", "all")
	events := g.open(t, "streaming", token)
	traffic := g.startLoad(token, "steady", "steady")
	fresh := g.in(t)
	fresh.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

	const adds = 200
	statuses := map[int]int{}
	for i := range adds {
		name := fmt.Sprintf("new-%d", i)
		if i%20 == 0 {
			g.want(name, token, http.StatusNotFound)
			streaming.emit(t, name)
			events.want(name)
		}
		g.mustRun("", "server", "add", name, origin+"/mcp")
		client := g
		if i%2 == 1 {
			client = fresh
		}
		statuses[client.post(name, token, call("x")).status]++
	}
	if diff := cmp.Diff(map[int]int{http.StatusOK: adds}, statuses); diff != "" {
		t.Errorf("first answers of new servers by status (-want +got):\n%s", diff)
	}
	streaming.emit(t, "end")
	events.want("end")
	traffic.stop(t, "steady")
}

// Changes of upstreams, disabling, enabling, deleting and adding again disturb
// neither the open stream nor the calls of other servers.
func TestChangesDisturbNobodyElse(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried)
	a, b, streaming := serve(t, newEcho("a")), serve(t, newEcho("b")), newEcho("streaming")
	g.apply(everything + serverDoc("steady", a) + serverDoc("changing", a) + serverDoc("streaming", serve(t, streaming)))
	token := g.token("alice", "all")
	events := g.open(t, "streaming", token)
	traffic := g.startLoad(token, "steady")
	for round := range 10 {
		for _, origin := range []string{b, a} {
			g.apply(serverDoc("changing", origin))
		}
		g.want("changing", token, http.StatusOK)
		g.mustRun("", "server", "disable", "changing")
		g.want("changing", token, http.StatusNotFound)
		g.mustRun("", "server", "enable", "changing")
		g.want("changing", token, http.StatusOK)
		g.mustRun("", "delete", "server", "changing")
		g.want("changing", token, http.StatusNotFound)
		g.mustRun("", "server", "add", "changing", a+"/mcp")
		g.want("changing", token, http.StatusOK)
		traffic.more(g, 5)
		event := fmt.Sprint("round ", round)
		streaming.emit(t, event)
		events.want(event)
	}
	traffic.stop(t, "steady")
}

// Make before break: while its upstream changes, a server answers every
// request, one whose body is still under way as well, and soon after the
// change only the new upstream answers.
func TestUpstreamChangeFailsNoRequest(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried)
	origins := []string{serve(t, newEcho("a")), serve(t, newEcho("b"))}
	g.apply(everything + serverDoc("moving", origins[0]))
	token := g.token("alice", "all")

	body, finish := io.Pipe()
	slow := make(chan answer, 1)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/moving/mcp", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	go func() {
		resp, err := g.client.Do(req)
		if err != nil {
			slow <- answer{body: err.Error()}
			return
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		slow <- answer{resp.StatusCode, resp.Header, string(text)}
	}()
	message := call("get_forecast")
	if _, err := io.WriteString(finish, message[:10]); err != nil {
		t.Fatal(err)
	}
	// The connection takes the request's first bytes before it is certain that
	// Envoy has read its header; a change or two later it has.
	traffic := g.startLoad(token, "moving", "moving")
	for i := range 6 {
		g.apply(serverDoc("moving", origins[(i+1)%2]))
		traffic.more(g, 10)
	}
	if _, err := io.WriteString(finish, message[10:]); err != nil {
		t.Fatal(err)
	}
	if err := finish.Close(); err != nil {
		t.Fatal(err)
	}
	if a := <-slow; a.status != http.StatusOK || !strings.Contains(a.body, `"text":"`) {
		t.Errorf("request whose body spanned the changes: %d %s", a.status, a.body)
	}
	g.apply(serverDoc("moving", origins[1]))
	fromB := func() bool { return strings.Contains(g.post("moving", token, call("x")).body, `"text":"b"`) }
	g.eventually("the new upstream answers", fromB)
	for i := range 100 {
		if !fromB() {
			t.Fatalf("the old upstream answered again, at request %d", i)
		}
	}
	traffic.stop(t, "moving")
}

// A disabled server is as one that never was, in its documents as well, and
// comes back with the sessions it had.
func TestDisableHidesAndEnableRestores(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried)
	g.apply(everything + serverDoc("weather", sample(t, "weather", true)))
	token := g.token("alice", "all")
	session := g.initialize("weather", token)
	list := `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`
	if a := g.post("weather", token, list, session); a.status != http.StatusOK {
		t.Fatalf("tools/list: %d %s", a.status, a.body)
	}
	prm := "/.well-known/oauth-protected-resource/weather/mcp"
	if a := g.get(prm); a.status != http.StatusOK {
		t.Errorf("metadata of an enabled server: %d", a.status)
	}

	if out := g.mustRun("", "server", "disable", "weather"); out != "server/weather configured\n" {
		t.Errorf("disable printed %q", out)
	}
	unknown := g.post("nosuch", token, list, session)
	if a := g.post("weather", token, list, session); a.status != http.StatusNotFound || a.body != unknown.body {
		t.Errorf("disabled: %d %s; unknown: %d %s", a.status, a.body, unknown.status, unknown.body)
	}
	if a := g.get(prm); a.status != http.StatusNotFound {
		t.Errorf("metadata of a disabled server: %d", a.status)
	}
	if out := g.mustRun("", "server", "disable", "weather"); out != "server/weather unchanged\n" {
		t.Errorf("second disable printed %q", out)
	}
	g.mustRun("", "server", "enable", "weather")
	if a := g.post("weather", token, list, session); a.status != http.StatusOK || !strings.Contains(a.body, "get_forecast") {
		t.Errorf("the session after enabling: %d %s", a.status, a.body)
	}
	if a := g.get(prm); a.status != http.StatusOK {
		t.Errorf("metadata after enabling: %d", a.status)
	}
}

// What is named by others is not deleted, and the refusal says by whom.
func TestDeleteNamesReferrers(t *testing.T) {
	t.Parallel()
	g := start(t, unhurried)
	origin := serve(t, newEcho("a"))
	g.apply(serverDoc("weather", origin) + `---
kind: Scope
name: weather:read
rules: [{servers: [weather], tools: ["*"]}]
---
kind: Scope
name: weather:all
includes: [weather:read]
rules: [{servers: [weather], prompts: ["*"]}]
---
kind: Group
name: /staff
scopes: [weather:read]
`)
	token := g.token("alice", "weather:read")
	r := g.run("", "delete", "server", "weather")
	if r.code != 1 || !strings.Contains(r.stderr, "scope/weather:read") || !strings.Contains(r.stderr, "scope/weather:all") {
		t.Errorf("delete of a server in use: exit %d\n%s", r.code, r.stderr)
	}
	r = g.run("", "delete", "scope", "weather:read")
	if r.code != 1 || !strings.Contains(r.stderr, "group//staff") || !strings.Contains(r.stderr, "scope/weather:all") {
		t.Errorf("delete of a scope in use: exit %d\n%s", r.code, r.stderr)
	}
	g.want("weather", token, http.StatusOK)
	g.mustRun("", "delete", "group", "/staff")
	g.mustRun("", "delete", "scope", "weather:all", "weather:read")
	g.want("weather", token, http.StatusForbidden)
	g.mustRun("", "delete", "server", "weather")
	g.want("weather", token, http.StatusNotFound)
	if r := g.run("", "delete", "server", "weather"); r.code != 4 {
		t.Errorf("second delete: exit %d, want 4\n%s", r.code, r.stderr)
	}
	g.mustRun("", "server", "add", "weather", origin+"/mcp")
	g.want("weather", token, http.StatusForbidden)
	g.apply("kind: Scope\nname: weather:read\nrules: [{servers: [weather], tools: [\"*\"]}]\n")
	g.want("weather", token, http.StatusOK)
}

// want checks the status of a tools/call.
func (g *gateway) want(server, token string, status int) {
	g.Helper()
	if a := g.post(server, token, call("get_forecast")); a.status != status {
		g.Fatalf("%s: %d, want %d\n%s", server, a.status, status, a.body)
	}
}

// initialize begins a session as 2025-11-25 knows it and returns the header
// line that continues it.
func (g *gateway) initialize(server, token string) string {
	g.Helper()
	a := g.post(server, token, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}`)
	id := a.header.Get("Mcp-Session-Id")
	if a.status != http.StatusOK || id == "" {
		g.Fatalf("initialize: %d, session %q\n%s", a.status, id, a.body)
	}
	header := "Mcp-Session-Id: " + id
	if a := g.post(server, token, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, header); a.status != http.StatusAccepted {
		g.Fatalf("notifications/initialized: %d\n%s", a.status, a.body)
	}
	return header
}
