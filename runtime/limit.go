package cacheruntime

import (
	"context"
	"errors"
	"fmt"
)

// A trip is one call of the repository, for one flight or, in a batch, several.
// Its fields are guarded by Read.mu.
type trip struct {
	limited bool          // needs one of Cache.turns
	waiting int           // calls that wait for its flights, once for each; one for each flight in the background
	pushed  chan struct{} // closed to end its wait for a turn; nil if it does not wait
	isOff   bool          // called off: nobody waited for it any more before its turn came
}

// newTrip makes a trip that queues for a turn if loads are limited, unless it is
// made inside another load, which has a turn already. One of many has to queue
// anyway.
func (r *Read[V]) newTrip(ctl *control, many bool) *trip {
	t := &trip{limited: r.cache.turns != nil && !ctl.isInsideAny(r.cache)}
	if t.limited || many {
		t.pushed = make(chan struct{})
	}
	return t
}

// push ends a trip's wait for a turn. r.mu is held.
func (t *trip) push() {
	if t.pushed != nil {
		close(t.pushed)
		t.pushed = nil
	}
}

// leave takes back the wait of n calls. A trip that nobody waits for is called off, if
// its turn has not come. r.mu is held.
func (t *trip) leave(n int) {
	if t.waiting -= n; t.waiting == 0 && t.pushed != nil {
		t.isOff = true
		t.push()
	}
}

// queue waits for a turn among turns, which is a channel with room for as many as
// can have one. It reports whether the trip has got one: it goes on without if it
// is pushed.
func (r *Read[V]) queue(ctx context.Context, t *trip, turns chan struct{}) (got bool, err error) {
	select {
	case turns <- struct{}{}:
		return true, nil
	default:
	}
	r.mu.Lock()
	pushed := t.pushed
	r.mu.Unlock()
	if pushed == nil {
		return false, nil
	}
	if turns == r.cache.turns {
		r.cache.loadsWaiting.Add(1)
		defer r.cache.loadsWaiting.Add(-1)
	}
	select {
	case turns <- struct{}{}:
		return true, nil
	case <-pushed:
		return false, nil
	case <-ctx.Done():
		return false, fmt.Errorf("cacheruntime: a load did not get its turn within %v, with %d others running (see WithMaxLoads): %w",
			r.cache.loadTimeout, cap(turns), ctx.Err())
	}
}

// depart ends the time in which a trip can be called off, and reports whether it
// was not.
func (r *Read[V]) depart(t *trip) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.pushed = nil
	return !t.isOff
}

// errCalledOff is the outcome of flights that nobody waits for.
var errCalledOff = errors.New("cacheruntime: a load was called off")

// visit makes a trip: it waits for a turn, takes the stamp, and calls the
// repository. It sets what is known of the trip in all its flights; what the call
// returns is for the caller to distribute. If the flights are not to have that
// it returns false.
func (r *Read[V]) visit(ctx context.Context, t *trip, flights []*flight[V], stats *methodStats, call func(context.Context) error) bool {
	c := r.cache
	fail := func(err error) bool {
		for _, f := range flights {
			f.err, f.failed, f.lapsed = err, true, f.infallible
		}
		return false
	}
	if t.limited {
		got, err := r.queue(ctx, t, c.turns)
		if got {
			defer func() { <-c.turns }()
		}
		if err != nil {
			return fail(err)
		}
	}
	if !r.depart(t) {
		return fail(errCalledOff)
	}

	view := c.view()
	asOf := view.now() // before the load: what is invalidated from now on makes the result stale
	for _, f := range flights {
		f.loaded = true
		f.entry.soft, f.entry.hard = never, never
		f.entry.epoch = view.epoch
		f.entry.asOf = asOf
	}
	stats.add(0, countLoads, 1)
	c.loadsRunning.Add(1)
	began := c.now()
	err := errExited
	defer func() {
		c.loadsRunning.Add(-1)
		took := c.now().Sub(began)
		for _, f := range flights {
			f.entry.took = took
		}
		if value := recover(); value != nil {
			panicked := newPanicError(value)
			stats.loaded(ctx, took, panicked)
			panic(panicked)
		}
		stats.loaded(ctx, took, err)
	}()
	err = call(ctx)
	return true
}
