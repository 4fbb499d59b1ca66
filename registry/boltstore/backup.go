package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/mcpgate/mcpgate/registry"
)

// Backup writes a copy of the registry, as it is at one revision, to w. Writes
// go on meanwhile; the file grows by what they replace. It ends early with ctx
// or with Close.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	out := &endingWriter{ctx: ctx, store: s, w: w}
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(out)
		return err
	})
	if out.err != nil {
		err = out.err // bbolt does not wrap it
	}
	if err != nil {
		return fmt.Errorf("back up registry: %w", err)
	}
	return nil
}

// endingWriter fails once the backup has to end, and keeps the first error.
type endingWriter struct {
	ctx   context.Context // of the one call it lives in
	store *Store
	w     io.Writer
	err   error
}

func (e *endingWriter) Write(b []byte) (n int, err error) {
	select {
	case <-e.store.closing:
		err = registry.ErrClosed
	default:
		err = e.ctx.Err()
	}
	if err == nil {
		n, err = e.w.Write(b)
	}
	if e.err == nil {
		e.err = err
	}
	return n, err
}

// restoredLead is how far the revision of a restored registry is moved ahead
// when the one it replaces cannot be read.
const restoredLead = 1_000_000

// Restore puts a backup, read from r, in place of the registry at path, which
// no process may have open. Nothing is replaced before the backup is complete,
// checked and durable; the replaced file stays beside it with the suffix
// ".replaced", or ".replaced.2" and so on when there is one already.
//
// The restored registry goes on at a higher revision than both had, so that no
// revision and no generation is used twice, and without a history: every
// watcher starts anew.
func Restore(path string, r io.Reader) error {
	if err := restore(path, r); err != nil {
		return fmt.Errorf("restore registry %s: %w", path, err)
	}
	return nil
}

func restore(path string, r io.Reader) (err error) {
	opts := Options{}.withDefaults()
	// The lock is held until the new file is in place.
	revision, release, err := lockExisting(path, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()

	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".restore-*")
	if err != nil {
		return err
	}
	name := tmp.Name()
	defer func() { _ = os.Remove(name) }() // after the rename there is none
	if _, err := io.Copy(tmp, r); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := check(name); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := moveAhead(name, revision, opts); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := keepReplaced(path); err != nil {
		return err
	}
	if err := os.Rename(name, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// lockExisting locks the registry that is to be replaced and returns its
// revision, -1 when there is none that can be read.
func lockExisting(path string, opts Options) (revision int64, release func() error, err error) {
	none := func() error { return nil }
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return -1, none, nil
	}
	db, _, err := openBolt(path, opts, false)
	if errors.Is(err, registry.ErrLocked) {
		return 0, nil, err
	}
	if err != nil {
		return -1, none, nil //nolint:nilerr // what cannot be read is what is to be replaced
	}
	err = guard(func() error {
		return db.View(func(tx *bbolt.Tx) (err error) {
			if err = checkFormat(tx); err == nil {
				revision, err = readMeta(tx, keyRevision())
			}
			return err
		})
	})
	if err != nil {
		revision = -1
	}
	return revision, db.Close, nil
}

// moveAhead gives the registry in the file a revision above its own and the
// replaced one's, and ends its history there. It leaves the file durable.
func moveAhead(name string, replaced int64, opts Options) (err error) {
	db, _, err := openBolt(name, opts, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.Update(func(tx *bbolt.Tx) error {
		h, err := loadHistory(tx)
		if err != nil {
			return err
		}
		h.revision = max(h.revision, replaced) + 1
		if replaced < 0 {
			h.revision += restoredLead
		}
		h.floor, h.bytes, h.dropped = h.revision, 0, true
		return h.save(tx, opts.History)
	})
}

// keepReplaced gives the file at path a second name that nothing has yet.
func keepReplaced(path string) error {
	kept := path + ".replaced"
	for n := 2; ; n++ {
		err := os.Link(path, kept)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // there was nothing
		case !errors.Is(err, fs.ErrExist):
			return err
		}
		kept = fmt.Sprintf("%s.replaced.%d", path, n)
	}
}
