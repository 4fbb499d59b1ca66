package envoy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Names of the files that a Supervisor keeps in its directory.
const (
	bootstrapFile = "envoy-bootstrap.yaml"
	pidFile       = "envoy.pid"
)

// Pace of a Supervisor.
const (
	DefaultMinBackoff  = 100 * time.Millisecond
	DefaultMaxBackoff  = 10 * time.Second
	DefaultStopTimeout = 5 * time.Second
	// steadyAfter is how long an Envoy must have run for the back-off to start
	// over.
	steadyAfter = 30 * time.Second
)

// Supervisor runs one Envoy, starts it again when it ends, and stops it with
// its context. The fields are set before Run and not changed after; zero
// values mean the defaults.
type Supervisor struct {
	// Binary is what Find returned.
	Binary Binary
	// Bootstrap is the file for `envoy -c`.
	Bootstrap []byte
	// Dir is Envoy's working directory, which must exist. One directory has one
	// Supervisor.
	Dir string
	// AdminListen is that of the bootstrap; "" is DefaultAdminListen.
	AdminListen string
	// Concurrency is the number of workers; 0 leaves it to Envoy, which takes
	// one for each hardware thread.
	Concurrency int
	// LogLevel is Envoy's: trace, debug, info, warning, error, critical, off.
	// "" is warning.
	LogLevel string
	// Output gets what Envoy writes, in whole lines; nil discards it.
	Output io.Writer
	// Log gets starts and ends.
	Log *slog.Logger

	// MinBackoff is the pause before the first restart; it doubles up to
	// MaxBackoff.
	MinBackoff, MaxBackoff time.Duration
	// StopTimeout is how long Envoy may take to end before it is killed.
	StopTimeout time.Duration

	mu     sync.Mutex
	status Status
}

// Status is what a Supervisor knows of its Envoy.
type Status struct {
	// PID is 0 while no Envoy runs.
	PID int
	// Since is when it was started.
	Since time.Time
	// Starts counts the starts, the first one included.
	Starts int
	// LastExit says how the Envoy before this one ended, "" when there was none.
	LastExit string
}

// Status returns the present state.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Run starts Envoy and keeps it running until ctx ends; then it stops Envoy
// and returns nil. It first stops an Envoy that an earlier Supervisor of the
// same directory left. It returns an error when Envoy cannot be executed at
// all; an Envoy that ends, for whatever reason, is started again.
func (s *Supervisor) Run(ctx context.Context) error {
	s.defaults()
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return fmt.Errorf("envoy directory: %w", err)
	}
	config := filepath.Join(dir, bootstrapFile)
	if err := stopLeftover(ctx, filepath.Join(dir, pidFile), config, s.StopTimeout, s.Log); err != nil {
		return err
	}
	if err := writeFile(config, s.Bootstrap); err != nil {
		return fmt.Errorf("write bootstrap: %w", err)
	}

	backoff := s.MinBackoff
	for {
		started := time.Now()
		if err := s.runOnce(ctx, dir, config); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		default:
		}
		if time.Since(started) >= steadyAfter {
			backoff = s.MinBackoff
		}
		s.Log.WarnContext(ctx, "envoy restarts", "pause", backoff, "starts", s.Status().Starts)
		pause := time.NewTimer(backoff)
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
		backoff = min(2*backoff, s.MaxBackoff)
	}
}

// defaults fills in the fields that have one. It leaves alone those that Ready
// reads from other goroutines.
func (s *Supervisor) defaults() {
	if s.LogLevel == "" {
		s.LogLevel = "warning"
	}
	if s.Output == nil {
		s.Output = io.Discard
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.MinBackoff == 0 {
		s.MinBackoff = DefaultMinBackoff
	}
	if s.MaxBackoff == 0 {
		s.MaxBackoff = max(DefaultMaxBackoff, s.MinBackoff)
	}
	if s.StopTimeout == 0 {
		s.StopTimeout = DefaultStopTimeout
	}
}

// args are Envoy's arguments. Unknown fields of dynamic resources are refused:
// an older Envoy would otherwise ignore what it does not know, and what it
// does not know may be a restriction. An update of the listener must not end
// streams before their own bound does.
func (s *Supervisor) args(config string) []string {
	args := []string{
		"-c", config,
		"--reject-unknown-dynamic-fields",
		"--disable-hot-restart",
		"--drain-time-s", "3600",
		"--drain-strategy", "immediate",
		"-l", s.LogLevel,
	}
	if s.LogLevel == "warning" || s.LogLevel == "info" {
		// Else every start says that the custom_response filter is "work in
		// progress", which the listener uses knowingly.
		args = append(args, "--component-log-level", "misc:error")
	}
	if s.Concurrency > 0 {
		args = append(args, "--concurrency", strconv.Itoa(s.Concurrency))
	}
	return args
}

// runOnce runs one Envoy to its end. The error is that of starting it.
func (s *Supervisor) runOnce(ctx context.Context, dir, config string) error {
	lines := &lineWriter{to: s.Output}
	p, err := start(s.Binary.Path, s.args(config), dir, lines)
	if err != nil {
		return fmt.Errorf("start envoy: %w", err)
	}
	s.mu.Lock()
	s.status.PID, s.status.Since = p.pid, time.Now()
	s.status.Starts++
	s.mu.Unlock()
	s.Log.InfoContext(ctx, "envoy started", "pid", p.pid, "version", s.Binary.Version)
	// Before anything can end this program without ending Envoy.
	pidErr := writeFile(filepath.Join(dir, pidFile), []byte(strconv.Itoa(p.pid)+"\n"))
	if pidErr != nil {
		s.Log.WarnContext(ctx, "envoy pid file not written", "error", pidErr)
	}

	select {
	case <-p.done:
	case <-ctx.Done():
		p.stop(s.StopTimeout)
	}
	lines.flush()
	reason := p.reason()
	s.mu.Lock()
	s.status.PID, s.status.LastExit = 0, reason
	s.mu.Unlock()
	if err := os.Remove(filepath.Join(dir, pidFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.Log.WarnContext(ctx, "envoy pid file not removed", "error", err)
	}
	if ctx.Err() != nil {
		s.Log.InfoContext(ctx, "envoy stopped", "pid", p.pid, "reason", reason)
	} else {
		s.Log.ErrorContext(ctx, "envoy ended", "pid", p.pid, "reason", reason, "last_line", lines.last())
	}
	return nil
}

// writeFile replaces a file as a whole, readable to its owner only.
func writeFile(path string, data []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
