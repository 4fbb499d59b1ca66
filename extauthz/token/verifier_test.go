package token

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/registry"
)

func (f *fixture) cached() int { return f.cache.len() }

func TestAWarmTokenIsTheSameCaller(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	raw := f.key.mint(f.claims())
	first := f.accept(raw)
	if second := f.accept(raw); first != second {
		t.Error("verified twice")
	}
	f.refuse(raw[:len(raw)-4]+"AAAA", extauthz.RuleTokenSignature)
	if n := f.cached(); n != 1 {
		t.Errorf("%d entries: a refused token is not to be cached", n)
	}
	if got, want := f.CacheStatus(), (CacheStatus{Entries: 1, Hits: 1, Misses: 2}); got != want {
		t.Errorf("cache status %+v, want %+v", got, want)
	}
}

func TestAWarmTokenExpires(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	raw := f.key.mint(f.claims())
	f.accept(raw)
	f.clock.add(5*time.Minute + leeway - time.Second)
	f.accept(raw)
	f.clock.add(time.Second)
	f.refuse(raw, extauthz.RuleTokenExpired)
	if n := f.cached(); n != 0 {
		t.Errorf("%d entries of an expired token", n)
	}
	// The clock steps back: valid again, by its own words.
	f.clock.add(-10 * time.Minute)
	f.refuse(raw, extauthz.RuleTokenNotYetValid)
	f.clock.add(6 * time.Minute)
	f.accept(raw)
	f.clock.add(-10 * time.Minute)
	f.refuse(raw, extauthz.RuleTokenNotYetValid) // a warm one too
}

func TestAWarmTokenIsJudgedForEachServer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.idp.serveKeys("https://two.example.com/jwks", f.key.jwk())
	f.SetIssuer(&registry.Issuer{Name: "two", Issuer: "https://two.example.com", JWKSURI: "https://two.example.com/jwks"})
	raw := f.key.mint(f.claims())
	f.accept(raw)
	for name, tt := range map[string]struct {
		want Want
		rule extauthz.Rule
	}{
		"other audience":      {Want{Audiences: []string{"https://gw.example.com/files/mcp"}}, extauthz.RuleTokenAudience},
		"no audience":         {Want{}, extauthz.RuleTokenAudience},
		"other issuer":        {Want{Issuers: []string{"two"}, Audiences: []string{audience}}, extauthz.RuleTokenIssuer},
		"no issuer":           {Want{Issuers: []string{}, Audiences: []string{audience}}, extauthz.RuleTokenIssuer},
		"the URL as a name":   {Want{Issuers: []string{corpURL}, Audiences: []string{audience}}, extauthz.RuleTokenIssuer},
		"this issuer":         {Want{Issuers: []string{"two", "corp"}, Audiences: []string{audience}}, ""},
		"one of its audience": {Want{Audiences: []string{"x", audience}}, ""},
	} {
		c, err := f.Verify(t.Context(), raw, tt.want)
		if tt.rule == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Rule != tt.rule || c != nil {
			t.Errorf("%s: got %v, want %s", name, err, tt.rule)
		}
	}
}

func TestTwoIssuersSharingAKid(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other := rsaKey("k1", 1)
	f.idp.serveKeys("https://two.example.com/jwks", other.jwk())
	f.SetIssuer(&registry.Issuer{Name: "two", Issuer: "https://two.example.com", JWKSURI: "https://two.example.com/jwks"})
	if c := f.accept(f.key.mint(f.claims())); c.Issuer != "corp" {
		t.Errorf("issuer %s", c.Issuer)
	}
	if c := f.accept(other.mint(f.claims("iss", "https://two.example.com"))); c.Issuer != "two" {
		t.Errorf("issuer %s", c.Issuer)
	}
	f.refuse(other.mint(f.claims()), extauthz.RuleTokenSignature)
	f.refuse(f.key.mint(f.claims("iss", "https://two.example.com")), extauthz.RuleTokenSignature)
}

func TestTwoIssuersWithOneURL(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(i *registry.Issuer) { i.TokenTypes = []string{"JWT"} }) // corp
	same := func(name string, change func(*registry.Issuer)) {
		f.SetIssuer(corp(func(i *registry.Issuer) { i.Name = name }, change))
	}
	same("a-strict", func(i *registry.Issuer) { i.Algorithms = []string{"ES256"} })
	same("z-access", func(i *registry.Issuer) { i.TokenTypes = []string{"at+jwt"} })
	raw := f.key.mint(f.claims()) // at+jwt, RS256
	if c := f.accept(raw); c.Issuer != "z-access" {
		t.Errorf("issuer %s", c.Issuer)
	}
	c, err := f.Verify(t.Context(), raw, Want{Issuers: []string{"corp", "a-strict"}, Audiences: []string{audience}})
	wantRefusal(t, c, err, extauthz.RuleTokenAlgorithm) // the first by name

	same("b-access", func(i *registry.Issuer) { i.TokenTypes = []string{"at+jwt"} })
	for range 2 {
		c, err := f.Verify(t.Context(), raw, Want{Issuers: []string{"b-access"}, Audiences: []string{audience}})
		if err != nil || c.Issuer != "b-access" {
			t.Errorf("got %v, %v", c, err)
		}
		c, err = f.Verify(t.Context(), raw, Want{Issuers: []string{"z-access"}, Audiences: []string{audience}})
		if err != nil || c.Issuer != "z-access" {
			t.Errorf("got %v, %v", c, err)
		}
	}
	f.RemoveIssuer("z-access")
	f.RemoveIssuer("b-access")
	f.refuse(raw, extauthz.RuleTokenAlgorithm)
	if n := len(f.byURL[corpURL]); n != 2 {
		t.Errorf("%d issuers left", n)
	}
}

// TestChangedSettingsHoldAtOnce: also for tokens that are in the cache.
func TestChangedSettingsHoldAtOnce(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*registry.Issuer)
		rule   extauthz.Rule
	}{
		"algorithms": {func(i *registry.Issuer) { i.Algorithms = []string{"ES256"} }, extauthz.RuleTokenAlgorithm},
		"types":      {func(i *registry.Issuer) { i.TokenTypes = []string{"JWT"} }, extauthz.RuleTokenType},
		"subject": {
			func(i *registry.Issuer) { i.Claims.Subject = []registry.ClaimPath{{"oid"}} },
			extauthz.RuleTokenSubject,
		},
		"issuer URL": {func(i *registry.Issuer) { i.Issuer += "/" }, extauthz.RuleTokenIssuer},
		"JWKS URI":   {func(i *registry.Issuer) { i.JWKSURI += "2" }, extauthz.RuleKeysUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			raw := f.key.mint(f.claims())
			f.accept(raw)
			f.SetIssuer(corp(tt.change))
			f.refuse(raw, tt.rule)
			f.SetIssuer(corp())
			f.accept(raw)
			f.RemoveIssuer("corp")
			f.refuse(raw, extauthz.RuleTokenIssuer)
			f.RemoveIssuer("corp")
		})
	}
	f := newFixture(t, func(i *registry.Issuer) { i.Audiences = []string{"api://x"} })
	raw := f.key.mint(f.claims("aud", "api://x"))
	f.accept(raw)
	f.SetIssuer(corp())
	f.refuse(raw, extauthz.RuleTokenAudience)
}

func TestEqualSettingsChangeNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	raw := f.key.mint(f.claims())
	first := f.accept(raw)
	f.SetIssuer(corp(func(i *registry.Issuer) { i.Metadata = registry.Metadata{Revision: 7} }))
	if f.accept(raw) != first || f.idp.fetches(corpJWKS) != 1 {
		t.Errorf("verified anew, or %d fetches", f.idp.fetches(corpJWKS))
	}
}

// TestChangedSettingsKeepTheKeys: a change of settings is no outage, even when
// the issuer is down at that moment.
func TestChangedSettingsKeepTheKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.accept(f.key.mint(f.claims()))
	f.idp.serve(corpJWKS, nil)
	f.SetIssuer(corp(func(i *registry.Issuer) { i.Audiences = []string{"api://x"} }))
	f.accept(f.key.mint(f.claims("aud", "api://x")))
}

func TestATokenThatWaitsForKeysSurvivesAChangeOfSettings(t *testing.T) {
	t.Parallel()
	rsaKeys[0]()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{TB: t, idp: newIDP(), key: rsaKey("k1", 0)}
		f.Verifier = New(Config{Transport: f.idp})
		defer f.Close()
		const other = corpJWKS + "2"
		f.idp.serveKeys(other, f.key.jwk())
		done := make(chan error)
		block := make(chan struct{})
		f.idp.serve(corpJWKS, func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-block:
			case <-r.Context().Done():
			}
		})
		f.SetIssuer(corp())
		raw := f.key.mint(f.claims())
		go func() {
			_, err := f.Verify(t.Context(), raw, Want{Audiences: []string{audience}})
			done <- err
		}()
		synctest.Wait()
		f.SetIssuer(corp(func(i *registry.Issuer) { i.JWKSURI = other }))
		if err := <-done; err != nil {
			t.Error(err)
		}
		close(block)
	})
}

func TestAfterCloseNothingIsAccepted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	raw := f.key.mint(f.claims())
	f.accept(raw)
	f.Close()
	f.refuse(raw, extauthz.RuleKeysUnavailable)
	f.SetIssuer(corp())
	f.refuse(raw, extauthz.RuleKeysUnavailable)
	f.Close()
}

func TestStatusListsIssuersByName(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.accept(f.key.mint(f.claims()))
	f.SetIssuer(&registry.Issuer{Name: "a", Issuer: "https://down.example.com"})
	s := f.Status()
	if len(s) != 2 || s[0].Name != "a" || s[0].Usable || s[0].Keys != 0 ||
		s[1].Name != "corp" || !s[1].Usable || s[1].Keys != 1 || s[1].URL != corpURL || s[1].JWKSURI != corpJWKS {
		t.Errorf("status %+v", s)
	}
}

func TestErrorsNeverShowTheToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	long := strings.Repeat("https://long.example.com/", 100)
	for _, raw := range []string{
		f.key.mint(f.claims("aud", long)), f.key.mint(f.claims("iss", long)),
		rsaKey("k1", 1).mint(f.claims()), "opaque-token", f.key.mint(f.claims()) + ".",
	} {
		_, err := f.verify(raw)
		if err == nil {
			t.Fatal("accepted")
		}
		if strings.Contains(err.Error(), raw) || len(err.Error()) > 300 {
			t.Errorf("the error is %q", err)
		}
	}
}

// TestConcurrentUse: many tenants at once, while their issuers change, and
// nobody ever gets another's caller.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			f.SetIssuer(corp(func(r *registry.Issuer) { r.Audiences = []string{fmt.Sprint(i % 2)} })) //nolint:contextcheck // a fetch is for all who wait, and outlives one of them
			f.Status()
		}
	})
	var tenants sync.WaitGroup
	for n := range 8 {
		tenants.Go(func() {
			sub := fmt.Sprintf("tenant-%d", n)
			raw := f.key.mint(f.claims("sub", sub, "scope", sub))
			for range 50 {
				c, err := f.Verify(ctx, raw, Want{Audiences: []string{audience}})
				if err != nil {
					t.Errorf("%s: %v", sub, err)
					return
				}
				if c.Subject != sub || c.Scopes[0] != sub {
					t.Errorf("%s got the caller of %s", sub, c.Subject)
					return
				}
			}
		})
	}
	tenants.Wait()
	cancel()
	wg.Wait()
}
