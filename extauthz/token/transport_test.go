package token

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/registry"
)

// TestRealTransport runs the whole way over a loopback socket: discovery, key
// set, token.
func TestRealTransport(t *testing.T) {
	t.Parallel()
	f := &fixture{TB: t, key: rsaKey("k1", 0)}
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	mux.Handle("/.well-known/openid-configuration", body(string(mustJSON(obj{"issuer": srv.URL, "jwks_uri": srv.URL + "/jwks"}))))
	mux.Handle("/jwks", body(string(mustJSON(obj{"keys": []obj{f.key.jwk()}}))))
	f.Verifier = New(Config{})
	t.Cleanup(f.Close)
	f.SetIssuer(&registry.Issuer{Name: "local", Issuer: srv.URL})
	if c := f.accept(f.key.mint(f.claims("iss", srv.URL))); c.Issuer != "local" {
		t.Errorf("caller %+v", c)
	}
}

func TestPlainHTTPIsForLoopbackIssuersOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.RemoveIssuer("corp")
	const plain = "http://as.example.com/jwks"
	f.idp.serveKeys(plain, f.key.jwk())
	f.SetIssuer(corp(func(i *registry.Issuer) { i.JWKSURI = plain }))
	f.refuse(f.key.mint(f.claims()), extauthz.RuleKeysUnavailable)
	if f.idp.fetches(plain) > 0 {
		t.Error("fetched")
	}
}
