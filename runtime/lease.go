package cacheruntime

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"
)

// A lease is marks that end by themselves unless they are taken over before.
type lease struct {
	cache *Cache
	slots []uint32 // marked, to be released as they are
	timer Timer
	ended atomic.Bool // whoever sets it has the marks to release
}

// lend makes a lease of marks that are there already.
func (c *Cache) lend(slots []uint32, d time.Duration) *lease {
	l := &lease{cache: c, slots: slots}
	l.timer = c.afterFunc(d, l.expire)
	return l
}

// takeOver ends the lease and returns the marked slots for the caller to
// release: none if the lease has ended.
func (l *lease) takeOver() []uint32 {
	if l == nil || l.ended.Swap(true) {
		return nil
	}
	l.timer.Stop()
	return l.slots
}

// expire is called when the time is up. What was loaded under the marks fails the
// test when they are gone: the write may have landed meanwhile.
func (l *lease) expire() {
	if l.ended.Swap(true) {
		return
	}
	l.cache.table.release(l.slots, nil)
	l.cache.byHand.note(context.Background(), 0, countLeaseInvalidations, Event{Outcome: Invalidated, Cause: CauseLease})
}

// settle invalidates what a write made stale, and tells of it.
func (c *Cache) settle(ctx context.Context, stats *methodStats, slots, marked []uint32, cause Cause) {
	c.apply(slots, marked, cause)
	c.tell(ctx, stats, cause)
}

// apply invalidates what a write or a transaction made stale, in one step, and
// releases what was marked for it. If it is in doubt whether there is more to
// come, the slots are marked until a lease ends. It takes the slots over.
func (c *Cache) apply(slots, marked []uint32, cause Cause) {
	switch {
	case cause == CauseAmbiguous:
		slots = distinct(slots)
		c.table.invalidateAndMark(slots)
		c.lend(slots, cmp.Or(c.guardLease, c.doubtLease))
		if marked != nil {
			c.table.release(marked, nil) // the new marks are there: at no time is there none
		}
	case marked != nil:
		c.table.release(marked, slots)
	default:
		c.table.invalidate(slots)
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
