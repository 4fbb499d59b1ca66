//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package boltstore

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/mcpgate/mcpgate/registry"
)

// lockFile takes the lock that bbolt takes a little later (flock), so that the
// pages can be checked under it before bbolt maps them. bbolt gets it again on
// the same descriptor, and lets go of it.
func lockFile(f *os.File, shared bool, timeout time.Duration) error {
	how := syscall.LOCK_EX | syscall.LOCK_NB
	if shared {
		how = syscall.LOCK_SH | syscall.LOCK_NB
	}
	const pause = 10 * time.Millisecond
	for deadline := time.Now().Add(timeout); ; time.Sleep(pause) { //nolint:forbidigo // no event tells when a lock is free
		err := syscall.Flock(int(f.Fd()), how) // a descriptor fits
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return fmt.Errorf("lock: %w", err)
		case time.Now().After(deadline):
			return registry.ErrLocked
		}
	}
}
