package cacheruntime

import (
	"context"
	"slices"
)

// control is what a context says about the calls made with it. It is never
// modified once it is in a context, so that one look-up per call is enough.
type control struct {
	bypass  bool
	refresh bool
	reload  bool // after a write, for those to come: see WriteCall.Reload
	trace   *Trace
	inside  *loadChain
	tx      *Tx // the innermost, ended or not, of any cache
}

// A loadChain is the load in which a call is made, and those around it.
type loadChain struct {
	cache *Cache
	keys  []string // several for a batch
	outer *loadChain
}

type controlKey struct{}

func controlOf(ctx context.Context) *control {
	c, _ := ctx.Value(controlKey{}).(*control)
	return c
}

// withControl returns a context whose control is changed.
func withControl(ctx context.Context, change func(*control)) context.Context {
	next := new(control)
	if c := controlOf(ctx); c != nil {
		*next = *c
	}
	change(next)
	return context.WithValue(ctx, controlKey{}, next)
}

// Bypass returns a context with which reads neither read nor fill the cache: they
// call the repository. Writes still invalidate. It prevails over [Refresh].
func Bypass(ctx context.Context) context.Context {
	return withControl(ctx, func(c *control) { c.bypass = true })
}

// Refresh returns a context with which reads load, whatever is cached, and store
// what they load. The load begins after the call does; calls made with such a
// context at the same time share one. Once the result is stored, reads see no less than
// there was when the call began, even of what changed past the wrappers. Reads that a
// load makes with the context it is given do the same.
func Refresh(ctx context.Context) context.Context {
	return withControl(ctx, func(c *control) { c.refresh = true })
}

// WithTrace returns a context with which calls of reads and writes are recorded
// in the trace. A context that is traced already gets a trace of its own, and
// the outer one records nothing of it.
func WithTrace(ctx context.Context) (context.Context, *Trace) {
	trace := new(Trace)
	return withControl(ctx, func(c *control) { c.trace = trace }), trace
}

func (c *control) bypasses() bool  { return c != nil && c.bypass }
func (c *control) refreshes() bool { return c != nil && c.refresh }
func (c *control) reloads() bool   { return c != nil && c.reload }

// looksUp reports whether a read looks into the cache.
func (c *control) looksUp(cache *Cache) bool {
	return c == nil || !c.bypass && !c.refresh && c.transaction(cache) == nil
}

func (c *control) tracer() *Trace {
	if c == nil {
		return nil
	}
	return c.trace
}

// isInside reports whether the call is made inside a load of the key.
func (c *control) isInside(cache *Cache, key []byte) bool {
	if c == nil {
		return false
	}
	for chain := c.inside; chain != nil; chain = chain.outer {
		if chain.cache == cache && slices.Contains(chain.keys, string(key)) {
			return true
		}
	}
	return false
}

// isInsideAny reports whether the call is made inside a load of the cache.
func (c *control) isInsideAny(cache *Cache) bool {
	if c == nil {
		return false
	}
	for chain := c.inside; chain != nil; chain = chain.outer {
		if chain.cache == cache {
			return true
		}
	}
	return false
}

// LoadBetween reports whether a load has begun between two contexts of which inner
// comes from outer: inner, or one that it comes from, is what a read of some cache gave
// to the repository to load with. What is read with it then is stored and shared
// with others, who must not see what is for the owner of outer alone, such as the
// uncommitted data of a transaction. It is for packages like sqltx that put a
// transaction into contexts; reads of the cache whose transaction it is load nothing in
// it ([Cache.Begin]), but those of other caches do.
func LoadBetween(outer, inner context.Context) bool {
	return controlOf(outer).load() != controlOf(inner).load()
}

// load returns the innermost load in which the call is made, or nil.
func (c *control) load() *loadChain {
	if c == nil {
		return nil
	}
	return c.inside
}

// insideLoad returns the context of a load of the keys: that of the caller, but
// without its cancellation and deadline.
func insideLoad(ctx context.Context, cache *Cache, keys ...string) context.Context {
	return withControl(context.WithoutCancel(ctx), func(c *control) {
		c.inside = &loadChain{cache: cache, keys: keys, outer: c.inside}
	})
}
