package cacheruntime

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"log"
	"math"
	"sync/atomic"
	"time"

	"github.com/allegro/bigcache/v3"
)

const (
	defaultMaxBytes = 256 << 20
	minMaxBytes     = 1 << 20

	// Memory is divided into shards, each with a lock of its own. An entry must
	// fit into one: fewer and larger shards keep larger entries.
	shardBytes = 4 << 20
	maxShards  = 256

	// bigcacheOverhead is the space an entry takes besides key and value.
	bigcacheOverhead = 8 + 8 + 2 + 5
)

// bigcacheStore keeps entries in memory that the garbage collector does not
// scan.
type bigcacheStore struct {
	cache     atomic.Pointer[bigcache.BigCache] // nil once it is closed
	maxEntry  int
	evictions atomic.Uint64
	onEvict   func(key string, entry []byte) // under the lock of a shard; nil, or set before the first entry is
}

func newBigcacheStore(maxBytes int64) (*bigcacheStore, error) {
	if maxBytes < minMaxBytes {
		return nil, fmt.Errorf("cacheruntime: WithMaxBytes(%d): must be at least %d", maxBytes, minMaxBytes)
	}
	shards := 1
	for shards < maxShards && maxBytes/int64(shards*2) >= shardBytes {
		shards *= 2
	}
	megabytes := maxBytes >> 20
	shard := megabytes << 20 / int64(shards)
	if shard > math.MaxUint32 {
		return nil, fmt.Errorf("cacheruntime: WithMaxBytes(%d): must be at most %d", maxBytes, int64(maxShards)*math.MaxUint32)
	}

	// An entry that takes less than half a shard always finds room. A larger
	// one might push out all others of the shard and then not fit.
	s := &bigcacheStore{maxEntry: int(shard/2) - bigcacheOverhead}
	cache, err := bigcache.New(context.Background(), bigcache.Config{
		Shards:             shards,
		LifeWindow:         math.MaxInt64 * time.Nanosecond, // entries carry their own expiry
		CleanWindow:        0,
		MaxEntriesInWindow: 10 * shards, // what is allocated at once, together with:
		MaxEntrySize:       256,
		HardMaxCacheSize:   int(megabytes),
		Hasher:             seededHasher{maphash.MakeSeed()},
		Logger:             log.New(io.Discard, "", 0),
		OnRemoveWithReason: s.removed,
	}.OnRemoveFilterSet(bigcache.NoSpace))
	if err != nil {
		return nil, err
	}
	s.cache.Store(cache)
	return s, nil
}

// removed is called by bigcache for an entry that it gives up to make room, under
// the lock of its shard. It is not called for what was overwritten before: that has
// lost its hash, by which bigcache knows that it is not the entry of its key any more.
func (s *bigcacheStore) removed(key string, entry []byte, _ bigcache.RemoveReason) {
	s.evictions.Add(1)
	if s.onEvict != nil {
		s.onEvict(key, entry)
	}
}

// seededHasher makes it impossible to choose keys that collide.
type seededHasher struct{ seed maphash.Seed }

func (h seededHasher) Sum64(key string) uint64 {
	// bigcache takes an entry with the hash 0 for one that is deleted.
	return max(1, maphash.String(h.seed, key))
}

func (s *bigcacheStore) Get(key string) (entry []byte, ok bool, err error) {
	cache := s.cache.Load()
	if cache == nil {
		return nil, false, nil
	}
	entry, err = cache.Get(key)
	if err == nil {
		return entry, true, nil
	}
	if err == bigcache.ErrEntryNotFound {
		err = nil
	}
	return nil, false, err
}

func (s *bigcacheStore) Set(key string, entry []byte) error {
	cache := s.cache.Load()
	if cache == nil {
		return nil
	}
	if size := len(key) + len(entry); size > s.maxEntry {
		return fmt.Errorf("an entry of %d bytes is larger than the store keeps (%d): see WithMaxBytes", size, s.maxEntry)
	}
	return cache.Set(key, entry)
}

func (s *bigcacheStore) Reset() error {
	if cache := s.cache.Load(); cache != nil {
		return cache.Reset()
	}
	return nil
}

// Close gives the memory back.
func (s *bigcacheStore) Close() error {
	if cache := s.cache.Swap(nil); cache != nil {
		return cache.Close()
	}
	return nil
}

func (s *bigcacheStore) StoreStats() StoreStats {
	stats := StoreStats{Evictions: s.evictions.Load()}
	if cache := s.cache.Load(); cache != nil {
		stats.Entries = uint64(cache.Len())
		stats.Bytes = uint64(cache.Capacity())
	}
	return stats
}
