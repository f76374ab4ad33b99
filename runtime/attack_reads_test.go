package cacheruntime

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A batch with the same id twice whose flight of another kind has failed, and
// whose next flight was called off meanwhile: both go on one trip.
func TestBatchDuplicatesAfterACalledOffFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{}, WithMaxLoads(1))
		release2, release5 := make(chan struct{}), make(chan struct{})
		m.leave = func(_ context.Context, id int64) {
			switch id {
			case 2:
				<-release2
			case 5:
				<-release5
			}
		}
		m.fail(errors.New("boom"))
		go m.title(t.Context(), 2) // has the turn, and will fail
		synctest.Wait()
		m.fail(nil)
		go m.title(t.Context(), 5) // has the next turn
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		go m.titles(ctx, 2)
		got := make(chan string, 1)
		go func() { got <- m.titles(t.Context(), 5, 2, 2) }()
		synctest.Wait()
		release2 <- struct{}{}
		synctest.Wait()
		cancel() // the flight that the other batch made is called off
		synctest.Wait()
		close(release5)
		if got := <-got; got != "5:post 5 2:post 2 2:post 2" {
			t.Error(got)
		}
	})
}

// An observer may read the cache with the context it is given, whatever it is told of.
func TestObserverReadsWhileABatchBoards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m *manyPosts
		inside := false
		var took time.Duration
		o := observeFunc(func(ctx context.Context, e Event) {
			if e.Outcome == Stale && !inside {
				inside = true
				began := time.Now()
				m.title(ctx, 1)
				took = time.Since(began)
			}
		})
		m = newManyPosts(t, func(cfg *ReadConfig[*post]) { cfg.Stale = time.Hour; cfg.TTL = time.Minute }, BatchConfig{}, WithObserver(o))
		m.expectTitle(t, t.Context(), 2, "post 2")
		advance(2 * time.Minute)
		m.fail(errors.New("boom"))
		inside = true
		m.title(t.Context(), 2)
		inside = false
		m.fail(nil)
		m.expectTitles(t, "1:post 1 2:post 2", 1, 2)
		if took > 0 {
			t.Errorf("the observer's read waited %v", took)
		}
	})
}

type observeFunc func(context.Context, Event)

func (f observeFunc) Observe(ctx context.Context, e Event) { f(ctx, e) }

// An outage that takes more keys than are remembered costs each failure a walk
// through all of them, under the lock of the read.
func BenchmarkSetbacksFull(b *testing.B) {
	r := newPosts(b, func(cfg *ReadConfig[*post]) { cfg.Stale = time.Hour })
	r.read.mu.Lock()
	defer r.read.mu.Unlock()
	for range 12 {
		for i := range maxSetbacks {
			r.read.tried(fmt.Sprint(i), true)
		}
	}
	i := 0
	for b.Loop() {
		r.read.tried(fmt.Sprint("x", i), true)
		i++
	}
}

// Loads whose reads inside do not hand the context on (methods without one) hold
// all turns while they wait for one.
func TestMaxLoadsNestedWithoutContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil, WithMaxLoads(2))
		for id := range int64(10) {
			r.set(post{ID: id, Title: "x"})
		}
		r.enter = func(_ context.Context, id int64) {
			if id < 5 {
				r.get(context.Background(), id+5)
			}
		}
		began := time.Now()
		done := make(chan string)
		for id := range int64(2) {
			go func() { done <- r.title(t.Context(), id) }()
		}
		t.Log(<-done, <-done, time.Since(began))
	})
}
