package cacheruntime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// undelivered is what the log is yet to be told. Meanwhile what is stale is marked in the
// table.
type undelivered struct {
	writes  int // whose invalidations these are; those by hand count as well
	stale   marks
	doubt   marks // the part of stale that is to be marked for a lease
	release []LogRelease
}

// union is what both mark, as one record can have it.
func (m marks) union(n marks) marks {
	return marks{slots: distinct(slices.Concat(m.slots, n.slots)), all: m.all || n.all}.bounded()
}

// bounded is what a record has for marks: everything, if they have more slots than it can.
func (m marks) bounded() marks {
	if len(m.slots) > MaxLogSlots {
		return marks{all: true}
	}
	return m
}

// apply enters into the log what became stale, and the end of a mark. What is in doubt
// is marked for a lease. If the log cannot be told, it is told later, and the error
// says so; this process serves none of it from now on.
func (l *sharedLog) apply(stale marks, h *held, doubt bool) error {
	stale = marks{tableSlots(stale.slots), stale.all}.bounded()
	var release []LogRelease
	if h != nil {
		stale = stale.union(h.marks) // even if its mark was ended by others
		release = []LogRelease{{ID: h.id}}
	}
	if !stale.any() {
		return nil
	}
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
	err := l.untold(doubt)
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

// doubtMark is a new mark of what may still change.
func (l *sharedLog) doubtMark(m marks) LogMark {
	return LogMark{ID: newLogID(), Slots: m.slots, All: m.all, Lease: l.cache.doubtLease}
}

// untold returns why there is no point in telling the log anything now, or what needs a
// mark, or nil. l.mu is held.
func (l *sharedLog) untold(needsMark bool) error {
	switch {
	case l.closing:
		return errShutDown
	case l.down != nil:
		return fmt.Errorf("the log could not be asked or told before: %w", l.down)
	case l.mute != nil:
		return fmt.Errorf("the log could not be told before: %w", l.mute)
	case needsMark && l.full != nil && time.Since(l.fullSince) < maxRetry:
		return fmt.Errorf("the log could not be told of a mark before: %w", l.full)
	}
	return nil
}

// tell appends a record, again for as long as the log that it got into is not the one that
// the table is of: a new table will be there soon.
func (l *sharedLog) tell(record LogRecord) error {
	for tells := 1; ; tells++ {
		_, err := l.append(record)
		if tells == maxTells || !errors.Is(err, errLost) {
			return err
		}
		select {
		case <-time.After(minRetry):
		case <-l.ctx.Done():
		}
	}
}

// maxTells is how often a record is appended before it is left to the follower.
const maxTells = 10

// enqueue leaves something to the follower. l.mu is held.
func (l *sharedLog) enqueue(stale, doubt marks, release []LogRelease, writes int) {
	q := &l.queue
	before := q.stale
	q.writes += writes
	q.stale = before.union(stale)
	q.doubt = q.doubt.union(doubt)
	q.release = append(q.release, release...)
	q.release = q.release[:min(len(q.release), MaxLogReleases)]
	l.table.remark(before, q.stale)
	l.nudge()
}

// deliver tells the log what is queued. What is queued meanwhile is another record: were
// it joined to the one that is under way, that might never be done.
func (l *sharedLog) deliver() error {
	l.delivery <- struct{}{}
	defer func() { <-l.delivery }()
	for split := false; ; {
		l.mu.Lock()
		q := l.queue
		if q.writes == 0 && !q.stale.any() && len(q.release) == 0 {
			l.mu.Unlock()
			return nil
		}
		l.queue = undelivered{} // its marks stay
		// Every other round takes what is in doubt out of the record, for the next round: a
		// log that has no room for a mark is to be told all the same what is stale. The
		// mark comes with the next record, which invalidates again; so do the ends of those
		// that it takes the place of, or there would be none in between.
		if split = !split && q.doubt.any(); split {
			l.enqueue(q.doubt, q.doubt, q.release, q.writes)
			q.doubt, q.release, q.writes = marks{}, nil, 0
		}
		l.sending = q
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
