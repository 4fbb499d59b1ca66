//go:build unix

package envoy

import (
	"os"
	"syscall"
)

// trusted reports whether the executable at path belongs to root or to the
// user of this process, and no one else may change it.
func trusted(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o002 != 0 {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}
