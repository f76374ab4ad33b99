package cacheruntime

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// A Loader is how one call of a read gets its result from the repository, and
// what is to be known about it. All functions but Call may be nil.
type Loader[V any] struct {
	Call          func(context.Context) (V, error)
	Depends       func(*Tags)           // tags known from the arguments
	DependsResult func(*Tags, V)        // tags known from the result
	Store         func(V) bool          // whether the result is to be stored
	TTL           func(V) time.Duration // lifetime in place of ReadConfig.TTL; not stored unless positive
}

// A PanicError is what callers panic with if the load that they wait for
// panicked.
type PanicError struct {
	Value any    // the load's panic value
	Stack []byte // of the load's goroutine
}

// Error returns the value and the stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("cacheruntime: a load panicked: %v\n\n%s", e.Value, e.Stack)
}

// Unwrap returns the value if it is an error, else nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// newPanicError is to be called while the panic is being recovered from.
func newPanicError(value any) *PanicError {
	if err, ok := value.(*PanicError); ok { // of a read inside the load
		return err
	}
	return &PanicError{Value: value, Stack: debug.Stack()}
}

var errExited = errors.New("cacheruntime: a load ended its goroutine (runtime.Goexit)")

// Load answers a call for which [Read.Lookup] has found nothing. Calls for one
// key share a load; it runs in a goroutine of its own and with a deadline of its
// own ([WithLoadTimeout]), with the values of the context of the call that
// started it, and goes on if the callers leave because their contexts end: they
// get the error of their context.
//
// If the load panics, so does every call that waits for it, with a
// [*PanicError].
func (r *Read[V]) Load(ctx context.Context, key *Key, loader Loader[V]) (V, error) {
	switch {
	case key.control.bypasses():
		return r.through(ctx, key, loader, Bypassed, ReasonBypass)
	case key.control.transaction(r.cache) != nil:
		return r.through(ctx, key, loader, Bypassed, ReasonTransaction)
	case r.cache.closed.Load():
		return r.through(ctx, key, loader, Bypassed, ReasonClosed)
	case key.failed:
		return r.through(ctx, key, loader, Skipped, ReasonKey)
	case key.control.isInside(r.cache, key.buf):
		return r.through(ctx, key, loader, Skipped, ReasonInside)
	}
	var tags Tags
	if loader.Depends != nil && !completes(func() { loader.Depends(&tags) }) {
		return r.through(ctx, key, loader, Skipped, ReasonDependency)
	}
	tags.Add(key.patternTag(r.name, r.sets))
	fresh := key.control.refreshes()
	if fresh {
		key.reason = ReasonRefresh
	}

	before := r.flightsStarted()
	var last *flight[V] // that was not for this call
	for {
		if err := ctx.Err(); err != nil && !r.cfg.Infallible {
			return r.leave(key, Miss, err)
		}
		f, starter := r.board(string(key.buf), last)
		if starter {
			f.fresh = fresh
			f.slots = tags.slots
			go r.fly(insideLoad(ctx, r.cache, f.key), f, loader)
		}
		switch r.wait(ctx, f, starter) {
		case waitedLeft:
			if starter {
				return r.leave(key, Miss, ctx.Err())
			}
			return r.leave(key, Joined, ctx.Err())
		case waitedLate:
			last = nil
			continue
		}
		if starter || r.mayTake(f, before, fresh) {
			return r.take(ctx, key, loader, f, starter)
		}
		last = f
	}
}

// through makes the call without the cache.
func (r *Read[V]) through(ctx context.Context, key *Key, loader Loader[V], outcome Outcome, reason Reason) (V, error) {
	defer r.record(key, outcome, reason, false)
	return loader.Call(ctx)
}

// leave ends a call whose context has ended.
func (r *Read[V]) leave(key *Key, outcome Outcome, err error) (V, error) {
	r.record(key, outcome, ReasonLeft, false)
	var zero V
	return zero, err
}

// mayTake reports whether a caller that joined a flight may have its outcome:
// if the load began after the call did, or if the outcome is one to be stored and
// passes the hit test now, which is after the call began as well. Nobody is handed an outcome just
// because it is for the right key: the caller may have seen a write return that
// the load has not seen.
func (r *Read[V]) mayTake(f *flight[V], before uint64, fresh bool) bool {
	switch {
	case f.panicked != nil || f.exited:
		return true // there is no value that could be stale
	case f.tainted:
		return false
	case fresh:
		return f.fresh && f.loaded && f.number > before
	}
	return f.number > before || f.checkable && f.entry.hitTest(r.cache.table) == ""
}

// take ends a call with the outcome of a flight.
func (r *Read[V]) take(ctx context.Context, key *Key, loader Loader[V], f *flight[V], starter bool) (V, error) {
	outcome, reason := Joined, key.reason
	switch {
	case starter && f.loaded:
		outcome = Miss
	case starter:
		outcome, reason = f.entry.outcome(), ""
	}
	switch {
	case f.panicked != nil:
		r.record(key, outcome, reason, false)
		panic(f.panicked)
	case f.lapsed, f.exited && r.cfg.Infallible:
		return r.through(ctx, key, loader, outcome, reason)
	case f.exited:
		r.record(key, outcome, reason, false)
		var zero V
		return zero, errExited
	}
	value := f.value
	if !starter && !r.cfg.Share {
		var ok bool
		value, ok = r.copyFor(f)
		if !ok && f.err == nil {
			return r.through(ctx, key, loader, Skipped, ReasonUnencodable)
		}
	}
	r.record(key, outcome, reason, f.stored)
	return value, f.err
}

// copyFor makes a copy of a flight's value for a caller that joined.
func (r *Read[V]) copyFor(f *flight[V]) (value V, ok bool) {
	if !f.encoded {
		return value, false
	}
	return r.decode(NewDecoder(f.entry.payload))
}

// completes runs f and reports whether it did not panic.
func completes(f func()) (ok bool) {
	defer func() {
		if !ok {
			recover()
		}
	}()
	f()
	return true
}
