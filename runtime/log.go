package cacheruntime

import (
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
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
	cache   *Cache
	shared  Shared
	bound   time.Duration // by which what is served may be behind other processes: D
	flights time.Duration // how long a process waits for the load of another; 0 for not at all

	mu sync.Mutex

	// The table and what it stands for. It is lost when it turns out that the log is
	// not the one it was made from; then nothing is served until another one has been
	// read from a snapshot.
	table     *table
	at        LogPosition
	lost      bool
	condemned uint64                 // the epoch that the snapshot is to end, or 0
	restoring bool                   // marks of the table before are yet to be entered into the new log
	restore   []LogMark              // those
	recent    [recentRecords]LogID   // of the last records, by number
	marks     map[LogID]*outstanding // in the table
	held      map[LogID]*held        // by calls of this process
	queue     undelivered
	sending   undelivered // what of it the log is being told
	down      error       // why the log could not be asked or told last, or nil
	mute      error       // why it could not be told last, or nil
	appending int         // appends under way
	next      *proofRound
	proving   bool
	closing   bool
	calls     sync.WaitGroup // of shared's methods, and goroutines

	delivery chan struct{} // has room for one: there is one at a time

	wake   chan struct{}   // has room for one: the follower is to look around
	ctx    context.Context // ends when the follower is to
	stop   context.CancelFunc
	counts sharedCounts

	questions  atomic.Uint64 // so far
	complained bool          // the follower's: it has logged that it cannot follow
}

// recentRecords is how many records are known by their IDs after they were applied.
const recentRecords = 1024

// maxRecordSlots is the number of slots from which on a record invalidates, or marks,
// everything instead.
const maxRecordSlots = 1 << 11

// maxLease is the longest lease that is waited for, of a mark of others.
const maxLease = 24 * time.Hour

// maxReleases is how many marks a record ends at most. The leases of others end them.
const maxReleases = 1 << 8

// outstanding is a mark that is in the table.
type outstanding struct {
	LogMark
	due time.Time // when its lease is over, counted from when it was applied
}

// undelivered is what the log is yet to be told. Meanwhile it is marked in the table.
type undelivered struct {
	writes  int // that it is of
	stale   marks
	doubt   marks // of it, what is to be marked for a lease
	release []LogRelease
}

func newLogID() (id LogID) {
	cryptorand.Read(id[:]) // which never fails
	return id
}

// logMarks makes the mark of a record.
func logMarks(m marks) (slots []uint32, all bool) {
	if len(m.slots) > maxRecordSlots {
		return nil, true
	}
	return m.slots, m.all
}

// tableSlots brings slots into the range of the table: distinct and sorted.
func tableSlots(slots []uint32) []uint32 {
	in := make([]uint32, 0, len(slots))
	for _, slot := range slots {
		in = append(in, slot%tableSize)
	}
	return distinct(in)
}

func (m marks) union(n marks) marks {
	all := marks{slots: distinct(slices.Concat(m.slots, n.slots)), all: m.all || n.all}
	if len(all.slots) > maxRecordSlots {
		return marks{all: true}
	}
	return all
}

// hold enters a mark into the log. Until it is released nobody serves what depends on
// it. If a lease is renewed, it lasts as long as this process.
func (l *sharedLog) hold(m marks, lease time.Duration, renewed bool) (*held, error) {
	m.slots = tableSlots(m.slots)
	m.slots, m.all = logMarks(m)
	h := &held{marks: m, id: newLogID(), lease: lease, renewed: renewed, renewAt: time.Now().Add(lease / 3)}
	l.mu.Lock()
	record, err := LogRecord{Mark: h.mark()}, l.untold()
	if err == nil {
		l.held[h.id] = h // before it is there: a new epoch must not forget it
	}
	l.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := l.tell(record); err != nil {
		// It may be there, or may yet come to be.
		l.mu.Lock()
		delete(l.held, h.id)
		l.enqueue(marks{}, marks{}, []LogRelease{{ID: h.id}}, 0)
		l.mu.Unlock()
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return h, nil
}

// untold returns why there is no point in telling the log anything now, or nil. l.mu is
// held.
func (l *sharedLog) untold() error {
	switch {
	case l.closing:
		return errShutDown
	case l.down != nil:
		return l.down
	}
	return l.mute
}

// mark is the mark that the log has of it.
func (h *held) mark() LogMark {
	return LogMark{ID: h.id, Generation: h.generation, Slots: h.marks.slots, All: h.marks.all, Lease: h.lease}
}

// apply enters into the log what became stale, and the end of a mark. What is in doubt
// is marked for a lease. If the log cannot be told, it is told later, and the error
// says so; this process serves none of it from now on.
func (l *sharedLog) apply(stale marks, h *held, doubt bool) error {
	stale.slots = tableSlots(stale.slots)
	var release []LogRelease
	if h != nil {
		stale = stale.union(h.marks) // even if its mark was ended by others
		release = []LogRelease{{ID: h.id}}
	}
	if !stale.any() {
		return nil
	}
	stale.slots, stale.all = logMarks(stale)
	record := LogRecord{Slots: stale.slots, All: stale.all, Release: release}
	var doubtful marks
	if doubt {
		doubtful = stale
		record.Mark = l.doubtMark(stale)
	}
	l.mu.Lock()
	if h != nil {
		delete(l.held, h.id)
	}
	err := l.untold()
	l.mu.Unlock()
	if err == nil {
		if err = l.tell(record); err == nil {
			return nil
		}
	}
	l.mu.Lock()
	l.enqueue(stale, doubtful, release, 1)
	l.mu.Unlock()
	l.counts.undelivered.Add(1)
	l.cache.byHand.tell(context.Background(), Event{Outcome: Undelivered, Err: err})
	message := "an invalidation could not be delivered to other processes; it is tried again"
	if err == errShutDown {
		message = "an invalidation is not delivered to other processes: the cache is closed"
	}
	l.cache.problems.report(message, "", "", err)
	return fmt.Errorf("%w: %w", ErrUndelivered, err)
}

func (l *sharedLog) doubtMark(m marks) LogMark {
	return LogMark{ID: newLogID(), Slots: m.slots, All: m.all, Lease: l.cache.doubtLease}
}

// enqueue leaves something to the follower. l.mu is held.
func (l *sharedLog) enqueue(stale, doubt marks, release []LogRelease, writes int) {
	q := &l.queue
	before := q.stale
	q.writes += writes
	q.stale = before.union(stale)
	q.doubt = q.doubt.union(doubt)
	q.release = append(q.release, release...)
	q.release = q.release[:min(len(q.release), maxReleases)]
	l.table.remark(before, q.stale)
	l.nudge()
}

// deliver tells the log what is queued. What is queued meanwhile is another record: if
// it were one with what is being told already, there might be no end to that.
func (l *sharedLog) deliver() error {
	l.delivery <- struct{}{}
	defer func() { <-l.delivery }()
	for {
		l.mu.Lock()
		q := l.queue
		if q.writes == 0 && len(q.release) == 0 {
			l.mu.Unlock()
			return nil
		}
		l.queue, l.sending = undelivered{}, q // its marks stay
		l.mu.Unlock()
		record := LogRecord{Slots: q.stale.slots, All: q.stale.all, Release: q.release}
		if q.doubt.any() {
			record.Mark = l.doubtMark(q.doubt)
		}
		_, err := l.append(record)
		l.mu.Lock()
		l.sending = undelivered{}
		if err != nil {
			l.enqueue(q.stale, q.doubt, q.release, q.writes)
		}
		l.table.remark(q.stale, marks{}) // if it is there, applying it has raised the words
		l.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// tell appends a record to the log that the table is of. If that is another one by the
// time it is appended it is appended once more, as soon as the new table is there.
func (l *sharedLog) tell(record LogRecord) error {
	for range maxTells - 1 {
		if _, err := l.append(record); !errors.Is(err, errLost) {
			return err
		}
		select {
		case <-time.After(minRetry):
		case <-l.ctx.Done():
		}
	}
	_, err := l.append(record)
	return err
}

// maxTells is how often that is tried before it is left to the follower.
const maxTells = 10

// quickly is how soon an error comes of a connection that has been closed. Another one
// may do.
const quickly = 50 * time.Millisecond

// append appends a record, and takes what the log replies. The error is errLost if the
// record is in a log that the table is not of, or may not be of: this process can enter
// it nowhere, and it need not be in the log that others follow by now. A server that was
// the primary, and answers late, is an example.
func (l *sharedLog) append(record LogRecord) (appended bool, err error) {
	if !l.begin() {
		return false, errShutDown
	}
	defer l.end()
	var from LogPosition
	var view *table
	var asked *proof
	var reply LogReply
	for again := false; ; again = true {
		record.ID = newLogID()
		l.mu.Lock()
		from, view = l.at, l.table
		first := l.appending == 0
		if l.appending++; !first {
			// One of those under way brings what there is between. If all did, each
			// would bring the records of all others.
			from = LogPosition{}
		}
		l.mu.Unlock()
		asked = l.ask()
		reply, err = l.shared.Append(context.Background(), from, record)
		if again || err == nil || errors.Is(err, ErrMalformed) || time.Since(asked.since) > quickly {
			break
		}
		l.mu.Lock()
		l.appending--
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		err = l.appended(&record, &reply)
	}
	l.appending--
	foreign := err == nil && (l.lost || reply.Head.Epoch != l.at.Epoch)
	l.heard(err)
	if l.mute = err; err != nil {
		return false, err
	}
	l.take(view, from, reply, asked)
	if foreign {
		return false, errLost
	}
	return reply.Appended, nil
}

// appended applies a record of this process, if it was appended. l.mu is held.
func (l *sharedLog) appended(record *LogRecord, reply *LogReply) error {
	if !reply.Appended && record.OnlyIf != Always {
		return nil
	}
	if !reply.Appended || reply.Head.ID != record.ID || reply.Head.Number == 0 || reply.Head.Number > clockMask || reply.Head.Epoch == 0 {
		return fmt.Errorf("%w: not the record that was appended", ErrMalformed)
	}
	l.counts.appended.Add(1)
	record.Number = reply.Head.Number
	switch {
	case reply.Head.Epoch != l.at.Epoch:
	case record.Number > l.at.Number:
		l.enter(record)
	case !l.isApplied(record.Number, record.ID):
		l.lose(l.at.Epoch)
	default:
		// It has been applied, and maybe the end of its mark as well: it must not be
		// entered again.
	}
	return nil
}

// heard notes whether the log could be asked. l.mu is held.
func (l *sharedLog) heard(err error) {
	if err != nil {
		l.counts.failures.Add(1)
		if errors.Is(err, ErrMalformed) {
			l.lose(l.at.Epoch)
		}
		if l.down == nil {
			l.nudge() // it is to try again, and keep others from it meanwhile
		}
	}
	l.down = err
}

// take applies what a log replied that was asked for what comes after from, for a view.
// l.mu is held.
func (l *sharedLog) take(view *table, from LogPosition, reply LogReply, asked *proof) {
	switch {
	case view != l.table && reply.Head.Epoch == view.epoch:
		// It says nothing about the table that is used now: neither that its epoch is
		// over, nor, if the epoch is the same, that it is current. What this process
		// has appended between that answer and the snapshot it may not have.
		return
	case reply.Head.Epoch != l.at.Epoch:
		l.lose(0)
		return
	case l.lost:
		return
	case !reply.Known && from == l.at:
		l.lose(l.at.Epoch)
		return
	case !reply.Known:
		return // more is known by now
	}
	for i := range reply.Records {
		r := &reply.Records[i]
		switch {
		case r.Number <= l.at.Number:
			if !l.isApplied(r.Number, r.ID) {
				l.lose(l.at.Epoch)
				return
			}
			continue
		case r.Number != l.at.Number+1, r.Previous != l.at.ID, r.Number > clockMask:
			l.lose(l.at.Epoch)
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
		l.lose(l.at.Epoch)
	default:
		l.proved(asked)
	}
}

// isApplied reports whether a record is one that has been applied, as far as that is
// still known.
func (l *sharedLog) isApplied(number uint64, id LogID) bool {
	if number+recentRecords <= l.at.Number {
		return true
	}
	known := l.recent[number%recentRecords]
	return known == id || known == LogID{} // from before the snapshot
}

// A proof is an answer of the log by which the table is current as of the moment before
// the question was sent.
type proof struct {
	since time.Time // that moment

	// Questions are numbered. For whether a read began before one was asked its time
	// will not do: a clock may show the same for a while.
	number uint64
}

// ask begins a question. It is to be called before the log is: of what comes later the
// answer proves nothing.
func (l *sharedLog) ask() *proof { return &proof{time.Now(), l.questions.Add(1)} }

// nextQuestion is the number of the first question that begins from now on.
func (l *sharedLog) nextQuestion() uint64 { return l.questions.Load() + 1 }

// proved notes that the table is current by an answer. l.mu is held.
func (l *sharedLog) proved(by *proof) {
	if l.lost || l.restoring {
		return
	}
	if last := l.table.proven.Load(); last == nil || last.number < by.number {
		l.table.proven.Store(by)
	}
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
		if o := l.marks[release.ID]; o != nil {
			delete(l.marks, release.ID)
			t.unmark(marks{o.Slots, o.All}, r.Number)
		}
	}
}

// addMark puts a mark into the table, or renews it. l.mu is held.
func (l *sharedLog) addMark(m LogMark) {
	m.Slots, m.Lease = tableSlots(m.Slots), min(max(m.Lease, 1), maxLease) // whoever has made it
	due := time.Now().Add(m.Lease).Add(rand.N(m.Lease/8 + 1))              // not everybody at once
	if o := l.marks[m.ID]; o != nil {
		if m.Generation > o.Generation {
			o.Generation, o.due = m.Generation, due
		}
		return
	}
	l.marks[m.ID] = &outstanding{m, due}
	l.table.mark(m.Slots)
	if m.All {
		l.table.markAll()
	}
}

// lose gives the table up: nothing is served until another one is there and proven
// current by a reply to a question that was asked of it. What this process appends
// meanwhile it appends again: see tell. If an epoch is condemned the log is to begin
// another one. l.mu is held.
func (l *sharedLog) lose(condemned uint64) {
	if condemned != 0 {
		l.condemned = condemned
	}
	l.table.proven.Store(nil)
	if !l.lost {
		l.lost = true
		l.nudge()
	}
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

// install makes a table of a snapshot.
func (l *sharedLog) install(s *LogSnapshot) error {
	if s.At.Epoch == 0 || s.At.Number == 0 || s.At.Number > clockMask || len(s.Words) > tableSize || s.Cleared > s.At.Number {
		return fmt.Errorf("%w: snapshot", ErrMalformed)
	}
	if slices.ContainsFunc(s.Marks, func(m LogMark) bool { return m.ID == LogID{} }) {
		return fmt.Errorf("%w: snapshot", ErrMalformed)
	}
	t := newTable()
	t.epoch = s.At.Epoch
	for i, word := range s.Words {
		if word > s.At.Number {
			return fmt.Errorf("%w: snapshot", ErrMalformed)
		}
		if word != 0 {
			t.words[i].Store(word)
		}
	}
	t.cleared.Store(s.Cleared)
	t.clock.Store(s.At.Number)

	before := l.marks
	newEpoch := s.At.Epoch != l.at.Epoch
	l.table, l.at = t, s.At
	l.recent = [recentRecords]LogID{}
	l.recent[s.At.Number%recentRecords] = s.At.ID
	l.marks = map[LogID]*outstanding{}
	for _, m := range s.Marks {
		l.addMark(m)
	}
	// A log that lost its state has lost its marks as well. Every process that knows
	// of them enters them again.
	restore := map[LogID]LogMark{}
	for _, m := range l.restore {
		restore[m.ID] = m
	}
	if newEpoch {
		for id, o := range before {
			restore[id] = o.LogMark
		}
	}
	for id, h := range l.held {
		if newEpoch || before[id] == nil {
			restore[id] = h.mark()
		}
	}
	maps.DeleteFunc(restore, func(id LogID, _ LogMark) bool { return l.marks[id] != nil })
	l.restore = slices.Collect(maps.Values(restore))
	l.restoring = len(l.restore) > 0
	t.remark(marks{}, l.queue.stale)
	t.remark(marks{}, l.sending.stale)
	l.lost, l.condemned = false, 0
	l.cache.current.Store(t)
	if newEpoch {
		l.counts.epochs.Add(1)
	}
	return nil
}
