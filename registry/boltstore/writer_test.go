package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/boltstore"
)

// block runs an Update that waits until release is called.
func block(t *testing.T, s registry.Store) (release func()) {
	t.Helper()
	begun, gate, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := s.Update(context.Background(), func(registry.Tx) error {
			close(begun)
			<-gate
			return nil
		})
		done <- err
	}()
	<-begun
	return func() {
		close(gate)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestUpdateThatWaitsEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s, _ := open(t, boltstore.Options{})
	release := block(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := s.Update(ctx, func(registry.Tx) error { t.Error("it ran"); return nil })
		result <- err
	}()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	release()
	put(t, s, &registry.Group{Name: "after"})
}

func TestCloseFinishesWhatHasBegunAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	s, path := open(t, boltstore.Options{})
	begun, gate := make(chan struct{}), make(chan struct{})
	results := make(chan error, 11)
	update := func(fn func(registry.Tx) error) {
		_, err := s.Update(context.Background(), fn)
		results <- err
	}
	go update(func(tx registry.Tx) error {
		close(begun)
		<-gate
		return tx.Put(&registry.Group{Name: "begun"})
	})
	<-begun
	for range 10 {
		go update(func(tx registry.Tx) error { return tx.Put(&registry.Group{Name: "late"}) })
	}
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	close(gate)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	written := 0
	for range 11 {
		switch err := <-results; {
		case err == nil:
			written++
		case !errors.Is(err, registry.ErrClosed):
			t.Errorf("error %v", err)
		}
	}
	s = reopen(t, path, boltstore.Options{})
	if _, err := s.Get(t.Context(), registry.Key{Kind: registry.KindGroup, Name: "begun"}); err != nil || written < 1 {
		t.Errorf("%v, %d written", err, written)
	}
}

func TestUpdateThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	s, _ := open(t, boltstore.Options{})
	_, err := s.Update(t.Context(), func(tx registry.Tx) error {
		if err := tx.Put(&registry.Group{Name: "a"}); err != nil {
			t.Error(err)
		}
		runtime.Goexit()
		return nil
	})
	if err == nil {
		t.Error("no error")
	}
	if revision := put(t, s, &registry.Group{Name: "b"}); revision != 1 {
		t.Errorf("revision %d", revision)
	}
}

func TestPanicTellsWhere(t *testing.T) {
	t.Parallel()
	s, _ := open(t, boltstore.Options{})
	_, err := s.Update(t.Context(), func(registry.Tx) error { panic("for a test") })
	if err == nil || !strings.Contains(err.Error(), "for a test") || !strings.Contains(err.Error(), "writer_test.go") {
		t.Errorf("error %v", err)
	}
}

func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	s, path := open(t, boltstore.Options{})
	put(t, s, &registry.Server{Name: "a", Upstream: registry.Upstream{URL: "http://h"}}, &registry.Scope{Name: "x"})
	var backup bytes.Buffer
	if err := s.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		put(t, s, numbered(i))
	}
	if err := boltstore.Restore(path, bytes.NewReader(backup.Bytes())); !errors.Is(err, registry.ErrLocked) {
		t.Errorf("over an open store: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	for name, bad := range map[string][]byte{"nothing": nil, "half": backup.Bytes()[:backup.Len()/2], "text": []byte("kind: Server")} {
		if err := boltstore.Restore(path, bytes.NewReader(bad)); !errors.Is(err, registry.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := boltstore.Restore(path, bytes.NewReader(backup.Bytes())); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, path, boltstore.Options{})
	snap, err := s.Snapshot(t.Context())
	if err != nil || len(snap.Resources) != 2 || snap.Revision != 7 {
		t.Fatalf("restored %+v, %v", snap, err)
	}
	// Nobody can go on from a revision of what was replaced.
	for _, old := range []int64{0, 1, 6} {
		if _, err := s.Watch(t.Context(), old); !errors.Is(err, registry.ErrCompacted) {
			t.Errorf("Watch(%d): %v", old, err)
		}
	}
	put(t, s, &registry.Server{Name: "b", Upstream: registry.Upstream{URL: "http://h"}})
	if e := next(t, watch(t, s, 7)); e.Revision != 8 || e.Changes[0].Resource.Meta().Generation != 8 {
		t.Errorf("event %+v", e)
	}
	replaced := reopen(t, path+".replaced", boltstore.Options{})
	if snap, err := replaced.Snapshot(t.Context()); err != nil || snap.Revision != 6 {
		t.Errorf("replaced %+v, %v", snap, err)
	}
}

func TestRestoreAgainKeepsWhatTheFirstReplaced(t *testing.T) {
	t.Parallel()
	s, path := open(t, boltstore.Options{})
	put(t, s, numbered(1))
	var backup bytes.Buffer
	if err := errors.Join(s.Backup(t.Context(), &backup), s.Close()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := boltstore.Restore(path, bytes.NewReader(backup.Bytes())); err != nil {
			t.Fatal(err)
		}
	}
	revisions := make(map[int64]bool)
	for _, suffix := range []string{"", ".replaced", ".replaced.2", ".replaced.3"} {
		snap, err := reopen(t, path+suffix, boltstore.Options{}).Snapshot(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", suffix, err)
		}
		revisions[snap.Revision] = true
	}
	if len(revisions) != 4 {
		t.Errorf("revisions %v, want four registries", revisions)
	}
}

func TestRestoreOverNothingAndOverDamage(t *testing.T) {
	t.Parallel()
	s, _ := open(t, boltstore.Options{})
	put(t, s, numbered(1))
	var backup bytes.Buffer
	if err := s.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	damaged, _ := goodFile(t)
	truncate(t, damaged)
	for _, path := range []string{damaged, t.TempDir() + "/new.db"} {
		if err := boltstore.Restore(path, bytes.NewReader(backup.Bytes())); err != nil {
			t.Fatal(err)
		}
		r := reopen(t, path, boltstore.Options{})
		// How far the lost one had come is unknown.
		if snap, err := r.Snapshot(t.Context()); err != nil || snap.Revision != 1_000_002 || len(snap.Resources) != 1 {
			t.Errorf("%s: %+v, %v", path, snap, err)
		}
	}
}

// closingWriter ends something while a backup is being written.
type closingWriter struct{ close func() }

func (c closingWriter) Write(b []byte) (int, error) {
	c.close()
	return len(b), nil
}

func TestBackupEndsWithItsContextAndWithTheStore(t *testing.T) {
	t.Parallel()
	s, _ := open(t, boltstore.NoSync(boltstore.Options{}))
	put(t, s, &registry.Scope{Name: "x", Description: strings.Repeat("a", 1<<20)})
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.Backup(ctx, closingWriter{cancel}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	done := make(chan error, 1)
	var once sync.Once
	err := s.Backup(t.Context(), closingWriter{func() {
		once.Do(func() {
			go func() { done <- s.Close() }()
			<-s.Closing()
		})
	}})
	if !errors.Is(err, registry.ErrClosed) {
		t.Errorf("error %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSecretsStayOutOfTheLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s, _ := open(t, boltstore.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	put(t, s, &registry.SessionKey{Name: "k", Secret: []byte("hunter2hunter2hunter2hunter2hunt")})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if log.Len() > 0 {
		t.Errorf("logged %s", &log)
	}
}
