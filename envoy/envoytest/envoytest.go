package envoytest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/mcpgate/mcpgate/envoy"
)

// Bounds of waiting for a process.
const (
	// Deadline is how long Start and the Wait functions wait.
	Deadline = 30 * time.Second
	pollTick = 5 * time.Millisecond
	// stopTimeout is how long a stopped Envoy may take before it is killed.
	stopTimeout = 5 * time.Second
)

// Envoy is a running Envoy. It ends with the test.
type Envoy struct {
	// Dir is its working directory; relative paths in the bootstrap are
	// relative to it.
	Dir string

	t     testing.TB
	cmd   *exec.Cmd
	admin adminClient
	log   *logBuffer
	// done is closed when the process has ended, after waitErr was set.
	done    chan struct{}
	waitErr error
}

// Option changes how Envoy is started.
type Option func(*options)

type options struct {
	dir         string
	concurrency int
	logLevel    string
}

// WithDir makes dir the working directory. Socket paths are short of about 100
// bytes, so use Dir for one that may hold sockets.
func WithDir(dir string) Option { return func(o *options) { o.dir = dir } }

// WithConcurrency sets the number of workers; the default is 2.
func WithConcurrency(n int) Option { return func(o *options) { o.concurrency = n } }

// WithLogLevel sets the log level; the default is info.
func WithLogLevel(level string) Option { return func(o *options) { o.logLevel = level } }

// Dir is a new directory with a short path, removed when the test ends.
func Dir(t testing.TB) string {
	t.Helper()
	// t.TempDir has the test's name in it, and a socket's path is short of 108 bytes.
	dir, err := os.MkdirTemp("", "mcpgate-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	})
	return dir
}

// Binary is the Envoy under test: $ENVOY, else the one on PATH, else the one
// in the tools folder. No Envoy is a failure.
func Binary(t testing.TB) envoy.Binary {
	t.Helper()
	b, err := envoy.Find("")
	if err != nil {
		t.Fatalf("a real envoy is needed: %v", err)
	}
	return b
}

// Start runs Envoy with the bootstrap and returns when its admin endpoint
// answers. It does not wait for listeners: see WaitReady and WaitListener.
// A bootstrap without admin endpoint gets one.
func Start(t testing.TB, bootstrap []byte, opts ...Option) *Envoy {
	t.Helper()
	o := options{concurrency: 2, logLevel: "info"}
	for _, opt := range opts {
		opt(&o)
	}
	if o.dir == "" {
		o.dir = Dir(t)
	}
	bootstrap, address := ensureAdmin(t, bootstrap, o.dir)
	path := filepath.Join(o.dir, "bootstrap.yaml")
	if err := os.WriteFile(path, bootstrap, 0o600); err != nil {
		t.Fatal(err)
	}

	e := &Envoy{Dir: o.dir, t: t, admin: newAdminClient(address), log: &logBuffer{}, done: make(chan struct{})}
	args := []string{
		"-c", path, "--reject-unknown-dynamic-fields", "--disable-hot-restart",
		"--drain-time-s", "3600", "--drain-strategy", "immediate",
		"--concurrency", strconv.Itoa(o.concurrency), "-l", o.logLevel,
		// At info level the main component lists every extension at start.
		"--component-log-level", "main:warning",
	}
	// Not the test's context: that ends before the cleanups run.
	e.cmd = exec.Command(Binary(t).Path, args...) //nolint:noctx // the binary under test, stopped by the cleanup
	e.cmd.Dir = o.dir
	e.cmd.Stdout, e.cmd.Stderr = e.log, e.log
	e.cmd.WaitDelay = time.Second
	e.cmd.SysProcAttr = sysProcAttr()
	started := make(chan error)
	go func() {
		// The thread must live as long as the process: see sysProcAttr.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := e.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		e.waitErr = e.cmd.Wait()
		close(e.done)
	}()
	if err := <-started; err != nil {
		t.Fatalf("start envoy: %v", err)
	}
	t.Cleanup(func() {
		e.Stop()
		if t.Failed() {
			t.Logf("envoy log:\n%s", e.log.String())
		}
	})
	e.poll("admin endpoint", func(ctx context.Context) bool {
		_, err := e.admin.get(ctx, "/server_info")
		return err == nil
	})
	return e
}

// ensureAdmin returns the bootstrap with an admin endpoint, and its address.
func ensureAdmin(t testing.TB, bootstrap []byte, dir string) ([]byte, string) {
	t.Helper()
	var doc map[string]any
	if err := yaml.Unmarshal(bootstrap, &doc); err != nil {
		t.Fatalf("read bootstrap: %v", err)
	}
	address, ok := adminAddress(doc, dir)
	if ok {
		return bootstrap, address
	}
	doc["admin"] = map[string]any{"address": map[string]any{"pipe": map[string]any{"path": "envoy-admin.sock"}}}
	out, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatalf("write bootstrap: %v", err)
	}
	return out, "unix:" + filepath.Join(dir, "envoy-admin.sock")
}

// adminAddress reads admin.address of a bootstrap.
func adminAddress(doc map[string]any, dir string) (string, bool) {
	admin, _ := doc["admin"].(map[string]any)
	address, _ := admin["address"].(map[string]any)
	if pipe, ok := address["pipe"].(map[string]any); ok {
		path, ok := pipe["path"].(string)
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return "unix:" + path, ok
	}
	if socket, ok := address["socket_address"].(map[string]any); ok {
		return fmt.Sprintf("%v:%v", socket["address"], socket["port_value"]), true
	}
	return "", false
}

// Pid is the process id.
func (e *Envoy) Pid() int { return e.cmd.Process.Pid }

// Done is closed when the process has ended.
func (e *Envoy) Done() <-chan struct{} { return e.done }

// Stop ends the process and waits for it. It may be called more than once.
func (e *Envoy) Stop() {
	select {
	case <-e.done:
		return
	default:
	}
	// A process that is gone by now is what we want.
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-e.done:
	case <-timer.C:
		_ = e.cmd.Process.Kill()
		<-e.done
	}
}

// poll calls ok until it returns true. It fails the test when the deadline
// passes or the process ends.
func (e *Envoy) poll(what string, ok func(context.Context) bool) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	tick := time.NewTicker(pollTick)
	defer tick.Stop()
	for !ok(ctx) {
		select {
		case <-e.done:
			e.t.Fatalf("envoy ended while waiting for its %s: %v", what, e.waitErr)
		case <-ctx.Done():
			e.t.Fatalf("envoy: no %s within %s", what, Deadline)
		case <-tick.C:
		}
	}
}

// Validate fails the test unless Envoy accepts the bootstrap and all static
// resources in it. It does not start a server.
func Validate(t testing.TB, bootstrap []byte) {
	t.Helper()
	if err := Check(t, bootstrap); err != nil {
		t.Fatal(err)
	}
}

// Check is Validate that returns what Envoy says.
func Check(t testing.TB, bootstrap []byte) error {
	t.Helper()
	dir := Dir(t)
	path := filepath.Join(dir, "bootstrap.yaml")
	if err := os.WriteFile(path, bootstrap, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, Binary(t).Path, "--mode", "validate", "-c", path,
		"--reject-unknown-dynamic-fields", "--disable-hot-restart", "-l", "warning")
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return errors.New(strings.TrimSpace("envoy refuses the configuration: " + err.Error() + "\n" + string(out)))
	}
	return nil
}

// logBuffer collects output for as long as the process runs.
type logBuffer struct {
	mu  sync.Mutex
	buf strings.Builder
}

// Write implements io.Writer.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String is all that was written.
func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
