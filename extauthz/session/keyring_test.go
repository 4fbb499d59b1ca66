package session

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mcpgate/mcpgate/registry"
)

func key(name string, revision int64, fill byte) *registry.SessionKey {
	return &registry.SessionKey{
		Name:     name,
		Metadata: registry.Metadata{Revision: revision},
		Secret:   bytes.Repeat([]byte{fill}, 32),
	}
}

func ring(keys ...*registry.SessionKey) *Keyring {
	k := NewKeyring()
	k.Set(keys)
	return k
}

var alice = Owner{Issuer: "corp", Subject: "alice", Client: "cli", Server: "weather"}

// tester is what testing.TB and rapid.T have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

func mustWrap(t tester, k *Keyring, o Owner, id string) string {
	t.Helper()
	bound, err := k.Wrap(o, id)
	if err != nil {
		t.Fatalf("Wrap(%+v, %q): %v", o, id, err)
	}
	return bound
}

func TestWrapIsStable(t *testing.T) {
	t.Parallel()
	// The form is a contract between versions of the program: sessions outlive
	// an upgrade.
	const want = "v1.k1.c2Vzc2lvbi0x.mqNmIiMzMnXasuD-1aGKjg"
	got := mustWrap(t, ring(key("k1", 1, 7)), alice, "session-1")
	if got != want {
		t.Errorf("Wrap = %q, want %q", got, want)
	}
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	old, next := key("k1", 1, 1), key("k2", 2, 2)
	before := mustWrap(t, ring(old), alice, "s")
	both := ring(next, old)
	if id, err := both.Unwrap(alice, before); err != nil || id != "s" {
		t.Errorf("id of the old key after rotation: %q, %v", id, err)
	}
	after := mustWrap(t, both, alice, "s")
	if !strings.HasPrefix(after, "v1.k2.") {
		t.Errorf("Wrap used %q, want the newest key", after)
	}
	if _, err := ring(old).Unwrap(alice, after); !errors.Is(err, ErrUnknown) {
		t.Errorf("id of a key that the ring has not: %v, want ErrUnknown", err)
	}
	if _, err := ring(next).Unwrap(alice, before); !errors.Is(err, ErrUnknown) {
		t.Errorf("id of a key that was removed: %v, want ErrUnknown", err)
	}
	// A key that is replaced under the same name is another key.
	if _, err := ring(key("k1", 3, 9)).Unwrap(alice, before); !errors.Is(err, ErrUnknown) {
		t.Errorf("id of a replaced key: %v, want ErrUnknown", err)
	}
}

func TestUnusableKeysAreLeftOut(t *testing.T) {
	t.Parallel()
	short := key("short", 9, 1)
	short.Secret = short.Secret[:minSecret-1]
	k := ring(nil, short, key("with.dot", 8, 1), key("", 7, 1))
	if _, err := k.Wrap(alice, "s"); !errors.Is(err, ErrNoKey) {
		t.Errorf("Wrap without a usable key: %v, want ErrNoKey", err)
	}
	if _, err := NewKeyring().Unwrap(alice, "v1..cw.AAAAAAAAAAAAAAAAAAAAAA"); !errors.Is(err, ErrUnknown) {
		t.Errorf("Unwrap without keys: %v, want ErrUnknown", err)
	}
}

func TestWrapRefusesWhatMCPDoesNotAllow(t *testing.T) {
	t.Parallel()
	k := ring(key("k1", 1, 1))
	for _, id := range []string{"", " ", "a b", "a\n", "a\x00", "a\x7f", "é", strings.Repeat("a", MaxID+1)} {
		if _, err := k.Wrap(alice, id); !errors.Is(err, ErrID) {
			t.Errorf("Wrap(%q): %v, want ErrID", id, err)
		}
	}
	long := strings.Repeat("a", MaxID)
	if got, err := k.Unwrap(alice, mustWrap(t, k, alice, long)); err != nil || got != long {
		t.Errorf("an id of MaxID bytes: %v", err)
	}
}

func TestUnwrapRefuses(t *testing.T) {
	t.Parallel()
	k := ring(key("k1", 1, 1))
	good := mustWrap(t, k, alice, "session")
	parts := strings.Split(good, ".")
	join := func(p ...string) string { return strings.Join(p, ".") }
	for name, bound := range map[string]string{
		"nothing":             "",
		"an unbound id":       "session",
		"another version":     join("v2", parts[1], parts[2], parts[3]),
		"an upper-case one":   join("V1", parts[1], parts[2], parts[3]),
		"an unknown key":      join("v1", "k2", parts[2], parts[3]),
		"no MAC":              join("v1", parts[1], parts[2], ""),
		"three parts":         join("v1", parts[1], parts[2]),
		"five parts":          good + ".",
		"a short MAC":         good[:len(good)-2],
		"a padded MAC":        good + "==",
		"a line break":        good + "\n",
		"a line break inside": join("v1", parts[1], parts[2][:2]+"\n"+parts[2][2:], parts[3]),
		"a space":             " " + good,
		"an empty id":         join("v1", parts[1], "", parts[3]),
		"another id":          join("v1", parts[1], "c2Vzc2lvbg2", parts[3]),
		"too long":            good + strings.Repeat("A", maxBound),
	} {
		if id, err := k.Unwrap(alice, bound); !errors.Is(err, ErrUnknown) || id != "" {
			t.Errorf("%s: %q, %v, want ErrUnknown", name, id, err)
		}
	}
}

func drawOwner(t *rapid.T, label string) Owner {
	s := rapid.StringN(0, 6, 24)
	return Owner{
		Issuer: s.Draw(t, label+" issuer"), Subject: s.Draw(t, label+" subject"),
		Client: s.Draw(t, label+" client"), Server: s.Draw(t, label+" server"),
	}
}

func drawID(t *rapid.T) string { return rapid.StringMatching(`[!-~]{1,64}`).Draw(t, "id") }

func TestOnlyTheOwnerUnwraps(t *testing.T) {
	t.Parallel()
	k := ring(key("k1", 1, 1), key("k2", 2, 2))
	rapid.Check(t, func(t *rapid.T) {
		owner, other, id := drawOwner(t, "owner"), drawOwner(t, "other"), drawID(t)
		bound := mustWrap(t, k, owner, id)
		if got, err := k.Unwrap(owner, bound); err != nil || got != id {
			t.Fatalf("Unwrap of %q: %q, %v, want %q", bound, got, err, id)
		}
		if _, err := k.Unwrap(other, bound); (err == nil) != (owner == other) {
			t.Fatalf("Unwrap for %+v of what belongs to %+v: %v", other, owner, err)
		}
	})
}

// TestFieldsDoNotRunTogether moves the border between two neighbouring fields,
// which a MAC over joined strings would not notice.
func TestFieldsDoNotRunTogether(t *testing.T) {
	t.Parallel()
	k := ring(key("k1", 1, 1))
	rapid.Check(t, func(t *rapid.T) {
		o := drawOwner(t, "owner")
		fields := []*string{&o.Issuer, &o.Subject, &o.Client, &o.Server}
		i := rapid.IntRange(0, len(fields)-2).Draw(t, "border")
		joined := *fields[i] + *fields[i+1]
		bound, was := mustWrap(t, k, o, "s"), o
		at := rapid.IntRange(0, len(joined)).Draw(t, "at")
		*fields[i], *fields[i+1] = joined[:at], joined[at:]
		if _, err := k.Unwrap(o, bound); (err == nil) != (o == was) {
			t.Fatalf("Unwrap for %+v of what belongs to %+v: %v", o, was, err)
		}
	})
}

func TestAnyFlippedBitIsRefused(t *testing.T) {
	t.Parallel()
	k := ring(key("k1", 1, 1))
	rapid.Check(t, func(t *rapid.T) {
		bound := []byte(mustWrap(t, k, alice, drawID(t)))
		i := rapid.IntRange(0, len(bound)*8-1).Draw(t, "bit")
		bound[i/8] ^= 1 << (i % 8)
		if id, err := k.Unwrap(alice, string(bound)); err == nil {
			t.Fatalf("Unwrap of the altered %q: %q", bound, id)
		}
	})
}

func FuzzUnwrap(f *testing.F) {
	k := ring(key("k1", 1, 1))
	f.Add(mustWrap(f, k, alice, "session"))
	f.Add("v1.k1.cw.AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("v1.k1..")
	f.Add("....")
	f.Fuzz(func(t *testing.T, bound string) {
		id, err := k.Unwrap(alice, bound)
		if err != nil {
			return
		}
		// Whatever is accepted is exactly what Wrap would return.
		if again := mustWrap(t, k, alice, id); again != bound {
			t.Errorf("%q and %q both stand for %q", bound, again, id)
		}
	})
}

func BenchmarkUnwrap(b *testing.B) {
	k := ring(key("k1", 1, 1))
	bound := mustWrap(b, k, alice, "d2f1a5c8-5d3e-4f6a-9b1c-2e3f4a5b6c7d")
	for b.Loop() {
		if _, err := k.Unwrap(alice, bound); err != nil {
			b.Fatal(err)
		}
	}
}
