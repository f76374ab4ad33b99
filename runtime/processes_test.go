package cacheruntime_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"flag"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachegen/cachegen/internal/proof/history"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

var (
	programs  = flag.Int("programs", 3, "random programs of several processes, of each kind")
	firstSeed = flag.Uint64("seed", 0, "of the first of them")
)

// seeds are those of the programs.
func seeds() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for i := range uint64(*programs) {
			if !yield(*firstSeed + i) {
				return
			}
		}
	}
}

// A kind is what the processes of a world are promised.
type kind struct {
	bound   time.Duration // D
	guarded bool
	lossy   bool // the log may lose what it was told: by a flush, a failover, …
}

func (k kind) String() string {
	s := fmt.Sprintf("D=%v", k.bound)
	if k.guarded {
		s += ",guarded"
	}
	if k.lossy {
		s += ",lossy"
	}
	return s
}

// Processes that share a log run random programs while all goes wrong that can. What a
// process has written it reads; what others have written it reads once D is over, or
// at once with D = 0; with guarded writes and D = 0 each row is linearizable. When all
// works again, everything is current and served from memory.
func TestProcesses(t *testing.T) {
	tally := new(tally)
	for _, bound := range []time.Duration{0, 100 * time.Millisecond, time.Second} {
		for _, guarded := range []bool{false, true} {
			for _, lossy := range []bool{false, true} {
				k := kind{bound, guarded, lossy}
				for seed := range seeds() {
					t.Run(fmt.Sprintf("%v/%d", k, seed), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { newWorld(t, k, seed, tally).run() })
					})
				}
			}
		}
	}
	tally.check(t)
}

// Porcupine has a word on small programs.
func TestProcessesAreLinearizable(t *testing.T) {
	for seed := range seeds() {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			var w *world
			synctest.Test(t, func(t *testing.T) {
				w = newWorld(t, kind{guarded: true}, seed, new(tally))
				w.duration = 200 * time.Millisecond
				w.run()
			})
			if err := w.history.Linearizable(time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
}

const (
	rows  = 3
	lease = 200 * time.Millisecond // of writes in doubt, and of guarded ones

	// How long it takes until everything is current and served once all works again:
	// the follower tries again within a second, and requests that are still under way
	// may leave marks, whose leases end then.
	recovery = 4 * time.Second
)

// A random decides. It is safe for concurrent use.
type random struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func (r *random) n(n int) int { r.mu.Lock(); defer r.mu.Unlock(); return r.rng.IntN(n) }

func (r *random) fork() *random {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &random{rng: rand.New(rand.NewPCG(r.rng.Uint64(), 0))}
}

// pause lets some time pass, or not.
func (r *random) pause(most time.Duration) {
	if r.n(3) > 0 {
		<-time.After(time.Duration(r.n(int(most))))
	}
}

// A world is several processes, what they share, and a database.
type world struct {
	t        *testing.T
	kind     kind
	seed     uint64
	random   *random
	duration time.Duration
	began    time.Time
	shared   *cachetest.Shared
	history  *history.History
	tally    *tally
	late     sync.WaitGroup // of what is under way when calls have returned
	delay    time.Duration  // of messages, at most, when all is well
	hiccups  bool           // one message in a while takes much longer
	pace     time.Duration  // of writes
	bitByBit bool           // who is behind learns of a few records at a time
	faults   []fault

	mu        sync.Mutex
	processes []*process
	names     int
	version   [rows]int64 // in the database
	told      [rows][]told
	opened    []*process // those that are not, too
	untold    bool       // what was written in a process that ended was not delivered
	failed    bool
}

// told is that from some time on reads are to see a version, if they are in other
// processes D later.
type told struct {
	at      time.Time
	version int64
}

func newWorld(t *testing.T, k kind, seed uint64, tally *tally) *world {
	return &world{
		t: t, kind: k, seed: seed, tally: tally, duration: time.Second + 3*k.bound, began: time.Now(),
		random:  &random{rng: rand.New(rand.NewPCG(seed, 7))},
		shared:  cachetest.NewShared(t),
		history: history.New(),
	}
}

// prepare decides what kind of world it is.
func (w *world) prepare() {
	rnd := w.random
	w.delay = []time.Duration{100 * time.Microsecond, time.Millisecond, 10 * time.Millisecond}[rnd.n(3)]
	w.pace = []time.Duration{30 * time.Millisecond, 100 * time.Millisecond, w.duration / 8}[rnd.n(3)]
	w.hiccups = rnd.n(3) == 0
	if rnd.n(2) == 0 {
		w.bitByBit = true
		w.shared.SetLimits(1000, 2+rnd.n(5))
	}
	// A few of the faults a world: all of them at once leave nothing that works.
	all := len(faults)
	if !w.kind.lossy {
		all = harmless
	}
	for range 1 + rnd.n(4) {
		w.faults = append(w.faults, faults[rnd.n(all)])
	}
}

// fail fails the test, once, with the whole history and how to try again.
func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.mu.Lock()
	failed := w.failed
	w.failed = true
	w.mu.Unlock()
	if !failed {
		run := strings.ReplaceAll(w.t.Name(), "/", "$/^")
		w.t.Errorf("at %v: %s\n%s\nagain: go test ./runtime -run '^%s$' -seed %d -programs 1 -count 20",
			time.Since(w.began), fmt.Sprintf(format, args...), w.history, run, w.seed)
	}
}

// note enters into the history what happens to all.
func (w *world) note(format string, args ...any) {
	w.history.Begin("fault", fmt.Sprintf("%v: %s", time.Since(w.began), fmt.Sprintf(format, args...))).Return()
}

func (w *world) begin(client string, format string, args ...any) *history.Call {
	return w.history.Begin(client, fmt.Sprintf("%v: %s", time.Since(w.began), fmt.Sprintf(format, args...)))
}

func (w *world) run() {
	w.prepare()
	for range 2 + w.random.n(3) {
		w.open()
	}
	over, stop := context.WithTimeout(w.t.Context(), w.duration)
	defer stop()
	w.harass(over)
	for _, p := range w.alive() {
		p.stop()
	}
	for _, p := range w.alive() {
		p.clients.Wait()
	}
	w.late.Wait()
	processes := w.alive() // some have crashed
	w.note("all works again")
	w.hiccups = false
	w.shared.Heal()
	for _, p := range processes {
		p.tier.SetFaults(p.weather(cachetest.Faults{}))
	}
	w.tally.add(w)
	<-time.After(recovery)
	w.judge(processes)
	for _, p := range processes {
		if err := p.cache.Close(); err != nil {
			w.fail("%s: closed: %v", p.name, err)
		}
	}
}

// A tally is how much there was to be judged, in several worlds.
type tally struct {
	worlds       int
	hits, writes uint64
}

// add adds what there was in a world until all worked again: hits may be stale, loads
// are not.
func (t *tally) add(w *world) {
	t.worlds++
	for _, p := range w.opened {
		stats := p.cache.Stats()
		t.hits += stats.Hits + stats.SharedHits
	}
	for _, version := range w.version {
		t.writes += uint64(version)
	}
}

// check fails the test if there was so little that it shows nothing. A few worlds may be
// ones in which hardly anything worked.
func (t *tally) check(test *testing.T) {
	test.Logf("%d worlds, %d hits, %d writes", t.worlds, t.hits, t.writes)
	if n := uint64(t.worlds); n >= 10 && (t.hits < 10*n || t.writes < 30*n) {
		test.Errorf("in %d worlds there were only %d hits, and %d writes", n, t.hits, t.writes)
	}
}

// judge judges the end.
func (w *world) judge(processes []*process) {
	ctx := w.t.Context()
	if w.untold {
		for id := range int64(rows) {
			processes[0].touch(ctx, id)
		}
		<-time.After(w.kind.bound + time.Second)
	}
	for _, p := range processes {
		if stats := p.cache.Stats(); stats.Shared.Queued != 0 {
			w.fail("%s: afterwards, %d writes are yet to be delivered", p.name, stats.Shared.Queued)
		}
		for id := range int64(rows) {
			for again := range 2 {
				ctx, trace := cacheruntime.WithTrace(ctx)
				call := w.begin(p.name, "Get(%d)", id)
				row, err := p.get(ctx, id)
				if err != nil || row[0] != w.version[id] {
					w.fail("%s: afterwards, row %d: %v, %v; want %d", p.name, id, row, err, w.version[id])
					return
				}
				call.Saw(int(id), row[0])
				call.Return()
				outcome := trace.Events()[0].Outcome
				if again > 0 && outcome != cacheruntime.Hit {
					w.fail("%s: afterwards, row %d is not served from memory: %s\n%+v\nmarks: %v", p.name, id, trace, p.cache.Stats().Shared, w.shared.Marks())
				}
			}
		}
	}
	if marks := w.shared.Marks(); len(marks) > 0 {
		w.fail("afterwards, there are marks: %v", marks)
	}
	if w.kind.guarded && w.kind.bound == 0 && !w.kind.lossy {
		if err := w.history.Unordered(); err != nil {
			w.fail("%v", err)
		}
	}
}

// A process has a cache and clients.
type process struct {
	*world
	name    string
	tier    *cachetest.Tier
	store   *cachetest.Store // nil if the cache has one of its own
	cache   *cacheruntime.Cache
	one     *cacheruntime.Read[[]int64]
	outer   *cacheruntime.Read[[]int64]
	list    *cacheruntime.Read[[]int64]
	batch   *cacheruntime.Batch[int64, []int64]
	write   *cacheruntime.Write
	bad     *random // weather
	clients sync.WaitGroup
	stop    context.CancelFunc

	mu     sync.Mutex
	own    [rows]int64 // what reads here must see: these writes have returned
	queued []*change   // that have returned, and may not have been delivered yet
	dead   bool
}

// open opens a process with clients, which run until it is stopped.
func (w *world) open() {
	w.mu.Lock()
	w.names++
	p := &process{
		world: w, name: fmt.Sprint("p", w.names), tier: w.shared.Tier(), bad: w.random.fork(),
	}
	w.mu.Unlock()
	p.tier.SetFaults(p.weather(cachetest.Faults{}))
	opts := []cacheruntime.Option{
		cacheruntime.WithLogger(slog.New(slog.DiscardHandler)),
		cacheruntime.WithShared(p.tier),
		cacheruntime.WithMaxStaleness(w.kind.bound),
		cacheruntime.WithAmbiguousWrites(lease, nil),
	}
	if w.kind.guarded {
		opts = append(opts, cacheruntime.WithGuardedWrites(lease))
	}
	if w.random.n(2) == 0 {
		p.store = cachetest.NewStore(w.t)
		opts = append(opts, cacheruntime.WithStore(p.store))
	} else {
		opts = append(opts, cacheruntime.WithMaxBytes(1<<20))
	}
	if w.random.n(2) == 0 {
		opts = append(opts, cacheruntime.WithSharedFlights(50*time.Millisecond))
	}
	cache, err := cacheruntime.New(opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	p.cache = cache
	read := func(method string) *cacheruntime.Read[[]int64] {
		return cacheruntime.NewRead(cache, cacheruntime.ReadConfig[[]int64]{
			Repository: "example.com/world.Rows", Method: method, TTL: time.Hour,
			Encode: func(e *cacheruntime.Encoder, versions []int64) {
				e.Len(len(versions), false)
				for _, version := range versions {
					e.Int(version)
				}
			},
			Decode: func(d *cacheruntime.Decoder) []int64 {
				n, _ := d.Len(1)
				versions := make([]int64, n)
				for i := range versions {
					versions[i] = d.Int()
				}
				return versions
			},
		})
	}
	p.one, p.outer, p.list = read("One"), read("Outer"), read("List")
	p.batch = cacheruntime.NewBatch[int64](p.one, cacheruntime.BatchConfig{Method: "Many"})
	p.write = cacheruntime.NewWrite(cache, "example.com/world.Rows", "Update")
	w.note("%s opens", p.name)

	ctx, stop := context.WithCancel(w.t.Context())
	p.stop = stop
	for n := range 2 {
		reader, rnd := fmt.Sprint(p.name, " reader ", n), w.random.fork()
		p.clients.Go(func() {
			for ctx.Err() == nil {
				rnd.pause(w.duration / 60)
				if rnd.n(8) == 0 {
					rnd.pause(w.duration / 3) // what it then finds may be old
				}
				if rnd.n(20) == 0 {
					p.forgetEntries()
				}
				what, id := rnd.n(readKinds), int64(rnd.n(rows))
				for range 1 + rnd.n(8) { // a hit, if it was not written meanwhile
					p.read(reader, rnd, what, id)
					rnd.pause(5 * time.Millisecond)
				}
			}
		})
	}
	for n := range 1 + w.random.n(2) {
		writer, rnd := fmt.Sprint(p.name, " writer ", n), w.random.fork()
		p.clients.Go(func() {
			for ctx.Err() == nil {
				rnd.pause(w.pace)
				p.update(writer, rnd)
			}
		})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.processes = append(w.processes, p)
	w.opened = append(w.opened, p)
}

// alive returns the processes that have neither ended nor crashed.
func (w *world) alive() []*process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.processes
}

// forget takes a process out of the world.
func (w *world) forget(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var rest []*process
	for _, other := range w.processes {
		if other != p {
			rest = append(rest, other)
		}
	}
	w.processes = rest
}

func tag(name string, id int64) cacheruntime.Tag {
	key := cacheruntime.NewKey()
	key.Int(id)
	return key.Tag("example.com/world." + name)
}

var listTag = cacheruntime.AllTag("example.com/world.list")

// load reads rows of the database.
func (p *process) load(ids ...int64) []int64 {
	p.bad.pause(5 * time.Millisecond)
	w := p.world
	w.mu.Lock()
	versions := make([]int64, len(ids))
	for i, id := range ids {
		versions[i] = w.version[id]
	}
	w.mu.Unlock()
	p.bad.pause(5 * time.Millisecond)
	return versions
}

func (p *process) get(ctx context.Context, id int64) ([]int64, error) {
	key := p.one.Key(ctx)
	defer key.Release()
	key.Int(id)
	if versions, err, ok := p.one.Lookup(ctx, key); ok {
		return versions, err
	}
	return p.one.Load(ctx, key, cacheruntime.Loader[[]int64]{
		Depends: func(tags *cacheruntime.Tags) { tags.Add(tag("row", id)) },
		Call:    func(context.Context) ([]int64, error) { return p.load(id), nil },
	})
}

// getOuter is get through another cached read.
func (p *process) getOuter(ctx context.Context, id int64) ([]int64, error) {
	key := p.outer.Key(ctx)
	defer key.Release()
	key.Int(id)
	if versions, err, ok := p.outer.Lookup(ctx, key); ok {
		return versions, err
	}
	return p.outer.Load(ctx, key, cacheruntime.Loader[[]int64]{
		Depends: func(tags *cacheruntime.Tags) { tags.Add(tag("row", id)) },
		Call: func(ctx context.Context) ([]int64, error) {
			p.bad.pause(5 * time.Millisecond)
			defer p.bad.pause(5 * time.Millisecond)
			return p.get(ctx, id)
		},
	})
}

// getList returns all rows.
func (p *process) getList(ctx context.Context) ([]int64, error) {
	key := p.list.Key(ctx)
	defer key.Release()
	if versions, err, ok := p.list.Lookup(ctx, key); ok {
		return versions, err
	}
	return p.list.Load(ctx, key, cacheruntime.Loader[[]int64]{
		Depends: func(tags *cacheruntime.Tags) { tags.Add(listTag) },
		Call:    func(context.Context) ([]int64, error) { return p.load(0, 1, 2), nil },
	})
}

func (p *process) getMany(ctx context.Context, ids ...int64) ([]cacheruntime.Found[int64, []int64], error) {
	return p.batch.Load(ctx, ids, cacheruntime.BatchLoader[int64, []int64]{
		Key: func(key *cacheruntime.Key, id int64) { key.Int(id) },
		Policy: func(id int64) cacheruntime.Loader[[]int64] {
			return cacheruntime.Loader[[]int64]{Depends: func(tags *cacheruntime.Tags) { tags.Add(tag("row", id)) }}
		},
		Call: func(_ context.Context, ids []int64, add func(int64, []int64)) error {
			for i, version := range p.load(ids...) {
				add(ids[i], []int64{version})
			}
			return nil
		},
	})
}

// least is what a read that begins now must see at least.
func (p *process) least() (least [rows]int64) {
	p.mu.Lock()
	least = p.own
	p.mu.Unlock()
	w, now := p.world, time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.told {
		for _, told := range w.told[id] {
			if w.kind.bound == 0 || now.Sub(told.at) > w.kind.bound {
				least[id] = max(least[id], told.version)
			}
		}
	}
	return least
}

// readKinds is how many reads ask chooses from.
const readKinds = 6

// ask reads, and returns the versions of rows that it saw.
func (p *process) ask(ctx context.Context, client string, what int, id int64) (call *history.Call, seen map[int64]int64, err error) {
	seen = map[int64]int64{}
	single := func(versions []int64, err error) error {
		if err == nil {
			seen[id] = versions[0]
		}
		return err
	}
	switch what {
	case 0, 1:
		call = p.begin(client, "Get(%d)", id)
		err = single(p.get(ctx, id))
	case 2, 3:
		call = p.begin(client, "Outer(%d)", id)
		err = single(p.getOuter(ctx, id))
	case 4:
		call = p.begin(client, "List")
		var versions []int64
		versions, err = p.getList(ctx)
		for id, version := range versions {
			seen[int64(id)] = version
		}
	default:
		call = p.begin(client, "Many(0, %d)", id)
		var found []cacheruntime.Found[int64, []int64]
		found, err = p.getMany(ctx, 0, id)
		for _, f := range found {
			seen[f.ID] = f.Value[0]
		}
	}
	return call, seen, err
}

// read makes a read and judges it.
func (p *process) read(client string, rnd *random, what int, id int64) {
	ctx := p.t.Context()
	var cancel context.CancelFunc
	switch rnd.n(20) {
	case 0:
		ctx = cacheruntime.Refresh(ctx)
	case 1:
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rnd.n(int(10*time.Millisecond))))
		defer cancel()
	}
	least, began := p.least(), time.Now()
	call, seen, err := p.ask(ctx, client, what, id)
	if err != nil {
		call.Fail()
		if ctx.Err() == nil {
			p.fail("%s: %v", client, err)
		}
		return
	}
	p.judgeRead(client, call, seen, least, began)
}

// judgeRead judges what a read saw that began at a time, when it was to see at least
// those versions.
func (p *process) judgeRead(client string, call *history.Call, seen map[int64]int64, least [rows]int64, began time.Time) {
	for id := range int64(rows) {
		version, ok := seen[id]
		if !ok {
			continue
		}
		call.Saw(int(id), version)
		if version < least[id] {
			call.Return()
			p.fail("%s, which began at %v: STALE: row %d as of version %d, and %d is to be seen", client, began.Sub(p.began), id, version, least[id])
			return
		}
	}
	call.Return()
	// Whatever it waits for has a time of its own: proofs, entries, locks. But who
	// learns of a few records at a time may run after the others for long.
	if took := time.Since(began); took > 3*time.Second && !p.bitByBit {
		p.fail("%s: a read took %v", client, took)
	}
}

var errNotDone = errors.New("not done")

// A change is what a write does to the database.
type change struct {
	process *process
	call    *history.Call
	rnd     *random
	ids     []int64
	began   time.Time
	done    map[int64]int64 // versions that were committed
	late    bool            // they will be
	over    chan struct{}   // closed when the call has returned
	crash   bool
}

// make makes the change, or not, and returns what the database does.
func (c *change) make(ctx context.Context) error {
	p, rnd := c.process, c.rnd
	for range rnd.n(3) {
		rnd.pause(30 * time.Millisecond)
	}
	guarded := p.kind.guarded
	if ctx.Err() != nil || guarded && time.Since(c.began) > lease/2 {
		return errors.Join(errNotDone, ctx.Err())
	}
	how := rnd.n(10)
	switch {
	case how == 0:
		return errNotDone
	case how == 1:
		// It lands before the lease is over that began before the call, or with the
		// one that begins when it returns.
		left := lease - time.Since(c.began)
		if !guarded {
			left = lease
		}
		c.late = true
		after := time.Duration(rnd.n(int(left - time.Millisecond)))
		p.late.Go(func() {
			<-time.After(after)
			c.commit()
			<-c.over
			p.landed(c)
		})
		return driver.ErrBadConn
	}
	c.commit()
	if guarded && !p.kind.lossy && how == 2 && rnd.n(4) == 0 {
		c.crash = true
		return nil
	}
	for range rnd.n(4) { // the change can be seen, and the write has not returned
		rnd.pause(20 * time.Millisecond)
	}
	if how == 3 {
		panic(errNotDone)
	}
	return nil
}

func (c *change) commit() {
	w := c.process.world
	w.mu.Lock()
	defer w.mu.Unlock()
	c.done = map[int64]int64{}
	for _, id := range c.ids {
		w.version[id]++
		c.call.Wrote(int(id), w.version[id])
		c.done[id] = w.version[id]
	}
}

// update makes a write or a transaction, invalidates by hand, or clears the cache.
func (p *process) update(client string, rnd *random) {
	if rnd.n(30) == 0 {
		call := p.begin(client, "Clear")
		if err := p.cache.Clear(p.t.Context()); err != nil && !errors.Is(err, cacheruntime.ErrUndelivered) {
			p.fail("%s: clear: %v", client, err)
		}
		call.Return()
		return
	}
	if rnd.n(8) == 0 {
		p.invalidate(client, rnd)
		return
	}
	c := &change{process: p, rnd: rnd, ids: []int64{int64(rnd.n(rows))}, over: make(chan struct{})}
	refused := error(nil)
	func() {
		defer func() {
			if v := recover(); v != nil && v != error(errNotDone) {
				panic(v)
			}
		}()
		if rnd.n(4) == 0 {
			if id := int64(rnd.n(rows)); id != c.ids[0] {
				c.ids = append(c.ids, id)
			}
			c.call = p.begin(client, "Update(%v) in a transaction", c.ids)
			ctx, tx := p.cache.Begin(p.t.Context())
			defer tx.End()
			for _, id := range c.ids {
				if _, w, err := p.write.Begin(ctx, p.stale(id)); err != nil {
					p.fail("%s: refused in a transaction: %v", client, err)
				} else {
					w.Returned(nil)
					w.End()
				}
				rnd.pause(10 * time.Millisecond)
			}
			c.began = time.Now()
			err := tx.Commit(func() error {
				err := c.make(ctx)
				c.crash = false // the commit is the end of the call here
				return err
			})
			if errors.Is(err, cacheruntime.ErrRefused) {
				refused = err
			}
			return
		}
		c.call = p.begin(client, "Update(%v)", c.ids)
		c.began = time.Now()
		ctx, w, err := p.write.Begin(p.t.Context(), p.stale(c.ids[0]))
		if refused = err; err != nil {
			return
		}
		defer func() {
			if !c.crash {
				w.End()
			}
		}()
		w.Returned(c.make(ctx))
	}()
	close(c.over)
	switch {
	case refused != nil:
		c.call.Fail()
		if !p.kind.guarded || !errors.Is(refused, cacheruntime.ErrRefused) {
			p.fail("%s: refused: %v", client, refused)
		}
	case c.crash:
		c.call.Fail()
		p.crash()
	case !c.late:
		p.returned(c)
	}
}

// invalidate changes a row behind the back of the cache, and invalidates it by hand.
// Where writes are guarded it changes nothing: others must be told before.
func (p *process) invalidate(client string, rnd *random) {
	id := int64(rnd.n(rows))
	c := &change{process: p, ids: []int64{id}, call: p.begin(client, "Invalidate(%d)", id)}
	if !p.kind.guarded {
		c.commit()
		rnd.pause(20 * time.Millisecond)
	}
	err := p.cache.Invalidate(p.t.Context(), tag("row", id), listTag)
	if err != nil && !errors.Is(err, cacheruntime.ErrUndelivered) {
		p.fail("%s: invalidate: %v", client, err)
	}
	p.returned(c)
}

// forgetEntries empties the memory of the process, if it is one that can be emptied.
func (p *process) forgetEntries() {
	if p.store != nil {
		p.store.ForgetAll()
	}
}

// touch makes a plain write.
func (p *process) touch(ctx context.Context, id int64) {
	c := &change{process: p, ids: []int64{id}, call: p.begin(p.name, "Update(%d)", id)}
	_, w, err := p.write.Begin(ctx, p.stale(id))
	if err != nil {
		p.fail("afterwards, a write is refused: %v", err)
		return
	}
	c.commit()
	w.Returned(nil)
	w.End()
	c.call.Return()
}

func (p *process) stale(id int64) func(*cacheruntime.Tags) {
	return func(tags *cacheruntime.Tags) { tags.Add(tag("row", id), listTag) }
}

// returned is called when a write has returned. This process is to see it from now
// on, the others when they are told: with a guarded write they were told before.
func (p *process) returned(c *change) {
	p.mu.Lock()
	for id, version := range c.done {
		p.own[id] = max(p.own[id], version)
	}
	p.mu.Unlock()
	if p.kind.guarded && !p.kind.lossy || p.cache.Stats().Shared.Queued == 0 {
		p.tell(c)
	} else {
		p.tellLater(c)
	}
	c.call.Return()
}

// landed is called when a change has been made that came late. If the log had been
// told that it is in doubt, it is marked.
func (p *process) landed(c *change) {
	defer c.call.Return()
	p.mu.Lock()
	for id, version := range c.done {
		p.own[id] = max(p.own[id], version)
	}
	p.mu.Unlock()
	if p.kind.lossy {
		return // others may not know of the mark
	}
	if p.kind.guarded || p.cache.Stats().Shared.Queued == 0 {
		p.tell(c)
	} else {
		p.tellLater(c)
	}
}

// tell makes all processes answerable for a change.
func (w *world) tell(c *change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, version := range c.done {
		w.told[id] = append(w.told[id], told{time.Now(), version})
	}
}

// tellLater does so when nothing is left to be delivered.
func (p *process) tellLater(c *change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.queued = append(p.queued, c); len(p.queued) == 1 {
		p.late.Go(p.tellQueued)
	}
}

// tellQueued tells of the changes that wait for it. Those that cannot be delivered within
// some seconds are not told of: nothing is asked of others until the end.
func (p *process) tellQueued() {
	const every, patience = 25 * time.Millisecond, 5 * time.Second
	for last := time.Now(); time.Since(last) < patience; {
		p.mu.Lock()
		n := len(p.queued)
		p.mu.Unlock()
		<-time.After(every)
		if p.cache.Stats().Shared.Queued > 0 {
			continue
		}
		p.mu.Lock()
		delivered := p.queued[:n]
		p.queued = p.queued[n:]
		n = len(p.queued)
		p.mu.Unlock()
		for _, c := range delivered {
			p.tell(c)
		}
		if n == 0 {
			return
		}
		last = time.Now()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queued = nil
}

// crash ends a process without any of what it would do in the end.
func (p *process) crash() {
	p.mu.Lock()
	dead := p.dead
	p.dead = true
	p.mu.Unlock()
	if dead {
		return
	}
	p.note("%s crashes", p.name)
	p.tier.Cut()
	p.stop()
	p.forget(p)
	p.late.Go(func() {
		p.clients.Wait()
		p.cache.Close() // it was cut off: nobody hears of it
	})
}

// end ends a process in good order.
func (p *process) end() {
	p.mu.Lock()
	dead := p.dead
	p.dead = true
	p.mu.Unlock()
	if dead {
		return
	}
	p.forget(p)
	p.note("%s ends", p.name)
	p.stop()
	p.clients.Wait()
	if err := p.cache.Close(); err != nil {
		p.note("%s: %v", p.name, err)
		p.world.mu.Lock()
		p.untold = true
		p.world.mu.Unlock()
	}
}

// weather is that there is always a delay, so that no two things happen at the very same
// time, with more faults on top.
func (p *process) weather(faults cachetest.Faults) cachetest.Faults {
	hiccups := p.hiccups
	delayed := func(worse func(string) cachetest.Fate) func(string) cachetest.Fate {
		return func(call string) (fate cachetest.Fate) {
			if worse != nil {
				fate = worse(call)
			}
			fate.Delay += time.Duration(1 + p.bad.n(int(p.delay)))
			if hiccups && p.bad.n(40) == 0 {
				fate.Delay += time.Duration(p.bad.n(int(600 * time.Millisecond)))
			}
			return fate
		}
	}
	faults.Request, faults.Reply = delayed(faults.Request), delayed(faults.Reply)
	return faults
}

// harass makes things go wrong until the time is over.
func (w *world) harass(over context.Context) {
	rnd := w.random
	for {
		select {
		case <-time.After(time.Duration(rnd.n(int(w.duration / 8)))):
		case <-over.Done():
			return
		}
		processes := w.alive()
		if len(processes) < 2 {
			w.open()
			continue
		}
		p := processes[rnd.n(len(processes))]
		switch rnd.n(8) {
		case 0:
			w.note("%s heals", p.name)
			p.tier.Heal()
			p.tier.SetFaults(p.weather(cachetest.Faults{}))
		case 1, 2:
			w.note("all heal")
			w.shared.Heal()
		case 3:
			if len(processes) < 4 {
				w.open()
			}
		default:
			w.faults[rnd.n(len(w.faults))](p, rnd)
		}
	}
}

// A fault is something that goes wrong for a process or for all.
type fault func(p *process, rnd *random)

// harmless is the number of faults, at the beginning, with which nothing is lost that
// the log was told.
const harmless = 18

var faults = []fault{
	func(p *process, _ *random) {
		p.note("%s is cut off", p.name)
		p.tier.Cut()
	},
	func(p *process, _ *random) {
		p.note("%s stalls", p.name)
		p.tier.Stall()
	},
	func(p *process, _ *random) {
		p.note("all are cut off")
		p.shared.Cut()
	},
	func(p *process, _ *random) {
		p.note("all stall")
		p.shared.Stall()
	},
	func(p *process, _ *random) {
		p.note("the connections of %s break", p.name)
		p.tier.Break()
	},
	func(p *process, rnd *random) {
		lost, broken := float64(rnd.n(30))/100, float64(rnd.n(30))/100
		p.note("%s loses %v and breaks %v of its messages", p.name, lost, broken)
		p.tier.SetFaults(p.weather(cachetest.Faults{
			Request: cachetest.RandomFate(uint64(rnd.n(1<<30)), p.delay, lost, broken),
			Reply:   cachetest.RandomFate(uint64(rnd.n(1<<30)), p.delay, lost, broken),
		}))
	},
	func(p *process, rnd *random) {
		request, reply := time.Duration(rnd.n(int(time.Second))), time.Duration(rnd.n(int(time.Second)))
		if rnd.n(2) == 0 {
			request = 0
		}
		p.note("%s is slow: up to %v to get there and %v to come back", p.name, request, reply)
		p.tier.SetFaults(p.weather(cachetest.Faults{
			Request: cachetest.RandomFate(uint64(rnd.n(1<<30)), request, 0, 0),
			Reply:   cachetest.RandomFate(uint64(rnd.n(1<<30)), reply, 0, 0),
		}))
	},
	func(p *process, rnd *random) {
		p.note("what %s is told is forged", p.name)
		forged := forgery(rnd.fork())
		forged.Request = cachetest.RandomFate(uint64(rnd.n(1<<30)), 50*time.Millisecond, 0, 0) // for many records in a reply
		p.tier.SetFaults(p.weather(forged))
	},
	func(p *process, rnd *random) {
		p.note("what %s is told is cut short", p.name)
		rnd = rnd.fork()
		p.tier.SetFaults(p.weather(cachetest.Faults{
			Request: cachetest.RandomFate(uint64(rnd.n(1<<30)), 50*time.Millisecond, 0, 0), // for many records in a reply
			Log: func(_ string, reply *cacheruntime.LogReply) error {
				if n := len(reply.Records); n > 1 && rnd.n(2) == 0 {
					reply.Records = reply.Records[:1+rnd.n(n-1)]
				}
				return nil
			},
		}))
	},
	func(p *process, _ *random) {
		p.note("%s is not woken up", p.name)
		p.tier.SetFaults(p.weather(cachetest.Faults{
			Reply: func(call string) cachetest.Fate { return cachetest.Fate{Lost: call == "Wait"} },
		}))
	},
	func(p *process, rnd *random) {
		n := rnd.n(5)
		p.note("the log is trimmed to %d", n)
		p.shared.Trim(n)
	},
	func(p *process, _ *random) {
		p.note("the log is evicted")
		p.shared.EvictLog()
	},
	func(p *process, _ *random) {
		p.note("entries are evicted")
		p.shared.EvictEntries()
	},
	func(p *process, _ *random) {
		p.note("entries are damaged")
		p.shared.DamageEntries()
	},
	func(p *process, _ *random) {
		p.note("fail over, without loss")
		p.shared.FailOver(0)
	},
	func(p *process, _ *random) { p.late.Go(p.end) },
	func(p *process, _ *random) { p.forgetEntries() },
	func(p *process, rnd *random) {
		p.note("what all but %s ask for is slow", p.name)
		for _, other := range p.alive() {
			if other != p {
				other.tier.SetFaults(other.weather(cachetest.Faults{
					Request: cachetest.RandomFate(uint64(rnd.n(1<<30)), p.duration/8, 0, 0),
				}))
			}
		}
	},

	// From here on marks and records may be lost.
	func(p *process, _ *random) {
		p.note("flush")
		p.shared.Flush()
	},
	func(p *process, _ *random) {
		p.note("the marks are evicted")
		p.shared.EvictMarks()
	},
	func(p *process, rnd *random) {
		if rnd.n(2) == 0 {
			p.note("save")
			p.shared.Save()
			return
		}
		p.note("restart")
		p.shared.Restart()
	},
	func(p *process, rnd *random) {
		n := rnd.n(10)
		p.note("fail over, %d are lost", n)
		p.shared.FailOver(n)
	},
}

// forgery makes replies ones that a log of this kind could not give.
func forgery(rnd *random) cachetest.Faults {
	return cachetest.Faults{
		Log: func(call string, reply *cacheruntime.LogReply) error {
			n := len(reply.Records)
			i := rnd.n(max(n, 1))
			switch rnd.n(16) {
			case 0:
				return fmt.Errorf("forged: %w", cacheruntime.ErrMalformed)
			case 1:
				*reply = cacheruntime.LogReply{}
			case 2:
				reply.Known, reply.Records = false, nil
			case 3:
				reply.Head.Epoch++
			case 4:
				reply.Head.Number += 1 << 60
			case 5:
				if call == "Prove" {
					reply.Head.Number += 3
				}
			case 6:
				reply.Head.ID[0]++
			case 7:
				if n > 0 {
					reply.Records[i].Previous[0]++
				}
			case 8:
				if n > 0 {
					reply.Records[i].ID[0]++
				}
			case 9:
				if n > 0 {
					reply.Records[i].Number += 1 << 60
				}
			case 10:
				if n > 0 {
					reply.Records = append(reply.Records[:i], reply.Records[i+1:]...)
				}
			case 11:
				if n > 0 {
					reply.Records = append(reply.Records, reply.Records[i])
				}
			case 12, 13:
				if n > 1 {
					i = rnd.n(n - 1)
					// As if there had never been that record, but for the one after it.
					reply.Records = append(reply.Records[:i], reply.Records[i+1:]...)
					for j := i; j < n-1; j++ {
						reply.Records[j].Number--
					}
					reply.Head.Number--
				}
			}
			return nil
		},
		Snapshot: func(snapshot *cacheruntime.LogSnapshot) error {
			switch rnd.n(20) {
			case 0:
				return fmt.Errorf("forged: %w", cacheruntime.ErrMalformed)
			case 1:
				*snapshot = cacheruntime.LogSnapshot{}
			case 2:
				snapshot.At.Epoch++
			case 3:
				snapshot.At.Number += 1 << 60
			case 4:
				snapshot.At.ID[0]++
			case 5:
				snapshot.Words = append(snapshot.Words, snapshot.At.Number+1)
			case 6:
				snapshot.Words = make([]uint64, cacheruntime.SharedTableSize+1)
			case 7:
				snapshot.Cleared = snapshot.At.Number + 1
			}
			return nil
		},
		Entry: func(_ string, entry []byte) []byte {
			if i := rnd.n(4 * len(entry)); i < len(entry) {
				entry[i]++
			}
			return entry
		},
	}
}
