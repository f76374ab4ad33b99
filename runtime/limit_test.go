package cacheruntime

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// busy counts loads that are under way.
type busy struct {
	mu        sync.Mutex
	now, most int
}

func (b *busy) in() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now++
	b.most = max(b.most, b.now)
}

func (b *busy) out() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now--
}

func TestMaxLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil, WithMaxLoads(3))
		var b busy
		r.enter = func(context.Context, int64) { b.in(); advance(time.Second); b.out() }
		began := time.Now()
		var wg sync.WaitGroup
		for id := range int64(30) {
			r.set(post{ID: id, Title: "post"})
			wg.Go(func() { r.expectTitle(t, t.Context(), id, "post") })
		}
		synctest.Wait()
		if running, waiting := r.cache.loadsRunning.Load(), r.cache.loadsWaiting.Load(); running != 3 || waiting != 27 {
			t.Errorf("%d loads are running, %d are waiting", running, waiting)
		}
		wg.Wait()
		if took := time.Since(began); b.most != 3 || took != 10*time.Second {
			t.Errorf("%d loads at once, %v", b.most, took)
		}
		if running, waiting := r.cache.loadsRunning.Load(), r.cache.loadsWaiting.Load(); running != 0 || waiting != 0 {
			t.Errorf("%d loads are running, %d are waiting", running, waiting)
		}
	})
}

func TestMaxLoadsIsChecked(t *testing.T) {
	for _, n := range []int{0, -1} {
		if _, err := New(WithMaxLoads(n)); err == nil || !strings.Contains(err.Error(), "WithMaxLoads") {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// occupy lets a load take the only turn until the function is called.
func occupy(t *testing.T, r *posts) (release func()) {
	gate := make(chan struct{})
	r.enter = func(_ context.Context, id int64) {
		if id == 1 {
			<-gate
		}
	}
	done := make(chan struct{})
	go func() {
		r.title(t.Context(), 1)
		close(done)
	}()
	synctest.Wait()
	return func() {
		close(gate)
		<-done
	}
}

// A caller waits for a turn within its own context, and a load that nobody waits
// for any more is never made.
func TestWaitForATurnEndsWithTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil, WithMaxLoads(1))
		release := occupy(t, r)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := r.get(ctx, 2); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		synctest.Wait()
		if waiting := r.cache.loadsWaiting.Load(); waiting != 0 {
			t.Errorf("%d loads wait for nobody", waiting)
		}
		release()
		synctest.Wait()
		r.expectLoads(t, 1)
		r.set(post{ID: 2, Title: "two"})
		r.expectTitle(t, t.Context(), 2, "two")
		if got := r.cache.Stats(); got.LoadErrors != 0 {
			t.Errorf("%+v", got.Counts)
		}
	})
}

// One who leaves harms nobody else who waits for the same turn.
func TestWaitForATurnGoesOnForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil, WithMaxLoads(1))
		r.set(post{ID: 2, Title: "two"})
		release := occupy(t, r)
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { _, err := r.get(ctx, 2); first <- err }()
		synctest.Wait()
		second := make(chan string, 1)
		go func() { second <- r.title(t.Context(), 2) }()
		synctest.Wait()
		cancel()
		if err := <-first; err != context.Canceled {
			t.Error(err)
		}
		release()
		if got := <-second; got != "two" {
			t.Error(got)
		}
		r.expectLoads(t, 2)
	})
}

func TestTurnThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStalePosts(t, nil, WithMaxLoads(1), WithLoadTimeout(10*time.Second))
		advance(time.Minute)
		release := occupy(t, r)
		_, err := r.get(t.Context(), 2)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "WithMaxLoads") {
			t.Error(err)
		}
		r.expectTraced(t, 7, "old", Stale, ReasonFailed)
		release()
	})
}

// The reads of a load count as part of it: they do not wait for a turn that only
// its end gives free.
func TestLoadsInsideLoadsNeedNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil, WithMaxLoads(1))
		r.set(post{ID: 1, Title: "one"})
		r.set(post{ID: 2, Title: "two"})
		r.enter = func(ctx context.Context, id int64) {
			if id == 1 {
				r.expectTitle(t, ctx, 2, "two")
			}
		}
		r.expectTitle(t, t.Context(), 1, "one")
	})
}

// Nor do they wait for a load that waits for the turn.
func TestLoadsInsideLoadsPushOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil, WithMaxLoads(1))
		r.set(post{ID: 1, Title: "one"})
		r.set(post{ID: 2, Title: "two"})
		reads := make(chan struct{})
		r.enter = func(ctx context.Context, id int64) {
			if id == 1 {
				<-reads
				r.expectTitle(t, ctx, 2, "two")
			}
		}
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { r.expectTitle(t, t.Context(), 1, "one") })
		synctest.Wait()
		wg.Go(func() { r.expectTitle(t, t.Context(), 2, "two") })
		synctest.Wait()
		close(reads)
		wg.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("they waited %v for each other", took)
		}
		r.expectLoads(t, 2)
	})
}

// A load that panics, or ends its goroutine, gives its turn back.
func TestTurnsAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil, WithMaxLoads(1))
		r.set(post{ID: 2, Title: "two"})
		r.enter = func(_ context.Context, id int64) {
			if id == 1 {
				panic("no")
			}
		}
		for range 3 {
			if completes(func() { r.title(t.Context(), 1) }) {
				t.Error("no panic")
			}
		}
		r.expectTitle(t, t.Context(), 2, "two")
	})
}

// A refresh in the background waits for nobody but itself.
func TestEarlyRefreshWaitsForATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.TTL, cfg.Refresh = time.Minute, certain }, WithMaxLoads(1))
		r.enter = func(context.Context, int64) { advance(time.Second) }
		r.set(post{ID: 7, Title: "old"})
		r.expectTitle(t, t.Context(), 7, "old")
		r.set(post{ID: 7, Title: "new"})
		release := occupy(t, r)
		r.expectTitle(t, t.Context(), 7, "old")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r.title(Refresh(ctx), 7) // joins it, and leaves
		release()
		synctest.Wait()
		r.read.cfg.Refresh = 0
		r.expectTitle(t, t.Context(), 7, "new")
		r.expectLoads(t, 3)
	})
}

func TestBatchThatNobodyWaitsForIsCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{}, WithMaxLoads(1))
		release := occupy(t, m.posts)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.getAll(ctx, 2, 3); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		release()
		synctest.Wait()
		m.expectCalls(t)
	})
}
