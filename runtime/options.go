package cacheruntime

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// An Option changes how [New] makes a cache.
type Option func(*options)

type options struct {
	maxBytes      int64
	maxBytesGiven bool
	store         Store
	storeGiven    bool
	logger        *slog.Logger
	loadTimeout   time.Duration
	maxLoads      int
	maxLoadsGiven bool
	guardLease    time.Duration // 0: writes are not guarded
	guardGiven    bool
	doubtLease    time.Duration // of ambiguous writes
	ambiguous     func(error) bool
	observers     []Observer
	clock         Clock
	shared        Shared
	sharedGiven   int // how often
	maxStaleness  time.Duration
	boundGiven    bool          // maxStaleness is
	sharedFlights time.Duration // 0: each process loads for itself
	flightsGiven  bool          // sharedFlights is
}

// defaultLoadTimeout is the deadline of a load without [WithLoadTimeout].
const defaultLoadTimeout = 30 * time.Second

// defaultDoubtLease is the lease of an ambiguous write without
// [WithAmbiguousWrites].
const defaultDoubtLease = 5 * time.Second

// WithMaxBytes bounds the memory of the embedded store, in bytes; it is rounded
// down to whole MiB. The default is 256 MiB, the least 1 MiB. Memory is taken as
// entries come, and the oldest entries are given up when it is full. Besides it
// there are about 24 bytes an entry for an index.
//
// The store is divided into up to 256 shards of 4 MiB and more. An entry that
// takes more than half a shard, 2 MiB by default, is not stored and counted as a
// store error.
//
// It cannot be combined with [WithStore].
func WithMaxBytes(n int64) Option {
	return func(o *options) {
		o.maxBytes = n
		o.maxBytesGiven = true
	}
}

// WithStore makes the cache keep its entries in that store instead of the
// embedded one. The cache closes it. It cannot be combined with [WithMaxBytes].
func WithStore(store Store) Option {
	return func(o *options) {
		o.store = store
		o.storeGiven = true
	}
}

// WithLogger makes the cache log there what goes wrong without an error that
// anyone would see: a store that fails, a result that cannot be encoded or
// decoded, a load that panics when no caller waits for it any more, a refresh in the
// background or a reload after a write that fails, an observer that panics; and with
// [WithShared] that the log or the entries of the shared tier cannot be reached, that
// the log can be again, and that it began anew. Each kind is logged at most once a minute.
// The default is [slog.Default].
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) { o.logger = logger }
}

// WithLoadTimeout sets the deadline of a load, counted from its beginning; it is
// that of the context which the repository gets. A caller that waits for the
// load may give up before. The default is 30 seconds.
func WithLoadTimeout(d time.Duration) Option {
	return func(o *options) { o.loadTimeout = d }
}

// WithMaxLoads bounds how many loads call the repositories at the same time: n,
// at least 1. Further loads wait, in no particular order, and so do the callers
// that wait for them, each within its own context and hard limit. The wait counts
// towards the deadline of the load ([WithLoadTimeout]); a load that nobody waits
// for any more before it could begin is called off. Reads that a load makes
// with the context it is given count as part of it; made without it they need turns
// of their own, and loads that all wait for such a turn go on only at their deadline.
// Calls past the cache, such as those of [Bypass] or in a
// transaction, are not counted. Without this option there is no limit, or with
// [WithShared] one of 256.
func WithMaxLoads(n int) Option {
	return func(o *options) {
		o.maxLoads = n
		o.maxLoadsGiven = true
	}
}

// WithGuardedWrites makes cached reads linearizable: no two readers see new data
// and then old data while a write is in progress. The tags that a write makes
// stale are marked before it and released after it; meanwhile reads that depend
// on them go to the repository. A tag that is not known before the write is marked
// in its * form.
//
// The lease bounds how long a mark lasts if the write does not return. The
// context that the repository gets has a deadline of half the lease, counted from
// before the mark; the other half is for a commit that still lands. What lands
// after the lease stays unseen until the lifetime of the entry ends: the timeouts
// of the database must be shorter. An ambiguous write stays marked for this
// lease, or for that of [WithAmbiguousWrites] if it is longer.
//
// An argument that is zero, empty or nil before the call, behind a pointer, may be one
// that the call fills in, as an insert fills in p.ID: its tag counts as not known. One
// that the call changes from something else is marked as it was before. If that
// matters, let the write invalidate post(*) as well.
//
// In a transaction ([Cache.Begin]) all of its tags are marked during the commit
// instead, and everything after a [Cache.Clear] in it, without a deadline or a lease.
// The lease must be positive. By default writes are not guarded.
func WithGuardedWrites(lease time.Duration) Option {
	return func(o *options) {
		o.guardLease = lease
		o.guardGiven = true
	}
}

// WithAmbiguousWrites says what is done about a write, or a commit, of which it is
// not known whether it changed anything or still will: its tags are marked for a
// lease, so that what depends on them is neither served nor kept, and invalidated
// again when the lease ends. A lease of 0 is the default, 5 seconds; it must not
// be negative. With [WithGuardedWrites], the longer of the two leases counts, of those
// that are given.
//
// The function says whether an error leaves that open; nil is the default,
// [Ambiguous]. A write that panics always does. An error that comes while the
// call's context has ended is taken for ambiguous too, whatever the function says.
func WithAmbiguousWrites(lease time.Duration, ambiguous func(err error) bool) Option {
	return func(o *options) {
		o.doubtLease = lease
		o.ambiguous = ambiguous
	}
}

// WithObserver makes the cache tell that observer what it does. Given several times,
// it makes it tell all of them, in that order. A nil observer is none; an interface
// that holds a nil pointer is not a nil observer, and is told. The default is none,
// which costs nothing; with one, a hit takes the time twice and makes a call.
func WithObserver(observer Observer) Option {
	return func(o *options) {
		if observer != nil {
			o.observers = append(o.observers, observer)
		}
	}
}

// WithShared makes the cache share invalidations and entries with those of other
// processes: package runtime/redis has what they share on Redis and Valkey. Hits are
// served from the memory of the process as before. What a write in one process has made
// stale no other one serves for longer than [WithMaxStaleness] allows. An entry that
// the memory does not have is looked for in the shared tier before it is loaded.
//
// A process that is cut off from the others calls the repositories. Therefore, at any time,
// at most 256 loads run at once, unless [WithMaxLoads] says otherwise. A write goes
// through all the same, and the others are told as soon as that can be done: see
// [ErrUndelivered]. A guarded one is refused before it begins: see [ErrRefused].
//
// What a [Refresh] stores holds for the memory of this process: an entry that it has
// given up may come back from the shared tier as another process has loaded it.
//
// The cache closes it, unless [New] fails. Each cache needs one of its own.
func WithShared(shared Shared) Option {
	return func(o *options) {
		o.shared = shared
		o.sharedGiven++
	}
}

// WithMaxStaleness sets for how long after a write has returned in another process a
// read may still see what was there before: D. It counts on this machine's clock,
// and holds if the machine is suspended or cut off as well. The log is asked at least
// every third of it. The default is one second. With 0 nothing is stale: every
// read that would be a hit waits until the log has been asked, by one question for all
// that wait at the same time. Where the invalidation could not be delivered at once, D
// counts from when it is: see [ErrUndelivered]. In the process that writes, nothing is ever
// stale. With 0 a read that has a hard limit waits for each such answer for at most a quarter
// of it, besides the limit itself. D must be 0 or at least a millisecond, and needs [WithShared].
func WithMaxStaleness(d time.Duration) Option {
	return func(o *options) {
		o.maxStaleness = d
		o.boundGiven = true
	}
}

// WithSharedFlights makes processes that miss the same entry at the same time load it
// once: the first takes a short lock, and the others wait for what it stores, at most
// for wait each, and for a quarter of the read's hard limit if it has one. If the lock is
// given back without an entry to show, the next one takes it; when its holder dies it runs
// out after wait. Batches and refreshes take no lock. It needs [WithShared]; wait must be
// positive. By default each process loads for itself.
func WithSharedFlights(wait time.Duration) Option {
	return func(o *options) {
		o.sharedFlights = wait
		o.flightsGiven = true
	}
}

// defaultStaleness is D without [WithMaxStaleness].
const defaultStaleness = time.Second

// minStaleness is the least D but 0. The log is to be asked every third of it.
const minStaleness = time.Millisecond

// defaultSharedLoads is the limit on loads with [WithShared], without [WithMaxLoads].
const defaultSharedLoads = 256

func (o *options) staleness() time.Duration {
	if o.boundGiven {
		return o.maxStaleness
	}
	return defaultStaleness
}

// WithClock makes the cache take the time from there, for tests: by it entries
// expire, callers run out of patience (soft, hard) and leases end. The deadlines
// of loads and of guarded writes are those of contexts, and go by the system's
// clock, and so does all that concerns other processes ([WithShared]).
func WithClock(clock Clock) Option {
	return func(o *options) { o.clock = clock }
}

// openStore checks the options and returns the store they ask for.
func (o *options) openStore() (Store, error) {
	switch {
	case o.loadTimeout <= 0:
		return nil, fmt.Errorf("cacheruntime: WithLoadTimeout(%v): must be positive", o.loadTimeout)
	case o.maxLoadsGiven && o.maxLoads < 1:
		return nil, fmt.Errorf("cacheruntime: WithMaxLoads(%d): must be at least 1", o.maxLoads)
	case o.guardGiven && o.guardLease <= 0:
		return nil, fmt.Errorf("cacheruntime: WithGuardedWrites(%v): must be positive", o.guardLease)
	case o.doubtLease < 0:
		return nil, fmt.Errorf("cacheruntime: WithAmbiguousWrites(%v): must not be negative", o.doubtLease)
	case o.sharedGiven > 1:
		return nil, errors.New("cacheruntime: WithShared is given twice: a cache has one log")
	case o.sharedGiven > 0 && o.shared == nil:
		return nil, errors.New("cacheruntime: WithShared(nil): nothing to share")
	case o.boundGiven && o.sharedGiven == 0:
		return nil, errors.New("cacheruntime: WithMaxStaleness is about other processes and needs WithShared")
	case o.maxStaleness < 0:
		return nil, fmt.Errorf("cacheruntime: WithMaxStaleness(%v): must not be negative", o.maxStaleness)
	case o.boundGiven && o.maxStaleness > 0 && o.maxStaleness < minStaleness:
		return nil, fmt.Errorf("cacheruntime: WithMaxStaleness(%v): must be 0, or at least %v", o.maxStaleness, minStaleness)
	case o.flightsGiven && o.sharedGiven == 0:
		return nil, errors.New("cacheruntime: WithSharedFlights is about other processes and needs WithShared")
	case o.flightsGiven && o.sharedFlights <= 0:
		return nil, fmt.Errorf("cacheruntime: WithSharedFlights(%v): must be positive", o.sharedFlights)
	case o.storeGiven && o.store == nil:
		return nil, errors.New("cacheruntime: WithStore(nil): no store")
	case o.storeGiven && o.maxBytesGiven:
		return nil, errors.New("cacheruntime: WithMaxBytes is for the embedded store and cannot be combined with WithStore")
	case o.storeGiven:
		return o.store, nil
	}
	return newBigcacheStore(o.maxBytes)
}
