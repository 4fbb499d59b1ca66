package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/mcpgate/mcpgate/registry"
)

// Options of Open. The zero value is right for everything but tests.
type Options struct {
	// Log gets the failures of writes; nothing is logged when nil.
	Log *slog.Logger
	// LockTimeout is how long Open waits for another process to let go of the
	// file; 1s when zero.
	LockTimeout time.Duration
	// History is how many Updates are kept for Watch; 10,000 when zero.
	History int
	// Now is the clock; time.Now when nil.
	Now func() time.Time

	// noSync leaves out the syncs, for tests that are not about them.
	noSync bool
}

const (
	defaultLockTimeout = time.Second
	defaultHistory     = 10_000
	// growBytes is by how much the file grows at a time, each with a sync of
	// its own.
	growBytes = 4 << 20
	fileMode  = 0o600
)

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = defaultLockTimeout
	}
	if o.History == 0 {
		o.History = defaultHistory
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Open opens the registry in the file at path, or makes an empty one where
// there is no file; its directory must exist. The whole file is checked first.
//
// The error wraps registry.ErrLocked when another process holds the file,
// registry.ErrFormat when an unknown version of this program wrote it, and
// registry.ErrCorrupt when it is anything else, an empty file included: a
// registry that this package made is never empty, so one that is has lost
// everything.
func Open(path string, opts Options) (*Store, error) {
	s, err := open(path, opts.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("open registry %s: %w", path, err)
	}
	return s, nil
}

func open(path string, opts Options) (*Store, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path, opts); err != nil {
			return nil, err
		}
	}
	db, file, err := openBolt(path, opts, false)
	if err != nil {
		return nil, err
	}
	var h history
	err = guard(func() error {
		return db.View(func(tx *bbolt.Tx) (err error) {
			if err := checkFormat(tx); err != nil {
				return err
			}
			h, err = loadHistory(tx)
			return err
		})
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s := &Store{
		db: db, file: file, opts: opts, hub: newHub(h.revision, opts.History), history: h,
		queue: make(chan *request, maxBatch), closing: make(chan struct{}), writerDone: make(chan struct{}),
	}
	go s.write()
	return s, nil
}

// openBolt locks the file, checks its pages, and only then lets bbolt map them.
func openBolt(path string, opts Options, readOnly bool) (*bbolt.DB, *os.File, error) {
	var file *os.File
	var checked error
	db, err := bbolt.Open(path, fileMode, &bbolt.Options{
		Timeout:         opts.LockTimeout,
		FreelistType:    bbolt.FreelistMapType,
		NoFreelistSync:  true, // the walk at open costs less than writing it with every commit
		PreLoadFreelist: true,
		ReadOnly:        readOnly,
		NoStatistics:    true,
		NoSync:          opts.noSync,
		InitialMmapSize: initialMapBytes(),
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			// Never O_CREATE: bbolt would make an empty database of an empty
			// file, and of one that has just vanished.
			f, err := os.OpenFile(name, flag&^os.O_CREATE, mode) //nolint:gosec // the path is the operator's
			if err != nil {
				return nil, err
			}
			if checked = checkFile(f, readOnly, opts.LockTimeout); checked != nil {
				return nil, errors.Join(checked, f.Close())
			}
			file = f
			return f, nil
		},
	})
	switch {
	case err == nil:
		db.AllocSize = growBytes
		return db, file, nil
	case checked != nil:
		return nil, nil, checked
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, nil, registry.ErrLocked
	default:
		return nil, nil, err
	}
}

func checkFile(f *os.File, shared bool, timeout time.Duration) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 || !info.Mode().IsRegular() {
		return corruptf("it is not a file with anything in it; a registry never is empty")
	}
	if err := lockFile(f, shared, timeout); err != nil {
		return err
	}
	return walkFile(f, checkRecord)
}

// initialMapBytes is the size of the memory map. One that is larger than the
// file need not be made anew when the file grows, for which writes would wait
// for all reads. It takes addresses, not memory; except on Windows, where it
// takes disk.
func initialMapBytes() int {
	if bits.UintSize < 64 || runtime.GOOS == "windows" {
		return 0
	}
	return 1 << 30
}

func checkFormat(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta())
	if meta == nil {
		return fmt.Errorf("%w: it is a bbolt database of another program", registry.ErrFormat)
	}
	value, err := unseal(keyFormat(), meta.Get(keyFormat()))
	if err != nil {
		return err
	}
	if string(value) != format {
		return fmt.Errorf("%w: %.40q, where %q is known", registry.ErrFormat, value, format)
	}
	for _, name := range [][]byte{bucketResources(), bucketReferences(), bucketChanges()} {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("%w: the bucket %s is missing", registry.ErrCorrupt, name)
		}
	}
	return nil
}

// create makes an empty registry at path, where there is no file. It is
// complete before it gets its name, so that an interruption leaves either no
// file or a good one; of two processes, one succeeds and both go on with its
// file.
func create(path string, opts Options) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	name := tmp.Name()
	defer func() { _ = os.Remove(name) }() // after a rename there is none
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := initialise(name, opts); err != nil {
		return err
	}
	err = os.Link(name, path)
	switch {
	case err == nil || errors.Is(err, fs.ErrExist):
	default:
		// Not every file system has links. Two processes that start at the same
		// moment are then kept apart by nothing.
		if err := os.Rename(name, path); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(path))
}

func initialise(name string, opts Options) (err error) {
	db, err := bbolt.Open(name, fileMode, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true, NoSync: opts.noSync})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.Update(func(tx *bbolt.Tx) error {
		for _, bucket := range [][]byte{bucketResources(), bucketReferences(), bucketChanges()} {
			if _, err := tx.CreateBucket(bucket); err != nil {
				return err
			}
		}
		meta, err := tx.CreateBucket(bucketMeta())
		if err != nil {
			return err
		}
		if err := meta.Put(keyFormat(), seal(keyFormat(), []byte(format))); err != nil {
			return err
		}
		return (&history{}).save(tx, opts.History)
	})
}

// syncDir makes the names in a directory durable. Windows has no such thing.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir) //nolint:gosec // the path is the operator's
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
