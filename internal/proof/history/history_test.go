package history

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A script is a history in short: each word is an event of the client named first.
//
//	a:begin, a:return, a:fail, a:w7.1 (committed version 1 of row 7), a:d7.2 (removed
//	it), a:r7.1 (saw), a:r7.- (saw none)
func scripted(t *testing.T, script string) *History {
	t.Helper()
	h := New()
	calls := map[string]*Call{}
	for _, word := range strings.Fields(script) {
		client, what, _ := strings.Cut(word, ":")
		c := calls[client]
		var row int
		var version int64
		switch {
		case what == "begin":
			calls[client] = h.Begin(client, "Call")
		case what == "return":
			c.Return()
		case what == "fail":
			c.Fail()
		case strings.HasSuffix(what, ".-"):
			fmt.Sscanf(what, "r%d.-", &row)
			c.Missed(row)
		default:
			if _, err := fmt.Sscanf(what[1:], "%d.%d", &row, &version); err != nil {
				t.Fatalf("%s: %v", word, err)
			}
			switch what[0] {
			case 'w':
				c.Wrote(row, version)
			case 'd':
				c.Removed(row, version)
			default:
				c.Saw(row, version)
			}
		}
	}
	return h
}

func TestJudges(t *testing.T) {
	for _, test := range []struct {
		name, script    string
		stale, disorder string // part of the error, or empty
	}{
		{"nothing", "", "", ""},
		{"as it was at first", "r:begin r:r1.0 r:return", "", ""},
		{"what was written", "w:begin w:w1.1 w:return r:begin r:r1.1 r:return", "", ""},
		{"older than a write that had returned", "w:begin w:w1.1 w:return r:begin r:r1.0 r:return",
			"saw of row 1, at 4, version 0, but Call of w had committed version 1, and returned at 2", "had committed"},
		{"older than a write that returned meanwhile", "w:begin w:w1.1 r:begin w:return r:r1.0 r:return", "", ""},
		{"older than a write of another row", "w:begin w:w1.1 w:return r:begin r:r2.0 r:return", "", ""},
		{"older than a write that wrote two rows", "w:begin w:w1.1 w:w2.1 w:return r:begin r:r1.1 r:r2.0 r:return",
			"saw of row 2", "saw of row 2"},
		{"older than a write in doubt", "w:begin w:w1.1 w:fail r:begin r:r1.0 r:return", "", ""},
		{"new, then old, of a write in doubt", "w:begin w:w1.1 w:fail r:begin r:r1.1 r:return s:begin s:r1.0 s:return",
			"", "Call of s, which began at 6, saw of row 1, at 7, version 0, but Call of r had seen version 1, and returned at 5"},
		{"new, then old, while it is written", "w:begin w:w1.1 r:begin r:r1.1 r:return r:begin r:r1.0 r:return w:return",
			"", "had seen version 1"},
		{"new and old at the same time", "w:begin w:w1.1 r:begin s:begin r:r1.1 r:return s:r1.0 s:return w:return", "", ""},
		{"a write in doubt that is late", "w:begin w:fail r:begin r:r1.0 r:return w:w1.1 r:begin r:r1.1 r:return", "", ""},
		{"never committed", "r:begin r:r1.1 r:return", "version 1, which was never committed", "never"},
		{"not yet committed", "r:begin r:r1.1 r:return w:begin w:w1.1 w:return",
			"version 1, which was committed after it had returned, at 4", "after it had returned"},
		{"committed while it ran", "r:begin w:begin w:w1.1 r:r1.1 r:return w:return", "", ""},
		{"from before the history", "r:begin r:r1.-3 r:return", "version -3, which is from before", "before"},
		{"a read that did not return", "w:begin w:w1.1 w:return r:begin r:r1.0", "saw of row 1, at 4, version 0", "version 0"},
		{"a read that failed", "w:begin w:w1.1 w:return r:begin r:r1.0 r:fail", "", ""},
		{"no row, which was there", "r:begin r:r1.- r:return", "at 1, none", "none"},
		{"no row, which was removed", "w:begin w:d1.1 w:return r:begin r:r1.- r:return", "", ""},
		{"a row that was removed", "w:begin w:d1.1 r:begin r:r1.1 r:return w:return", "of which there is no such row", "no such row"},
		{"no row, which was made", "w:begin w:d1.1 w:return v:begin v:w1.2 v:return r:begin r:r1.- r:return",
			"none, but Call of v had committed version 2", "none"},
		{"no row before it is removed", "w:begin r:begin r:r1.- r:return w:d1.1 w:return", "none", "none"},
		{"no row, which may be of the later removal", "w:begin w:d1.1 w:return v:begin v:w1.2 v:return x:begin x:d1.3 r:begin r:r1.- r:return r:begin r:r1.2 r:return x:return",
			"", "had seen version 3"},
		{"no row, which may be of the earlier removal", "w:begin w:d1.1 w:return v:begin v:w1.2 x:begin x:d1.3 r:begin r:r1.- r:return r:begin r:r1.2 r:return x:return v:return", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := scripted(t, test.script)
			check := func(judge string, err error, want string) {
				t.Helper()
				switch {
				case want == "" && err != nil:
					t.Errorf("%s: %v", judge, err)
				case want != "" && err == nil:
					t.Errorf("%s: no error, want one with %q", judge, want)
				case want != "" && !strings.Contains(err.Error(), want):
					t.Errorf("%s: %v\nwant an error with %q", judge, err, want)
				}
			}
			check("Stale", h.Stale(), test.stale)
			check("Unordered", h.Unordered(), test.disorder)
			if err := h.Linearizable(time.Minute); (err != nil) != (test.disorder != "") {
				t.Errorf("Linearizable: %v", err)
			}
		})
	}
}

func TestAbsentAtFirst(t *testing.T) {
	h := New()
	h.Absent(1)
	r := h.Begin("r", "Post(1)")
	r.Missed(1)
	r.Return()
	for _, err := range []error{h.Stale(), h.Unordered(), h.Linearizable(time.Minute)} {
		if err != nil {
			t.Error(err)
		}
	}
	s := h.Begin("s", "Post(1)")
	s.Saw(1, 0)
	s.Return()
	for _, err := range []error{h.Stale(), h.Unordered(), h.Linearizable(time.Minute)} {
		if err == nil {
			t.Error("a row was seen that is not there")
		}
	}
}

// The judges that walk over a history once find what pairs of calls that contradict
// each other say, and what porcupine says.
func TestJudgesAgree(t *testing.T) {
	stale, disordered, fine := 0, 0, 0
	for seed := range uint64(5000) {
		h := random(rand.New(rand.NewPCG(seed, 0)))
		slow := h.stalePairs()
		if err := h.Stale(); (err != nil) != slow {
			t.Fatalf("seed %d: Stale says %v, and pairs of calls %v:\n%s", seed, err, slow, h)
		}
		err, porcupines := h.Unordered(), h.Linearizable(time.Minute)
		if (err != nil) != (porcupines != nil) {
			t.Fatalf("seed %d: Unordered says %v, and porcupine %v:\n%s", seed, err, porcupines, h)
		}
		switch {
		case slow && err == nil:
			t.Fatalf("seed %d: stale and linearizable:\n%s", seed, h)
		case slow:
			stale++
		case err != nil:
			disordered++
		default:
			fine++
		}
	}
	t.Logf("%d stale, %d new and then old, %d linearizable", stale, disordered, fine)
	if min(stale, disordered, fine) < 250 {
		t.Errorf("%d stale, %d new and then old, %d linearizable: too few of one kind", stale, disordered, fine)
	}
}

// random makes a history of a few clients on two rows. Reads see what is there, or,
// sometimes, what was there or will be.
func random(rnd *rand.Rand) *History {
	const rows = 2
	h := New()
	var versions [rows]int64
	var gone [rows][]bool
	for row := range rows {
		gone[row] = []bool{rnd.IntN(4) == 0}
		if gone[row][0] {
			h.Absent(row)
		}
	}
	commit := func(c *Call, row int) {
		versions[row]++
		removes := rnd.IntN(4) == 0
		gone[row] = append(gone[row], removes)
		if removes {
			c.Removed(row, versions[row])
		} else {
			c.Wrote(row, versions[row])
		}
	}
	type client struct {
		call  *Call
		write bool
		doubt bool // failed, and may yet commit
		row   int
		began [rows]int64 // the versions when it began
		acted bool
	}
	clients := make([]client, 3+rnd.IntN(4))
	wild := rnd.IntN(4) > 0
	for range 10 + rnd.IntN(60) {
		i := rnd.IntN(len(clients))
		c := &clients[i]
		switch {
		case c.call == nil:
			*c = client{write: rnd.IntN(3) == 0, row: rnd.IntN(rnd.IntN(rows) + 1), began: versions}
			c.call = h.Begin(fmt.Sprint("client ", i), "call")
		case c.doubt:
			if !c.acted && rnd.IntN(2) == 0 {
				commit(c.call, c.row)
			}
			c.call = nil
		case !c.acted && c.write:
			if rnd.IntN(6) == 0 {
				c.call.Fail()
				c.doubt = true
				continue
			}
			commit(c.call, c.row)
			c.acted = true
		case !c.acted:
			c.acted = true
			least, most := c.began[c.row], versions[c.row]
			if wild && rnd.IntN(2) == 0 {
				least = max(least-1, 0)
				most = least + int64(rnd.IntN(8)/7)
			}
			version := least + rnd.Int64N(max(most-least, 0)+1)
			if version < int64(len(gone[c.row])) && gone[c.row][version] {
				c.call.Missed(c.row)
			} else {
				c.call.Saw(c.row, version)
			}
		case c.write && rnd.IntN(5) > 0: // it takes its time
		case rnd.IntN(8) == 0:
			c.call.Fail()
			c.doubt = true
		case rnd.IntN(8) == 0:
			c.call = nil // it never returns
		default:
			c.call.Return()
			c.call = nil
		}
	}
	return h
}

// stalePairs says by comparing each read with each write whether one is stale.
func (h *History) stalePairs() bool {
	for _, e := range h.events {
		r := e.call
		if e.kind != saw && e.kind != missed || r.failed {
			continue
		}
		end := r.ended
		if end == open {
			end = len(h.events)
		}
		possible := false // a version that it may have seen
		commits := h.row(e.row).commits
		for version := int64(0); version <= int64(len(commits)); version++ {
			late := version > 0 && commits[version-1].at > end
			removed := h.row(e.row).removed(version)
			if late || removed != (e.kind == missed) || e.kind == saw && e.version != version {
				continue
			}
			fresh := true
			for newer := version; newer < int64(len(commits)); newer++ {
				if w := commits[newer].call; w.ended != open && w.ended < r.began {
					fresh = false
				}
			}
			possible = possible || fresh
		}
		if !possible {
			return true
		}
	}
	return false
}

func TestErrorShowsTheHistory(t *testing.T) {
	h := New()
	w := h.Begin("writer", "Update(7)")
	w.Wrote(7, 1)
	other := h.Begin("other", "Update(8)")
	other.Wrote(8, 1)
	w.Return()
	r := h.Begin("reader 1", "Post(7)")
	r.Saw(7, 0)
	r.Return()
	const want = `Post(7) of reader 1, which began at 5, saw of row 7, at 6, version 0, but Update(7) of writer had committed version 1, and returned at 4:
       0  writer    Update(7) begins
       1  writer    Update(7) committed version 1 of row 7
>      4  writer    Update(7) returned
>      5  reader 1  Post(7) begins
>      6  reader 1  Post(7) saw row 7 as of version 0
       7  reader 1  Post(7) returned
`
	if got := h.Stale().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if h.Reads() != 1 || h.Writes() != 2 {
		t.Errorf("%d reads and %d writes", h.Reads(), h.Writes())
	}
	if lines := strings.Count(h.String(), "\n"); lines != 8 {
		t.Errorf("%d lines:\n%s", lines, h)
	}
}

func TestLongExcerptIsCut(t *testing.T) {
	h := New()
	for version := range int64(200) {
		w := h.Begin("w", "Update")
		w.Wrote(1, version+1)
		w.Fail()
	}
	r := h.Begin("r", "Read")
	r.Saw(1, 300)
	r.Return()
	w := h.Linearizable(time.Minute)
	if got := strings.Count(w.Error(), "\n"); got > 2*excerptLines+3 {
		t.Errorf("%d lines", got)
	}
	if !strings.Contains(w.Error(), "lines …") || !strings.Contains(w.Error(), "version 300") {
		t.Error(w)
	}
}

func TestMisuse(t *testing.T) {
	for name, misuse := range map[string]func(h *History, c *Call){
		"saw row 1 after its end":        func(h *History, c *Call) { c.Return(); c.Saw(1, 0) },
		"saw row 2 after its end":        func(h *History, c *Call) { c.Fail(); c.Missed(2) },
		"wrote row 1 after it had":       func(h *History, c *Call) { c.Return(); c.Wrote(1, 1) },
		"of which version 1 is next":     func(h *History, c *Call) { c.Wrote(1, 2) },
		"of which version 2 is next":     func(h *History, c *Call) { c.Wrote(1, 1); c.Removed(1, 1) },
		"Return of Post(1) of a":         func(h *History, c *Call) { c.Return(); c.Return() },
		"Fail of Post(1) of a":           func(h *History, c *Call) { c.Return(); c.Fail() },
		"Absent(1) after the row was wr": func(h *History, c *Call) { c.Wrote(1, 1); h.Absent(1) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, name) {
					t.Errorf("got the panic %q, want one with %q", got, name)
				}
			}()
			h := New()
			misuse(h, h.Begin("a", "Post(1)"))
		}()
	}
}

func TestVisualization(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.html")
	h := scripted(t, "w:begin w:w1.1 w:return r:begin r:r1.0 r:return v:begin v:d1.2 v:return r:begin r:r1.- r:return")
	if err := h.WriteVisualization(path, time.Minute); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<html", "row 1 has version 1", "row 1, version 0", "no row 1", "is gone as of version 2"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if err := h.WriteVisualization(filepath.Join(t.TempDir(), "none", "h.html"), time.Minute); err == nil {
		t.Error("a page was written to a folder that does not exist")
	}
}

// Judging and recording may go on at the same time.
func TestConcurrentUse(t *testing.T) {
	h := New()
	done := make(chan struct{})
	for client := range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 100 {
				c := h.Begin(fmt.Sprint(client), "Read")
				c.Saw(client, 0)
				c.Return()
			}
		}()
	}
	for range 4 {
		if err := h.Unordered(); err != nil {
			t.Error(err)
		}
		<-done
	}
	if h.Reads() != 400 {
		t.Errorf("%d reads", h.Reads())
	}
}
