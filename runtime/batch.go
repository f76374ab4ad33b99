package cacheruntime

import (
	"context"
	"time"
)

// BatchConfig is the policy of a memoized method that reads many at once.
type BatchConfig struct {
	Method string // "Posts"; the repository is that of the read of one

	Size int           // most ids of one load; 0 for no limit
	Soft time.Duration // as in ReadConfig
	Hard time.Duration

	Infallible bool // the method returns no error
	SharedArgs bool // as in ReadConfig
}

// A Batch is a memoized method that reads many at once, in one wrapper. It shares
// its entries with the read of one.
type Batch[K, V any] struct {
	read *Read[V]
	cfg  BatchConfig
}

// NewBatch is called by generated constructors.
func NewBatch[K, V any](read *Read[V], cfg BatchConfig) *Batch[K, V] {
	return &Batch[K, V]{read: read, cfg: cfg}
}

// A BatchLoader is how one call of a batch gets its results from the repository.
// Cached may be nil.
type BatchLoader[K, V any] struct {
	Key    func(key *Key, id K) // adds what the key of the read of one has, vary parts included
	Cached func(id K) bool      // whether the read of one would use the cache for the id
	Policy func(id K) Loader[V] // what is known about the result for the id; without Call
	Call   func(ctx context.Context, ids []K, found func(id K, value V)) error
}

// A Found is a result of a batch.
type Found[K, V any] struct {
	ID    K
	Value V
}

// Load answers a call with what exists of ids, in their order.
func (b *Batch[K, V]) Load(ctx context.Context, ids []K, loader BatchLoader[K, V]) ([]Found[K, V], error) {
	var found []Found[K, V]
	err := loader.Call(ctx, ids, func(id K, value V) { found = append(found, Found[K, V]{id, value}) })
	return found, err
}
