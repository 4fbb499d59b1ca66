package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// credentials is an upstream that notes what it gets as a credential.
type credentials struct {
	*echo
	mu   sync.Mutex
	seen []string
	raw  []string
}

// ServeHTTP implements http.Handler.
func (c *credentials) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.seen = append(c.seen, strings.Join(r.Header.Values("Authorization"), "|"))
	for name, values := range r.Header {
		c.raw = append(c.raw, name+": "+strings.Join(values, "|"))
	}
	c.mu.Unlock()
	c.echo.ServeHTTP(w, r)
}

// take is what was seen since the last take.
func (c *credentials) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.seen
	c.seen = nil
	return seen
}

// The upstream gets a token that the authorization server made for it, the
// same one as long as it lives, and never the client's. Without one it gets
// nothing at all.
func TestTokenExchange(t *testing.T) {
	t.Parallel()
	g := start(t, "extAuthz: {timeout: 1s}\n")
	as, up := newAuthServer(t), &credentials{echo: newEcho("a")}
	server := func(audience string) string {
		return serverDoc("weather", serve(t, up)) + fmt.Sprintf("  exchange: {tokenURL: \"%s/token\", clientID: gateway, clientSecret: \"%s\", audience: %s, scopes: [a, b]}\n",
			as.url, g.secret("exchange", gatewaySecret), audience)
	}
	doc := strings.Replace(server("up"), "upstream: {url: ", "upstream:\n  url: ", 1)
	g.apply(everything + strings.Replace(doc, "/mcp}", "/mcp", 1))
	traded := func(token string) map[string]any {
		return map[string]any{"access_token": token, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer", "expires_in": 300}
	}
	alice, bob := g.token("alice", "all"), g.token("bob", "all")
	as.say(alice, traded("up-alice"))
	as.say(bob, traded("up-bob"))

	for range 2 {
		g.want("weather", alice, http.StatusOK)
		g.want("weather", bob, http.StatusOK)
	}
	if diff := cmp.Diff([]string{"Bearer up-alice", "Bearer up-bob", "Bearer up-alice", "Bearer up-bob"}, up.take()); diff != "" {
		t.Errorf("what the upstream got (-want +got):\n%s", diff)
	}
	as.wantAsked(map[string]int{alice: 1, bob: 1})
	want := map[string]string{
		"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": alice, "audience": "up", "scope": "a b",
		"subject_token_type":   "urn:ietf:params:oauth:token-type:access_token",
		"requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
		"client":               "gateway", "secret": gatewaySecret,
	}
	if diff := cmp.Diff(want, as.form(alice)); diff != "" {
		t.Errorf("the exchange (-want +got):\n%s", diff)
	}

	// Refused, unreachable, slow.
	carol := g.token("carol", "all")
	a := g.post("weather", carol, call("x"))
	if a.status != http.StatusBadGateway || !strings.Contains(a.body, "no access token for the server") || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("refused: %d %v %s", a.status, a.header, a.body)
	}
	as.behave(http.StatusServiceUnavailable, 0)
	a = g.post("weather", g.token("dave", "all"), call("x"))
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "1" {
		t.Errorf("unavailable: %d %v %s", a.status, a.header, a.body)
	}
	as.behave(0, 1500*time.Millisecond)
	erin := g.token("erin", "all")
	as.say(erin, traded("up-erin"))
	as.count()
	a = g.post("weather", erin, call("x"))
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "1" || !strings.Contains(a.body, "not there yet") {
		t.Errorf("slow: %d %v %s", a.status, a.header, a.body)
	}
	if seen := up.take(); len(seen) != 0 {
		t.Errorf("the upstream got requests without a token for it: %q", seen)
	}
	g.eventually("the exchanged token is there", func() bool {
		a := g.post("weather", erin, call("x"))
		return a.status == http.StatusOK
	})
	as.wantAsked(map[string]int{erin: 1})
	as.behave(0, 0)
	up.take()

	// Another audience is another upstream: nothing of the old one is used.
	doc = strings.Replace(server("other"), "upstream: {url: ", "upstream:\n  url: ", 1)
	as.say(alice, traded("other-alice"))
	g.apply(strings.Replace(doc, "/mcp}", "/mcp", 1))
	g.eventually("the new generation answers", func() bool {
		g.want("weather", alice, http.StatusOK)
		seen := up.take()
		return len(seen) == 1 && seen[0] == "Bearer other-alice"
	})

	up.mu.Lock()
	defer up.mu.Unlock()
	all := strings.Join(up.raw, "\n") + g.logs.String()
	for _, secret := range []string{alice, bob, carol, erin, gatewaySecret} {
		if strings.Contains(all, secret) {
			t.Error("a client's token or a secret reached the upstream or the log")
		}
	}
}
