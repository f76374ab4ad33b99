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
		wake: make(chan struct{}, 1), delivering: make(chan struct{}, 1),
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

func (l *sharedLog) report(err error) {
	if err != nil && l.ctx.Err() == nil {
		l.cache.problems.report("the log that processes share cannot be followed; without it reads go to the repository", "", "", err)
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
		wait := l.untilDue(every)
		if err != nil {
			retry = min(max(2*retry, minRetry), maxRetry)
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
		case <-l.wake:
			if err != nil {
				select { // it is to be tried again, but not more often for all who want that
				case <-time.After(minRetry):
				case <-l.ctx.Done():
				}
			}
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
			select { // what is wrong, the follower will find out
			case <-time.After(maxRetry):
			case <-l.ctx.Done():
			}
		}
		woken <- struct{}{} // there is room: it is told the next position afterwards
	}
}

// step does what there is to be done: it reads a lost table again, tells the log what
// is queued, ends and renews leases, and asks for what is new.
func (l *sharedLog) step() error {
	if err := l.recover(); err != nil {
		return err
	}
	if err := l.deliver(); err != nil {
		return err
	}
	if err := l.endLeases(); err != nil {
		return err
	}
	_, err := l.prove()
	return err
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
	defer l.mu.Unlock()
	if err == nil {
		err = l.install(&s)
	}
	l.heard(err)
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
	if !l.lost && len(l.restore) == len(restore) && l.restore[0].ID == restore[0].ID {
		l.restore, l.restoring = nil, false
	}
	return nil
}

// endLeases appends the ends of marks whose leases are over, and renews those that
// calls in progress hold for as long as they run.
func (l *sharedLog) endLeases() error {
	now := time.Now()
	var records []LogRecord
	l.mu.Lock()
	for _, h := range l.held {
		if h.renewed && !now.Before(h.renewAt) {
			h.generation++
			h.renewAt = now.Add(h.lease / 3)
			records = append(records, LogRecord{Mark: h.mark()})
		}
	}
	for id, o := range l.marks {
		if h := l.held[id]; now.Before(o.due) || h != nil && h.renewed {
			continue
		}
		o.due = now.Add(max(o.Lease, minRetry)) // if nothing comes of it
		records = append(records, LogRecord{
			Slots: o.Slots, All: o.All,
			Release: []LogRelease{{o.ID, o.Generation}}, OnlyIf: IfOutstanding,
		})
	}
	l.mu.Unlock()
	for _, r := range records {
		appended, err := l.append(r)
		if err != nil {
			return err
		}
		if appended && r.OnlyIf == IfOutstanding {
			l.cache.noteLease()
		}
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

// prove asks the log what there is, until it is known to the head. What it returns is
// when it was asked last: as of then the table is current.
func (l *sharedLog) prove() (since time.Time, err error) {
	if !l.begin() {
		return since, errShutDown
	}
	defer l.end()
	for {
		l.mu.Lock()
		from, asked := l.at, l.table
		if l.lost {
			l.mu.Unlock()
			return since, errLost
		}
		l.mu.Unlock()
		since = time.Now() // before the call: it proves nothing of what came later
		reply, err := l.shared.Prove(l.ctx, from)
		l.counts.proofs.Add(1)
		l.mu.Lock()
		l.heard(err)
		if err == nil {
			l.take(from, asked, reply, since)
		}
		lost, ahead := l.lost, reply.Head.Number > l.at.Number
		l.mu.Unlock()
		switch {
		case err != nil:
			return since, err
		case lost:
			return since, errLost
		case !ahead:
			return since, nil
		case len(reply.Records) == 0:
			return since, fmt.Errorf("%w: no records where there are some", ErrMalformed)
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
		_, err := l.prove()
		round.ok = err == nil
		close(round.done)
	}
}

// isCurrent reports whether a table that was proven current at that time may be
// used for a read that began at another, or is looking at it now.
func (l *sharedLog) isCurrent(proven *time.Time, began, now time.Time) bool {
	if l.bound == 0 {
		return proven != nil && !proven.Before(began)
	}
	return l.isRecent(proven, now)
}

// isRecent reports whether a table that was proven current at that time may be used now,
// if D is not 0. Time counts on the larger of two clocks: one stands still while a
// machine is suspended, the other may be set.
func (l *sharedLog) isRecent(proven *time.Time, now time.Time) bool {
	return proven != nil && now.Sub(*proven) <= l.bound && now.UnixNano()-proven.UnixNano() <= int64(l.bound)
}

// test tests something against the table for a read that is under way.
func (c *Cache) test(ctx context.Context, test func(*table) Reason) Reason {
	if c.log == nil {
		return test(c.view())
	}
	return c.log.test(ctx, time.Time{}, test)
}

// test tests something against the table, for a read that began then, or begins now if
// that is zero. The proof is looked at first: it says that the words are there by now.
func (l *sharedLog) test(ctx context.Context, began time.Time, test func(*table) Reason) Reason {
	now := time.Now()
	if began.IsZero() {
		began = now
	}
	for asked := false; ; asked = true {
		view := l.cache.view()
		proven := view.proven.Load()
		reason := test(view)
		switch {
		case reason != "" || l.isCurrent(proven, began, now):
			return reason
		case asked || l.bound > 0 || !l.await(ctx):
			return ReasonCutOff
		}
	}
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
	left := l.queue.writes + l.sent.writes
	l.mu.Unlock()
	if left > 0 {
		err = fmt.Errorf("cacheruntime: the invalidations of %d writes have not been delivered to other processes, "+
			"which may serve what they had until it expires: %w", left, cmp.Or(err, errShutDown))
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
	Current  bool          // hits are served: it was asked within the bound, and answered
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
	s := SharedStats{Epoch: l.at.Epoch, Position: l.at.Number, Queued: l.queue.writes + l.sent.writes}
	proven := l.table.proven.Load()
	l.mu.Unlock()
	if now := time.Now(); proven != nil {
		s.Behind = now.Sub(*proven)
		s.Current = l.bound == 0 || l.isCurrent(proven, now, now)
	}
	s.Appended, s.Applied, s.Proofs = l.counts.appended.Load(), l.counts.applied.Load(), l.counts.proofs.Load()
	s.Epochs, s.Failures, s.Undelivered = l.counts.epochs.Load(), l.counts.failures.Load(), l.counts.undelivered.Load()
	return s
}
