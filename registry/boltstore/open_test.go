package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mcpgate/mcpgate/registry"
	"github.com/mcpgate/mcpgate/registry/boltstore"
)

// goodFile is a registry of some size, with branches, free pages and a history.
func goodFile(t *testing.T) (path string, contents []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "registry.db")
	s, err := boltstore.Open(path, boltstore.NoSync(boltstore.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		put(t, s,
			&registry.Scope{Name: fmt.Sprintf("s%03d", i), Description: strings.Repeat("d", 400), Includes: []string{"s000"}},
			&registry.Group{Name: fmt.Sprintf("g%03d", i%20), Scopes: []string{fmt.Sprintf("s%03d", i)}})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := boltstore.Check(path); err != nil {
		t.Fatal(err)
	}
	// What lies behind the last page was only reserved.
	var size int64
	editBolt(t, path, func(tx *bbolt.Tx) error { size = tx.Size(); return nil })
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	contents, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, contents
}

func isRefusal(err error) bool {
	return errors.Is(err, registry.ErrCorrupt) || errors.Is(err, registry.ErrFormat)
}

// Nothing of what happens to files makes a registry that is merely empty.
func TestOpenRefusesDamagedFiles(t *testing.T) {
	t.Parallel()
	_, good := goodFile(t)
	page := os.Getpagesize()
	zero := func(from, to int) []byte {
		b := bytes.Clone(good)
		clear(b[from:to])
		return b
	}
	for name, c := range map[string]struct {
		contents []byte
		want     error
	}{
		"nothing in it":       {nil, registry.ErrCorrupt},
		"one byte":            {[]byte{0}, registry.ErrCorrupt},
		"text":                {[]byte("kind: Server\nname: a\n"), registry.ErrCorrupt},
		"much text":           {bytes.Repeat([]byte("SQLite format 3\x00"), 4096), registry.ErrCorrupt},
		"zeroed":              {zero(0, len(good)), registry.ErrCorrupt},
		"first pages zeroed":  {zero(0, 2*page), registry.ErrCorrupt},
		"all but those":       {zero(2*page, len(good)), registry.ErrCorrupt},
		"truncated to a page": {good[:page], registry.ErrCorrupt},
		"truncated to two":    {good[:2*page], registry.ErrCorrupt},
		"truncated to half":   {good[:len(good)/2], registry.ErrCorrupt},
	} {
		path := filepath.Join(t.TempDir(), "registry.db")
		if err := os.WriteFile(path, c.contents, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := boltstore.Open(path, boltstore.Options{}); !errors.Is(err, c.want) {
			t.Errorf("%s: Open: %v", name, err)
		}
		if err := boltstore.Check(path); !errors.Is(err, c.want) {
			t.Errorf("%s: Check: %v", name, err)
		}
		after, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(after, c.contents) {
			t.Errorf("%s: the file was changed, %v", name, err)
		}
	}
}

func TestOpenRefusesOtherDatabases(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*bbolt.Tx) error
		want   error
	}{
		"another program's": {func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("meta")) }, registry.ErrFormat},
		"a later version's": {func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put(sealed("format", "mcpgate-registry-2")) }, registry.ErrFormat},
		"unsealed format": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte("mcpgate-registry-1"))
		}, registry.ErrCorrupt},
		"without resources":  {func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("resources")) }, registry.ErrCorrupt},
		"without a revision": {func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Delete([]byte("revision")) }, registry.ErrCorrupt},
		"without a record": {func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket([]byte("changes")).Cursor().First()
			return tx.Bucket([]byte("changes")).Delete(k)
		}, registry.ErrCorrupt},
		"with a bucket in a bucket": {func(tx *bbolt.Tx) error {
			_, err := tx.Bucket([]byte("resources")).CreateBucket([]byte("x"))
			return err
		}, registry.ErrCorrupt},
		"with a value of another key": {func(tx *bbolt.Tx) error {
			_, v := tx.Bucket([]byte("resources")).Cursor().First()
			return tx.Bucket([]byte("resources")).Put([]byte("Group\x00other"), bytes.Clone(v))
		}, registry.ErrCorrupt},
	} {
		path, _ := goodFile(t)
		editBolt(t, path, c.change)
		if s, err := boltstore.Open(path, boltstore.Options{}); !errors.Is(err, c.want) {
			t.Errorf("%s: Open: %v", name, err)
			if err == nil {
				_ = s.Close()
			}
		}
		if err := boltstore.Check(path); !errors.Is(err, c.want) {
			t.Errorf("%s: Check: %v", name, err)
		}
	}
}

func sealed(key, value string) (k, v []byte) {
	return []byte(key), boltstore.Seal([]byte(key), []byte(value))
}

func editBolt(t *testing.T, path string, change func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// What Open does not look at, Check does.
func TestCheckFindsWhatDisagrees(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*bbolt.Tx) error
		want   string
	}{
		"a reference that is not indexed": {func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket([]byte("references")).Cursor().First()
			return tx.Bucket([]byte("references")).Delete(k)
		}, "which is not listed"},
		"an index entry of nothing": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("references")).Put(sealed("Scope\x00\x00\x01xGroup\x00y", ""))
		}, "1 references are listed that no resource has"},
		"a record that is not JSON": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("resources")).Put(sealed("Group\x00zzz", `{"kind":"Group"`))
		}, "unexpected end of JSON input"},
		"a record of another resource": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("resources")).Put(sealed("Group\x00zzz", `{"kind":"Group","name":"other","metadata":{"revision":1}}`))
		}, "the record is of group/other"},
		"a resource that the history deleted": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("changes")).Put(sealed("\x00\x00\x00\x00\x00\x00\x00\x3c", `-Group/"g000"`))
		}, "group/g000: the history leaves it at revision 0, and it is at 41"},
		"a revision of the future": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("resources")).Put(sealed("Group\x00zzz", `{"kind":"Group","name":"zzz","metadata":{"revision":99}}`))
		}, "its revision 99 is not of this registry"},
	} {
		path, _ := goodFile(t)
		editBolt(t, path, c.change)
		if err := boltstore.Check(path); !errors.Is(err, registry.ErrCorrupt) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of random damage, either the opening or a read fails, or nothing was lost
// but the last commit: damage to the newer of bbolt's two first pages looks
// like a commit that was never finished.
func TestOpenSurvivesRandomDamage(t *testing.T) {
	t.Parallel()
	path, good := goodFile(t)
	used := len(good)
	states := snapshotsOf(t, path)
	refused := 0
	for i := range 400 {
		b := bytes.Clone(good)
		at := rand.IntN(used)
		switch i % 4 {
		case 0:
			b[at] ^= 1 << rand.IntN(8)
		case 1:
			clear(b[at&^4095 : min(at&^4095+4096, len(b))])
		case 2:
			from := rand.IntN(used)
			copy(b[at:min(at+4096, used)], good[from:])
		case 3:
			b = b[:at]
		}
		damaged := filepath.Join(t.TempDir(), "registry.db")
		if err := os.WriteFile(damaged, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := boltstore.Open(damaged, boltstore.NoSync(boltstore.Options{}))
		if err != nil {
			if !isRefusal(err) {
				t.Fatalf("damage %d at %d: %v", i%4, at, err)
			}
			refused++
			continue
		}
		snap, err := s.Snapshot(t.Context())
		if cerr := s.Close(); cerr != nil {
			t.Error(cerr)
		}
		if err != nil || snap.Revision < 59 || fmt.Sprint(keysOf(snap)) != states[snap.Revision] {
			t.Fatalf("damage %d at %d: revision %d, %v", i%4, at, snap.Revision, err)
		}
	}
	if refused < 100 {
		t.Errorf("only %d of 400 were refused", refused)
	}
}

func keysOf(s registry.Snapshot) (list []string) {
	for _, r := range s.Resources {
		list = append(list, fmt.Sprintf("%s@%d", r.Key(), r.Meta().Revision))
	}
	return list
}

// snapshotsOf replays the history into what keysOf gives at the last two
// revisions.
func snapshotsOf(t *testing.T, path string) map[int64]string {
	t.Helper()
	s := reopen(t, path, boltstore.Options{})
	w, err := s.Watch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	twin, _ := open(t, boltstore.NoSync(boltstore.Options{}))
	out := make(map[int64]string)
	for range 60 {
		e := <-w.Events()
		for _, c := range e.Changes {
			if c.Resource == nil {
				t.Fatal("the file has deletions")
			}
		}
		_, err := twin.Update(t.Context(), func(tx registry.Tx) error {
			for _, c := range e.Changes {
				if err := tx.Put(c.Resource); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		snap, err := twin.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out[snap.Revision] = fmt.Sprint(keysOf(snap))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOpenErrorsOfTheSystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := boltstore.Open(filepath.Join(dir, "no", "registry.db"), boltstore.Options{}); !errors.Is(err, fs.ErrNotExist) || isRefusal(err) {
		t.Errorf("no directory: %v", err)
	}
	if _, err := boltstore.Open(dir, boltstore.Options{}); err == nil {
		t.Error("a directory was opened")
	}
	if err := boltstore.Check(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Check of nothing: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestNewFileIsPrivateAndAlone(t *testing.T) {
	t.Parallel()
	_, path := open(t, boltstore.Options{})
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside it: %v, %v", entries, err)
	}
}

func TestSecondOpenInTheSameProcess(t *testing.T) {
	t.Parallel()
	_, path := open(t, boltstore.Options{})
	if _, err := boltstore.Open(path, boltstore.Options{LockTimeout: time.Millisecond}); !errors.Is(err, registry.ErrLocked) {
		t.Errorf("error %v", err)
	}
}

func TestManyOpenANewFileAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registry.db")
	errs := make(chan error)
	for i := range 8 {
		go func() {
			s, err := boltstore.Open(path, boltstore.Options{LockTimeout: 20 * time.Second})
			if err == nil {
				_, err = s.Update(context.Background(), func(tx registry.Tx) error { return tx.Put(&registry.Group{Name: fmt.Sprint(i)}) })
				err = errors.Join(err, s.Close())
			}
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	s := reopen(t, path, boltstore.Options{})
	if snap, err := s.Snapshot(t.Context()); err != nil || len(snap.Resources) != 8 {
		t.Errorf("%d resources, %v", len(snap.Resources), err)
	}
}

func truncate(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 10_000); err != nil {
		t.Fatal(err)
	}
}
