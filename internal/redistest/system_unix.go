//go:build unix && !linux

package redistest

import (
	"os"
	"os/exec"
	"syscall"
)

var sigStop, sigCont os.Signal = syscall.SIGSTOP, syscall.SIGCONT

func dieWithParent(*exec.Cmd) {}
