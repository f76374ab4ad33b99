package cacheruntime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Forever is the lifetime of an entry that does not expire.
const Forever time.Duration = math.MaxInt64

// A Cache is what generated wrappers share: a store, and the clock and tags that
// decide what may be served from it. Wrappers of the same repository on one
// cache share their entries, and must wrap the same data.
type Cache struct {
	current     atomic.Pointer[table] // another one only where processes share a log
	log         *sharedLog            // nil in a process of its own
	store       Store
	embedded    *bigcacheStore // the same, if it is that
	loadTimeout time.Duration
	clock       Clock            // nil: the system's
	observer    *observers       // nil if there is none
	turns       chan struct{}    // has room for as many loads as may run; nil without a limit
	guardLease  time.Duration    // of guarded writes; 0 if they are not guarded
	doubtLease  time.Duration    // of ambiguous writes, guarded or not
	ambiguous   func(error) bool // never nil
	problems    problemLog
	closed      atomic.Bool

	loadsRunning, loadsWaiting atomic.Int64

	mu      sync.Mutex
	methods map[methodName]*methodStats
	byHand  *methodStats

	methodsByID sync.Map // of *methodStats, by the id with which keys begin
	evicted     evictions
}

type methodName struct{ repository, method string }

// New makes a cache. Without options it keeps its entries in the memory of the
// process, runs no goroutine, and reads nothing from the environment.
func New(opts ...Option) (*Cache, error) {
	o := options{maxBytes: defaultMaxBytes, loadTimeout: defaultLoadTimeout}
	for _, opt := range opts {
		opt(&o)
	}
	if o.ambiguous == nil {
		o.ambiguous = Ambiguous
	}
	store, err := o.openStore()
	if err != nil {
		return nil, err
	}
	if tier, ok := o.shared.(interface{ Claim() error }); ok {
		if err := tier.Claim(); err != nil {
			if !o.storeGiven { // else it is still the caller's
				err = joined(err, store.Close())
			}
			return nil, fmt.Errorf("cacheruntime: WithShared: %w", err)
		}
	}
	cache := &Cache{
		store:       store,
		loadTimeout: o.loadTimeout,
		clock:       o.clock,
		guardLease:  o.guardLease,
		doubtLease:  cmp.Or(max(o.guardLease, o.doubtLease), defaultDoubtLease),
		ambiguous:   o.ambiguous,
		problems:    problemLog{logger: o.logger},
		methods:     map[methodName]*methodStats{},
	}
	cache.current.Store(newTable())
	cache.observer = newObservers(o.observers, &cache.problems)
	cache.byHand = newMethodStats(methodName{}, cache.observer)
	if embedded, ok := store.(*bigcacheStore); ok {
		cache.embedded = embedded
		embedded.onEvict = cache.countEviction
	}
	if o.maxLoadsGiven {
		cache.turns = make(chan struct{}, o.maxLoads)
	}
	if o.shared != nil {
		if cache.turns == nil {
			cache.turns = make(chan struct{}, defaultSharedLoads)
		}
		cache.log = newSharedLog(cache, o.shared, o.staleness(), o.sharedFlights)
		cache.log.start()
	}
	return cache, nil
}

// Close gives the memory of the cache back and closes its store. Afterwards
// reads call the repository. It does not wait for loads that are running: what
// they load is answered to those who wait, and not kept. Closing again does
// nothing.
//
// With [WithShared] it tries once more to deliver what other processes have not been
// told, and its error says what is left ([ErrUndelivered]); that may be that a server which
// has taken the place of another does not know what was invalidated there. Close the
// cache after what writes through it: of later writes they are not told, and guarded ones
// are refused ([ErrRefused]).
func (c *Cache) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	var err error
	if c.log != nil {
		err = c.log.close()
	}
	return joined(err, c.store.Close())
}

// joined is errors.Join that leaves a single error as it is.
func joined(a, b error) error {
	if a == nil {
		return b
	}
	return errors.Join(a, b)
}

// view is the table by which entries are tested now. A test looks at one only.
func (c *Cache) view() *table { return c.current.Load() }

// Invalidate makes every entry stale that depends on one of the tags, whether it
// is stored, being loaded, or about to be stored. All tags are invalidated in
// one step. Reads that begin after it has returned see none of those entries.
// In a transaction ([Cache.Begin]) the tags are invalidated again when that ends.
//
// In process the error is always nil. With [WithShared] it is [ErrUndelivered], wrapped,
// if other processes could not be told yet.
func (c *Cache) Invalidate(ctx context.Context, tags ...Tag) error {
	if len(tags) == 0 {
		return nil
	}
	control := controlOf(ctx)
	trace := control.tracer()
	var began time.Time
	if trace != nil {
		began = time.Now()
	}
	all := Tags{write: true, traced: trace != nil}
	for _, tag := range tags {
		all.Add(tag)
	}
	control.collect(c, pending{slots: all.slots, names: all.names})
	err := c.apply(marks{slots: all.slots}, nil, CauseByHand)
	event := Event{Outcome: Invalidated, Cause: CauseByHand, Err: err}
	c.byHand.note(ctx, 0, countByHandInvalidations, event)
	if trace != nil {
		event.Tags, event.Duration = all.sortedNames(), time.Since(began)
		trace.add(event)
	}
	return err
}

// Clear makes every entry stale, those being loaded included, and empties the
// store. Its error is that of the store, or [ErrUndelivered] as of [Cache.Invalidate]:
// even then this process serves nothing that was cached before. In a transaction
// ([Cache.Begin]) everything becomes stale again when that ends.
func (c *Cache) Clear(ctx context.Context) error {
	control := controlOf(ctx)
	control.collect(c, pending{clear: true})
	err := c.apply(marks{all: true}, nil, CauseClear)
	event := Event{Outcome: Invalidated, Cause: CauseClear, Err: err}
	c.byHand.note(ctx, 0, countClears, event)
	if trace := control.tracer(); trace != nil {
		event.Tags = []string{"*"}
		trace.add(event)
	}
	return joined(err, c.store.Reset())
}

// method returns the counters of a method.
func (c *Cache) method(repository, method string) *methodStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := methodName{repository, method}
	stats := c.methods[name]
	if stats == nil {
		stats = newMethodStats(name, c.observer)
		c.methods[name] = stats
	}
	return stats
}

// Holds reports whether condition returns true; if it panics, it does not hold.
func Holds(condition func() bool) (holds bool) {
	defer func() {
		if recover() != nil {
			holds = false
		}
	}()
	return condition()
}

// A problemLog logs what goes wrong behind the callers' backs.
type problemLog struct {
	logger *slog.Logger // nil: slog.Default
	mu     sync.Mutex
	last   map[string]time.Time // by message
	anew   map[string]bool      // messages of which there is more to say
}

// How long a message is not repeated, and how long if there is more to say.
const (
	problemInterval = time.Minute
	problemPause    = 5 * time.Second
)

// report logs a problem, and reports whether it did.
func (p *problemLog) report(message, repository, method string, err error) (logged bool) {
	if !p.isDue(message) {
		return false
	}
	var where []any
	if repository != "" {
		where = []any{"repository", repository, "method", method}
	}
	p.log().Error("cachegen: "+message, append(where, "error", err)...)
	return true
}

// warn logs what is no error, but costs something.
func (p *problemLog) warn(message string) {
	if p.isDue(message) {
		p.log().Warn("cachegen: " + message)
	}
}

// isOver logs that a problem is over that was logged.
func (p *problemLog) isOver(message string) { p.log().Info("cachegen: " + message) }

// hasChanged lets a message be repeated soon: the problem has another reason, or was over
// meanwhile.
func (p *problemLog) hasChanged(message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.anew == nil {
		p.anew = map[string]bool{}
	}
	p.anew[message] = true
}

func (p *problemLog) isDue(message string) bool {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	interval := problemInterval
	if p.anew[message] {
		interval = problemPause
	}
	if last, seen := p.last[message]; seen && now.Sub(last) < interval {
		return false
	}
	delete(p.anew, message)
	if p.last == nil {
		p.last = map[string]time.Time{}
	}
	p.last[message] = now
	return true
}

func (p *problemLog) log() *slog.Logger {
	if p.logger == nil {
		return slog.Default()
	}
	return p.logger
}
