package cacheruntime

import "errors"

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
