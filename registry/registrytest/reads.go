package registrytest

import (
	"context"
	"fmt"
	"testing"

	"github.com/mcpgate/mcpgate/registry"
)

func getTests() []conformance {
	return []conformance{
		{"returns one resource", func(t *testing.T, s registry.Store) {
			put(t, s, group("a"), group("b", "x"), scope("b"))
			if r := get(t, s, groupKey("b")); !registry.Equal(r, group("b", "x")) {
				t.Errorf("got %+v", r)
			}
			if r := get(t, s, scopeKey("b")); !registry.Equal(r, scope("b")) {
				t.Errorf("got %+v", r)
			}
		}},
		{"or ErrNotFound", func(t *testing.T, s registry.Store) {
			put(t, s, group("a"))
			for _, k := range []registry.Key{groupKey("b"), scopeKey("a"), groupKey(""), {}} {
				_, err := s.Get(t.Context(), k)
				wantError(t, k.String(), err, registry.ErrNotFound)
			}
			remove(t, s, groupKey("a"))
			_, err := s.Get(t.Context(), groupKey("a"))
			wantError(t, "deleted", err, registry.ErrNotFound)
		}},
		{"heeds its context", func(t *testing.T, s registry.Store) {
			_, err := s.Get(cancelled(), groupKey("a"))
			wantError(t, "Get", err, context.Canceled)
			_, err = s.List(cancelled(), registry.KindGroup, registry.ListOptions{})
			wantError(t, "List", err, context.Canceled)
			_, err = s.Snapshot(cancelled())
			wantError(t, "Snapshot", err, context.Canceled)
		}},
		{"keeps every name apart", func(t *testing.T, s registry.Store) {
			odd := []string{"a", "a\x00", "a\x00b", "ab", "\x00", "a/b", "ä", "A", " ", "-", `"`, "\n"}
			for _, n := range odd {
				put(t, s, group(n, "scope of "+n))
			}
			for _, n := range odd {
				if g, ok := get(t, s, groupKey(n)).(*registry.Group); !ok || g.Scopes[0] != "scope of "+n {
					t.Errorf("%q: got %+v", n, g)
				}
			}
		}},
	}
}

func listTests() []conformance {
	fill := func(t *testing.T, s registry.Store, n int) (want []string) {
		var list []registry.Resource
		for i := range n {
			name := fmt.Sprintf("g%03d", i)
			want = append(want, name)
			list = append(list, group(name))
		}
		put(t, s, append(list, scope("z"), server("a", "http://h"))...)
		return want
	}
	return []conformance{
		{"returns the resources of a kind in the byte order of their names", func(t *testing.T, s registry.Store) {
			for _, n := range []string{"b", "a", "ab", "B", "ä", "a b", "~", "10", "9"} {
				put(t, s, group(n), scope("x"+n))
			}
			page, err := s.List(t.Context(), registry.KindGroup, registry.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "names", []string{"10", "9", "B", "a", "a b", "ab", "b", "~", "ä"}, names(page.Resources))
			if page.Next != "" || page.Revision != 9 {
				t.Errorf("next %q, revision %d", page.Next, page.Revision)
			}
		}},
		{"returns nothing of a kind that there is nothing of", func(t *testing.T, s registry.Store) {
			put(t, s, group("a"))
			page, err := s.List(t.Context(), registry.KindServer, registry.ListOptions{Limit: 3})
			if err != nil || len(page.Resources) != 0 || page.Next != "" || page.Revision != 1 {
				t.Errorf("page %+v, %v", page, err)
			}
		}},
		{"returns everything in pages of any size", func(t *testing.T, s registry.Store) {
			want := fill(t, s, 25)
			for _, limit := range []int{0, 1, 2, 5, 24, 25, 26} {
				var got []string
				opt := registry.ListOptions{Limit: limit}
				for pages := 0; ; pages++ {
					page, err := s.List(t.Context(), registry.KindGroup, opt)
					if err != nil || pages > 30 || limit > 0 && len(page.Resources) > limit {
						t.Fatalf("limit %d: page %d of %d, %v", limit, pages, len(page.Resources), err)
					}
					got = append(got, names(page.Resources)...)
					if page.Next == "" {
						break
					}
					opt.After = page.Next
				}
				equal(t, fmt.Sprintf("limit %d", limit), want, got)
			}
		}},
		{"begins after a name that need not exist", func(t *testing.T, s registry.Store) {
			put(t, s, group("b"), group("d"), scope("e"))
			for after, want := range map[string][]string{"a": {"b", "d"}, "b": {"d"}, "c": {"d"}, "d": nil, "e": nil, "a\x00": {"b", "d"}} {
				page, err := s.List(t.Context(), registry.KindGroup, registry.ListOptions{After: after})
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "after "+after, want, names(page.Resources))
			}
		}},
	}
}

func snapshotTests() []conformance {
	return []conformance{
		{"is empty at first, at revision 0", func(t *testing.T, s registry.Store) {
			if snap := snapshot(t, s); snap.Revision != 0 || len(snap.Resources) != 0 {
				t.Errorf("got %+v", snap)
			}
		}},
		{"has all resources of all kinds, internal ones included", func(t *testing.T, s registry.Store) {
			key := &registry.SessionKey{Name: "k", Secret: make([]byte, 32)}
			put(t, s, server("s", "http://h"), scope("s"), key)
			put(t, s, group("s"), &registry.Issuer{Name: "s"})
			snap := snapshot(t, s)
			var kinds []registry.Kind
			for _, r := range snap.Resources {
				kinds = append(kinds, r.Key().Kind)
				if stored := get(t, s, r.Key()); !registry.Equal(r, stored) || *r.Meta() != *stored.Meta() {
					t.Errorf("snapshot has %+v, Get %+v", r, stored)
				}
			}
			equal(t, "kinds", []registry.Kind{registry.KindGroup, registry.KindIssuer, registry.KindScope, registry.KindServer, registry.KindSessionKey}, kinds)
			if snap.Revision != 2 {
				t.Errorf("revision %d", snap.Revision)
			}
		}},
	}
}

func closeTests() []conformance {
	return []conformance{
		{"makes everything return ErrClosed", func(t *testing.T, s registry.Store) {
			put(t, s, group("a"))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			_, err := s.Get(t.Context(), groupKey("a"))
			wantError(t, "Get", err, registry.ErrClosed)
			_, err = s.List(t.Context(), registry.KindGroup, registry.ListOptions{})
			wantError(t, "List", err, registry.ErrClosed)
			_, err = s.Snapshot(t.Context())
			wantError(t, "Snapshot", err, registry.ErrClosed)
			_, err = s.Watch(t.Context(), 0)
			wantError(t, "Watch", err, registry.ErrClosed)
			_, err = s.Update(t.Context(), func(registry.Tx) error { t.Error("run"); return nil })
			wantError(t, "Update", err, registry.ErrClosed)
		}},
		{"can be called again", func(t *testing.T, s registry.Store) {
			for range 3 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"ends open watchers with ErrClosed", func(t *testing.T, s registry.Store) {
			idle, unread, reading := watch(t, s, 0), watch(t, s, 0), watch(t, s, 0)
			put(t, s, group("a"))
			put(t, s, group("b"))
			next(t, reading)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for _, w := range []registry.Watcher{idle, unread, reading} {
				wantError(t, "watcher", ended(t, w), registry.ErrClosed)
			}
		}},
	}
}
