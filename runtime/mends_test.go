package cacheruntime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What a Refresh has loaded is not replaced by what a load that began before it
// returns after it: the data was changed past the wrappers.
func TestRefreshIsNotUndoneByAnOlderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil)
		r.set(post{ID: 7, Title: "old"})
		slow, first := make(chan struct{}), true
		r.leave = func(context.Context, int64) {
			if first {
				first = false
				<-slow
			}
		}
		go r.title(t.Context(), 7)
		synctest.Wait()
		r.set(post{ID: 7, Title: "new"}) // past the wrappers
		got := make(chan string, 1)
		go func() { got <- r.title(Refresh(t.Context()), 7) }()
		synctest.Wait()
		close(slow)
		synctest.Wait()
		if title := <-got; title != "new" {
			t.Error(title)
		}
		r.expectTitle(t, t.Context(), 7, "new")
	})
}

// heldStore holds up the first Set.
type heldStore struct {
	*memoryStore
	later atomic.Bool
	held  chan struct{}
}

func (s *heldStore) Set(key string, entry []byte) error {
	if !s.later.Swap(true) {
		<-s.held
	}
	return s.memoryStore.Set(key, entry)
}

// The same if the older load has ended first, and its outcome is being stored.
func TestRefreshIsStoredAfterAnOlderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &heldStore{memoryStore: newMemoryStore(), held: make(chan struct{})}
		r := newPosts(t, nil, WithStore(store))
		r.set(post{ID: 7, Title: "old"})
		go r.title(t.Context(), 7)
		synctest.Wait()
		r.set(post{ID: 7, Title: "new"}) // past the wrappers
		go r.title(Refresh(t.Context()), 7)
		synctest.Wait()
		close(store.held)
		synctest.Wait()
		r.expectTitle(t, t.Context(), 7, "new")
	})
}

// Nor does a call with a Refresh context return before what outran its load is stored:
// what was there before would be served after it.
func TestRefreshThatIsOutrunReturnsWhenTheOtherIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{memoryStore: newMemoryStore()}
		r := newPosts(t, nil, WithStore(store), WithLoadTimeout(time.Second))
		r.set(post{ID: 7, Title: "old"})
		r.expectTitle(t, t.Context(), 7, "old")
		r.set(post{ID: 7, Title: "new"}) // past the wrappers
		storing, stored := make(chan struct{}), make(chan struct{})
		store.beforeSet = func() { close(storing); <-stored }

		read, release := slowLoad(r)
		first := make(chan string, 1)
		go func() { first <- r.title(Refresh(t.Context()), 7) }()
		<-read
		advance(3 * time.Second) // past its deadline, so that the next one has a load of its own
		go r.title(Refresh(t.Context()), 7)
		<-storing
		release()
		synctest.Wait()
		select {
		case got := <-first:
			t.Errorf("it has returned %q, and now another read returns %q", got, r.title(t.Context(), 7))
			close(stored)
		default:
			close(stored)
			if got := <-first; got != "new" {
				t.Errorf("it returned %q", got)
			}
		}
		synctest.Wait()
		r.expectTitle(t, t.Context(), 7, "new")
	})
}

// hookContext calls err when Err is called.
type hookContext struct {
	context.Context
	err func()
}

func (c hookContext) Err() error { c.err(); return c.Context.Err() }

// betweenBatches makes a call that joins a batch of posts 1 and 2, and looks for what to
// do next when that has failed and another one is under way. A batch goes on with a step.
func (m *manyPosts) betweenBatches(t *testing.T, step chan struct{}, call func(context.Context) string) string {
	go m.titles(t.Context(), 1, 2)
	synctest.Wait()
	ctx, again := heldBeforeItsSecondFlight(t.Context())
	got := make(chan string, 1)
	go func() { got <- call(ctx) }()
	synctest.Wait()
	step <- struct{}{} // the first batch fails
	synctest.Wait()
	go m.titles(t.Context(), 1, 2)
	synctest.Wait()
	close(again)
	synctest.Wait()
	close(step)
	return <-got
}

// A read of one is not failed by batches alone: other ids may be to blame, in the
// second as in the first.
func TestReadOfOneAfterFailuresOfTwoBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{})
		step := make(chan struct{})
		m.around = func(context.Context, []int64) error { <-step; return errors.New("post 2 is damaged") }
		if title := m.betweenBatches(t, step, func(ctx context.Context) string { return m.title(ctx, 1) }); title != "post 1" {
			t.Error(title)
		}
	})
}

// Failures of batches do not prolong what holds up the read of one.
func TestBatchFailuresAfterOneOfTheReadOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, func(cfg *ReadConfig[*post]) { cfg.Stale = time.Hour }, BatchConfig{})
		m.read.mu.Lock()
		m.read.tried("x", true, false)
		for range 8 {
			m.read.tried("x", true, true)
		}
		m.read.mu.Unlock()
		advance(time.Second)
		if m.read.backsOff([]byte("x"), false) {
			t.Error("the read of one is held up by batches")
		}
	})
}

// End while a commit is running leaves the end to that commit, even if it fails.
func TestEndDuringACommitThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTagged(t)
		ctx, tx := r.cache.Begin(t.Context())
		r.change(ctx, postTag(7))
		tx.Commit(func() error { tx.End(); return errors.New("no") })
		r.title(ctx, 7)
		loads := r.loadCount()
		r.title(ctx, 7)
		r.expectLoads(t, loads)
	})
}

// End after a commit that failed, while another one is running.
func TestEndAfterAFailedCommitDuringAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTagged(t)
		r.title(t.Context(), 7)
		ctx, tx := r.cache.Begin(t.Context())
		tx.Commit(func() error {
			tx.Commit(func() error { return errors.New("no") })
			tx.End()
			r.change(ctx, postTag(7)) // part of the commit that is running
			r.title(t.Context(), 7)
			r.set(post{ID: 7, Title: "new"})
			return nil
		})
		r.expectTitle(t, t.Context(), 7, "new")
	})
}

// Two batches each of which has an id whose older flight is the other's do not wait
// for each other to land.
func TestBatchesThatOutrunEachOther(t *testing.T) {
	r := newPosts(t, nil)
	newFlight := func(key string) *flight[*post] {
		r.read.mu.Lock()
		defer r.read.mu.Unlock()
		return r.read.newFlight(key, new(trip), true, true)
	}
	a1, b1 := newFlight("a"), newFlight("b")
	b2, a2 := newFlight("b"), newFlight("a")
	for _, f := range []*flight[*post]{a1, b1, b2, a2} {
		f.stats, f.ctx, f.value = r.read.stats, t.Context(), &post{ID: 1}
		f.entry = entry{epoch: r.cache.view().epoch, soft: never, hard: never}
	}
	// The first trip keeps a before b, the second one b before a; none has landed.
	for i, f := range []*flight[*post]{a1, b2, b1, a2} {
		if got, want := r.read.keep(f, time.Minute), f != b1; got != want {
			t.Errorf("flight %d is stored: %v", i, got)
		}
	}
}

// An id that is given twice has one seat, whatever becomes of other flights for it
// while the batch boards. Of two seats one was lost: its callers were told that the
// load had ended its goroutine.
func TestBatchDuplicatesAmongRefreshes(t *testing.T) {
	m := newManyPosts(t, nil, BatchConfig{})
	m.store = func(*post) bool { return false }
	ids := make([]int64, 100)
	m.around = func(_ context.Context, ids []int64) error {
		if len(ids) > 1 {
			return fmt.Errorf("%d times the same id", len(ids))
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var others sync.WaitGroup
	defer others.Wait()
	for range 4 {
		others.Go(func() {
			for ctx.Err() == nil {
				m.get(Refresh(ctx), 0)
			}
		})
	}
	for range 200 {
		if _, err := m.getAll(t.Context(), ids...); err != nil {
			t.Error(err)
			break
		}
	}
	cancel()
}

// The same with a Refresh that fails in between, which ends before the older load.
func TestRefreshAfterAFailedOneIsNotUndoneByAnOlderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil)
		r.set(post{ID: 7, Title: "old"})
		read, release := slowLoad(r)
		go r.title(t.Context(), 7)
		<-read
		r.fail(errors.New("boom"))
		r.title(Refresh(t.Context()), 7)
		r.fail(nil)
		r.set(post{ID: 7, Title: "new"}) // past the wrappers
		r.expectTitle(t, Refresh(t.Context()), 7, "new")
		release()
		synctest.Wait()
		r.expectTitle(t, t.Context(), 7, "new")
	})
}

// What a batch of others fails with is not handed to a batch that has joined two of
// them: its ids have never been tried without the others'.
func TestBatchAfterFailuresOfTwoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{})
		step := make(chan struct{})
		m.around = func(_ context.Context, ids []int64) error {
			if len(ids) == 1 {
				return nil
			}
			<-step
			return errors.New("post 2 is damaged")
		}
		if titles := m.betweenBatches(t, step, func(ctx context.Context) string { return m.titles(ctx, 1) }); titles != "1:post 1" {
			t.Error(titles)
		}
	})
}

// A read of one that was not answered by a batch which did not return its id asks at
// once, whatever other batches are under way.
func TestReadOfOneAfterABatchWithoutIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, func(cfg *ReadConfig[*post]) { cfg.Negative = nil }, BatchConfig{})
		step := make(chan struct{})
		m.around = func(context.Context, []int64) error { <-step; return nil }
		go m.titles(t.Context(), 77)
		synctest.Wait()
		ctx, again := heldBeforeItsSecondFlight(t.Context())
		got := make(chan string, 1)
		go func() { got <- m.title(ctx, 77) }()
		synctest.Wait()
		step <- struct{}{} // the first batch returns nothing
		synctest.Wait()
		go m.titles(t.Context(), 77)
		synctest.Wait()
		close(again)
		synctest.Wait()
		select {
		case title := <-got:
			if title != "error: post not found" {
				t.Error(title)
			}
		default:
			t.Error("it waits for the second batch")
		}
		close(step)
	})
}

// Who joined a load that ignores its deadline waits a second longer than that, and no
// more.
func TestJoinedLoadIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil, WithLoadTimeout(10*time.Second))
		r.set(post{ID: 7, Title: "x"})
		read, release := slowLoad(r)
		go r.title(t.Context(), 7)
		<-read
		began := time.Now()
		r.expectTitle(t, t.Context(), 7, "x")
		if took := time.Since(began); took != 11*time.Second {
			t.Errorf("it waited %v", took)
		}
		release()
	})
}

// heldBeforeItsSecondFlight returns a context with which a read of one, or a batch,
// goes from its first flight to the next only when the channel is closed.
func heldBeforeItsSecondFlight(ctx context.Context) (context.Context, chan struct{}) {
	again, errs := make(chan struct{}), 0
	return hookContext{ctx, func() {
		if errs++; errs == 2 {
			<-again
		}
	}}, again
}
