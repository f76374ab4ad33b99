package cacheruntime

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
			r.read.tried(fmt.Sprint(i), true, false)
		}
	}
	i := 0
	for b.Loop() {
		r.read.tried(fmt.Sprint("x", i), true, false)
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
		var both sync.WaitGroup
		both.Add(2)
		r.enter = func(_ context.Context, id int64) {
			if id < 5 {
				both.Done()
				both.Wait()
				r.get(context.Background(), id+5)
			}
		}
		began := time.Now()
		done := make(chan string)
		for id := range int64(2) {
			go func() { done <- r.title(t.Context(), id) }()
		}
		for range 2 {
			if got := <-done; got != "x" {
				t.Error(got)
			}
		}
		if took := time.Since(began); took != defaultLoadTimeout {
			t.Errorf("they waited %v for each other", took)
		}
	})
}

// A call with a Refresh context does not wait for one plain load after the other: it
// makes its own.
func TestRefreshAmongPlainCalls(t *testing.T) {
	most := 0
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			r := newPosts(t, nil)
			r.set(post{ID: 1, Title: "x"})
			r.store = func(*post) bool { return false }
			r.enter = func(context.Context, int64) { advance(time.Second) }
			done := make(chan string)
			go func() { done <- r.title(t.Context(), 1) }()
			synctest.Wait()
			for range 5 {
				go func() { done <- r.title(t.Context(), 1) }()
			}
			go func() { done <- r.title(Refresh(t.Context()), 1) }()
			for range 7 {
				<-done
			}
			most = max(most, r.loadCount())
		})
	}
	if most != 3 { // the first, one for those who joined it, and the refresh
		t.Errorf("%d loads, want 3", most)
	}
}

// Of a trip one of whose flights needs no load any more, the rest is called off when
// nobody waits for it.
func TestTripIsCalledOffAfterARecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &gateStore{memoryStore: newMemoryStore()}
		m := newManyPosts(t, nil, BatchConfig{}, WithMaxLoads(1), WithStore(store))
		block := make(chan struct{})
		m.enter = func(_ context.Context, id int64) {
			if id == 5 {
				<-block
			}
		}
		m.expectTitle(t, t.Context(), 1, "post 1")
		go m.title(t.Context(), 5) // has the turn
		synctest.Wait()
		store.mu.Lock()
		store.forget = 1 // the look of the batch at 1; its flight finds it
		store.mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan string)
		go func() { got <- m.titles(ctx, 1, 2) }()
		synctest.Wait()
		cancel()
		t.Log(<-got)
		close(block)
		synctest.Wait()
		m.expectCalls(t)
	})
}

type gateStore struct {
	*memoryStore
	forget int
}

func (s *gateStore) Get(key string) ([]byte, bool, error) {
	s.mu.Lock()
	forget := s.forget > 0
	if forget {
		s.forget--
	}
	s.mu.Unlock()
	if forget {
		return nil, false, nil
	}
	return s.memoryStore.Get(key)
}

// What a batch that failed as a whole says of each of its ids is little: a read of
// one of them with an expired value at hand asks.
func TestBatchFailureAndBackoffOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, func(cfg *ReadConfig[*post]) { cfg.Stale = time.Hour; cfg.TTL = time.Minute }, BatchConfig{})
		m.expectTitle(t, t.Context(), 1, "post 1")
		advance(2 * time.Minute)
		m.around = func(_ context.Context, ids []int64) error { return errors.New("77 is malformed") }
		m.set(post{ID: 1, Title: "newer"})
		m.titles(t.Context(), 1, 77)
		m.expectTitle(t, t.Context(), 1, "newer")
	})
}

// A store that panics in Get is a store that failed, as one that panics in Set is.
func TestStorePanicsInGet(t *testing.T) {
	r := newPosts(t, nil, WithStore(&getPanicStore{newMemoryStore()}))
	r.set(post{ID: 1, Title: "x"})
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("panic: %v", v)
		}
	}()
	r.expectTitle(t, t.Context(), 1, "x")
}

type getPanicStore struct{ *memoryStore }

func (*getPanicStore) Get(string) ([]byte, bool, error) { panic("store") }
