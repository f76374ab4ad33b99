package cacheruntime

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// An Option changes how [New] makes a cache.
type Option func(*options)

type options struct {
	maxBytes      int64
	maxBytesGiven bool
	store         Store
	storeGiven    bool
	logger        *slog.Logger
	loadTimeout   time.Duration
}

// defaultLoadTimeout is the deadline of a load without [WithLoadTimeout].
const defaultLoadTimeout = 30 * time.Second

// WithMaxBytes bounds the memory of the embedded store, in bytes; it is rounded
// down to whole MiB. The default is 256 MiB, the least 1 MiB. Memory is taken as
// entries come, and the oldest entries are given up when it is full. Besides it
// there are about 24 bytes an entry for an index.
//
// The store is divided into up to 256 shards of 4 MiB and more. An entry that
// takes more than half a shard, 2 MiB by default, is not stored and counted as a
// store error.
//
// It cannot be combined with [WithStore].
func WithMaxBytes(n int64) Option {
	return func(o *options) {
		o.maxBytes = n
		o.maxBytesGiven = true
	}
}

// WithStore makes the cache keep its entries in that store instead of the
// embedded one. The cache closes it. It cannot be combined with [WithMaxBytes].
func WithStore(store Store) Option {
	return func(o *options) {
		o.store = store
		o.storeGiven = true
	}
}

// WithLogger makes the cache log there what goes wrong without an error that
// anyone would see: a store that fails, a result that cannot be encoded or
// decoded, a load that panics when no caller waits for it any more. Each kind is
// logged at most once a minute. The default is [slog.Default].
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) { o.logger = logger }
}

// WithLoadTimeout sets the deadline of a load, counted from its beginning; it is
// that of the context which the repository gets. A caller that waits for the
// load may give up before. The default is 30 seconds.
func WithLoadTimeout(d time.Duration) Option {
	return func(o *options) { o.loadTimeout = d }
}

// openStore checks the options and returns the store they ask for.
func (o *options) openStore() (Store, error) {
	switch {
	case o.loadTimeout <= 0:
		return nil, fmt.Errorf("cacheruntime: WithLoadTimeout(%v): must be positive", o.loadTimeout)
	case o.storeGiven && o.store == nil:
		return nil, errors.New("cacheruntime: WithStore(nil): no store")
	case o.storeGiven && o.maxBytesGiven:
		return nil, errors.New("cacheruntime: WithMaxBytes is for the embedded store and cannot be combined with WithStore")
	case o.storeGiven:
		return o.store, nil
	}
	return newBigcacheStore(o.maxBytes)
}
