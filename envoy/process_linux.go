package envoy

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"syscall"
)

// sysProcAttr gives Envoy a process group of its own, so that a Ctrl-C in the
// terminal reaches this program alone, which then stops Envoy in order; and
// makes the kernel end Envoy when this program dies by any means.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// commandLine is the arguments of a process, nil when there is none.
func commandLine(_ context.Context, pid int) [][]byte {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil || len(line) == 0 {
		return nil
	}
	return bytes.Split(bytes.TrimSuffix(line, []byte{0}), []byte{0})
}
