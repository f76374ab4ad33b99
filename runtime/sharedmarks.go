package cacheruntime

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// outstanding is a mark that is in the table, and has not been released.
type outstanding struct {
	LogMark
	due time.Time // when its lease is over, counted from when it was applied
}

// maxLease is the longest lease that is waited for, whoever has made the mark.
const maxLease = 24 * time.Hour

// hold enters a mark into the log. Until it is released nobody serves what depends on
// it. If a lease is renewed, it lasts as long as this process.
func (l *sharedLog) hold(m marks, lease time.Duration, renewed bool) (*held, error) {
	m = marks{tableSlots(m.slots), m.all}.bounded()
	h := &held{marks: m, id: newLogID(), lease: lease, renewed: renewed, renewAt: time.Now().Add(lease / 3)}
	l.mu.Lock()
	record, err := LogRecord{Mark: h.mark()}, l.untold(true)
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

// mark is the mark that the log has of it. l.mu is held.
func (h *held) mark() LogMark {
	return LogMark{ID: h.id, Generation: h.generation, Slots: h.marks.slots, All: h.marks.all, Lease: h.lease}
}

// addMark puts a mark into the table, or renews it. l.mu is held.
func (l *sharedLog) addMark(m LogMark) {
	m.Slots, m.Lease = tableSlots(m.Slots), min(max(m.Lease, 1), maxLease) // whoever has made it
	due := time.Now().Add(m.Lease).Add(rand.N(m.Lease/8 + 1))              // not everybody at once
	if o := l.marks[m.ID]; o != nil {
		if m.Generation != o.Generation { // as in the log, which renewals may reach in another order
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

// renewMarks appends renewals of the marks that calls in progress hold for as long as
// they run.
func (l *sharedLog) renewMarks() error {
	now := time.Now()
	renewals := map[*held]LogRecord{}
	l.mu.Lock()
	for _, h := range l.held {
		if h.renewed && !now.Before(h.renewAt) {
			h.generation++
			renewals[h] = LogRecord{Mark: h.mark()}
		}
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
	return nil
}

// endLeases appends the ends of marks whose leases are over, for a while: there may be many,
// and what comes before it in a step must not wait for all of them.
func (l *sharedLog) endLeases() error {
	now := time.Now()
	var ends []LogRecord
	l.mu.Lock()
	for id, o := range l.marks {
		if now.Before(o.due) || l.renews(id) {
			continue
		}
		ends = append(ends, LogRecord{
			Slots: o.Slots, All: o.All,
			Release: []LogRelease{{o.ID, o.Generation}}, OnlyIf: IfOutstanding,
		})
	}
	l.mu.Unlock()
	for i, r := range ends {
		if i > 0 && time.Since(now) > maxPause {
			break // the others are still due
		}
		if !l.isOutstanding(r.Release[0]) {
			continue // what the others have ended since need not be tried
		}
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
			// It was ended or renewed by a record that is yet to be applied.
			o.due = now.Add(max(o.Lease, maxPause))
		}
		l.mu.Unlock()
	}
	return nil
}

// isOutstanding reports whether a mark is in the table, in the generation of its release.
func (l *sharedLog) isOutstanding(release LogRelease) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.marks[release.ID]
	return o != nil && o.Generation == release.Generation
}

// renews reports whether this process renews a mark. l.mu is held.
func (l *sharedLog) renews(id LogID) bool {
	h := l.held[id]
	return h != nil && h.renewed
}

// untilDue is how long no mark has to be renewed or ended, at most d.
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
		if !l.renews(id) {
			sooner(o.due)
		}
	}
	return max(time.Until(next), 0)
}
