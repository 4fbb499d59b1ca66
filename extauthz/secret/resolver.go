package secret

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mcpgate/mcpgate/registry"
)

const (
	// MaxBytes is the size of the largest secret, its line end included.
	MaxBytes = 64 << 10

	// DefaultRecheck is how long a file is not looked at again.
	DefaultRecheck = time.Second

	// maxFiles bounds the memory of files once referred to. The registry names
	// a file per upstream at most; past the bound all are forgotten and those
	// still in use are read again.
	maxFiles = 4096
)

// Options are the knobs of a Resolver. The zero Options are the ones to use.
type Options struct {
	// Recheck is how long a file is not looked at again; DefaultRecheck when
	// zero.
	Recheck time.Duration
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Resolver resolves secret references. It is safe for concurrent use.
type Resolver struct {
	recheck time.Duration
	now     func() time.Time

	mu    sync.RWMutex
	files map[string]*file
}

// New returns a Resolver.
func New(o Options) *Resolver {
	if o.Recheck <= 0 {
		o.Recheck = DefaultRecheck
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Resolver{recheck: o.Recheck, now: o.Now, files: map[string]*file{}}
}

// Resolve returns the secret that ref points to. One trailing line end of a
// file is not part of it. An unset, empty, too large or unreadable secret, and
// one with control characters or invalid UTF-8, is an error: there is no
// fallback to a former value.
func (r *Resolver) Resolve(ref registry.SecretRef) (string, error) {
	kind, rest, _ := strings.Cut(string(ref), ":")
	switch {
	case kind == "env" && rest != "":
		v, ok := os.LookupEnv(rest)
		if !ok {
			return "", fmt.Errorf("secret %s: variable is not set", ref)
		}
		if err := check(v); err != nil {
			return "", fmt.Errorf("secret %s: %w", ref, err)
		}
		return v, nil
	case kind == "file" && strings.HasPrefix(rest, "/"):
		v, err := r.file(rest).value(r.now, r.recheck)
		if err != nil {
			return "", fmt.Errorf("secret %s: %w", ref, err)
		}
		return v, nil
	}
	// What stands there may be the secret itself, written in the wrong place.
	return "", errors.New(`secret reference is neither "env:NAME" nor "file:/path"`)
}

func (r *Resolver) file(path string) *file {
	r.mu.RLock()
	f := r.files[path]
	r.mu.RUnlock()
	if f != nil {
		return f
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f = r.files[path]; f == nil {
		if len(r.files) >= maxFiles {
			clear(r.files)
		}
		f = &file{path: path}
		r.files[path] = f
	}
	return f
}

// check refuses what cannot be a secret, or cannot be put into a header or a
// protocol message without changing its meaning.
func check(v string) error {
	switch {
	case v == "":
		return errors.New("is empty")
	case len(v) > MaxBytes:
		return fmt.Errorf("is larger than %d bytes", MaxBytes)
	case !utf8.ValidString(v):
		return errors.New("is not valid UTF-8")
	case strings.ContainsFunc(v, unicode.IsControl):
		return errors.New("has a control character")
	}
	return nil
}
