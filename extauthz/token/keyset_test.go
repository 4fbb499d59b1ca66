package token

import (
	"crypto/elliptic"
	"fmt"
	"testing"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/registry"
)

func mustKeySet(t *testing.T, keys ...obj) *keySet {
	t.Helper()
	s, err := parseKeySet(mustJSON(obj{"keys": keys}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOneBadKeyDoesNotFailTheSet(t *testing.T) {
	t.Parallel()
	good := rsaKey("good", 0)
	f := newFixture(t)
	f.idp.serveKeys(corpJWKS,
		obj{"kty": "AKP", "alg": "ML-DSA-65", "kid": "pq", "pub": "AAAA"},
		obj{"kty": "oct", "kid": "secret", "k": "AAAA"},
		obj{"kty": 7},
		rsaKey("small", 2).jwk(),
		rsaKey("enc", 1).jwk("use", "enc"),
		good.jwk(),
	)
	f.SetIssuer(corp(func(i *registry.Issuer) { i.Name = "other" }))
	f.RemoveIssuer("corp")
	f.accept(good.mint(f.claims()))
	f.refuse(rsaKey("small", 2).mint(f.claims()), extauthz.RuleTokenKey)
	f.refuse(rsaKey("enc", 1).mint(f.claims()), extauthz.RuleTokenKey)
	s := f.Status()[0]
	if s.Keys != 1 || len(s.Skipped) != 5 {
		t.Errorf("status %+v", s)
	}
}

func TestKeySetsThatAreRefusedWhole(t *testing.T) {
	t.Parallel()
	many := make([]obj, maxKeys+1)
	for i := range many {
		many[i] = edKey(fmt.Sprint(i)).jwk()
	}
	for name, doc := range map[string]string{
		"HTML":           "<html>login</html>",
		"empty":          "",
		"empty keys":     `{"keys":[]}`,
		"no keys":        `{}`,
		"Keys":           `{"Keys":[` + string(mustJSON(rsaKey("k", 0).jwk())) + `]}`,
		"null":           `null`,
		"keys null":      `{"keys":null}`,
		"keys object":    `{"keys":{}}`,
		"array":          `[]`,
		"one bare key":   string(mustJSON(rsaKey("k", 0).jwk())),
		"trailing bytes": string(mustJSON(obj{"keys": []obj{rsaKey("k", 0).jwk()}})) + "x",
		"only unusable":  `{"keys":[{"kty":"oct","k":"AAAA"}]}`,
		"101 keys":       string(mustJSON(obj{"keys": many})),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if s, err := parseKeySet([]byte(doc)); err == nil {
				t.Errorf("read as %d keys", len(s.keys))
			}
		})
	}
	if s := mustKeySet(t, many[:maxKeys]...); len(s.keys) != maxKeys {
		t.Errorf("%d keys at the limit", len(s.keys))
	}
}

func TestFindTheOneKey(t *testing.T) {
	t.Parallel()
	r1, r2, ec := rsaKey("r1", 0), rsaKey("r2", 1), ecKey("ec", "ES256", elliptic.P256())
	bare := testKey{"", "RS256", r1.private}
	tests := []struct {
		name     string
		keys     []obj
		alg, kid string
		want     string // a rule, "unknown", or "" for a key
	}{
		{"by kid", []obj{r1.jwk(), r2.jwk(), ec.jwk()}, "RS256", "r2", ""},
		{"kid of another type of key", []obj{r1.jwk(), ec.jwk()}, "RS256", "ec", string(extauthz.RuleTokenAlgorithm)},
		{"kid unknown", []obj{r1.jwk()}, "RS256", "r2", "unknown"},
		{"kid unknown and one key without kid", []obj{bare.jwk()}, "RS256", "r1", "unknown"},
		{"no kid, one fits", []obj{r1.jwk(), ec.jwk()}, "RS256", "", ""},
		{"no kid, one fits by its alg", []obj{r1.jwk("alg", "RS256"), r2.jwk("alg", "PS256")}, "RS256", "", ""},
		{"no kid, two fit", []obj{r1.jwk(), r2.jwk()}, "RS256", "", string(extauthz.RuleTokenKey)},
		{"no kid, none fits", []obj{ec.jwk()}, "RS256", "", string(extauthz.RuleTokenKey)},
		{"duplicate kid", []obj{r1.jwk(), r2.jwk("kid", "r1")}, "RS256", "r1", string(extauthz.RuleTokenKey)},
		{"duplicate kid of two types", []obj{r1.jwk(), ec.jwk("kid", "r1")}, "RS256", "r1", ""},
		{"the same key twice", []obj{r1.jwk(), r1.jwk()}, "RS256", "r1", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k, err := mustKeySet(t, tt.keys...).find(&jws{algorithm: tt.alg, keyID: tt.kid})
			got := ""
			switch e, isRefusal := err.(*Error); { //nolint:errorlint // find returns it bare
			case err == errUnknownKey: //nolint:errorlint // so is this
				got = "unknown"
			case isRefusal:
				got = string(e.Rule)
			case k == nil:
				t.Fatalf("no key, error %v", err)
			}
			if got != tt.want {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestContentTellsSetsApart(t *testing.T) {
	t.Parallel()
	r1, r2 := rsaKey("r1", 0), rsaKey("r2", 1)
	base := mustKeySet(t, r1.jwk(), r2.jwk()).content
	for name, tt := range map[string]struct {
		keys []obj
		same bool
	}{
		"order":         {[]obj{r2.jwk(), r1.jwk()}, true},
		"unusable more": {[]obj{r1.jwk(), r2.jwk(), {"kty": "oct"}}, true},
		"one gone":      {[]obj{r1.jwk()}, false},
		"other kid":     {[]obj{r1.jwk("kid", "r3"), r2.jwk()}, false},
		"swapped":       {[]obj{r1.jwk("kid", "r2"), r2.jwk("kid", "r1")}, false},
		"alg set":       {[]obj{r1.jwk("alg", "RS256"), r2.jwk()}, false},
	} {
		if got := mustKeySet(t, tt.keys...).content == base; got != tt.same {
			t.Errorf("%s: same content %t", name, got)
		}
	}
}
