package registrytest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/registry"
)

// Opener opens a new, empty store. The store must be closed when the test ends,
// even if the test has closed it already.
type Opener func(t testing.TB) registry.Store

// Run checks that the stores that open returns do what registry.Store promises.
func Run(t *testing.T, open Opener) {
	t.Helper()
	for _, group := range []struct {
		name  string
		tests []conformance
	}{
		{"Get", getTests()},
		{"List", listTests()},
		{"Snapshot", snapshotTests()},
		{"Update", updateTests()},
		{"Metadata", metadataTests()},
		{"Tx", txTests()},
		{"Referrers", referrerTests()},
		{"Watch", watchTests()},
		{"Close", closeTests()},
		{"Concurrency", concurrencyTests()},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.tests {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(t, open(t))
				})
			}
		})
	}
	t.Run("Model", func(t *testing.T) { runModel(t, open) })
}

// conformance is one sentence of the contract.
type conformance struct {
	name string
	run  func(t *testing.T, s registry.Store)
}

// patience is how long a test waits for what must happen; only a failing test
// waits so long.
const patience = 20 * time.Second

func server(name, url string) *registry.Server {
	return &registry.Server{Name: name, Upstream: registry.Upstream{URL: url}}
}

func scope(name string, includes ...string) *registry.Scope {
	return &registry.Scope{Name: name, Includes: includes}
}

func group(name string, scopes ...string) *registry.Group {
	return &registry.Group{Name: name, Scopes: scopes}
}

func groupKey(name string) registry.Key { return registry.Key{Kind: registry.KindGroup, Name: name} }

func scopeKey(name string) registry.Key { return registry.Key{Kind: registry.KindScope, Name: name} }

func serverKey() registry.Key {
	return registry.Key{Kind: registry.KindServer, Name: "s"}
}

// update runs fn, which must succeed.
func update(t testing.TB, s registry.Store, fn func(registry.Tx) error) int64 {
	t.Helper()
	revision, err := s.Update(t.Context(), fn)
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	return revision
}

func put(t testing.TB, s registry.Store, resources ...registry.Resource) int64 {
	t.Helper()
	return update(t, s, func(tx registry.Tx) error {
		for _, r := range resources {
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	})
}

func remove(t testing.TB, s registry.Store, keys ...registry.Key) int64 {
	t.Helper()
	return update(t, s, func(tx registry.Tx) error {
		for _, k := range keys {
			if err := tx.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
}

func get(t testing.TB, s registry.Store, key registry.Key) registry.Resource {
	t.Helper()
	r, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("Get(%s): %v", key, err)
	}
	return r
}

func snapshot(t testing.TB, s registry.Store) registry.Snapshot {
	t.Helper()
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatalf("Snapshot: %v", err)
	}
	return snap
}

func names(resources []registry.Resource) []string {
	var list []string
	for _, r := range resources {
		list = append(list, r.Key().Name)
	}
	return list
}

func equal(t testing.TB, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func wantError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func watch(t testing.TB, s registry.Store, revision int64) registry.Watcher {
	t.Helper()
	w, err := s.Watch(t.Context(), revision)
	if err != nil {
		t.Fatalf("Watch(%d): %v", revision, err)
	}
	return w
}

// next is the next event of a watcher.
func next(t testing.TB, w registry.Watcher) registry.Event {
	t.Helper()
	select {
	case e, ok := <-w.Events():
		if !ok {
			t.Fatalf("the watcher ended: %v", w.Err())
		}
		return e
	case <-time.After(patience):
		t.Fatal("no event")
	}
	return registry.Event{}
}

// ended waits for the end of a watcher, past what it has still to deliver.
func ended(t testing.TB, w registry.Watcher) error {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, ok := <-w.Events():
			if !ok {
				return w.Err()
			}
		case <-deadline:
			t.Fatal("the watcher goes on")
		}
	}
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
