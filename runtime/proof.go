package cacheruntime

import (
	"context"
	"fmt"
	"time"
)

// A proof is an answer of the log by which the table is current as of the moment before
// the question was sent.
type proof struct {
	sent time.Time // that moment

	// Questions are numbered. For whether a read began before one was asked its time
	// will not do: a clock may show the same for a while.
	number uint64
}

// ask begins a question. It is to be called before the log is: of what comes later the
// answer proves nothing.
func (l *sharedLog) ask() *proof { return &proof{time.Now(), l.questions.Add(1)} }

// nextQuestion is the number of the first question that begins from now on.
func (l *sharedLog) nextQuestion() uint64 { return l.questions.Load() + 1 }

// nextQuestion is that of the log, 0 in a process of its own.
func (c *Cache) nextQuestion() uint64 {
	if c.log == nil {
		return 0
	}
	return c.log.nextQuestion()
}

// proved notes that the table is current by an answer. l.mu is held.
func (l *sharedLog) proved(by *proof) {
	if l.lost || l.retell.any() {
		return
	}
	if last := l.table.proven.Load(); last == nil || last.number < by.number {
		l.table.proven.Store(by)
	}
}

// prove asks the log what there is, until it is known to the head.
func (l *sharedLog) prove() error {
	if !l.begin() {
		return errShutDown
	}
	defer l.end()
	for {
		l.mu.Lock()
		q, lost := l.question(), l.lost
		l.mu.Unlock()
		if lost {
			return errLost
		}
		reply, err := l.shared.Prove(l.ctx, q.from)
		l.counts.proofs.Add(1)
		l.mu.Lock()
		l.heard(err)
		if err == nil {
			l.take(q, reply)
			if !l.lost && l.table == q.table && l.at == q.from && reply.Head.Number > q.from.Number {
				err = fmt.Errorf("%w: no records where there are some", ErrMalformed)
				l.heard(err)
			}
		}
		lost = l.lost
		ahead := reply.Head.Number > l.at.Number
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

// isCurrent reports whether a table with that proof may be used now: with D = 0 if the
// question that was answered is numbered since or later. Otherwise its age counts, by the
// clock on which it is older: one stands still while a machine is suspended, the other may
// be set.
func (l *sharedLog) isCurrent(proven *proof, since uint64, now time.Time) bool {
	if proven == nil {
		return false
	}
	if l.bound == 0 {
		return proven.number >= since
	}
	return now.Sub(proven.sent) <= l.bound && now.UnixNano()-proven.sent.UnixNano() <= int64(l.bound)
}

// testCurrent tests something for a read: see sharedLog.testCurrent.
func (c *Cache) testCurrent(ctx context.Context, since uint64, test func(*table) Reason) Reason {
	if c.log == nil {
		return test(c.view())
	}
	return c.log.testCurrent(ctx, since, test)
}

// testCurrent returns why something must not be served to a read, or "": what a test of the
// table says, or that the table is not proven current. With D = 0 that takes the answer to a
// question numbered since or later, where since is nextQuestion as of when the read began,
// or 0 for a read that begins now; if there is none yet, testCurrent waits for one. The proof
// is loaded before the test, which then sees all words that it vouches for.
func (l *sharedLog) testCurrent(ctx context.Context, since uint64, test func(*table) Reason) Reason {
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
