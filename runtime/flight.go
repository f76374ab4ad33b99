package cacheruntime

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync/atomic"
	"time"
)

// A flight is one load that is shared by the calls for its key.
type flight[V any] struct {
	key    string
	number uint64 // flights of the read are numbered in the order in which they start
	done   chan struct{}

	// Guarded by Read.mu.
	started time.Time
	waiting int        // calls that wait for it
	joined  bool       // by calls other than the one that started it, or that may be
	next    *flight[V] // of those who joined this one and may not have its outcome

	// Set by the starter before the flight takes off.
	fresh bool            // load even if there is a valid entry by now
	slots []uint32        // of the tags known from the arguments, the entry's own included
	ctx   context.Context // of the load, for observers; without its deadline

	// abandoned is set by a starter that leaves and whose arguments may change.
	abandoned atomic.Bool

	// Set by the flight's goroutine before done is closed.
	loaded    bool      // false: a valid entry was found
	began     time.Time // the load
	returned  bool      // the load
	value     V
	err       error
	failed    bool        // the error is not a negative outcome
	panicked  *PanicError // the load
	exited    bool        // the load's goroutine
	entry     entry
	tried     bool // to encode the value
	encoded   bool // the value, as the entry's payload
	stored    bool
	checkable bool // the hit test means something: the outcome is one to be stored, all its tags are known
	lapsed    bool // the load of an infallible read was still running at its deadline
	tainted   bool // the arguments may have changed during the load
	ended     bool // without a panic
}

func (r *Read[V]) flightsStarted() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started
}

// board joins the flight for a key, or makes one that the caller has to start.
// A caller that may not have the outcome of a flight comes from there: all who
// do share the next one, even those who come when it has landed. So however many
// have joined a flight that a write overtakes, there is one more load.
func (r *Read[V]) board(key string, from *flight[V]) (f *flight[V], starter bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from != nil {
		f = from.next // may be past its deadline as well
		if f != nil && r.isLate(f) {
			f, from = nil, nil
		}
	}
	if f == nil {
		f = r.flights[key]
		if f != nil && r.isLate(f) {
			f = nil // its load ignores its deadline: nobody else is to wait for it
		}
	}
	if starter = f == nil; starter {
		r.started++
		f = &flight[V]{key: key, number: r.started, started: time.Now(), done: make(chan struct{}), joined: from != nil}
		r.flights[key] = f
	} else {
		f.joined = true
	}
	f.waiting++
	if from != nil {
		from.next = f
	}
	return f, starter
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

// A waited is how the wait for a flight ended.
type waited int

const (
	waitedLanded waited = iota
	waitedLeft          // the caller's context ended: it leaves
	waitedLate          // the flight is past its deadline: who joined tries again
)

// wait waits for a flight. The starter waits as long as its context allows, as it
// would without a cache; who joined does not wait for a load that ignores its
// deadline, or that waits in turn for a load in which the caller is.
func (r *Read[V]) wait(ctx context.Context, f *flight[V], starter bool) waited {
	left := ctx.Done()
	if r.cfg.Infallible {
		left = nil
	}
	var late <-chan time.Time
	if !starter {
		timer := time.NewTimer(r.untilLate(f))
		defer timer.Stop()
		late = timer.C
	}
	how := waitedLanded
	select {
	case <-f.done:
		return waitedLanded
	case <-left:
		how = waitedLeft
	case <-late:
		how = waitedLate
	}
	select {
	case <-f.done: // as well: an outcome is better than none
		return waitedLanded
	default:
	}
	if starter && r.cfg.SharedArgs {
		f.abandoned.Store(true)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f.waiting--
	return how
}

// fly is the goroutine of a flight.
func (r *Read[V]) fly(ctx context.Context, f *flight[V], loader Loader[V]) {
	f.ctx = ctx
	defer r.land(f)
	if f.fresh || !r.recheck(f) {
		r.load(ctx, f, loader)
	}
	f.ended = true
}

// land ends a flight, whatever happened in it. It is to be deferred.
func (r *Read[V]) land(f *flight[V]) {
	if !f.ended {
		if value := recover(); value != nil {
			f.panicked = newPanicError(value)
		} else {
			f.exited = true
		}
	}
	if f.loaded {
		if !f.returned {
			f.entry.took = time.Since(f.began)
		}
	}

	r.mu.Lock()
	if r.flights[f.key] == f {
		delete(r.flights, f.key)
	}
	joined, waiting := f.joined, f.waiting
	r.mu.Unlock()

	defer func() { // also if encoding ends the goroutine
		f.tainted = f.abandoned.Load()
		close(f.done)
	}()
	if f.loaded {
		r.stats.loaded(f.ctx, f.entry.took, f.loadError())
	}
	// Nobody can join any more. What they need is made while the starter still
	// waits, as it may modify the value.
	if joined && f.ended && f.err == nil && !r.cfg.Share {
		r.encode(f)
	}
	if f.panicked != nil && waiting == 0 {
		r.report("a load panicked that no caller waits for any more", f.panicked)
	}
}

// loadError is what counts as the error of the load: a negative outcome does not.
func (f *flight[V]) loadError() error {
	switch {
	case f.failed:
		return f.err
	case f.returned:
		return nil
	case f.panicked != nil:
		return f.panicked
	}
	return errExited
}

// recheck looks for an entry that an earlier flight stored after the caller had
// looked for one. It reports whether there is one, which is the outcome then.
func (r *Read[V]) recheck(f *flight[V]) bool {
	var digest [sha256.Size]byte
	var e entry
	if r.fetch(f.ctx, 0, f.key, storeKey(f.key, &digest), &e) != "" {
		return false
	}
	value, err, ok := r.answer(&e, NewDecoder(e.payload))
	if !ok {
		r.damaged(f.ctx, 0)
		return false
	}
	f.value, f.err = value, err
	f.entry = e
	f.tried = e.outcome() == Hit
	f.encoded = f.tried
	f.checkable = true
	f.stored = true
	return true
}

// load calls the repository and stores the result.
func (r *Read[V]) load(ctx context.Context, f *flight[V], loader Loader[V]) {
	ctx, cancel := context.WithTimeout(ctx, r.cache.loadTimeout)
	defer cancel()
	table := r.cache.table
	e := &f.entry
	e.hard = never
	e.epoch = table.epoch
	e.asOf = table.now() // before the load: what is invalidated from now on makes the result stale

	r.stats.add(0, countLoads, 1)
	f.loaded = true
	f.began = time.Now()
	f.value, f.err = loader.Call(ctx)
	e.took = time.Since(f.began)
	f.returned = true

	tags := Tags{slots: f.slots}
	ttl, known := r.judge(f, loader, &tags)
	if r.cfg.Infallible && ctx.Err() != nil {
		f.lapsed = true // no error could tell that the value is not one
		ttl = 0
	}
	slices.Sort(tags.slots)
	e.slots = appendSlots(nil, slices.Compact(tags.slots))
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
	switch {
	case f.err != nil:
		n := r.negative(f.err)
		if n < 0 {
			f.failed = true
			return 0, true
		}
		e.flags, e.negative = flagError, uint8(n)
		if ttl = r.cfg.Negative[n].TTL; ttl == 0 {
			var none V
			completes(func() { ttl = r.lifetime(loader, none) })
		}
		return ttl, true
	case r.cfg.IsNil != nil && r.cfg.IsNil(f.value):
		n := r.negativeNil()
		if n < 0 {
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

// keep stores the outcome, and reports whether it did.
func (r *Read[V]) keep(f *flight[V], ttl time.Duration) bool {
	e := &f.entry
	if e.hitTest(r.cache.table) != "" {
		r.stats.note(f.ctx, 0, countOvertaken, Event{Outcome: Overtaken})
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
	if f.abandoned.Load() || r.cache.closed.Load() {
		return false
	}
	stored.hard = r.expiry(ttl)
	stored.soft = stored.hard
	var digest [sha256.Size]byte
	if len(f.key) > maxStoreKey {
		stored.flags |= flagLong
		stored.key = []byte(f.key)
	}
	err := errStorePanicked
	completes(func() {
		err = r.cache.set(f.ctx, storeKey(f.key, &digest), appendEntry(make([]byte, 0, stored.size()), &stored))
	})
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
