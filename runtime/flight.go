package cacheruntime

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"
)

// In these files, a call of a read, or one id in a call of a batch, is a call. It
// boards a flight: the loading of its key, shared by all calls for it. A flight goes
// on a trip: a call of the repository, which carries one flight or, for a batch,
// many. When it lands there is an outcome, which those aboard take if they may, and
// otherwise board the next one.

// A flight is the loading of one key, shared by the calls for it.
type flight[V any] struct {
	key    string
	number uint64 // flights of the read are numbered in the order in which they start
	done   chan struct{}

	// Guarded by Read.mu.
	trip     *trip
	started  time.Time
	waiting  int           // calls that wait for it
	landed   bool          // its trip may have others to wait for
	joined   bool          // by calls other than the one that started it, or that may be
	nextOne  *flight[V]    // of those who joined this one and may not have its outcome
	nextMany *flight[V]    // the same, of a batch
	older    *flight[V]    // for the same key, that was in the air when this one was made
	kept     chan struct{} // closed when its outcome has been stored; nil until that begins
	outrun   chan struct{} // kept of a younger one, whose outcome is stored and not this one's; nil if there is none

	// Set by the starter before the flight takes off.
	stats      *methodStats    // of the method that loads
	slots      []uint32        // of the tags known from the arguments, the entry's own included
	ctx        context.Context // of the load, for observers; without its deadline
	fresh      bool            // made with a Refresh context: load even if there is a valid entry by now
	many       bool            // a batch loads it; set when it is made
	background bool            // nobody waits for it, at first
	infallible bool            // the method that loads returns no error

	// abandoned is set by a starter that leaves and whose arguments may change.
	abandoned atomic.Bool

	// Set by the flight's goroutine before done is closed.
	loaded    bool // false: a valid entry was found, or the load never began
	value     V
	err       error
	failed    bool        // the error is not a negative outcome
	absent    bool        // a batch did not return it
	panicked  *PanicError // the load
	exited    bool        // the load's goroutine
	entry     entry
	tried     bool // to encode the value
	encoded   bool // the value, as the entry's payload
	stored    bool
	overtaken Reason // why it is not, if an invalidation or a mark is to blame
	checkable bool   // the hit test means something: the outcome is one to be stored, all its tags are known
	lapsed    bool   // the load of an infallible read was still running at its deadline
	tainted   bool   // the arguments may have changed during the load
	ended     bool   // without a panic

	// Of the second tier.
	shared   bool   // the outcome comes from there
	fallback *entry // what it had has expired, and is better than nothing
	toShare  []byte // the entry that it is to get, nil for none
	until    int64  // when that expires for good
	lock     string // the token of the lock on the entry; "" if this process has none
}

func (r *Read[V]) flightsStarted() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started
}

// newFlight makes the flight of a key. r.mu is held.
func (r *Read[V]) newFlight(key string, t *trip, fresh, many bool) *flight[V] {
	r.started++
	f := &flight[V]{key: key, number: r.started, trip: t, fresh: fresh, many: many, started: time.Now(), done: make(chan struct{})}
	f.older = r.flights[key].inTheAir()
	r.flights[key] = f
	return f
}

// board joins the flight for a key, or makes one that the caller has to start. A
// caller that may not have the outcome of a flight comes from there: all who do
// share the next one, even those who come when it has landed. So however many
// have joined a flight that a write overtakes, there is one more load. One that is
// to have its own takes no flight but such a next one of its own kind. One with a
// Refresh context takes only flights of such.
func (r *Read[V]) board(key string, c *call[V], newTrip func() *trip) (f *flight[V], starter bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctl, from := c.key.control, c.last
	fresh := ctl.refreshes()
	fits := func(f *flight[V]) bool { return f != nil && r.isOpen(f) && (f.fresh || !fresh) }
	switch {
	case from != nil && fits(*from.next(c.many)):
		f = *from.next(c.many)
	case c.own:
	case from != nil && fits(*from.next(!c.many)):
		f = *from.next(!c.many)
	case fits(r.flights[key]):
		f = r.flights[key]
	}
	if starter = f == nil; starter {
		f = r.newFlight(key, newTrip(), fresh, c.many)
		f.joined = from != nil
	} else {
		f.joined = true
		if ctl.isInsideAny(r.cache) {
			f.trip.push() // the load in which the call is made has a turn, and waits for this one
		}
	}
	f.waiting++
	if !f.landed {
		f.trip.waiting++
	}
	if from != nil {
		*from.next(f.many) = f
	}
	return f, starter
}

// next is where the next flight for those who joined this one is kept: there may be
// one of a batch and one of the read of one. Read.mu is held.
func (f *flight[V]) next(many bool) **flight[V] {
	if many {
		return &f.nextMany
	}
	return &f.nextOne
}

// join joins a flight that has not taken off.
func (r *Read[V]) join(f *flight[V]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.joined = true
	f.waiting++
	f.trip.waiting++
}

// isOpen reports whether a flight may be joined: unless it was called off, or a
// younger one's outcome was stored, or its load ignores its deadline, so that nobody
// else is to wait for it. r.mu is held.
func (r *Read[V]) isOpen(f *flight[V]) bool {
	if f.landed {
		return f.err != errCalledOff
	}
	return !f.trip.isOff && f.outrun == nil && !r.isLate(f)
}

// isLate reports whether a flight goes on past its deadline.
func (r *Read[V]) isLate(f *flight[V]) bool {
	select {
	case <-f.done:
		return false
	default:
		return r.untilLate(f) <= 0
	}
}

// landingTime is what a load that heeds its deadline has to come back with the
// error.
const landingTime = time.Second

// untilLate returns how long a flight may still go on.
func (r *Read[V]) untilLate(f *flight[V]) time.Duration {
	return r.cache.loadTimeout + landingTime - time.Since(f.started)
}

// quit ends the wait of a call that gives up a flight.
func (r *Read[V]) quit(f *flight[V]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.waiting--
	if !f.landed {
		f.trip.leave(1)
	}
}

// fly is the goroutine of a flight that loads one key.
func (r *Read[V]) fly(ctx context.Context, f *flight[V], loader Loader[V]) {
	f.ctx = ctx
	defer r.share(f)
	defer func() {
		if !f.ended {
			f.panicked = caught(recover())
			f.exited = f.panicked == nil
		}
		r.land(f)
	}()
	if f.fresh || f.background || !r.recheck(f, 0) && !r.fetchShared(f) {
		ctx, cancel := context.WithTimeout(ctx, r.cache.loadTimeout)
		defer cancel()
		called := r.visit(ctx, f.trip, []*flight[V]{f}, f.stats, func(ctx context.Context) error {
			f.value, f.err = loader.Call(ctx)
			f.failed = f.err != nil && r.negative(f.err) < 0
			if f.failed {
				return f.err
			}
			return nil
		})
		if called {
			r.finish(ctx, f, loader)
		}
	}
	f.ended = true
}

// caught is the panic that ended a load; nil if none did.
func caught(value any) *PanicError {
	if value == nil {
		return nil
	}
	return newPanicError(value)
}

// land ends a flight, whatever happened in it.
func (r *Read[V]) land(f *flight[V]) {
	r.mu.Lock()
	joined, waiting := f.joined, f.waiting
	f.landed = true
	if r.flights[f.key] == f {
		// What is still in the air stays known to flights yet to come: see mayKeep.
		if r.flights[f.key] = f.older.inTheAir(); r.flights[f.key] == nil {
			delete(r.flights, f.key)
		}
	}
	if f.trip.leave(f.waiting); f.background {
		f.trip.leave(1)
	}
	if f.err != errCalledOff {
		r.tried(f.key, f.isFailure(), f.many)
	}
	r.mu.Unlock()

	defer func() { // also if encoding ends the goroutine
		f.tainted = f.abandoned.Load()
		close(f.done)
	}()
	// Nobody can join any more. What they need is made while the starter still
	// waits, as it may modify the value.
	if joined && f.ended && f.err == nil && !f.absent && !r.cfg.Share {
		r.encode(f)
	}
	if waiting > 0 {
		return
	}
	switch {
	case f.panicked != nil:
		r.report("a load panicked that no caller waits for any more", f.panicked)
	case f.background && f.isFailure():
		r.report("a refresh in the background failed", cmp.Or(f.err, errExited))
	}
}

// isFailure reports whether a flight has no outcome of the repository's to show,
// or an error that is none to be remembered.
func (f *flight[V]) isFailure() bool {
	return f.failed || f.panicked != nil || f.exited || f.lapsed
}

// recheck looks for an entry that an earlier flight stored after the caller had
// looked for one. It reports whether there is one, which is the outcome then. For since
// see sharedLog.testCurrent.
func (r *Read[V]) recheck(f *flight[V], since uint64) bool {
	var e entry
	if r.fetch(f.ctx, 0, f.key, storeKey(f.key, nil), &e, since) != "" || !r.isOutcome(f, &e) {
		return false
	}
	f.stored = true
	return true
}

// isOutcome makes an entry that may be served the outcome of a flight, unless it is
// damaged.
func (r *Read[V]) isOutcome(f *flight[V], e *entry) bool {
	value, err, ok := r.answer(e, NewDecoder(e.payload))
	if !ok {
		r.damaged(f.ctx, 0)
		return false
	}
	f.value, f.err = value, err
	f.entry = *e
	f.tried = e.outcome() == Hit
	f.encoded = f.tried
	f.checkable = true
	return true
}

// finish stores what the repository returned, if it is to be stored.
func (r *Read[V]) finish(ctx context.Context, f *flight[V], loader Loader[V]) {
	e := &f.entry
	tags := Tags{slots: f.slots}
	ttl, known := r.judge(f, loader, &tags)
	if f.infallible && ctx.Err() != nil {
		f.lapsed = true // no error could tell that the value is not one
		ttl = 0
	}
	slices.Sort(tags.slots)
	tags.slots = slices.Compact(tags.slots)
	e.slots = appendSlots(make([]byte, 0, slotSize*len(tags.slots)), tags.slots)
	// Of what is not stored, an error say, nothing proves that it is current: its
	// tags need not be ones that an insert invalidates.
	f.checkable = known && ttl > 0
	if f.checkable {
		f.stored = r.keep(f, ttl)
	}
}

// judge decides how long a result is stored, 0 for not at all, and adds the tags
// that it depends on. It reports whether all of them are known.
func (r *Read[V]) judge(f *flight[V], loader Loader[V], tags *Tags) (ttl time.Duration, known bool) {
	e := &f.entry
	n := -1
	switch {
	case f.failed:
		return 0, true
	case f.absent:
		if len(r.cfg.Negative) == 0 {
			return 0, true
		}
		n = 0
		f.err = r.cfg.Negative[n].Err
	case f.err != nil:
		n = r.negative(f.err)
	}
	switch {
	case f.err != nil:
		e.flags, e.negative = flagError, uint8(n)
		if ttl = r.cfg.Negative[n].TTL; ttl == 0 {
			var none V
			completes(func() { ttl = r.lifetime(loader, none) })
		}
		return ttl, true
	case r.isNil(f.value):
		if n = r.negativeNil(); n < 0 {
			return 0, true
		}
		e.flags = flagNil
		ttl = r.cfg.Negative[n].TTL
	case loader.DependsResult != nil:
		if !completes(func() { loader.DependsResult(tags, f.value) }) {
			r.stats.note(f.ctx, 0, countUndecided, Event{Outcome: Undecided})
			return 0, false
		}
	}

	store := true
	decided := completes(func() {
		store = loader.Store == nil || loader.Store(f.value)
		if store && ttl == 0 {
			ttl = r.lifetime(loader, f.value)
		}
	})
	if !decided {
		r.stats.note(f.ctx, 0, countUndecided, Event{Outcome: Undecided})
	}
	if !decided || !store {
		return 0, true
	}
	return ttl, true
}

// lifetime is that of the read, for an outcome without one of its own.
func (r *Read[V]) lifetime(loader Loader[V], value V) time.Duration {
	if loader.TTL != nil {
		return loader.TTL(value)
	}
	return r.cfg.TTL
}

// inTheAir returns the flight, or else the next older one for its key, that has not
// landed, and forgets those that have. Read.mu is held.
func (f *flight[V]) inTheAir() *flight[V] {
	for f != nil && f.landed {
		f = f.older
	}
	for g := f; g != nil; g = g.older {
		for g.older != nil && g.older.landed {
			g.older = g.older.older
		}
	}
	return f
}

// mayKeep reports whether the outcome of a flight may be stored: not if that of a
// younger one was, such as that of a call with a Refresh context, which began later.
// It waits until that has been done: whoever gets the outcome must not find what was
// there before afterwards. If older ones are being stored, it waits for them as well;
// they in turn wait for older ones only, and none of those for one that it outran. If
// it may be, f.kept is to be closed afterwards.
func (r *Read[V]) mayKeep(f *flight[V]) bool {
	r.mu.Lock()
	younger := f.outrun
	if f.outrun != nil {
		r.mu.Unlock()
		<-younger
		return false
	}
	f.kept = make(chan struct{})
	var first []chan struct{}
	for old := f.older; old != nil; old = old.older {
		switch {
		case old.kept != nil:
			first = append(first, old.kept)
		case old.outrun == nil:
			old.outrun = f.kept
		}
	}
	r.mu.Unlock()
	for _, kept := range first {
		<-kept
	}
	return true
}

// keep stores the outcome, and reports whether it did.
func (r *Read[V]) keep(f *flight[V], ttl time.Duration) bool {
	e := &f.entry
	if f.overtaken = e.hitTest(r.cache); f.overtaken != "" {
		r.stats.note(f.ctx, 0, countOvertaken, Event{Outcome: Overtaken, Reason: f.overtaken})
		return false
	}
	stored := *e
	if e.flags == 0 {
		if !r.encode(f) {
			return false
		}
		stored.payload = e.payload
	}
	// After the last use of the arguments and of what may share their memory.
	if f.abandoned.Load() || r.cache.closed.Load() || !r.mayKeep(f) {
		return false
	}
	defer close(f.kept)
	stored.soft = r.expiry(ttl)
	stored.hard = stored.soft
	if e.flags == 0 && stored.soft < never-int64(r.cfg.Stale) {
		stored.hard += int64(r.cfg.Stale)
	}
	if len(f.key) > maxStoreKey {
		stored.flags |= flagLong
		stored.key = []byte(f.key)
	}
	data := appendEntry(make([]byte, 0, stored.size()), &stored)
	if r.cache.log != nil {
		f.toShare, f.until = data, stored.hard
	}
	return r.put(f, data)
}

// put keeps an encoded entry in the store, and reports whether it did.
func (r *Read[V]) put(f *flight[V], data []byte) bool {
	if r.cache.log != nil {
		data = bytes.Clone(data) // the store's to keep
	}
	err := errStorePanicked
	completes(func() { err = r.cache.set(f.ctx, storeKey(f.key, nil), data) })
	if err != nil {
		r.stats.note(f.ctx, 0, countStoreErrors, Event{Outcome: StoreFailed, Err: err})
		r.report("the store cannot be written", err)
		return false
	}
	return true
}

// encode encodes the value, once, as the payload of the entry. It reports
// whether that can be done.
func (r *Read[V]) encode(f *flight[V]) bool {
	if f.tried {
		return f.encoded
	}
	f.tried = true
	var encoder Encoder
	func() {
		defer encoder.recover()
		r.cfg.Encode(&encoder, f.value)
	}()
	payload, err := encoder.Encoded()
	if err != nil {
		r.stats.note(f.ctx, 0, countUnencodable, Event{Outcome: Unencodable, Err: err})
		r.report("a result cannot be encoded", err)
		return false
	}
	f.entry.payload = payload
	f.encoded = true
	return true
}
