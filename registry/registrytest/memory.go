package registrytest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mcpgate/mcpgate/registry"
)

// Memory is a registry.Store without a file, for tests. It keeps every change
// since it was made, so its watchers can never fall too far behind.
type Memory struct {
	// writer is held while a transaction runs, mu while the fields below are
	// read or written: a transaction may read the store.
	writer sync.Mutex

	mu        sync.Mutex
	resources map[registry.Key]registry.Resource
	log       []registry.Event // log[i] has revision i+1
	changed   chan struct{}    // closed at the next commit and at Close
	closed    bool
	watchers  sync.WaitGroup
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{resources: make(map[registry.Key]registry.Resource), changed: make(chan struct{})}
}

// NewMemoryWith returns a store that holds the given resources, written in one
// transaction; none leaves it empty. It panics when they cannot be stored.
func NewMemoryWith(resources ...registry.Resource) *Memory {
	m := NewMemory()
	_, err := m.Update(context.Background(), func(tx registry.Tx) error {
		for _, r := range resources {
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	return m
}

// Get implements registry.Store.
func (m *Memory) Get(ctx context.Context, key registry.Key) (registry.Resource, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return nil, err
	}
	return lookup(m.resources, key)
}

// List implements registry.Store.
func (m *Memory) List(ctx context.Context, kind registry.Kind, opt registry.ListOptions) (registry.Page, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return registry.Page{}, err
	}
	page := registry.Page{Revision: int64(len(m.log))}
	for _, key := range sortedKeys(m.resources) {
		if key.Kind != kind || key.Name <= opt.After && opt.After != "" {
			continue
		}
		if opt.Limit > 0 && len(page.Resources) == opt.Limit {
			page.Next = page.Resources[opt.Limit-1].Key().Name
			break
		}
		page.Resources = append(page.Resources, m.resources[key])
	}
	return page, nil
}

// Snapshot implements registry.Store.
func (m *Memory) Snapshot(ctx context.Context) (registry.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return registry.Snapshot{}, err
	}
	s := registry.Snapshot{Revision: int64(len(m.log))}
	for _, key := range sortedKeys(m.resources) {
		s.Resources = append(s.Resources, m.resources[key])
	}
	return s, nil
}

// Update implements registry.Store.
func (m *Memory) Update(ctx context.Context, fn func(registry.Tx) error) (int64, error) {
	m.writer.Lock()
	defer m.writer.Unlock()
	m.mu.Lock()
	err := m.usable(ctx)
	tx := &memoryTx{view: maps.Clone(m.resources)}
	m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if err := tx.run(fn); err != nil {
		return 0, err
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0, registry.ErrClosed
	}
	revision := int64(len(m.log)) + 1
	changes := m.changes(tx.view, revision)
	if len(changes) == 0 {
		return revision - 1, nil
	}
	for _, c := range changes {
		if c.Resource == nil {
			delete(m.resources, c.Key)
		} else {
			m.resources[c.Key] = c.Resource
		}
	}
	m.log = append(m.log, registry.Event{Revision: revision, Changes: changes})
	close(m.changed)
	m.changed = make(chan struct{})
	return revision, nil
}

// changes is the difference between what is stored and the view that a
// transaction left, stamped with the revision.
func (m *Memory) changes(view map[registry.Key]registry.Resource, revision int64) []registry.Change {
	var changes []registry.Change
	now := time.Now()
	for key, r := range view {
		if prev := m.resources[key]; prev == nil || !registry.Equal(prev, r) {
			changes = append(changes, registry.Change{Key: key, Resource: registry.Stamp(r, prev, revision, now)})
		}
	}
	for key := range m.resources {
		if view[key] == nil {
			changes = append(changes, registry.Change{Key: key})
		}
	}
	slices.SortFunc(changes, func(a, b registry.Change) int { return a.Key.Compare(b.Key) })
	return changes
}

// Watch implements registry.Store.
func (m *Memory) Watch(ctx context.Context, revision int64) (registry.Watcher, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return nil, err
	}
	if revision < 0 || revision > int64(len(m.log)) {
		return nil, fmt.Errorf("watch from revision %d: %w", revision, registry.ErrCompacted)
	}
	w := &memoryWatcher{store: m, events: make(chan registry.Event)}
	m.watchers.Go(func() { w.run(ctx, revision) })
	return w, nil
}

// Close implements registry.Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		close(m.changed)
	}
	m.mu.Unlock()
	m.watchers.Wait()
	return nil
}

func (m *Memory) usable(ctx context.Context) error {
	if m.closed {
		return registry.ErrClosed
	}
	return ctx.Err()
}

type memoryWatcher struct {
	store  *Memory
	events chan registry.Event

	mu  sync.Mutex
	err error
}

func (w *memoryWatcher) Events() <-chan registry.Event { return w.events }

func (w *memoryWatcher) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *memoryWatcher) run(ctx context.Context, after int64) {
	defer close(w.events)
	for {
		m := w.store
		m.mu.Lock()
		closed, changed, pending := m.closed, m.changed, m.log[after:]
		m.mu.Unlock()
		if closed {
			w.fail(registry.ErrClosed)
			return
		}
		// With nothing pending, the nil channel leaves the other cases.
		var events chan registry.Event
		var next registry.Event
		if len(pending) > 0 {
			events, next = w.events, pending[0]
		}
		select {
		case events <- next:
			after = next.Revision
		case <-changed:
		case <-ctx.Done():
			w.fail(ctx.Err())
			return
		}
	}
}

func (w *memoryWatcher) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// memoryTx works on a copy of everything.
type memoryTx struct {
	view map[registry.Key]registry.Resource
	done bool
}

var errTxDone = errors.New("transaction has ended")

func (tx *memoryTx) run(fn func(registry.Tx) error) (err error) {
	defer func() {
		tx.done = true
		if p := recover(); p != nil {
			err = fmt.Errorf("transaction panicked: %v", p)
		}
	}()
	return fn(tx)
}

func (tx *memoryTx) Get(key registry.Key) (registry.Resource, error) {
	if tx.done {
		return nil, errTxDone
	}
	return lookup(tx.view, key)
}

func (tx *memoryTx) List(kind registry.Kind) ([]registry.Key, error) {
	if tx.done {
		return nil, errTxDone
	}
	return slices.DeleteFunc(sortedKeys(tx.view), func(k registry.Key) bool { return k.Kind != kind }), nil
}

func (tx *memoryTx) Referrers(key registry.Key) ([]registry.Key, error) {
	if tx.done {
		return nil, errTxDone
	}
	return slices.DeleteFunc(sortedKeys(tx.view), func(k registry.Key) bool {
		return !slices.Contains(tx.view[k].References(), key)
	}), nil
}

func (tx *memoryTx) Put(r registry.Resource) error {
	if tx.done {
		return errTxDone
	}
	if err := registry.Storable(r); err != nil {
		return err
	}
	tx.view[r.Key()] = r.Clone()
	return nil
}

func (tx *memoryTx) Delete(key registry.Key) error {
	if tx.done {
		return errTxDone
	}
	if _, err := lookup(tx.view, key); err != nil {
		return err
	}
	delete(tx.view, key)
	return nil
}

func lookup(m map[registry.Key]registry.Resource, key registry.Key) (registry.Resource, error) {
	r, ok := m[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, registry.ErrNotFound)
	}
	return r, nil
}

func sortedKeys(m map[registry.Key]registry.Resource) []registry.Key {
	return slices.SortedFunc(maps.Keys(m), registry.Key.Compare)
}
