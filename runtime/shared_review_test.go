package cacheruntime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// memoryLog is what the caches of a test share.
type memoryLog struct {
	mu      sync.Mutex
	epoch   uint64
	records []LogRecord
	words   []uint64
	cleared uint64
	marks   map[LogID]LogMark
	entries map[string][]byte
	locks   map[string]string
	changed chan struct{} // closed with the next record
}

func newMemoryLog() *memoryLog {
	m := &memoryLog{entries: map[string][]byte{}, locks: map[string]string{}}
	m.begin()
	return m
}

// begin begins a new epoch and forgets the marks. m.mu is held, or not needed yet.
func (m *memoryLog) begin() {
	m.epoch++
	m.records = []LogRecord{{Number: 1, ID: newLogID()}}
	m.words, m.cleared = make([]uint64, tableSize), 0
	m.marks = map[LogID]LogMark{}
	m.changed = make(chan struct{})
}

func (m *memoryLog) head() LogPosition {
	last := m.records[len(m.records)-1]
	return LogPosition{Epoch: m.epoch, Number: last.Number, ID: last.ID}
}

func (m *memoryLog) after(from LogPosition) LogReply {
	reply := LogReply{Head: m.head()}
	if from.Epoch == m.epoch && from.Number <= reply.Head.Number && m.records[from.Number-1].ID == from.ID {
		reply.Known, reply.Records = true, slices.Clone(m.records[from.Number:])
	}
	return reply
}

func (m *memoryLog) append(from LogPosition, r LogRecord) LogReply {
	m.mu.Lock()
	defer m.mu.Unlock()
	appended := true
	switch r.OnlyIf {
	case IfOutstanding:
		mark, ok := m.marks[r.Release[0].ID]
		appended = ok && mark.Generation == r.Release[0].Generation
	case IfAbsent:
		_, there := m.marks[r.Mark.ID]
		appended = !there
	}
	if appended {
		head := m.head()
		r.Number, r.Previous = head.Number+1, head.ID
		m.records = append(m.records, r)
		stale := []LogMark{{Slots: r.Slots, All: r.All}}
		for _, release := range r.Release {
			stale = append(stale, m.marks[release.ID])
			delete(m.marks, release.ID)
		}
		for _, s := range stale {
			for _, slot := range s.Slots {
				m.words[slot%tableSize] = r.Number
			}
			if s.All {
				m.cleared = r.Number
			}
		}
		if r.Mark.ID != (LogID{}) {
			m.marks[r.Mark.ID] = r.Mark
		}
		close(m.changed)
		m.changed = make(chan struct{})
	}
	reply := m.after(from)
	reply.Appended = appended
	return reply
}

func (m *memoryLog) snapshot(condemned uint64) LogSnapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.epoch == condemned {
		marks := m.marks
		m.begin()
		m.marks = marks
	}
	s := LogSnapshot{At: m.head(), Words: slices.Clone(m.words), Cleared: m.cleared}
	for _, mark := range m.marks {
		s.Marks = append(s.Marks, mark)
	}
	return s
}

// flush loses everything.
func (m *memoryLog) flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begin()
	clear(m.entries)
}

func (m *memoryLog) outstanding() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.marks)
}

// memoryTier is what one cache has of a memoryLog, with what a test does to it.
type memoryTier struct {
	*memoryLog
	lockErr    error // of a Lock that takes the lock
	onAppend   atomic.Pointer[func(r LogRecord, do func() LogReply) (LogReply, error)]
	onProve    atomic.Pointer[func(do func() LogReply) (LogReply, error)]
	onSnapshot atomic.Pointer[func(condemned uint64, do func() LogSnapshot) (LogSnapshot, error)]

	appends, proofs, gets atomic.Int64
}

func (m *memoryTier) Append(_ context.Context, from LogPosition, r LogRecord) (LogReply, error) {
	m.appends.Add(1)
	do := func() LogReply { return m.append(from, r) }
	if on := m.onAppend.Load(); on != nil {
		return (*on)(r, do)
	}
	return do(), nil
}

func (m *memoryTier) Prove(ctx context.Context, from LogPosition) (LogReply, error) {
	m.proofs.Add(1)
	do := func() LogReply {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.after(from)
	}
	if err := ctx.Err(); err != nil {
		return LogReply{}, err
	}
	if on := m.onProve.Load(); on != nil {
		return (*on)(do)
	}
	return do(), nil
}

func (m *memoryTier) Snapshot(_ context.Context, condemned uint64) (LogSnapshot, error) {
	do := func() LogSnapshot { return m.snapshot(condemned) }
	if on := m.onSnapshot.Load(); on != nil {
		return (*on)(condemned, do)
	}
	return do(), nil
}

func (m *memoryTier) Wait(ctx context.Context, from LogPosition) error {
	for {
		m.mu.Lock()
		head, changed := m.head(), m.changed
		m.mu.Unlock()
		if head.Number > from.Number {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *memoryTier) Get(_ context.Context, keys []string) ([][]byte, error) {
	m.gets.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	found := make([][]byte, len(keys))
	for i, key := range keys {
		found[i] = slices.Clone(m.entries[key])
	}
	return found, nil
}

func (m *memoryTier) Set(_ context.Context, entries []SharedEntry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range entries {
		m.entries[e.Key] = slices.Clone(e.Entry)
	}
	return nil
}

// Lock takes the lock for as long as the test lasts.
func (m *memoryTier) Lock(_ context.Context, key, token string, _ time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.locks[key]; taken {
		return false, nil
	}
	m.locks[key] = token
	if m.lockErr != nil {
		return false, m.lockErr
	}
	return true, nil
}

func (m *memoryTier) Unlock(_ context.Context, key, token string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[key] == token {
		delete(m.locks, key)
	}
	return nil
}

func (m *memoryTier) Close() error { return nil }

// cut makes the log fail, or not any more.
func (m *memoryTier) cut(is bool) {
	if !is {
		m.onAppend.Store(nil)
		m.onProve.Store(nil)
		m.onSnapshot.Store(nil)
		return
	}
	store(&m.onAppend, func(LogRecord, func() LogReply) (LogReply, error) { return LogReply{}, errDown })
	store(&m.onProve, func(func() LogReply) (LogReply, error) { return LogReply{}, errDown })
	store(&m.onSnapshot, func(uint64, func() LogSnapshot) (LogSnapshot, error) { return LogSnapshot{}, errDown })
}

func store[T any](to *atomic.Pointer[T], value T) { to.Store(&value) }

// newSharing makes posts on a cache of its own that shares a log, with post 7 loaded.
func newSharing(t *testing.T, m *memoryLog, opts ...Option) (*posts, *memoryTier) {
	tier := &memoryTier{memoryLog: m}
	return newTagged(t, append(opts, WithShared(tier))...), tier
}

func (r *posts) expectShared(t *testing.T, what string, ok func(SharedStats) bool) {
	t.Helper()
	if s := r.cache.Stats().Shared; !ok(s) {
		t.Errorf("%s: %+v", what, s)
	}
}

// While writes keep coming, what could not be delivered is delivered once it can be,
// and the writes after it deliver for themselves again.
func TestUndeliveredAreDeliveredUnderConstantWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tier := newSharing(t, newMemoryLog())
		slow := func(_ LogRecord, do func() LogReply) (LogReply, error) {
			advance(2 * time.Millisecond)
			return do(), nil
		}
		tier.cut(true)
		if err := r.cache.Invalidate(t.Context(), authorTag(0)); !errors.Is(err, ErrUndelivered) {
			t.Fatalf("%v, want %v", err, ErrUndelivered)
		}
		var writers sync.WaitGroup
		for i := range int64(2000) {
			writers.Go(func() {
				advance(time.Duration(i) * time.Millisecond)
				r.cache.Invalidate(t.Context(), authorTag(i))
			})
		}
		advance(100 * time.Millisecond)
		tier.cut(false)
		store(&tier.onAppend, slow)
		advance(1500 * time.Millisecond)
		r.expectShared(t, "a second after the outage", func(s SharedStats) bool { return s.Queued == 0 && s.Current })
		undelivered := r.cache.Stats().Shared.Undelivered
		writers.Wait()
		r.expectShared(t, "later", func(s SharedStats) bool { return s.Undelivered == undelivered })
		tier.mu.Lock()
		defer tier.mu.Unlock()
		for _, record := range tier.records {
			if record.All {
				t.Errorf("everything was invalidated")
			}
		}
	})
}

// The reply to a write that has marked comes after the follower has applied the mark
// and ended its lease.
func TestMarkOfALateReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tier := newSharing(t, newMemoryLog())
		store(&tier.onAppend, func(r LogRecord, do func() LogReply) (LogReply, error) {
			reply := do()
			if r.Mark.ID != (LogID{}) {
				advance(2 * defaultDoubtLease)
			}
			return reply, nil
		})
		r.write(t.Context(), broken, postTag(7))
		if n := tier.outstanding(); n != 0 {
			t.Errorf("%d marks are outstanding", n)
		}
		settled(3 * defaultDoubtLease)
		r.title(t.Context(), 7)
		r.expectHit(t, true)
	})
}

// With D = 0 a read that begins when a write in another process has returned sees it,
// even if no time has passed since the log was asked last, as clocks can be coarse.
func TestProofOfTheSameInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryLog()
		r, _ := newSharing(t, m, WithMaxStaleness(0))
		other, _ := newSharing(t, m, WithMaxStaleness(0))
		for i := range 3 {
			r.expectHit(t, true)
			title := fmt.Sprint("new ", i)
			r.set(post{ID: 7, Title: title})
			other.put(t.Context(), post{ID: 7, Title: title}, postTag(7))
			r.expectTitle(t, t.Context(), 7, title)
		}
	})
}

// A table is read again in the same epoch while a write of this process, which the
// snapshot does not have, returns. An answer to a question from before says that this
// table is current as of then.
func TestAnswerAboutAnotherTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tier := newSharing(t, newMemoryLog())
		replied, installing := make(chan struct{}), make(chan struct{})
		store(&tier.onAppend, func(_ LogRecord, do func() LogReply) (LogReply, error) {
			reply := do()
			<-replied
			return reply, nil
		})
		var first sync.WaitGroup
		first.Go(func() { r.cache.Invalidate(t.Context(), authorTag(1)) })
		synctest.Wait()
		tier.onAppend.Store(nil)

		store(&tier.onSnapshot, func(_ uint64, do func() LogSnapshot) (LogSnapshot, error) {
			s := do()
			<-installing
			return s, nil
		})
		store(&tier.onProve, func(func() LogReply) (LogReply, error) { return LogReply{}, nil })
		settled(defaultStaleness / 2) // the log looks lost, and is there again
		r.put(t.Context(), post{ID: 7, Title: "new"}, postTag(7))

		store(&tier.onProve, func(func() LogReply) (LogReply, error) {
			<-t.Context().Done()
			return LogReply{}, errDown
		})
		close(installing)
		synctest.Wait()
		close(replied)
		first.Wait()
		r.expectTitle(t, t.Context(), 7, "new")
		tier.cut(false)
	})
}

// An answer that comes when its epoch is over says nothing about the one that is.
func TestAnswerFromAnotherEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tier := newSharing(t, newMemoryLog())
		replied := make(chan struct{})
		store(&tier.onAppend, func(_ LogRecord, do func() LogReply) (LogReply, error) {
			reply := do()
			<-replied
			return reply, nil
		})
		var first sync.WaitGroup
		first.Go(func() { r.cache.Invalidate(t.Context(), authorTag(1)) })
		synctest.Wait()
		tier.flush()
		settled(defaultStaleness)
		r.title(t.Context(), 7)
		r.expectHit(t, true)
		close(replied)
		first.Wait()
		r.expectHit(t, true)
	})
}

// Marks that no process of ours has made do no harm but that what they mark is not
// served.
func TestForgedMarks(t *testing.T) {
	forged := map[string]LogMark{
		"no lease":            {},
		"a negative lease":    {Lease: -time.Hour},
		"the longest lease":   {Lease: Forever},
		"a short lease":       {Lease: time.Second},
		"slots out of order":  {Lease: time.Second, Slots: []uint32{9, 3, 9}},
		"slots out of bounds": {Lease: time.Second, Slots: []uint32{tableSize + 3, 1<<32 - 1}},
		"a late generation":   {Lease: time.Second, Generation: 1<<64 - 1},
	}
	for name, mark := range forged {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemoryLog()
				r, tier := newSharing(t, m)
				store(&tier.onAppend, func(r LogRecord, do func() LogReply) (LogReply, error) {
					for _, slots := range [][]uint32{r.Slots, r.Mark.Slots} {
						if !slices.IsSorted(slots) || len(slots) > 0 && slots[len(slots)-1] >= tableSize {
							t.Errorf("appended: slots %d", slots)
						}
					}
					return do(), nil
				})
				mark.ID = newLogID()
				if mark.Slots == nil {
					mark.Slots = []uint32{3}
				}
				m.append(LogPosition{}, LogRecord{ID: newLogID(), Mark: mark})
				settled(10 * time.Second)
				r.expectHit(t, true)
				if n := tier.appends.Load(); n > 100 {
					t.Errorf("%d records appended", n)
				}
			})
		})
	}
}

// A log whose head cannot be reached is replaced by another one.
func TestHeadOutOfReach(t *testing.T) {
	forge := map[string]func(*LogReply, LogRecord){
		"no records":         func(*LogReply, LogRecord) {},
		"a record before it": func(reply *LogReply, last LogRecord) { reply.Records = []LogRecord{last} },
	}
	for name, forge := range forge {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemoryLog()
				r, tier := newSharing(t, m)
				epoch := m.epoch
				asked := 0
				store(&tier.onProve, func(do func() LogReply) (LogReply, error) {
					reply := do()
					m.mu.Lock()
					defer m.mu.Unlock()
					if asked++; asked < 1000 && m.epoch == epoch {
						reply.Head.Number += 1000
						forge(&reply, m.records[len(m.records)-1])
					}
					return reply, nil
				})
				settled(2 * time.Second)
				r.title(t.Context(), 7)
				r.expectHit(t, true)
				r.expectShared(t, "a forged head", func(s SharedStats) bool { return s.Epoch == epoch+1 })
				if asked >= 1000 {
					t.Error("the log was asked again and again")
				}
			})
		})
	}
}

// A process that starts when the table of the log is damaged begins another log.
func TestMalformedSnapshotAtStart(t *testing.T) {
	damaged := map[string]func(LogSnapshot) (LogSnapshot, error){
		"found by the cache": func(s LogSnapshot) (LogSnapshot, error) {
			s.Words = []uint64{s.At.Number + 1}
			return s, nil
		},
		"found by the tier": func(s LogSnapshot) (LogSnapshot, error) {
			return LogSnapshot{}, fmt.Errorf("the table: %w", ErrMalformed)
		},
	}
	for name, damage := range damaged {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemoryLog()
				tier := &memoryTier{memoryLog: m}
				epoch := m.epoch
				store(&tier.onSnapshot, func(condemned uint64, do func() LogSnapshot) (LogSnapshot, error) {
					if s := do(); s.At.Epoch != epoch {
						return s, nil
					} else {
						return damage(s)
					}
				})
				r := newTagged(t, WithShared(tier))
				settled(3 * time.Second)
				r.title(t.Context(), 7)
				r.expectHit(t, true)
			})
		})
	}
}

// A guarded write that invalidates nothing marks nothing.
func TestGuardedWriteOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tier := newSharing(t, newMemoryLog(), WithGuardedWrites(time.Minute))
		for range 3 {
			if err := r.write(t.Context(), func(context.Context) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if n, held := tier.appends.Load(), len(r.cache.log.held); n > 0 || held > 0 {
			t.Errorf("%d records appended, %d marks held", n, held)
		}
	})
}

// A server that takes no records, say as its disk is full, can still be asked: what
// other tags stand for goes on to be served.
func TestServerThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tier := newSharing(t, newMemoryLog())
		store(&tier.onAppend, func(LogRecord, func() LogReply) (LogReply, error) { return LogReply{}, errDown })
		if err := r.cache.Invalidate(t.Context(), authorTag(1)); !errors.Is(err, ErrUndelivered) {
			t.Fatalf("%v, want %v", err, ErrUndelivered)
		}
		for range 100 {
			settled(100 * time.Millisecond)
			r.expectHit(t, true)
		}
		appends := tier.appends.Load()
		for range 10 {
			r.cache.Invalidate(t.Context(), authorTag(1))
		}
		if n := tier.appends.Load() - appends; n > 1 {
			t.Errorf("writes have tried %d times to append", n)
		}
		tier.cut(false)
		settled(2 * time.Second)
		r.expectShared(t, "when it takes records", func(s SharedStats) bool { return s.Queued == 0 })
		if err := r.cache.Invalidate(t.Context(), authorTag(1)); err != nil {
			t.Error(err)
		}
	})
}

// After an outage, however many writes were under way, no record ends more marks than
// a tier takes.
func TestManyReleasesToDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, writes = 1 << 12, 1<<12 + 100
		r, tier := newSharing(t, newMemoryLog(), WithGuardedWrites(time.Hour))
		landed := make(chan struct{})
		var writers sync.WaitGroup
		for i := range int64(writes) {
			writers.Go(func() {
				r.write(t.Context(), func(context.Context) error { <-landed; return nil }, authorTag(i%100))
			})
		}
		synctest.Wait()
		tier.cut(true)
		close(landed)
		writers.Wait()
		tier.cut(false)
		store(&tier.onAppend, func(r LogRecord, do func() LogReply) (LogReply, error) {
			if len(r.Release) > most {
				return LogReply{}, errors.New("too many releases")
			}
			return do(), nil
		})
		settled(2 * time.Second)
		r.expectShared(t, "after the outage", func(s SharedStats) bool { return s.Queued == 0 && s.Current })
	})
}

// The end of a lease that could not be entered is entered when it can be, not a
// lease later.
func TestEndOfALeaseInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryLog()
		r, tier := newSharing(t, m)
		m.append(LogPosition{}, LogRecord{ID: newLogID(), Mark: LogMark{ID: newLogID(), Slots: []uint32{3}, Lease: time.Hour}})
		settled(time.Hour - time.Second)
		tier.cut(true)
		settled(10 * time.Minute)
		tier.cut(false)
		settled(10 * time.Second)
		if n := tier.outstanding(); n != 0 {
			t.Errorf("%d marks are outstanding", n)
		}
		r.title(t.Context(), 7)
		r.expectHit(t, true)
	})
}

// A record without a condition that was not appended is not delivered.
func TestRecordThatWasNotAppended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tier := newSharing(t, newMemoryLog())
		store(&tier.onAppend, func(LogRecord, func() LogReply) (LogReply, error) {
			tier.onAppend.Store(nil)
			tier.mu.Lock()
			defer tier.mu.Unlock()
			return LogReply{Head: tier.head(), Known: true}, nil
		})
		if err := r.cache.Invalidate(t.Context(), postTag(7)); !errors.Is(err, ErrUndelivered) {
			t.Errorf("%v, want %v", err, ErrUndelivered)
		}
		settled(time.Second)
		if n := tier.appends.Load(); n < 2 {
			t.Errorf("%d records appended, want another try", n)
		}
	})
}

// A mark is renewed at the moment at which it is released.
func TestRenewalBehindTheRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lease = time.Hour
		r, tier := newSharing(t, newMemoryLog(), WithGuardedWrites(lease))
		released := make(chan struct{})
		store(&tier.onAppend, func(r LogRecord, do func() LogReply) (LogReply, error) {
			if r.Mark.Generation > 0 {
				<-released
			}
			return do(), nil
		})
		ctx, tx := r.cache.Begin(t.Context())
		r.put(ctx, post{ID: 7, Title: "new"}, postTag(7))
		err := tx.Commit(func() error {
			settled(lease/3 + time.Minute)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		close(released)
		settled(time.Minute)
		if n := tier.outstanding(); n != 0 {
			t.Errorf("%d marks are outstanding", n)
		}
	})
}

// While the log cannot be asked, the second tier is not asked for what could not be
// served.
func TestNoSecondTierWhileCutOff(t *testing.T) {
	for _, bound := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r, tier := newSharing(t, newMemoryLog(), WithMaxStaleness(bound))
			many := manyPosts{posts: r, batch: NewBatch[int64](r.read, BatchConfig{Method: "Posts"})}
			r.expectShared(t, "connected", func(s SharedStats) bool { return s.Current })
			tier.cut(true)
			settled(3 * time.Second)
			r.expectShared(t, "cut off", func(s SharedStats) bool { return !s.Current })
			gets := tier.gets.Load()
			r.expectReason(t, ReasonCutOff)
			many.getAll(t.Context(), 7, 8, 9)
			if n := tier.gets.Load() - gets; n > 0 {
				t.Errorf("D = %v: the second tier was asked %d times", bound, n)
			}
			tier.cut(false)
			settled(2 * time.Second)
			r.expectShared(t, "connected again", func(s SharedStats) bool { return s.Current })
			many.getAll(t.Context(), 10, 11)
			if n := tier.gets.Load() - gets; n != 1 {
				t.Errorf("D = %v: the second tier was asked %d times, want 1", bound, n)
			}
		})
	}
}

// What was loaded under an epoch that is over is not shared with others, who may have
// an entry of this one.
func TestEntryOfAnotherEpochIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryLog()
		tier := &memoryTier{memoryLog: m}
		tier.cut(true)
		newTagged(t, WithShared(tier))
		synctest.Wait()
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.entries) > 0 {
			t.Error("an entry is shared that no process can serve")
		}
	})
}

// With D = 0 a batch asks the log no more often for many expired values.
func TestBatchOfStaleValuesAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := &memoryTier{memoryLog: newMemoryLog()}
		m := newManyPosts(t, func(cfg *ReadConfig[*post]) { cfg.TTL, cfg.Stale = time.Minute, time.Hour },
			BatchConfig{}, WithShared(tier), WithMaxStaleness(0))
		ids := []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
		m.getAll(t.Context(), ids...)
		settled(2 * time.Minute)
		m.around = func(context.Context, []int64) error { return errDown }
		proofs := tier.proofs.Load()
		found, err := m.getAll(t.Context(), ids...)
		if err != nil || len(found) != len(ids) {
			t.Fatal(found, err)
		}
		if n := tier.proofs.Load() - proofs; n > 3 {
			t.Errorf("the log was asked %d times", n)
		}
	})
}

// A method that returns no error cannot be refused: that it was not guarded is logged.
func TestUnguardedAnyway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newTestLogger()
		r, tier := newSharing(t, newMemoryLog(), WithGuardedWrites(time.Minute), WithLogger(log.Logger))
		tier.cut(true)
		settled(time.Second)
		r.put(t.Context(), post{ID: 7, Title: "new"}, postTag(7))
		r.expectTitle(t, t.Context(), 7, "new")
		if !slices.ContainsFunc(log.messages(), func(s string) bool {
			return strings.Contains(s, "guarded") && strings.Contains(s, "Update")
		}) {
			t.Errorf("nothing is logged of it: %q", log.messages())
		}
		tier.cut(false)
	})
}

// In an outage the log is not tried more often for what is queued, and for those who
// write.
func TestOutageWithWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tier := newSharing(t, newMemoryLog())
		tier.cut(true)
		appends, proofs := tier.appends.Load(), tier.proofs.Load()
		for i := range int64(3000) {
			r.cache.Invalidate(t.Context(), authorTag(i))
			advance(10 * time.Millisecond)
		}
		for what, n := range map[string]int64{"told": tier.appends.Load() - appends, "asked": tier.proofs.Load() - proofs} {
			if n < 30 || n > 300 {
				t.Errorf("the log was %s %d times in 30 s", what, n)
			}
		}
		tier.cut(false)
		settled(2 * time.Second)
		r.expectShared(t, "after the outage", func(s SharedStats) bool { return s.Queued == 0 && s.Current })
	})
}

// A lock of which it is not known whether it was taken is given back, or other
// processes would wait for it.
func TestLockThatMayBeTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryLog()
		tier := &memoryTier{memoryLog: m, lockErr: errDown}
		newTagged(t, WithShared(tier), WithSharedFlights(time.Minute))
		synctest.Wait()
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.locks) > 0 {
			t.Error("the lock is not given back")
		}
	})
}

// An entry whose value cannot be decoded is one that the second tier did not have.
func TestSharedMissOfADamagedEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryLog()
		newSharing(t, m)
		synctest.Wait()
		for key, data := range m.entries {
			var e entry
			if !e.open(data) {
				t.Fatal("no entry")
			}
			e.payload = []byte{0xff}
			m.entries[key] = appendEntry(nil, &e)
		}
		r, _ := newSharing(t, m)
		if s := r.cache.Stats(); s.SharedMisses != 1 || s.Undecodable != 1 {
			t.Errorf("%+v", s.Counts)
		}
	})
}
