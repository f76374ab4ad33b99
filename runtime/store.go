package cacheruntime

import (
	"context"
	"errors"
	"sync"
)

// errStorePanicked stands for what a store that panics did not return.
var errStorePanicked = errors.New("cacheruntime: the store panicked")

// A Store keeps entries as bytes. It may forget any of them at any time, and
// need not know about expiry or invalidation: entries carry what decides
// whether they are served. Its methods are called concurrently, also while and
// after it is closed.
//
// Errors are misses, or entries that are not stored; they are counted, and
// logged at most once a minute.
type Store interface {
	// Get returns the entry of a key. The entry must stay as it is while the
	// caller uses it, for any length of time: a store that reuses its memory
	// returns a copy. The key is valid only during the call.
	Get(key string) (entry []byte, ok bool, err error)
	// Set keeps an entry in place of the one before. Key and entry are the
	// store's to keep.
	Set(key string, entry []byte) error
	// Reset forgets all entries.
	Reset() error
	// Close is called once, by Cache.Close.
	Close() error
}

// A StoreReporter is a [Store] that knows its size.
type StoreReporter interface {
	StoreStats() StoreStats
}

// StoreStats is the size of a store.
type StoreStats struct {
	Entries   uint64 // kept now, valid or not
	Bytes     uint64 // of memory held for entries, used or not
	Evictions uint64 // entries given up for lack of space, so far
}

// get gets an entry from the store. One that panics has failed.
func (c *Cache) get(key string) (entry []byte, ok bool, err error) {
	if c.embedded != nil {
		return c.embedded.Get(key) // which does not panic
	}
	return c.guardedGet(key)
}

func (c *Cache) guardedGet(key string) (entry []byte, ok bool, err error) {
	defer func() {
		if recover() != nil {
			entry, ok, err = nil, false, errStorePanicked
		}
	}()
	return c.store.Get(key)
}

// set keeps an entry in the store, and tells observers what was given up for it.
func (c *Cache) set(ctx context.Context, key string, entry []byte) error {
	defer c.tellEvictions(ctx)
	return c.store.Set(key, entry)
}

// evictions are those of which observers are still to be told.
type evictions struct {
	mu sync.Mutex
	of []*methodStats
}

// countEviction counts an entry that the embedded store has given up. It is called
// under a lock of the store: an observer that read the cache could not be told here.
func (c *Cache) countEviction(key string, data []byte) {
	var e entry
	if e.parse(data) && e.flags&flagLong != 0 {
		key = string(e.key) // the store has its digest
	}
	m := c.byHand // for an entry of which no method is known
	if id := [8]byte{}; len(key) >= len(id) {
		copy(id[:], key)
		if method, ok := c.methodsByID.Load(id); ok {
			m = method.(*methodStats)
		}
	}
	m.add(0, countEvictions, 1)
	if c.observer == nil {
		return
	}
	c.evicted.mu.Lock()
	defer c.evicted.mu.Unlock()
	c.evicted.of = append(c.evicted.of, m)
}

// tellEvictions tells observers what was evicted since it was last called. The
// context is that of the load whose entry took the room, or of one that stored its
// entry at the same time.
func (c *Cache) tellEvictions(ctx context.Context) {
	if c.observer == nil {
		return
	}
	c.evicted.mu.Lock()
	of := c.evicted.of
	c.evicted.of = nil
	c.evicted.mu.Unlock()
	for _, m := range of {
		m.tell(ctx, Event{Outcome: Evicted})
	}
}
