package envoy

import (
	"bytes"
	"io"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// process is a started Envoy.
type process struct {
	cmd *exec.Cmd
	pid int
	// done is closed when it has ended and its output has been read.
	done chan struct{}
	err  error // of Wait, set before done is closed
}

// start executes Envoy on an operating-system thread of its own, which lives
// as long as Envoy does: on Linux it is the end of that thread, not of the
// program, that makes the kernel stop Envoy.
func start(path string, args []string, dir string, output io.Writer) (*process, error) {
	cmd := exec.Command(path, args...) //nolint:noctx // the configured Envoy; it is stopped by signal, with time to end
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = sysProcAttr()
	cmd.WaitDelay = time.Second
	p := &process{cmd: cmd, done: make(chan struct{})}

	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

// stop asks Envoy to end, and kills it when it has not after the timeout.
func (p *process) stop(timeout time.Duration) {
	// An error means that it has ended already.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// reason says how it ended: "exit status 1", "signal: killed".
func (p *process) reason() string {
	if state := p.cmd.ProcessState; state != nil {
		return state.String()
	}
	return p.err.Error()
}

// maxLine bounds what is held of a line without an end.
const maxLine = 64 << 10

// lineWriter passes on whole lines and remembers the last one.
type lineWriter struct {
	to io.Writer

	mu   sync.Mutex
	held []byte
	line string
}

// Write implements io.Writer. It never fails: Envoy must not be stopped by
// what becomes of its log.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = append(w.held, p...)
	if i := bytes.LastIndexByte(w.held, '\n'); i >= 0 {
		w.emit(i + 1)
	} else if len(w.held) > maxLine {
		w.emit(len(w.held))
	}
	return len(p), nil
}

// emit passes on the first n bytes held.
func (w *lineWriter) emit(n int) {
	_, _ = w.to.Write(w.held[:n])
	if text := bytes.TrimSpace(w.held[:n]); len(text) > 0 {
		text = text[bytes.LastIndexByte(text, '\n')+1:]
		w.line = string(text[:min(len(text), 1024)])
	}
	w.held = append(w.held[:0], w.held[n:]...)
}

// flush passes on an unfinished last line.
func (w *lineWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.held) > 0 {
		w.held = append(w.held, '\n')
		w.emit(len(w.held))
	}
}

// last is the last line that was not empty.
func (w *lineWriter) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.line
}
