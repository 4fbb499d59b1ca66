package e2e_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// Out of descriptors: the program was started with so few that a flood of
// connections to its socket takes them all. Whoever has a connection already
// is served or refused, never let through; when the flood is over all is well.
func TestFaultNoDescriptors(t *testing.T) {
	t.Parallel()
	f := startFaulty(t, "")
	var limit syscall.Rlimit
	if err := prlimit(f.program.Process.Pid, nil, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = uint64(descriptors(t, f.program.Process.Pid) + 4)
	if err := prlimit(f.program.Process.Pid, &few, nil); err != nil {
		t.Fatal(err)
	}
	var flood []net.Conn
	for range 64 {
		c, err := net.DialTimeout("unix", filepath.Join(f.dir, "data", "authz.sock"), time.Second)
		if err != nil {
			break
		}
		flood = append(flood, c)
	}
	for range 20 {
		before := f.upstream.calls.Load()
		if a := f.post("a", f.forbidden, goodCall); a.status != http.StatusForbidden && a.status != http.StatusServiceUnavailable {
			t.Errorf("a forbidden call: %d %s", a.status, a.body)
		}
		if f.upstream.calls.Load() != before {
			t.Error("it reached the upstream")
		}
		if a := f.post("a", f.token, goodCall); a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
			t.Errorf("a good call: %d %s", a.status, a.body)
		}
	}
	for _, c := range flood {
		_ = c.Close()
	}
	end := time.Now()
	if err := prlimit(f.program.Process.Pid, &limit, nil); err != nil {
		t.Fatal(err)
	}
	f.recovers(end)
}

// prlimit sets, or with a nil next only reads, the limit of a process on open
// descriptors (prlimit(2)).
func prlimit(pid int, next, old *syscall.Rlimit) error {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_NOFILE,
		uintptr(unsafe.Pointer(next)), uintptr(unsafe.Pointer(old)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// descriptors is how many descriptors a process has open.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	list, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
