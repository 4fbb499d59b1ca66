package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/mcpgate/mcpgate/registry"
)

// ErrStopped means that a write or a sync has failed in a way that leaves unknown what
// the disk holds. The store reads, but accepts no writes until it is opened
// anew.
var ErrStopped = errors.New("registry accepts no writes after a failed one")

// Store is a registry.Store in a bbolt file. It is made by Open.
type Store struct {
	db   *bbolt.DB
	file *os.File
	opts Options
	hub  *hub
	// history is owned by the writer.
	history history

	queue chan *request
	// closing is closed when Close begins, writerDone when the writer has
	// ended.
	closing, writerDone chan struct{}
	closeOnce           sync.Once
	closeErr            error
	// stopped holds the reason of ErrStopped.
	stopped atomic.Pointer[error]
	// stuck is set when a bbolt transaction could not be ended, so that the
	// database cannot be closed.
	stuck atomic.Bool
}

var _ registry.Store = (*Store)(nil)

// Get implements registry.Store. The error may be an ErrCorrupt.
func (s *Store) Get(ctx context.Context, key registry.Key) (registry.Resource, error) {
	var r registry.Resource
	err := s.view(ctx, func(tx *bbolt.Tx) (err error) {
		r, err = get(tx, key)
		return err
	})
	return r, err
}

// List implements registry.Store.
func (s *Store) List(ctx context.Context, kind registry.Kind, opt registry.ListOptions) (registry.Page, error) {
	var page registry.Page
	var raws []raw
	err := s.view(ctx, func(tx *bbolt.Tx) (err error) {
		raws = nil
		if page.Revision, err = readMeta(tx, keyRevision()); err != nil {
			return err
		}
		prefix := resourceKey(registry.Key{Kind: kind})
		start := resourceKey(registry.Key{Kind: kind, Name: opt.After})
		c := tx.Bucket(bucketResources()).Cursor()
		k, v := c.Seek(start)
		if opt.After != "" && bytes.Equal(k, start) {
			k, v = c.Next()
		}
		for ; bytes.HasPrefix(k, prefix); k, v = c.Next() {
			if opt.Limit > 0 && len(raws) == opt.Limit {
				page.Next = raws[len(raws)-1].key.Name
				break
			}
			if raws, err = appendRaw(raws, k, v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return registry.Page{}, err
	}
	if page.Resources, err = decodeAll(raws); err != nil {
		return registry.Page{}, err
	}
	return page, nil
}

// Snapshot implements registry.Store.
func (s *Store) Snapshot(ctx context.Context) (registry.Snapshot, error) {
	var snap registry.Snapshot
	var raws []raw
	err := s.view(ctx, func(tx *bbolt.Tx) (err error) {
		raws = nil
		if snap.Revision, err = readMeta(tx, keyRevision()); err != nil {
			return err
		}
		return tx.Bucket(bucketResources()).ForEach(func(k, v []byte) error {
			raws, err = appendRaw(raws, k, v)
			return err
		})
	})
	if err != nil {
		return registry.Snapshot{}, err
	}
	if snap.Resources, err = decodeAll(raws); err != nil {
		return registry.Snapshot{}, err
	}
	return snap, nil
}

// Close implements registry.Store. It waits for the commit that is under way;
// Updates that have not begun fail with ErrClosed.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		close(s.closing)
		<-s.writerDone
		s.hub.close()
		if s.stuck.Load() {
			s.closeErr = s.file.Close()
		} else {
			s.closeErr = s.db.Close()
		}
	})
	if s.closeErr != nil {
		return fmt.Errorf("close registry: %w", s.closeErr)
	}
	return nil
}

// view runs fn in a read transaction. A part of the file that cannot be read
// is an ErrCorrupt, not the end of the process.
func (s *Store) view(ctx context.Context, fn func(*bbolt.Tx) error) error {
	select {
	case <-s.closing:
		return registry.ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := guard(func() error { return s.db.View(fn) })
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return registry.ErrClosed
	}
	return err
}

// guard turns a fault in the file's memory map, and a panic of bbolt over what
// it finds there, into an ErrCorrupt.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", registry.ErrCorrupt, p)
		}
	}()
	return fn()
}

// get reads one resource.
func get(tx *bbolt.Tx, key registry.Key) (registry.Resource, error) {
	k := resourceKey(key)
	stored := tx.Bucket(bucketResources()).Get(k)
	if stored == nil {
		return nil, fmt.Errorf("%s: %w", key, registry.ErrNotFound)
	}
	value, err := unseal(k, stored)
	if err != nil {
		return nil, err
	}
	return decode(key, value)
}

func readMeta(tx *bbolt.Tx, key []byte) (int64, error) {
	value, err := unseal(key, tx.Bucket(bucketMeta()).Get(key))
	if err != nil {
		return 0, err
	}
	return parseRevision(value)
}

// raw is a resource that is yet to be decoded.
type raw struct {
	key   registry.Key
	value []byte
}

// appendRaw copies a record out of the transaction, so that decoding does not
// prolong it: a long read keeps bbolt from reusing pages.
func appendRaw(raws []raw, k, stored []byte) ([]raw, error) {
	key, err := parseResourceKey(k)
	if err != nil {
		return nil, err
	}
	value, err := unseal(k, stored)
	if err != nil {
		return nil, err
	}
	return append(raws, raw{key: key, value: bytes.Clone(value)}), nil
}

// decodeAll decodes in parallel: at start, a registry of 100,000 servers is
// read as a whole before anything is served.
func decodeAll(raws []raw) ([]registry.Resource, error) {
	out := make([]registry.Resource, len(raws))
	const chunk = 512
	workers := min(runtime.GOMAXPROCS(0), (len(raws)+chunk-1)/chunk)
	errs := make([]error, workers)
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for {
				start := int(next.Add(chunk)) - chunk
				if start >= len(raws) {
					return
				}
				for i := start; i < min(start+chunk, len(raws)); i++ {
					r, err := decode(raws[i].key, raws[i].value)
					if err != nil {
						errs[w] = err
						return
					}
					out[i] = r
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}
