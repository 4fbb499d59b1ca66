package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/cmd/mcpgate/demo"
)

// forger is an issuer, known to the gateway as forge, that signs what it is
// asked to: any header, any claims. It has an EC and an RSA key.
type forger struct {
	url, audience string
	ec            *ecdsa.PrivateKey
	// fetched counts the requests for what tokens point to.
	fetched atomic.Int64
}

// deleted takes a claim or a header parameter away.
type deletedMark struct{}

var deleted = deletedMark{} //nolint:gochecknoglobals // a constant

func newForger(c *catalogue) *forger {
	f := &forger{audience: c.url}
	var err error
	if f.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		c.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		c.Fatal(err)
	}
	set := map[string]any{"keys": []any{
		f.jwk(c, &f.ec.PublicKey),
		map[string]string{"kty": "RSA", "kid": "rsa", "alg": "RS256", "use": "sig", "n": encode(rsaKey.N.Bytes()), "e": encode(big.NewInt(int64(rsaKey.E)).Bytes())},
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(set) })
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { f.fetched.Add(1) })
	srv := httptest.NewServer(mux)
	c.Cleanup(srv.Close)
	f.url = srv.URL
	c.apply(fmt.Sprintf("kind: Issuer\nname: forge\nissuer: %[1]s\njwksURI: %[1]s/jwks\naudiences: [%[2]s]\n", f.url, c.url))
	return f
}

func (f *forger) jwk(t testing.TB, key *ecdsa.PublicKey) map[string]any {
	t.Helper()
	point, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256", "use": "sig", "x": encode(point[1:33]), "y": encode(point[33:])}
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token is a good token but for the header parameters and claims given.
func (f *forger) token(t testing.TB, header, claims demo.Claims) string {
	t.Helper()
	input := f.input(t, header, claims)
	return input + "." + encode(f.sign(t, f.ec, input))
}

// input is the first two segments.
func (f *forger) input(t testing.TB, header, claims demo.Claims) string {
	t.Helper()
	now := time.Now()
	return segment(t, demo.Claims{"alg": "ES256", "typ": "at+jwt", "kid": "ec"}, header) + "." +
		segment(t, demo.Claims{
			"iss": f.url, "sub": "forged", "aud": f.audience, "client_id": "demo", "scope": "use", "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		}, claims)
}

func segment(t testing.TB, usual, changes demo.Claims) string {
	t.Helper()
	maps.Copy(usual, changes)
	maps.DeleteFunc(usual, func(_ string, v any) bool { return v == deleted })
	b, err := json.Marshal(usual)
	if err != nil {
		t.Fatal(err)
	}
	return encode(b)
}

func (f *forger) sign(t testing.TB, key *ecdsa.PrivateKey, input string) []byte {
	t.Helper()
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out
}

// tokenAdvisories are section 4.3: who is asking.
func tokenAdvisories(c *catalogue) []advisory {
	f := c.forger
	with1 := func(name, token string, want verdict) row {
		return row{name: name, http1: post1("/a/mcp"), body: goodCall, token: token, want: want}
	}
	// A forged token that must be refused by the rule.
	forged := func(name, rule string, header, claims demo.Claims) row {
		return with1(name, f.token(c, header, claims), refused(401, rule))
	}
	as := func(subject string) verdict { return with(allowed("a", "/up/a"), "x-mcpgate-subject", subject) }
	point, err := f.ec.PublicKey.Bytes()
	if err != nil {
		c.Fatal(err)
	}
	byHMAC := func(alg string, secret []byte) string {
		input := f.input(c, demo.Claims{"alg": alg}, nil)
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return input + "." + encode(mac.Sum(nil))
	}
	attacker, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.Fatal(err)
	}
	byAttacker := func(header demo.Claims) string {
		input := f.input(c, header, nil)
		return input + "." + encode(f.sign(c, attacker, input))
	}
	good := f.token(c, nil, nil)
	parts := strings.Split(good, ".")
	audience := func(name, server string, want verdict, aud any) row {
		r := with1(name, f.token(c, nil, demo.Claims{"aud": aud}), want)
		r.http1 = post1("/" + server + "/mcp")
		return r
	}
	onServer := func(v verdict, server string) verdict {
		v.server = server
		return v
	}
	corp := tokenRows(c.table)
	return []advisory{
		{
			section: "4.3", ids: "CVE-2026-33322", bug: "MinIO: the token chooses HS256, the public key is the secret",
			rows: append(pick(corp, "CVE-2026-33322"),
				with1("HS256 with the public point", byHMAC("HS256", point), refused(401, "token-algorithm")),
				with1("HS256 with the x of the key", byHMAC("HS256", point[1:33]), refused(401, "token-algorithm")),
				with1("HS256 with no secret", byHMAC("HS256", nil), refused(401, "token-algorithm")),
				forged("algorithm of the other key", "token-algorithm", demo.Claims{"alg": "RS256"}, nil),
				forged("key of the other algorithm", "token-algorithm", demo.Claims{"kid": "rsa"}, nil),
				forged("algorithm that the issuer does not list", "token-algorithm", demo.Claims{"alg": "ES384"}, nil),
				forged("algorithm in small letters", "token-algorithm", demo.Claims{"alg": "es256"}, nil),
				forged("None", "token-algorithm", demo.Claims{"alg": "None"}, nil),
				forged("algorithm is a number", "token-header", demo.Claims{"alg": 256}, nil),
				forged("no algorithm", "token-algorithm", demo.Claims{"alg": deleted}, nil)),
			tests: []string{"TestAlgorithms", "TestSignature", "TestUnusableKeysAreLeftOut"},
		},
		{
			section: "4.3", ids: "CVE-2026-55669, GHSA-wxg7-w2v3-w38g, CVE-2026-55689, CVE-2026-44428", bug: "ZITADEL, OpenFGA, MCP registry: aud is not checked, or shared; exp is missing",
			rows: append(pick(corp, "expired", "another audience", "not yet valid", "another issuer"),
				audience("token of another server", "a", refused(401, "token-audience"), c.url+"/b/mcp"),
				audience("token of this server", "b", with(allowed("b", "/up/b"), "x-mcpgate-subject", "forged"), []string{c.url + "/b/mcp"}),
				audience("slash at the end", "a", refused(401, "token-audience"), c.url+"/"),
				audience("capitals", "a", refused(401, "token-audience"), strings.ToUpper(c.url)),
				audience("prefix of it", "a", refused(401, "token-audience"), c.url[:len(c.url)-1]),
				audience("empty list", "a", refused(401, "token-audience"), []string{}),
				audience("empty", "a", refused(401, "token-audience"), ""),
				audience("star", "a", refused(401, "token-audience"), "*"),
				audience("object", "a", refused(401, "token-claim"), map[string]string{"aud": c.url}),
				audience("list in a list", "a", refused(401, "token-claim"), [][]string{{c.url}}),
				audience("right audience, wrong issuer", "onlycorp", onServer(refused(401, "token-issuer"), "onlycorp"), "https://onlycorp.example"),
				forged("no aud", "token-audience", nil, demo.Claims{"aud": deleted}),
				forged("no exp", "token-claim", nil, demo.Claims{"exp": deleted}),
				forged("exp is text", "token-claim", nil, demo.Claims{"exp": "9999999999"}),
				forged("exp beyond all times", "token-claim", nil, demo.Claims{"exp": 1e300}),
				forged("iat in the future", "token-not-yet-valid", nil, demo.Claims{"iat": time.Now().Add(time.Hour).Unix()}),
				forged("iss with a slash", "token-issuer", nil, demo.Claims{"iss": f.url + "/"}),
				forged("iss in a list", "token-issuer", nil, demo.Claims{"iss": []string{f.url}})),
			tests: []string{"TestNoAudienceConfiguredIsRefused", "TestAudienceOfServerAndIssuer", "TestAWarmTokenIsJudgedForEachServer"},
		},
		{
			section: "4.3", ids: "CVE-2026-11717, CVE-2026-11718", bug: "mcp-toolbox: the way for opaque tokens accepts what that for JWTs would refuse",
			rows: append(pick(corp, "no JWS"),
				with1("JWT that is refused is not tried as an opaque one", parts[0]+"."+parts[1]+".AAAA", refused(401, "token-signature")),
				with1("two segments", parts[0]+"."+parts[1], refused(401, "token-malformed")),
				with1("no header", "."+parts[1]+"."+parts[2], refused(401, "token-malformed"))),
		},
		{
			section: "4.3", ids: "CVE-2024-51744, CVE-2024-47616", bug: "another kind of token, signed by the same key, is taken for an access token",
			rows: []row{
				forged("ID token by typ", "token-type", demo.Claims{"typ": "id+jwt"}, nil),
				forged("logout token by typ", "token-type", demo.Claims{"typ": "logout+jwt"}, nil),
				forged("DPoP proof", "token-type", demo.Claims{"typ": "dpop+jwt"}, nil),
				forged("no typ", "token-type", demo.Claims{"typ": deleted}, nil),
				forged("ID token by at_hash", "token-type", demo.Claims{"typ": "JWT"}, demo.Claims{"at_hash": "x"}),
				forged("ID token by nonce", "token-type", demo.Claims{"typ": "JWT"}, demo.Claims{"nonce": "x", "scope": deleted}),
				forged("ID token of Cognito", "token-type", nil, demo.Claims{"token_use": "id"}),
				forged("refresh token of Keycloak", "token-type", nil, demo.Claims{"typ": "Refresh"}),
				forged("offline token of Keycloak", "token-type", nil, demo.Claims{"typ": "Offline"}),
				forged("security event", "token-type", nil, demo.Claims{"events": map[string]any{}}),
				forged("bound to a key", "token-type", nil, demo.Claims{"cnf": map[string]any{"jkt": "x"}}),
				forged("no subject", "token-subject", nil, demo.Claims{"sub": deleted}),
				with1("application/at+jwt is at+jwt", f.token(c, demo.Claims{"typ": "Application/AT+JWT"}, nil), as("forged")),
			},
			tests: []string{"TestIDToken", "TestHeader"},
		},
		{
			section: "4.3", ids: "CVE-2025-30204, CVE-2025-27144, CVE-2024-28180, CVE-2024-28122, CVE-2026-34986", bug: "a token of many dots, a compressed or encrypted one, costs memory or panics",
			rows: []row{
				with1("many dots", strings.Repeat(".", 12<<10), refused(401, "token-malformed")),
				with1("too large", parts[0]+"."+strings.Repeat("A", 17<<10)+"."+parts[2], refused(401, "token-too-large")),
				with1("five segments", good+".AAAA.AAAA", refused(401, "token-malformed")),
				with1("JSON serialisation", `{"payload":"x"}`, refused(401, "token-malformed")),
				with1("padding", parts[0]+"=."+parts[1]+"."+parts[2], refused(401, "token-malformed")),
				with1("stray bits at the end", stray(good), refused(401, "token-malformed")),
				forged("zip", "token-header", demo.Claims{"zip": "DEF"}, nil),
				forged("crit", "token-header", demo.Claims{"crit": []string{"exp"}}, nil),
				forged("b64", "token-header", demo.Claims{"b64": false}, nil),
				forged("enc", "token-header", demo.Claims{"enc": "A256GCM", "alg": "PBES2-HS256+A128KW", "p2c": 2147483647}, nil),
				forged("token in a token", "token-header", demo.Claims{"cty": "JWT"}, nil),
			},
			tests: []string{"TestHeader", "TestClaims"},
		},
		{
			section: "4.3", ids: "CVE-2026-41413, CVE-2025-64527", bug: "Istio, Envoy: keys are fetched from where a token or a user says",
			rows: []row{
				with1("jku", byAttacker(demo.Claims{"jku": f.url + "/stolen"}), refused(401, "token-signature")),
				with1("x5u", byAttacker(demo.Claims{"x5u": f.url + "/stolen"}), refused(401, "token-signature")),
				with1("jwk", byAttacker(demo.Claims{"jwk": f.jwk(c, &attacker.PublicKey)}), refused(401, "token-signature")),
				with1("kid is a path", byAttacker(demo.Claims{"kid": "../../../../dev/null"}), refused(401, "token-key")),
				with1("kid is a query", byAttacker(demo.Claims{"kid": "' OR '1'='1"}), refused(401, "token-key")),
				with1("kid is a URL", byAttacker(demo.Claims{"kid": f.url + "/stolen"}), refused(401, "token-key")),
				with1("empty kid", byAttacker(demo.Claims{"kid": ""}), refused(401, "token-header")),
				with1("kid with NUL", byAttacker(demo.Claims{"kid": "ec\x00"}), refused(401, "token-header")),
			},
			run: []attack{{name: "nothing was fetched that a token points to", outcome: "no request", run: func(t *testing.T, _ *catalogue) {
				if n := f.fetched.Load(); n != 0 {
					t.Errorf("%d requests", n)
				}
			}}},
			tests: []string{"TestAddresses", "TestTransportLimits", "TestDiscovery", "TestASetThatPanicsTheReaderIsAFailure"},
		},
		{
			section: "4.3", ids: "CVE-2026-48096, CVE-2026-34972, CVE-2026-33729, CVE-2026-71326", bug: "OpenFGA, Traefik: two requests have one key of the cache, because it is joined text",
			run: []attack{{name: "the claims of a token that is cached, with another signature", outcome: "401 token-signature", run: func(t *testing.T, c *catalogue) {
				c.try(t, with1("warm", good, as("forged")))
				c.try(t, with1("another signature", parts[0]+"."+parts[1]+"."+strings.Split(f.token(t, nil, nil), ".")[2], refused(401, "token-signature")))
			}}},
			tests: []string{"TestDifferentTokensAndKeysAreNotJoined", "TestFieldsDoNotRunTogether", "TestTrieCollisions", "TestCacheModel", "TestClusterNamesOfNeighbours"},
		},
		{
			section: "4.3", ids: "CVE-2026-48529", bug: "github-mcp-server: one object is shared by all users",
			run: []attack{{name: "many callers at once, each by its own name", outcome: "harmless", run: func(t *testing.T, c *catalogue) {
				const callers = 64
				sent := make([]*sending, callers)
				for i := range sent {
					r := row{name: "caller", http1: post1("/a/mcp"), body: goodCall, want: allowed("a", "/up/a")}
					if i%2 == 1 {
						r.claims, r.want = demo.Claims{"scope": "admin"}, refused(403, "scope-insufficient")
					}
					sent[i] = c.sendRow(r)
				}
				for _, s := range sent {
					c.check(t, s)
				}
			}}},
			tests: []string{"TestConcurrentUse", "TestOnlyTheOwnerUnwraps", "TestEachFieldOfTheOwnerCounts"},
		},
		{
			section: "4.3", ids: "CVE-2026-9097", bug: "Casdoor: what was revoked is accepted for as long as it is cached",
			run: []attack{
				{name: "a scope is taken away while its token is warm", outcome: "403 no-scope-helps", run: func(t *testing.T, c *catalogue) {
					const scope = "kind: Scope\nname: passing\nrules: [{servers: [a], tools: [passing_tool]}]\n"
					c.in(t).apply(scope)
					token := f.token(t, nil, demo.Claims{"scope": "passing"})
					use := with1("warm", token, as("forged"))
					use.body, use.want.target = call("passing_tool"), "passing_tool"
					c.try(t, use)
					c.in(t).mustRun("", "delete", "scope", "passing")
					use.want = refused(403, "no-scope-helps")
					c.try(t, use)
				}},
				{name: "an issuer is taken away while its token is warm", outcome: "401 token-issuer", run: func(t *testing.T, c *catalogue) {
					other := newForgerNamed(t, c, "passing")
					token := other.token(t, nil, nil)
					c.try(t, with1("warm", token, as("forged")))
					c.in(t).mustRun("", "delete", "issuer", "passing")
					c.try(t, with1("gone", token, refused(401, "token-issuer")))
				}},
			},
			tests: []string{"TestAWarmTokenExpires", "TestChangedSettingsHoldAtOnce", "TestKeyRemovalIsEffectiveAtTheNextRefresh"},
		},
		{
			section: "4.3", ids: "CVE-2026-39350", bug: "Istio: a dot in a policy is taken for any character",
			rows: []row{
				{name: "dot is a dot", http1: post1("/a/mcp"), claims: demo.Claims{"scope": "dots"}, body: call("axb"), want: refused(403, "no-scope-helps")},
				{name: "the dot itself", http1: post1("/a/mcp"), claims: demo.Claims{"scope": "dots"}, body: call("a.b"), want: with(verdict{status: 200, rule: "granted", target: "a.b", upstream: "/up/a"}, "x-mcpgate-scopes", "dots")},
				{name: "class is no class", http1: post1("/a/mcp"), claims: demo.Claims{"scope": "dots"}, body: call("abc"), want: refused(403, "no-scope-helps")},
				{name: "group is no group", http1: post1("/a/mcp"), claims: demo.Claims{"scope": "dots"}, body: call(strings.Repeat("x", 60) + "y"), want: refused(403, "no-scope-helps")},
				{name: "star asked for", http1: post1("/a/mcp"), body: call("*"), want: refused(403, "no-scope-helps")},
				{name: "prefix asked for", http1: post1("/a/mcp"), body: call("get_*"), want: refused(403, "no-scope-helps")},
			},
			tests: []string{"TestMatcherIsNoRegularExpression", "TestMatcherAgreesWithPattern"},
		},
		{
			section: "4.3", ids: "CVE-2026-40574, CVE-2026-47203", bug: "oauth2-proxy, Authelia: a claim is made canonical before it is compared",
			rows: []row{
				with1("subject of many signs", f.token(c, nil, demo.Claims{"sub": "a@b@c/../d%2f"}), as("a@b@c/../d%2f")),
				with1("subject in capitals", f.token(c, nil, demo.Claims{"sub": "Ünïcode"}), as("Ünïcode")),
				forged("scope in a tab", "token-claim", nil, demo.Claims{"scope": "unknown\tuse"}),
				forged("scope in a line break", "token-claim", nil, demo.Claims{"scope": "unknown\nuse"}),
				forged("scopes joined in a list", "token-claim", nil, demo.Claims{"scope": []string{"unknown use"}}),
				with1("scope in capitals", f.token(c, nil, demo.Claims{"scope": "USE"}), refused(403, "scope-insufficient")),
				with1("scope before a no-break space", f.token(c, nil, demo.Claims{"scope": "use\u00a0unknown"}), refused(403, "scope-insufficient")),
				with1("scope with a comma", f.token(c, nil, demo.Claims{"scope": "unknown,use"}), refused(403, "scope-insufficient")),
				with1("scope in another normal form", f.token(c, nil, demo.Claims{"scope": "u\u0073\u0301e"}), refused(403, "scope-insufficient")),
				with1("scopes of two spaces", f.token(c, nil, demo.Claims{"scope": "unknown  use "}), as("forged")),
			},
			tests: []string{"TestScopes", "TestParseScopeNames", "TestNamesAreComparedByteForByte"},
		},
	}
}

// newForgerNamed is another issuer, for as long as a test wants it.
func newForgerNamed(t *testing.T, c *catalogue, name string) *forger {
	t.Helper()
	f := &forger{audience: c.url, ec: c.forger.ec}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{f.jwk(t, &f.ec.PublicKey)}})
	}))
	t.Cleanup(srv.Close)
	f.url = srv.URL
	c.in(t).apply(fmt.Sprintf("kind: Issuer\nname: %s\nissuer: %s\njwksURI: %[2]s/jwks\naudiences: [%s]\n", name, f.url, c.url))
	return f
}

// stray sets a bit of the last character that no byte has room for.
func stray(token string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(digits, token[len(token)-1])
	return token[:len(token)-1] + digits[last^1:last^1+1]
}
