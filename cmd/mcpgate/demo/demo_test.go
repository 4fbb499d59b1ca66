package demo_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
	"github.com/mcpgate/mcpgate/extauthz/token"
	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/manifest"
	"github.com/mcpgate/mcpgate/registry/registrytest"
)

// served is an issuer behind its own URL.
func served(t *testing.T) *demo.Issuer {
	t.Helper()
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	issuer, err := demo.NewIssuer(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	h, err := issuer.Handler()
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/", h)
	return issuer
}

// The gateway's verifier takes the issuer's tokens, found by its metadata.
func TestIssuerIsVerified(t *testing.T) {
	t.Parallel()
	issuer := served(t)
	v := token.New(token.Config{Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(v.Close)
	v.SetIssuer(&registry.Issuer{Name: "demo", Issuer: issuer.URL})
	want := token.Want{Audiences: []string{"https://gw.example/weather/mcp"}}
	raw, err := issuer.Token("alice", want.Audiences[0], demo.Claims{"scope": "a b", "groups": []string{"/staff"}})
	if err != nil {
		t.Fatal(err)
	}
	caller, err := v.Verify(t.Context(), raw, want)
	if err != nil {
		t.Fatal(err)
	}
	if caller.Subject != "alice" || caller.Client != "demo" || cmp.Diff([]string{"a", "b"}, caller.Scopes) != "" || cmp.Diff([]string{"/staff"}, caller.Groups) != "" {
		t.Errorf("caller: %+v", caller)
	}
	for name, claims := range map[string]demo.Claims{
		"expired":        {"exp": time.Now().Add(-time.Hour).Unix()},
		"other audience": {"aud": "https://gw.example/notes/mcp"},
		"other issuer":   {"iss": issuer.URL + "/"},
	} {
		raw, err := issuer.Token("alice", want.Audiences[0], claims)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), raw, want); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	other, err := demo.NewIssuer(issuer.URL)
	if err != nil {
		t.Fatal(err)
	}
	raw, err = other.Token("alice", want.Audiences[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), raw, want); err == nil {
		t.Error("a token of another key was accepted")
	}
}

// A token is what RFC 9068 says, and the private key is nowhere to be fetched.
func TestIssuerPublishesNoSecret(t *testing.T) {
	t.Parallel()
	issuer := served(t)
	raw, err := issuer.Token("alice", "https://gw.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(raw, ".")
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil || !strings.Contains(string(header), `"typ":"at+jwt"`) {
		t.Errorf("header %s %v", header, err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} {
		if claims[name] == nil {
			t.Errorf("no claim %s in %s", name, payload)
		}
	}
	resp, err := http.Get(issuer.URL + "/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(body), `"d"`) || !strings.Contains(string(body), `"kty":"EC"`) {
		t.Errorf("key set: %s", body)
	}
	missing, err := http.Get(issuer.URL + "/nosuch")
	if err != nil {
		t.Fatal(err)
	}
	_ = missing.Body.Close()
	if missing.StatusCode != http.StatusNotFound {
		t.Errorf("other path: %d", missing.StatusCode)
	}
}

// The demonstration's registry is valid, and every tool it names is one that
// the sample servers have.
func TestRegistry(t *testing.T) {
	t.Parallel()
	documents, err := manifest.Parse("demo", demo.Registry("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3", "http://127.0.0.1:4"))
	if err != nil {
		t.Fatal(err)
	}
	tools := map[string]bool{}
	for _, s := range demo.Servers() {
		for name, h := range map[string]http.Handler{"stateless": s.Handler(), "stateful": s.StatefulHandler()} {
			srv := httptest.NewServer(h)
			t.Cleanup(srv.Close)
			session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).
				Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: srv.URL + "/mcp", DisableStandaloneSSE: true}, nil)
			if err != nil {
				t.Fatalf("%s, %s: %v", s.Name, name, err)
			}
			list, err := session.ListTools(t.Context(), nil)
			if err != nil {
				t.Fatalf("%s, %s: %v", s.Name, name, err)
			}
			for _, tool := range list.Tools {
				tools[tool.Name] = true
			}
			if err := session.Close(); err != nil {
				t.Errorf("%s, %s: %v", s.Name, name, err)
			}
		}
	}
	var batch registry.Batch
	for _, r := range documents {
		batch.Writes = append(batch.Writes, registry.Write{Resource: r})
		scope, ok := r.(*registry.Scope)
		if !ok {
			continue
		}
		for _, rule := range scope.Rules {
			for _, tool := range rule.Tools {
				if !strings.Contains(string(tool), "*") && !tools[string(tool)] {
					t.Errorf("scope %s names tool %s, which no sample has", scope.Name, tool)
				}
			}
		}
	}
	store := registrytest.NewMemory()
	t.Cleanup(func() { _ = store.Close() })
	result, err := registry.Apply(t.Context(), store, batch)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range result.Warnings {
		t.Errorf("warning: %s %s", w.Key, w.Message)
	}
}
