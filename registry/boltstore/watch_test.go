package boltstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/boltstore"
)

func watch(t testing.TB, s registry.Store, revision int64) registry.Watcher {
	t.Helper()
	w, err := s.Watch(t.Context(), revision)
	if err != nil {
		t.Fatalf("Watch(%d): %v", revision, err)
	}
	return w
}

func next(t testing.TB, w registry.Watcher) registry.Event {
	t.Helper()
	select {
	case e, ok := <-w.Events():
		if !ok {
			t.Fatalf("the watcher ended: %v", w.Err())
		}
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no event")
	}
	return registry.Event{}
}

func numbered(n int) *registry.Group {
	return &registry.Group{Name: "g", Scopes: []string{fmt.Sprint(n)}}
}

func TestWatchResumesAfterARestart(t *testing.T) {
	t.Parallel()
	s, path := open(t, boltstore.NoSync(boltstore.Options{}))
	live := watch(t, s, 0)
	var want []registry.Event
	for i := range 300 {
		put(t, s, numbered(i), &registry.Scope{Name: fmt.Sprint(i % 7), Description: fmt.Sprint(i)})
		want = append(want, next(t, live))
	}
	if _, err := s.Update(t.Context(), func(tx registry.Tx) error {
		return tx.Delete(registry.Key{Kind: registry.KindGroup, Name: "g"})
	}); err != nil {
		t.Fatal(err)
	}
	want = append(want, next(t, live))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, path, boltstore.NoSync(boltstore.Options{}))
	for _, after := range []int64{0, 1, 150, 300, 301} {
		w := watch(t, s, after)
		for _, e := range want[after:] {
			if diff := cmp.Diff(e, next(t, w)); diff != "" {
				t.Fatalf("replayed after %d (-live +replayed):\n%s", after, diff)
			}
		}
	}
}

func TestWatchOfARevisionTooOldIsCompacted(t *testing.T) {
	t.Parallel()
	opts := boltstore.NoSync(boltstore.Options{History: 10})
	s, path := open(t, opts)
	for i := range 200 {
		put(t, s, numbered(i))
	}
	check := func() {
		t.Helper()
		for _, old := range []int64{0, 1, 100} {
			if _, err := s.Watch(t.Context(), old); !errors.Is(err, registry.ErrCompacted) {
				t.Errorf("Watch(%d): %v", old, err)
			}
		}
		w := watch(t, s, 190)
		for want := int64(191); want <= 200; want++ {
			if e := next(t, w); e.Revision != want {
				t.Fatalf("revision %d, want %d", e.Revision, want)
			}
		}
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, path, opts)
	check()
}

func TestSlowWatcherIsDroppedAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	s, _ := open(t, boltstore.NoSync(boltstore.Options{History: 16}))
	slow, fast := watch(t, s, 0), watch(t, s, 0)
	for i := range 100 {
		put(t, s, numbered(i))
		if e := next(t, fast); e.Revision != int64(i+1) {
			t.Fatalf("revision %d, want %d", e.Revision, i+1)
		}
	}
	last := int64(0)
	for e := range slow.Events() {
		if e.Revision != last+1 {
			t.Errorf("revision %d after %d", e.Revision, last)
		}
		last = e.Revision
	}
	if err := slow.Err(); !errors.Is(err, registry.ErrCompacted) || last > 17 {
		t.Errorf("it ended after revision %d with %v", last, err)
	}
	if fast.Err() != nil {
		t.Errorf("the fast one: %v", fast.Err())
	}
}

func TestLargeUpdateEndsTheHistoryButReachesWatchers(t *testing.T) {
	t.Parallel()
	s, _ := open(t, boltstore.NoSync(boltstore.Options{}))
	for i := range 20 {
		put(t, s, numbered(i))
	}
	live := watch(t, s, 20)
	var large []registry.Resource
	for i := range 1000 {
		large = append(large, &registry.Scope{Name: fmt.Sprint(i), Description: strings.Repeat("d", 5000)})
	}
	put(t, s, large...)
	put(t, s, numbered(99))
	if e := next(t, live); e.Revision != 21 || len(e.Changes) != 1000 {
		t.Errorf("revision %d with %d changes", e.Revision, len(e.Changes))
	}
	if e := next(t, live); e.Revision != 22 {
		t.Errorf("revision %d", e.Revision)
	}
	for _, old := range []int64{0, 20} {
		if _, err := s.Watch(t.Context(), old); !errors.Is(err, registry.ErrCompacted) {
			t.Errorf("Watch(%d): %v", old, err)
		}
	}
	if e := next(t, watch(t, s, 21)); e.Revision != 22 {
		t.Errorf("revision %d", e.Revision)
	}
}
