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

// A TimeoutError is what a call returns whose load outlasts hard. It is a
// context.DeadlineExceeded to errors.Is. The load goes on, and what it returns is
// stored, unless it still reads arguments that the caller may change, or nobody
// else waits for it and it has not got its turn ([WithMaxLoads]).
type TimeoutError struct {
	Repository string
	Method     string
	After      time.Duration // hard
}

// Error names the method and the time.
func (e *TimeoutError) Error() string {
	return fmt.Sprintf("cacheruntime: %s.%s: no result within %v (hard); the load goes on", e.Repository, e.Method, e.After)
}

// Is reports whether target is context.DeadlineExceeded.
func (e *TimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Timeout reports that it is one.
func (e *TimeoutError) Timeout() bool { return true }

// Load answers a call for which [Read.Lookup] has found nothing. Calls for one
// key share a load; it runs in a goroutine of its own and with a deadline of its
// own ([WithLoadTimeout]), with the values of the context of the call that
// started it, and goes on if the callers leave because their contexts end: they
// get the error of their context.
//
// If the load panics, so does every call that waits for it, with a
// [*PanicError].
func (r *Read[V]) Load(ctx context.Context, key *Key, loader Loader[V]) (V, error) {
	if outcome, reason := r.past(key); outcome != "" {
		return r.through(ctx, key, loader, outcome, reason)
	}
	c := call[V]{read: r, stats: r.stats, key: key, infallible: r.cfg.Infallible, sharedArgs: r.cfg.SharedArgs, hard: r.cfg.Hard}
	if !c.prepare(&loader) {
		return r.through(ctx, key, loader, Skipped, ReasonDependency)
	}
	if key.early {
		if value, err, ok := r.answer(key.held, NewDecoder(key.held.payload)); ok {
			c.refresh(ctx, loader)
			c.record(ctx, key.held.outcome(), "", false)
			return value, err
		}
		key.held, key.reason = nil, r.damaged(ctx, key.stripe)
	}
	p := r.patience(ctx, r.cfg.Soft, r.cfg.Hard, c.infallible)
	defer p.stop()
	c.run(ctx, p, loader)
	switch {
	case c.panicked != nil:
		panic(c.panicked)
	case c.isDirect:
		return r.through(ctx, key, loader, c.outcome, c.reason)
	}
	return c.value, c.err
}

// run waits for loads until there is an outcome for the call, or it is done
// waiting.
func (c *call[V]) run(ctx context.Context, p *patience, loader Loader[V]) {
	r := c.read
	newTrip := func() *trip { return r.newTrip(c.key.control, false) }
	for !c.goOn(ctx) {
		if err := ctx.Err(); err != nil && !c.infallible {
			c.leave(ctx, ReasonLeft, err)
			return
		}
		c.board(newTrip)
		if c.starter {
			go r.fly(insideLoad(ctx, r.cache, c.flight.key), c.flight, loader)
		}
		how := c.wait(ctx, p)
		if c.isFor(ctx, how) {
			c.settle(ctx, how, p)
			return
		}
	}
}

// past tells how a call that does not use the cache ends, and why; "" for one
// that does.
func (r *Read[V]) past(key *Key) (Outcome, Reason) {
	switch {
	case key.control.transaction(r.cache) != nil:
		return Bypassed, ReasonTransaction
	case key.control.bypasses():
		return Bypassed, ReasonBypass
	case r.cache.closed.Load():
		return Bypassed, ReasonClosed
	case key.failed:
		return Skipped, ReasonKey
	case key.control.isInside(r.cache, key.buf):
		return Skipped, ReasonInside
	}
	return "", ""
}

// through makes the call without the cache.
func (r *Read[V]) through(ctx context.Context, key *Key, loader Loader[V], outcome Outcome, reason Reason) (V, error) {
	defer r.record(ctx, r.stats, key, outcome, reason, false)
	return loader.Call(ctx)
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
