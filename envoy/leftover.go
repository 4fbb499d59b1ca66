package envoy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// leftoverTick is how often a process that is not ours to wait for is looked
// at.
const leftoverTick = 10 * time.Millisecond

// stopLeftover ends the Envoy of a program that was killed, so that it does
// not hold the port. A process is ours only if the pid file names it and it
// runs with our bootstrap: numbers are used again.
func stopLeftover(ctx context.Context, pidPath, config string, timeout time.Duration, logger *slog.Logger) error {
	data, err := os.ReadFile(pidPath) //nolint:gosec // a file of the configured directory
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read envoy pid file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err == nil && pid > 1 && runsWith(ctx, pid, config) {
		logger.WarnContext(ctx, "envoy of an earlier run stops", "pid", pid)
		if err := end(ctx, pid, config, timeout); err != nil {
			return fmt.Errorf("stop the envoy of an earlier run (pid %d): %w", pid, err)
		}
	}
	if err := os.Remove(pidPath); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove envoy pid file: %w", err)
	}
	return nil
}

// runsWith reports whether the process is an Envoy with this bootstrap.
func runsWith(ctx context.Context, pid int, config string) bool {
	args := commandLine(ctx, pid)
	for i, a := range args {
		if string(a) == "-c" && i+1 < len(args) {
			// ps does not tell where an argument with blanks ends.
			return bytes.HasPrefix(bytes.Join(args[i+1:], []byte(" ")), []byte(config))
		}
	}
	return false
}

// end stops a process that is not a child of ours.
func end(ctx context.Context, pid int, config string, timeout time.Duration) error {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := syscall.Kill(pid, sig); err != nil {
			if errors.Is(err, syscall.ESRCH) {
				return nil
			}
			return err
		}
		gone, err := waitGone(ctx, pid, config, timeout)
		if gone || err != nil {
			return err
		}
	}
	return errors.New("it does not end")
}

// waitGone waits until the process is no longer that Envoy.
func waitGone(ctx context.Context, pid int, config string, timeout time.Duration) (bool, error) {
	tick := time.NewTicker(leftoverTick)
	defer tick.Stop()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for runsWith(ctx, pid, config) {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-timer.C:
			return false, nil
		case <-tick.C:
		}
	}
	return true, nil
}
