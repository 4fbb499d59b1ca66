package token

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/registry"
)

func discovered(i *registry.Issuer) { i.JWKSURI = "" }

const (
	corpRFC8414 = "https://as.example.com/.well-known/oauth-authorization-server/realms/corp"
	corpOIDC    = corpURL + "/.well-known/openid-configuration"
)

func TestMetadataURLs(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string][]string{
		"https://a.example.com": {
			"https://a.example.com/.well-known/oauth-authorization-server",
			"https://a.example.com/.well-known/openid-configuration",
		},
		"https://a.example.com/": {
			"https://a.example.com/.well-known/oauth-authorization-server",
			"https://a.example.com/.well-known/openid-configuration",
		},
		"https://a.example.com:8443/t/v2.0": {
			"https://a.example.com:8443/.well-known/oauth-authorization-server/t/v2.0",
			"https://a.example.com:8443/t/v2.0/.well-known/openid-configuration",
		},
		"https://a.example.com/a%2Fb/": {
			"https://a.example.com/.well-known/oauth-authorization-server/a%2Fb",
			"https://a.example.com/a%2Fb/.well-known/openid-configuration",
		},
		"http://127.0.0.1:9000": {
			"http://127.0.0.1:9000/.well-known/oauth-authorization-server",
			"http://127.0.0.1:9000/.well-known/openid-configuration",
		},
		"http://a.example.com":      nil,
		"https://a.example.com?x=1": nil,
		"https://a.example.com/#x":  nil,
		"https://u:p@a.example.com": nil,
		"a.example.com":             nil,
		"https://":                  nil,
	} {
		got, _, err := metadataURLs(issuer)
		if (err != nil) != (want == nil) {
			t.Errorf("%s: %v", issuer, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", issuer, diff)
		}
	}
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	good := obj{"issuer": corpURL, "jwks_uri": corpJWKS}
	redirect := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", corpOIDC)
		w.WriteHeader(http.StatusFound)
	}
	metadata := func(v obj) http.HandlerFunc { return body(string(mustJSON(v))) }
	with := func(name string, value any) http.HandlerFunc {
		return metadata(obj{"issuer": corpURL, "jwks_uri": corpJWKS, name: value})
	}
	tests := []struct {
		name          string
		rfc8414, oidc http.HandlerFunc
		ok            bool
	}{
		{"RFC 8414", metadata(good), nil, true},
		{"OpenID Connect", nil, metadata(good), true},
		{"OpenID Connect after another issuer", with("issuer", "https://x"), metadata(good), true},
		{"OpenID Connect after a bad key set", with("jwks_uri", "http://as.example.com/jwks"), metadata(good), true},
		{"nothing", nil, nil, false},
		{"issuer with a slash", with("issuer", corpURL+"/"), with("issuer", corpURL+"/"), false},
		{"issuer in other case", with("issuer", strings.ToUpper(corpURL)), nil, false},
		{"issuer missing", metadata(obj{"jwks_uri": corpJWKS}), nil, false},
		{"issuer twice", body(`{"issuer":"https://x","issuer":"` + corpURL + `","jwks_uri":"` + corpJWKS + `"}`), nil, false},
		{"jwks_uri missing", metadata(obj{"issuer": corpURL}), nil, false},
		{"jwks_uri by http", with("jwks_uri", "http://as.example.com/jwks"), nil, false},
		{"jwks_uri on loopback", with("jwks_uri", "https://127.0.0.1/jwks"), nil, false},
		{"jwks_uri by file", with("jwks_uri", "file:///etc/passwd"), nil, false},
		{"jwks_uri relative", with("jwks_uri", "/jwks"), nil, false},
		{"redirect", redirect, redirect, false},
		{"HTML", body("<html>"), body("<html>"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.RemoveIssuer("corp")
			f.idp.serve(corpRFC8414, tt.rfc8414)
			f.idp.serve(corpOIDC, tt.oidc)
			f.SetIssuer(corp(discovered))
			if tt.ok {
				f.accept(f.key.mint(f.claims()))
				return
			}
			f.refuse(f.key.mint(f.claims()), extauthz.RuleKeysUnavailable)
		})
	}
}

func TestDiscoveryFollowsAMovedKeySet(t *testing.T) {
	t.Parallel()
	rsaKeys[0]()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{TB: t, idp: newIDP(), key: rsaKey("k1", 0)}
		f.Verifier = New(Config{Transport: f.idp})
		defer f.Close()
		f.idp.serveJSON(corpRFC8414, obj{"issuer": corpURL, "jwks_uri": corpJWKS})
		f.idp.serveKeys(corpJWKS, f.key.jwk())
		f.SetIssuer(corp(discovered))
		f.accept(f.key.mint(f.claims()))
		sleep(30 * time.Minute)
		if n := f.idp.fetches(corpRFC8414); n != 1 {
			t.Errorf("metadata fetched %d times in half an hour", n)
		}
		const moved = "https://keys.example.com/jwks"
		next := rsaKey("k2", 1)
		f.idp.serveStatus(corpJWKS, http.StatusGone)
		f.idp.serveJSON(corpRFC8414, obj{"issuer": corpURL, "jwks_uri": moved})
		f.idp.serveKeys(moved, next.jwk())
		sleep(registry.DefaultKeyRefresh + 2*retryInterval)
		f.accept(next.mint(f.claims()))
	})
}
