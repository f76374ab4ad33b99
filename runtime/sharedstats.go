package cacheruntime

import (
	"sync/atomic"
	"time"
)

// SharedStats is how a cache stands with the others that share its log: see
// [WithShared].
type SharedStats struct {
	Epoch    uint64        // of the log; 0 if none has been read yet
	Position uint64        // up to which it has been applied
	Current  bool          // hits are served: the table was proven current within the bound, or with D = 0 the log could be asked last
	Behind   time.Duration // how long ago the question was sent by which it was proven last; 0 if it has not been, or the table is lost
	Queued   int           // writes whose invalidations are yet to be delivered to other processes

	Appended    uint64 // records of this process
	Applied     uint64 // records, of all
	Proofs      uint64 // times that the log was asked whether there are any
	Epochs      uint64 // that have begun for this process: of what was cached before, nothing was kept
	Failures    uint64 // times that the log could not be asked, told or waited for
	Undelivered uint64 // writes whose invalidations could not be delivered at once
}

// sharedCounts is what has happened, as numbers.
type sharedCounts struct {
	appended, applied, proofs, epochs, failures, undelivered atomic.Uint64
}

// stats returns how the log stands.
func (l *sharedLog) stats() SharedStats {
	l.mu.Lock()
	s := SharedStats{Epoch: l.at.Epoch, Position: l.at.Number, Queued: l.queue.writes + l.sending.writes}
	proven, up := l.table.proven.Load(), l.down == nil
	l.mu.Unlock()
	if now := time.Now(); proven != nil {
		s.Behind = now.Sub(proven.sent)
		s.Current = l.isCurrent(proven, 0, now) && (l.bound > 0 || up)
	}
	s.Appended, s.Applied, s.Proofs = l.counts.appended.Load(), l.counts.applied.Load(), l.counts.proofs.Load()
	s.Epochs, s.Failures, s.Undelivered = l.counts.epochs.Load(), l.counts.failures.Load(), l.counts.undelivered.Load()
	return s
}
