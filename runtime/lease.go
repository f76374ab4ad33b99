package cacheruntime

import (
	"context"
	"sync/atomic"
	"time"
)

// held is marks that a call in progress holds. With a lease they end by themselves
// unless they are taken over before.
type held struct {
	marks marks // to be released as they are

	// In a process of its own.
	cache *Cache
	timer Timer       // nil without a lease
	ended atomic.Bool // whoever sets it has the marks to release

	// In a log that processes share. What changes is guarded by sharedLog.mu.
	id         LogID
	generation uint64 // how often it was renewed
	lease      time.Duration
	renewed    bool      // it is to be, for as long as it is held
	renewAt    time.Time // the next time, if so
}

// marks is what is marked, or is to be.
type marks struct {
	slots []uint32
	all   bool // everything, besides
}

func (m marks) any() bool { return len(m.slots) > 0 || m.all }

// hold marks what is about to be changed, for a lease or, if that is renewed, until the
// marks are given back. In a process of its own that needs no lease: the memory that they
// protect ends with the process.
func (c *Cache) hold(m marks, lease time.Duration, renewed bool) (*held, error) {
	if c.log != nil {
		return c.log.hold(m, lease, renewed)
	}
	c.view().mark(m.slots)
	if m.all {
		c.view().markAll()
	}
	if renewed {
		return &held{cache: c, marks: m}, nil
	}
	return c.lend(m, lease), nil
}

// lend makes a lease of marks that are there already.
func (c *Cache) lend(marked marks, d time.Duration) *held {
	h := &held{cache: c, marks: marked}
	h.timer = c.afterFunc(d, h.expire)
	return h
}

// takeOver ends the lease and returns the marks for the caller to release: none if
// the lease has ended.
func (h *held) takeOver() marks {
	if h == nil || h.ended.Swap(true) {
		return marks{}
	}
	if h.timer != nil {
		h.timer.Stop()
	}
	return h.marks
}

// expire is called when the time is up. What was loaded under the marks fails the
// test when they are gone: the write may have landed meanwhile.
func (h *held) expire() {
	if h.ended.Swap(true) {
		return
	}
	h.cache.release(marks{}, h.marks, CauseLease)
	h.cache.noteLease()
}

// noteLease tells that a lease has ended.
func (c *Cache) noteLease() {
	c.byHand.note(context.Background(), 0, countLeaseInvalidations, Event{Outcome: Invalidated, Cause: CauseLease})
}

// settle invalidates what a write made stale, and tells of it.
func (c *Cache) settle(ctx context.Context, stats *methodStats, slots []uint32, marked *held, cause Cause) error {
	err := c.apply(marks{slots: slots}, marked, cause)
	c.tell(ctx, stats, cause)
	return err
}

// apply invalidates what a write or a transaction made stale, in one step, and
// releases what was marked for it, which invalidates that as well. If it is in
// doubt whether there is more to come, it is all marked until a lease ends. It takes
// the slots over. The error is that other processes are yet to be told.
func (c *Cache) apply(stale marks, marked *held, cause Cause) error {
	if c.log != nil {
		return c.log.apply(stale, marked, cause == CauseAmbiguous)
	}
	c.release(stale, marked.takeOver(), cause)
	return nil
}

// release is apply in the table of a process of its own.
func (c *Cache) release(stale, marked marks, cause Cause) {
	table := c.view()
	stale.slots = distinct(stale.slots) // most are there twice: as before the call and after it
	if cause == CauseAmbiguous && stale.any() {
		if stale.all {
			table.markAll()
		}
		table.invalidateAndMark(stale.slots)
		c.lend(stale, c.doubtLease)
		stale = marks{} // the new marks are there: at no time is there none
	}
	if stale.all && !marked.all {
		table.clear()
	}
	if len(stale.slots) > 0 || len(marked.slots) > 0 {
		table.release(marked.slots, stale.slots)
	}
	if marked.all {
		table.releaseAll()
	}
}

// tell counts what apply has done, and tells observers.
func (c *Cache) tell(ctx context.Context, stats *methodStats, cause Cause) {
	if cause == CauseAmbiguous {
		stats.note(ctx, 0, countMarks, Event{Outcome: Marked})
	}
	stats.note(ctx, 0, causeCount(cause), Event{Outcome: Invalidated, Cause: cause})
}

func causeCount(cause Cause) count {
	switch cause {
	case CauseFailed:
		return countFailedInvalidations
	case CauseAmbiguous:
		return countAmbiguousInvalidations
	case CauseTransaction:
		return countTransactionInvalidations
	}
	return countWriteInvalidations
}
