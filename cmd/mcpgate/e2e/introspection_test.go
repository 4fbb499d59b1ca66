package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// authServer is an authorization server that answers forms: introspection and
// token exchange. It is told what to say about each token.
type authServer struct {
	t   testing.TB
	url string

	mu sync.Mutex
	// says has the answer for each token, delay how long it takes.
	says   map[string]map[string]any
	status int
	delay  time.Duration
	// asked counts the tokens it was asked about, forms are the last of each.
	asked map[string]int
	forms map[string]map[string]string
}

func newAuthServer(t testing.TB) *authServer {
	t.Helper()
	a := &authServer{t: t, says: map[string]map[string]any{}, asked: map[string]int{}, forms: map[string]map[string]string{}}
	a.url = serve(t, a)
	return a
}

// ServeHTTP implements http.Handler.
func (a *authServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		a.t.Error(err)
	}
	token := r.PostForm.Get("token") + r.PostForm.Get("subject_token")
	form := map[string]string{}
	for k := range r.PostForm {
		form[k] = r.PostForm.Get(k)
	}
	form["client"], form["secret"], _ = r.BasicAuth()
	a.mu.Lock()
	a.asked[token]++
	a.forms[token] = form
	answer, status, delay := a.says[token], a.status, a.delay
	a.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case status != 0:
		w.WriteHeader(status)
	case answer == nil && r.PostForm.Has("subject_token"):
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]any{"error": "invalid_grant"}
	case answer == nil:
		answer = map[string]any{"active": false}
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		a.t.Error(err)
	}
}

func (a *authServer) say(token string, answer map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.says[token] = answer
}

// behave sets the status of every answer, 0 for that of the answer, and its
// delay.
func (a *authServer) behave(status int, delay time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status, a.delay = status, delay
}

// count is how often it was asked about each token since the last count.
func (a *authServer) count() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := maps.Clone(a.asked)
	clear(a.asked)
	return asked
}

func (a *authServer) form(token string) map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.forms[token]
}

func (a *authServer) wantAsked(want map[string]int) {
	a.t.Helper()
	if diff := cmp.Diff(want, a.count()); diff != "" {
		a.t.Errorf("what the authorization server was asked (-want +got):\n%s", diff)
	}
}

// gatewaySecret is what the gateway has at the authorization server.
const gatewaySecret = "gateway-secret"

// secret writes a secret to a file and returns the reference to it.
func (g *gateway) secret(name, value string) string {
	g.Helper()
	path := g.dir + "/" + name
	g.write(path, value+"\n")
	return "file:" + path
}

// active is what the authorization server says of a good token.
func (g *gateway) active(subject string) map[string]any {
	return map[string]any{
		"active": true, "sub": subject, "client_id": "agent", "aud": g.url, "scope": "all", "token_type": "Bearer",
		"exp": time.Now().Add(time.Hour).Unix(),
	}
}

// Opaque tokens are asked for at their issuer, once a minute at most; what it
// does not know is refused, and while it cannot be asked, nothing is allowed
// that is not known. JWTs of another issuer are none of its business.
func TestOpaqueTokens(t *testing.T) {
	t.Parallel()
	g := start(t, "extAuthz: {timeout: 1s}\n")
	as := newAuthServer(t)
	g.apply(everything + serverDoc("weather", serve(t, newEcho("a"))) + fmt.Sprintf(`---
kind: Issuer
name: op
issuer: %s
audiences: [%s]
introspection: {url: "%s/introspect", clientID: gateway, clientSecret: "%s"}
`, as.url, g.url, as.url, g.secret("introspection", gatewaySecret)))

	as.say("opaque-alice", g.active("alice"))
	for range 3 {
		g.want("weather", "opaque-alice", http.StatusOK)
	}
	as.wantAsked(map[string]int{"opaque-alice": 1})
	want := map[string]string{"token": "opaque-alice", "token_type_hint": "access_token", "client": "gateway", "secret": gatewaySecret}
	if diff := cmp.Diff(want, as.form("opaque-alice")); diff != "" {
		t.Errorf("the question (-want +got):\n%s", diff)
	}

	for _, token := range []string{"opaque-nobody", "opaque-mallory"} {
		if token == "opaque-mallory" {
			other := g.active("mallory")
			other["aud"] = "https://elsewhere.example"
			as.say(token, other)
		}
		a := g.post("weather", token, call("x"))
		if a.status != http.StatusUnauthorized || !strings.Contains(a.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Errorf("%s: %d %v", token, a.status, a.header)
		}
	}
	as.wantAsked(map[string]int{"opaque-nobody": 1, "opaque-mallory": 1})

	jwt := g.token("alice", "all")
	g.want("weather", jwt, http.StatusOK)
	g.want("weather", jwt+"x", http.StatusUnauthorized)
	as.wantAsked(map[string]int{})

	as.behave(http.StatusInternalServerError, 0)
	as.say("opaque-bob", g.active("bob"))
	a := g.post("weather", "opaque-bob", call("x"))
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "1" {
		t.Errorf("without an answer: %d %v %s", a.status, a.header, a.body)
	}
	g.want("weather", "opaque-alice", http.StatusOK)
	g.want("weather", jwt, http.StatusOK)
	if out := g.mustRun("", "status"); !strings.Contains(out, "status 500") {
		t.Errorf("status does not say that introspection fails:\n%s", out)
	}

	// Slower than a check may be: the first try is refused, and what it began
	// answers the next.
	as.behave(0, 1500*time.Millisecond)
	as.count()
	g.want("weather", "opaque-bob", http.StatusServiceUnavailable)
	g.eventually("the answer is there", func() bool {
		a := g.post("weather", "opaque-bob", call("x"))
		return a.status == http.StatusOK
	})
	as.wantAsked(map[string]int{"opaque-bob": 1})
	if log := g.logs.String(); strings.Contains(log, "opaque-") || strings.Contains(log, gatewaySecret) {
		t.Error("a token or a secret is in the log")
	}
}
