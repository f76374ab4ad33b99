package cacheruntime

import (
	"context"
	"time"
)

// A Write is a method that changes data, in one wrapper.
type Write struct {
	cache *Cache
	stats *methodStats
}

// NewWrite is called by generated constructors. The repository is identified by
// import path and name, "example.com/blog.PostRepository".
func NewWrite(cache *Cache, repository, method string) *Write {
	return &Write{cache: cache, stats: cache.method(repository, method)}
}

// Begin begins a call. The function adds the tags that it makes stale; it is run
// at once and again by [WriteCall.End], because the call may change what they
// are made of, and both are invalidated. The call is to be made with the context
// that Begin returns.
func (w *Write) Begin(ctx context.Context, tags func(*Tags)) (context.Context, *WriteCall) {
	call := &WriteCall{write: w, collect: tags, trace: controlOf(ctx).tracer()}
	call.tags.write = true
	if call.trace != nil {
		call.began = time.Now()
		call.tags.traced = true
	}
	tags(&call.tags)
	call.tags.result = resultUnknown
	return ctx, call
}

// A WriteCall is one call of a [Write]. It belongs to one goroutine.
type WriteCall struct {
	write   *Write
	collect func(*Tags)
	tags    Tags
	trace   *Trace
	began   time.Time
	reloads []func(context.Context) error
}

// Reload adds a read that [WriteCall.End] makes once it has invalidated, if the
// call succeeded. The context makes it load whatever is cached.
func (c *WriteCall) Reload(read func(context.Context) error) {
	c.reloads = append(c.reloads, read)
}

// Returned tells what the call returned, and returns it. Without it the call
// counts as failed, which is right if it panicked.
func (c *WriteCall) Returned(err error) error {
	if err == nil {
		c.tags.result = resultKnown
	}
	return err
}

// End invalidates. It is to be deferred before the call is made: a call that
// failed, panicked or ended its goroutine may have changed data as well.
func (c *WriteCall) End() {
	defer c.invalidate() // also if collect panics
	c.collect(&c.tags)
}

func (c *WriteCall) invalidate() {
	stats := c.write.stats
	c.write.cache.table.invalidate(c.tags.slots)
	stats.add(0, countWriteInvalidations, 1)
	if c.trace != nil {
		c.trace.add(Event{
			Repository: stats.repository,
			Method:     stats.method,
			Outcome:    Invalidated,
			Tags:       c.tags.sortedNames(),
			Duration:   time.Since(c.began),
		})
	}
}
