//go:build unix && !linux

package envoy

import (
	"bytes"
	"context"
	"os/exec"
	"strconv"
	"syscall"
)

// sysProcAttr gives Envoy a process group of its own, so that a Ctrl-C in the
// terminal reaches this program alone, which then stops Envoy in order. When
// this program is killed, Envoy stays until the next start.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// commandLine is the arguments of a process, nil when there is none.
func commandLine(ctx context.Context, pid int) [][]byte {
	out, err := exec.CommandContext(ctx, "ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return nil
	}
	return bytes.Fields(out)
}
