package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/boltstore"
)

// crashRoundsEnv sets how often the kill test kills.
const crashRoundsEnv = "BOLTSTORE_CRASH_ROUNDS"

const crashWriters = 4

// childWrite writes as fast as it can, in several goroutines, and prints
// "writer n revision" of each Update that was acknowledged, until it is killed.
// n counts up from what the store holds.
func childWrite(path string) error {
	s, err := boltstore.Open(path, boltstore.Options{History: 100_000})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, crashWriters)
	for w := range crashWriters {
		wg.Go(func() {
			for errs[w] == nil {
				var n int
				revision, err := s.Update(context.Background(), func(tx registry.Tx) (err error) {
					n, err = writeNext(tx, w)
					return err
				})
				if err == nil {
					// One write of one line is not torn by another.
					_, err = fmt.Fprintf(os.Stdout, "%d %d %d\n", w, n, revision)
				}
				errs[w] = err
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// writeNext counts the writer's counter up, and moves its other resource
// between two names, so that the index and the free pages change too.
func writeNext(tx registry.Tx, w int) (n int, err error) {
	name := "w" + strconv.Itoa(w)
	r, err := tx.Get(registry.Key{Kind: registry.KindGroup, Name: name})
	if err == nil {
		n, err = counter(r)
	}
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return 0, err
	}
	n++
	old := registry.Key{Kind: registry.KindScope, Name: fmt.Sprintf("%s-%d", name, (n+1)%2)}
	if err := tx.Delete(old); err != nil && !errors.Is(err, registry.ErrNotFound) {
		return 0, err
	}
	filler := &registry.Scope{Name: fmt.Sprintf("%s-%d", name, n%2), Description: string(make([]byte, rand.IntN(3000))), Includes: []string{name}}
	return n, errors.Join(tx.Put(filler), tx.Put(&registry.Group{Name: name, Scopes: []string{strconv.Itoa(n)}}))
}

func counter(r registry.Resource) (int, error) {
	g, ok := r.(*registry.Group)
	if !ok || len(g.Scopes) != 1 {
		return 0, fmt.Errorf("unexpected %+v", r)
	}
	return strconv.Atoi(g.Scopes[0])
}

// A process that is killed at any moment loses nothing that it acknowledged.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := 15
	if n, err := strconv.Atoi(os.Getenv(crashRoundsEnv)); err == nil {
		rounds = n
	}
	path := filepath.Join(t.TempDir(), "registry.db")
	var acked [crashWriters]int
	var revision int64
	total := 0
	for round := range rounds {
		p := startChild(t, "write", path)
		// Now and then the child dies while it opens or makes the file.
		var alarm *time.Timer
		after := 1 + rand.IntN(300)
		if round%5 == 0 {
			alarm = time.AfterFunc(time.Duration(rand.IntN(20_000))*time.Microsecond, func() { _ = p.cmd.Process.Kill() })
		}
		for acks := 1; ; acks++ {
			line, ok := p.line()
			if !ok {
				break
			}
			var w, n int
			var r int64
			if _, err := fmt.Sscanf(line, "%d %d %d", &w, &n, &r); err != nil {
				break // the line that it died in
			}
			acked[w], revision = max(acked[w], n), max(revision, r)
			total++
			if acks == after {
				if err := p.cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if alarm != nil {
			alarm.Stop()
		}
		_ = p.cmd.Process.Kill() // unless it died already
		if err := p.cmd.Wait(); err == nil {
			t.Fatal("the child was not killed")
		}
		checkAcked(t, path, acked, revision)
		if t.Failed() {
			t.Fatalf("after round %d", round)
		}
	}
	t.Logf("%d acknowledged writes, %d kills", total, rounds)
}

func checkAcked(t *testing.T, path string, acked [crashWriters]int, revision int64) {
	t.Helper()
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && revision == 0 {
		return // killed before it had made the file
	}
	if err := boltstore.Check(path); err != nil {
		t.Fatal(err)
	}
	s, err := boltstore.Open(path, boltstore.Options{History: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if snap.Revision < revision {
		t.Errorf("revision %d, and %d was acknowledged", snap.Revision, revision)
	}
	for w, n := range acked {
		r, err := s.Get(t.Context(), registry.Key{Kind: registry.KindGroup, Name: "w" + strconv.Itoa(w)})
		if n == 0 && errors.Is(err, registry.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := counter(r); err != nil || got < n {
			t.Errorf("writer %d is at %d, %v, and %d was acknowledged", w, got, err, n)
		}
	}
}

func TestSecondProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registry.db")
	p := startChild(t, "hold", path)
	if line, ok := p.line(); !ok || line != "open" {
		t.Fatalf("child said %q", line)
	}
	opts := boltstore.Options{LockTimeout: time.Millisecond}
	if _, err := boltstore.Open(path, opts); !errors.Is(err, registry.ErrLocked) {
		t.Errorf("Open: %v", err)
	}
	if err := boltstore.Check(path); !errors.Is(err, registry.ErrLocked) {
		t.Errorf("Check: %v", err)
	}
	if err := boltstore.Restore(path, nil); !errors.Is(err, registry.ErrLocked) {
		t.Errorf("Restore: %v", err)
	}
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	reopen(t, path, opts)
}
