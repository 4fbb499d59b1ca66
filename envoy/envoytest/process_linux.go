package envoytest

import "syscall"

// sysProcAttr ends Envoy with the thread that started it, so that a test
// process that panics or is killed leaves none behind.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
