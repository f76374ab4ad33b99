package redistest

import (
	"os"
	"os/exec"
	"syscall"
)

var sigStop, sigCont os.Signal = syscall.SIGSTOP, syscall.SIGCONT

// dieWithParent makes the kernel kill a process when this one ends, even by SIGKILL or
// a panic at the deadline of the tests, when no clean-up runs. The kernel goes by the
// thread that starts it; Go ends threads only with goroutines locked to them.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
