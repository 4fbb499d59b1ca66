package conformance_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// patience bounds each wait for a program.
const patience = 30 * time.Second

// guarded is a shell command that becomes the program in its arguments. What
// it leaves behind kills the program when the standard input ends: when this
// test binary does, by whatever means.
const guarded = `exec 3<&0; { read -r _ <&3; kill -9 $$; } >/dev/null 2>&1 & exec "$@" 3<&- </dev/null`

// program prepares a child process that ends with ctx at the latest.
func program(ctx context.Context, t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", guarded, "sh", name}, args...)...)
	// The pipe stays open until Wait: that is what the guard waits for.
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	cmd.WaitDelay = time.Second
	return cmd
}

// startProgram runs a program until the test ends, and returns when ready says
// so. Its output is shown when the test fails.
func startProgram(t testing.TB, cmd func(context.Context) *exec.Cmd, ready func() bool) {
	t.Helper()
	// Not the test's context: that ends before the cleanups run.
	ctx, cancel := context.WithCancel(context.Background())
	c, out := cmd(ctx), &buffer{}
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Wait() // it is killed at the end
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("output of %s:\n%s", filepath.Base(c.Args[4]), out)
		}
	})
	eventually(t, filepath.Base(c.Args[4])+" serves", func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended early: %v", c.Args[4], c.ProcessState)
		default:
		}
		return ready()
	})
}

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// toolsDir is where `make` installs the Node packages.
func toolsDir(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../../../.tools/node")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// nodePackage is the path of a file in a Node package.
func nodePackage(t testing.TB, path string) string {
	t.Helper()
	path = filepath.Join(toolsDir(t), "node_modules", filepath.FromSlash(path))
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("make node installs it: %v", err)
	}
	return path
}

// node is the Node that the packages need; the system's may be too old.
func node(t testing.TB) string {
	t.Helper()
	return nodePackage(t, ".bin/node")
}

// buffer collects the output of several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String implements fmt.Stringer.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
