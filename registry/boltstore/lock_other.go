//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package boltstore

import (
	"os"
	"time"
)

// lockFile leaves the lock to bbolt. A file that another process is writing may
// then be found damaged instead of held.
func lockFile(*os.File, bool, time.Duration) error { return nil }
