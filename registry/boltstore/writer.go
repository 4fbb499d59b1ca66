package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/mcpgate/mcpgate/registry"
)

// maxBatch bounds the Updates of one commit, and so how long the first of them
// waits for the functions of the others.
const maxBatch = 256

// request is an Update on its way to the writer.
type request struct {
	ctx context.Context // of the call that waits for done
	fn  func(registry.Tx) error
	// state decides between the writer, which begins the request, and the
	// caller, who gives up.
	state atomic.Int32
	done  chan outcome
}

const (
	waiting int32 = iota
	begun
	abandoned
)

type outcome struct {
	revision int64
	err      error
}

// Update implements registry.Store. It does not return while fn runs; a context
// that ends before fn has begun makes it return at once, later it has no
// effect. A panic of fn is an error.
func (s *Store) Update(ctx context.Context, fn func(registry.Tx) error) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	req := &request{ctx: ctx, fn: fn, done: make(chan outcome, 1)}
	select {
	case <-s.closing:
		return 0, registry.ErrClosed
	default:
	}
	select {
	case s.queue <- req:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.closing:
		return 0, registry.ErrClosed
	}
	select {
	case out := <-req.done:
		return out.revision, out.err
	case <-ctx.Done():
		if req.state.CompareAndSwap(waiting, abandoned) {
			return 0, ctx.Err()
		}
	case <-s.writerDone:
	}
	// Either it has begun, and will be answered, or the writer has ended.
	select {
	case out := <-req.done:
		return out.revision, out.err
	case <-s.writerDone:
	}
	select {
	case out := <-req.done:
		return out.revision, out.err
	default:
		return 0, registry.ErrClosed
	}
}

// write is the writer: the only goroutine that changes the file.
func (s *Store) write() {
	defer close(s.writerDone)
	for {
		select {
		case <-s.closing:
			return
		case first := <-s.queue:
			s.process(s.collect(first))
		}
	}
}

// collect takes what waits, without waiting itself. The callers of the last
// commit have just been answered: letting them run first puts their next
// Updates into this commit instead of the one after.
func (s *Store) collect(first *request) []*request {
	runtime.Gosched()
	batch := []*request{first}
	for len(batch) < maxBatch {
		select {
		case req := <-s.queue:
			batch = append(batch, req)
		default:
			return batch
		}
	}
	return batch
}

// process answers every request of the batch.
func (s *Store) process(batch []*request) {
	batch = slices.DeleteFunc(batch, func(req *request) bool { return !req.state.CompareAndSwap(waiting, begun) })
	if reason := s.stopped.Load(); reason != nil {
		answer(batch, fmt.Errorf("%w: %w", ErrStopped, *reason))
		return
	}
	for len(batch) > 0 {
		c := &commit{store: s, history: s.history, outcomes: make([]outcome, len(batch))}
		var tainted int
		err := guard(func() (err error) {
			tainted, err = c.run(batch)
			return err
		})
		if tainted >= 0 && err == nil {
			// That request left the transaction half changed. Its neighbours are
			// run again without it.
			batch[tainted].done <- c.outcomes[tainted]
			batch = slices.Delete(batch, tainted, tainted+1)
			continue
		}
		if err != nil {
			s.failed(c, err)
			answer(batch, fmt.Errorf("write registry: %w", err))
			return
		}
		s.history = c.history
		s.hub.publish(c.events)
		for i, req := range batch {
			req.done <- c.outcomes[i]
		}
		return
	}
}

func answer(batch []*request, err error) {
	for _, req := range batch {
		req.done <- outcome{err: err}
	}
}

// failed decides whether the store can go on after a failed commit.
func (s *Store) failed(c *commit, err error) {
	if rollback := guard(c.rollback); rollback != nil {
		s.stuck.Store(true)
	} else if isFull(err) {
		// bbolt writes the page that makes a commit valid last. As long as the
		// revision is the old one, nothing has happened.
		var revision int64
		check := guard(func() error {
			return s.db.View(func(tx *bbolt.Tx) (err error) {
				revision, err = readMeta(tx, keyRevision())
				return err
			})
		})
		if check == nil && revision == s.history.revision {
			s.opts.Log.Error("registry is full, write refused", "path", s.db.Path(), "error", err)
			return
		}
	}
	s.stopped.Store(&err)
	s.opts.Log.Error("registry write failed, no more writes are accepted", "path", s.db.Path(), "error", err)
}

// isFull reports whether err says that a write found no room. A sync that
// reports the same is not meant: what it had to write is then unknown. The sync
// functions return bare error numbers, writes an *fs.PathError.
func isFull(err error) bool {
	if errors.Is(err, bolterrors.ErrMaxSizeReached) {
		return true
	}
	full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
	var write *fs.PathError
	if full && errors.As(err, &write) {
		return write.Op == "write"
	}
	// bbolt enlarges the file before it writes anything, and does not wrap the
	// error.
	return strings.HasPrefix(err.Error(), "file resize error: ")
}

// commit is one bbolt transaction and what it will tell.
type commit struct {
	store    *Store
	tx       *bbolt.Tx
	history  history
	events   []registry.Event
	outcomes []outcome
}

// run runs the batch and commits it. tainted is the index of a request that
// has to be left out, and whose outcome is set; -1 when there is none. Then, and
// when it returns an error, nothing has been committed.
func (c *commit) run(batch []*request) (tainted int, err error) {
	if c.tx, err = c.store.db.Begin(true); err != nil {
		return -1, fmt.Errorf("begin: %w", err)
	}
	now := c.store.opts.Now()
	for i, req := range batch {
		o := newOverlay(c.tx)
		err := req.ctx.Err()
		if err == nil {
			err = call(req.fn, o)
		}
		if err == nil {
			var changed bool
			changed, err = c.apply(o, now)
			if err != nil && changed {
				c.outcomes[i] = outcome{err: err}
				return i, c.rollback()
			}
		}
		c.outcomes[i] = outcome{revision: c.history.revision, err: err}
		if err != nil {
			c.outcomes[i].revision = 0
		}
	}
	if len(c.events) == 0 {
		return -1, c.rollback()
	}
	if err := c.history.save(c.tx, c.store.opts.History); err != nil {
		return -1, err
	}
	return -1, c.tx.Commit()
}

func (c *commit) rollback() error {
	if c.tx == nil {
		return nil
	}
	err := c.tx.Rollback()
	if errors.Is(err, bolterrors.ErrTxClosed) {
		return nil // a failed commit has done it
	}
	return err
}

// call runs fn in a goroutine of its own, so that even one that ends its
// goroutine (as t.FailNow does) does not end the writer.
func call(fn func(registry.Tx) error, o *overlay) error {
	err := errors.New("transaction ended its goroutine")
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			o.done = true
			if p := recover(); p != nil {
				err = fmt.Errorf("transaction panicked: %v\n%s", p, debug.Stack())
			}
		}()
		debug.SetPanicOnFault(true)
		err = fn(o)
	}()
	<-done
	if o.broken != nil {
		return o.broken
	}
	return err
}

// apply writes what the overlay changed into the transaction, as the next
// revision. changed says whether the transaction was touched, also when there
// is an error.
func (c *commit) apply(o *overlay, now time.Time) (changed bool, err error) {
	o.done = false
	defer func() { o.done = true }()
	revision := c.history.revision + 1
	event := registry.Event{Revision: revision}
	var record []byte
	for _, key := range slices.SortedFunc(maps.Keys(o.written), registry.Key.Compare) {
		next := o.written[key]
		prev, err := o.below(key)
		if err != nil {
			return len(event.Changes) > 0, err
		}
		if next == nil && prev == nil || next != nil && prev != nil && registry.Equal(next, prev) {
			continue
		}
		change := registry.Change{Key: key}
		var value []byte
		if next != nil {
			change.Resource = registry.Stamp(next, prev, revision, now)
			if value, err = registry.Encode(change.Resource); err != nil {
				return len(event.Changes) > 0, err
			}
		}
		event.Changes = append(event.Changes, change)
		record = appendChange(record, key, value)
		if err := c.place(key, prev, change.Resource, value); err != nil {
			return true, err
		}
	}
	if len(event.Changes) == 0 {
		return false, nil
	}
	if err := c.history.add(c.tx, revision, record); err != nil {
		return true, err
	}
	c.events = append(c.events, event)
	return true, nil
}

// place writes one resource and its index entries; next is nil for a
// deletion.
func (c *commit) place(key registry.Key, prev, next registry.Resource, value []byte) error {
	resources, references := c.tx.Bucket(bucketResources()), c.tx.Bucket(bucketReferences())
	k := resourceKey(key)
	var before, after []registry.Key
	if prev != nil {
		before = prev.References()
	}
	if next != nil {
		after = next.References()
		if err := resources.Put(k, seal(k, value)); err != nil {
			return fmt.Errorf("put %s: %w", key, err)
		}
	} else if err := resources.Delete(k); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	for _, target := range before {
		if _, kept := slices.BinarySearchFunc(after, target, registry.Key.Compare); !kept {
			if err := references.Delete(referenceKey(target, key)); err != nil {
				return fmt.Errorf("unindex %s: %w", key, err)
			}
		}
	}
	for _, target := range after {
		if _, known := slices.BinarySearchFunc(before, target, registry.Key.Compare); known {
			continue
		}
		ref := referenceKey(target, key)
		if err := references.Put(ref, seal(ref, nil)); err != nil {
			return fmt.Errorf("index %s: %w", key, err)
		}
	}
	return nil
}
