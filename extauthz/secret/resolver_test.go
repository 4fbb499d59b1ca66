package secret_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mcpgate/mcpgate/extauthz/secret"
	"github.com/mcpgate/mcpgate/registry"
)

// clock is a clock that moves when told to.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Now().Add(time.Hour)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, r *secret.Resolver, ref registry.SecretRef, want string) {
	t.Helper()
	got, err := r.Resolve(ref)
	if err != nil || got != want {
		t.Errorf("Resolve(%s) = %q, %v; want %q", ref, got, err, want)
	}
}

func wantError(t *testing.T, r *secret.Resolver, ref registry.SecretRef, words string) {
	t.Helper()
	got, err := r.Resolve(ref)
	if err == nil || got != "" || !strings.Contains(err.Error(), words) {
		t.Errorf("Resolve(%s) = %q, %v; want no value and an error with %q", ref, got, err, words)
	}
}

func TestEnvironment(t *testing.T) {
	r := secret.New(secret.Options{})
	t.Setenv("MCPGATE_TEST_SECRET", "s3cret value")
	t.Setenv("MCPGATE_TEST_EMPTY", "")
	t.Setenv("MCPGATE_TEST_CONTROL", "hidden\r\nx: y")
	t.Setenv("MCPGATE_TEST_BYTES", "hidden\xff")
	want(t, r, "env:MCPGATE_TEST_SECRET", "s3cret value")
	wantError(t, r, "env:MCPGATE_TEST_UNSET", "not set")
	wantError(t, r, "env:MCPGATE_TEST_EMPTY", "empty")
	wantError(t, r, "env:MCPGATE_TEST_CONTROL", "control character")
	wantError(t, r, "env:MCPGATE_TEST_BYTES", "UTF-8")
	for _, ref := range []registry.SecretRef{"env:MCPGATE_TEST_CONTROL", "env:MCPGATE_TEST_BYTES"} {
		if _, err := r.Resolve(ref); strings.Contains(err.Error(), "hidden") {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func TestUnknownReferenceIsRefusedAndNotShown(t *testing.T) {
	t.Parallel()
	r := secret.New(secret.Options{})
	for _, ref := range []registry.SecretRef{"", "sk-live-1234", "env:", "file:relative/path", "file:", "vault:x", "ENV:HOME"} {
		_, err := r.Resolve(ref)
		if err == nil {
			t.Errorf("Resolve(%q) succeeded", ref)
		} else if len(ref) > len("file:") && strings.Contains(err.Error(), string(ref)) {
			t.Errorf("the error shows the reference %q: %v", ref, err)
		}
	}
}

func TestFileContent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, content, want, err string }{
		{"plain", "token", "token", ""},
		{"newline", "token\n", "token", ""},
		{"crlf", "token\r\n", "token", ""},
		{"inner blank", "to ken", "to ken", ""},
		{"largest", strings.Repeat("x", secret.MaxBytes), strings.Repeat("x", secret.MaxBytes), ""},
		{"two newlines", "token\n\n", "", "control character"},
		{"two lines", "token\nmore", "", "control character"},
		{"nul", "tok\x00en", "", "control character"},
		{"c1 control", "tok\u0085en", "", "control character"},
		{"bad utf-8", "tok\xff", "", "UTF-8"},
		{"empty", "", "", "empty"},
		{"only newline", "\n", "", "empty"},
		{"too large", strings.Repeat("x", secret.MaxBytes+1), "", "larger than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "secret")
			write(t, path, tt.content)
			r := secret.New(secret.Options{})
			ref := registry.SecretRef("file:" + path)
			if tt.err == "" {
				want(t, r, ref, tt.want)
			} else {
				wantError(t, r, ref, tt.err)
			}
		})
	}
}

func TestWhatIsNotAFileIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := secret.New(secret.Options{})
	wantError(t, r, registry.SecretRef("file:"+dir), "not a regular file")
	wantError(t, r, registry.SecretRef("file:"+dir+"/absent"), "no such file")
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, r, registry.SecretRef("file:"+pipe), "not a regular file")
}

func TestChangedFileIsReadAgainAfterTheInterval(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := secret.New(secret.Options{Now: c.now})
	path := filepath.Join(t.TempDir(), "secret")
	ref := registry.SecretRef("file:" + path)
	write(t, path, "one")
	want(t, r, ref, "one")

	write(t, path, "other")
	want(t, r, ref, "one")
	c.add(secret.DefaultRecheck)
	want(t, r, ref, "other")

	// Replaced by rename with the same size and modification time: another
	// inode.
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+".new", "third")
	if err := os.Chtimes(path+".new", time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	c.add(secret.DefaultRecheck)
	want(t, r, ref, "third")
}

func TestRewriteWithinOneTickIsSeen(t *testing.T) {
	t.Parallel()
	c := &clock{t: time.Now()}
	r := secret.New(secret.Options{Now: c.now})
	path := filepath.Join(t.TempDir(), "secret")
	ref := registry.SecretRef("file:" + path)
	write(t, path, "aaaa")
	mtime := c.now()
	if err := os.Chtimes(path, mtime, mtime); err != nil {
		t.Fatal(err)
	}
	want(t, r, ref, "aaaa")
	write(t, path, "bbbb")
	if err := os.Chtimes(path, mtime, mtime); err != nil {
		t.Fatal(err)
	}
	c.add(secret.DefaultRecheck)
	want(t, r, ref, "bbbb")
}

func TestVanishedFileDoesNotServeItsFormerValue(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := secret.New(secret.Options{Now: c.now})
	path := filepath.Join(t.TempDir(), "secret")
	ref := registry.SecretRef("file:" + path)
	write(t, path, "one")
	want(t, r, ref, "one")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.add(secret.DefaultRecheck)
	wantError(t, r, ref, "no such file")
	// The refusal is remembered as well, so that it costs no system call each.
	write(t, path, "two")
	wantError(t, r, ref, "no such file")
	c.add(secret.DefaultRecheck)
	want(t, r, ref, "two")
	// A clock that goes back makes everything old.
	write(t, path, "three")
	c.add(-time.Hour)
	want(t, r, ref, "three")
}

func TestManyFilesAndCallers(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := secret.New(secret.Options{Now: c.now})
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	ref := registry.SecretRef("file:" + path)
	write(t, path, "one")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 1000 {
				if v, err := r.Resolve(ref); err != nil || v != "one" {
					t.Errorf("Resolve = %q, %v", v, err)
					return
				}
				if i == 0 && j%10 == 0 {
					c.add(secret.DefaultRecheck)
				}
				// Together more paths than are remembered.
				if v, err := r.Resolve(registry.SecretRef(fmt.Sprintf("file:%s/%d-%d", dir, i, j))); err == nil {
					t.Errorf("Resolve of no file = %q", v)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkResolveFile(b *testing.B) {
	r := secret.New(secret.Options{})
	path := filepath.Join(b.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("token\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	ref := registry.SecretRef("file:" + path)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Resolve(ref); err != nil {
			b.Fatal(err)
		}
	}
}
