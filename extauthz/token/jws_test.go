package token

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/registry"
)

// TestHeader has the header rows of the test list: what a token says about
// itself before anything is verified.
func TestHeader(t *testing.T) {
	t.Parallel()
	set := func(name string, v any) func(obj) { return func(h obj) { h[name] = v } }
	unset := func(name string) func(obj) { return func(h obj) { delete(h, name) } }
	tests := []struct {
		name   string
		change func(obj)
		rule   extauthz.Rule // "" is accepted
	}{
		{"as usual", func(obj) {}, ""},

		{"alg none", set("alg", "none"), ruleAlgorithm},
		{"alg None", set("alg", "None"), ruleAlgorithm},
		{"alg nOnE", set("alg", "nOnE"), ruleAlgorithm},
		{"alg missing", unset("alg"), ruleAlgorithm},
		{"alg empty", set("alg", ""), ruleAlgorithm},
		{"alg number", set("alg", 256), ruleMalformed},
		{"alg null", set("alg", nil), ruleMalformed},
		{"alg lower case", set("alg", "rs256"), ruleAlgorithm},
		{"alg not in the list of the issuer", set("alg", "RS512"), ruleAlgorithm},
		{"alg HS256", set("alg", "HS256"), ruleAlgorithm},
		{"alg of another key type", set("alg", "ES256"), ruleAlgorithm},

		{"kid traversal", set("kid", "../../../../dev/null"), ruleKeyUnknown},
		{"kid SQL", set("kid", "' OR '1'='1"), ruleKeyUnknown},
		{"kid huge", set("kid", strings.Repeat("k", maxKeyID+1)), ruleMalformed},
		{"kid empty", set("kid", ""), ruleMalformed},
		{"kid number", set("kid", 1), ruleMalformed},
		{"kid control character", set("kid", "k1\n"), ruleMalformed},
		{"kid NUL", set("kid", "k1\x00"), ruleMalformed},
		{"kid case", set("kid", "K1"), ruleKeyUnknown},
		{"kid missing and one key fits", unset("kid"), ""},

		{"jku is ignored", set("jku", "https://evil.example.com/jwks"), ""},
		{"x5u is ignored", set("x5u", "https://evil.example.com/cert"), ""},
		{"x5c is ignored", set("x5c", []string{"AAAA"}), ""},
		{"jwk is ignored", set("jwk", rsaKey("k1", 1).jwk()), ""},
		{"x5t as Entra v1 sends", set("x5t", "k1"), ""},

		{"crit unknown", set("crit", []string{"exp"}), ruleMalformed},
		{"crit empty", set("crit", []string{}), ruleMalformed},
		{"crit not an array", set("crit", "b64"), ruleMalformed},
		{"crit null", set("crit", nil), ruleMalformed},
		{"b64 false", set("b64", false), ruleMalformed},
		{"b64 true", set("b64", true), ruleMalformed},
		{"zip", set("zip", "DEF"), ruleMalformed},
		{"enc", set("enc", "A128GCM"), ruleMalformed},
		{"cty JWT nested", set("cty", "JWT"), ruleMalformed},
		{"cty number", set("cty", 1), ruleMalformed},

		{"typ at+jwt", set("typ", "at+jwt"), ""},
		{"typ AT+JWT", set("typ", "AT+JWT"), ""},
		{"typ application/at+jwt", set("typ", "application/at+jwt"), ""},
		{"typ Application/At+Jwt", set("typ", "Application/At+Jwt"), ""},
		{"typ JWT", set("typ", "JWT"), ""},
		{"typ id_token", set("typ", "id_token"), ruleType},
		{"typ oauth-id-jag+jwt", set("typ", "oauth-id-jag+jwt"), ruleType},
		{"typ dpop+jwt", set("typ", "dpop+jwt"), ruleType},
		{"typ logout+jwt", set("typ", "logout+jwt"), ruleType},
		{"typ application/logout+jwt", set("typ", "application/logout+jwt"), ruleType},
		{"typ with a slash more", set("typ", "application/x/at+jwt"), ruleType},
		{"typ missing", unset("typ"), ruleType},
		{"typ empty", set("typ", ""), ruleType},
		{"typ null", set("typ", nil), ruleMalformed},
		{"typ array", set("typ", []string{"at+jwt"}), ruleMalformed},
	}
	f := newFixture(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := f.key.header()
			tt.change(h)
			raw := compact(mustJSON(h), mustJSON(f.claims()), f.key.sign)
			c, err := f.verify(raw)
			if tt.rule == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			wantRefusal(t, c, err, tt.rule)
		})
	}
	for url := range f.idp.all() {
		if url != corpJWKS {
			t.Errorf("fetched %s", url)
		}
	}
}

func TestHeaderTypeListedByTheIssuer(t *testing.T) {
	t.Parallel()
	token := func(f *fixture, typ any) string {
		h := f.key.header()
		if h["typ"] = typ; typ == nil {
			delete(h, "typ")
		}
		return compact(mustJSON(h), mustJSON(f.claims()), f.key.sign)
	}
	t.Run("only at+jwt refuses JWT", func(t *testing.T) {
		f := newFixture(t, func(i *registry.Issuer) { i.TokenTypes = []string{"at+jwt"} })
		f.accept(token(f, "at+jwt"))
		f.refuse(token(f, "JWT"), ruleType)
	})
	t.Run("an empty entry accepts a missing typ and no empty one", func(t *testing.T) {
		f := newFixture(t, func(i *registry.Issuer) { i.TokenTypes = []string{""} })
		f.accept(token(f, nil))
		f.refuse(token(f, ""), ruleType)
		f.refuse(token(f, "JWT"), ruleType)
	})
	t.Run("a foreign type is refused even when listed", func(t *testing.T) {
		f := newFixture(t, func(i *registry.Issuer) { i.TokenTypes = []string{"oauth-id-jag+jwt", "dpop+jwt"} })
		f.refuse(token(f, "oauth-id-jag+jwt"), ruleType)
		f.refuse(token(f, "application/DPoP+JWT"), ruleType)
	})
}

func TestHeaderAlgorithmListedByTheIssuer(t *testing.T) {
	t.Parallel()
	// What must not be listed is refused here again.
	f := newFixture(t, func(i *registry.Issuer) { i.Algorithms = []string{"none", "HS256", "RS512", "ES256K"} })
	public, err := x509.MarshalPKIXPublicKey(f.key.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	document := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	token := func(alg string, sign func([]byte) []byte) string {
		return compact(mustJSON(obj{"alg": alg, "typ": "at+jwt", "kid": "k1"}), mustJSON(f.claims()), sign)
	}
	f.refuse(token("none", f.key.sign), ruleAlgorithm)
	f.refuse(token("RS256", f.key.sign), ruleAlgorithm)
	f.refuse(token("ES256K", f.key.sign), ruleAlgorithm)
	for _, secret := range [][]byte{public, document, rsaKeys[0]().N.Bytes()} {
		f.refuse(token("HS256", func(b []byte) []byte { return hmacSHA256(secret, b) }), ruleAlgorithm)
	}
	f.accept(token("RS512", testKey{"k1", "RS512", f.key.private}.sign))
}

// TestForm has the rows about the form of the whole token.
func TestForm(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := f.key.mint(f.claims())
	part := strings.Split(good, ".")
	join := func(p ...string) string { return strings.Join(p, ".") }
	signed := func(header, claims string) string { return compact([]byte(header), []byte(claims), f.key.sign) }
	header, body := string(mustJSON(f.key.header())), string(mustJSON(f.claims()))
	// A last character with the unused bits set decodes to the same bytes in a
	// careless reader.
	last := part[2][len(part[2])-1]
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	stray := part[2][:len(part[2])-1] + string(alphabet[strings.IndexByte(alphabet, last)|1])

	tests := []struct {
		name, raw string
		rule      extauthz.Rule
	}{
		{"as usual", good, ""},
		{"empty", "", ruleMalformed},
		{"one segment, opaque", "s3cr3t", ruleMalformed},
		{"two segments", join(part[0], part[1]), ruleMalformed},
		{"four segments", join(part[0], part[1], part[2], part[2]), ruleMalformed},
		{"five segments, JWE", join(part[0], part[1], part[2], part[2], part[2]), ruleMalformed},
		{"many dots", strings.Repeat(".", MaxBytes), ruleMalformed},
		{"empty header", join("", part[1], part[2]), ruleMalformed},
		{"empty claims", join(part[0], "", part[2]), ruleMalformed},
		{"empty signature", join(part[0], part[1], ""), ruleMalformed},
		{"padded header", join(part[0]+"=", part[1], part[2]), ruleMalformed},
		{"padded signature", good + "==", ruleMalformed},
		{"standard base64", join(part[0], part[1], "+/"+part[2][2:]), ruleMalformed},
		{"one character left over", join(part[0], part[1], "AAAAA"), ruleMalformed},
		{"stray bits", join(part[0], part[1], stray), ruleMalformed},
		{"leading space", " " + good, ruleMalformed},
		{"trailing space", good + " ", ruleMalformed},
		{"trailing newline", good + "\n", ruleMalformed},
		{"newline inside", good[:9] + "\r\n" + good[9:], ruleMalformed},
		{"comma", good + "," + good, ruleMalformed},
		{"non-ASCII", "é" + good, ruleMalformed},
		{"scheme inside", "Bearer " + good, ruleMalformed},
		{"JSON serialisation", `{"payload":"` + part[1] + `"}`, ruleMalformed},
		{"long signature", join(part[0], part[1], b64(make([]byte, maxSignature+1))), ruleMalformed},

		{"header is an array", signed(`[]`, body), ruleMalformed},
		{"header is null", signed(`null`, body), ruleMalformed},
		{"header with duplicate alg", signed(`{"alg":"none",`+header[1:], body), ruleMalformed},
		{"header with duplicate alg, escaped", signed(`{"\u0061lg":"none",`+header[1:], body), ruleMalformed},
		{"header with trailing bytes", signed(header+"{}", body), ruleMalformed},
		{"header with BOM", signed("\ufeff"+header, body), ruleMalformed},
		{"header with bad UTF-8", signed(`{"x":"`+"\xff"+`",`+header[1:], body), ruleMalformed},
		{"header that only folds to alg", signed(strings.Replace(header, "alg", "ALG", 1), body), ruleAlgorithm},
		{"claims in an array", signed(header, "["+body+"]"), ruleMalformed},
		{"claims are a string", signed(header, `"x"`), ruleMalformed},
		{"claims are a token, nested", signed(header, good), ruleMalformed},
		{"claims with trailing bytes", signed(header, body+"x"), ruleMalformed},
		{"claims with a second object", signed(header, body+body), ruleMalformed},
		{"claims with a comment", signed(header, "/**/"+body), ruleMalformed},
		{"claims with NaN", signed(header, `{"x":NaN,`+body[1:]), ruleMalformed},
		{"claims truncated", signed(header, body[:len(body)-1]), ruleMalformed},
		{"claims in UTF-16", signed(header, "\xff\xfe{\x00}\x00"), ruleMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := f.verify(tt.raw)
			if tt.rule == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			wantRefusal(t, c, err, tt.rule)
			if len(tt.raw) > 40 && strings.Contains(err.Error(), tt.raw[:40]) {
				t.Error("the error shows the token")
			}
		})
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	// sized makes a good token of n bytes.
	sized := func(n int) string {
		for i := range 3 {
			h := f.key.header()
			h["x"] = strings.Repeat("x", i)
			pad := (n - len(compact(mustJSON(h), mustJSON(f.claims("pad", "")), f.key.sign))) * 3 / 4
			for j := range 4 {
				c := f.claims("pad", strings.Repeat("x", max(pad-2+j, 0)))
				if raw := compact(mustJSON(h), mustJSON(c), f.key.sign); len(raw) == n {
					return raw
				}
			}
		}
		t.Fatalf("no token of %d bytes", n)
		return ""
	}
	f.accept(sized(8 << 10))
	f.accept(sized(MaxBytes))
	f.refuse(sized(MaxBytes+1), ruleMalformed)
	f.refuse(sized(60<<10), ruleMalformed)
	f.refuse(sized(1<<20), ruleMalformed)
}

// FuzzParse: whatever parse accepts is three strict segments, and reads the
// same when put together again.
func FuzzParse(f *testing.F) {
	key := edKey("k")
	f.Add(key.mint(obj{"iss": "https://a", "sub": "s"}))
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.AA")
	f.Fuzz(func(t *testing.T, raw string) {
		tok, err := parse(raw)
		if err != nil {
			if tok != nil {
				t.Fatal("a token beside an error")
			}
			return
		}
		part := strings.Split(raw, ".")
		if len(part) != 3 || string(tok.signed) != part[0]+"."+part[1] {
			t.Fatalf("signed part %q of %q", tok.signed, raw)
		}
		for i, p := range part {
			b, err := base64.RawURLEncoding.DecodeString(p)
			if err != nil || base64.RawURLEncoding.EncodeToString(b) != p {
				t.Fatalf("segment %d of %q has another encoding", i, raw)
			}
			if i == 2 && !bytes.Equal(b, tok.signature) {
				t.Fatal("another signature")
			}
		}
		if tok.iss == "" || tok.claims == nil {
			t.Fatal("accepted without an issuer")
		}
	})
}
