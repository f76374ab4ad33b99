package cachetest

import (
	"slices"
	"sync"
	"testing"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// A Shared is what the caches of several processes share, in memory: a log of
// invalidations and a tier of entries, as Redis keeps them, which fails when the test
// says so. Each [Tier] of it stands for a process, so that one test can have several
// of them, without a server:
//
//	shared := cachetest.NewShared(t)
//	here := cachetest.New(t, cacheruntime.WithShared(shared.Tier()))
//	there := cachetest.New(t, cacheruntime.WithShared(shared.Tier()))
//
// What is written in one of them is seen in the other within the bound of
// [cacheruntime.WithMaxStaleness], whatever goes wrong between them:
//
//	shared.Stall() // nothing gets through, as if the server were paused
//	shared.Heal()
//
// A Shared goes by the system's time. Use it in a bubble of testing/synctest, where
// that takes no time.
type Shared struct {
	t testing.TB

	mu      sync.Mutex
	ended   bool // the test
	server  *server
	entries map[string]sharedEntry
	saved   map[string]sharedEntry
	locks   map[string]sharedLock
	most    int // records in a reply
	link    link
	tiers   []*Tier
	waiting []*request // that have arrived, in this order
}

type sharedEntry struct {
	data []byte // never modified
	ends time.Time
}

type sharedLock struct {
	token string
	ends  time.Time
}

// ended reports whether something that ends then has done so. The zero time is never.
func ended(at time.Time) bool { return !at.IsZero() && !time.Now().Before(at) }

// defaultMost is how many records are in a reply, as from Redis.
const defaultMost = 1000

// NewShared returns one that is empty and works. The test fails if a cache uses it in
// a way that [cacheruntime.Shared] does not allow. When the test ends so do all faults, and
// calls that they held up.
func NewShared(t testing.TB) *Shared {
	s := &Shared{
		t:       t,
		server:  newServer(),
		entries: map[string]sharedEntry{},
		locks:   map[string]sharedLock{},
		most:    defaultMost,
	}
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = true
		s.link = link{}
		for _, t := range s.tiers {
			t.link = link{}
		}
		s.settle()
	})
	return s
}

// Tier returns what one more process has of it. Use each for one cache.
func (s *Shared) Tier() *Tier {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &Tier{shared: s, down: make(chan struct{}), calls: map[string]int{}}
	s.tiers = append(s.tiers, t)
	return t
}

// Cut cuts all processes off, as if the server had died: every call fails at once,
// also those under way. What they asked for and has not arrived is lost.
func (s *Shared) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link.cut = true
	s.drop()
}

// Stall makes nothing get through, as if the server were paused: calls do not return
// until they have waited too long. What they ask for has its effect later, when Heal
// is called, even if nobody waits for it any more.
func (s *Shared) Stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link.stalled = true
}

// Heal ends all that [Shared.Cut], [Shared.Stall], [Tier.Cut] and [Tier.Stall] have
// begun. What was lost stays lost. What [Shared.SetFaults] and [Tier.SetFaults] have
// asked for goes on.
func (s *Shared) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link.heal()
	for _, t := range s.tiers {
		t.link.heal()
	}
	s.settle()
}

// SetFaults says what goes wrong from now on for all processes. If a process has
// faults of its own as well, both happen to its calls, its own ones first. The zero
// Faults are none.
func (s *Shared) SetFaults(faults Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link.faults = faults
}

// Flush loses everything, as FLUSHALL does: the log, the entries and the locks.
func (s *Shared) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server.change(func(log *logState) { *log = *newLogState() })
	clear(s.entries)
	clear(s.locks)
	s.settle()
}

// EvictEntries loses all entries.
func (s *Shared) EvictEntries() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.entries)
}

// DamageEntries makes every entry that is kept now one that cannot be decoded.
func (s *Shared) DamageEntries() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, entry := range s.entries {
		entry.data = slices.Clone(entry.data)
		for i := range entry.data {
			entry.data[i] ^= 0xff
		}
		s.entries[key] = entry
	}
}

// EvictLog loses the log and its state, but not the marks, as a server does that was
// told to evict any key.
func (s *Shared) EvictLog() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server.change(func(log *logState) { log.torn, log.records, log.words = true, nil, nil })
	s.settle()
}

// EvictMarks loses the marks that are outstanding, but not the log. If there were any, a
// new epoch begins, as the log knows their number.
func (s *Shared) EvictMarks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server.change(func(log *logState) {
		log.torn = log.torn || len(log.marks) > 0
		clear(log.marks)
	})
	s.settle()
}

// Trim drops the oldest records of the log and keeps n; one is always kept.
func (s *Shared) Trim(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server.change(func(log *logState) { log.trim(n) })
}

// SetLimits bounds the log and a reply, in records, each at least 1. By default
// the log has no bound, and a reply 1000 records. The log is cut with the next record.
func (s *Shared) SetLimits(log, reply int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server.longest, s.most = max(log, 1), max(reply, 1)
}

// Save keeps a copy of everything, for [Shared.Restart].
func (s *Shared) Save() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server.save()
	s.saved = cloneEntries(s.entries)
}

// Restart starts the server again with what was there at the last [Shared.Save], or
// with nothing. Calls that are under way fail.
func (s *Shared) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server.restart()
	s.entries = cloneEntries(s.saved)
	clear(s.locks)
	s.drop()
	s.settle()
}

// FailOver makes a replica the server. It has not received the last n changes of the
// log, of which up to 1024 can be lost, and takes on positions that were in use with
// records of its own. It has the entries. Calls that are under way fail.
func (s *Shared) FailOver(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server.failOver(n)
	clear(s.locks)
	s.drop()
	s.settle()
}

func cloneEntries(entries map[string]sharedEntry) map[string]sharedEntry {
	cloned := make(map[string]sharedEntry, len(entries))
	for key, entry := range entries {
		cloned[key] = entry
	}
	return cloned
}

// Head returns the position of the last record of the log, or the zero position if
// there is no log that could be used.
func (s *Shared) Head() cacheruntime.LogPosition {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.server.sound() {
		return cacheruntime.LogPosition{}
	}
	return s.server.log.head()
}

// Records returns the records of the log, the oldest first.
func (s *Shared) Records() []cacheruntime.LogRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	var records []cacheruntime.LogRecord
	for _, record := range s.server.log.records {
		records = append(records, cloneRecord(record))
	}
	return records
}

// Marks returns the marks that are outstanding, in the order of their IDs.
func (s *Shared) Marks() []cacheruntime.LogMark {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server.log.outstanding()
}

// Entries returns how many entries there are.
func (s *Shared) Entries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, entry := range s.entries {
		if !ended(entry.ends) {
			n++
		}
	}
	return n
}

// drop breaks all connections. The mutex is locked.
func (s *Shared) drop() {
	for _, t := range s.tiers {
		t.drop()
	}
}

// settle does what has been asked for, as far as it can be done now. The mutex is
// locked.
func (s *Shared) settle() {
	for again := true; again; {
		again = false
		waiting := s.waiting
		s.waiting = nil
		for _, r := range waiting {
			switch {
			case r.down != r.tier.down || r.left && r.call == callWait:
				// The connection broke, or nobody cares.
			case r.tier.link.stalled || s.link.stalled:
				s.waiting = append(s.waiting, r)
			case r.do():
				again = true
				r.reply()
			default:
				s.waiting = append(s.waiting, r)
			}
		}
	}
}

// misused fails the test for what a cache must not do. The mutex is locked.
func (s *Shared) misused(format string, args ...any) {
	if !s.ended {
		s.t.Errorf("cachetest: "+format, args...)
	}
}
