package redistest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// waitLimit is how long anything may take that a test waits for. A machine may have
// few cores and the race detector on.
const waitLimit = 20 * time.Second

// Until waits until a condition holds, which it asks for every few milliseconds. The
// test fails if that takes too long; what says what was waited for.
func Until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(waitLimit)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain until %s", waitLimit, what)
		}
		<-ticker.C
	}
}

// A process is one that a test has started.
type process struct {
	cmd  *exec.Cmd
	over chan struct{} // closed when it has ended
	err  error         // how; to be read when it is over
}

func start(cmd *exec.Cmd) (*process, error) {
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, over: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.over)
	}()
	return p, nil
}

func (p *process) running() bool {
	select {
	case <-p.over:
		return false
	default:
		return true
	}
}

// kill ends the process with SIGKILL, stopped or not, and returns when it is gone.
func (p *process) kill() {
	// The error is that it has ended on its own.
	_ = p.cmd.Process.Kill()
	<-p.over
}

// pause stops the process and returns when it does not run any more.
func (p *process) pause(t testing.TB) {
	t.Helper()
	p.signal(t, sigStop)
	Until(t, "the process has stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			return true // Not Linux. Others have no better way to find out.
		}
		// pid (name) state …, and the name may have parentheses of its own.
		_, state, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')'):]), " ")
		return strings.HasPrefix(state, "T")
	})
}

// resume lets a process that was stopped go on.
func (p *process) resume(t testing.TB) {
	t.Helper()
	p.signal(t, sigCont)
}

func (p *process) signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if sig == nil {
		cannotRun(t, "processes cannot be stopped on this system")
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("%s: %v: %v", filepath.Base(p.cmd.Path), sig, err)
	}
}

// tail returns the end of a log, for people to read.
func tail(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	const lines = 100
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(all) > lines {
		all = append([]string{"…"}, all[len(all)-lines:]...)
	}
	return strings.Join(all, "\n")
}
