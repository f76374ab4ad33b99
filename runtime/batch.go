package cacheruntime

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// BatchConfig is the policy of a memoized method that reads many at once.
type BatchConfig struct {
	Method string // "Posts"; the repository is that of the read of one

	Size int           // most ids of one load; 0 for no limit
	Soft time.Duration // as in ReadConfig
	Hard time.Duration

	Infallible bool // the method returns no error
	SharedArgs bool // as in ReadConfig
}

// batchParallel is how many loads one call of a batch makes at the same time.
const batchParallel = 4

// A Batch is a memoized method that reads many at once, in one wrapper. It shares
// its entries, and the loads that are under way, with the read of one.
type Batch[K, V any] struct {
	read  *Read[V]
	stats *methodStats
	cfg   BatchConfig
}

// NewBatch is called by generated constructors.
func NewBatch[K, V any](read *Read[V], cfg BatchConfig) *Batch[K, V] {
	return &Batch[K, V]{
		read:  read,
		stats: read.cache.method(read.cfg.Repository, cfg.Method),
		cfg:   cfg,
	}
}

// A BatchLoader is how one call of a batch gets its results from the repository.
// Cached and Policy may be nil.
type BatchLoader[K, V any] struct {
	Key    func(key *Key, id K) // adds what the key of the read of one has, vary parts included
	Cached func(id K) bool      // whether the read of one would use the cache for the id
	Policy func(id K) Loader[V] // what is known about the result for the id; without Call
	// Call calls the repository for some of the ids and then add for each result.
	Call func(ctx context.Context, ids []K, add func(id K, value V)) error
}

// A Found is a result of a batch.
type Found[K, V any] struct {
	ID    K
	Value V
}

// Load answers a call with what exists of ids, in their order and as often as they
// are given. What is cached is taken from the cache; what is being loaded, by
// whomever, is waited for; what is missing is loaded, all in one call of the
// repository, or in several of at most Size ids, four at a time. An id that such a
// call does not return is remembered as the first negative outcome of the read of
// one, if it has any.
//
// If a load fails, the call returns its error and nothing else; what other loads
// returned is stored. For the rest it is like [Read.Load], each id being a call of
// its own, in traces and counts as well.
func (b *Batch[K, V]) Load(ctx context.Context, ids []K, loader BatchLoader[K, V]) ([]Found[K, V], error) {
	if len(ids) == 0 {
		return nil, nil
	}
	l := &batchLoad[K, V]{Batch: b, ctx: ctx, ids: ids, loader: loader}
	defer l.release()
	l.lookup()
	l.refresh()
	if err := l.wait(); err != nil {
		return nil, err
	}
	if err := l.direct(); err != nil {
		return nil, err
	}
	return l.found(), nil
}

// A batchLoad is one call of a batch.
type batchLoad[K, V any] struct {
	*Batch[K, V]
	ctx    context.Context
	ids    []K
	loader BatchLoader[K, V]

	results []batchResult[V]   // by position in ids
	calls   []*batchCall[K, V] // for ids that a look into the cache has not settled
	extra   []Found[K, V]      // what was found past the cache for ids that have no key
	why     Reason             // that the call returns early
}

type batchResult[V any] struct {
	value  V
	exists bool
}

// A batchCall is the part of a call that is about one id.
type batchCall[K, V any] struct {
	call[V]
	at     int // position in ids
	policy Loader[V]
}

// lookup takes from the cache what is there, and prepares calls for the rest.
func (l *batchLoad[K, V]) lookup() {
	r := l.read
	l.results = make([]batchResult[V], len(l.ids))
	since := r.cache.nextQuestion() // the log need not be asked for each id
	for i, id := range l.ids {
		key := r.Key(l.ctx)
		key.since = since
		l.loader.Key(key, id)
		outcome, reason := r.past(key)
		if outcome == "" && l.loader.Cached != nil && !l.loader.Cached(id) {
			outcome, reason = Skipped, ReasonCondition
		}
		if (outcome == "" || reason == ReasonInside) && !key.control.refreshes() {
			value, err, found, ok := r.lookup(l.ctx, key)
			if ok {
				l.results[i] = batchResult[V]{value, err == nil && found == Hit}
				r.record(l.ctx, l.stats, key, found, "", false)
				key.Release()
				continue // without a call: a hit is to cost little
			}
		}
		c := &batchCall[K, V]{at: i}
		c.call = call[V]{
			read: r, stats: l.stats, key: key,
			many: true, infallible: l.cfg.Infallible, sharedArgs: l.cfg.SharedArgs, hard: l.cfg.Hard,
		}
		l.calls = append(l.calls, c)
		if outcome != "" {
			c.goDirect(outcome, reason)
			continue
		}
		if l.loader.Policy != nil {
			c.policy = l.loader.Policy(id)
		}
		if !c.prepare(&c.policy) {
			c.goDirect(Skipped, ReasonDependency)
		}
	}
}

// refresh answers what is to be loaded again before it expires, and has that
// loaded in the background.
func (l *batchLoad[K, V]) refresh() {
	r := l.read
	var due []*batchCall[K, V]
	for _, c := range l.calls {
		if c.isDirect || !c.key.early {
			continue
		}
		held := c.key.held
		value, err, ok := r.answer(held, NewDecoder(held.payload))
		if !ok {
			c.key.held, c.key.reason = nil, r.damaged(l.ctx, c.key.stripe)
			continue
		}
		outcome := held.outcome()
		l.results[c.at] = batchResult[V]{value, err == nil && outcome == Hit}
		c.record(l.ctx, outcome, "", false)
		if !l.cfg.SharedArgs && !r.backsOff(c.key.buf, true) {
			due = append(due, c)
		}
	}
	trips := batchTrips[K, V]{load: l}
	for _, c := range due { // as in wait
		if trips.byKey[string(c.key.buf)] != nil {
			continue
		}
		if c.flight = r.boardEmpty(string(c.key.buf), true, trips.next); c.flight != nil {
			c.fit()
			trips.add(c)
		}
	}
	trips.start()
	for _, c := range due {
		if c.flight != nil {
			l.stats.note(l.ctx, c.key.stripe, countRefreshes, Event{Outcome: Refreshing})
		}
	}
}

// wait waits for loads until there is an outcome for every id.
func (l *batchLoad[K, V]) wait() error {
	open := slices.DeleteFunc(slices.Clone(l.calls), func(c *batchCall[K, V]) bool { return c.isDirect || c.ended })
	if len(open) == 0 {
		return nil
	}
	p := l.read.patience(l.ctx, l.cfg.Soft, l.cfg.Hard, l.cfg.Infallible)
	defer p.stop()
	for len(open) > 0 {
		l.why = ReasonLeft
		if err := l.ctx.Err(); err != nil && !l.cfg.Infallible {
			return err
		}
		for _, c := range open {
			if c.goOn(l.ctx) {
				l.results[c.at] = batchResult[V]{c.value, c.exists}
			}
		}
		// All board before any load begins: then no code of others runs, a repository's
		// or an observer's, while a flight that it may wait for has not taken off.
		trips := batchTrips[K, V]{load: l, control: controlOf(l.ctx)}
		for _, c := range open {
			if c.ended {
				continue
			}
			if !trips.takes(c) {
				c.board(trips.next)
			}
			if c.aboard = true; c.starter {
				trips.add(c)
			}
		}
		trips.start()

		var again []*batchCall[K, V]
		for _, c := range open {
			if c.ended {
				continue
			}
			how := c.call.wait(l.ctx, p)
			c.aboard = false
			l.why = whyOthersLeave(how)
			if !c.isFor(l.ctx, how) {
				again = append(again, c)
				continue
			}
			c.settle(l.ctx, how, p)
			if c.panicked != nil {
				panic(c.panicked)
			}
			if c.err != nil {
				return c.err
			}
			l.results[c.at] = batchResult[V]{c.value, c.exists}
		}
		open = again
	}
	return nil
}

// release ends what the call leaves behind when it returns early, and gives the
// keys back.
func (l *batchLoad[K, V]) release() {
	for _, c := range l.calls {
		if c.aboard {
			c.quit()
		}
		if !c.ended {
			c.leave(l.ctx, l.why, nil)
		}
		c.key.Release()
	}
}

// whyOthersLeave is the reason for which a batch gives up its other ids if it fails
// after a wait.
func whyOthersLeave(how waited) Reason {
	switch how {
	case waitedLeft:
		return ReasonLeft
	case waitedHard:
		return ReasonHard
	}
	return ReasonFailed
}

// direct calls the repository for the ids that have nothing to do with the cache,
// for each of them once, and for at most Size at a time.
func (l *batchLoad[K, V]) direct() error {
	var ids []K
	byKey := map[string][]*batchCall[K, V]{}
	keyless := false
	for _, c := range l.calls {
		if !c.isDirect {
			continue
		}
		keyless = keyless || c.key.failed
		key := string(c.key.buf)
		if c.key.failed || byKey[key] == nil {
			ids = append(ids, l.ids[c.at])
		}
		if !c.key.failed {
			byKey[key] = append(byKey[key], c)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	defer func() {
		for _, c := range l.calls {
			if c.isDirect {
				c.record(l.ctx, c.outcome, c.reason, false)
			}
		}
	}()
	l.why = ReasonFailed
	size := l.cfg.Size
	if size == 0 {
		size = len(ids)
	}
	for some := range slices.Chunk(ids, size) {
		err := l.loader.Call(l.ctx, some, func(id K, value V) {
			if l.read.isNil(value) {
				return
			}
			calls := byKey[l.key(id)]
			if len(calls) == 0 && keyless {
				l.extra = append(l.extra, Found[K, V]{id, value})
			}
			for i, c := range calls {
				if i > 0 {
					value = l.read.copied(value) // each place has one of its own
				}
				l.results[c.at] = batchResult[V]{value, true}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// key returns the key of an id, "" if it has none.
func (l *batchLoad[K, V]) key(id K) string {
	key := l.read.Key(l.ctx)
	defer key.Release()
	l.loader.Key(key, id)
	if key.failed {
		return ""
	}
	return string(key.buf)
}

// found lists what exists.
func (l *batchLoad[K, V]) found() []Found[K, V] {
	found := make([]Found[K, V], 0, len(l.ids))
	for i, result := range l.results {
		if result.exists {
			found = append(found, Found[K, V]{l.ids[i], result.value})
		}
	}
	return append(found, l.extra...)
}

// batchTrips are the calls of the repository that one call of a batch makes.
type batchTrips[K, V any] struct {
	load    *batchLoad[K, V]
	control *control // nil in the background: they may outlive the load in which the call is made
	trips   []*batchTrip[K, V]
	byKey   map[string]*seat[K, V] // on all of them; read only once they have begun
}

// A batchTrip is one of them.
type batchTrip[K, V any] struct {
	*trip
	seats []*seat[K, V]
}

// A seat is an id in a call of the repository, and the flight for it. It outlives
// the call of the batch.
type seat[K, V any] struct {
	id     K
	flight *flight[V]
	policy Loader[V]
	trip   *batchTrip[K, V]
	given  bool // the repository returned it
	landed bool
}

// next returns the trip for the next flight.
func (ts *batchTrips[K, V]) next() *trip {
	size := ts.load.cfg.Size
	if n := len(ts.trips); n == 0 || size > 0 && len(ts.trips[n-1].seats) == size {
		ts.trips = append(ts.trips, &batchTrip[K, V]{trip: ts.load.read.newTrip(ts.control, size > 0)})
	}
	return ts.trips[len(ts.trips)-1].trip
}

// add puts a call whose flight has just been made on the trip of that flight.
func (ts *batchTrips[K, V]) add(c *batchCall[K, V]) {
	t := ts.trips[len(ts.trips)-1]
	s := &seat[K, V]{id: ts.load.ids[c.at], flight: c.flight, policy: c.policy, trip: t}
	t.seats = append(t.seats, s)
	if ts.byKey == nil {
		ts.byKey = map[string]*seat[K, V]{}
	}
	ts.byKey[c.flight.key] = s
}

// takes joins a call to the flight for its key on one of the trips, if there is one:
// an id that is given twice has one seat, whatever other flights for it there are.
func (ts *batchTrips[K, V]) takes(c *batchCall[K, V]) bool {
	s := ts.byKey[string(c.key.buf)]
	if s == nil {
		return false
	}
	c.read.join(s.flight)
	c.flight, c.starter = s.flight, false
	return true
}

func (ts *batchTrips[K, V]) start() {
	var turns chan struct{}
	if len(ts.trips) > batchParallel {
		turns = make(chan struct{}, batchParallel)
	}
	for _, t := range ts.trips {
		if len(t.seats) > 0 {
			go ts.load.carry(t, ts.byKey, turns)
		}
	}
}

// carry is the goroutine of a trip. The seats are those on all trips, by key. With
// turns, it is one of more trips than are made at the same time.
func (l *batchLoad[K, V]) carry(t *batchTrip[K, V], seats map[string]*seat[K, V], turns chan struct{}) {
	r := l.read
	var flights []*flight[V] // that load
	defer func() { r.share(flights...) }()
	defer func() {
		panicked := caught(recover())
		for _, s := range t.seats {
			if s.landed {
				continue
			}
			if !s.flight.ended {
				s.flight.panicked = panicked
				s.flight.exited = panicked == nil
			}
			defer r.land(s.flight) // each of them, whatever happens in the others
		}
	}()
	var keys []string
	for _, s := range t.seats {
		keys = append(keys, s.flight.key)
	}
	ctx := insideLoad(l.ctx, r.cache, keys...)
	for _, s := range t.seats {
		s.flight.ctx = ctx
	}
	if turns != nil {
		if got, _ := r.queue(ctx, t.trip, turns); got {
			defer func() { <-turns }()
		}
	}

	since := r.cache.nextQuestion()
	for _, s := range t.seats {
		if f := s.flight; !f.fresh && !f.background && r.recheck(f, since) {
			l.land(s)
		}
	}
	l.fetchShared(ctx, t)
	var ids []K
	for _, s := range t.seats {
		if !s.landed {
			ids = append(ids, s.id)
			flights = append(flights, s.flight)
		}
	}
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.cache.loadTimeout)
	defer cancel()
	called := r.visit(ctx, t.trip, flights, l.stats, func(ctx context.Context) error {
		err := l.loader.Call(ctx, ids, func(id K, value V) {
			if s := seats[l.key(id)]; s != nil && s.trip == t && !s.landed && !s.given {
				s.flight.value, s.given = value, true
			}
		})
		for _, s := range t.seats {
			if f := s.flight; !s.landed {
				f.err, f.failed, f.absent = err, err != nil, !s.given
			}
		}
		return err
	})
	for _, s := range t.seats {
		if s.landed {
			continue
		}
		if called {
			r.finish(ctx, s.flight, s.policy)
		}
		s.flight.ended = true
	}
}

// land ends the flight of a seat before the others on its trip.
func (l *batchLoad[K, V]) land(s *seat[K, V]) {
	s.flight.ended, s.landed = true, true
	l.read.land(s.flight)
}

// fetchShared looks for the entries of a trip in the second tier, by one question, and
// lands the flights for which there are some.
func (l *batchLoad[K, V]) fetchShared(ctx context.Context, t *batchTrip[K, V]) {
	r := l.read
	log := r.cache.log
	if log == nil || !log.couldServe() || !log.begin() {
		return
	}
	defer log.end()
	var seats []*seat[K, V]
	var keys []string
	for _, s := range t.seats {
		if f := s.flight; !s.landed && !f.fresh && !f.background {
			seats = append(seats, s)
			keys = append(keys, sharedKey(f.key))
		}
	}
	if len(keys) == 0 {
		return
	}
	since := log.nextQuestion() // all flights have begun, and the log need not be asked for each
	within, cancel := withinHard(ctx, l.cfg.Hard)
	defer cancel()
	found, err := log.shared.Get(within, keys)
	if err == nil && len(found) != len(keys) {
		err = fmt.Errorf("%w: %d entries for %d keys", ErrMalformed, len(found), len(keys))
	}
	if err != nil {
		r.sharedFailed(ctx, "entries cannot be read", err)
	}
	if len(found) != len(keys) {
		return
	}
	for i, s := range seats {
		if r.adopt(s.flight, found[i], since) {
			l.land(s)
		}
	}
}
