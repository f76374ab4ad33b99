//go:build !unix

package redistest

import (
	"os"
	"os/exec"
)

var sigStop, sigCont os.Signal // none

func dieWithParent(*exec.Cmd) {}
