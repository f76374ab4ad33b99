package cachetest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// A Store is a store for [cacheruntime.WithStore], in memory and without bounds,
// that fails, is slow, and loses or damages entries when the test says so.
type Store struct {
	points *Points // "get" and "set"

	mu       sync.Mutex
	entries  map[string]stored
	order    uint64 // of the entry stored last
	lost     uint64
	getErr   error
	setErr   error
	resetErr error
}

type stored struct {
	data  []byte // never modified: the cache may still use it
	order uint64
}

// NewStore returns an empty store that works. When the test ends, calls that are
// held go on.
func NewStore(t testing.TB) *Store {
	return &Store{points: NewPoints(t), entries: map[string]stored{}}
}

// Get returns the entry of a key.
func (s *Store) Get(key string) (entry []byte, ok bool, err error) {
	s.points.Reach(context.Background(), "get")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.getErr != nil {
		return nil, false, s.getErr
	}
	e, ok := s.entries[key]
	return e.data, ok, nil
}

// Set keeps an entry in place of the one before.
func (s *Store) Set(key string, entry []byte) error {
	s.points.Reach(context.Background(), "set")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.setErr != nil {
		return s.setErr
	}
	s.order++
	s.entries[key] = stored{data: entry, order: s.order}
	return nil
}

// Reset forgets all entries.
func (s *Store) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resetErr != nil {
		return s.resetErr
	}
	clear(s.entries)
	return nil
}

// Close does nothing, so that a test may look at a store whose cache is closed.
func (s *Store) Close() error { return nil }

// StoreStats returns the number of entries, the bytes in them, and how many were
// forgotten with [Store.Forget] and [Store.ForgetAll], as evictions.
func (s *Store) StoreStats() cacheruntime.StoreStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := cacheruntime.StoreStats{Entries: uint64(len(s.entries)), Evictions: s.lost}
	for _, e := range s.entries {
		stats.Bytes += uint64(len(e.data))
	}
	return stats
}

// FailGets makes Get return that error from now on; with nil it works again.
func (s *Store) FailGets(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.getErr = err
}

// FailSets makes Set return that error from now on and keep nothing: what was
// stored before stays. With nil it works again.
func (s *Store) FailSets(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setErr = err
}

// FailResets makes Reset, which Cache.Clear calls, return that error from now on
// and forget nothing; with nil it works again.
func (s *Store) FailResets(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resetErr = err
}

// Heal makes every call work again and lets go those that are held. Entries that
// were lost or damaged stay so.
func (s *Store) Heal() {
	s.mu.Lock()
	s.getErr, s.setErr, s.resetErr = nil, nil, nil
	s.mu.Unlock()
	s.points.Release("get")
	s.points.Release("set")
}

// HoldGets makes every call of Get wait from now on, until release is called,
// which may be done more than once. A Get that goes on returns what there is by
// then.
func (s *Store) HoldGets() (release func()) {
	s.points.Hold("get")
	return func() { s.points.Release("get") }
}

// HoldSets makes every call of Set wait from now on, until release is called,
// which may be done more than once.
func (s *Store) HoldSets() (release func()) {
	s.points.Hold("set")
	return func() { s.points.Release("set") }
}

// WaitGet waits until a call of Get is held. It is to [Store.HoldGets] what
// [Points.Wait] is to [Points.Hold].
func (s *Store) WaitGet() {
	s.points.t.Helper()
	s.points.Wait("get")
}

// WaitSet waits until a call of Set is held. It is to [Store.HoldSets] what
// [Points.Wait] is to [Points.Hold].
func (s *Store) WaitSet() {
	s.points.t.Helper()
	s.points.Wait("set")
}

// Len returns the number of entries, valid or not.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

// Forget loses the n entries that were stored longest ago, as a store that is
// full does, or all if there are no more.
func (s *Store) Forget(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := slices.SortedFunc(maps.Keys(s.entries), func(a, b string) int {
		return cmp.Compare(s.entries[a].order, s.entries[b].order)
	})
	n = min(max(n, 0), len(oldest))
	for _, key := range oldest[:n] {
		delete(s.entries, key)
	}
	s.lost += uint64(n)
}

// ForgetAll loses all entries.
func (s *Store) ForgetAll() { s.Forget(s.Len()) }

// Damage makes every entry that is stored now one that cannot be decoded.
func (s *Store) Damage() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, e := range s.entries {
		data := slices.Clone(e.data)
		for i := range data {
			data[i] ^= 0xff
		}
		s.entries[key] = stored{data: data, order: e.order}
	}
}
