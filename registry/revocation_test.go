package registry_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/registry"
)

func TestValidateRevocation(t *testing.T) {
	t.Parallel()
	check := func(name string, change func(*registry.Revocation), want ...string) {
		t.Helper()
		checkFields(t, name, exampleRevocation(), change, want...)
	}
	check("the example", func(*registry.Revocation) {})
	for name, r := range map[string]registry.Revocation{
		"subject": {Subject: "alice"}, "client": {Client: "agent"}, "token": {TokenID: "t-1"}, "session": {Session: "s-1"}, "issuer": {Issuer: "corp"},
	} {
		check(name+" alone", func(x *registry.Revocation) { *x = r; x.Name = "r" })
	}
	check("nobody", func(r *registry.Revocation) {
		*r = registry.Revocation{Name: "r", IssuedBefore: r.IssuedBefore, Until: r.Until, Reason: r.Reason}
	}, "")
	check("names", func(r *registry.Revocation) { r.Name, r.Issuer = "A", "Corp" }, "name", "issuer")
	check("texts", func(r *registry.Revocation) {
		r.Subject, r.Client, r.TokenID, r.Session, r.Reason = "a\x00", "\xff", strings.Repeat("a", 1025), "a\u0085", "\x1b"
	}, "subject", "client", "tokenID", "session", "reason")
	check("whatever a token can say", func(r *registry.Revocation) {
		r.Subject, r.Client = "CN=Ünïcode, DC=x\u200b ", "https://client.example/metadata.json"
	})
}

func TestTimeIsRFC3339InUTC(t *testing.T) {
	t.Parallel()
	var at registry.Time
	if err := json.Unmarshal([]byte(`"2026-11-25T14:00:00.5+02:00"`), &at); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(at)
	if want := `"2026-11-25T12:00:00.5Z"`; string(b) != want || err != nil {
		t.Errorf("got %s, want %s (%v)", b, want, err)
	}
	for _, in := range []string{`""`, `"tomorrow"`, `"2026-11-25"`, `"2026-11-25T12:00:00"`, `1795608000`, `null`} {
		before := at
		if err := json.Unmarshal([]byte(in), &at); err == nil && in != "null" {
			t.Errorf("%s was read as %s", in, at)
		}
		at = before
	}
}

func TestEqualComparesInstants(t *testing.T) {
	t.Parallel()
	a, b := exampleRevocation(), exampleRevocation()
	b.Until.Time = b.Until.In(time.FixedZone("x", 3600))
	if !registry.Equal(a, b) {
		t.Error("one instant in two zones is not equal")
	}
	b.Until.Time = b.Until.Add(time.Nanosecond)
	if registry.Equal(a, b) {
		t.Error("two instants are equal")
	}
}

func TestApplyRevocationNamesAnIssuer(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	refused(t, s, registry.Batch{Writes: puts(exampleRevocation())}, "revocation/stolen-laptop: issuer: names issuer/corp, which does not exist")
	apply(t, s, registry.Batch{Writes: puts(exampleIssuer(), exampleRevocation())})
	refused(t, s, registry.Batch{Writes: deletes(key(registry.KindIssuer, "corp"))}, "issuer/corp: cannot be deleted: it is still named by revocation/stolen-laptop")
}

func TestApplyPruneLeavesRevocations(t *testing.T) {
	t.Parallel()
	s := newStore(t, exampleIssuer(), exampleGroup(), exampleScope(), exampleRevocation())
	wantActions(t, apply(t, s, registry.Batch{Writes: puts(exampleIssuer()), Prune: true}),
		"issuer/corp unchanged 1", "group//lob1/users deleted 2", "scope/weather:read deleted 2")
}

func opaqueIssuer(name string) *registry.Issuer {
	return &registry.Issuer{
		Name: name, Issuer: "https://" + name + ".example.com",
		Introspection: &registry.Introspection{URL: "https://" + name + ".example.com/introspect", ClientID: "gateway", ClientSecret: "env:SECRET"},
	}
}

func TestValidateIntrospection(t *testing.T) {
	t.Parallel()
	check := func(name string, change func(*registry.Issuer), want ...string) {
		t.Helper()
		checkFields(t, name, opaqueIssuer("corp"), change, want...)
	}
	check("the example", func(*registry.Issuer) {})
	check("loopback in clear text", func(i *registry.Issuer) { i.Introspection.URL = "http://127.0.0.1:1/introspect" })
	check("empty", func(i *registry.Issuer) { i.Introspection = &registry.Introspection{} },
		"introspection.url", "introspection.clientID", "introspection.clientSecret")
	check("clear text", func(i *registry.Issuer) { i.Introspection.URL = "http://idp.example.com/introspect" }, "introspection.url")
	check("the secret itself", func(i *registry.Issuer) { i.Introspection.ClientSecret = "hunter2" }, "introspection.clientSecret")
	check("both kinds at once", func(i *registry.Issuer) {
		i.JWKSURI, i.Algorithms, i.TokenTypes, i.Keys.Refresh = "https://i/jwks", []string{"RS256"}, []string{"JWT"}, registry.Duration(time.Minute)
	}, "jwksURI", "algorithms", "tokenTypes", "keys")
	check("audience from the client", func(i *registry.Issuer) { i.AudienceFrom = "client_id" })
	check("audience from elsewhere", func(i *registry.Issuer) { i.AudienceFrom = "azp" }, "audienceFrom")
}

func TestApplyRefusesTwoIssuersWithIntrospection(t *testing.T) {
	t.Parallel()
	a, b, jwt := opaqueIssuer("a"), opaqueIssuer("b"), exampleIssuer()
	s := newStore(t)
	both := &registry.Server{Name: "both", Upstream: registry.Upstream{URL: "https://h"}, Access: registry.Access{Issuers: []string{"corp", "a", "b"}}}
	refused(t, s, registry.Batch{Writes: puts(both, a, b, jwt)},
		"server/both: access.issuers[2]: is a second Issuer with introspection: an opaque token does not say which of them to ask")
	one := &registry.Server{Name: "one", Upstream: registry.Upstream{URL: "https://h"}, Access: registry.Access{Issuers: []string{"corp", "a"}}}
	r := apply(t, s, registry.Batch{Writes: puts(one, a, jwt)})
	if len(r.Warnings) != 0 {
		t.Errorf("warnings %v", r.Warnings)
	}
	r = apply(t, s, registry.Batch{Writes: puts(b)})
	want := "issuer/b: introspection: issuer/a has introspection too: servers must name one of them in access.issuers, the others refuse opaque tokens"
	if len(r.Warnings) != 1 || r.Warnings[0].String() != want {
		t.Errorf("warnings %v, want %s", r.Warnings, want)
	}
	// An Issuer that comes to have introspection, below a server that is not
	// written.
	changed := opaqueIssuer("corp")
	refused(t, s, registry.Batch{Writes: puts(changed)},
		"issuer/corp: introspection: server/one names another Issuer with introspection: an opaque token does not say which of them to ask")
}

func TestValidateExchange(t *testing.T) {
	t.Parallel()
	exchange := func() *registry.Exchange {
		return &registry.Exchange{TokenURL: "https://idp.example.com/token", ClientID: "gateway", ClientSecret: "env:SECRET", Audience: "weather", Scopes: []string{"a", "b"}}
	}
	check := func(name string, change func(*registry.Server), want ...string) {
		t.Helper()
		s := exampleServer()
		s.Upstream.Credential, s.Upstream.Exchange = nil, exchange()
		checkFields(t, name, s, change, want...)
	}
	check("the example", func(*registry.Server) {})
	check("empty", func(s *registry.Server) { s.Upstream.Exchange = &registry.Exchange{} },
		"upstream.exchange.tokenURL", "upstream.exchange.clientID", "upstream.exchange.clientSecret")
	check("clear text", func(s *registry.Server) { s.Upstream.Exchange.TokenURL = "http://idp.example.com/token" }, "upstream.exchange.tokenURL")
	check("scopes", func(s *registry.Server) { s.Upstream.Exchange.Scopes = []string{"a b", "a", "a"} }, "upstream.exchange.scopes[2]", "upstream.exchange.scopes[0]")
	check("beside a credential", func(s *registry.Server) {
		s.Upstream.Credential = &registry.Credential{Header: "X-Key", Secret: "env:KEY"}
	}, "upstream.exchange")
	check("beside the client's token", func(s *registry.Server) { s.Upstream.ForwardClientToken = true }, "upstream.exchange")

	a, b := exampleServer(), exampleServer()
	b.Upstream.Exchange = exchange()
	if a.SameUpstream(b) || b.SameUpstream(a) {
		t.Error("a server that begins to exchange tokens keeps its generation")
	}
	a.Upstream.Exchange = exchange()
	if !a.SameUpstream(b) {
		t.Error("an equal exchange is another upstream")
	}
	c, ok := a.Clone().(*registry.Server)
	if !ok {
		t.Fatal("a clone of another type")
	}
	c.Upstream.Exchange.Scopes[0] = "c"
	if diff := cmp.Diff(exchange(), a.Upstream.Exchange); diff != "" {
		t.Errorf("the clone shares memory (-want +got)\n%s", diff)
	}
	if a.SameUpstream(c) {
		t.Error("an exchange for another scope is the same upstream")
	}
}

func TestWarnAboutAudienceFromWithoutClients(t *testing.T) {
	t.Parallel()
	i := exampleIssuer()
	i.AudienceFrom = registry.AudienceFromClient
	if w := registry.Warnings(i); len(w) != 1 || w[0].Field != "audiences" {
		t.Errorf("warnings %v", w)
	}
	i.Audiences = []string{"client-1"}
	if w := registry.Warnings(i); len(w) != 0 {
		t.Errorf("warnings %v", w)
	}
}
