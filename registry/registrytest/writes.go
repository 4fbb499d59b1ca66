package registrytest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mcpgate/mcpgate/registry"
)

var errRefused = errors.New("refused by the test")

func updateTests() []conformance {
	return []conformance{
		{"gives every change the next revision, from 1", func(t *testing.T, s registry.Store) {
			for want := int64(1); want <= 5; want++ {
				if got := put(t, s, group("a", string(rune('a'+want)))); got != want {
					t.Errorf("revision %d, want %d", got, want)
				}
			}
			if got := remove(t, s, groupKey("a")); got != 6 {
				t.Errorf("revision %d of the deletion", got)
			}
			if snap := snapshot(t, s); snap.Revision != 6 {
				t.Errorf("revision %d of the snapshot", snap.Revision)
			}
		}},
		{"commits all of it at one revision", func(t *testing.T, s registry.Store) {
			put(t, s, group("a"), group("b"))
			revision := update(t, s, func(tx registry.Tx) error {
				return errors.Join(tx.Put(group("a", "x")), tx.Delete(groupKey("b")), tx.Put(group("c")))
			})
			snap := snapshot(t, s)
			equal(t, "names", []string{"a", "c"}, names(snap.Resources))
			for _, r := range snap.Resources {
				if revision != 2 || r.Meta().Revision != 2 {
					t.Errorf("%s has revision %d of %d", r.Key(), r.Meta().Revision, revision)
				}
			}
		}},
		{"commits nothing when the function fails, and returns its error as it is", func(t *testing.T, s registry.Store) {
			put(t, s, group("a", "x"), scope("x"))
			before := snapshot(t, s)
			w := watch(t, s, before.Revision)
			_, err := s.Update(t.Context(), func(tx registry.Tx) error {
				if err := errors.Join(tx.Put(group("a")), tx.Delete(scopeKey("x")), tx.Put(group("b"))); err != nil {
					t.Error(err)
				}
				return errRefused
			})
			if err != errRefused { //nolint:errorlint // as it is
				t.Errorf("error %v", err)
			}
			equal(t, "snapshot", before, snapshot(t, s))
			if revision := put(t, s, group("c")); revision != before.Revision+1 || next(t, w).Revision != revision {
				t.Errorf("the next revision is %d after %d", revision, before.Revision)
			}
		}},
		{"turns a panic into an error and goes on", func(t *testing.T, s registry.Store) {
			_, err := s.Update(t.Context(), func(tx registry.Tx) error {
				if err := tx.Put(group("a")); err != nil {
					t.Error(err)
				}
				panic("out of the test")
			})
			if err == nil {
				t.Error("no error")
			}
			if revision := put(t, s, group("b")); revision != 1 || len(snapshot(t, s).Resources) != 1 {
				t.Errorf("revision %d", revision)
			}
		}},
		{"that changes nothing returns the current revision and has no event", func(t *testing.T, s registry.Store) {
			nothing := func(registry.Tx) error { return nil }
			if revision := update(t, s, nothing); revision != 0 {
				t.Errorf("revision %d of an empty store", revision)
			}
			want := put(t, s, group("a", "x"), server("s", "http://h"))
			w := watch(t, s, want)
			for name, fn := range map[string]func(registry.Tx) error{
				"nothing":            nothing,
				"an equal Put":       func(tx registry.Tx) error { return tx.Put(group("a", "x")) },
				"Put and Delete":     func(tx registry.Tx) error { return errors.Join(tx.Put(group("b")), tx.Delete(groupKey("b"))) },
				"Delete and Put":     func(tx registry.Tx) error { return errors.Join(tx.Delete(groupKey("a")), tx.Put(group("a", "x"))) },
				"Put there and back": func(tx registry.Tx) error { return errors.Join(tx.Put(group("a", "y")), tx.Put(group("a", "x"))) },
				"another's metadata": func(tx registry.Tx) error {
					g := group("a", "x")
					g.Metadata = registry.Metadata{Revision: 99, Generation: 99}
					return tx.Put(g)
				},
			} {
				if revision := update(t, s, fn); revision != want {
					t.Errorf("%s: revision %d, want %d", name, revision, want)
				}
			}
			if r := get(t, s, groupKey("a")); r.Meta().Revision != want {
				t.Errorf("the resource moved to revision %d", r.Meta().Revision)
			}
			last := put(t, s, group("z"))
			if e := next(t, w); e.Revision != last || last != want+1 {
				t.Errorf("event of revision %d, want %d", e.Revision, last)
			}
		}},
		{"does not run once its context has ended", func(t *testing.T, s registry.Store) {
			_, err := s.Update(cancelled(), func(registry.Tx) error { t.Error("run"); return nil })
			wantError(t, "Update", err, context.Canceled)
		}},
		{"is seen by every read that begins after it", func(t *testing.T, s registry.Store) {
			for i := range 20 {
				revision := put(t, s, group("a", string(rune('a'+i))))
				if got := get(t, s, groupKey("a")).Meta().Revision; got != revision {
					t.Fatalf("read revision %d after %d", got, revision)
				}
			}
		}},
		{"may read the store while it runs, and does not show there", func(t *testing.T, s registry.Store) {
			put(t, s, group("a", "old"))
			update(t, s, func(tx registry.Tx) error {
				if err := tx.Put(group("a", "new")); err != nil {
					return err
				}
				if r := get(t, s, groupKey("a")); !registry.Equal(r, group("a", "old")) {
					t.Errorf("read %+v", r)
				}
				return nil
			})
		}},
	}
}

func metadataTests() []conformance {
	return []conformance{
		{"is set by the store, whatever the writer says", func(t *testing.T, s registry.Store) {
			g := group("a")
			g.Metadata = registry.Metadata{Revision: 42, Generation: 42}
			put(t, s, g)
			m := *get(t, s, groupKey("a")).Meta()
			if m.Revision != 1 || m.Generation != 0 || m.CreatedAt.IsZero() || !m.CreatedAt.Equal(m.UpdatedAt) || m.CreatedAt.Location().String() != "UTC" {
				t.Errorf("metadata %+v", m)
			}
			if g.Metadata.Revision != 42 {
				t.Error("the writer's resource was changed")
			}
		}},
		{"keeps the time of creation", func(t *testing.T, s registry.Store) {
			put(t, s, group("a"))
			before := *get(t, s, groupKey("a")).Meta()
			put(t, s, group("a", "x"))
			after := *get(t, s, groupKey("a")).Meta()
			if !after.CreatedAt.Equal(before.CreatedAt) || after.UpdatedAt.Before(before.UpdatedAt) || after.Revision != 2 {
				t.Errorf("before %+v, after %+v", before, after)
			}
		}},
		{"has a generation that moves with the upstream", func(t *testing.T, s registry.Store) {
			generation := func() int64 { return get(t, s, serverKey()).Meta().Generation }
			put(t, s, group("first"), group("second")) // so that revision and generation differ
			put(t, s, server("s", "http://h/1"))
			if g := generation(); g != 2 {
				t.Errorf("generation %d of a new server", g)
			}
			titled := server("s", "http://h/1")
			titled.Title = "t"
			put(t, s, titled)
			if g := generation(); g != 2 {
				t.Errorf("generation %d after a new title", g)
			}
			put(t, s, server("s", "http://h/2"))
			if g := generation(); g != 4 {
				t.Errorf("generation %d after a new URL", g)
			}
			put(t, s, server("s", "http://h/1"))
			if g := generation(); g != 5 {
				t.Errorf("generation %d after going back", g)
			}
			remove(t, s, serverKey())
			put(t, s, server("s", "http://h/1"))
			if g := generation(); g != 7 {
				t.Errorf("generation %d of a server made anew", g)
			}
		}},
	}
}

func txTests() []conformance {
	return []conformance{
		{"sees its own writes", func(t *testing.T, s registry.Store) {
			put(t, s, group("a", "x"), group("b"))
			update(t, s, func(tx registry.Tx) error {
				if err := errors.Join(tx.Put(group("a", "y")), tx.Delete(groupKey("b")), tx.Put(group("c")), tx.Put(scope("s"))); err != nil {
					return err
				}
				if r, err := tx.Get(groupKey("a")); err != nil || !registry.Equal(r, group("a", "y")) {
					t.Errorf("a is %+v, %v", r, err)
				}
				_, err := tx.Get(groupKey("b"))
				wantError(t, "Get of what it deleted", err, registry.ErrNotFound)
				wantError(t, "Delete of what it deleted", tx.Delete(groupKey("b")), registry.ErrNotFound)
				keys, err := tx.List(registry.KindGroup)
				if err != nil {
					return err
				}
				equal(t, "keys", []registry.Key{groupKey("a"), groupKey("c")}, keys)
				if err := errors.Join(tx.Put(group("b", "again")), tx.Delete(groupKey("c"))); err != nil {
					return err
				}
				keys, err = tx.List(registry.KindGroup)
				equal(t, "keys", []registry.Key{groupKey("a"), groupKey("b")}, keys)
				return err
			})
			equal(t, "names", []string{"a", "b", "s"}, names(snapshot(t, s).Resources))
		}},
		{"says ErrNotFound, and does not mind when it is ignored", func(t *testing.T, s registry.Store) {
			update(t, s, func(tx registry.Tx) error {
				_, err := tx.Get(groupKey("a"))
				wantError(t, "Get", err, registry.ErrNotFound)
				wantError(t, "Delete", tx.Delete(groupKey("a")), registry.ErrNotFound)
				return tx.Put(group("b"))
			})
			equal(t, "names", []string{"b"}, names(snapshot(t, s).Resources))
		}},
		{"stores a copy", func(t *testing.T, s registry.Store) {
			g := group("a", "x")
			update(t, s, func(tx registry.Tx) error {
				err := tx.Put(g)
				g.Scopes[0] = "changed"
				return err
			})
			g.Scopes[0] = "changed again"
			if r := get(t, s, groupKey("a")); !registry.Equal(r, group("a", "x")) {
				t.Errorf("stored %+v", r)
			}
		}},
		{"refuses keys that cannot be kept", func(t *testing.T, s registry.Store) {
			update(t, s, func(tx registry.Tx) error {
				wantError(t, "nothing", tx.Put(nil), registry.ErrInvalid)
				for _, name := range []string{"", "\xff", "a\xc3", strings.Repeat("a", 4097)} {
					wantError(t, "Put", tx.Put(group(name)), registry.ErrInvalid)
					wantError(t, "Put of a reference", tx.Put(group("a", name)), registry.ErrInvalid)
					_, err := tx.Get(groupKey(name))
					wantError(t, "Get", err, registry.ErrNotFound)
					if keys, err := tx.Referrers(scopeKey(name)); err != nil || len(keys) != 0 {
						t.Errorf("referrers %v, %v", keys, err)
					}
				}
				return tx.Put(group(strings.Repeat("a", 4096), strings.Repeat("b", 4096)))
			})
			if snap := snapshot(t, s); len(snap.Resources) != 1 {
				t.Errorf("%d resources", len(snap.Resources))
			}
		}},
		{"is of no use once its function has returned", func(t *testing.T, s registry.Store) {
			var kept registry.Tx
			put(t, s, group("a"))
			update(t, s, func(tx registry.Tx) error { kept = tx; return nil })
			_, get := kept.Get(groupKey("a"))
			_, list := kept.List(registry.KindGroup)
			_, referrers := kept.Referrers(groupKey("a"))
			for name, err := range map[string]error{"Get": get, "List": list, "Referrers": referrers, "Put": kept.Put(group("b")), "Delete": kept.Delete(groupKey("a"))} {
				if err == nil {
					t.Errorf("%s still works", name)
				}
			}
			if snap := snapshot(t, s); snap.Revision != 1 || len(snap.Resources) != 1 {
				t.Errorf("it left %+v", snap)
			}
		}},
	}
}

func referrerTests() []conformance {
	referrers := func(t *testing.T, s registry.Store, key registry.Key) (keys []registry.Key) {
		update(t, s, func(tx registry.Tx) (err error) {
			keys, err = tx.Referrers(key)
			return err
		})
		return keys
	}
	return []conformance{
		{"are the resources whose References contain the key, sorted", func(t *testing.T, s registry.Store) {
			named := scope("names")
			named.Rules = []registry.Rule{{Servers: []string{"s", "*"}}, {Servers: []string{"s"}}}
			put(t, s, scope("x"), scope("b", "x"), scope("a", "x", "b"), group("z", "x"), group("y", "b"), named, server("s", "http://h"))
			equal(t, "of x", []registry.Key{groupKey("z"), scopeKey("a"), scopeKey("b")}, referrers(t, s, scopeKey("x")))
			equal(t, "of b", []registry.Key{groupKey("y"), scopeKey("a")}, referrers(t, s, scopeKey("b")))
			equal(t, "of s", []registry.Key{scopeKey("names")}, referrers(t, s, serverKey()))
			if keys := referrers(t, s, groupKey("z")); len(keys) != 0 {
				t.Errorf("of z: %v", keys)
			}
		}},
		{"follow every change", func(t *testing.T, s registry.Store) {
			put(t, s, group("g", "x", "y"))
			put(t, s, group("g", "y", "z"))
			for name, want := range map[string][]registry.Key{"x": nil, "y": {groupKey("g")}, "z": {groupKey("g")}} {
				if got := referrers(t, s, scopeKey(name)); len(got) != len(want) {
					t.Errorf("of %s: %v", name, got)
				}
			}
			remove(t, s, groupKey("g"))
			if got := referrers(t, s, scopeKey("y")); len(got) != 0 {
				t.Errorf("after the deletion: %v", got)
			}
		}},
		{"see the transaction's own writes", func(t *testing.T, s registry.Store) {
			put(t, s, group("stays", "x"), group("goes", "x"), group("changes", "x"))
			update(t, s, func(tx registry.Tx) error {
				err := errors.Join(tx.Delete(groupKey("goes")), tx.Put(group("changes", "y")), tx.Put(group("comes", "x")), tx.Put(group("returns", "x")), tx.Put(group("returns")))
				keys, rerr := tx.Referrers(scopeKey("x"))
				equal(t, "referrers", []registry.Key{groupKey("comes"), groupKey("stays")}, keys)
				return errors.Join(err, rerr)
			})
			equal(t, "afterwards", []registry.Key{groupKey("comes"), groupKey("stays")}, referrers(t, s, scopeKey("x")))
		}},
		{"are not those of a name that only looks alike", func(t *testing.T, s registry.Store) {
			put(t, s, group("1", "a"), group("2", "ab"), group("3", "a\x00Group"), group("4", "a\x00"))
			for name, want := range map[string]string{"a": "1", "ab": "2", "a\x00Group": "3", "a\x00": "4"} {
				equal(t, name, []registry.Key{groupKey(want)}, referrers(t, s, scopeKey(name)))
			}
		}},
	}
}
