package cacheruntime

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// retelling is what a new log may not know. Every process that knows of it tells the log.
type retelling struct {
	stale bool              // everything
	marks map[LogID]LogMark // that were outstanding
}

func (r *retelling) any() bool { return r.stale || len(r.marks) > 0 }

// rebuild reads a lost table again, and tells the new log what it may not know.
func (l *sharedLog) rebuild() error {
	for {
		l.mu.Lock()
		lost, condemned, first := l.lost, l.condemned, l.at == LogPosition{}
		left := l.retell.any()
		l.mu.Unlock()
		switch {
		case lost:
			if err := l.reread(condemned, first); err != nil {
				return err
			}
		case left:
			if err := l.tellAgain(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// rereadWithin is the time over which processes spread their snapshots of a new epoch.
const rereadWithin = 20 * time.Millisecond

// reread makes a table of a snapshot. If that, or the log, is malformed, the next one
// condemns its epoch.
func (l *sharedLog) reread(condemned uint64, first bool) error {
	if !l.begin() {
		return errShutDown
	}
	defer l.end()
	if !first {
		// All processes have lost the table at the same time, and it may be large.
		select {
		case <-time.After(rand.N(rereadWithin)):
		case <-l.ctx.Done():
			return errShutDown
		}
	}
	s, err := l.shared.Snapshot(l.ctx, condemned)
	l.mu.Lock()
	last := l.at.Epoch
	if err == nil {
		err = l.install(&s)
	}
	l.heard(err)
	l.mu.Unlock()
	if err == nil && last != 0 && last != s.At.Epoch { // not under l.mu: the logger may ask the cache for its Stats
		l.cache.problems.warn("the log that processes share has begun a new epoch, as after a flush, a restart or a failover of the server: everything is loaded again")
	}
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
	l.condemn(epoch)
	return err
}

// install puts a snapshot in the place of the table. l.mu is held.
func (l *sharedLog) install(s *LogSnapshot) error {
	t, err := tableOf(s)
	if err != nil {
		return err
	}
	before, newEpoch := l.marks, s.At.Epoch != l.at.Epoch
	// A server that was replaced may have taken records while others read through its
	// successor.
	if newEpoch && l.at.Epoch != 0 && (s.Server != l.server || s.Server == "") {
		l.retell.stale = true
	}
	l.table, l.at, l.server = t, s.At, s.Server
	l.recent = [recentRecords]LogID{}
	l.recent[s.At.Number%recentRecords] = s.At.ID
	l.marks = map[LogID]*outstanding{}
	for _, m := range s.Marks {
		l.addMark(m)
	}
	l.retellMarks(before, newEpoch)
	t.remark(marks{}, l.queue.stale)
	t.remark(marks{}, l.sending.stale)
	l.lost, l.condemned = false, 0
	l.cache.current.Store(t)
	if newEpoch {
		l.counts.epochs.Add(1)
	}
	return nil
}

// tableOf makes a table of a snapshot, without its marks.
func tableOf(s *LogSnapshot) (*table, error) {
	malformed := fmt.Errorf("%w: snapshot", ErrMalformed)
	if s.At.Epoch == 0 || s.At.Number == 0 || s.At.Number > MaxLogNumber || len(s.Words) > tableSize || s.Cleared > s.At.Number {
		return nil, malformed
	}
	if slices.ContainsFunc(s.Marks, func(m LogMark) bool { return m.ID == LogID{} }) {
		return nil, malformed
	}
	t := newTable()
	t.epoch = s.At.Epoch
	for i, word := range s.Words {
		if word > s.At.Number {
			return nil, malformed
		}
		if word != 0 {
			t.words[i].Store(word)
		}
	}
	t.cleared.Store(s.Cleared)
	t.clock.Store(s.At.Number)
	return t, nil
}

// retellMarks notes which marks the log is to be told again. One that lost its state has
// lost its marks as well: every process that knows of them enters them again. l.mu is held.
func (l *sharedLog) retellMarks(before map[LogID]*outstanding, newEpoch bool) {
	again := l.retell.marks
	if newEpoch {
		for id, o := range before {
			again[id] = o.LogMark
		}
	}
	for id, h := range l.held {
		if newEpoch || before[id] == nil {
			again[id] = h.mark()
		}
	}
	maps.DeleteFunc(again, func(id LogID, _ LogMark) bool { return l.marks[id] != nil })
}

// tellAgain tells the new log what it may not know.
func (l *sharedLog) tellAgain() error {
	l.mu.Lock()
	stale, again := l.retell.stale, slices.Collect(maps.Values(l.retell.marks))
	l.mu.Unlock()
	if stale {
		if _, err := l.append(LogRecord{All: true}); err != nil {
			return err
		}
		l.mu.Lock()
		l.retell.stale = false // not once more if a mark cannot be told
		l.mu.Unlock()
	}
	var entered []LogMark // by this process
	for _, m := range again {
		if err := l.renewMarks(); err != nil { // there may be many
			return err
		}
		appended, err := l.append(LogRecord{Mark: m, OnlyIf: IfAbsent})
		if err != nil {
			return err
		}
		if appended {
			entered = append(entered, m)
		}
	}
	// They may be in the log, of others, and not in the table yet. Until they are, they
	// count as untold, as nothing may be served without them.
	if err := l.prove(); err != nil {
		return err
	}
	l.mu.Lock()
	if l.lost {
		l.mu.Unlock()
		return nil
	}
	ended := slices.DeleteFunc(entered, func(m LogMark) bool {
		_, ok := l.retell.marks[m.ID]
		return ok
	})
	for _, m := range again {
		delete(l.retell.marks, m.ID)
	}
	l.mu.Unlock()
	for _, m := range ended { // in a record before the one that has entered it again
		if _, err := l.append(LogRecord{Release: []LogRelease{{m.ID, m.Generation}}, OnlyIf: IfOutstanding}); err != nil {
			return err
		}
	}
	return nil
}
