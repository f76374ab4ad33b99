package redistest

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childName names the main that a child runs.
const childName = "CACHEGEN_TEST_CHILD"

// longestLine is the length of the longest line that parent and child can say.
const longestLine = 1 << 20

// leftByClients are goroutines of clients that closing the client does not wake, and that end
// by themselves. A client of a cluster, or one that cannot connect, sleeps for up to a second
// before it looks at the cluster again when it has lost a connection; and for five seconds
// before it closes connections to nodes that the cluster has no more.
var leftByClients = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"),
}

// Main is for a TestMain. It runs the tests and then looks for goroutines that they have
// left behind; in a child it runs one of the children instead, and ends the process.
func Main(m *testing.M, children map[string]func(*ChildIO), options ...goleak.Option) {
	name, isChild := os.LookupEnv(childName)
	if !isChild {
		goleak.VerifyTestMain(m, slices.Concat(leftByClients, options)...)
		return
	}
	child := children[name]
	if child == nil {
		fmt.Fprintf(os.Stderr, "TestMain has no child called %q\n", name)
		os.Exit(2)
	}
	flag.Parse()
	c := &ChildIO{Args: flag.Args(), in: scanner(os.Stdin), out: os.Stdout}
	// What is printed on the way must not be taken for an answer.
	os.Stdout = os.Stderr
	child(c)
	os.Exit(0)
}

// ChildIO is how a child talks to the test that has started it. It is for one goroutine.
type ChildIO struct {
	Args []string // as the test has given them
	in   *bufio.Scanner
	out  io.Writer
}

// Receive waits for the parent's next line. It returns false when there are no more.
func (c *ChildIO) Receive() (line string, ok bool) {
	ok = c.in.Scan()
	return c.in.Text(), ok
}

// Lines are all of the parent's lines.
func (c *ChildIO) Lines() iter.Seq[string] {
	return func(yield func(string) bool) {
		for {
			line, ok := c.Receive()
			if !ok || !yield(line) {
				return
			}
		}
	}
}

// Send says a line to the parent. It panics if it is more than one.
func (c *ChildIO) Send(format string, args ...any) {
	line, err := oneLine(format, args)
	if err != nil {
		panic(err)
	}
	if _, err := io.WriteString(c.out, line); err != nil {
		// The parent is gone.
		os.Exit(1)
	}
}

// A ChildProcess is the test binary that was run again: see [Child].
type ChildProcess struct {
	t      testing.TB
	name   string
	stderr string // a file
	in     *os.File
	lines  chan string   // what it says; closed at the end
	ended  chan struct{} // closed when the test has, and nobody listens any more
	killed bool
	*process
}

// Child runs the test binary again, as the child that [Main] knows by this name. At the
// end of the test it is told that there are no more lines, and has to end by itself.
func Child(t testing.TB, name string, args ...string) *ChildProcess {
	t.Helper()
	c := &ChildProcess{
		t: t, name: name, stderr: filepath.Join(t.TempDir(), "stderr"),
		lines: make(chan string), ended: make(chan struct{}),
	}
	if err := c.start(args); err != nil {
		t.Fatalf("child %s: %v", name, err)
	}
	t.Cleanup(c.end)
	return c
}

func (c *ChildProcess) start(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// No test runs in a child whose TestMain does not call Main.
	cmd := exec.Command(self, append([]string{"-test.run=^$", "--"}, args...)...)
	// The race detector need not wait a second before it lets a process end.
	cmd.Env = append(os.Environ(), childName+"="+c.name, "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	stderr, err := os.Create(c.stderr)
	if err != nil {
		return err
	}
	defer stderr.Close()
	cmd.Stderr = stderr
	// Pipes of our own: those of package exec are closed before all is read.
	childIn, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer childIn.Close()
	out, childOut, err := os.Pipe()
	if err != nil {
		in.Close()
		return err
	}
	defer childOut.Close()
	cmd.Stdin, cmd.Stdout = childIn, childOut
	if c.process, err = start(cmd); err != nil {
		in.Close()
		out.Close()
		return err
	}
	c.in = in
	go c.listen(out)
	return nil
}

func (c *ChildProcess) listen(out *os.File) {
	defer close(c.lines)
	defer out.Close()
	for scan := scanner(out); scan.Scan(); {
		select {
		case c.lines <- scan.Text():
		case <-c.ended:
		}
	}
}

// end is the test's clean-up.
func (c *ChildProcess) end() {
	close(c.ended)
	// Fails if it has been killed, or closed before.
	_ = c.in.Close()
	if sigCont != nil && c.running() {
		_ = c.cmd.Process.Signal(sigCont)
	}
	timeout := time.NewTimer(waitLimit)
	defer timeout.Stop()
	select {
	case <-c.over:
	case <-timeout.C:
		c.kill()
		c.t.Errorf("child %s has not ended within %v", c.name, waitLimit)
	}
	for range c.lines {
	}
	if c.err != nil && !c.killed {
		c.t.Errorf("child %s: %v", c.name, c.err)
	}
	if c.t.Failed() {
		c.t.Logf("what child %s has logged:\n%s", c.name, tail(c.stderr))
	}
}

// Send says a line to the child. It does not wait for an answer.
func (c *ChildProcess) Send(format string, args ...any) {
	c.t.Helper()
	line, err := oneLine(format, args)
	if err == nil {
		_, err = io.WriteString(c.in, line)
	}
	if err != nil {
		c.t.Fatalf("child %s: %v", c.name, err)
	}
}

// Receive waits for the child's next line, which may be one from before it was killed. The
// test fails if there is none within twenty seconds.
func (c *ChildProcess) Receive() string {
	c.t.Helper()
	timeout := time.NewTimer(waitLimit)
	defer timeout.Stop()
	select {
	case line, ok := <-c.lines:
		if !ok {
			c.t.Fatalf("child %s has ended and said nothing more; does TestMain call redistest.Main?", c.name)
		}
		return line
	case <-timeout.C:
		c.t.Fatalf("child %s has said nothing for %v", c.name, waitLimit)
		return ""
	}
}

// Ask says a line to the child and waits for its next one.
func (c *ChildProcess) Ask(format string, args ...any) string {
	c.t.Helper()
	c.Send(format, args...)
	return c.Receive()
}

// Kill ends the child at once (SIGKILL), stopped or not, and returns when it is gone.
func (c *ChildProcess) Kill() {
	// What it has died of before is still to be told.
	c.killed = c.killed || c.running()
	c.kill()
}

// Pause stops the child (SIGSTOP) and returns when it has stopped. What it is told meanwhile
// it will hear later.
func (c *ChildProcess) Pause() {
	c.t.Helper()
	c.pause(c.t)
}

// Resume lets a child go on that was stopped (SIGCONT).
func (c *ChildProcess) Resume() {
	c.t.Helper()
	c.resume(c.t)
}

func scanner(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, longestLine+1)
	return s
}

func oneLine(format string, args []any) (string, error) {
	line := fmt.Sprintf(format, args...)
	if strings.ContainsAny(line, "\r\n") {
		return "", fmt.Errorf("more than one line: %q", line)
	}
	if len(line) > longestLine {
		return "", fmt.Errorf("a line of %d bytes, longer than %d", len(line), longestLine)
	}
	return line + "\n", nil
}
