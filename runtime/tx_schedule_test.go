package cacheruntime

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// expectNoMarks fails the test if any write is still in progress or in doubt.
func (t *table) expectNoMarks(tb testing.TB) {
	tb.Helper()
	for i := range t.words {
		if w := t.words[i].Load(); w >= oneMark {
			tb.Errorf("word %d has %d marks", i, w>>clockBits)
		}
	}
	if w := t.cleared.Load(); w >= oneMark {
		tb.Errorf("everything has %d marks", w>>clockBits)
	}
	if len(t.spilled) > 0 {
		tb.Errorf("spilled: %v", t.spilled)
	}
}

type txWorld struct {
	mu   sync.Mutex
	rng  *rand.Rand
	rows [3]int // versions
	next [3]int
	must [3]int // landed and known
	seen [3]int
}

func (w *txWorld) n(n int) int { w.mu.Lock(); defer w.mu.Unlock(); return w.rng.IntN(n) }
func (w *txWorld) pause() {
	if w.n(2) == 0 {
		advance(time.Duration(w.n(20)) * time.Millisecond)
	}
}

// land commits and says what is to be seen once it is known.
func (w *txWorld) land(wrote [3]bool, known bool) (v [3]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, x := range wrote {
		if x {
			w.rows[i]++
			v[i] = w.rows[i]
			if known {
				w.must[i] = max(w.must[i], v[i])
			}
		}
	}
	return v
}
func (w *txWorld) known(v [3]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range v {
		w.must[i] = max(w.must[i], v[i])
	}
}

// Transactions at random, within each other, committed, rolled back, in doubt and
// committed again: whoever reads after one has returned sees what it wrote, and no
// mark is left behind.
func TestTxSchedules(t *testing.T) {
	for seed := range uint64(*seeds) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { txSchedule(t, seed) })
		}) {
			return
		}
	}
}

func txSchedule(t *testing.T, seed uint64) {
	w := &txWorld{rng: rand.New(rand.NewPCG(seed, 11))}
	guarded := w.n(2) == 0
	var opts []Option
	if guarded {
		opts = append(opts, WithGuardedWrites(time.Minute))
	}
	r := newPosts(t, nil, opts...)
	r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	load := func(ctx context.Context, id int64) (*post, error) {
		w.pause()
		w.mu.Lock()
		v := w.rows[id]
		w.mu.Unlock()
		w.pause()
		return &post{ID: id, Author: int64(v)}, nil
	}
	get := func(ctx context.Context, id int64) (*post, error) {
		key := r.read.Key(ctx)
		defer key.Release()
		key.Int(id)
		if v, err, ok := r.read.Lookup(ctx, key); ok {
			return v, err
		}
		return r.read.Load(ctx, key, Loader[*post]{
			Depends: func(tags *Tags) { tags.Add(postTag(id)) },
			Call:    func(ctx context.Context) (*post, error) { return load(ctx, id) },
		})
	}
	lists := newPostsOn(r.cache, func(cfg *ReadConfig[*post]) { cfg.Method = "List" })
	list := func(ctx context.Context) (*post, error) {
		key := lists.read.Key(ctx)
		defer key.Release()
		if v, err, ok := lists.read.Lookup(ctx, key); ok {
			return v, err
		}
		return lists.read.Load(ctx, key, Loader[*post]{
			Depends: func(tags *Tags) { tags.Add(feedTag()) },
			Call: func(ctx context.Context) (*post, error) {
				p := &post{}
				for id := range int64(3) {
					q, err := get(ctx, id)
					if err != nil {
						return nil, err
					}
					p.Tags = append(p.Tags, fmt.Sprint(q.Author))
				}
				return p, nil
			},
		})
	}
	read := func(ctx context.Context, own [3]int) {
		w.mu.Lock()
		must, seen := w.must, w.seen
		w.mu.Unlock()
		var got [3]int
		isList := w.n(3) == 0
		id := w.n(3)
		if isList {
			p, err := list(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			for i, s := range p.Tags {
				fmt.Sscan(s, &got[i])
			}
		} else {
			p, err := get(ctx, int64(id))
			if err != nil {
				t.Error(err)
				return
			}
			got[id] = int(p.Author)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for i := range got {
			if !isList && i != id {
				continue
			}
			if got[i] < must[i] {
				t.Errorf("STALE %d (list %v): %d, must be %d", i, isList, got[i], must[i])
			}
			if guarded && got[i] < seen[i] {
				t.Errorf("NOT LINEAR %d (list %v): %d, seen %d", i, isList, got[i], seen[i])
			}
			w.seen[i] = max(w.seen[i], got[i])
		}
	}
	failure := errors.New("failed")
	// run is a call of the database that lands what was written, or not.
	run := func(wrote [3]bool) (call func() error, done func()) {
		var v [3]int
		return func() error {
			w.pause()
			switch w.n(6) {
			case 0:
				return failure
			case 1: // in doubt: it did not land
				return driver.ErrBadConn
			case 2: // it did
				v = w.land(wrote, false)
				w.pause()
				return driver.ErrBadConn
			case 3: // it will
				d := 100*time.Millisecond + time.Duration(w.n(3000))*time.Millisecond
				go func() {
					advance(d)
					w.land(wrote, true)
				}()
				advance(0)
				return driver.ErrBadConn
			}
			v = w.land(wrote, false)
			w.pause()
			return nil
		}, func() { w.known(v) }
	}
	write := func(ctx context.Context, call func(ctx context.Context) error, ids [3]bool) error {
		after := w.n(2) == 0
		n := 0
		ctx, c, err := r.update.Begin(ctx, func(tags *Tags) {
			n++
			for i, x := range ids {
				if x {
					if after && !guarded && n == 1 {
						continue
					}
					tags.Add(postTag(int64(i)))
				}
			}
			tags.Add(feedTag())
		})
		if err != nil {
			return err
		}
		defer c.End()
		return c.Returned(call(ctx))
	}
	ids := func() (x [3]bool) {
		for i := range x {
			x[i] = w.n(2) == 0
		}
		return
	}
	or := func(a, b [3]bool) [3]bool {
		for i := range a {
			a[i] = a[i] || b[i]
		}
		return a
	}
	var body func(ctx context.Context, depth int) (wrote [3]bool)
	// tx is a transaction: in the database one of its own, or that around it.
	tx := func(ctx context.Context, depth int) (left [3]bool) {
		outside := ctx
		own := depth == 0 || w.n(2) == 0
		ctx, side := r.cache.Begin(ctx)
		if w.n(6) > 0 {
			defer side.End()
		} else {
			defer func() { side.End(); side.End() }()
		}
		wrote := body(ctx, depth+1)
		end := w.n(5)
		if !own {
			if end == 0 {
				side.Commit(func() error { return nil })
			} // else End
			return wrote
		}
		if end == 0 { // rolled back
			return
		}
		call, done := run(wrote)
		err := side.Commit(call)
		if err == nil || !errors.Is(err, failure) {
			done()
		}
		if errors.Is(err, failure) && w.n(2) == 0 {
			call, done := run(wrote)
			side.Commit(call)
			done()
		}
		// with the context of the one that has ended, and no other around
		if depth == 0 && w.n(2) == 0 {
			x := ids()
			call, done := run(x)
			write(ctx, func(context.Context) error { return call() }, x)
			done()
		}
		_ = outside
		return
	}
	body = func(ctx context.Context, depth int) (wrote [3]bool) {
		for range 1 + w.n(3) {
			w.pause()
			switch k := w.n(5); {
			case k < 2:
				x := ids()
				if write(ctx, func(context.Context) error {
					w.pause()
					if w.n(5) == 0 {
						return failure
					}
					return nil
				}, x) == nil {
					wrote = or(wrote, x)
				}
			case k == 2 && depth < 3:
				wrote = or(wrote, tx(ctx, depth))
			case k == 3:
				get(ctx, int64(w.n(3)))
				list(ctx)
			case w.n(4) == 0:
				r.cache.Clear(ctx)
			}
		}
		return
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 8 {
				w.pause()
				if w.n(3) == 0 {
					x := ids()
					call, done := run(x)
					write(t.Context(), func(context.Context) error { return call() }, x)
					done()
					continue
				}
				tx(t.Context(), 0)
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for range 40 {
				w.pause()
				ctx := t.Context()
				if w.n(4) == 0 {
					ctx = Bypass(ctx)
				}
				read(ctx, [3]int{})
			}
		})
	}
	wg.Wait()
	advance(2 * time.Minute)
	synctest.Wait()
	if seed%10 == 0 { // it takes a while under the race detector
		r.cache.view().expectNoMarks(t)
	}
	for _, read := range []*Read[*post]{r.read, lists.read} {
		if len(read.flights) != 0 {
			t.Errorf("%d flights are left", len(read.flights))
		}
	}
}
