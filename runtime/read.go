package cacheruntime

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

// ReadConfig is the policy of a memoized method whose result is a V.
type ReadConfig[V any] struct {
	Repository string // import path and name, "example.com/blog.PostRepository"
	Method     string
	// Fingerprint identifies the signature, the layout of the result and the
	// list of dependencies. Entries under another fingerprint are not seen.
	Fingerprint uint64

	TTL    time.Duration // lifetime of an entry; Forever for no expiry; 0 only with Loader.TTL
	Jitter float64       // the random part, 0 to 1, by which a lifetime may be shorter

	Stale   time.Duration // how much longer an expired value is kept, to be served if its load fails or outlasts Soft
	Soft    time.Duration // how long a caller waits before it gets an expired value; 0 for as long as it takes
	Hard    time.Duration // how long a caller waits before it gets a TimeoutError; 0 for as long as it takes
	Refresh float64       // the beta of XFetch, by which an entry is loaded again before it expires; 0 for not at all

	Share      bool         // callers that join a load get the same value, not a copy
	Infallible bool         // the method returns no error: Load makes none of its own
	IsNil      func(V) bool // for pointer results: a nil one is not stored unless Negative says so
	Negative   []Negative

	Patterns   []uint8 // the partial argument sets of the entry's own tag: see Key.PatternTag
	SharedArgs bool    // arguments refer to memory that the caller may change once it has left

	Encode func(*Encoder, V)
	Decode func(*Decoder) V
}

// A Negative is an outcome other than a value that is worth remembering.
type Negative struct {
	Err error         // an error for which errors.Is reports this one; hits return this one
	Nil bool          // a nil pointer
	TTL time.Duration // lifetime; 0 for that of the read
}

// A Read is a memoized method, in one wrapper.
type Read[V any] struct {
	cache *Cache
	stats *methodStats
	cfg   ReadConfig[V]
	id    [8]byte // keys of the method begin with it
	name  string  // of the entries' own tags
	sets  uint16  // of the entries' own tags

	mu       sync.Mutex
	flights  map[string]*flight[V] // by key
	started  uint64                // number of flights so far
	setbacks map[string]setback    // by key, of those whose last load failed
}

// NewRead is called by generated constructors.
func NewRead[V any](cache *Cache, cfg ReadConfig[V]) *Read[V] {
	id, stats := methodID(cfg.Repository, cfg.Method, cfg.Fingerprint), cache.method(cfg.Repository, cfg.Method)
	cache.methodsByID.Store(id, stats)
	return &Read[V]{
		cache:   cache,
		stats:   stats,
		cfg:     cfg,
		id:      id,
		name:    cfg.Repository + "." + cfg.Method,
		sets:    partialSets(cfg.Patterns),
		flights: map[string]*flight[V]{},
	}
}

// methodID must be the same on every machine and in every version.
func methodID(repository, method string, fingerprint uint64) (id [8]byte) {
	data := []byte(repository + "\x00" + method + "\x00")
	data = binary.LittleEndian.AppendUint64(data, fingerprint)
	binary.LittleEndian.PutUint64(id[:], xxhash.Sum64(data))
	return id
}

// Key begins the key of a call. The vary parts come first, ended by [Key.Args],
// then the arguments.
func (r *Read[V]) Key(ctx context.Context) *Key {
	k := NewKey()
	k.buf = append(k.buf, r.id[:]...)
	k.args = len(k.buf)
	k.control = controlOf(ctx)
	if k.control.tracer() != nil || r.cache.observer != nil {
		k.began = r.cache.now()
	}
	return k
}

// Tag is the tag of the entries whose arguments are the key's, in all that they
// vary by. The key comes from [NewKey] and is released. For a key that has failed
// it is [Read.AllTag].
func (r *Read[V]) Tag(key *Key) Tag {
	defer key.Release()
	if key.failed {
		return r.AllTag()
	}
	return key.patternTag(r.name, r.sets)
}

// AllTag is the tag of every entry of the method.
func (r *Read[V]) AllTag() Tag { return allTag(r.name, r.sets) }

// Skip counts a call that a condition keeps from the cache.
func (r *Read[V]) Skip(ctx context.Context) {
	r.stats.note(ctx, 0, countSkipped, Event{Outcome: Skipped, Reason: ReasonCondition})
	if trace := controlOf(ctx).tracer(); trace != nil {
		trace.add(Event{
			Repository: r.cfg.Repository,
			Method:     r.cfg.Method,
			Outcome:    Skipped,
			Reason:     ReasonCondition,
		})
	}
}

// Lookup answers a call from the cache, if ok. Otherwise [Read.Load] is to be
// called with the same key.
func (r *Read[V]) Lookup(ctx context.Context, key *Key) (result V, err error, ok bool) {
	if key.failed || !key.control.looksUp(r.cache) || r.cache.closed.Load() {
		return result, nil, false
	}
	result, err, outcome, ok := r.lookup(ctx, key)
	if ok {
		r.record(ctx, r.stats, key, outcome, "", false)
	}
	return result, err, ok
}

// lookup looks for the outcome of a call. If there is none, the key knows why, and
// holds the entry if that may be of use: if it has expired but may be served in
// want of a better one, or if it is to be loaded again early.
func (r *Read[V]) lookup(ctx context.Context, key *Key) (result V, err error, outcome Outcome, ok bool) {
	if l := r.cache.log; l != nil && l.bound == 0 {
		var cancel context.CancelFunc
		ctx, cancel = withinHard(ctx, r.cfg.Hard)
		defer cancel()
	}
	var e entry
	whole := unsafe.String(unsafe.SliceData(key.buf), len(key.buf))
	key.reason = r.fetch(ctx, key.stripe, whole, storeKey(whole, &key.digest), &e, key.since)
	switch {
	case key.reason == "" && !r.early(&e):
	case key.reason == "":
		key.hold(e)
		key.early = true
		return result, nil, "", false
	case key.reason == ReasonExpired && e.hard > e.soft && e.seen < e.hard:
		key.hold(e)
		return result, nil, "", false
	default:
		return result, nil, "", false
	}
	key.decoder = Decoder{data: e.payload}
	result, err, ok = r.answer(&e, &key.decoder)
	if !ok {
		key.reason = r.damaged(ctx, key.stripe)
		return result, nil, "", false
	}
	return result, err, e.outcome(), true
}

// maxStoreKey is the longest key, in bytes, that entries are stored under. The
// store is asked for longer ones by their digest.
const maxStoreKey = 512

// storeKey returns the key under which the store knows a key. It may be kept
// where digest is, if that is not nil.
func storeKey(key string, digest *[sha256.Size]byte) string {
	if len(key) <= maxStoreKey {
		return key
	}
	if digest == nil {
		digest = new([sha256.Size]byte)
	}
	*digest = sha256.Sum256(unsafe.Slice(unsafe.StringData(key), len(key)))
	return unsafe.String(&digest[0], len(digest))
}

// fetch gets the entry of a key. It tells why there is none that may be served, or "".
// For since see sharedLog.testCurrent.
func (r *Read[V]) fetch(ctx context.Context, stripe uint32, key, storeKey string, e *entry, since uint64) Reason {
	data, ok, err := r.cache.get(storeKey)
	if err != nil {
		r.stats.note(ctx, stripe, countStoreErrors, Event{Outcome: StoreFailed, Err: err})
		r.report("the store cannot be read", err)
		return ReasonStoreError
	}
	if !ok {
		return ReasonAbsent
	}
	return r.testEntry(ctx, stripe, key, data, e, since)
}

// testEntry sets e to what was kept under a key, and tells like fetch what is wrong with it.
func (r *Read[V]) testEntry(ctx context.Context, stripe uint32, key string, data []byte, e *entry, since uint64) Reason {
	if !e.open(data) {
		return r.damaged(ctx, stripe)
	}
	long := e.flags&flagLong != 0
	if long != (len(key) > maxStoreKey) || long && string(e.key) != key {
		return ReasonAbsent
	}
	return e.serveTest(ctx, r.cache, since)
}

// answer is what an entry says the call returns, or not ok if it is damaged.
func (r *Read[V]) answer(e *entry, d *Decoder) (result V, err error, ok bool) {
	switch {
	case e.flags&flagError != 0:
		if int(e.negative) >= len(r.cfg.Negative) || r.cfg.Negative[e.negative].Err == nil {
			return result, nil, false
		}
		return result, r.cfg.Negative[e.negative].Err, true
	case e.flags&flagNil != 0:
		return result, nil, true
	}
	result, ok = r.decode(d)
	return result, nil, ok
}

// decode decodes a value; a panic, as of an unmarshaler, is a damaged entry.
func (r *Read[V]) decode(d *Decoder) (value V, ok bool) {
	func() {
		defer d.recover()
		value = r.cfg.Decode(d)
	}()
	if d.Finish() != nil {
		var zero V
		return zero, false
	}
	return value, true
}

// isNil reports whether a result is a nil pointer.
func (r *Read[V]) isNil(value V) bool {
	return r.cfg.IsNil != nil && r.cfg.IsNil(value)
}

func (r *Read[V]) damaged(ctx context.Context, stripe uint32) Reason {
	r.stats.note(ctx, stripe, countUndecodable, Event{Outcome: Undecodable, Err: errMalformed})
	r.report("an entry cannot be decoded", errMalformed)
	return ReasonUndecodable
}

// negative returns the index of the negative outcome that an error is, or -1.
func (r *Read[V]) negative(err error) int {
	for i, n := range r.cfg.Negative {
		is := false
		completes(func() { is = n.Err != nil && errors.Is(err, n.Err) })
		if is {
			return i
		}
	}
	return -1
}

// negativeNil returns the index of the negative outcome for nil pointers, or -1.
func (r *Read[V]) negativeNil() int {
	for i, n := range r.cfg.Negative {
		if n.Nil {
			return i
		}
	}
	return -1
}

// expiry is the time at which something stored now expires.
func (r *Read[V]) expiry(ttl time.Duration) int64 {
	if ttl == Forever {
		return never
	}
	if r.cfg.Jitter > 0 {
		ttl -= time.Duration(rand.Float64() * r.cfg.Jitter * float64(ttl))
	}
	now := r.cache.now().UnixNano()
	if int64(ttl) > never-now {
		return never
	}
	return now + int64(ttl)
}

// record counts a call of a method and traces it.
func (r *Read[V]) record(ctx context.Context, stats *methodStats, key *Key, outcome Outcome, reason Reason, stored bool) {
	if key.control.reloads() && (outcome == Miss || outcome == Joined) {
		outcome = Reloaded // nobody asked for it
	}
	stats.add(key.stripe, outcomeCount(outcome), 1)
	trace := key.control.tracer()
	if trace == nil && stats.observer == nil {
		return
	}
	e := Event{
		Repository: stats.repository,
		Method:     stats.method,
		Outcome:    outcome,
		Reason:     reason,
		Stored:     stored,
		Overtaken:  key.overtaken,
		Duration:   r.cache.now().Sub(key.began),
	}
	if trace != nil {
		e.Key = r.render(key)
		trace.add(e)
	}
	stats.tell(ctx, e)
}

func outcomeCount(outcome Outcome) count {
	switch outcome {
	case Hit:
		return countHits
	case SharedHit:
		return countSharedHits
	case NegativeHit:
		return countNegativeHits
	case Stale:
		return countStale
	case Miss:
		return countMisses
	case Joined:
		return countJoined
	case Reloaded:
		return countReloads
	case Bypassed:
		return countBypassed
	}
	return countSkipped
}

// render writes a key as people would write the call.
func (r *Read[V]) render(key *Key) string {
	var b strings.Builder
	b.WriteString(r.cfg.Method)
	if key.failed {
		return b.String()
	}
	if vary := key.buf[len(r.id):key.args]; len(vary) > 0 {
		b.WriteByte('[')
		renderValues(&b, vary, false)
		b.WriteByte(']')
	}
	b.WriteByte('(')
	renderValues(&b, key.buf[key.args:], false)
	b.WriteByte(')')
	return b.String()
}

func (r *Read[V]) report(message string, err error) {
	r.cache.problems.report(message, r.cfg.Repository, r.cfg.Method, err)
}
