package visit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/redistest"
)

func TestRunProcesses(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("TMPDIR", t.TempDir())
	// The second visit finds what the first one has left in Redis, which is not of its
	// database.
	for range 2 {
		var out strings.Builder
		if err := RunProcesses(t.Context(), &out, ProcessOptions{Redis: server.Addr(), Command: program(t)}); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		for _, want := range []string{
			"process 2: 22 reads", "shared hit", "invalidates Author(2)", "outdated for, median",
			"300 × posts.List(languages, page 1)", "process 4 opens the blog",
			"miss: cut off", "yet to be delivered", "process 2 reaches Redis again", "records applied",
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the report does not mention %q:\n%s", want, out.String())
			}
		}
		for line := range strings.Lines(out.String()) {
			if strings.HasSuffix(line, " \n") {
				t.Errorf("trailing space: %q", line)
			}
		}
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "cachegen-example-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q (%v)", left, err)
	}
}

// Reads must not pass if the cache is wrong: here another program has changed the
// database and told nobody. To a change by another process the bound applies.
func TestReadAllFindsDifference(t *testing.T) {
	server := redistest.Start(t)
	p := open(t, server.Addr())
	if err := p.ReadAll(time.Time{}, new(Result)); err != nil {
		t.Fatal(err)
	}
	if err := p.direct.posts.Edit(t.Context(), 1, "Another title", ""); err != nil {
		t.Fatal(err)
	}
	changed := time.Now()
	for _, since := range []time.Time{{}, changed.Add(-2 * maxStaleness), changed} {
		if err := p.ReadAll(since, new(Result)); err == nil || !strings.Contains(err.Error(), "the database says") {
			t.Errorf("reads with something outdated since %v: %v", since, err)
		}
	}
	if d := time.Since(changed); d < maxStaleness {
		t.Errorf("a change by another process was waited for for %v, not %v", d, maxStaleness)
	}
}

func TestStaleness(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	returned := []time.Time{at(0), at(100), at(200)} // of versions 1, 2, 3
	seen := VersionsSeen{Last: map[int]time.Time{
		0: at(-5), // before there was a newer one
		1: at(230),
		3: at(300),
	}}
	want := []time.Duration{0, 130 * time.Millisecond, 30 * time.Millisecond}
	if got := staleness(returned, seen); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A signal is closed when something that says the text has been written.
type signal struct {
	bytes.Buffer
	text string
	call func()
}

func (s *signal) Write(data []byte) (int, error) {
	n, err := s.Buffer.Write(data)
	if strings.Contains(s.String(), s.text) {
		s.call()
	}
	return n, err
}

func TestLive(t *testing.T) {
	server := redistest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &signal{text: "process 3 ", call: cancel} // of the first numbers
	if err := Live(ctx, out, ProcessOptions{Redis: server.Addr(), Command: program(t)}); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if ctx.Err() == nil {
		t.Errorf("ended before it was interrupted\n%s", out)
	}
	for line := range strings.Lines(out.String()) {
		// A machine that is busy may take longer than visitors wait.
		if strings.Contains(line, "the first error") && !strings.Contains(line, "(hard)") {
			t.Errorf("a call failed: %s", line)
		}
	}
}

// What cannot begin says why, and leaves nothing behind.
func TestProcessesThatDoNotStart(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for name, test := range map[string]struct {
		command func(number int) *exec.Cmd
		want    string
	}{
		"no Redis":   {program(t), "process 1: Open: redis"},
		"no program": {func(int) *exec.Cmd { return exec.Command(filepath.Join(t.TempDir(), "none")) }, "no such file"},
		"exits":      {func(int) *exec.Cmd { return exec.Command("false") }, "process 1: exit status 1"},
	} {
		t.Run(name, func(t *testing.T) {
			err := RunProcesses(t.Context(), io.Discard, ProcessOptions{Redis: "127.0.0.1:1", Command: test.command})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			left, err := filepath.Glob(filepath.Join(os.TempDir(), "cachegen-example-*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %q (%v)", left, err)
			}
		})
	}
}

func TestRunProcessesReportsWriteError(t *testing.T) {
	server := redistest.Start(t)
	if err := RunProcesses(t.Context(), fullWriter{}, ProcessOptions{Redis: server.Addr(), Command: program(t)}); !errors.Is(err, errFull) {
		t.Fatalf("%v, want %v", err, errFull)
	}
}
