package cacheruntime

import (
	"context"
	"time"
)

// A call is one key that a caller waits for: that of a call of a read or, in a
// call of a batch, that of one id.
type call[V any] struct {
	read       *Read[V]
	stats      *methodStats // of the caller's method
	key        *Key
	many       bool          // the caller's method is a batch
	infallible bool          // it returns no error
	sharedArgs bool          // as in ReadConfig
	slots      []uint32      // of the tags known from the arguments, the entry's own included
	before     uint64        // flights that had started when the call began
	hard       time.Duration // as in the config of the caller's method

	flight  *flight[V] // in which the call is; nil if it is in none
	starter bool       // of the flight
	aboard  bool       // in a batch: the flight is still to be waited for
	last    *flight[V] // whose outcome was not for this call
	refused int        // how many such there were
	own     bool       // the last one's outcome was no answer: do not join what happens to be there

	// How it ends.
	value    V
	err      error
	exists   bool        // value is what the repository has for the key
	panicked *PanicError // the caller is to panic with it
	isDirect bool        // the repository is to be called for it, past the cache
	outcome  Outcome     // as what it is recorded then
	reason   Reason
	ended    bool // it is recorded
}

// fewSlots is room for the tags of most entries, those known from the result included.
const fewSlots = 8

// prepare evaluates the tags known from the arguments. It reports whether they
// can be.
func (c *call[V]) prepare(loader *Loader[V]) bool {
	r := c.read
	tags := Tags{slots: make([]uint32, 0, fewSlots)}
	if loader.Depends != nil && !completes(func() { loader.Depends(&tags) }) {
		return false
	}
	tags.Add(c.key.patternTag(r.name, r.sets))
	c.slots = tags.slots
	if c.key.control.refreshes() {
		c.key.reason = ReasonRefresh
	}
	c.before = r.flightsStarted()
	return true
}

// board joins a flight, or makes one. Then it is for the caller to let it start.
func (c *call[V]) board(newTrip func() *trip) {
	r := c.read
	c.flight, c.starter = r.board(string(c.key.buf), c, newTrip)
	if c.starter {
		c.fit()
	}
}

// fit gives a flight what it needs to load for the call, before it starts.
func (c *call[V]) fit() {
	f := c.flight
	f.slots = c.slots
	f.stats = c.stats
	f.infallible = c.infallible
}

// patience is how long a caller waits. Its channels are nil for what never comes.
type patience struct {
	left   <-chan struct{} // the caller's context has ended
	soft   <-chan struct{} // an expired value will do
	hard   <-chan struct{} // nothing else will
	after  time.Duration   // when hard is closed
	timers []Timer
}

// patience begins to count.
func (r *Read[V]) patience(ctx context.Context, soft, hard time.Duration, infallible bool) *patience {
	p := &patience{after: hard}
	if !infallible {
		p.left = ctx.Done()
	}
	timer := func(d time.Duration) <-chan struct{} {
		if d == 0 {
			return nil
		}
		over := make(chan struct{})
		p.timers = append(p.timers, r.cache.afterFunc(d, func() { close(over) }))
		return over
	}
	p.soft, p.hard = timer(soft), timer(hard)
	return p
}

func (p *patience) stop() {
	for _, timer := range p.timers {
		timer.Stop()
	}
}

// A waited is how the wait for a flight ended.
type waited int

const (
	waitedLanded waited = iota
	waitedLeft          // the caller's context has ended: it leaves
	waitedSoft          // the caller has an expired value to go on with
	waitedHard          // the caller waits no longer
	waitedLate          // the flight is past its deadline: who joined tries again
)

// wait waits for the flight. The starter waits as long as its context and its
// limits allow, as it would without a cache; who joined does not wait for a load
// that ignores its deadline, or that waits in turn for a load in which the caller
// is. Unless the flight has landed, the call has quit it.
func (c *call[V]) wait(ctx context.Context, p *patience) waited {
	f := c.flight
	select {
	case <-f.done:
		return waitedLanded
	default:
	}
	soft := p.soft
	if c.key.held == nil {
		soft = nil
	}
	var late <-chan time.Time
	if !c.starter {
		timer := time.NewTimer(c.read.untilLate(f))
		defer timer.Stop()
		late = timer.C
	}
	how := waitedLanded
	for how == waitedLanded {
		select {
		case <-f.done:
			return waitedLanded
		case <-p.left:
			how = waitedLeft
		case <-p.hard:
			how = waitedHard
		case <-late:
			how = waitedLate
		case <-soft:
			asked, cancel := c.untilLanded(ctx, f)
			if value, ok := c.stale(asked); ok {
				c.value = value
				how = waitedSoft
			}
			cancel()
			soft = nil // what is invalid now stays so
		}
	}
	select {
	case <-f.done: // as well: an outcome is better than none
		return waitedLanded
	default:
	}
	c.quit()
	return how
}

// quit gives up the flight.
func (c *call[V]) quit() {
	if c.starter && c.sharedArgs {
		c.flight.abandoned.Store(true)
	}
	c.read.quit(c.flight)
}

// isFor reports whether the call ends with how its wait ended. If not, it is to
// board again.
func (c *call[V]) isFor(ctx context.Context, how waited) bool {
	switch {
	case how == waitedLate:
		c.last = nil
		return false
	case how != waitedLanded || c.starter || c.mayTake(ctx, c.flight):
		return true
	}
	c.last = c.flight
	c.refused++
	return false
}

// mayTake reports whether a call that joined a flight may have its outcome: if the
// load began after the call did, or if the outcome is one to be stored and passes
// the hit test now, which is after the call began as well. Nobody is handed an
// outcome just because it is for the right key: the caller may have seen a write
// return that the load has not seen.
//
// Nor is anyone handed what is no answer to its question. For the failure of a
// batch other ids may be to blame, and an error of the read of one may only say
// that there is no such thing: who joined such a flight first tries on its own.
func (c *call[V]) mayTake(ctx context.Context, f *flight[V]) bool {
	after := f.number > c.before
	switch {
	case f.isFailure() && (c.many || f.many):
		c.own = true
		return f.many && c.refused > 0 && after
	case f.absent && f.err == nil && !c.many && f.entry.flags == 0:
		c.own = true
		return false
	case f.panicked != nil || f.exited:
		return true // there is no value that could be stale
	case f.tainted:
		return false
	case c.key.control.refreshes():
		return f.fresh && f.loaded && after
	}
	if after || !f.checkable {
		return after
	}
	e := f.entry // a copy, as others test it at the same time
	ctx, cancel := c.withinHard(ctx)
	defer cancel()
	return e.serveTest(ctx, c.read.cache, c.key.since) == ""
}

// goOn ends the call with the expired value, if there is one and loads of its key
// fail at the moment.
func (c *call[V]) goOn(ctx context.Context) bool {
	if c.key.held == nil || !c.read.backsOff(c.key.buf, c.many) {
		return false
	}
	return c.serveStale(ctx, ReasonBackoff)
}

// stale returns the expired value, if there is one that may be served.
func (c *call[V]) stale(ctx context.Context) (value V, ok bool) {
	held := c.key.held
	if held == nil && c.flight != nil && isClosed(c.flight.done) {
		held = c.flight.fallback
	}
	if held == nil {
		return value, false
	}
	within, cancel := c.withinHard(ctx)
	defer cancel()
	if !held.staleTest(within, c.read.cache, c.key.since) {
		return value, false
	}
	value, _, ok = c.read.answer(held, NewDecoder(held.payload))
	if !ok {
		c.read.damaged(ctx, c.key.stripe)
	}
	return value, ok
}

// waitsForLog reports whether a test of what is served may wait until the log is asked.
func (c *call[V]) waitsForLog() bool {
	l := c.read.cache.log
	return l != nil && l.bound == 0
}

// withinHard bounds a wait for the log.
func (c *call[V]) withinHard(ctx context.Context) (context.Context, context.CancelFunc) {
	if !c.waitsForLog() {
		return ctx, func() {}
	}
	return withinHard(ctx, c.hard)
}

// untilLanded ends a wait for the log when there is an outcome.
func (c *call[V]) untilLanded(ctx context.Context, f *flight[V]) (context.Context, context.CancelFunc) {
	if !c.waitsForLog() {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		select {
		case <-f.done:
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// serveStale ends the call with the expired value, if there is one that may be
// served.
func (c *call[V]) serveStale(ctx context.Context, why Reason) bool {
	value, ok := c.stale(ctx)
	if ok {
		c.value, c.exists = value, true
		c.record(ctx, Stale, why, false)
	}
	return ok
}

func (c *call[V]) record(ctx context.Context, outcome Outcome, reason Reason, stored bool) {
	c.ended = true
	c.read.record(ctx, c.stats, c.key, outcome, reason, stored)
}

// leave ends a call that waits no longer.
func (c *call[V]) leave(ctx context.Context, why Reason, err error) {
	outcome := Miss
	if c.flight != nil && !c.starter {
		outcome = Joined
	}
	c.err = err
	c.record(ctx, outcome, why, false)
}

// settle ends a call that waits no longer, or that may have the outcome of its
// flight.
func (c *call[V]) settle(ctx context.Context, how waited, p *patience) {
	switch how {
	case waitedLeft:
		c.leave(ctx, ReasonLeft, ctx.Err())
	case waitedSoft:
		c.exists = true
		c.record(ctx, Stale, ReasonSoft, false)
	case waitedHard:
		if !c.serveStale(ctx, ReasonHard) {
			c.leave(ctx, ReasonHard, &TimeoutError{c.stats.repository, c.stats.method, p.after})
		}
	default:
		c.take(ctx)
	}
}

// take ends a call with the outcome of its flight.
func (c *call[V]) take(ctx context.Context) {
	r, f := c.read, c.flight
	outcome, reason := Joined, c.key.reason
	switch {
	case c.starter && !f.loaded && !f.isFailure():
		outcome, reason = f.entry.outcome(), "" // of another flight, a moment ago, or of the second tier
		if f.shared && outcome == Hit {
			outcome = SharedHit
		}
	case c.starter:
		outcome = Miss
	}
	switch {
	case f.panicked != nil:
		c.panicked = f.panicked
		c.record(ctx, outcome, reason, false)
		return
	case f.isFailure():
		c.fail(ctx, outcome, reason)
		return
	}
	c.value = f.value
	if !c.starter && !r.cfg.Share && f.err == nil && !f.absent {
		var ok bool
		if c.value, ok = r.copyOf(f); !ok {
			c.goDirect(Skipped, ReasonUnencodable)
			return
		}
	}
	c.exists = f.err == nil && !f.absent && !r.isNil(f.value)
	if !c.many {
		c.err = f.err
	}
	c.key.overtaken = f.overtaken
	c.record(ctx, outcome, reason, f.stored)
}

// fail ends a call whose load failed.
func (c *call[V]) fail(ctx context.Context, outcome Outcome, reason Reason) {
	f := c.flight
	switch {
	case c.serveStale(ctx, ReasonFailed):
	case f.lapsed, c.infallible:
		c.goDirect(outcome, reason)
	case f.exited:
		c.err = errExited
		c.record(ctx, outcome, reason, false)
	default:
		if c.starter {
			c.value = f.value // some methods return both
		}
		c.err = f.err
		c.record(ctx, outcome, reason, false)
	}
}

// goDirect leaves it to the caller to call the repository, and to record it.
func (c *call[V]) goDirect(outcome Outcome, reason Reason) {
	c.isDirect, c.outcome, c.reason = true, outcome, reason
}

// copied returns a copy of a value, or the value itself if there can be none.
func (r *Read[V]) copied(value V) V {
	if r.cfg.Share {
		return value
	}
	f := &flight[V]{value: value, stats: r.stats, ctx: context.Background()}
	if !r.encode(f) {
		return value
	}
	if c, ok := r.copyOf(f); ok {
		return c
	}
	return value
}

// copyOf makes a copy of a flight's value for a call that joined it.
func (r *Read[V]) copyOf(f *flight[V]) (value V, ok bool) {
	if !f.encoded {
		return value, false
	}
	return r.decode(NewDecoder(f.entry.payload))
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}
