package extauthz

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mcpgate/mcpgate/registry"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// takesBack says in the plainest way whether a Revocation holds for a caller.
func takesBack(r *registry.Revocation, c *Caller, now time.Time) bool {
	for _, f := range []struct{ want, got string }{
		{r.Issuer, c.Issuer}, {r.Subject, c.Subject}, {r.Client, c.Client}, {r.TokenID, c.TokenID}, {r.Session, c.SessionID},
	} {
		if f.want != "" && f.want != f.got {
			return false
		}
	}
	if !r.IssuedBefore.IsZero() && !c.IssuedAt.IsZero() && !c.IssuedAt.Before(r.IssuedBefore.Time) {
		return false
	}
	return r.Until.IsZero() || now.Before(r.Until.Time)
}

func drawTime(t *rapid.T, label string) time.Time {
	return rapid.SampledFrom([]time.Time{{}, noon, noon.Add(time.Second), noon.Add(time.Hour)}).Draw(t, label)
}

// drawText draws values that meet, and that would be mistaken for each other
// if they were joined.
func drawText(t *rapid.T, label string) string {
	return rapid.SampledFrom([]string{"", "a", "b", "ab", "a\x01b", "\x01a"}).Draw(t, label)
}

func drawRevocation(t *rapid.T) *registry.Revocation {
	r := &registry.Revocation{
		Name:   rapid.SampledFrom([]string{"r1", "r2", "r3", "r4"}).Draw(t, "name"),
		Issuer: drawText(t, "issuer"), Subject: drawText(t, "subject"), Client: drawText(t, "client"), TokenID: drawText(t, "tokenID"), Session: drawText(t, "session"),
		IssuedBefore: registry.Time{Time: drawTime(t, "issuedBefore")}, Until: registry.Time{Time: drawTime(t, "until")},
	}
	if _, s := identityOf(r); s == 0 {
		r.Subject = "a"
	}
	return r
}

// TestRevokedIsThatOfTheList: after any sequence of changes a caller is revoked
// exactly when one of the Revocations that are left says so, read one by one.
func TestRevokedIsThatOfTheList(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := NewPolicies(Config{})
		state := map[string]*registry.Revocation{}
		for revision := range rapid.Int64Range(1, 12).Draw(t, "events") {
			r := drawRevocation(t)
			c := registry.Change{Key: r.Key(), Resource: r}
			state[r.Name] = r
			if rapid.IntRange(0, 2).Draw(t, "delete") == 0 {
				c.Resource = nil
				delete(state, r.Name)
			}
			_, changed := p.Revoked(&Caller{}, noon)
			if rapid.IntRange(0, 4).Draw(t, "reload") == 0 {
				var all []registry.Resource
				for _, r := range state {
					all = append(all, r)
				}
				p.Load(registry.Snapshot{Revision: revision, Resources: all})
			} else {
				p.Apply(registry.Event{Revision: revision, Changes: []registry.Change{c}})
				select {
				case <-changed:
				default:
					t.Fatal("nobody is told of the change")
				}
			}
			for range 8 {
				caller := &Caller{
					Issuer: drawText(t, "caller issuer"), Subject: drawText(t, "caller subject"), Client: drawText(t, "caller client"),
					TokenID: drawText(t, "caller tokenID"), SessionID: drawText(t, "caller session"), IssuedAt: drawTime(t, "issuedAt"),
				}
				now := rapid.SampledFrom([]time.Time{noon, noon.Add(time.Minute), noon.Add(2 * time.Hour)}).Draw(t, "now")
				want := false
				for _, r := range state {
					want = want || takesBack(r, caller, now)
				}
				name, _ := p.Revoked(caller, now)
				if (name != "") != want {
					t.Fatalf("%+v at %s: revoked by %q, want %t of %+v", caller, now, name, want, state)
				}
				if name != "" && !takesBack(state[name], caller, now) {
					t.Fatalf("%q does not revoke %+v", name, caller)
				}
			}
		}
	})
}

// TestRevocationEndsByItself: at its end, not before, and a request without a
// time is refused by one that ever held.
func TestRevocationEndsByItself(t *testing.T) {
	t.Parallel()
	p := NewPolicies(Config{})
	p.Apply(registry.Event{Revision: 1, Changes: change(
		&registry.Server{Name: "s"}, &registry.Scope{Name: "x", Rules: []registry.Rule{{Servers: []string{"s"}, Tools: []registry.Pattern{"*"}}}},
		&registry.Revocation{Name: "r", Subject: "alice", Until: registry.Time{Time: noon}})})
	s, _ := p.Server("s")
	caller := &Caller{Issuer: "corp", Subject: "alice", Scopes: []string{"x"}}
	for at, want := range map[time.Time]Rule{
		noon.Add(-time.Nanosecond): RuleTokenRevoked, noon: RuleGranted, noon.Add(time.Hour): RuleGranted, {}: RuleTokenRevoked,
	} {
		r := call("t")
		r.At = at
		if d := Decide(s, r, caller); d.Rule != want {
			t.Errorf("at %s: %s, want %s", at, d.Rule, want)
		}
	}
	// Explain says which, and the refusal is a challenge.
	e := p.Explain(Query{Server: "s", Method: "tools/call", Target: "t", Caller: *caller, At: noon.Add(-time.Hour)})
	if e.Allow || e.Rule != RuleTokenRevoked || e.Reason != "revocation r" || e.Status != 401 || e.Challenge == "" {
		t.Errorf("explanation %+v", e)
	}
}

// TestOtherChangesDoNotWakeStreams: who waits for Revocations is left alone by
// everything else.
func TestOtherChangesDoNotWakeStreams(t *testing.T) {
	t.Parallel()
	p := NewPolicies(Config{})
	_, changed := p.Revoked(&Caller{}, noon)
	p.Apply(registry.Event{Revision: 1, Changes: change(&registry.Server{Name: "s"}, &registry.Group{Name: "g"})})
	select {
	case <-changed:
		t.Error("woken")
	default:
	}
}

// BenchmarkRevoked: a check costs the same with one Revocation and with many.
func BenchmarkRevoked(b *testing.B) {
	for _, n := range []int{0, 1, 100, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := NewPolicies(Config{})
			var e registry.Event
			for i := range n {
				r := &registry.Revocation{Name: fmt.Sprint("r", i), Subject: fmt.Sprint("user-", i)}
				if i%2 == 1 {
					r = &registry.Revocation{Name: fmt.Sprint("r", i), TokenID: fmt.Sprint("token-", i)}
				}
				e.Changes = append(e.Changes, registry.Change{Key: r.Key(), Resource: r})
			}
			p.Apply(e)
			caller := &Caller{Issuer: "corp", Subject: "alice@example.com", Client: "inspector", TokenID: "onrtac:0d5a3bb6", IssuedAt: noon}
			b.ReportAllocs()
			for b.Loop() {
				if name, _ := p.Revoked(caller, noon); name != "" {
					b.Fatal(name)
				}
			}
		})
	}
}
