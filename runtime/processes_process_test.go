package cacheruntime_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cachegen/cachegen/internal/proof/history"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

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
	for n := range w.random.n(3) { // who only reads has the more hits
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

// forgetEntries empties the memory of the process, if it is one that can be emptied.
func (p *process) forgetEntries() {
	if p.store != nil {
		p.store.ForgetAll()
	}
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
