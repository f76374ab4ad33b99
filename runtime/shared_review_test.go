package cacheruntime

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
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
