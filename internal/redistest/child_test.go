package redistest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// echo says what it hears, and "bye" to its standard error.
func echo(io *ChildIO) {
	for line := range io.Lines() {
		io.Send("%s %s", strings.Join(io.Args, ","), line)
	}
	fmt.Fprintln(os.Stderr, "bye")
}

// chatty prints on its standard output.
func chatty(io *ChildIO) {
	fmt.Println("not an answer")
	io.Send("an answer")
}

// talk says as many lines as it is told to, and hears nothing else.
func talk(io *ChildIO) {
	line, _ := io.Receive()
	n, err := strconv.Atoi(line)
	if err != nil {
		panic(err)
	}
	for i := range n {
		io.Send("%d", i)
	}
}

func TestChild(t *testing.T) {
	t.Parallel()
	c := Child(t, "echo", "a", "-b", "--")
	for _, line := range []string{"one", "", "%d", strings.Repeat("long", 1<<17)} {
		if got, want := c.Ask("%s", line), "a,-b,-- "+line; got != want {
			t.Errorf("got %.20q, want %.20q", got, want)
		}
	}
	r := rehearse(t, func(tb testing.TB) { Child(tb, "echo").Send("two\nlines") })
	if !r.failed || !strings.Contains(r.said.String(), "more than one line") {
		t.Errorf("two lines are one: %s", &r.said)
	}
	// It was not killed: its main has returned, and its standard error is shown.
	if !strings.Contains(r.said.String(), "bye") {
		t.Errorf("said %q", &r.said)
	}
}

func TestChildSaysMore(t *testing.T) {
	t.Parallel()
	c := Child(t, "talk")
	c.Send("3")
	for i := range 3 {
		if got := c.Receive(); got != strconv.Itoa(i) {
			t.Errorf("got %q, want %d", got, i)
		}
	}
	// What nobody hears does not keep it from ending: more than a pipe holds.
	Child(t, "talk").Send("20000")
}

func TestChildPrints(t *testing.T) {
	if got := Child(t, "chatty").Receive(); got != "an answer" {
		t.Errorf("got %q", got)
	}
}

func TestChildKill(t *testing.T) {
	t.Parallel()
	c := Child(t, "talk")
	c.Send("1")
	if got := c.Receive(); got != "0" {
		t.Errorf("got %q", got)
	}
	killed := Child(t, "echo")
	killed.Ask("alive")
	killed.Pause()
	killed.Kill()
	if killed.running() {
		t.Error("a child that was killed runs")
	}
	killed.Kill() // does nothing
}

func TestChildPause(t *testing.T) {
	t.Parallel()
	c := Child(t, "echo")
	c.Ask("alive")
	c.Pause()
	c.Send("heard later")
	select {
	case line := <-c.lines:
		t.Errorf("a child that is paused says %q", line)
	case <-time.After(100 * time.Millisecond):
	}
	c.Resume()
	if got := c.Receive(); got != " heard later" {
		t.Errorf("got %q", got)
	}
	// At the end of the test it goes on.
	c.Pause()
}

func TestChildFails(t *testing.T) {
	for _, c := range []struct {
		name string
		test func(testing.TB)
		want []string
	}{
		{"at its end", func(tb testing.TB) { Child(tb, "panic") }, []string{"exit status 2", "what the child died of"}},
		{"before its answer", func(tb testing.TB) { Child(tb, "panic").Receive() }, []string{"has ended", "what the child died of"}},
		{"before it is killed", func(tb testing.TB) {
			c := Child(tb, "panic")
			<-c.over
			c.Kill()
		}, []string{"what the child died of"}},
		{"unknown", func(tb testing.TB) { Child(tb, "nobody") }, []string{`no child called "nobody"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := rehearse(t, c.test)
			if !r.failed {
				t.Error("the test has not failed")
			}
			for _, want := range c.want {
				if !strings.Contains(r.said.String(), want) {
					t.Errorf("said %q, without %q", &r.said, want)
				}
			}
		})
	}
}
