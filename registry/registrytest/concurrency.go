package registrytest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/mcpgate/mcpgate/registry"
)

func concurrencyTests() []conformance {
	return []conformance{
		{"loses no increment of a counter", loseNoIncrement},
		{"loses no conditional write that was acknowledged", loseNoConditionalWrite},
		{"shows no half of a transaction", showNoHalf},
	}
}

const (
	writers = 16
	rounds  = 25
)

// counter is kept in the description of a scope.
func counterOf(tx registry.Tx) (int, error) {
	r, err := tx.Get(scopeKey("counter"))
	if errors.Is(err, registry.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	s, ok := r.(*registry.Scope)
	if !ok {
		return 0, fmt.Errorf("a %T", r)
	}
	return strconv.Atoi(s.Description)
}

func putCounter(tx registry.Tx, n int) error {
	return tx.Put(&registry.Scope{Name: "counter", Description: strconv.Itoa(n)})
}

func loseNoIncrement(t *testing.T, s registry.Store) {
	w := watch(t, s, 0)
	var wg sync.WaitGroup
	revisions := make([][]int64, writers)
	for i := range writers {
		wg.Go(func() {
			for j := range rounds {
				if j%5 == 4 {
					// A neighbour that fails must not be noticed.
					_, err := s.Update(t.Context(), func(tx registry.Tx) error {
						return errors.Join(tx.Put(group("refused")), putCounter(tx, -1), errRefused)
					})
					if !errors.Is(err, errRefused) {
						t.Errorf("error %v", err)
					}
				}
				revision, err := s.Update(t.Context(), func(tx registry.Tx) error {
					n, err := counterOf(tx)
					if err != nil {
						return err
					}
					return putCounter(tx, n+1)
				})
				if err != nil {
					t.Error(err)
					return
				}
				revisions[i] = append(revisions[i], revision)
			}
		})
	}
	// The watcher sees each revision once, in order, and the counter of each.
	for want := 1; want <= writers*rounds; want++ {
		e := next(t, w)
		c, ok := e.Changes[0].Resource.(*registry.Scope)
		if e.Revision != int64(want) || len(e.Changes) != 1 || !ok || c.Description != strconv.Itoa(want) {
			t.Fatalf("event %+v, want counter and revision %d", e, want)
		}
	}
	wg.Wait()
	seen := make(map[int64]bool)
	for _, list := range revisions {
		for i, r := range list {
			if seen[r] || i > 0 && r <= list[i-1] {
				t.Errorf("revision %d was given twice, or out of order", r)
			}
			seen[r] = true
		}
	}
	if _, err := s.Get(t.Context(), groupKey("refused")); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a refused write is there: %v", err)
	}
}

func loseNoConditionalWrite(t *testing.T, s registry.Store) {
	put(t, s, &registry.Scope{Name: "counter", Description: "0"})
	var wg sync.WaitGroup
	for range writers / 2 {
		wg.Go(func() {
			for done := 0; done < 5; {
				current, err := s.Get(t.Context(), scopeKey("counter"))
				if err != nil {
					t.Error(err)
					return
				}
				c, ok := current.(*registry.Scope)
				if !ok {
					t.Errorf("a %T", current)
					return
				}
				n, err := strconv.Atoi(c.Description)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = registry.Apply(t.Context(), s, registry.Batch{Writes: []registry.Write{{
					Resource: &registry.Scope{Name: "counter", Description: strconv.Itoa(n + 1)}, Revision: &c.Metadata.Revision,
				}}})
				switch {
				case err == nil:
					done++
				case !errors.Is(err, registry.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if c, ok := get(t, s, scopeKey("counter")).(*registry.Scope); !ok || c.Description != strconv.Itoa(writers/2*5) {
		t.Errorf("counter %+v", c)
	}
}

func showNoHalf(t *testing.T, s registry.Store) {
	pair := func(n int) []registry.Resource {
		return []registry.Resource{group("a", strconv.Itoa(n)), group("b", strconv.Itoa(n))}
	}
	put(t, s, pair(0)...)
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; n <= 4*rounds; n++ {
			put(t, s, pair(n)...)
		}
	})
	for range 4 {
		wg.Go(func() {
			for range 4 * rounds {
				snap, err := s.Snapshot(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				page, err := s.List(t.Context(), registry.KindGroup, registry.ListOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				for _, both := range [][]registry.Resource{snap.Resources, page.Resources} {
					a, b := both[0], both[1]
					if a.Meta().Revision != b.Meta().Revision || a.References()[0] != b.References()[0] {
						t.Errorf("a %+v, b %+v", a, b)
						return
					}
				}
				if snap.Revision != snap.Resources[0].Meta().Revision || page.Revision != page.Resources[0].Meta().Revision {
					t.Errorf("snapshot at %d, page at %d", snap.Revision, page.Revision)
				}
			}
		})
	}
	wg.Wait()
}
