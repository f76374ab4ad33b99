package cacheruntime

import (
	"context"
	"sync/atomic"
	"time"
)

// A lease is marks that end by themselves unless they are taken over before.
type lease struct {
	cache *Cache
	marks marks // to be released as they are
	timer Timer
	ended atomic.Bool // whoever sets it has the marks to release
}

// marks is what is marked, or is to be.
type marks struct {
	slots []uint32
	all   bool // everything, besides
}

func (m marks) any() bool { return len(m.slots) > 0 || m.all }

// lend makes a lease of marks that are there already.
func (c *Cache) lend(marked marks, d time.Duration) *lease {
	l := &lease{cache: c, marks: marked}
	l.timer = c.afterFunc(d, l.expire)
	return l
}

// takeOver ends the lease and returns the marks for the caller to release: none if
// the lease has ended.
func (l *lease) takeOver() marks {
	if l == nil || l.ended.Swap(true) {
		return marks{}
	}
	l.timer.Stop()
	return l.marks
}

// expire is called when the time is up. What was loaded under the marks fails the
// test when they are gone: the write may have landed meanwhile.
func (l *lease) expire() {
	if l.ended.Swap(true) {
		return
	}
	l.cache.apply(marks{}, l.marks, CauseLease)
	l.cache.byHand.note(context.Background(), 0, countLeaseInvalidations, Event{Outcome: Invalidated, Cause: CauseLease})
}

// settle invalidates what a write made stale, and tells of it.
func (c *Cache) settle(ctx context.Context, stats *methodStats, slots []uint32, marked marks, cause Cause) {
	c.apply(marks{slots: slots}, marked, cause)
	c.tell(ctx, stats, cause)
}

// apply invalidates what a write or a transaction made stale, in one step, and
// releases what was marked for it, which invalidates that as well. If it is in
// doubt whether there is more to come, it is all marked until a lease ends. It takes
// the slots over.
func (c *Cache) apply(stale, marked marks, cause Cause) {
	stale.slots = distinct(stale.slots) // most are there twice: as before the call and after it
	if cause == CauseAmbiguous && stale.any() {
		if stale.all {
			c.table.markAll()
		}
		c.table.invalidateAndMark(stale.slots)
		c.lend(stale, c.doubtLease)
		stale = marks{} // the new marks are there: at no time is there none
	}
	if stale.all && !marked.all {
		c.table.clear()
	}
	if len(stale.slots) > 0 || len(marked.slots) > 0 {
		c.table.release(marked.slots, stale.slots)
	}
	if marked.all {
		c.table.releaseAll()
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
