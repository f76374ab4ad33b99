package processes

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// An oracle is the database's rows and the judge of what is read of them. All times are
// those of the test's process: a call has begun when it was sent to the process that
// makes it, and has returned when that has answered.
type oracle struct {
	bound   time.Duration // D
	guarded bool          // writes are, and their marks are not lost on the way
	began   time.Time

	mu      sync.Mutex
	rows    map[int][]commit // by version
	lastID  int
	version int64
	writes  map[int]*write // by number
	lag     time.Duration  // the longest after which another process was served what was before a write
}

// A write is a call that writes, in a process.
type write struct {
	process   int
	unguarded bool          // even if the others are guarded
	returned  time.Duration // never, if it has not
	delivered time.Duration // when the log had what it made stale
}

// A commit is one version of a row.
type commit struct {
	version int64
	at      time.Duration
	write   *write
}

const never = time.Duration(1<<63 - 1)

func newOracle(bound time.Duration, guarded bool, rows int) *oracle {
	o := &oracle{bound: bound, guarded: guarded, began: time.Now(), rows: map[int][]commit{}, writes: map[int]*write{}}
	for range rows {
		o.insert(o.begin(-1, false))
	}
	for _, w := range o.writes {
		w.returned, w.delivered = 0, 0
	}
	return o
}

func (o *oracle) now() time.Duration { return time.Since(o.began) }

// begin says that a write begins in a process.
func (o *oracle) begin(process int, unguarded bool) (number int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	number = len(o.writes) + 1
	o.writes[number] = &write{process, unguarded, never, never}
	return number
}

// update commits a change of rows; those that are not there are left out.
func (o *oracle) update(write int, ids ...int) (changed []Row) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		if len(o.rows[id]) > 0 {
			changed = append(changed, o.commit(write, id))
		}
	}
	return changed
}

// insert commits a new row.
func (o *oracle) insert(write int) Row {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lastID++
	return o.commit(write, o.lastID)
}

func (o *oracle) commit(write, id int) Row {
	o.version++
	o.rows[id] = append(o.rows[id], commit{o.version, o.now(), o.writes[write]})
	return Row{id, o.version}
}

// returned says that a write has returned, and whether it has been delivered.
func (o *oracle) returned(number int, delivered bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.writes[number]
	w.returned = o.now()
	if delivered {
		w.delivered = w.returned
	}
}

// delivered says that writes have been delivered.
func (o *oracle) delivered(numbers ...int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, number := range numbers {
		o.writes[number].delivered = o.now()
	}
}

// current returns rows as they are now; those that are not there are left out.
func (o *oracle) current(ids ...int) (rows []Row) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		if commits := o.rows[id]; len(commits) > 0 {
			rows = append(rows, Row{id, commits[len(commits)-1].version})
		}
	}
	return rows
}

// ids returns the IDs of all rows.
func (o *oracle) ids() (ids []int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id := 1; id <= o.lastID; id++ {
		ids = append(ids, id)
	}
	return ids
}

// maxRows is how many rows there can come to be.
const maxRows = 20

// rowToCome returns the ID of the row that is inserted next.
func (o *oracle) rowToCome() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lastID + 1
}

// mostLag returns for how long after a write another process than the writing one was
// served what was there before, at most.
func (o *oracle) mostLag() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lag
}

// judge judges what a read saw of a row that began then in a process, and has just
// returned. Version 0 is that there is no such row.
func (o *oracle) judge(process int, began time.Duration, row int, version int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := version == 0
	commits := o.rows[row]
	for i := len(commits) - 1; i >= 0 && !known; i-- {
		known = commits[i].version == version
	}
	if !known {
		return fmt.Errorf("row %d has no version %d", row, version)
	}
	for i := len(commits) - 1; i >= 0 && commits[i].version > version; i-- {
		c := &commits[i]
		since, bound := o.visible(c, process)
		if since == never || began < since {
			continue
		}
		if lag := began - since; lag >= bound {
			return fmt.Errorf("stale: process %d saw version %d of row %d, in a read that began at %v, %v after it had to see version %d, "+
				"which was written by process %d, committed at %v, returned at %v and delivered at %v",
				process, version, row, began, lag, c.version, c.write.process, c.at, c.write.returned, c.write.delivered)
		} else {
			o.lag = max(o.lag, lag)
		}
	}
	return nil
}

// visible returns since when a commit must be seen in a process, but for a bound.
func (o *oracle) visible(c *commit, process int) (since, bound time.Duration) {
	w := c.write
	switch own := w.process == process; {
	case o.guarded && !w.unguarded && own:
		return c.at, 0
	case o.guarded && !w.unguarded:
		return c.at, o.bound // it was marked before
	case own:
		return max(c.at, w.returned), 0 // if it is later, it is marked meanwhile
	default:
		return max(c.at, w.delivered), o.bound
	}
}

// The oracle finds what is stale, and nothing else.
func TestOracle(t *testing.T) {
	const bound = time.Second
	at := func(w *write, when time.Duration) commit { return commit{2, when, w} }
	for _, test := range []struct {
		name    string
		guarded bool
		commit  commit
		process int
		began   time.Duration
		version int64
		stale   bool
	}{
		{"new", false, at(&write{1, false, 20, 20}, 10), 1, 20, 2, false},
		{"own, during the write", false, at(&write{1, false, 20, 20}, 10), 1, 19, 1, false},
		{"own, after it", false, at(&write{1, false, 20, 20}, 10), 1, 20, 1, true},
		{"own, not delivered", false, at(&write{1, false, 20, never}, 10), 1, 20, 1, true},
		{"own, committed late", false, at(&write{1, false, 20, 20}, 30), 1, 29, 1, false},
		{"own, after a late commit", false, at(&write{1, false, 20, 20}, 30), 1, 30, 1, true},
		{"another's, within the bound", false, at(&write{2, false, 20, 20}, 10), 1, 19 + bound, 1, false},
		{"another's, after it", false, at(&write{2, false, 20, 20}, 10), 1, 20 + bound, 1, true},
		{"another's, not delivered", false, at(&write{2, false, 20, never}, 10), 1, 20 + bound, 1, false},
		{"another's, delivered late", false, at(&write{2, false, 20, 30}, 10), 1, 29 + bound, 1, false},
		{"another's, after that", false, at(&write{2, false, 20, 30}, 10), 1, 30 + bound, 1, true},
		{"another's that has died", false, at(&write{2, false, never, never}, 10), 1, never, 1, false},
		{"guarded, own", true, at(&write{1, false, 20, 20}, 10), 1, 10, 1, true},
		{"guarded, another's", true, at(&write{2, false, 20, 20}, 10), 1, 9 + bound, 1, false},
		{"guarded, another's that has died", true, at(&write{2, false, never, never}, 10), 1, 10 + bound, 1, true},
		{"not guarded after all", true, at(&write{2, true, never, never}, 10), 1, 10 + bound, 1, false},
		{"of nowhere", false, at(&write{1, false, 20, 20}, 10), 1, 0, 3, true},
	} {
		o := newOracle(bound, test.guarded, 1)
		o.rows[1] = append(o.rows[1], test.commit)
		if err := o.judge(test.process, test.began, 1, test.version); (err != nil) != test.stale {
			t.Errorf("%s: judged %v", test.name, err)
		}
	}
}
