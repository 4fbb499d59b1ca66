package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// settle is the age below which a modification time says little: another
	// write in the same tick of the file system's clock leaves it, and the
	// size, as they were. A file as young as that is read again.
	settle = 2 * time.Second

	// maxOverdue is for how many recheck intervals a value still serves while
	// another caller is busy reading the file, which a slow disk can delay.
	maxOverdue = 5
)

// file is one file and what was last read from it.
type file struct {
	path string
	// mu is held by the one caller that looks at the file.
	mu   sync.Mutex
	last atomic.Pointer[reading]
}

// reading is the outcome of one look at a file. It is immutable.
type reading struct {
	at    time.Time
	value string
	err   error
	// info is nil after an error.
	info os.FileInfo
}

func (f *file) value(now func() time.Time, recheck time.Duration) (string, error) {
	t := now()
	last := f.last.Load()
	if last.servesAt(t, recheck) {
		return last.value, last.err
	}
	if last.servesAt(t, maxOverdue*recheck) {
		if !f.mu.TryLock() {
			return last.value, last.err
		}
	} else {
		f.mu.Lock()
	}
	defer f.mu.Unlock()
	t = now()
	if last = f.last.Load(); last.servesAt(t, recheck) {
		return last.value, last.err
	}
	next := look(f.path, t, last)
	f.last.Store(next)
	return next.value, next.err
}

// servesAt reports whether r is younger than d at t. A clock that went back
// makes it old.
func (r *reading) servesAt(t time.Time, d time.Duration) bool {
	if r == nil {
		return false
	}
	age := t.Sub(r.at)
	return age >= 0 && age < d
}

// look reads the file, unless it is the one last was read from.
func look(path string, at time.Time, last *reading) *reading {
	info, err := os.Stat(path)
	if err != nil {
		return &reading{at: at, err: pathless(err)}
	}
	if last != nil && last.err == nil && same(last.info, info) && last.at.Sub(info.ModTime()) > settle {
		return &reading{at: at, value: last.value, info: info}
	}
	// Opening a pipe or a device can block or have effects.
	if !info.Mode().IsRegular() {
		return &reading{at: at, err: errors.New("is not a regular file")}
	}
	value, info, err := read(path)
	if err != nil {
		return &reading{at: at, err: err}
	}
	return &reading{at: at, value: value, info: info}
}

// read returns the content of the file and what the file was. A file that
// changes while it is read is refused: half of one secret and half of another
// is neither.
func read(path string) (_ string, _ os.FileInfo, err error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file in the registry
	if err != nil {
		return "", nil, pathless(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	before, err := f.Stat()
	if err != nil {
		return "", nil, pathless(err)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return "", nil, pathless(err)
	}
	after, err := f.Stat()
	if err != nil {
		return "", nil, pathless(err)
	}
	if !same(before, after) || int64(len(data)) != min(after.Size(), MaxBytes+1) {
		return "", nil, errors.New("changed while it was read")
	}
	if len(data) > MaxBytes {
		return "", nil, fmt.Errorf("is larger than %d bytes", MaxBytes)
	}
	data = bytes.TrimSuffix(data, []byte("\n"))
	data = bytes.TrimSuffix(data, []byte("\r"))
	v := string(data)
	if err := check(v); err != nil {
		return "", nil, err
	}
	return v, after, nil
}

// same reports whether two looks saw one file, unchanged.
func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// pathless strips the operation and the path, which the caller adds.
func pathless(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}
