package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	bolterrors "go.etcd.io/bbolt/errors"
)

func TestIsFull(t *testing.T) {
	t.Parallel()
	write := func(err error) error {
		return fmt.Errorf("commit: %w", &fs.PathError{Op: "write", Path: "f", Err: err})
	}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{write(syscall.ENOSPC), true},
		{write(syscall.EDQUOT), true},
		{write(syscall.EFBIG), true},
		{fmt.Errorf("commit: %w", bolterrors.ErrMaxSizeReached), true},
		{errors.New("file resize error: truncate f: no space left on device"), true},
		{write(syscall.EIO), false},
		{syscall.ENOSPC, false}, // of a sync
		{&fs.PathError{Op: "sync", Path: "f", Err: syscall.ENOSPC}, false},
		{errors.New("file sync error: sync f: no space left on device"), false},
		{errors.New("anything else"), false},
	} {
		if got := isFull(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
