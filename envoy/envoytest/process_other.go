//go:build unix && !linux

package envoytest

import "syscall"

// sysProcAttr is what other systems offer: nothing.
func sysProcAttr() *syscall.SysProcAttr { return nil }
