package boltstore_test

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/boltstore"
	"github.com/mcpgate/mcpgate/registry/registrytest"
)

// TestMain runs a child process of a test, when it is one.
func TestMain(m *testing.M) {
	if child := os.Getenv(childEnv); child != "" {
		os.Exit(runChild(child, os.Getenv(childPathEnv)))
	}
	goleak.VerifyTestMain(m)
}

// open opens a store in a new file, which is checked when the test has ended.
func open(t testing.TB, opts boltstore.Options) (*boltstore.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "registry.db")
	return reopen(t, path, opts), path
}

// reopen opens the file at path. Whoever closed the store before the end of
// the test may do so.
func reopen(t testing.TB, path string, opts boltstore.Options) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := boltstore.Check(path); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t testing.TB, s registry.Store, resources ...registry.Resource) int64 {
	t.Helper()
	revision, err := s.Update(t.Context(), func(tx registry.Tx) error {
		for _, r := range resources {
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func TestConformance(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, func(t testing.TB) registry.Store {
		s, _ := open(t, boltstore.NoSync(boltstore.Options{}))
		return s
	})
}

func TestReopenKeepsEverything(t *testing.T) {
	t.Parallel()
	s, path := open(t, boltstore.Options{})
	put(t, s, &registry.Group{Name: "g", Scopes: []string{"a"}})
	put(t, s, &registry.Group{Name: "g", Scopes: []string{"b"}}, &registry.Server{Name: "s"})
	before, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, path, boltstore.Options{})
	after, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if before.Revision != 2 || after.Revision != 2 || len(after.Resources) != 2 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if revision := put(t, s, &registry.Group{Name: "h"}); revision != 3 {
		t.Errorf("revision %d", revision)
	}
}
