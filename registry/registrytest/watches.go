package registrytest

import (
	"context"
	"errors"
	"testing"

	"github.com/mcpgate/mcpgate/registry"
)

func watchTests() []conformance {
	return []conformance{
		{"delivers every commit after the revision, in order, each once", func(t *testing.T, s registry.Store) {
			for i := range 10 {
				put(t, s, group("a", string(rune('a'+i))))
			}
			for after := int64(0); after <= 10; after++ {
				w := watch(t, s, after)
				for want := after + 1; want <= 10; want++ {
					if e := next(t, w); e.Revision != want {
						t.Fatalf("after %d: revision %d, want %d", after, e.Revision, want)
					}
				}
			}
			w := watch(t, s, 10)
			for want := int64(11); want <= 15; want++ {
				put(t, s, group("a", string(rune('a'+want))))
				if e := next(t, w); e.Revision != want {
					t.Fatalf("revision %d, want %d", e.Revision, want)
				}
			}
		}},
		{"tells what was done, sorted by key", func(t *testing.T, s registry.Store) {
			w := watch(t, s, 0)
			put(t, s, scope("x"), group("b"), group("a"))
			update(t, s, func(tx registry.Tx) error {
				return errors.Join(tx.Put(server("s", "http://h")), tx.Delete(groupKey("b")), tx.Put(group("a")), tx.Put(scope("x", "y")))
			})
			for _, events := range [][]registry.Event{{next(t, w), next(t, w)}, replay(t, s, 2)} {
				var first, second []registry.Key
				for _, c := range events[0].Changes {
					first = append(first, c.Key)
				}
				for _, c := range events[1].Changes {
					second = append(second, c.Key)
					if (c.Resource == nil) != (c.Key == groupKey("b")) {
						t.Errorf("%s: resource %v", c.Key, c.Resource)
					}
					if c.Resource != nil {
						equal(t, c.Key.String(), get(t, s, c.Key), c.Resource)
					}
				}
				equal(t, "first", []registry.Key{groupKey("a"), groupKey("b"), scopeKey("x")}, first)
				equal(t, "second", []registry.Key{groupKey("b"), scopeKey("x"), serverKey()}, second)
			}
		}},
		{"ends with its context", func(t *testing.T, s registry.Store) {
			_, err := s.Watch(cancelled(), 0)
			wantError(t, "Watch", err, context.Canceled)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			idle, err := s.Watch(ctx, 0)
			if err != nil {
				t.Fatal(err)
			}
			unread, err := s.Watch(ctx, 0)
			if err != nil {
				t.Fatal(err)
			}
			if idle.Err() != nil {
				t.Errorf("a running watcher has error %v", idle.Err())
			}
			put(t, s, group("a"))
			next(t, idle)
			cancel()
			wantError(t, "idle", ended(t, idle), context.Canceled)
			wantError(t, "unread", ended(t, unread), context.Canceled)
		}},
		{"returns ErrCompacted for revisions that the store does not know", func(t *testing.T, s registry.Store) {
			put(t, s, group("a"))
			for _, revision := range []int64{-1, 2, 1 << 40} {
				_, err := s.Watch(t.Context(), revision)
				wantError(t, "Watch", err, registry.ErrCompacted)
			}
		}},
		{"never holds up a writer", func(t *testing.T, s registry.Store) {
			slow, fast := watch(t, s, 0), watch(t, s, 0)
			for i := range 200 {
				put(t, s, group("a", string(rune('a'+i%26)), string(rune('a'+i/26))))
			}
			for want := int64(1); want <= 200; want++ {
				if f := next(t, fast); f.Revision != want {
					t.Fatalf("revision %d, want %d", f.Revision, want)
				}
			}
			if e := next(t, slow); e.Revision != 1 {
				t.Errorf("revision %d", e.Revision)
			}
		}},
	}
}

// replay returns the first n events of the store's history.
func replay(t *testing.T, s registry.Store, n int) []registry.Event {
	t.Helper()
	w := watch(t, s, 0)
	var events []registry.Event
	for range n {
		events = append(events, next(t, w))
	}
	return events
}
