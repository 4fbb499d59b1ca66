package prm_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/prm"
	"github.com/mcpgate/mcpgate/registry"
)

const origin = "https://gw.example.com"

func handler(resources ...registry.Resource) *prm.Handler {
	p := extauthz.NewPolicies(extauthz.Config{ExternalURL: origin})
	p.Load(registry.Snapshot{Revision: 1, Resources: resources})
	return prm.New(p, nil)
}

func sample() *prm.Handler {
	off := false
	return handler(
		&registry.Issuer{Name: "other", Issuer: "https://other.example.com/"},
		&registry.Issuer{Name: "corp", Issuer: "https://idp.example.com/realms/corp?a=1&b=2"},
		&registry.Server{Name: "weather", Title: "Weather", Access: registry.Access{Issuers: []string{"corp"}}},
		&registry.Server{Name: "any", Access: registry.Access{BaselineScopes: []string{"b", "a"}}},
		&registry.Server{Name: "off", Enabled: &off},
		&registry.Scope{Name: "weather:write", Rules: []registry.Rule{{Servers: []string{"weather"}}}},
		&registry.Scope{Name: "weather:read", Rules: []registry.Rule{{Servers: []string{"weather"}}}},
		&registry.Scope{Name: "everything", Rules: []registry.Rule{{Servers: []string{"*"}}}},
	)
}

func serve(t *testing.T, h http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	if got := w.Header().Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("%s %s: Access-Control-Allow-Origin %q, want *", method, path, got)
	}
	return w
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	h := sample()
	for path, want := range map[string]string{
		"/weather/mcp": `{"resource":"https://gw.example.com/weather/mcp","authorization_servers":["https://idp.example.com/realms/corp?a=1&b=2"],` +
			`"scopes_supported":["weather:read","weather:write"],"bearer_methods_supported":["header"],"resource_name":"Weather"}`,
		"/any/mcp": `{"resource":"https://gw.example.com/any/mcp","authorization_servers":["https://idp.example.com/realms/corp?a=1&b=2","https://other.example.com/"],` +
			`"scopes_supported":["b","a"],"bearer_methods_supported":["header"],"resource_name":"any"}`,
		"": `{"resource":"https://gw.example.com","authorization_servers":["https://idp.example.com/realms/corp?a=1&b=2","https://other.example.com/"],` +
			`"bearer_methods_supported":["header"]}`,
	} {
		w := serve(t, h, "GET", prm.Path+path)
		if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("GET %s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		if diff := cmp.Diff(want+"\n", w.Body.String()); diff != "" {
			t.Errorf("GET %s (-want +got):\n%s", path, diff)
		}
		head := serve(t, h, "HEAD", prm.Path+path)
		if head.Code != 200 || head.Body.Len() != 0 || head.Header().Get("Content-Length") != w.Header().Get("Content-Length") {
			t.Errorf("HEAD %s: %d, %d bytes, Content-Length %s", path, head.Code, head.Body.Len(), head.Header().Get("Content-Length"))
		}
	}
}

func TestUnknownPathsAre404(t *testing.T) {
	t.Parallel()
	h := sample()
	for _, path := range []string{
		"/", "/weather", "/weather/", "/weather/mcp/", "//weather/mcp", "/Weather/mcp", "/weather/MCP",
		"/off/mcp", "/none/mcp", "//mcp", "/mcp", "weather/mcp", "/weather%2Fmcp", "/%77eather/mcp", "/weather/mcp/mcp",
	} {
		w := serve(t, h, "GET", prm.Path+path)
		if w.Code != 404 || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("GET %s: %d %s, want 404 in JSON", path, w.Code, w.Header().Get("Content-Type"))
		}
	}
	if w := serve(t, handler(&registry.Server{Name: "weather"}), "GET", prm.Path); w.Code != 404 {
		t.Errorf("root document without an Issuer: %d, want 404", w.Code)
	}
}

func TestNoIssuerNoEmptyList(t *testing.T) {
	t.Parallel()
	w := serve(t, handler(&registry.Server{Name: "weather"}), "GET", prm.Path+"/weather/mcp")
	want := `{"resource":"https://gw.example.com/weather/mcp","bearer_methods_supported":["header"],"resource_name":"weather"}` + "\n"
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOtherVerbs(t *testing.T) {
	t.Parallel()
	h := sample()
	for _, verb := range []string{"POST", "PUT", "DELETE", "PATCH", "TRACE", "FOO"} {
		w := serve(t, h, verb, prm.Path+"/weather/mcp")
		if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("%s: %d, Allow %q, want 405", verb, w.Code, w.Header().Get("Allow"))
		}
	}
	w := serve(t, h, "OPTIONS", prm.Path+"/weather/mcp")
	if w.Code != 204 || w.Header().Get("Access-Control-Allow-Headers") != "*" {
		t.Errorf("preflight: %d, Access-Control-Allow-Headers %q", w.Code, w.Header().Get("Access-Control-Allow-Headers"))
	}
}

// TestAuthorizationHeaderChangesNothing: a client that sends a token, good or
// bad, gets the same document.
func TestAuthorizationHeaderChangesNothing(t *testing.T) {
	t.Parallel()
	h := sample()
	r := httptest.NewRequestWithContext(t.Context(), "GET", prm.Path+"/weather/mcp", nil)
	r.Header.Set("Authorization", "Bearer nonsense")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 200 {
		t.Errorf("with a token: %d, want 200", w.Code)
	}
}
