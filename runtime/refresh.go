package cacheruntime

import (
	"context"
	"math"
	"math/rand/v2"
)

// early reports whether an entry that may be served is to be loaded again before
// it expires. Each hit decides for itself, with a probability that rises towards
// the expiry and is the higher the longer the load took, so that of many hits one
// comes to it in time:
//
//	now − took · beta · ln U ≥ expiry, with U uniform in (0, 1]
//
// This is XFetch: Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic
// Cache Stampede Prevention", VLDB 2015.
func (r *Read[V]) early(e *entry) bool {
	if r.cfg.Refresh <= 0 || e.soft == never {
		return false
	}
	left := float64(e.soft - e.seen)
	step := float64(e.took) * r.cfg.Refresh
	if left > step*maxMinusLog {
		return false // whatever U is: no need to draw it
	}
	return step*-math.Log(1-rand.Float64()) >= left
}

// maxMinusLog is more than −ln U for the least U, which is 2^-53.
const maxMinusLog = 37

// refresh loads an entry again in the background, unless its key is being loaded
// or its loads fail at the moment.
func (c *call[V]) refresh(ctx context.Context, loader Loader[V]) {
	r, key := c.read, c.key
	if c.sharedArgs || r.backsOff(key.buf, false) {
		return // the arguments belong to the caller, who does not wait
	}
	c.flight = r.boardEmpty(string(key.buf), false, func() *trip { return r.newTrip(nil, false) })
	if c.flight == nil {
		return
	}
	c.fit()
	go r.fly(insideLoad(ctx, r.cache, c.flight.key), c.flight, loader) // before an observer may wait for it
	c.stats.note(ctx, key.stripe, countRefreshes, Event{Outcome: Refreshing})
}

// boardEmpty makes a flight in the background, for which nobody waits yet, if
// there is none for the key that may be joined. It needs a turn of its own even inside
// another load, which it may outlive.
func (r *Read[V]) boardEmpty(key string, many bool, newTrip func() *trip) *flight[V] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.flights[key]; f != nil && r.isOpen(f) {
		return nil
	}
	f := r.newFlight(key, newTrip(), false, many)
	f.background = true
	f.trip.waiting++ // itself, so that it is not called off
	return f
}
