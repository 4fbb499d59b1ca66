package registry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/registry"
)

func TestExamplesAreValid(t *testing.T) {
	t.Parallel()
	key := &registry.SessionKey{Name: "k-1_A", Secret: make([]byte, 32)}
	for _, r := range append(examples(), key) {
		if err := registry.Validate(r); err != nil {
			t.Errorf("%s: %v", r.Key(), err)
		}
	}
}

// fields lists "field: start of the message" of every problem.
func fields(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var invalid *registry.InvalidError
	if !errors.As(err, &invalid) || !errors.Is(err, registry.ErrInvalid) {
		t.Fatalf("error %v (%T) is not an InvalidError", err, err)
	}
	var list []string
	for _, p := range invalid.Problems {
		list = append(list, p.Field)
	}
	return list
}

func checkFields[R registry.Resource](t *testing.T, name string, r R, change func(R), want ...string) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Helper()
		change(r)
		if diff := cmp.Diff(want, fields(t, registry.Validate(r))); diff != "" {
			t.Errorf("fields with problems (-want +got):\n%s%v", diff, registry.Validate(r))
		}
	})
}

func TestValidateServer(t *testing.T) {
	t.Parallel()
	check := func(name string, change func(*registry.Server), want ...string) {
		t.Helper()
		checkFields(t, name, exampleServer(), change, want...)
	}
	for _, name := range []string{"", "-a", "a-", "A", "a_b", "a.b", "a/b", "ä", strings.Repeat("a", 64), "api", "healthz", "metrics", "oauth", "ui", "v0", "well-known", "a\n", "*"} {
		check(fmt.Sprintf("name %q is refused", name), func(s *registry.Server) { s.Name = name }, "name")
	}
	for _, name := range []string{"a", "0", "a-b", "a--b", strings.Repeat("a", 63), "v01", "api2"} {
		check(fmt.Sprintf("name %q is accepted", name), func(s *registry.Server) { s.Name = name })
	}
	for _, url := range []string{
		"", "weather", "/mcp", "//h/mcp", "ftp://h/mcp", "https://", "https:///mcp", "https:h/mcp", "https://u@h/", "https://u:p@h/", "https://h/?", "https://h/?a=b",
		"https://h/#", "https://h/#f", "https://h/a b", "https://h/\n", "https://h/\x00", "https://h/%00", "https://h/%0a", "https://h/%zz", "https://h:0/", "https://h:65536/", "https://h:/",
		"https://h:x/", "https://h:-1/", "https://[::1", "https://[fe80::1%25eth0]/", "https://[v1.a]/", "https://a..b/", "https://-a/", "https://h/../x", "https://h/a/./b", "https://h/%2e%2e/x",
		"https://h/\\x", "https://h/{x}", "https://h/ä", "https://ä/", "https://h,h/", "https://" + strings.Repeat("a", 64) + "/", "https://h/" + strings.Repeat("a", 2048),
	} {
		check(fmt.Sprintf("url %.40q is refused", url), func(s *registry.Server) { s.Upstream.URL, s.Upstream.TLS = url, nil }, "upstream.url")
	}
	for _, url := range []string{
		"http://h", "HTTPS://H/", "https://h:443/mcp/", "http://127.0.0.1:3000/mcp", "http://[::1]:3000/mcp", "https://my_host.svc.cluster.local./a%20b/c~d;e=1,2", "http://10.0.0.1/a//b",
	} {
		check(fmt.Sprintf("url %q is accepted", url), func(s *registry.Server) { s.Upstream.URL, s.Upstream.TLS = url, nil })
	}
	for _, ref := range []registry.SecretRef{"", "s3cr3t", "env:", "env:1A", "env:A-B", "env:A B", "file:", "file:a", "file:./a", "file:/", "file:/a/../b", "file:/a\n", "Env:A", "vault:x"} {
		check(fmt.Sprintf("secret %q is refused", ref), func(s *registry.Server) { s.Upstream.Credential.Secret = ref }, "upstream.credential.secret")
	}
	for _, h := range []string{"Host", "content-length", "Transfer-Encoding", "connection", "TE", "Cookie", "Mcp-Session-Id", "mcp-method", "X-Mcpgate-Subject", "x-envoy-foo", "X-Forwarded-For", "X-Request-Id", "Origin", "Content-Type", ":path", "a b", "a:b", "a\r\nb", "ä"} {
		check(fmt.Sprintf("credential header %q is refused", h), func(s *registry.Server) { s.Upstream.Credential.Header = h }, "upstream.credential.header")
	}
	check("credential header X-API-Key is accepted", func(s *registry.Server) {
		s.Upstream.Credential = &registry.Credential{Header: "X-API-Key", Secret: "file:/run/key"}
	})
	check("scheme with a space", func(s *registry.Server) { s.Upstream.Credential.Scheme = "Bearer " }, "upstream.credential.scheme")
	check("token and credential in one header", func(s *registry.Server) { s.Upstream.ForwardClientToken = true }, "upstream.forwardClientToken")
	check("tls without https", func(s *registry.Server) { s.Upstream.URL = "http://h" }, "upstream.tls")
	check("relative CA file", func(s *registry.Server) { s.Upstream.TLS.CAFile = "ca.pem" }, "upstream.tls.caFile")
	check("bad server name", func(s *registry.Server) { s.Upstream.TLS.ServerName = "a b" }, "upstream.tls.serverName")
	for _, d := range []time.Duration{-1, time.Millisecond, time.Hour} {
		check("connect timeout "+d.String(), func(s *registry.Server) { s.Upstream.ConnectTimeout = registry.Duration(d) }, "upstream.connectTimeout")
	}
	for _, d := range []time.Duration{-time.Second, time.Millisecond, 25 * time.Hour} {
		check("idle timeout "+d.String(), func(s *registry.Server) { s.Upstream.IdleTimeout = registry.Duration(d) }, "upstream.idleTimeout")
	}
	check("access", func(s *registry.Server) {
		s.Access = registry.Access{Issuers: []string{"corp", "Corp", "corp"}, Audiences: []string{"", "a\x00"}, BaselineScopes: []string{"a b"}}
	}, "access.issuers[2]", "access.issuers[1]", "access.audiences[0]", "access.audiences[1]", "access.baselineScopes[0]")
	check("too many", func(s *registry.Server) {
		s.Tags, s.Access.Audiences = make([]string, 1_000_000), make([]string, 1_000_000)
	}, "tags", "access.audiences")
	check("texts", func(s *registry.Server) {
		s.Title, s.Description, s.Tags = "a\nb", "fine\n\ttoo\x1b[0m", []string{"", "\u202e"}
	}, "title", "description", "tags[0]", "tags[1]")
	check("description of many lines", func(s *registry.Server) { s.Description = "one\n\ttwo\n" })
}

func TestValidateNeverRepeatsASecret(t *testing.T) {
	t.Parallel()
	s := exampleServer()
	s.Upstream.URL = "https://user:hunter2@h/?k=hunter2"
	s.Upstream.Credential.Secret = "hunter2"
	if err := registry.Validate(s); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
}

func TestValidateIssuer(t *testing.T) {
	t.Parallel()
	check := func(name string, change func(*registry.Issuer), want ...string) {
		t.Helper()
		checkFields(t, name, exampleIssuer(), change, want...)
	}
	for _, url := range []string{"", "idp", "http://idp.example.com", "http://127.0.0.1.example.com", "http://10.0.0.1/", "https://i/?a", "https://i/#", "https://u@i/"} {
		check(fmt.Sprintf("issuer %q is refused", url), func(i *registry.Issuer) { i.Issuer = url }, "issuer")
	}
	for _, url := range []string{"https://idp.example.com", "http://localhost:8080/realms/a", "http://127.0.0.2:1", "http://[::1]:80/x"} {
		check(fmt.Sprintf("issuer %q is accepted", url), func(i *registry.Issuer) { i.Issuer = url })
	}
	check("key set with a query", func(i *registry.Issuer) { i.JWKSURI = "https://i/keys?p=policy" })
	check("key set in clear text", func(i *registry.Issuer) { i.JWKSURI = "http://i/keys" }, "jwksURI")
	for _, alg := range []string{"none", "None", "HS256", "hs512", "RS1", "ES256K", "rs256", "", "RSA-OAEP"} {
		check(fmt.Sprintf("algorithm %q is refused", alg), func(i *registry.Issuer) { i.Algorithms = []string{"RS256", alg} }, "algorithms[1]")
	}
	check("all algorithms", func(i *registry.Issuer) {
		i.Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	})
	check("defaults", func(i *registry.Issuer) { *i = registry.Issuer{Name: "corp", Issuer: "https://i"} })
	check("token types", func(i *registry.Issuer) { i.TokenTypes = []string{"application/at+jwt", "", "a b", "JWT", "JWT"} }, "tokenTypes[4]", "tokenTypes[2]")
	check("claims", func(i *registry.Issuer) {
		i.Claims.Subject = []registry.ClaimPath{{}}
		i.Claims.Client = []registry.ClaimPath{{"a", ""}, {"\x00"}, make(registry.ClaimPath, 9)}
		i.Claims.Scopes = make([]registry.ClaimPath, 17)
	}, "claims.subject[0]", "claims.client[0][1]", "claims.client[1][0]", "claims.client[2]", "claims.scopes")
	check("keys that expire before they are fetched again", func(i *registry.Issuer) { i.Keys.MaxStale = registry.Duration(time.Minute) }, "keys.maxStale")
	check("key times", func(i *registry.Issuer) {
		i.Keys = registry.Keys{Refresh: registry.Duration(time.Millisecond), MaxStale: registry.Duration(1000 * time.Hour)}
	}, "keys.refresh", "keys.maxStale")
}

func TestValidateScope(t *testing.T) {
	t.Parallel()
	check := func(name string, change func(*registry.Scope), want ...string) {
		t.Helper()
		checkFields(t, name, exampleScope(), change, want...)
	}
	for _, name := range []string{"", "a b", `a"b`, `a\b`, "ä", "a\x7f", strings.Repeat("a", 129)} {
		check(fmt.Sprintf("name %q is refused", name), func(s *registry.Scope) { s.Name = name }, "name")
	}
	check("name of every scope-token character is accepted", func(s *registry.Scope) {
		s.Name = "!#$%&'()*+,-./09:;<=>?@AZ[]^_`az{|}~"
	})
	check("includes", func(s *registry.Scope) { s.Includes = []string{"ok", "", "weather:read", "ok"} }, "includes[3]", "includes[1]", "includes[2]")
	check("rule without servers", func(s *registry.Scope) { s.Rules = append(s.Rules, registry.Rule{}) }, "rules[1].servers")
	check("servers", func(s *registry.Scope) { s.Rules[0].Servers = []string{"*", "a*", "", "B"} }, "rules[0].servers[1]", "rules[0].servers[2]", "rules[0].servers[3]")
	for _, p := range []registry.Pattern{"", "a*b", "*a", "**", "a\x00", "a\n*", "\xff", registry.Pattern(strings.Repeat("a", 1025))} {
		check(fmt.Sprintf("pattern %.10q is refused", p), func(s *registry.Scope) {
			s.Rules[0].Tools = []registry.Pattern{"ok", p}
			s.Rules[0].Prompts = []registry.Pattern{p}
			s.Rules[0].Resources = []registry.Pattern{p}
		}, "rules[0].tools[1]", "rules[0].prompts[0]", "rules[0].resources[0]")
	}
	for _, p := range []registry.Pattern{"*", "a*", "a", "日本*", "file:///a b?c#d", "?", "[a]"} {
		check(fmt.Sprintf("pattern %q is accepted", p), func(s *registry.Scope) { s.Rules[0].Tools = []registry.Pattern{p} })
	}
	for _, m := range []string{"", "*", "tools/*", "tools/call", "prompts/get", "resources/read", "resources/subscribe", "resources/unsubscribe", "completion/complete", "tasks/list", "a b", "a\x00", "ä"} {
		check(fmt.Sprintf("method %q is refused", m), func(s *registry.Scope) { s.Rules[0].Methods = []string{"x/y", m} }, "rules[0].methods[1]")
	}
	check("too many patterns", func(s *registry.Scope) { s.Rules[0].Tools = make([]registry.Pattern, 1_000_000) }, "rules[0].tools")
	check("too large", func(s *registry.Scope) {
		for i := range 200 {
			r := registry.Rule{Servers: []string{"a"}}
			for j := range 10 {
				r.Tools = append(r.Tools, registry.Pattern(fmt.Sprintf("%d-%s", j, strings.Repeat("a", 1000))))
			}
			r.Methods = []string{fmt.Sprint(i)}
			s.Rules = append(s.Rules, r)
		}
	}, "")
	t.Run("problems are bounded", func(t *testing.T) {
		s := exampleScope()
		s.Rules = make([]registry.Rule, 256)
		for i := range s.Rules {
			s.Rules[i].Tools = make([]registry.Pattern, 1000)
		}
		if n := len(fields(t, registry.Validate(s))); n != 101 {
			t.Errorf("%d problems", n)
		}
	})
}

func TestValidateMethodHint(t *testing.T) {
	t.Parallel()
	s := exampleScope()
	s.Rules[0].Methods = []string{"tools/call"}
	want := "scope/weather:read: rules[0].methods[0]: tools/call is granted by tools, which names the tools"
	if got := fmt.Sprint(registry.Validate(s)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestValidateGroupAndSessionKey(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a\x00", "a\u200b", "\xff", "a\u2028", strings.Repeat("a", 257)} {
		checkFields(t, fmt.Sprintf("group %.10q is refused", name), exampleGroup(), func(g *registry.Group) { g.Name = name }, "name")
	}
	for _, name := range []string{"a", "/lob1/users", "CN=Users, DC=x", "日本", "a b"} {
		checkFields(t, fmt.Sprintf("group %q is accepted", name), exampleGroup(), func(g *registry.Group) { g.Name = name })
	}
	checkFields(t, "group", exampleGroup(), func(g *registry.Group) { g.Issuer, g.Scopes = "Corp", []string{""} }, "issuer", "scopes[0]")
	task := &registry.Task{Name: "dA_-1", Server: "weather", ExpiresAt: 1}
	if err := registry.Validate(task); err != nil {
		t.Error(err)
	}
	checkFields(t, "task", task, func(k *registry.Task) { k.Name, k.Owner, k.Server, k.ExpiresAt = "a b", "ö", "A", 0 }, "name", "owner", "server", "expiresAt")
	checkFields(t, "session key", &registry.SessionKey{}, func(k *registry.SessionKey) { k.Name = "a.b" }, "name", "secret")
}

func TestProblemQuotesWhatCannotBePrinted(t *testing.T) {
	t.Parallel()
	p := registry.Problem{Key: registry.Key{Kind: registry.KindServer, Name: "a\x1b[2J"}, Field: "name", Message: "bad"}
	if got, want := p.String(), `"server/a\x1b[2J": name: bad`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
