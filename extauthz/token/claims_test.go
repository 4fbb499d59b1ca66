package token

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/registry"
)

// TestClaims has the claim rows of the test list, one change of a good token
// each.
func TestClaims(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	now := f.now().Unix()
	const second, skew = 1, int64(leeway / time.Second)
	many := func(n int) []string { return slices.Repeat([]string{"g"}, n) }
	tests := []struct {
		name  string
		claim string
		value any // nil removes the claim
		rule  extauthz.Rule
	}{
		{"exp missing", "exp", nil, extauthz.RuleTokenClaim},
		{"exp past", "exp", now - 3600, extauthz.RuleTokenExpired},
		{"exp at the edge of the leeway", "exp", now - skew + second, ""},
		{"exp past the edge of the leeway", "exp", now - skew, extauthz.RuleTokenExpired},
		{"exp with a fraction", "exp", float64(now) + 0.5, ""},
		{"exp string", "exp", "1893456000", extauthz.RuleTokenClaim},
		{"exp negative", "exp", -1, extauthz.RuleTokenClaim},
		{"exp zero", "exp", 0, extauthz.RuleTokenExpired},
		{"exp huge", "exp", 1e300, extauthz.RuleTokenClaim},
		{"exp beyond the year 9999", "exp", int64(lastTime) + 1, extauthz.RuleTokenClaim},
		{"exp beyond int64", "exp", uint64(math.MaxUint64), extauthz.RuleTokenClaim},
		{"exp boolean", "exp", true, extauthz.RuleTokenClaim},
		{"exp object", "exp", obj{}, extauthz.RuleTokenClaim},

		{"nbf past", "nbf", now - 3600, ""},
		{"nbf at the edge of the leeway", "nbf", now + skew, ""},
		{"nbf past the edge of the leeway", "nbf", now + skew + second, extauthz.RuleTokenNotYetValid},
		{"nbf string", "nbf", "0", extauthz.RuleTokenClaim},
		{"iat missing", "iat", nil, ""},
		{"iat at the edge of the leeway", "iat", now + skew, ""},
		{"iat in the future", "iat", now + skew + second, extauthz.RuleTokenNotYetValid},
		{"iat string", "iat", "0", extauthz.RuleTokenClaim},

		{"iss missing", "iss", nil, extauthz.RuleTokenIssuer},
		{"iss empty", "iss", "", extauthz.RuleTokenIssuer},
		{"iss array", "iss", []string{corpURL}, extauthz.RuleTokenIssuer},
		{"iss wrong", "iss", "https://other.example.com", extauthz.RuleTokenIssuer},
		{"iss trailing slash", "iss", corpURL + "/", extauthz.RuleTokenIssuer},
		{"iss case", "iss", strings.Replace(corpURL, "as.", "AS.", 1), extauthz.RuleTokenIssuer},
		{"iss prefix attack", "iss", "https://as.example.com.evil/realms/corp", extauthz.RuleTokenIssuer},
		{"iss prefix", "iss", corpURL[:len(corpURL)-1], extauthz.RuleTokenIssuer},
		{"iss with a port", "iss", "https://as.example.com:443/realms/corp", extauthz.RuleTokenIssuer},
		{"iss look-alike", "iss", strings.Replace(corpURL, "a", "\u0430", 1), extauthz.RuleTokenIssuer},
		{"iss with NUL", "iss", corpURL + "\x00", extauthz.RuleTokenIssuer},

		{"aud missing", "aud", nil, extauthz.RuleTokenAudience},
		{"aud array", "aud", []string{"https://x", audience}, ""},
		{"aud array of others", "aud", []string{"https://x", "https://y"}, extauthz.RuleTokenAudience},
		{"aud other", "aud", "https://x", extauthz.RuleTokenAudience},
		{"aud empty", "aud", "", extauthz.RuleTokenAudience},
		{"aud empty array", "aud", []string{}, extauthz.RuleTokenAudience},
		{"aud prefix", "aud", audience[:len(audience)-1], extauthz.RuleTokenAudience},
		{"aud longer", "aud", audience + "x", extauthz.RuleTokenAudience},
		{"aud case", "aud", strings.ToUpper(audience), extauthz.RuleTokenAudience},
		{"aud slash", "aud", audience + "/", extauthz.RuleTokenAudience},
		{"aud number", "aud", 1, extauthz.RuleTokenClaim},
		{"aud array with a number", "aud", []any{audience, 1}, extauthz.RuleTokenClaim},
		{"aud array in an array", "aud", []any{[]any{audience}}, extauthz.RuleTokenClaim},
		{"aud object", "aud", obj{audience: true}, extauthz.RuleTokenClaim},
		{"aud several in one string", "aud", audience + " https://x", extauthz.RuleTokenAudience},
		{"aud of another server (replay across servers)", "aud", "https://gw.example.com/files/mcp", extauthz.RuleTokenAudience},

		{"sub missing", "sub", nil, extauthz.RuleTokenSubject},
		{"sub empty", "sub", "", extauthz.RuleTokenSubject},
		{"sub number", "sub", 7, extauthz.RuleTokenSubject},
		{"sub array", "sub", []string{"alice"}, extauthz.RuleTokenSubject},
		{"sub with NUL", "sub", "alice\x00", extauthz.RuleTokenSubject},
		{"sub with CRLF", "sub", "alice\r\nX-Admin: 1", extauthz.RuleTokenSubject},
		{"sub with DEL", "sub", "alice\x7f", extauthz.RuleTokenSubject},
		{"sub with C1 control", "sub", "alice\u0085", extauthz.RuleTokenSubject},
		{"sub too long", "sub", strings.Repeat("a", maxText+1), extauthz.RuleTokenSubject},
		{"sub at the limit", "sub", strings.Repeat("a", maxText), ""},
		{"sub in Unicode", "sub", "Zoë", ""},

		{"client with newline", "client_id", "a\nb", extauthz.RuleTokenClaim},
		{"client number", "client_id", 1, extauthz.RuleTokenClaim},
		{"jti with CR", "jti", "a\rb", extauthz.RuleTokenClaim},
		{"jti number", "jti", 1, extauthz.RuleTokenClaim},
		{"jti missing", "jti", nil, ""},

		{"scope missing", "scope", nil, ""},
		{"scope empty", "scope", "", ""},
		{"scope array", "scope", []string{"a", "b"}, ""},
		{"scope number", "scope", 1, extauthz.RuleTokenClaim},
		{"scope object", "scope", obj{"a": 1}, extauthz.RuleTokenClaim},
		{"scope with tab", "scope", "a\tb", extauthz.RuleTokenClaim},
		{"scope with newline", "scope", "a\nb", extauthz.RuleTokenClaim},
		{"scope array with a space inside", "scope", []string{"a b"}, extauthz.RuleTokenClaim},
		{"scope array with an empty entry", "scope", []string{"a", ""}, extauthz.RuleTokenClaim},
		{"scope array with a number", "scope", []any{"a", 1}, extauthz.RuleTokenClaim},
		{"scope array with null", "scope", []any{"a", nil}, extauthz.RuleTokenClaim},
		{"scope with 1000 entries", "scope", many(maxEntries), ""},
		{"scope with 1001 entries", "scope", many(maxEntries + 1), extauthz.RuleTokenClaim},
		{"scope with 1001 entries in a string", "scope", strings.Repeat("a ", maxEntries+1), extauthz.RuleTokenClaim},

		{"groups with 1000 entries", "groups", many(maxEntries), ""},
		{"groups with 1001 entries", "groups", many(maxEntries + 1), extauthz.RuleTokenClaim},
		{"groups number", "groups", 1, extauthz.RuleTokenClaim},
		{"groups object", "groups", obj{"a": 1}, extauthz.RuleTokenClaim},
		{"groups array with a number", "groups", []any{"a", 1}, extauthz.RuleTokenClaim},

		{"nesting at the limit", "x", nested(maxDepth - 1), ""},
		{"nesting above the limit", "x", nested(maxDepth), extauthz.RuleTokenMalformed},

		{"token_use access", "token_use", "access", ""},
		{"token_use id", "token_use", "id", extauthz.RuleTokenType},
		{"token_use not a string", "token_use", obj{}, extauthz.RuleTokenType},
		{"claim typ of Keycloak's access token", "typ", "Bearer", ""},
		{"claim typ of Keycloak's ID token", "typ", "ID", extauthz.RuleTokenType},
		{"claim typ of Keycloak's refresh token", "typ", "Refresh", extauthz.RuleTokenType},
		{"a logout token by its events", "events", obj{"http://schemas.openid.net/event/backchannel-logout": obj{}}, extauthz.RuleTokenType},
		{"a token bound to a key", "cnf", obj{"jkt": "x"}, extauthz.RuleTokenType},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := f.verify(f.key.mint(f.claims(tt.claim, tt.value)))
			if tt.rule == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			wantRefusal(t, c, err, tt.rule)
		})
	}
}

// nested is an array n deep.
func nested(n int) any {
	var v any = 1
	for range n {
		v = []any{v}
	}
	return v
}

// TestClaimsAsText has the rows that only the text of the claims can show.
func TestClaimsAsText(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	body := string(mustJSON(f.claims()))
	with := func(members string) string { return "{" + members + "," + body[1:] }
	without := func(name, members string) string {
		b := string(mustJSON(f.claims(name, nil)))
		return "{" + members + "," + b[1:]
	}
	tests := []struct {
		name, claims string
		rule         extauthz.Rule
	}{
		{"duplicate aud", with(`"aud":"https://x"`), extauthz.RuleTokenMalformed},
		{"duplicate exp", with(`"exp":9999999999`), extauthz.RuleTokenMalformed},
		{"duplicate by an escape", with(`"\u0073ub":"root"`), extauthz.RuleTokenMalformed},
		{"duplicate in a nested object", with(`"realm_access":{"roles":["a"],"roles":["b"]}`), extauthz.RuleTokenMalformed},
		{"Sub beside sub", with(`"Sub":"root"`), ""},
		{"Aud in place of aud", without("aud", `"Aud":"`+audience+`"`), extauthz.RuleTokenAudience},
		{"iss null", without("iss", `"iss":null`), extauthz.RuleTokenIssuer},
		{"exp null", without("exp", `"exp":null`), extauthz.RuleTokenClaim},
		{"aud null", without("aud", `"aud":null`), extauthz.RuleTokenClaim},
		{"sub null", without("sub", `"sub":null`), extauthz.RuleTokenSubject},
		{"scope null", without("scope", `"scope":null`), extauthz.RuleTokenClaim},
		{"groups null", with(`"groups":null`), extauthz.RuleTokenClaim},
		{"exp 1e400", without("exp", `"exp":1e400`), extauthz.RuleTokenMalformed},
		{"exp with an exponent", without("exp", `"exp":9e9`), ""},
		{"invalid UTF-8 in sub", without("sub", `"sub":"a`+"\xc3\x28"+`"`), extauthz.RuleTokenMalformed},
		{"lone surrogate in sub", without("sub", `"sub":"\ud800"`), extauthz.RuleTokenMalformed},
		{"escaped NUL in sub", without("sub", `"sub":"a\u0000"`), extauthz.RuleTokenSubject},
		{"escaped CRLF in the client", without("client_id", `"client_id":"a\r\nb"`), extauthz.RuleTokenClaim},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := f.verify(compact(mustJSON(f.key.header()), []byte(tt.claims), f.key.sign))
			if tt.rule == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				if c.Subject != "alice" {
					t.Errorf("subject %q", c.Subject)
				}
				return
			}
			wantRefusal(t, c, err, tt.rule)
		})
	}
}

func TestGroupsWith10000EntriesAreRefused(t *testing.T) {
	t.Parallel()
	_, err := readCaller(object{"sub": "a", "groups": slices.Repeat([]any{"g"}, 10_000)}, registry.Claims{}.WithDefaults())
	if err == nil || err.Rule != extauthz.RuleTokenClaim || !strings.Contains(err.Reason, "10000 entries, more than 1000") {
		t.Errorf("got %v", err)
	}
}

func TestCallerIsReadFromTheClaims(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	got := f.accept(f.key.mint(f.claims("groups", []string{"/lob1/users", "b"})))
	want := &extauthz.Caller{
		Issuer: "corp", Subject: "alice", Client: "inspector", TokenID: "t-1",
		Scopes: []string{"weather:read", "weather:write"}, Groups: []string{"/lob1/users", "b"},
		IssuedAt: f.now(), ExpiresAt: f.now().Add(5 * time.Minute),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(time.Time.Equal)); diff != "" {
		t.Error(diff)
	}
}

func TestNamesAreComparedByteForByte(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	nfc, nfd := "caf\u00e9", "cafe\u0301"
	got := f.accept(f.key.mint(f.claims("sub", nfd, "scope", nfc+" "+nfd+" A a", "client_id", " padded ")))
	if got.Subject != nfd || got.Client != " padded " {
		t.Errorf("subject %+q, client %q", got.Subject, got.Client)
	}
	if want := []string{nfc, nfd, "A", "a"}; !slices.Equal(got.Scopes, want) {
		t.Errorf("scopes %+q, want %+q", got.Scopes, want)
	}
}

func TestClaimPaths(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(i *registry.Issuer) {
		i.Claims = registry.Claims{
			Subject: []registry.ClaimPath{{"oid"}, {"sub"}},
			Client:  []registry.ClaimPath{{"act", "app.id"}, {"azp"}},
			Groups:  []registry.ClaimPath{{"realm_access", "roles"}, {"resource_access", "a.b", "roles"}},
		}
	})
	c := f.claims("oid", "o-1", "act", "not an object", "azp", "web",
		"resource_access", obj{"a.b": obj{"roles": []string{"r"}}, "a": obj{"b": obj{"roles": []string{"no"}}}})
	got := f.accept(f.key.mint(c))
	if got.Subject != "o-1" || got.Client != "web" || !slices.Equal(got.Groups, []string{"r"}) {
		t.Errorf("got %+v", got)
	}
	// The first path that leads to a value decides, even to a bad one.
	c["realm_access"] = obj{"roles": 1}
	f.refuse(f.key.mint(c), extauthz.RuleTokenClaim)
	c["realm_access"] = obj{}
	c["oid"] = ""
	f.refuse(f.key.mint(c), extauthz.RuleTokenSubject)
}

func TestAudienceOfServerAndIssuer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(i *registry.Issuer) { i.Audiences = []string{"api://corp"} })
	verify := func(aud string, server ...string) error {
		_, err := f.Verify(t.Context(), f.key.mint(f.claims("aud", aud)), Want{Audiences: server})
		return err
	}
	for _, aud := range []string{"api://corp", audience} {
		if err := verify(aud, audience); err != nil {
			t.Errorf("%s refused: %v", aud, err)
		}
	}
	if err := verify(audience); err == nil {
		t.Error("the audience of a server was accepted without being asked for")
	}
}

func TestNoAudienceConfiguredIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for range 2 { // cold, then perhaps warm
		for _, aud := range []any{audience, ""} {
			c, err := f.Verify(t.Context(), f.key.mint(f.claims("aud", aud)), Want{})
			wantRefusal(t, c, err, extauthz.RuleTokenAudience)
		}
	}
}

// TestIDToken: an ID token is refused although its type is the general one.
func TestIDToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := func(typ string, c obj) string {
		h := f.key.header()
		h["typ"] = typ
		return compact(mustJSON(h), mustJSON(c), f.key.sign)
	}
	f.refuse(token("JWT", f.claims("at_hash", "x")), extauthz.RuleTokenType)
	f.refuse(token("JWT", f.claims("c_hash", "x")), extauthz.RuleTokenType)
	f.refuse(token("JWT", f.claims("nonce", "x", "scope", nil)), extauthz.RuleTokenType)
	f.accept(token("JWT", f.claims("nonce", "x"))) // an older Keycloak's access token
	f.accept(token("at+jwt", f.claims("nonce", "x", "scope", nil)))
}

// FuzzScopes: no scope read from a claim can break out of a list separated by
// spaces, or of a header.
func FuzzScopes(f *testing.F) {
	f.Add([]byte(`"a b"`))
	f.Add([]byte(`["a","b c"]`))
	f.Add([]byte(`"a\tb"`))
	f.Add([]byte(`[null]`))
	f.Fuzz(func(t *testing.T, claim []byte) {
		o, err := readObject(slices.Concat([]byte(`{"sub":"s","scope":`), claim, []byte(`}`)))
		if err != nil {
			return
		}
		c, refusal := readCaller(o, registry.Claims{}.WithDefaults())
		if refusal != nil {
			var e *Error
			if !errors.As(refusal, &e) || e.Rule == "" || c != nil {
				t.Fatal("a refusal without a rule")
			}
			return
		}
		joined := strings.Join(c.Scopes, " ")
		if len(c.Scopes) > 0 && !slices.Equal(strings.Split(joined, " "), c.Scopes) {
			t.Fatalf("scopes %q read differently when joined", c.Scopes)
		}
		if hasControl(joined) || slices.Contains(c.Scopes, "") {
			t.Fatalf("scopes %q", c.Scopes)
		}
	})
}
