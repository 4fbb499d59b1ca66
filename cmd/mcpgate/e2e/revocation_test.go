package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
)

// listen is subscriptions/listen as a client of 2026-07-28 sends it.
const listen = `{"jsonrpc":"2.0","id":9,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"e2e","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`

// modern are the headers that go with listen.
var modern = []string{"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: subscriptions/listen"}

// endless answers every request with a stream that does not end by itself.
func endless(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = fmt.Fprintf(w, "data: %s\n\n", notification("begin"))
	flush(w)
	<-r.Context().Done()
}

// ended is when the stream of an answer has ended, after it began.
func (g *gateway) ended(resp *http.Response) <-chan time.Time {
	g.Helper()
	body := bufio.NewReader(resp.Body)
	if line, err := body.ReadString('\n'); resp.StatusCode != http.StatusOK || err != nil || !strings.HasPrefix(line, "data: ") {
		g.Fatalf("no stream: %d %q %v", resp.StatusCode, line, err)
	}
	at := make(chan time.Time, 1)
	go func() {
		_, _ = io.Copy(io.Discard, body)
		at <- time.Now()
	}()
	g.Cleanup(func() { _ = resp.Body.Close() })
	return at
}

func (g *gateway) mustEnd(what string, since time.Time, at <-chan time.Time) {
	g.Helper()
	select {
	case end := <-at:
		g.Logf("%s: ended %s after the revocation was acknowledged", what, end.Sub(since))
	case <-time.After(patience):
		g.Errorf("%s: still open", what)
	}
}

// A revocation is in force when it is acknowledged: the next request of whom
// it names is refused, a token that was just used too, their streams end, and
// nobody else notices. It ends with its time, or when it is deleted.
func TestRevocation(t *testing.T) {
	t.Parallel()
	g := start(t, "")
	streaming := newEcho("streaming")
	g.apply(everything + serverDoc("weather", serve(t, newEcho("a"))) + serverDoc("streaming", serve(t, streaming)) +
		serverDoc("endless", serve(t, http.HandlerFunc(endless))))
	bob := g.token("bob", "all")
	events := g.open(t, "streaming", bob)

	for name, tt := range map[string]struct {
		claims demo.Claims
		flags  []string
	}{
		"subject": {demo.Claims{}, []string{"--subject", "alice"}},
		"client":  {demo.Claims{"client_id": "agent"}, []string{"--client", "agent"}},
		"token":   {demo.Claims{"jti": "t-1"}, []string{"--token-id", "t-1"}},
		"session": {demo.Claims{"sid": "s-1"}, []string{"--session", "s-1"}},
		"all":     {demo.Claims{"jti": "t-2", "sid": "s-2"}, []string{"--subject", "alice", "--client", "demo", "--token-id", "t-2", "--session", "s-2", "--issuer", "corp"}},
		"so far":  {demo.Claims{}, []string{"--subject", "alice", "--issued-before", "now"}},
	} {
		alice := g.token("alice", "all", tt.claims)
		g.want("weather", alice, http.StatusOK)
		get := g.ended(g.verbStream(http.MethodGet, "endless", alice))         //nolint:bodyclose // ended closes it
		subscription := g.ended(g.stream("endless", alice, listen, modern...)) //nolint:bodyclose // ended closes it

		g.mustRun("", append([]string{"revoke", "--name", "r"}, tt.flags...)...)
		acknowledged := time.Now()
		a := g.post("weather", alice, call("x"))
		if a.status != http.StatusUnauthorized || !strings.Contains(a.header.Get("WWW-Authenticate"), `error="invalid_token"`) ||
			!strings.Contains(a.body, "the access token was revoked") {
			t.Errorf("%s: after the revocation: %d %v %s", name, a.status, a.header, a.body)
		}
		g.mustEnd(name+", GET", acknowledged, get)
		g.mustEnd(name+", subscriptions/listen", acknowledged, subscription)
		g.want("weather", bob, http.StatusOK)
		streaming.emit(t, name)
		events.want(name)

		if name == "so far" {
			// Who logs in anew gets in.
			g.want("weather", g.token("alice", "all", demo.Claims{"iat": time.Now().Add(5 * time.Second).Unix()}), http.StatusOK)
		}
		g.mustRun("", "delete", "revocation", "r")
		g.want("weather", alice, http.StatusOK)
	}

	// An end that has come, and one that has not.
	alice := g.token("alice", "all")
	g.mustRun("", "revoke", "--subject", "alice", "--until", "2020-01-01T00:00:00Z")
	g.want("weather", alice, http.StatusOK)
	g.mustRun("", "revoke", "--subject", "alice", "--until", "1h")
	g.want("weather", alice, http.StatusUnauthorized)

	// Everything of an issuer.
	g.mustRun("", "revoke", "--issuer", "corp")
	g.want("weather", bob, http.StatusUnauthorized)
	if data, ok := events.next(); ok {
		t.Errorf("a stream of a revoked issuer goes on: %q", data)
	}
}

// verbStream sends a request without a body and leaves that of the answer to
// the caller.
func (g *gateway) verbStream(verb, server, token string) *http.Response {
	g.Helper()
	req, err := http.NewRequestWithContext(g.Context(), verb, g.url+"/"+server+"/mcp", nil)
	if err != nil {
		g.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := (&http.Client{Transport: g.client.Transport}).Do(req)
	if err != nil {
		g.Fatal(err)
	}
	return resp
}

// The way from the acknowledgement of a write to the refusal, when the write
// does not wait for it. The figure is reported; that the refusal comes is
// checked.
func TestRevocationWithoutWaiting(t *testing.T) {
	t.Parallel()
	g := start(t, "")
	g.apply(everything + serverDoc("weather", serve(t, newEcho("a"))))
	var slowest time.Duration
	for i := range 20 {
		subject := fmt.Sprint("user-", i)
		token := g.token(subject, "all")
		g.want("weather", token, http.StatusOK)
		g.mustRun("", "revoke", "--subject", subject, "--wait", "0")
		acknowledged := time.Now()
		g.eventually("the token is refused", func() bool {
			return g.post("weather", token, call("x")).status == http.StatusUnauthorized
		})
		slowest = max(slowest, time.Since(acknowledged))
	}
	t.Logf("refused at most %s after the acknowledgement, the request itself included", slowest)
}

// No reply outlives the token that asked for it, whatever it is a reply to:
// these tokens are good for another second or two, by the leeway alone.
func TestReplyEndsWithItsToken(t *testing.T) {
	t.Parallel()
	g := start(t, "")
	g.apply(everything + serverDoc("endless", serve(t, http.HandlerFunc(endless))))
	ends := time.Now().Add(-27 * time.Second)
	token := g.token("alice", "all", demo.Claims{"exp": ends.Unix()})
	begin := time.Now()
	for what, resp := range map[string]*http.Response{
		"GET":                  g.verbStream(http.MethodGet, "endless", token), //nolint:bodyclose // ended closes it
		"tools/call":           g.stream("endless", token, call("x")),          //nolint:bodyclose // ended closes it
		"subscriptions/listen": g.stream("endless", token, listen, modern...),  //nolint:bodyclose // ended closes it
	} {
		select {
		case at := <-g.ended(resp):
			t.Logf("%s: ended after %s", what, at.Sub(begin))
		case <-time.After(patience):
			t.Errorf("%s: still open", what)
		}
	}
	// A client cannot shorten or lengthen it, which would need the same header.
	fresh := g.token("alice", "all")
	resp := g.stream("endless", fresh, call("x"), "X-Envoy-Upstream-Rq-Timeout-Ms: 1")
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("with a client's own bound: %d %q %v", resp.StatusCode, line, err)
	}
	_ = resp.Body.Close()
}
