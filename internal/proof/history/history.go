// Package history records what clients of a cached repository did and saw, and
// judges it.
//
// The database under test numbers the versions of each of its rows in the order of
// its commits, 1, 2, 3, and so on, and every row carries its number. So the order
// of the writes is known, which makes judging easy: what is NP-complete for a
// register whose values say nothing of their order (Gibbons and Korach, "Testing
// Shared Memories", 1997) takes time linear in the length of the history here.
// [History.Stale] and [History.Unordered] do that, for histories of any length;
// [History.Linearizable] has the independent word of porcupine on short ones.
package history

import (
	"fmt"
	"sync"
)

// A History is what clients of a repository did and saw, in one order. It is safe
// for concurrent use. Judge it when all that is to be recorded is recorded: the
// judges hold up who records.
type History struct {
	mu     sync.Mutex
	events []event
	rows   map[int]*row
	reads  int
	writes int
}

// A row is what was committed to one row of the database.
type row struct {
	// commits are those of the versions from 1 on, in order.
	commits []commit
	// removals are the versions in which there is no row any more, in order.
	removals []int64
	// absent says that at first there is no row.
	absent bool
}

type commit struct {
	call    *Call
	at      int // position in the history
	removed bool
}

// A Call is what one call of the repository did or saw. One goroutine at a time
// may use it.
type Call struct {
	h            *History
	client, what string
	began        int // positions in the history
	ended        int // open if it did not return
	failed       bool
	sights       []sight
	wrote        []write
}

// A sight is what a read said of one row.
type sight struct {
	row     int
	version int64 // absent: of any version without a row
	absent  bool
	at      int
}

type write struct {
	row     int
	version int64
}

// open is the end of a call that did not return.
const open = -1

type event struct {
	kind kind
	call *Call
	row  int
	// version is that of a row that was seen or written.
	version int64
}

type kind uint8

const (
	began kind = iota
	saw
	missed
	wrote
	removed
	returned
	failed
)

// New returns a history in which nothing has happened yet.
func New() *History {
	return &History{rows: map[int]*row{}}
}

// Absent says that some rows do not exist at first, which is their version 0. It
// panics if one of them was written already.
func (h *History) Absent(rows ...int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range rows {
		r := h.row(id)
		if len(r.commits) > 0 {
			panic(fmt.Sprintf("history: Absent(%d) after the row was written", id))
		}
		r.absent = true
	}
}

// Begin records that a call begins; call it right before the call. Client and what
// are for people: "reader 2", "Post(7)".
func (h *History) Begin(client, what string) *Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &Call{h: h, client: client, what: what, ended: open}
	c.began = h.add(event{kind: began, call: c})
	return c
}

// Saw records that the answer of a read has a row as of a version, 0 for as it was
// at first. A read may see several rows. It panics after the end of the call.
func (c *Call) Saw(row int, version int64) {
	c.see(event{kind: saw, call: c, row: row, version: version})
}

// Missed records that according to the answer of a read there is no such row. That
// says not of which version it is the absence: the judges take any that will do.
// It panics after the end of the call.
func (c *Call) Missed(row int) {
	c.see(event{kind: missed, call: c, row: row})
}

func (c *Call) see(e event) {
	h := c.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.ended != open || c.failed {
		panic(fmt.Sprintf("history: %s of %s saw row %d after its end", c.what, c.client, e.row))
	}
	if len(c.sights) == 0 {
		h.reads++
	}
	at := h.add(e)
	c.sights = append(c.sights, sight{row: e.row, version: e.version, absent: e.kind == missed, at: at})
}

// Wrote records that the call committed a version of a row. The versions of a row
// grow by 1 with each commit, from 1, so call it under the lock that orders the
// commits. A write that failed may commit later. Wrote panics after [Call.Return],
// and if the version is not the next one.
func (c *Call) Wrote(row int, version int64) { c.write(wrote, row, version) }

// Removed is [Call.Wrote] of a version in which there is no such row any more.
func (c *Call) Removed(row int, version int64) { c.write(removed, row, version) }

func (c *Call) write(kind kind, row int, version int64) {
	h := c.h
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.row(row)
	if next := int64(len(r.commits)) + 1; version != next {
		panic(fmt.Sprintf("history: %s of %s wrote version %d of row %d, of which version %d is next", c.what, c.client, version, row, next))
	}
	if c.ended != open {
		panic(fmt.Sprintf("history: %s of %s wrote row %d after it had returned", c.what, c.client, row))
	}
	if len(c.wrote) == 0 {
		h.writes++
	}
	at := h.add(event{kind: kind, call: c, row: row, version: version})
	r.commits = append(r.commits, commit{call: c, at: at, removed: kind == removed})
	if kind == removed {
		r.removals = append(r.removals, version)
	}
	c.wrote = append(c.wrote, write{row, version})
}

// Return records that the call returned; call it right after the call. What it
// wrote has to be seen by every read that begins from now on, so it is called for a
// write that returned an error, too, if its commit is known to have happened. It
// panics after the end of the call.
func (c *Call) Return() {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.mustBeOpen("Return")
	c.ended = c.h.add(event{kind: returned, call: c})
}

// Fail records that the call returned an error that says nothing: a read has seen
// nothing then, and a write may be committed later, or has been, or never is. It
// panics after the end of the call.
func (c *Call) Fail() {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.mustBeOpen("Fail")
	if len(c.sights) > 0 {
		c.h.reads--
	}
	c.failed, c.sights = true, nil
	c.h.add(event{kind: failed, call: c})
}

func (c *Call) mustBeOpen(what string) {
	if c.ended != open || c.failed {
		panic(fmt.Sprintf("history: %s of %s of %s after its end", what, c.what, c.client))
	}
}

// Reads returns the number of calls that saw something.
func (h *History) Reads() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reads
}

// Writes returns the number of calls that committed something.
func (h *History) Writes() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.writes
}

// add appends an event and returns its position. The mutex is locked.
func (h *History) add(e event) int {
	h.events = append(h.events, e)
	return len(h.events) - 1
}

// row returns what is known of a row. The mutex is locked.
func (h *History) row(id int) *row {
	r := h.rows[id]
	if r == nil {
		r = new(row)
		h.rows[id] = r
	}
	return r
}
