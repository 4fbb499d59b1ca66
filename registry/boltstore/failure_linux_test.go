package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/boltstore"
)

func platformChildren() map[string]func(string) error {
	return map[string]func(string) error{"full": childFull}
}

// After a sync has failed, nobody knows what is on the disk.
func TestFailedSyncStopsWrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registry.db")
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, &registry.Group{Name: "a"})
	// /dev/null takes writes and refuses to sync them.
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Dup3(int(null.Fd()), int(s.File().Fd()), syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := null.Close(); err != nil {
		t.Fatal(err)
	}
	write := func() error {
		_, err := s.Update(t.Context(), func(tx registry.Tx) error { return tx.Put(&registry.Group{Name: "b"}) })
		return err
	}
	if err := write(); err == nil || errors.Is(err, boltstore.ErrStopped) {
		t.Errorf("the write whose sync failed: %v", err)
	}
	for range 3 {
		if err := write(); !errors.Is(err, boltstore.ErrStopped) {
			t.Errorf("a later write: %v", err)
		}
	}
	if snap, err := s.Snapshot(t.Context()); err != nil || snap.Revision != 1 || len(snap.Resources) != 1 {
		t.Errorf("reads give %+v, %v", snap, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s = reopen(t, path, boltstore.Options{})
	if revision := put(t, s, &registry.Group{Name: "c"}); revision != 2 {
		t.Errorf("revision %d", revision)
	}
}

// A full disk refuses writes until there is room again.
func TestFullDiskRefusesWritesAndRecovers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registry.db")
	p := startChild(t, "full", path)
	var said []string
	for line, ok := p.line(); ok; line, ok = p.line() {
		said = append(said, line)
	}
	if err := p.cmd.Wait(); err != nil || strings.Join(said, " ") != "refused 10 recovered" {
		t.Errorf("child said %q, %v", said, err)
	}
	s := reopen(t, path, boltstore.Options{})
	if snap, err := s.Snapshot(t.Context()); err != nil || snap.Revision < 5 {
		t.Errorf("snapshot %d, %v", snap.Revision, err)
	}
}

// childFull writes under a limit of the file's size, which the system reports
// as it does a full disk, and again without.
func childFull(path string) error {
	signal.Ignore(syscall.SIGXFSZ)
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	narrow := syscall.Rlimit{Cur: 10 << 20, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &narrow); err != nil {
		return err
	}
	n, refused := 0, 0
	var revision int64
	for refused < 10 {
		n++
		r, err := s.Update(context.Background(), func(tx registry.Tx) error {
			return tx.Put(&registry.Scope{Name: fmt.Sprint(n), Description: strings.Repeat("a", 300_000)})
		})
		switch {
		case errors.Is(err, boltstore.ErrStopped) || n > 1000:
			return fmt.Errorf("write %d: %w", n, err)
		case err != nil:
			refused++
			if _, gerr := s.Get(context.Background(), registry.Key{Kind: registry.KindScope, Name: fmt.Sprint(n)}); !errors.Is(gerr, registry.ErrNotFound) {
				return fmt.Errorf("a refused write is there: %w", gerr)
			}
		default:
			revision = r
		}
	}
	if _, err := fmt.Fprintln(os.Stdout, "refused", refused); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	r, err := s.Update(context.Background(), func(tx registry.Tx) error {
		return tx.Put(&registry.Scope{Name: "after", Description: strings.Repeat("a", 100_000)})
	})
	if err != nil || r != revision+1 {
		return fmt.Errorf("revision %d after %d: %w", r, revision, err)
	}
	_, err = fmt.Fprintln(os.Stdout, "recovered")
	return errors.Join(err, s.Close())
}
