package token

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpgate/mcpgate/extauthz"
	"github.com/mcpgate/mcpgate/extauthz/authserver"
	"github.com/mcpgate/mcpgate/registry"
)

// inBubble runs f on fake time, with an issuer that is up.
func inBubble(t *testing.T, f func(*fixture), change ...func(*registry.Issuer)) {
	t.Helper()
	rsaKeys[0]() // not inside: others wait for it outside
	rsaKeys[1]()
	synctest.Test(t, func(t *testing.T) {
		x := &fixture{TB: t, idp: newIDP(), key: rsaKey("k1", 0)}
		x.idp.serveKeys(corpJWKS, x.key.jwk())
		x.Verifier = New(Config{Transport: x.idp})
		x.SetIssuer(corp(change...))
		defer x.Close()
		synctest.Wait()
		f(x)
	})
}

// otherwise is a change of settings that changes nothing for the tests.
func otherwise(i *registry.Issuer) { i.Audiences = []string{"api://other"} }

// sleep lets time pass, and what is due then finish.
func sleep(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestKeysDownAtStart(t *testing.T) {
	t.Parallel()
	rsaKeys[0]()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{TB: t, idp: newIDP(), key: rsaKey("k1", 0)}
		f.Verifier = New(Config{Transport: f.idp})
		defer f.Close()
		f.SetIssuer(corp())
		up := corp(func(i *registry.Issuer) {
			i.Name, i.Issuer, i.JWKSURI = "up", "https://up.example.com", "https://up.example.com/jwks"
		})
		f.idp.serveKeys(up.JWKSURI, f.key.jwk())
		f.SetIssuer(up)
		synctest.Wait()

		f.refuse(f.key.mint(f.claims()), extauthz.RuleKeysUnavailable)
		f.accept(f.key.mint(f.claims("iss", up.Issuer))) // the others are unaffected
		if s := f.Status(); s[0].Usable || s[0].LastError == "" || !s[1].Usable {
			t.Errorf("status %+v", s)
		}
		// A long outage backs off; the first token after it brings the keys.
		sleep(time.Hour)
		if n := f.idp.fetches(corpJWKS); n > 130 {
			t.Errorf("%d fetches in an hour of outage", n)
		}
		f.idp.serveKeys(corpJWKS, f.key.jwk())
		sleep(retryInterval) // the last try may just have been
		f.accept(f.key.mint(f.claims()))
	})
}

func TestKeysDownAtStartRecoverWithoutATokenWithinOneSecond(t *testing.T) {
	t.Parallel()
	rsaKeys[0]()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{TB: t, idp: newIDP(), key: rsaKey("k1", 0)}
		f.Verifier = New(Config{Transport: f.idp})
		defer f.Close()
		f.SetIssuer(corp())
		synctest.Wait()
		f.idp.serveKeys(corpJWKS, f.key.jwk())
		sleep(retryInterval)
		if !f.Status()[0].Usable {
			t.Error("not recovered")
		}
	})
}

func TestRefusalsInAnOutageDoNotFetchMoreThanOnceASecond(t *testing.T) {
	t.Parallel()
	inBubble(t, func(f *fixture) {
		f.RemoveIssuer("corp")
		f.idp.serveStatus(corpJWKS, http.StatusInternalServerError)
		before := f.idp.fetches(corpJWKS)
		f.SetIssuer(corp())
		synctest.Wait()
		for range 100 {
			f.refuse(f.key.mint(f.claims()), extauthz.RuleKeysUnavailable)
			sleep(100 * time.Millisecond)
		}
		// Ten seconds: those of the tokens and those of the back-off.
		if n := f.idp.fetches(corpJWKS) - before; n > 15 {
			f.Errorf("%d fetches in ten seconds", n)
		}
	})
}

// TestKeysDownLater: the last good keys serve for MaxStale, then the answer is
// that there is none.
func TestKeysDownLater(t *testing.T) {
	t.Parallel()
	bad := map[string]http.HandlerFunc{
		"connection refused": nil,
		"500":                func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"200 with HTML":      body("<html>"),
		"empty keys":         body(`{"keys":[]}`),
		"204":                func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"redirect": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://as.example.com/elsewhere")
			w.WriteHeader(http.StatusFound)
		},
		"too large":     body(`{"keys":[],"pad":"` + strings.Repeat("x", authserver.MaxDocument) + `"}`),
		"never answers": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	}
	for name, h := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(f *fixture) {
				long := f.key.mint(f.claims("exp", time.Now().Add(24*time.Hour).Unix()))
				f.accept(long)
				f.idp.serve(corpJWKS, h)
				sleep(registry.DefaultKeyMaxStale - time.Minute)
				f.accept(long)                                 // from the cache
				f.accept(f.key.mint(f.claims("jti", "other"))) // not from the cache
				if s := f.Status()[0]; !s.Usable || s.LastError == "" || s.KeyAge < 50*time.Minute {
					f.Errorf("status %+v", s)
				}
				sleep(time.Minute + time.Second)
				f.refuse(long, extauthz.RuleKeysUnavailable)
				f.refuse(f.key.mint(f.claims("jti", "third")), extauthz.RuleKeysUnavailable)
				if f.Status()[0].Usable {
					f.Error("still usable")
				}
				f.idp.serveKeys(corpJWKS, f.key.jwk())
				sleep(retryInterval)
				f.accept(long)
				if n := f.idp.fetches("https://as.example.com/elsewhere"); n > 0 {
					f.Error("a redirect was followed")
				}
			})
		})
	}
}

func TestMaxStaleAndRefreshOfTheIssuer(t *testing.T) {
	t.Parallel()
	inBubble(t, func(f *fixture) {
		sleep(10 * time.Minute)
		if n := f.idp.fetches(corpJWKS); n < 10 || n > 12 {
			f.Errorf("%d fetches in ten minutes", n)
		}
		f.idp.serveStatus(corpJWKS, http.StatusInternalServerError)
		sleep(4 * time.Minute)
		f.refuse(f.key.mint(f.claims()), extauthz.RuleKeysUnavailable)
	}, func(i *registry.Issuer) {
		i.Keys = registry.Keys{Refresh: registry.Duration(time.Minute), MaxStale: registry.Duration(3 * time.Minute)}
	})
}

func TestRotationWithOverlap(t *testing.T) {
	t.Parallel()
	inBubble(t, func(f *fixture) {
		next := rsaKey("k2", 1)
		f.accept(f.key.mint(f.claims()))
		f.idp.serveKeys(corpJWKS, f.key.jwk(), next.jwk())
		begin := time.Now()
		f.accept(next.mint(f.claims())) // its first use brings it
		if d := time.Since(begin); d > time.Second {
			f.Errorf("usable after %s", d)
		}
		f.accept(f.key.mint(f.claims()))
	})
}

func TestKeyRemovalIsEffectiveAtTheNextRefresh(t *testing.T) {
	t.Parallel()
	inBubble(t, func(f *fixture) {
		next := rsaKey("k2", 1)
		f.idp.serveKeys(corpJWKS, f.key.jwk(), next.jwk())
		old := f.key.mint(f.claims("exp", time.Now().Add(time.Hour).Unix()))
		f.accept(old)
		f.idp.serveKeys(corpJWKS, next.jwk())
		sleep(registry.DefaultKeyRefresh)
		f.refuse(old, extauthz.RuleTokenKey) // although it was cached
	})
}

func TestSameKidWithANewKeyIsEffectiveAtTheNextRefresh(t *testing.T) {
	t.Parallel()
	inBubble(t, func(f *fixture) {
		next := rsaKey("k1", 1)
		exp := time.Now().Add(time.Hour).Unix()
		before, after := f.key.mint(f.claims("exp", exp)), next.mint(f.claims("exp", exp))
		f.accept(before)
		f.idp.serveKeys(corpJWKS, next.jwk())
		f.refuse(after, extauthz.RuleTokenSignature)
		sleep(registry.DefaultKeyRefresh)
		f.accept(after)
		f.refuse(before, extauthz.RuleTokenSignature)
	})
}

func TestUnknownKidFlood(t *testing.T) {
	t.Parallel()
	inBubble(t, func(f *fixture) {
		base := f.idp.fetches(corpJWKS)
		begin := time.Now()
		forged := func([]byte) []byte { return make([]byte, 256) }
		for i := range 600 { // a minute
			for j := range 3 {
				h := obj{"alg": "RS256", "typ": "at+jwt", "kid": fmt.Sprint(i%50*3 + j)}
				f.refuse(compact(mustJSON(h), mustJSON(f.claims()), forged), extauthz.RuleTokenKey)
			}
			sleep(100 * time.Millisecond)
		}
		n := f.idp.fetches(corpJWKS) - base
		if limit := int(time.Since(begin)/askInterval) + 1; n > limit {
			f.Errorf("%d fetches, want at most %d", n, limit)
		}
		if n < 5 {
			f.Errorf("only %d fetches: a new key would not be found", n)
		}
		f.accept(f.key.mint(f.claims()))
		if n := len(f.byName["corp"].source.unknown); n > 4 {
			f.Errorf("%d kids remembered", n)
		}
	})
}

func TestOneUnknownKidDoesNotUseUpThePaceOfOthers(t *testing.T) {
	t.Parallel()
	inBubble(t, func(f *fixture) {
		stale := testKey{"gone", "RS256", f.key.private}
		f.refuse(stale.mint(f.claims()), extauthz.RuleTokenKey)
		sleep(askInterval)
		base := f.idp.fetches(corpJWKS)
		f.refuse(stale.mint(f.claims()), extauthz.RuleTokenKey)
		if f.idp.fetches(corpJWKS) != base {
			f.Error("asked again for a kid that is known to be unknown")
		}
		next := rsaKey("k2", 1)
		f.idp.serveKeys(corpJWKS, f.key.jwk(), next.jwk())
		f.accept(next.mint(f.claims()))
	})
}

func TestUnknownKidIsCoalesced(t *testing.T) {
	t.Parallel()
	inBubble(t, func(f *fixture) {
		next := rsaKey("k2", 1)
		set := body(string(mustJSON(obj{"keys": []obj{next.jwk()}})))
		f.idp.serve(corpJWKS, func(w http.ResponseWriter, r *http.Request) {
			<-time.After(400 * time.Millisecond)
			set(w, r)
		})
		base := f.idp.fetches(corpJWKS)
		raw := next.mint(f.claims())
		errs := make(chan error)
		for range 100 {
			go func() {
				_, err := f.verify(raw)
				errs <- err
			}()
		}
		for range 100 {
			if err := <-errs; err != nil {
				f.Error(err)
			}
		}
		if n := f.idp.fetches(corpJWKS) - base; n != 1 {
			f.Errorf("%d fetches", n)
		}
	})
}

// TestUnknownKidDuringARefresh: the refresh in flight may have begun before the
// key was there; the token gets a fetch of its own.
func TestUnknownKidDuringARefresh(t *testing.T) {
	t.Parallel()
	inBubble(t, func(f *fixture) {
		next := rsaKey("k2", 1)
		old := body(string(mustJSON(obj{"keys": []obj{f.key.jwk()}})))
		set := body(string(mustJSON(obj{"keys": []obj{next.jwk()}})))
		first := true
		f.idp.serve(corpJWKS, func(w http.ResponseWriter, r *http.Request) {
			answer := set
			if first {
				answer = old
			}
			first = false
			<-time.After(200 * time.Millisecond)
			answer(w, r)
		})
		f.SetIssuer(corp(otherwise)) // which refreshes
		<-time.After(100 * time.Millisecond)
		f.accept(next.mint(f.claims()))
	})
}

func TestUnknownKidWhileTheIssuerIsDownIsUnavailable(t *testing.T) {
	t.Parallel()
	inBubble(t, func(f *fixture) {
		f.idp.serveStatus(corpJWKS, http.StatusBadGateway)
		stranger := testKey{"k9", "RS256", f.key.private}
		f.refuse(stranger.mint(f.claims()), extauthz.RuleKeysUnavailable) // asked, and got no answer
		f.refuse(stranger.mint(f.claims()), extauthz.RuleKeysUnavailable) // too soon to ask again
		f.accept(f.key.mint(f.claims()))
	})
}

func TestWaitingForKeysEndsWithTheContext(t *testing.T) {
	t.Parallel()
	inBubble(t, func(f *fixture) {
		f.idp.serve(corpJWKS, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		ctx, cancel := context.WithTimeout(f.Context(), 500*time.Millisecond)
		defer cancel()
		raw := testKey{"k9", "RS256", f.key.private}.mint(f.claims())
		begin := time.Now()
		c, err := f.Verify(ctx, raw, Want{Audiences: []string{audience}})
		wantRefusal(f, c, err, extauthz.RuleKeysUnavailable)
		if d := time.Since(begin); d != 500*time.Millisecond {
			f.Errorf("waited %s", d)
		}
	})
}

func TestWaitersForKeysAreBounded(t *testing.T) {
	t.Parallel()
	inBubble(t, func(f *fixture) {
		f.idp.serve(corpJWKS, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		raw := testKey{"k9", "RS256", f.key.private}.mint(f.claims())
		const more = 10
		errs := make(chan error, maxWaiting+more)
		for range maxWaiting + more {
			go func() {
				_, err := f.verify(raw)
				errs <- err
			}()
		}
		synctest.Wait()
		if n := len(errs); n != more {
			f.Errorf("%d turned away at once, want %d", n, more)
		}
		for range maxWaiting + more {
			var e *Error
			if err := <-errs; !errors.As(err, &e) || e.Rule != extauthz.RuleKeysUnavailable {
				f.Errorf("got %v", err)
			}
		}
	})
}

// TestTokensThatWouldBeRefusedFetchNothing: what the claims already rule out
// asks no issuer for keys.
func TestTokensThatWouldBeRefusedFetchNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, func(f *fixture) {
		base := f.idp.fetches(corpJWKS)
		stranger := testKey{"k9", "RS256", f.key.private}
		for rule, c := range map[extauthz.Rule]obj{
			extauthz.RuleTokenExpired:  f.claims("exp", 1),
			extauthz.RuleTokenAudience: f.claims("aud", "https://x"),
			extauthz.RuleTokenSubject:  f.claims("sub", nil),
			extauthz.RuleTokenIssuer:   f.claims("iss", "https://evil.example.com"),
		} {
			f.refuse(stranger.mint(c), rule)
		}
		if n := f.idp.fetches(corpJWKS) - base; n != 0 {
			f.Errorf("%d fetches", n)
		}
	})
}

func TestASetThatPanicsTheReaderIsAFailure(t *testing.T) {
	t.Parallel()
	inBubble(t, func(f *fixture) {
		f.idp.serve(corpJWKS, func(http.ResponseWriter, *http.Request) { panic("hostile") })
		f.SetIssuer(corp(otherwise))
		synctest.Wait()
		f.accept(f.key.mint(f.claims()))
		if s := f.Status()[0]; !strings.Contains(s.LastError, "hostile") {
			f.Errorf("status %+v", s)
		}
	})
}

func TestRefreshIsJittered(t *testing.T) {
	t.Parallel()
	s := &source{refresh: time.Minute, maxStale: time.Hour}
	seen := make(map[time.Duration]bool)
	for range 50 {
		d := s.next()
		if d > time.Minute || d < 54*time.Second {
			t.Fatalf("next in %s", d)
		}
		seen[d] = true
	}
	if len(seen) < 2 {
		t.Error("always the same")
	}
	for s.failures = range 100 {
		if d := s.next(); d <= 0 || d > time.Minute {
			t.Fatalf("next in %s after %d failures", d, s.failures)
		}
	}
}
