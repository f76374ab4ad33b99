package cacheruntime

import "context"

// A Tx is the cache's side of a database transaction: see [Cache.Begin].
type Tx struct{ cache *Cache }

// Begin begins the cache's side of a database transaction.
func (c *Cache) Begin(ctx context.Context) (context.Context, *Tx) { return ctx, &Tx{c} }

// Commit runs commit, which commits the database's transaction.
func (t *Tx) Commit(commit func() error) error { return commit() }

// End ends the transaction.
func (t *Tx) End() {}
