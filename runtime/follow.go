package cacheruntime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	// idleProof is how often the log is asked what there is to follow if nobody is to
	// be served from a table that is not proven for every read (D = 0).
	idleProof = time.Second

	// The least time between two questions of the follower is a part of the bound, but
	// not more than this: under constant invalidation the log is asked so often.
	maxPause = 50 * time.Millisecond

	// While the log cannot be asked, it is tried again after times between these.
	minRetry = 10 * time.Millisecond
	maxRetry = time.Second
)

func newSharedLog(c *Cache, shared Shared, bound, flights time.Duration) *sharedLog {
	l := &sharedLog{
		cache: c, shared: shared, bound: bound, flights: flights,
		table: c.view(), lost: true,
		marks: map[LogID]*outstanding{}, held: map[LogID]*held{},
		wake: make(chan struct{}, 1), delivery: make(chan struct{}, 1),
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// start reads the log for the first time, if it can be read, and has it followed.
func (l *sharedLog) start() {
	err := l.step()
	l.report(err)
	l.calls.Add(1)
	go l.follow(err)
}

// report logs what keeps the log from being followed, and when that is over.
func (l *sharedLog) report(err error) {
	switch {
	case l.ctx.Err() != nil:
	case err != nil:
		logged := l.cache.problems.report("the log that processes share cannot be followed; without it reads go to the repository", "", "", err)
		l.complained = l.complained || logged
	case l.complained:
		l.complained = false
		l.cache.problems.isOver("the log that processes share is followed again, and has been told what was queued")
	}
}

// follow keeps the table in step, and proven, until the log is closed.
func (l *sharedLog) follow(err error) {
	defer l.end()
	asked := make(chan LogPosition)
	woken := make(chan struct{}, 1)
	l.calls.Add(1)
	go l.listen(asked, woken)
	defer close(asked)

	pause := min(maxPause, cmp.Or(l.bound, idleProof)/20)
	every := cmp.Or(l.bound/3, idleProof)
	retry := time.Duration(0)
	listening := false
	for {
		wait, wake := l.untilDue(every), l.wake
		if err != nil {
			wake = nil // it is tried again anyway, and not more often for all who want that
			retry = min(max(2*retry, minRetry), maxRetry, max(every, minRetry))
			wait = retry/2 + rand.N(retry/2)
		} else if retry = 0; !listening {
			l.mu.Lock()
			at := l.at
			l.mu.Unlock()
			asked <- at // who is waiting for it
			listening = true
		}
		last := time.Now()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-woken:
			listening = false
			select {
			case <-time.After(time.Until(last.Add(pause))):
			case <-l.ctx.Done():
			}
		case <-wake:
		case <-l.ctx.Done():
		}
		timer.Stop()
		if l.ctx.Err() != nil {
			return
		}
		if err = l.step(); l.ctx.Err() == nil { // else it was called off
			l.report(err)
		}
	}
}

// listen waits for records after a position, each time it is told one.
func (l *sharedLog) listen(asked <-chan LogPosition, woken chan<- struct{}) {
	defer l.end()
	for from := range asked {
		if err := l.shared.Wait(l.ctx, from); err != nil {
			if l.ctx.Err() == nil {
				l.counts.failures.Add(1)
				l.cache.problems.report("nothing wakes this process up when others invalidate; it asks every third of WithMaxStaleness", "", "", err)
			}
			select {
			case <-time.After(maxRetry):
			case <-l.ctx.Done():
			}
		}
		woken <- struct{}{} // there is room: it is told the next position afterwards
	}
}

// step does what there is to be done, again if a new epoch begins meanwhile.
func (l *sharedLog) step() (err error) {
	for range 3 {
		if err = l.stepOnce(); !errors.Is(err, errLost) {
			break
		}
	}
	return err
}

// stepOnce reads a lost table again, tells the log what is queued, ends and renews
// leases, and asks for what is new.
func (l *sharedLog) stepOnce() error {
	if err := l.recover(); err != nil {
		return err
	}
	err := l.deliver()
	if err == nil {
		err = l.endLeases()
	}
	if err == nil {
		l.mu.Lock()
		l.mute = nil
		l.mu.Unlock()
	}
	return cmp.Or(err, l.prove()) // a server that takes nothing may still be asked
}

// recover reads a lost table again, and enters into the new log the marks that it lost.
func (l *sharedLog) recover() error {
	for {
		l.mu.Lock()
		lost, condemned, first := l.lost, l.condemned, l.at == LogPosition{}
		var restore []LogMark
		if !lost {
			restore = l.restore
		}
		l.mu.Unlock()
		switch {
		case lost:
			if err := l.reread(condemned, first); err != nil {
				return err
			}
		case len(restore) > 0:
			if err := l.restoreMarks(restore); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// jitter is the time within which the processes read a table again.
const jitter = 20 * time.Millisecond

func (l *sharedLog) reread(condemned uint64, first bool) error {
	if !l.begin() {
		return errShutDown
	}
	defer l.end()
	if !first {
		// All processes have lost the table at the same time, and it may be large.
		select {
		case <-time.After(rand.N(jitter)):
		case <-l.ctx.Done():
			return errShutDown
		}
	}
	s, err := l.shared.Snapshot(l.ctx, condemned)
	l.mu.Lock()
	if err == nil {
		last := l.at.Epoch
		if err = l.install(&s); err == nil && last != 0 && last != s.At.Epoch {
			l.cache.problems.warn("the log that processes share has begun a new epoch, as after a flush, a restart or a failover of the server: everything is loaded again")
		}
	}
	l.heard(err)
	l.mu.Unlock()
	if !errors.Is(err, ErrMalformed) {
		return err
	}
	// The epoch that is to end may be one that this process knows nothing of.
	epoch := s.At.Epoch
	if epoch == 0 {
		reply, err := l.shared.Prove(l.ctx, LogPosition{})
		if err != nil {
			return err
		}
		epoch = reply.Head.Epoch
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose(epoch)
	return err
}

func (l *sharedLog) restoreMarks(restore []LogMark) error {
	for _, m := range restore {
		if _, err := l.append(LogRecord{Mark: m, OnlyIf: IfAbsent}); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.lost {
		l.restore, l.restoring = nil, false
	}
	return nil
}

// endLeases appends the ends of marks whose leases are over, and renews those that
// calls in progress hold for as long as they run.
func (l *sharedLog) endLeases() error {
	now := time.Now()
	renewals := map[*held]LogRecord{}
	var ends []LogRecord
	l.mu.Lock()
	for _, h := range l.held {
		if h.renewed && !now.Before(h.renewAt) {
			h.generation++
			renewals[h] = LogRecord{Mark: h.mark()}
		}
	}
	for id, o := range l.marks {
		if h := l.held[id]; now.Before(o.due) || h != nil && h.renewed {
			continue
		}
		ends = append(ends, LogRecord{
			Slots: o.Slots, All: o.All,
			Release: []LogRelease{{o.ID, o.Generation}}, OnlyIf: IfOutstanding,
		})
	}
	l.mu.Unlock()
	for h, r := range renewals {
		if _, err := l.append(r); err != nil {
			return err
		}
		l.mu.Lock()
		h.renewAt = now.Add(h.lease / 3)
		if l.held[h.id] == nil {
			// It was released meanwhile, and that may have come first.
			l.enqueue(marks{}, marks{}, []LogRelease{{ID: h.id}}, 0)
		}
		l.mu.Unlock()
	}
	for _, r := range ends {
		appended, err := l.append(r)
		if err != nil {
			return err
		}
		if appended {
			l.cache.noteLease()
			continue
		}
		l.mu.Lock()
		if o := l.marks[r.Release[0].ID]; o != nil && !o.due.After(now) {
			o.due = now.Add(max(o.Lease, maxPause)) // what came of it is yet to be applied
		}
		l.mu.Unlock()
	}
	return nil
}

// untilDue is how long the follower has nothing to do, at most d.
func (l *sharedLog) untilDue(d time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := time.Now().Add(d)
	sooner := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	for _, h := range l.held {
		if h.renewed {
			sooner(h.renewAt)
		}
	}
	for id, o := range l.marks {
		if h := l.held[id]; h == nil || !h.renewed {
			sooner(o.due)
		}
	}
	return max(time.Until(next), 0)
}

// prove asks the log what there is, until it is known to the head.
func (l *sharedLog) prove() error {
	if !l.begin() {
		return errShutDown
	}
	defer l.end()
	for {
		l.mu.Lock()
		from, view := l.at, l.table
		if l.lost {
			l.mu.Unlock()
			return errLost
		}
		l.mu.Unlock()
		asked := l.ask()
		reply, err := l.shared.Prove(l.ctx, from)
		l.counts.proofs.Add(1)
		l.mu.Lock()
		l.heard(err)
		if err == nil {
			l.take(view, from, reply, asked)
			if !l.lost && l.table == view && l.at == from && reply.Head.Number > from.Number {
				err = fmt.Errorf("%w: no records where there are some", ErrMalformed)
				l.heard(err)
			}
		}
		lost, ahead := l.lost, reply.Head.Number > l.at.Number
		l.mu.Unlock()
		switch {
		case err != nil:
			return err
		case lost:
			return errLost
		case !ahead:
			return nil
		}
	}
}

var errLost = errors.New("cacheruntime: the log has begun a new epoch")

// A proofRound is a question that is yet to be asked, for all reads that have begun
// before it is.
type proofRound struct {
	done chan struct{}
	ok   bool
}

// await waits until the table has been proven current as of now or later, by a
// question that serves all who wait for it by the time it is asked. It reports whether
// it was; not if the log could not be asked last, so that nobody waits for a
// server that is down.
func (l *sharedLog) await(ctx context.Context) bool {
	l.mu.Lock()
	if l.down != nil || l.lost || l.closing {
		l.mu.Unlock()
		return false
	}
	if l.next == nil {
		l.next = &proofRound{done: make(chan struct{})}
	}
	round := l.next
	if !l.proving {
		l.proving = true
		l.calls.Add(1)
		go l.proveRounds()
	}
	l.mu.Unlock()
	select {
	case <-round.done:
		return round.ok
	case <-ctx.Done():
		return false
	}
}

// proveRounds asks until nobody waits.
func (l *sharedLog) proveRounds() {
	defer l.end()
	for {
		l.mu.Lock()
		round := l.next
		l.next = nil
		l.proving = round != nil
		l.mu.Unlock()
		if round == nil {
			return
		}
		if round.ok = l.prove() == nil; !round.ok {
			// Who has come meanwhile need not wait as long for the same answer.
			l.mu.Lock()
			if l.next != nil {
				close(l.next.done)
				l.next = nil
			}
			l.mu.Unlock()
		}
		close(round.done)
	}
}

// isCurrent reports whether a table with that proof may be used now: with D = 0 for
// what the questions count from since on. Otherwise time counts, on the larger of two
// clocks: one stands still while a machine is suspended, the other may be set.
func (l *sharedLog) isCurrent(proven *proof, since uint64, now time.Time) bool {
	if proven == nil {
		return false
	}
	if l.bound == 0 {
		return proven.number >= since
	}
	return now.Sub(proven.since) <= l.bound && now.UnixNano()-proven.since.UnixNano() <= int64(l.bound)
}

// nextQuestion is that of the log, 0 in a process of its own.
func (c *Cache) nextQuestion() uint64 {
	if c.log == nil {
		return 0
	}
	return c.log.nextQuestion()
}

// test tests something for a read: see sharedLog.test.
func (c *Cache) test(ctx context.Context, since uint64, test func(*table) Reason) Reason {
	if c.log == nil {
		return test(c.view())
	}
	return c.log.test(ctx, since, test)
}

// test tells why something must not be served to a read: what a test of the table says,
// or that the table is not proven current. With D = 0 it is by a question with a number
// of at least since, nextQuestion when the read began; 0 for a read that begins now. It
// waits for one. The proof is looked at first: it says that the words are there by now.
func (l *sharedLog) test(ctx context.Context, since uint64, test func(*table) Reason) Reason {
	if since == 0 {
		since = l.nextQuestion()
	}
	now := time.Now()
	for asked := false; ; asked = true {
		view := l.cache.view()
		proven := view.proven.Load()
		reason := test(view)
		switch {
		case reason != "" || l.isCurrent(proven, since, now):
			return reason
		case asked || l.bound > 0 || !l.await(ctx):
			return ReasonCutOff
		}
	}
}

// couldServe reports whether an entry that is not there yet could be served now, as far
// as is known.
func (l *sharedLog) couldServe() bool {
	if l.bound > 0 {
		return l.isCurrent(l.cache.view().proven.Load(), 0, time.Now())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down == nil && !l.lost && !l.closing
}

// close ends the follower, tells the log what is queued if that can be done, and
// reports what is left.
func (l *sharedLog) close() error {
	l.stop()
	err := l.deliver()
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.calls.Wait()
	l.mu.Lock()
	left := l.queue.writes
	l.mu.Unlock()
	if left > 0 {
		err = fmt.Errorf("cacheruntime: the %s of %d %s not been delivered to other processes, "+
			"which may serve what they had until it expires: %w", plural(uint64(left), "invalidation", "invalidations"), left,
			plural(uint64(left), "write has", "writes have"), cmp.Or(err, errShutDown))
	} else {
		err = nil
	}
	return joined(err, l.shared.Close())
}

// sharedCounts is what has happened, as numbers.
type sharedCounts struct {
	appended, applied, proofs, epochs, failures, undelivered atomic.Uint64
}

// SharedStats is how a cache stands with the others that share its log: see
// [WithShared].
type SharedStats struct {
	Epoch    uint64        // of the log; 0 if none has been read yet
	Position uint64        // up to which it has been applied
	Current  bool          // hits are served: the log was asked within the bound, or with D = 0 could be asked last
	Behind   time.Duration // how long ago that was; 0 if there is no answer that counts
	Queued   int           // writes whose invalidations are yet to be delivered to other processes

	Appended    uint64 // records of this process
	Applied     uint64 // records, of all
	Proofs      uint64 // times that the log was asked whether there are any
	Epochs      uint64 // that have begun for this process: of what was cached before, nothing was kept
	Failures    uint64 // of the log: it could not be asked or told
	Undelivered uint64 // writes whose invalidations could not be delivered at once
}

// stats returns how the log stands.
func (l *sharedLog) stats() SharedStats {
	l.mu.Lock()
	s := SharedStats{Epoch: l.at.Epoch, Position: l.at.Number, Queued: l.queue.writes + l.sending.writes}
	proven, up := l.table.proven.Load(), l.down == nil
	l.mu.Unlock()
	if now := time.Now(); proven != nil {
		s.Behind = now.Sub(proven.since)
		s.Current = l.isCurrent(proven, 0, now) && (l.bound > 0 || up)
	}
	s.Appended, s.Applied, s.Proofs = l.counts.appended.Load(), l.counts.applied.Load(), l.counts.proofs.Load()
	s.Epochs, s.Failures, s.Undelivered = l.counts.epochs.Load(), l.counts.failures.Load(), l.counts.undelivered.Load()
	return s
}
