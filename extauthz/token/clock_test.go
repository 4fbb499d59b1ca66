package token

import (
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/extauthz"
)

// A clock that steps by ten minutes, either way, lets no token pass that its
// own words do not: a token counts when the clock is within its times, give or
// take the leeway, whether it is known or not. When the clock steps back, all
// is as before, and the issuer was asked no more than usual.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	const step = 10 * time.Minute
	for name, tt := range map[string]struct {
		by time.Duration
		// What a token of five minutes and one of an hour are refused with.
		short, long extauthz.Rule
	}{
		"forward":                  {step, extauthz.RuleTokenExpired, ""},
		"back":                     {-step, extauthz.RuleTokenNotYetValid, extauthz.RuleTokenNotYetValid},
		"back by the leeway":       {-leeway, "", ""},
		"back by a second more":    {-leeway - time.Second, extauthz.RuleTokenNotYetValid, extauthz.RuleTokenNotYetValid},
		"forward to the last":      {5*time.Minute + leeway - time.Second, "", ""},
		"forward by a second more": {5*time.Minute + leeway, extauthz.RuleTokenExpired, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			now := f.clock.now()
			mint := func(jti string, life time.Duration) string {
				return f.key.mint(f.claims("jti", jti, "iat", now.Unix(), "nbf", now.Unix(), "exp", now.Add(life).Unix()))
			}
			judge := func(raw string, rule extauthz.Rule) {
				t.Helper()
				if rule == "" {
					f.accept(raw)
				} else {
					f.refuse(raw, rule)
				}
			}
			short, long := mint("known", 5*time.Minute), mint("known", time.Hour)
			f.accept(short)
			f.accept(long)
			asked := f.idp.fetches(corpJWKS)

			f.clock.add(tt.by)
			for range 3 {
				judge(short, tt.short)
				judge(long, tt.long)
				judge(mint("new", 5*time.Minute), tt.short)
				judge(mint("new", time.Hour), tt.long)
			}
			if s := f.Status()[0]; !s.Usable || s.LastError != "" {
				t.Errorf("status %+v", s)
			}
			f.clock.add(-tt.by)
			f.accept(short)
			f.accept(long)
			// The first refresh may still have been under way.
			if n := f.idp.fetches(corpJWKS); n > asked+1 {
				t.Errorf("%d fetches because of the clock", n-asked)
			}
		})
	}
}

// The age of keys is by the monotonic clock, which no step of the wall clock
// moves: the difference of two times that have a monotonic reading is that of
// the readings (package time), and the clock of a Verifier gives them.
func TestKeyAgeIsMonotonic(t *testing.T) {
	t.Parallel()
	v := New(Config{})
	defer v.Close()
	at := v.now()
	if at == at.Round(0) { //nolint:staticcheck // == compares the monotonic readings too, Equal would not
		t.Errorf("%v has no monotonic reading", at)
	}
	s := &source{maxStale: time.Hour}
	if p := (&publication{at: at}); !s.fresh(p, at.Add(time.Hour)) || s.fresh(p, at.Add(time.Hour+1)) {
		t.Error("the keys do not count for an hour")
	}
}
