package e2e_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is the program as a process of its own, to be killed.
type process struct {
	*exec.Cmd
	t    testing.TB
	done chan struct{}
}

// spawn starts this test binary as mcpgate with the arguments and the
// gateway's configuration.
func (g *gateway) spawn(args ...string) *process {
	g.Helper()
	self, err := os.Executable()
	if err != nil {
		g.Fatal(err)
	}
	p := &process{Cmd: exec.Command(self, append(args, "--config", g.config)...), t: g.TB, done: make(chan struct{})}
	p.Env = programEnviron()
	p.Stdout, p.Stderr = g.logs, g.logs
	// An Envoy that outlives the program still holds its output.
	p.WaitDelay = time.Second
	if err := p.Start(); err != nil {
		g.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.Wait() // the state tells how it ended
	}()
	g.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.done
	})
	return p
}

// programEnviron makes a process of this test binary the program. With the
// race detector it would sleep a second at its end.
func programEnviron() []string {
	return append(os.Environ(), programEnv+"=1", "GORACE=atexit_sleep_ms=0")
}

// end waits for the process and returns its exit code, -1 when a signal ended
// it.
func (p *process) end() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		p.t.Fatal("the program did not end")
		return 0
	}
}

// signal sends a signal to the process.
func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// envoyPID is the process id of the Envoy that the program runs, 0 for none.
func (g *gateway) envoyPID() int {
	b, err := os.ReadFile(filepath.Join(g.dir, "data", "envoy.pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}

// running reports whether a process is there and is no zombie.
func running(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true // not a Linux: Kill has told
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

// portFree reports whether nothing listens on the gateway's address.
func (g *gateway) portFree() bool {
	l, err := net.Listen("tcp", g.address)
	if err != nil {
		return false
	}
	return l.Close() == nil
}
