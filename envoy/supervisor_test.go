package envoy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mcpgate/mcpgate/envoy"
	"github.com/mcpgate/mcpgate/envoy/envoytest"
)

// programDir makes the test binary a program that supervises an Envoy in that
// directory, for a test that kills it.
const programDir = "MCPGATE_TEST_PROGRAM_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(programDir); dir != "" {
		os.Exit(program(dir))
	}
	goleak.VerifyTestMain(m)
}

// program supervises until it is killed.
func program(dir string) int {
	bootstrap, err := os.ReadFile(filepath.Join(dir, "in.yaml"))
	if err != nil {
		return 1
	}
	binary, err := envoy.Find("")
	if err != nil {
		return 1
	}
	s := &envoy.Supervisor{Binary: binary, Bootstrap: bootstrap, Dir: dir}
	if err := s.Run(context.Background()); err != nil {
		return 1
	}
	return 0
}

// staticBootstrap is an Envoy that answers 200 on the port, and that is all.
func staticBootstrap(port int) []byte {
	return fmt.Appendf(nil, `
admin: {address: {pipe: {path: envoy-admin.sock}}}
static_resources:
  listeners:
  - name: test
    address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: test
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {prefix: "/"}, direct_response: {status: 200, body: {inline_string: hello}}}]}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`, port)
}

// answer is the body of a GET on the port, or an error.
func answer(ctx context.Context, port int) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+strconv.Itoa(port), nil)
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(res.Body)
	return string(body), errors.Join(err, res.Body.Close())
}

// eventually waits for something that another process does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(envoytest.Deadline)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %s: %s", envoytest.Deadline, what)
		case <-tick.C:
		}
	}
}

// alive reports whether a process exists and is no zombie, which a process
// of another parent may stay for a while.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil {
		return !bytes.Contains(stat, []byte(") Z "))
	}
	out, err := exec.CommandContext(context.Background(), "ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err != nil || !strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

// run starts the supervisor and returns how to stop it.
func run(t *testing.T, s *envoy.Supervisor) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	var result error
	stop = func() error {
		once.Do(func() {
			cancel()
			result = <-done
		})
		return result
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

func supervisor(t *testing.T, port int) *envoy.Supervisor {
	t.Helper()
	return &envoy.Supervisor{
		Binary: envoytest.Binary(t), Bootstrap: staticBootstrap(port), Dir: envoytest.Dir(t), Concurrency: 1,
		MinBackoff: time.Millisecond,
	}
}

func TestSupervisorRestartsAKilledEnvoyAndStopsItWithTheContext(t *testing.T) {
	t.Parallel()
	port := envoytest.FreePort(t)
	s := supervisor(t, port)
	stop := run(t, s)
	if err := s.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an answer", func() bool { body, err := answer(t.Context(), port); return err == nil && body == "hello" })

	first := s.Status()
	if first.PID == 0 || first.Starts != 1 || first.LastExit != "" {
		t.Fatalf("status %+v", first)
	}
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a second start", func() bool { st := s.Status(); return st.Starts == 2 && st.PID != 0 })
	if got := s.Status().LastExit; got != "signal: killed" {
		t.Errorf("the exit reason is %q", got)
	}
	eventually(t, "an answer of the second", func() bool { body, err := answer(t.Context(), port); return err == nil && body == "hello" })

	second := s.Status().PID
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	for _, pid := range []int{first.PID, second} {
		if alive(pid) {
			t.Errorf("envoy %d is still there", pid)
		}
	}
	if st := s.Status(); st.PID != 0 {
		t.Errorf("status after the end %+v", st)
	}
	if left, err := filepath.Glob(filepath.Join(s.Dir, "*.pid")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSupervisorKillsAnEnvoyThatDoesNotStop(t *testing.T) {
	t.Parallel()
	port := envoytest.FreePort(t)
	s := supervisor(t, port)
	s.StopTimeout = 50 * time.Millisecond
	stop := run(t, s)
	if err := s.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	pid := s.Status().PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if alive(pid) {
		t.Errorf("envoy %d is still there", pid)
	}
}

func TestSupervisorTriesAgainWhenEnvoyRefusesTheBootstrap(t *testing.T) {
	t.Parallel()
	var out syncBuffer
	s := supervisor(t, envoytest.FreePort(t))
	s.Bootstrap = []byte("no_such_field: 1\n")
	s.Output = &out
	stop := run(t, s)
	eventually(t, "three starts", func() bool { return s.Status().Starts >= 3 })
	if got := s.Status().LastExit; got != "exit status 1" {
		t.Errorf("the exit reason is %q", got)
	}
	if !strings.Contains(out.String(), "no_such_field") {
		t.Errorf("envoy's own words are lost: %q", out.String())
	}
	if err := s.Ready(t.Context()); err == nil {
		t.Error("an envoy that does not run is ready")
	}
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestSupervisorReportsAnEnvoyThatCannotRun(t *testing.T) {
	t.Parallel()
	s := supervisor(t, envoytest.FreePort(t))
	s.Binary.Path = filepath.Join(s.Dir, "nowhere")
	if err := s.Run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Run: %v", err)
	}
}

func TestSupervisorStopsTheEnvoyOfAKilledProgram(t *testing.T) {
	t.Parallel()
	port := envoytest.FreePort(t)
	s := supervisor(t, port)
	// As a killed program leaves it where the kernel does not end it too.
	config := filepath.Join(s.Dir, "envoy-bootstrap.yaml")
	if err := os.WriteFile(config, s.Bootstrap, 0o600); err != nil {
		t.Fatal(err)
	}
	left := exec.CommandContext(context.Background(), s.Binary.Path, "-c", config, "--disable-hot-restart", "-l", "off")
	left.Dir = s.Dir
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = left.Wait()
	}()
	t.Cleanup(func() {
		_ = left.Process.Kill()
		<-ended
	})
	pid := left.Process.Pid
	if err := os.WriteFile(filepath.Join(s.Dir, "envoy.pid"), []byte(strconv.Itoa(pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an answer of the left one", func() bool { _, err := answer(t.Context(), port); return err == nil })

	run(t, s)
	eventually(t, "the end of the left one", func() bool { return !alive(pid) })
	if err := s.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an answer of the new one", func() bool { body, err := answer(t.Context(), port); return err == nil && body == "hello" })
}

func TestSupervisorLeavesAForeignProcessAlone(t *testing.T) {
	t.Parallel()
	s := supervisor(t, envoytest.FreePort(t))
	// The number in the pid file is this very test's by now.
	if err := os.WriteFile(filepath.Join(s.Dir, "envoy.pid"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, s)
	if err := s.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestEnvoyOfAKilledProgramDoesNotBlockTheNext(t *testing.T) {
	t.Parallel()
	port := envoytest.FreePort(t)
	s := supervisor(t, port)
	if err := os.WriteFile(filepath.Join(s.Dir, "in.yaml"), s.Bootstrap, 0o600); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	prog := exec.CommandContext(context.Background(), exe)
	prog.Env = append(os.Environ(), programDir+"="+s.Dir)
	if err := prog.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an answer", func() bool { _, err := answer(t.Context(), port); return err == nil })
	data, err := os.ReadFile(filepath.Join(s.Dir, "envoy.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	if err := prog.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = prog.Wait()

	run(t, s)
	if err := s.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an answer of the next", func() bool { body, err := answer(t.Context(), port); return err == nil && body == "hello" })
	if alive(pid) && pid != s.Status().PID {
		t.Errorf("envoy %d of the killed program is still there", pid)
	}
}

// syncBuffer is a buffer for two goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String is what was written.
func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
