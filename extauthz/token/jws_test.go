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

		{"alg none", set("alg", "none"), extauthz.RuleTokenAlgorithm},
		{"alg None", set("alg", "None"), extauthz.RuleTokenAlgorithm},
		{"alg nOnE", set("alg", "nOnE"), extauthz.RuleTokenAlgorithm},
		{"alg missing", unset("alg"), extauthz.RuleTokenAlgorithm},
		{"alg empty", set("alg", ""), extauthz.RuleTokenAlgorithm},
		{"alg number", set("alg", 256), extauthz.RuleTokenHeader},
		{"alg null", set("alg", nil), extauthz.RuleTokenHeader},
		{"alg lower case", set("alg", "rs256"), extauthz.RuleTokenAlgorithm},
		{"alg not in the list of the issuer", set("alg", "RS512"), extauthz.RuleTokenAlgorithm},
		{"alg HS256", set("alg", "HS256"), extauthz.RuleTokenAlgorithm},
		{"alg of another key type", set("alg", "ES256"), extauthz.RuleTokenAlgorithm},

		{"kid traversal", set("kid", "../../../../dev/null"), extauthz.RuleTokenKey},
		{"kid SQL", set("kid", "' OR '1'='1"), extauthz.RuleTokenKey},
		{"kid huge", set("kid", strings.Repeat("k", maxKeyID+1)), extauthz.RuleTokenHeader},
		{"kid empty", set("kid", ""), extauthz.RuleTokenHeader},
		{"kid number", set("kid", 1), extauthz.RuleTokenHeader},
		{"kid control character", set("kid", "k1\n"), extauthz.RuleTokenHeader},
		{"kid NUL", set("kid", "k1\x00"), extauthz.RuleTokenHeader},
		{"kid case", set("kid", "K1"), extauthz.RuleTokenKey},
		{"kid missing and one key fits", unset("kid"), ""},

		{"jku is ignored", set("jku", "https://evil.example.com/jwks"), ""},
		{"x5u is ignored", set("x5u", "https://evil.example.com/cert"), ""},
		{"x5c is ignored", set("x5c", []string{"AAAA"}), ""},
		{"jwk is ignored", set("jwk", rsaKey("k1", 1).jwk()), ""},
		{"x5t as Entra v1 sends", set("x5t", "k1"), ""},

		{"crit unknown", set("crit", []string{"exp"}), extauthz.RuleTokenHeader},
		{"crit empty", set("crit", []string{}), extauthz.RuleTokenHeader},
		{"crit not an array", set("crit", "b64"), extauthz.RuleTokenHeader},
		{"crit null", set("crit", nil), extauthz.RuleTokenHeader},
		{"b64 false", set("b64", false), extauthz.RuleTokenHeader},
		{"b64 true", set("b64", true), extauthz.RuleTokenHeader},
		{"zip", set("zip", "DEF"), extauthz.RuleTokenHeader},
		{"enc", set("enc", "A128GCM"), extauthz.RuleTokenHeader},
		{"cty JWT nested", set("cty", "JWT"), extauthz.RuleTokenHeader},
		{"cty number", set("cty", 1), extauthz.RuleTokenHeader},

		{"typ at+jwt", set("typ", "at+jwt"), ""},
		{"typ AT+JWT", set("typ", "AT+JWT"), ""},
		{"typ application/at+jwt", set("typ", "application/at+jwt"), ""},
		{"typ Application/At+Jwt", set("typ", "Application/At+Jwt"), ""},
		{"typ JWT", set("typ", "JWT"), ""},
		{"typ id_token", set("typ", "id_token"), extauthz.RuleTokenType},
		{"typ oauth-id-jag+jwt", set("typ", "oauth-id-jag+jwt"), extauthz.RuleTokenType},
		{"typ dpop+jwt", set("typ", "dpop+jwt"), extauthz.RuleTokenType},
		{"typ logout+jwt", set("typ", "logout+jwt"), extauthz.RuleTokenType},
		{"typ application/logout+jwt", set("typ", "application/logout+jwt"), extauthz.RuleTokenType},
		{"typ with a slash more", set("typ", "application/x/at+jwt"), extauthz.RuleTokenType},
		{"typ missing", unset("typ"), extauthz.RuleTokenType},
		{"typ empty", set("typ", ""), extauthz.RuleTokenType},
		{"typ null", set("typ", nil), extauthz.RuleTokenHeader},
		{"typ array", set("typ", []string{"at+jwt"}), extauthz.RuleTokenHeader},
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
		f.refuse(token(f, "JWT"), extauthz.RuleTokenType)
	})
	t.Run("an empty entry accepts a missing typ and no empty one", func(t *testing.T) {
		f := newFixture(t, func(i *registry.Issuer) { i.TokenTypes = []string{""} })
		f.accept(token(f, nil))
		f.refuse(token(f, ""), extauthz.RuleTokenType)
		f.refuse(token(f, "JWT"), extauthz.RuleTokenType)
	})
	t.Run("a foreign type is refused even when listed", func(t *testing.T) {
		f := newFixture(t, func(i *registry.Issuer) { i.TokenTypes = []string{"oauth-id-jag+jwt", "dpop+jwt"} })
		f.refuse(token(f, "oauth-id-jag+jwt"), extauthz.RuleTokenType)
		f.refuse(token(f, "application/DPoP+JWT"), extauthz.RuleTokenType)
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
	f.refuse(token("none", f.key.sign), extauthz.RuleTokenAlgorithm)
	f.refuse(token("RS256", f.key.sign), extauthz.RuleTokenAlgorithm)
	f.refuse(token("ES256K", f.key.sign), extauthz.RuleTokenAlgorithm)
	for _, secret := range [][]byte{public, document, rsaKeys[0]().N.Bytes()} {
		f.refuse(token("HS256", func(b []byte) []byte { return hmacSHA256(secret, b) }), extauthz.RuleTokenAlgorithm)
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
		{"empty", "", extauthz.RuleTokenMalformed},
		{"one segment, opaque", "s3cr3t", extauthz.RuleTokenMalformed},
		{"two segments", join(part[0], part[1]), extauthz.RuleTokenMalformed},
		{"four segments", join(part[0], part[1], part[2], part[2]), extauthz.RuleTokenMalformed},
		{"five segments, JWE", join(part[0], part[1], part[2], part[2], part[2]), extauthz.RuleTokenMalformed},
		{"many dots", strings.Repeat(".", MaxBytes), extauthz.RuleTokenMalformed},
		{"empty header", join("", part[1], part[2]), extauthz.RuleTokenMalformed},
		{"empty claims", join(part[0], "", part[2]), extauthz.RuleTokenMalformed},
		{"empty signature", join(part[0], part[1], ""), extauthz.RuleTokenMalformed},
		{"padded header", join(part[0]+"=", part[1], part[2]), extauthz.RuleTokenMalformed},
		{"padded signature", good + "==", extauthz.RuleTokenMalformed},
		{"standard base64", join(part[0], part[1], "+/"+part[2][2:]), extauthz.RuleTokenMalformed},
		{"one character left over", join(part[0], part[1], "AAAAA"), extauthz.RuleTokenMalformed},
		{"stray bits", join(part[0], part[1], stray), extauthz.RuleTokenMalformed},
		{"leading space", " " + good, extauthz.RuleTokenMalformed},
		{"trailing space", good + " ", extauthz.RuleTokenMalformed},
		{"trailing newline", good + "\n", extauthz.RuleTokenMalformed},
		{"newline inside", good[:9] + "\r\n" + good[9:], extauthz.RuleTokenMalformed},
		{"comma", good + "," + good, extauthz.RuleTokenMalformed},
		{"non-ASCII", "é" + good, extauthz.RuleTokenMalformed},
		{"scheme inside", "Bearer " + good, extauthz.RuleTokenMalformed},
		{"JSON serialisation", `{"payload":"` + part[1] + `"}`, extauthz.RuleTokenMalformed},
		{"long signature", join(part[0], part[1], b64(make([]byte, maxSignature+1))), extauthz.RuleTokenMalformed},

		{"header is an array", signed(`[]`, body), extauthz.RuleTokenMalformed},
		{"header is null", signed(`null`, body), extauthz.RuleTokenMalformed},
		{"header with duplicate alg", signed(`{"alg":"none",`+header[1:], body), extauthz.RuleTokenMalformed},
		{"header with duplicate alg, escaped", signed(`{"\u0061lg":"none",`+header[1:], body), extauthz.RuleTokenMalformed},
		{"header with trailing bytes", signed(header+"{}", body), extauthz.RuleTokenMalformed},
		{"header with BOM", signed("\ufeff"+header, body), extauthz.RuleTokenMalformed},
		{"header with bad UTF-8", signed(`{"x":"`+"\xff"+`",`+header[1:], body), extauthz.RuleTokenMalformed},
		{"header that only folds to alg", signed(strings.Replace(header, "alg", "ALG", 1), body), extauthz.RuleTokenAlgorithm},
		{"claims in an array", signed(header, "["+body+"]"), extauthz.RuleTokenMalformed},
		{"claims are a string", signed(header, `"x"`), extauthz.RuleTokenMalformed},
		{"claims are a token, nested", signed(header, good), extauthz.RuleTokenMalformed},
		{"claims with trailing bytes", signed(header, body+"x"), extauthz.RuleTokenMalformed},
		{"claims with a second object", signed(header, body+body), extauthz.RuleTokenMalformed},
		{"claims with a comment", signed(header, "/**/"+body), extauthz.RuleTokenMalformed},
		{"claims with NaN", signed(header, `{"x":NaN,`+body[1:]), extauthz.RuleTokenMalformed},
		{"claims truncated", signed(header, body[:len(body)-1]), extauthz.RuleTokenMalformed},
		{"claims in UTF-16", signed(header, "\xff\xfe{\x00}\x00"), extauthz.RuleTokenMalformed},
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
	f.refuse(sized(MaxBytes+1), extauthz.RuleTokenTooLarge)
	f.refuse(sized(60<<10), extauthz.RuleTokenTooLarge)
	f.refuse(sized(1<<20), extauthz.RuleTokenTooLarge)
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
