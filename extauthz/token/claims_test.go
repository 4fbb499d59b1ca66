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
		{"exp missing", "exp", nil, ruleClaims},
		{"exp past", "exp", now - 3600, ruleExpired},
		{"exp at the edge of the leeway", "exp", now - skew + second, ""},
		{"exp past the edge of the leeway", "exp", now - skew, ruleExpired},
		{"exp with a fraction", "exp", float64(now) + 0.5, ""},
		{"exp string", "exp", "1893456000", ruleClaims},
		{"exp negative", "exp", -1, ruleClaims},
		{"exp zero", "exp", 0, ruleExpired},
		{"exp huge", "exp", 1e300, ruleClaims},
		{"exp beyond the year 9999", "exp", int64(lastTime) + 1, ruleClaims},
		{"exp beyond int64", "exp", uint64(math.MaxUint64), ruleClaims},
		{"exp boolean", "exp", true, ruleClaims},
		{"exp object", "exp", obj{}, ruleClaims},

		{"nbf past", "nbf", now - 3600, ""},
		{"nbf at the edge of the leeway", "nbf", now + skew, ""},
		{"nbf past the edge of the leeway", "nbf", now + skew + second, ruleNotYetValid},
		{"nbf string", "nbf", "0", ruleClaims},
		{"iat missing", "iat", nil, ""},
		{"iat at the edge of the leeway", "iat", now + skew, ""},
		{"iat in the future", "iat", now + skew + second, ruleNotYetValid},
		{"iat string", "iat", "0", ruleClaims},

		{"iss missing", "iss", nil, ruleIssuer},
		{"iss empty", "iss", "", ruleIssuer},
		{"iss array", "iss", []string{corpURL}, ruleIssuer},
		{"iss wrong", "iss", "https://other.example.com", ruleIssuer},
		{"iss trailing slash", "iss", corpURL + "/", ruleIssuer},
		{"iss case", "iss", strings.Replace(corpURL, "as.", "AS.", 1), ruleIssuer},
		{"iss prefix attack", "iss", "https://as.example.com.evil/realms/corp", ruleIssuer},
		{"iss prefix", "iss", corpURL[:len(corpURL)-1], ruleIssuer},
		{"iss with a port", "iss", "https://as.example.com:443/realms/corp", ruleIssuer},
		{"iss look-alike", "iss", strings.Replace(corpURL, "a", "а", 1), ruleIssuer}, //nolint:misspell // Cyrillic
		{"iss with NUL", "iss", corpURL + "\x00", ruleIssuer},

		{"aud missing", "aud", nil, ruleAudience},
		{"aud array", "aud", []string{"https://x", audience}, ""},
		{"aud array of others", "aud", []string{"https://x", "https://y"}, ruleAudience},
		{"aud other", "aud", "https://x", ruleAudience},
		{"aud empty", "aud", "", ruleAudience},
		{"aud empty array", "aud", []string{}, ruleAudience},
		{"aud prefix", "aud", audience[:len(audience)-1], ruleAudience},
		{"aud longer", "aud", audience + "x", ruleAudience},
		{"aud case", "aud", strings.ToUpper(audience), ruleAudience},
		{"aud slash", "aud", audience + "/", ruleAudience},
		{"aud number", "aud", 1, ruleClaims},
		{"aud array with a number", "aud", []any{audience, 1}, ruleClaims},
		{"aud array in an array", "aud", []any{[]any{audience}}, ruleClaims},
		{"aud object", "aud", obj{audience: true}, ruleClaims},
		{"aud several in one string", "aud", audience + " https://x", ruleAudience},
		{"aud of another server (replay across servers)", "aud", "https://gw.example.com/files/mcp", ruleAudience},

		{"sub missing", "sub", nil, ruleSubject},
		{"sub empty", "sub", "", ruleSubject},
		{"sub number", "sub", 7, ruleSubject},
		{"sub array", "sub", []string{"alice"}, ruleSubject},
		{"sub with NUL", "sub", "alice\x00", ruleSubject},
		{"sub with CRLF", "sub", "alice\r\nX-Admin: 1", ruleSubject},
		{"sub with DEL", "sub", "alice\x7f", ruleSubject},
		{"sub with C1 control", "sub", "alice\u0085", ruleSubject},
		{"sub too long", "sub", strings.Repeat("a", maxText+1), ruleSubject},
		{"sub at the limit", "sub", strings.Repeat("a", maxText), ""},
		{"sub in Unicode", "sub", "Zoë", ""},

		{"client with newline", "client_id", "a\nb", ruleClaims},
		{"client number", "client_id", 1, ruleClaims},
		{"jti with CR", "jti", "a\rb", ruleClaims},
		{"jti number", "jti", 1, ruleClaims},
		{"jti missing", "jti", nil, ""},

		{"scope missing", "scope", nil, ""},
		{"scope empty", "scope", "", ""},
		{"scope array", "scope", []string{"a", "b"}, ""},
		{"scope number", "scope", 1, ruleClaims},
		{"scope object", "scope", obj{"a": 1}, ruleClaims},
		{"scope with tab", "scope", "a\tb", ruleClaims},
		{"scope with newline", "scope", "a\nb", ruleClaims},
		{"scope array with a space inside", "scope", []string{"a b"}, ruleClaims},
		{"scope array with an empty entry", "scope", []string{"a", ""}, ruleClaims},
		{"scope array with a number", "scope", []any{"a", 1}, ruleClaims},
		{"scope array with null", "scope", []any{"a", nil}, ruleClaims},
		{"scope with 1000 entries", "scope", many(maxEntries), ""},
		{"scope with 1001 entries", "scope", many(maxEntries + 1), ruleClaims},
		{"scope with 1001 entries in a string", "scope", strings.Repeat("a ", maxEntries+1), ruleClaims},

		{"groups with 1000 entries", "groups", many(maxEntries), ""},
		{"groups with 1001 entries", "groups", many(maxEntries + 1), ruleClaims},
		{"groups number", "groups", 1, ruleClaims},
		{"groups object", "groups", obj{"a": 1}, ruleClaims},
		{"groups array with a number", "groups", []any{"a", 1}, ruleClaims},

		{"nesting at the limit", "x", nested(maxDepth - 1), ""},
		{"nesting above the limit", "x", nested(maxDepth), ruleMalformed},

		{"token_use access", "token_use", "access", ""},
		{"token_use id", "token_use", "id", ruleType},
		{"token_use not a string", "token_use", obj{}, ruleType},
		{"claim typ of Keycloak's access token", "typ", "Bearer", ""},
		{"claim typ of Keycloak's ID token", "typ", "ID", ruleType},
		{"claim typ of Keycloak's refresh token", "typ", "Refresh", ruleType},
		{"a logout token by its events", "events", obj{"http://schemas.openid.net/event/backchannel-logout": obj{}}, ruleType},
		{"a token bound to a key", "cnf", obj{"jkt": "x"}, ruleType},
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
	without := func(name string, members string) string {
		b := string(mustJSON(f.claims(name, nil)))
		return "{" + members + "," + b[1:]
	}
	tests := []struct {
		name, claims string
		rule         extauthz.Rule
	}{
		{"duplicate aud", with(`"aud":"https://x"`), ruleMalformed},
		{"duplicate exp", with(`"exp":9999999999`), ruleMalformed},
		{"duplicate by an escape", with(`"\u0073ub":"root"`), ruleMalformed},
		{"duplicate in a nested object", with(`"realm_access":{"roles":["a"],"roles":["b"]}`), ruleMalformed},
		{"Sub beside sub", with(`"Sub":"root"`), ""},
		{"Aud in place of aud", without("aud", `"Aud":"`+audience+`"`), ruleAudience},
		{"iss null", without("iss", `"iss":null`), ruleIssuer},
		{"exp null", without("exp", `"exp":null`), ruleClaims},
		{"aud null", without("aud", `"aud":null`), ruleClaims},
		{"sub null", without("sub", `"sub":null`), ruleSubject},
		{"scope null", without("scope", `"scope":null`), ruleClaims},
		{"groups null", with(`"groups":null`), ruleClaims},
		{"exp 1e400", without("exp", `"exp":1e400`), ruleMalformed},
		{"exp with an exponent", without("exp", `"exp":9e9`), ""},
		{"invalid UTF-8 in sub", without("sub", `"sub":"a`+"\xc3\x28"+`"`), ruleMalformed},
		{"lone surrogate in sub", without("sub", `"sub":"\ud800"`), ruleMalformed},
		{"escaped NUL in sub", without("sub", `"sub":"a\u0000"`), ruleSubject},
		{"escaped CRLF in the client", without("client_id", `"client_id":"a\r\nb"`), ruleClaims},
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
	if err == nil || err.Rule != ruleClaims || !strings.Contains(err.Reason, "10000 entries, more than 1000") {
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
		ExpiresAt: f.now().Add(5 * time.Minute),
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
	f.refuse(f.key.mint(c), ruleClaims)
	c["realm_access"] = obj{}
	c["oid"] = ""
	f.refuse(f.key.mint(c), ruleSubject)
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
			wantRefusal(t, c, err, ruleAudience)
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
	f.refuse(token("JWT", f.claims("at_hash", "x")), ruleType)
	f.refuse(token("JWT", f.claims("c_hash", "x")), ruleType)
	f.refuse(token("JWT", f.claims("nonce", "x", "scope", nil)), ruleType)
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
