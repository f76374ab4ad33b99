package cacheruntime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"
)

const (
	// idleProof is how often the follower asks the log with D = 0, where each hit asks
	// for itself.
	idleProof = time.Second

	// maxPause is how long the follower waits at most before it asks what has woken it
	// up. So often it asks under constant invalidation, or D/20 apart if that is less.
	maxPause = 50 * time.Millisecond

	// The follower tries a log that fails again after a time between these.
	minRetry = 10 * time.Millisecond
	maxRetry = time.Second
)

// newSharedLog returns what has neither read the log nor follows it: see start.
func newSharedLog(c *Cache, shared Shared, bound, flightWait time.Duration) *sharedLog {
	l := &sharedLog{
		cache: c, shared: shared, bound: bound, flightWait: flightWait,
		table: c.view(), lost: true,
		retell: retelling{marks: map[LogID]LogMark{}},
		marks:  map[LogID]*outstanding{}, held: map[LogID]*held{},
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

// follow keeps the table in step, and proven, until the log is closed.
func (l *sharedLog) follow(err error) {
	defer l.end()
	asked := make(chan LogPosition)
	woken := make(chan struct{}, 1)
	l.calls.Add(1)
	go l.listen(asked, woken)
	defer close(asked)

	pause := min(maxPause, cmp.Or(l.bound, idleProof)/20)
	every := l.interval()
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
			asked <- at // listen is ready for it: it has told of the last one
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

// interval is how often the log is asked at least.
func (l *sharedLog) interval() time.Duration { return cmp.Or(l.bound/3, idleProof) }

// listen waits for records after a position, each time it is told one.
func (l *sharedLog) listen(asked <-chan LogPosition, woken chan<- struct{}) {
	defer l.end()
	for from := range asked {
		if err := l.shared.Wait(l.ctx, from); err != nil {
			if l.ctx.Err() == nil {
				l.counts.failures.Add(1)
				l.mu.Lock()
				down := l.down != nil
				l.mu.Unlock()
				if !down { // else there is worse to be told
					l.cache.problems.report(fmt.Sprintf("nothing wakes this process up when others invalidate; it asks every %v", l.interval().Round(time.Millisecond)), "", "", err)
				}
			}
			select {
			case <-time.After(maxRetry):
			case <-l.ctx.Done():
			}
		}
		woken <- struct{}{} // there is room: it is told the next position afterwards
	}
}

// cannotFollow says that the log cannot be followed, and what that means.
func (l *sharedLog) cannotFollow() string {
	const what = "the log that processes share cannot be followed; without it reads go to the repository"
	if l.bound > 0 {
		return what + " after " + l.bound.String()
	}
	return what
}

// report logs what keeps the log from being followed, also when that changes, and when it
// is over.
func (l *sharedLog) report(err error) {
	problems := &l.cache.problems
	switch {
	case l.ctx.Err() != nil:
	case err != nil:
		if reason := withoutNumbers(err); reason != l.reason {
			l.reason = reason
			problems.hasChanged(l.cannotFollow())
		}
		logged := problems.report(l.cannotFollow(), "", "", err)
		l.complained = l.complained || logged
	case l.complained:
		l.complained, l.reason = false, ""
		problems.isOver("the log that processes share is followed again, and nothing is left to be told")
	}
}

// withoutNumbers is what an error says but for the digits: the port that a connection was
// made from is another one each time, and no other reason.
func withoutNumbers(err error) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, err.Error())
}

// step does what there is to be done, again if a new epoch begins meanwhile, three times
// at most.
func (l *sharedLog) step() (err error) {
	for range 3 {
		if err = l.stepOnce(); !errors.Is(err, errLost) {
			break
		}
	}
	return err
}

// stepOnce reads a lost table again, tells the log what is queued, renews and ends
// marks, and asks for what is new.
func (l *sharedLog) stepOnce() error {
	// A server that takes nothing may still be asked. One that has no room for a mark, be it
	// one to be told again, goes on to take what is stale, and renewals and ends of leases,
	// which make room: nobody else may be there to append them.
	var told error
	for _, tell := range []func() error{l.rebuild, l.deliver} {
		err := tell()
		if told = cmp.Or(told, err); err != nil && l.prove() != nil {
			return told
		}
	}
	told = cmp.Or(told, l.renewMarks(), l.endLeases())
	if told == nil {
		l.mu.Lock()
		l.mute = nil
		l.mu.Unlock()
	}
	return cmp.Or(told, l.prove())
}

// close ends the follower, tells the log what it is yet to be told if that can be done,
// and reports what is left.
func (l *sharedLog) close() error {
	l.stop()
	l.mu.Lock()
	// What another server was to be told, which counts as nobody's invalidation.
	if l.retell.stale {
		l.retell.stale = false // but by deliver
		l.enqueue(marks{all: true}, marks{}, nil, 0)
	}
	l.mu.Unlock()
	err := l.deliver()
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.calls.Wait()
	l.mu.Lock()
	left := l.queue
	left.stale.all = left.stale.all || l.retell.stale // it has gone over meanwhile
	l.mu.Unlock()
	what := ""
	switch {
	case left.writes > 0:
		what = fmt.Sprintf("what %d %s stale", left.writes, plural(uint64(left.writes), "invalidation made", "invalidations made"))
	case left.stale.any():
		what = "what another server was yet to be told of"
	default:
		return l.shared.Close()
	}
	err = fmt.Errorf("%w, and the cache is closed: other processes may serve %s until it expires: %w",
		ErrUndelivered, what, cmp.Or(err, errShutDown))
	return joined(err, l.shared.Close())
}
