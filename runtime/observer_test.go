package cacheruntime

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A recounter is an observer that counts anew what Stats counts.
type recounter struct {
	mu      sync.Mutex
	counts  map[methodName]*Counts
	events  []Event
	unknown []Outcome
}

func (o *recounter) Observe(_ context.Context, e Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
	name := methodName{e.Repository, e.Method}
	if o.counts == nil {
		o.counts = map[methodName]*Counts{}
	}
	c := o.counts[name]
	if c == nil {
		c = &Counts{}
		o.counts[name] = c
	}
	switch e.Outcome {
	case Hit:
		c.Hits++
	case NegativeHit:
		c.NegativeHits++
	case Stale:
		c.Stale++
	case Miss:
		c.Misses++
	case Joined:
		c.Joined++
	case Reloaded:
		c.Reloads++
	case Skipped:
		c.Skipped++
	case Bypassed:
		c.Bypassed++
	case Invalidated:
		*map[Cause]*uint64{
			CauseWrite:       &c.Invalidations.Writes,
			CauseFailed:      &c.Invalidations.Failed,
			CauseAmbiguous:   &c.Invalidations.Ambiguous,
			CauseTransaction: &c.Invalidations.Transactions,
			CauseLease:       &c.Invalidations.Leases,
			CauseByHand:      &c.Invalidations.ByHand,
			CauseClear:       &c.Invalidations.Clears,
		}[e.Cause]++
	case Loaded:
		c.Loads++
		c.LoadTime += e.Duration
		c.LoadTimes.add(times(e.Duration))
		if e.Err != nil {
			c.LoadErrors++
		}
	case Refreshing:
		c.Refreshes++
	case Overtaken:
		c.Overtaken++
	case Marked:
		c.Marks++
	case Refused:
		c.Refused++
	case StoreFailed:
		c.StoreErrors++
	case Undecodable:
		c.Undecodable++
	case Unencodable:
		c.Unencodable++
	case Undecided:
		c.Undecided++
	case Evicted:
		c.Evictions++
	default:
		o.unknown = append(o.unknown, e.Outcome)
	}
}

func (o *recounter) of(repository, method string) Counts {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.counts[methodName{repository, method}]; c != nil {
		return *c
	}
	return Counts{}
}

func (o *recounter) outcomes() []Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	var outcomes []Outcome
	for _, e := range o.events {
		outcomes = append(outcomes, e.Outcome)
	}
	return outcomes
}

// countsOf is what the cache counted for a method.
func countsOf(cache *Cache, repository, method string) Counts {
	for _, m := range cache.Stats().Methods {
		if m.Repository == repository && m.Method == method {
			return m.Counts
		}
	}
	return Counts{}
}

// checkRecount fails the test unless the observer was told what the cache counted
// for every read.
func checkRecount(t *testing.T, cache *Cache, o *recounter) {
	t.Helper()
	for _, m := range cache.Stats().Methods {
		if m.Method == "Update" {
			continue
		}
		if diff := cmp.Diff(m.Counts, o.of(m.Repository, m.Method)); diff != "" {
			t.Errorf("the observer was told something else than what was counted for %s:\n%s", m.Method, diff)
		}
	}
	if o.unknown != nil {
		t.Errorf("the observer was told %q", o.unknown)
	}
}

// TestCounts has a scenario for each number: exactly what it is meant to count is
// counted, and told to an observer.
func TestCounts(t *testing.T) {
	const ms = time.Millisecond
	type env struct {
		*posts
		t     *testing.T
		ctx   context.Context
		store *memoryStore
	}
	// once makes a load do something the first time.
	once := func(f func(ctx context.Context)) func(context.Context, int64) {
		var done atomic.Bool // not a sync.Once, in which f could not load again
		return func(ctx context.Context, _ int64) {
			if !done.Swap(true) {
				f(ctx)
			}
		}
	}
	panics := func(f func()) {
		defer func() { recover() }()
		f()
	}
	for _, tc := range []struct {
		name      string
		configure func(*ReadConfig[*post])
		run       func(env)
		want      Counts
	}{
		{name: "nothing"},
		{
			name: "hits",
			run: func(e env) {
				for range 3 {
					e.title(e.ctx, 7)
				}
			},
			want: Counts{Misses: 1, Hits: 2, Loads: 1, LoadTimes: times(0)},
		},
		{
			name: "negative hits",
			run: func(e env) {
				for range 3 {
					e.title(e.ctx, 8)
				}
			},
			want: Counts{Misses: 1, NegativeHits: 2, Loads: 1, LoadTimes: times(0)},
		},
		{
			name: "load times",
			run: func(e env) {
				e.enter = func(_ context.Context, id int64) { advance(time.Duration(id) * ms) }
				for _, id := range []int64{7, 8, 100} {
					e.title(e.ctx, id)
				}
			},
			want: Counts{Misses: 3, Loads: 3, LoadTime: 115 * ms, LoadTimes: times(7*ms, 8*ms, 100*ms)},
		},
		{
			name: "expiry and invalidation",
			run: func(e env) {
				e.title(e.ctx, 7)
				advance(time.Hour)
				e.title(e.ctx, 7)
				e.cache.Invalidate(e.ctx, postTag(7))
				e.title(e.ctx, 7)
				e.cache.Clear(e.ctx)
				e.title(e.ctx, 7)
			},
			want: Counts{Misses: 4, Loads: 4, LoadTimes: times(0, 0, 0, 0)},
		},
		{
			name: "joined",
			run: func(e env) {
				e.enter = func(context.Context, int64) { advance(ms) }
				var wg sync.WaitGroup
				for range 4 {
					wg.Go(func() { e.title(e.ctx, 7) })
				}
				wg.Wait()
			},
			want: Counts{Misses: 1, Joined: 3, Loads: 1, LoadTime: ms, LoadTimes: times(ms)},
		},
		{
			name: "reloads",
			run: func(e env) {
				e.reloading(e.ctx, func() error { return nil }, e.reload)
				e.title(e.ctx, 7)
			},
			want: Counts{Reloads: 1, Hits: 1, Loads: 1, LoadTimes: times(0)},
		},
		{
			name: "refresh and bypass",
			run: func(e env) {
				e.title(e.ctx, 7)
				e.title(Refresh(e.ctx), 7)
				e.title(Bypass(e.ctx), 7)
			},
			want: Counts{Misses: 2, Bypassed: 1, Loads: 2, LoadTimes: times(0, 0)},
		},
		{
			name: "closed",
			run: func(e env) {
				e.cache.Close()
				e.title(e.ctx, 7)
			},
			want: Counts{Bypassed: 1},
		},
		{
			name: "condition before the call",
			run:  func(e env) { e.read.Skip(e.ctx) },
			want: Counts{Skipped: 1},
		},
		{
			name: "condition after the call",
			run: func(e env) {
				e.posts.store = func(*post) bool { return false }
				e.title(e.ctx, 7)
			},
			want: Counts{Misses: 1, Loads: 1, LoadTimes: times(0)},
		},
		{
			name: "key that failed",
			run: func(e env) {
				key := e.read.Key(e.ctx)
				defer key.Release()
				func() {
					defer key.Recover()
					panic("no key")
				}()
				if _, _, ok := e.read.Lookup(e.ctx, key); ok {
					e.t.Error("a hit")
				}
				e.read.Load(e.ctx, key, Loader[*post]{Call: func(ctx context.Context) (*post, error) { return e.load(ctx, 7) }})
			},
			want: Counts{Skipped: 1},
		},
		{
			name: "tag of an argument that panics",
			run: func(e env) {
				e.depends = func(int64) []Tag { panic("no tag") }
				e.title(e.ctx, 7)
			},
			want: Counts{Skipped: 1},
		},
		{
			name: "read inside its own load",
			run: func(e env) {
				e.enter = once(func(ctx context.Context) { e.title(ctx, 7) })
				e.title(e.ctx, 7)
			},
			want: Counts{Misses: 1, Skipped: 1, Loads: 1, LoadTimes: times(0)},
		},
		{
			name: "overtaken",
			run: func(e env) {
				e.leave = once(func(context.Context) { e.cache.Invalidate(e.ctx, postTag(7)) })
				e.title(e.ctx, 7)
			},
			want: Counts{Misses: 1, Loads: 1, Overtaken: 1, LoadTimes: times(0)},
		},
		{
			name:      "load that fails",
			configure: func(cfg *ReadConfig[*post]) { cfg.Negative = nil },
			run:       func(e env) { e.title(e.ctx, 8) },
			want:      Counts{Misses: 1, Loads: 1, LoadErrors: 1, LoadTimes: times(0)},
		},
		{
			name: "load that panics",
			run: func(e env) {
				e.enter = func(context.Context, int64) {
					advance(ms)
					panic("load")
				}
				panics(func() { e.title(e.ctx, 7) })
			},
			want: Counts{Misses: 1, Loads: 1, LoadErrors: 1, LoadTime: ms, LoadTimes: times(ms)},
		},
		{
			name: "load that ends its goroutine",
			run: func(e env) {
				e.enter = func(context.Context, int64) { runtime.Goexit() }
				e.title(e.ctx, 7)
			},
			want: Counts{Misses: 1, Loads: 1, LoadErrors: 1, LoadTimes: times(0)},
		},
		{
			name: "caller without time",
			run: func(e env) {
				ctx, cancel := context.WithCancel(e.ctx)
				cancel()
				e.title(ctx, 7)
			},
			want: Counts{Misses: 1},
		},
		{
			name: "caller that leaves",
			run: func(e env) {
				e.enter = func(context.Context, int64) { advance(3 * ms) }
				ctx, cancel := context.WithTimeout(e.ctx, ms)
				defer cancel()
				e.title(ctx, 7)
				advance(3 * ms)
				e.title(e.ctx, 7)
			},
			want: Counts{Misses: 1, Hits: 1, Loads: 1, LoadTime: 3 * ms, LoadTimes: times(3 * ms)},
		},
		{
			name: "store that cannot be read",
			run: func(e env) {
				e.store.getErr = errors.New("no store")
				e.title(e.ctx, 7)
			},
			want: Counts{Misses: 1, Loads: 1, StoreErrors: 2, LoadTimes: times(0)}, // the flight looks again
		},
		{
			name: "store that cannot be written",
			run: func(e env) {
				e.store.setErr = errors.New("no store")
				e.title(e.ctx, 7)
			},
			want: Counts{Misses: 1, Loads: 1, StoreErrors: 1, LoadTimes: times(0)},
		},
		{
			name: "damaged entry",
			run: func(e env) {
				e.title(e.ctx, 7)
				for key, entry := range e.store.entries {
					e.store.entries[key] = entry[:len(entry)-1]
				}
				e.title(e.ctx, 7)
			},
			want: Counts{Misses: 2, Loads: 2, Undecodable: 2, LoadTimes: times(0, 0)}, // the flight looks again
		},
		{
			name: "result that cannot be encoded",
			configure: func(cfg *ReadConfig[*post]) {
				cfg.Encode = func(*Encoder, *post) { panic("no code") }
			},
			run: func(e env) {
				e.enter = func(context.Context, int64) { advance(ms) }
				var wg sync.WaitGroup
				for range 2 {
					wg.Go(func() { e.title(e.ctx, 7) })
				}
				wg.Wait()
			},
			want: Counts{Misses: 1, Skipped: 1, Loads: 1, Unencodable: 1, LoadTime: ms, LoadTimes: times(ms)},
		},
		{
			name: "undecided",
			run: func(e env) {
				e.posts.store = func(*post) bool { panic("no condition") }
				e.title(e.ctx, 7)
				e.posts.store = nil
				e.ttl = func(*post) time.Duration { panic("no lifetime") }
				e.title(e.ctx, 7)
				e.dependsResult = func(*post) []Tag { panic("no tag") }
				e.title(e.ctx, 7)
			},
			want: Counts{Misses: 3, Loads: 3, Undecided: 3, LoadTimes: times(0, 0, 0)},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				observer, store := new(recounter), newMemoryStore()
				r := newPosts(t, tc.configure, WithObserver(observer), WithStore(store))
				r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
				r.set(post{ID: 7, Title: "seven"})
				if tc.run != nil {
					tc.run(env{r, t, t.Context(), store})
				}
				if diff := cmp.Diff(tc.want, countsOf(r.cache, postRepository, "Post")); diff != "" {
					t.Error(diff)
				}
				checkRecount(t, r.cache, observer)
			})
		})
	}
}

// TestObserver shows what an observer is told, and of whom.
func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		observer := new(recounter)
		store := newMemoryStore()
		r := newPosts(t, nil, WithObserver(observer), WithStore(store))
		r.enter = func(context.Context, int64) { advance(time.Millisecond) }
		r.set(post{ID: 7})
		failed := errors.New("no store")
		ctx := t.Context()
		r.title(ctx, 7)
		r.title(ctx, 7)
		r.read.Skip(ctx)
		store.setErr = failed
		traced, _ := WithTrace(ctx)
		r.title(Refresh(traced), 7)

		event := func(e Event) Event {
			e.Repository, e.Method = postRepository, "Post"
			return e
		}
		want := []Event{
			event(Event{Outcome: Loaded, Duration: time.Millisecond}),
			event(Event{Outcome: Miss, Reason: ReasonAbsent, Stored: true, Duration: time.Millisecond}),
			event(Event{Outcome: Hit}),
			event(Event{Outcome: Skipped, Reason: ReasonCondition}),
			event(Event{Outcome: StoreFailed, Err: failed}),
			event(Event{Outcome: Loaded, Duration: time.Millisecond}),
			event(Event{Outcome: Miss, Reason: ReasonRefresh, Key: "Post(7)", Duration: time.Millisecond}),
		}
		// A call comes after what happens in it; in which order that happens is not said.
		if last := observer.events[len(observer.events)-1]; last.Outcome != Miss {
			t.Errorf("told %v last", last)
		}
		same := cmp.Comparer(func(a, b error) bool { return a == b })
		sorted := cmpopts.SortSlices(func(a, b Event) bool { return a.Outcome+Outcome(a.Reason) < b.Outcome+Outcome(b.Reason) })
		if diff := cmp.Diff(want, observer.events, same, sorted); diff != "" {
			t.Error(diff)
		}
	})
}

// TestObserverIsToldWhyALoadFailed: of its error, its panic, or that it ended its
// goroutine, and of no negative outcome.
func TestObserverIsToldWhyALoadFailed(t *testing.T) {
	var loaded []error
	r := newPosts(t, nil, WithObserver(observerFunc(func(_ context.Context, e Event) {
		if e.Outcome == Loaded {
			loaded = append(loaded, e.Err)
		}
	})))
	read := func(call func() (*post, error)) {
		defer func() { recover() }()
		key := r.read.Key(t.Context())
		defer key.Release()
		key.Int(int64(len(loaded)))
		r.read.Load(t.Context(), key, Loader[*post]{Call: func(context.Context) (*post, error) { return call() }})
	}
	failed := errors.New("no database")
	read(func() (*post, error) { return nil, errNotFound })
	read(func() (*post, error) { return nil, failed })
	read(func() (*post, error) { panic(failed) })
	read(func() (*post, error) {
		runtime.Goexit()
		return nil, nil
	})
	if len(loaded) != 4 || loaded[0] != nil || loaded[1] != failed || loaded[3] != errExited {
		t.Fatalf("told %v", loaded)
	}
	if _, ok := loaded[2].(*PanicError); !ok || !errors.Is(loaded[2], failed) {
		t.Errorf("told %v of a panic", loaded[2])
	}
}

// observerFunc is an observer.
type observerFunc func(ctx context.Context, e Event)

func (f observerFunc) Observe(ctx context.Context, e Event) { f(ctx, e) }

func TestObserverGetsTheContext(t *testing.T) {
	type caller struct{}
	r := newPosts(t, nil, WithMaxBytes(minMaxBytes), WithObserver(observerFunc(func(ctx context.Context, e Event) {
		if ctx.Value(caller{}) != "me" {
			t.Errorf("the context of %v is not of the call", e)
		}
	})))
	ctx := context.WithValue(t.Context(), caller{}, "me")
	for id := range int64(30) {
		r.set(post{ID: id, Title: strings.Repeat("filling", 10<<10)})
		r.title(ctx, id)
	}
	if r.cache.Stats().Evictions == 0 {
		t.Error("nothing was evicted")
	}
	r.title(ctx, 7)
	r.title(ctx, 7)
	r.title(Bypass(ctx), 7)
	r.read.Skip(ctx)
}

func TestSeveralObservers(t *testing.T) {
	var told []string
	tells := func(name string) Option {
		return WithObserver(observerFunc(func(context.Context, Event) { told = append(told, name) }))
	}
	r := newPosts(t, nil, tells("a"), WithObserver(nil), tells("b"))
	r.read.Skip(t.Context())
	if !slices.Equal(told, []string{"a", "b"}) {
		t.Errorf("told %q", told)
	}
	if r := newPosts(t, nil, WithObserver(nil)); r.cache.observer != nil {
		t.Error("nil is an observer")
	}
}

// TestObserverThatPanics: it costs a line in the log, and neither a call nor what
// other observers are told.
func TestObserverThatPanics(t *testing.T) {
	logger := newTestLogger()
	next := new(recounter)
	r := newPosts(t, nil, WithLogger(logger.Logger), WithObserver(observerFunc(func(context.Context, Event) { panic("observer") })), WithObserver(next))
	r.set(post{ID: 7, Title: "seven"})
	for range 3 {
		r.expectTitle(t, t.Context(), 7, "seven")
	}
	r.expectLoads(t, 1)
	if got, want := next.outcomes(), []Outcome{Loaded, Miss, Hit, Hit}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	if got := logger.messages(); len(got) != 1 || !strings.Contains(got[0], "an observer panicked") || !strings.Contains(got[0], "method=Post") || !strings.Contains(got[0], "panic: observer") {
		t.Errorf("logged: %q", got)
	}
}

// TestObserverThatEndsTheGoroutine: nobody waits for ever for the load whose
// goroutine it ended.
func TestObserverThatEndsTheGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil, WithObserver(observerFunc(func(_ context.Context, e Event) {
			if e.Outcome == Loaded {
				runtime.Goexit()
			}
		})))
		r.set(post{ID: 7, Title: "seven"})
		began := time.Now()
		r.title(t.Context(), 7)
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %v", waited)
		}
		r.expectTitle(t, Bypass(t.Context()), 7, "seven")
	})
}

// TestObserverReadsTheCache: an observer may call the cache in Observe with the
// context that it is given, whatever it is told.
func TestObserverReadsTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		told := map[Outcome]int{}
		var mu sync.Mutex
		var r *posts
		r = newPosts(t, nil, WithMaxBytes(minMaxBytes), WithObserver(observerFunc(func(ctx context.Context, e Event) {
			mu.Lock()
			told[e.Outcome]++
			mu.Unlock()
			if e.Outcome != Hit && e.Outcome != Skipped {
				r.expectTitle(t, ctx, 7, "seven")
			}
		})))
		r.set(post{ID: 7, Title: "seven"})
		r.leave = func(ctx context.Context, id int64) {
			if id == 8 {
				r.cache.Clear(ctx)
			}
		}
		filling := strings.Repeat("filling", 10<<10)
		for id := range int64(100) {
			if id != 7 {
				r.set(post{ID: id, Title: filling})
			}
			r.title(t.Context(), id)
		}
		for _, outcome := range []Outcome{Loaded, Miss, Overtaken, Evicted} {
			if told[outcome] == 0 {
				t.Errorf("never told %q: %v", outcome, told)
			}
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("reads waited for each other, %v", waited)
		}
	})
}

// TestEvictions: evictions count for the method whose entry was given up.
func TestEvictions(t *testing.T) {
	for _, long := range []bool{false, true} {
		t.Run(fmt.Sprintf("long=%v", long), func(t *testing.T) {
			observer := new(recounter)
			cache, err := New(WithMaxBytes(minMaxBytes), WithObserver(observer))
			if err != nil {
				t.Fatal(err)
			}
			defer cache.Close()
			title := strings.Repeat("title", 2000)
			read := func(r *posts, id int64) {
				key := r.read.Key(t.Context())
				defer key.Release()
				key.Int(id)
				if long {
					key.String(strings.Repeat("k", maxStoreKey))
				}
				if _, _, ok := r.read.Lookup(t.Context(), key); ok {
					return
				}
				r.read.Load(t.Context(), key, Loader[*post]{Call: func(context.Context) (*post, error) {
					return &post{ID: id, Title: title}, nil
				}})
			}
			first := newPostsOn(cache, nil)
			second := newPostsOn(cache, func(cfg *ReadConfig[*post]) { cfg.Method = "Other" })
			for id := range int64(30) {
				read(first, id)
			}
			if got := cache.Stats().Evictions; got != 0 {
				t.Fatalf("%d evictions", got)
			}
			// The entry of one key, time and again: overwritten entries are not given up.
			for range 30 {
				first.cache.Clear(t.Context())
				read(first, 0)
			}
			if got := cache.Stats().Evictions; got != 0 {
				t.Fatalf("%d evictions of entries that were cleared", got)
			}
			for id := range int64(30) {
				read(first, id)
			}
			for id := range int64(1000) {
				read(second, id)
			}
			stats := cache.Stats()
			a, b := countsOf(cache, postRepository, "Post"), countsOf(cache, postRepository, "Other")
			if a.Evictions != 30 {
				t.Errorf("%d evictions of the first method, want all 30", a.Evictions)
			}
			if b.Evictions != 1000-stats.Store.Entries || b.Evictions == 0 {
				t.Errorf("%d evictions of the second method, %d entries are left", b.Evictions, stats.Store.Entries)
			}
			if stats.Evictions != stats.Store.Evictions || stats.Evictions != a.Evictions+b.Evictions {
				t.Errorf("%d evictions in all, %d by the store", stats.Evictions, stats.Store.Evictions)
			}
			checkRecount(t, cache, observer)
		})
	}
}

// TestEvictionsOfNoMethod: what is known of no method counts in the total.
func TestEvictionsOfNoMethod(t *testing.T) {
	observer := new(recounter)
	r := newPosts(t, nil, WithMaxBytes(minMaxBytes), WithObserver(observer))
	for i := range 200 {
		if err := r.cache.set(t.Context(), fmt.Sprintf("%d", i), make([]byte, 10000)); err != nil {
			t.Fatal(err)
		}
	}
	stats := r.cache.Stats()
	if stats.Evictions == 0 || stats.Evictions != stats.Store.Evictions || countsOf(r.cache, postRepository, "Post").Evictions != 0 {
		t.Errorf("%d evictions, %d by the store", stats.Evictions, stats.Store.Evictions)
	}
	if got := observer.of("", "").Evictions; got != stats.Evictions {
		t.Errorf("told of %d evictions, want %d", got, stats.Evictions)
	}
}

// TestObserverConcurrently: the observer is told everything once, also of what
// several loads evict at the same time.
func TestObserverConcurrently(t *testing.T) {
	observer := new(recounter)
	r := newPosts(t, nil, WithMaxBytes(minMaxBytes), WithObserver(observer))
	title := strings.Repeat("title", 2000)
	for id := range int64(300) {
		r.set(post{ID: id, Title: title})
	}
	var wg sync.WaitGroup
	for g := range int64(8) {
		wg.Go(func() {
			for i := range int64(300) {
				r.title(t.Context(), (i*7+g*g)%300)
			}
		})
	}
	wg.Wait()
	if countsOf(r.cache, postRepository, "Post").Evictions == 0 {
		t.Error("nothing was evicted")
	}
	checkRecount(t, r.cache, observer)
}
