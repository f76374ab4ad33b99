package cacheruntime

import (
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A sharedLog keeps the table of a cache in step with the log that processes share,
// and enters into the log what this one invalidates. The clock of such a table is the
// number of the last record that has been applied to it, and so are the stamps of
// loads: the words of a record are raised before the clock moves, so a load with a
// stamp cannot be answered from what a record up to that stamp has made stale.
//
// An own record beyond a gap raises its words at once, as its writer must not read
// older data. It does not move the clock: a load that makes a cached read might still
// be answered from what a record in the gap makes stale, and would pass that off under
// a stamp beyond it.
type sharedLog struct {
	cache      *Cache
	shared     Shared
	bound      time.Duration // by which what is served may be behind other processes: D
	flightWait time.Duration // how long a process waits for the load of another; 0 for not at all

	ctx    context.Context // ends when the follower is to
	stop   context.CancelFunc
	wake   chan struct{}  // has room for one: the follower is to look around
	calls  sync.WaitGroup // of shared's methods, and goroutines
	counts sharedCounts

	complained bool   // the follower's: it has logged that it cannot follow
	reason     string // why it could not last

	mu sync.Mutex

	// The table and what it stands for. It is lost when it turns out that the log is
	// not the one it was made from; then nothing is served until another one has been
	// read from a snapshot.
	table     *table
	at        LogPosition
	server    string               // that the table was read from
	recent    [recentRecords]LogID // of the last records, by number
	lost      bool
	condemned uint64    // the epoch that the snapshot is to end, or 0
	retell    retelling // what the log is yet to be told again; until then nothing is served
	closing   bool      // nothing more begins

	// Marks, by their IDs.
	marks map[LogID]*outstanding // in the table
	held  map[LogID]*held        // by calls of this process

	// What the log is told, and whether it can be.
	down      error     // why the log could not be asked or told last, or nil
	mute      error     // why it could not be told last what needs no mark, or nil
	full      error     // why it could not be told last what needs one, or nil
	fullSince time.Time // when that was
	appending int       // appends under way
	queue     undelivered
	sending   undelivered   // what of it the log is being told
	delivery  chan struct{} // has room for one: deliver is in there alone, and waits for the log

	// Questions whether the table is current.
	questions atomic.Uint64 // so far
	next      *proofRound   // the question that is yet to be asked for reads; nil if none waits
	proving   bool          // a goroutine asks them
}

// recentRecords is how many records are known by their IDs after they were applied.
const recentRecords = 1024

func newLogID() (id LogID) {
	cryptorand.Read(id[:]) // which never fails
	return id
}

// append appends a record under an ID of its own, and takes what the log replies. A call
// that fails quickly is made twice, under two IDs, as the first may have appended it.
//
// The error is errLost if the record has been appended to a log that is not the one the
// table is of, or may not be: then this process has no table to enter it into, and others
// may follow another log by now, as when a server answers late that was the primary.
func (l *sharedLog) append(record LogRecord) (appended bool, err error) {
	if !l.begin() {
		return false, errShutDown
	}
	defer l.end()
	q, reply, err := l.send(&record)
	if err != nil && !errors.Is(err, ErrMalformed) && time.Since(q.asked.sent) <= quickly {
		q, reply, err = l.send(&record)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		err = l.appended(&record, &reply)
	}
	foreign := err == nil && (l.lost || reply.Head.Epoch != l.at.Epoch)
	l.heard(err)
	l.noteAppend(record.Mark.ID != LogID{}, err)
	if err != nil {
		return false, err
	}
	l.take(q, reply)
	if foreign {
		return false, errLost
	}
	return reply.Appended, nil
}

// quickly is how soon a call fails that has met a connection which was closed before, as
// by a restart of the server. There may be another connection by now, so it is made again.
const quickly = 50 * time.Millisecond

// A question is what the log is asked, by itself or with a record: what comes after a
// position.
type question struct {
	from  LogPosition
	table *table // whose position that is
	asked *proof
}

// question is the one for what comes after the last record of the table. l.mu is held.
func (l *sharedLog) question() question { return question{l.at, l.table, l.ask()} }

// send appends a record under a new ID.
func (l *sharedLog) send(record *LogRecord) (question, LogReply, error) {
	record.ID = newLogID()
	l.mu.Lock()
	q := l.question()
	if l.appending > 0 {
		// One of those under way brings what there is between. If all did, each would
		// bring the records of all others.
		q.from = LogPosition{}
	}
	l.appending++
	l.mu.Unlock()
	reply, err := l.shared.Append(context.Background(), q.from, *record)
	l.mu.Lock()
	l.appending--
	l.mu.Unlock()
	return q, reply, err
}

// appended applies a record of this process, if it was appended. l.mu is held.
func (l *sharedLog) appended(record *LogRecord, reply *LogReply) error {
	if !reply.Appended && record.OnlyIf != Always {
		return nil
	}
	if !reply.Appended || reply.Head.ID != record.ID || reply.Head.Number == 0 || reply.Head.Number > MaxLogNumber || reply.Head.Epoch == 0 {
		return fmt.Errorf("%w: not the record that was appended", ErrMalformed)
	}
	l.counts.appended.Add(1)
	record.Number = reply.Head.Number
	switch {
	case reply.Head.Epoch != l.at.Epoch:
	case record.Number > l.at.Number:
		l.enter(record)
	case !l.isApplied(record.Number, record.ID):
		l.condemn(l.at.Epoch)
	default:
		// It has been applied, and maybe the end of its mark as well: it must not be
		// entered again.
	}
	return nil
}

// heard notes whether the log could be asked, or told. l.mu is held.
func (l *sharedLog) heard(err error) {
	if err != nil {
		l.counts.failures.Add(1)
		if errors.Is(err, ErrMalformed) {
			l.condemn(l.at.Epoch)
		}
		if l.down == nil {
			l.nudge() // it is to try again, and keep others from it meanwhile
		}
	}
	l.down = err
}

// noteAppend notes whether the log could be told what needs a mark, or what needs none.
// l.mu is held.
func (l *sharedLog) noteAppend(needsMark bool, err error) {
	if needsMark {
		l.full, l.fullSince = err, time.Now()
	}
	if err == nil || !needsMark { // a log that has no room for a mark may take what needs none
		l.mute = err
	}
}

// take applies what the log replied. l.mu is held.
func (l *sharedLog) take(q question, reply LogReply) {
	switch {
	case q.table != l.table && reply.Head.Epoch == q.table.epoch:
		// It is about the table before: that another epoch has begun is known by now.
		return
	case reply.Head.Epoch != l.at.Epoch:
		l.lose()
		return
	case l.lost:
		return
	case !reply.Known && q.from == l.at:
		l.condemn(l.at.Epoch)
		return
	case !reply.Known:
		return // more is known by now
	}
	for i := range reply.Records {
		r := &reply.Records[i]
		switch {
		case r.Number <= l.at.Number:
			if !l.isApplied(r.Number, r.ID) {
				l.condemn(l.at.Epoch)
				return
			}
			continue
		case r.Number != l.at.Number+1, r.Previous != l.at.ID, r.Number > MaxLogNumber:
			l.condemn(l.at.Epoch)
			return
		}
		l.enter(r)
		l.at.Number, l.at.ID = r.Number, r.ID
		l.recent[r.Number%recentRecords] = r.ID
		l.table.clock.Store(r.Number)
		l.counts.applied.Add(1)
	}
	switch {
	case reply.Head.Number > l.at.Number: // there is more
	case !l.isApplied(reply.Head.Number, reply.Head.ID):
		l.condemn(l.at.Epoch)
	default:
		l.proved(q.asked)
	}
}

// isApplied reports whether a record is one that has been applied, as far as that is
// still known.
func (l *sharedLog) isApplied(number uint64, id LogID) bool {
	if number+recentRecords <= l.at.Number {
		return true
	}
	known := l.recent[number%recentRecords]
	return known == id || known == LogID{} // none: it is of before the snapshot
}

// enter applies a record to the words and the marks of the table, but not to its clock.
// A record may be entered twice. l.mu is held.
func (l *sharedLog) enter(r *LogRecord) {
	if l.lost {
		return
	}
	t := l.table
	if r.Mark.ID != (LogID{}) {
		l.addMark(r.Mark)
	}
	for _, slot := range r.Slots {
		raise(&t.words[slot%tableSize], r.Number)
	}
	if r.All {
		raise(&t.cleared, r.Number)
	}
	for _, release := range r.Release {
		delete(l.retell.marks, release.ID)
		if o := l.marks[release.ID]; o != nil {
			delete(l.marks, release.ID)
			t.unmark(marks{o.Slots, o.All}, r.Number)
		}
	}
}

// tableSlots brings slots into the range of the table: distinct and sorted.
func tableSlots(slots []uint32) []uint32 {
	in := make([]uint32, 0, len(slots))
	for _, slot := range slots {
		in = append(in, slot%tableSize)
	}
	return distinct(in)
}

// lose gives the table up: nothing is served until another one is there and proven
// current by a reply to a question that was asked of it. What this process appends
// meanwhile it appends again: see tell. Where the log has gone on to another epoch that is
// enough; where it contradicts what was applied, see condemn. l.mu is held.
func (l *sharedLog) lose() {
	l.table.proven.Store(nil)
	if !l.lost {
		l.lost = true
		l.nudge()
	}
}

// condemn gives the table up, and for all processes an epoch: the log is to begin another
// one. 0 is an epoch that is not known yet, and condemns none. l.mu is held.
func (l *sharedLog) condemn(epoch uint64) {
	if epoch != 0 {
		l.condemned = epoch
	}
	l.lose()
}

// nudge makes the follower look around.
func (l *sharedLog) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// begin announces a call of shared's methods, or a goroutine, that Close waits for.
func (l *sharedLog) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return false
	}
	l.calls.Add(1)
	return true
}

// end ends what begin has announced.
func (l *sharedLog) end() { l.calls.Done() }

var errShutDown = errors.New("the cache is closed")

var errLost = errors.New("the log has begun a new epoch")
