package boltstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/mcpgate/mcpgate/registry"
)

// maxLagChanges bounds how many changes may wait for one watcher.
const maxLagChanges = 1 << 20

// hub hands committed Updates to the watchers. They hang on a linked list,
// each with its place in it, so that publishing waits for nobody and costs the
// same for every Update; what all have read is garbage.
type hub struct {
	// maxLag bounds how many Updates may wait for one watcher.
	maxLag int64

	mu       sync.Mutex
	revision int64
	// tail is the link that the next Update will fill.
	tail     *link
	changes  int64
	watchers map[*watcher]struct{}
	closed   bool
	wg       sync.WaitGroup
}

// link is one Update of the list; event and next are set before ready is
// closed.
type link struct {
	ready chan struct{}
	event registry.Event
	next  *link
}

func newHub(revision int64, maxLag int) *hub {
	return &hub{maxLag: int64(maxLag), revision: revision, tail: &link{ready: make(chan struct{})}, watchers: make(map[*watcher]struct{})}
}

// publish appends Updates, and drops the watchers that are too far behind.
func (h *hub) publish(events []registry.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		next := &link{ready: make(chan struct{})}
		full := h.tail
		full.event, full.next = e, next
		h.tail, h.revision = next, e.Revision
		h.changes += int64(len(e.Changes))
		close(full.ready)
	}
	for w := range h.watchers {
		if h.revision-w.revision.Load() > h.maxLag || h.changes-w.changes.Load() > maxLagChanges {
			w.drop(fmt.Errorf("watcher at revision %d fell too far behind revision %d: %w", w.revision.Load(), h.revision, registry.ErrCompacted))
			delete(h.watchers, w)
		}
	}
}

// close ends the watchers with ErrClosed and waits for them.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	for w := range h.watchers {
		w.drop(registry.ErrClosed)
	}
	clear(h.watchers)
	h.mu.Unlock()
	h.wg.Wait()
}

func (h *hub) remove(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
}

// Watch implements registry.Store. A watcher that reads too slowly ends with
// an ErrCompacted when more Updates wait for it than Options.History, or a
// million changes.
func (s *Store) Watch(ctx context.Context, revision int64) (registry.Watcher, error) {
	h := s.hub
	w := &watcher{store: s, events: make(chan registry.Event), dropped: make(chan struct{})}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, registry.ErrClosed
	}
	last := h.revision
	w.next = h.tail
	w.revision.Store(last)
	w.changes.Store(h.changes)
	h.watchers[w] = struct{}{}
	h.wg.Add(1)
	h.mu.Unlock()

	if err := s.canResume(ctx, revision, last); err != nil {
		h.remove(w)
		h.wg.Done()
		return nil, err
	}
	go func() {
		defer h.wg.Done()
		defer close(w.events)
		defer h.remove(w)
		w.run(ctx, revision, last)
	}()
	return w, nil
}

// canResume reports whether the Updates after revision, up to last, are kept.
// A revision that the store has not reached is of another history.
func (s *Store) canResume(ctx context.Context, revision, last int64) error {
	if revision < 0 || revision > last {
		return compacted(revision)
	}
	return s.view(ctx, func(tx *bbolt.Tx) error {
		floor, err := readMeta(tx, keyFloor())
		if err == nil && revision < floor && revision < last {
			err = compacted(revision)
		}
		return err
	})
}

// watcher is a registry.Watcher.
type watcher struct {
	store  *Store
	events chan registry.Event
	next   *link
	// revision and changes tell the hub how far the watcher has come.
	revision, changes atomic.Int64

	mu  sync.Mutex
	err error
	// dropped is closed when the hub has set err.
	dropped chan struct{}
}

// Events implements registry.Watcher.
func (w *watcher) Events() <-chan registry.Event { return w.events }

// Err implements registry.Watcher.
func (w *watcher) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// fail sets the reason of the end; the first one counts.
func (w *watcher) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// drop is called by the hub, once.
func (w *watcher) drop(err error) {
	w.fail(err)
	close(w.dropped)
}

// run delivers the history after a revision up to last, and then what is
// published.
func (w *watcher) run(ctx context.Context, after, last int64) {
	const chunk = 64
	for after < last {
		var events []registry.Event
		err := w.store.view(ctx, func(tx *bbolt.Tx) (err error) {
			events, err = readHistory(tx, after, min(chunk, int(last-after)))
			return err
		})
		if err == nil && len(events) == 0 {
			err = fmt.Errorf("history: %w: revision %d is missing", registry.ErrCorrupt, after+1)
		}
		if err != nil {
			w.fail(err)
			return
		}
		for _, e := range events {
			if !w.deliver(ctx, e) {
				return
			}
			after = e.Revision
		}
	}
	for {
		select {
		case <-w.next.ready:
		case <-ctx.Done():
			w.fail(ctx.Err())
			return
		case <-w.dropped:
			return
		}
		e := w.next.event
		if !w.deliver(ctx, e) {
			return
		}
		w.next = w.next.next
		w.revision.Store(e.Revision)
		w.changes.Add(int64(len(e.Changes)))
	}
}

func (w *watcher) deliver(ctx context.Context, e registry.Event) bool {
	select {
	case w.events <- e:
		return true
	case <-ctx.Done():
		w.fail(ctx.Err())
	case <-w.dropped:
	}
	return false
}
