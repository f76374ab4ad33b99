package cacheruntime

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// manyPosts adds a batch to the repository.
type manyPosts struct {
	*posts
	batch *Batch[int64, *post]

	mu     sync.Mutex
	calls  [][]int64 // ids of each call of the repository
	around func(ctx context.Context, ids []int64) error
	cached func(id int64) bool
}

func newManyPosts(t testing.TB, configure func(*ReadConfig[*post]), cfg BatchConfig, opts ...Option) *manyPosts {
	r := newPosts(t, configure, opts...)
	r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	cfg.Method = "Posts"
	m := &manyPosts{posts: r, batch: NewBatch[int64](r.read, cfg)}
	for id := range int64(10) {
		r.set(post{ID: id, Title: fmt.Sprint("post ", id)})
	}
	return m
}

// getAll is the generated method of the batch.
func (m *manyPosts) getAll(ctx context.Context, ids ...int64) ([]Found[int64, *post], error) {
	return m.batch.Load(ctx, ids, BatchLoader[int64, *post]{
		Key:    func(key *Key, id int64) { key.Int(id) },
		Cached: m.cached,
		Policy: func(id int64) Loader[*post] {
			return Loader[*post]{
				Depends: func(tags *Tags) { tags.Add(m.depends(id)...) },
				Store:   m.store,
				TTL:     m.ttl,
			}
		},
		Call: func(ctx context.Context, ids []int64, found func(int64, *post)) error {
			m.mu.Lock()
			m.calls = append(m.calls, slices.Clone(ids))
			m.mu.Unlock()
			if m.around != nil {
				if err := m.around(ctx, ids); err != nil {
					return err
				}
			}
			for _, id := range slices.Backward(ids) { // in whatever order
				m.posts.mu.Lock()
				p, ok := m.rows[id]
				m.posts.mu.Unlock()
				if ok {
					found(id, &p)
				}
			}
			return nil
		},
	})
}

// titles reads posts and renders the outcome: "1:post 1 2:post 2".
func (m *manyPosts) titles(ctx context.Context, ids ...int64) string {
	found, err := m.getAll(ctx, ids...)
	if err != nil {
		return "error: " + err.Error()
	}
	var s []string
	for _, f := range found {
		s = append(s, fmt.Sprintf("%d:%s", f.ID, f.Value.Title))
	}
	return strings.Join(s, " ")
}

func (m *manyPosts) expectTitles(t *testing.T, want string, ids ...int64) {
	t.Helper()
	if got := m.titles(t.Context(), ids...); got != want {
		t.Errorf("read posts %v: %q, want %q", ids, got, want)
	}
}

// expectCalls fails the test unless the repository was asked for these ids since
// the last time.
func (m *manyPosts) expectCalls(t *testing.T, want ...[]int64) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.SortFunc(m.calls, slices.Compare)
	if diff := cmp.Diff(want, m.calls); diff != "" {
		t.Errorf("calls: %s", diff)
	}
	m.calls = nil
}

func TestBatch(t *testing.T) {
	m := newManyPosts(t, nil, BatchConfig{})
	m.expectTitles(t, "")
	m.expectCalls(t)
	m.expectTitles(t, "3:post 3 1:post 1 2:post 2", 3, 1, 2)
	m.expectCalls(t, []int64{3, 1, 2})
	m.expectTitles(t, "1:post 1 3:post 3", 1, 3)
	m.expectCalls(t)
	// Either fills the other.
	m.expectTitle(t, t.Context(), 4, "post 4")
	m.expectLoads(t, 1)
	m.expectTitles(t, "5:post 5 4:post 4 3:post 3", 5, 4, 3)
	m.expectCalls(t, []int64{5})
	m.expectTitle(t, t.Context(), 5, "post 5")
	m.expectLoads(t, 1)
	// A write makes stale what it names, and no more.
	m.put(t.Context(), post{ID: 3, Title: "new"}, postTag(3))
	m.expectTitles(t, "1:post 1 3:new", 1, 3)
	m.expectCalls(t, []int64{3})

	counts := map[string]Counts{}
	for _, s := range m.cache.Stats().Methods {
		s.Counts.LoadTime = 0
		counts[s.Method] = s.Counts
	}
	if got := counts["Posts"]; got.Hits != 5 || got.Misses != 5 || got.Loads != 3 {
		t.Errorf("%+v", got)
	}
}

func TestBatchDuplicates(t *testing.T) {
	m := newManyPosts(t, nil, BatchConfig{})
	for range 2 {
		found, err := m.getAll(t.Context(), 2, 1, 2, 2)
		if err != nil || len(found) != 4 {
			t.Fatal(found, err)
		}
		for i, id := range []int64{2, 1, 2, 2} {
			if found[i].ID != id || found[i].Value.ID != id {
				t.Errorf("%d: %+v", i, found[i])
			}
		}
		// Each has a copy of its own.
		found[0].Value.Title = "changed by the caller"
		if found[2].Value.Title != "post 2" {
			t.Error("duplicates share a value")
		}
	}
	m.expectCalls(t, []int64{2, 1})
}

func TestBatchAbsent(t *testing.T) {
	t.Run("with a negative error", func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{})
		m.expectTitles(t, "1:post 1", 1, 77)
		m.expectTitles(t, "1:post 1", 1, 77)
		m.expectCalls(t, []int64{1, 77})
		m.expectTitle(t, t.Context(), 77, "error: post not found")
		m.expectLoads(t, 0)
		m.expectTitle(t, t.Context(), 78, "error: post not found")
		m.expectTitles(t, "", 78)
		m.expectCalls(t)
		m.put(t.Context(), post{ID: 77, Title: "it exists"}, postTag(77))
		m.expectTitles(t, "77:it exists", 77)
	})
	t.Run("with a negative nil", func(t *testing.T) {
		m := newManyPosts(t, func(cfg *ReadConfig[*post]) { cfg.Negative = []Negative{{Nil: true}} }, BatchConfig{})
		m.expectTitles(t, "", 77)
		m.expectTitles(t, "", 77)
		m.expectCalls(t, []int64{77})
		if p, err := m.get(t.Context(), 77); p != nil || err != nil {
			t.Error(p, err)
		}
		m.expectLoads(t, 0)
	})
	t.Run("with nothing to remember", func(t *testing.T) {
		m := newManyPosts(t, func(cfg *ReadConfig[*post]) { cfg.Negative = nil }, BatchConfig{})
		m.expectTitles(t, "", 77)
		m.expectTitles(t, "", 77)
		m.expectCalls(t, []int64{77}, []int64{77})
		m.expectTitle(t, t.Context(), 77, "error: post not found")
		m.expectLoads(t, 1)
	})
}

// An id that is absent from a batch is no answer for a read of one that has nothing
// to remember: it asks itself.
func TestReadOfOneJoinsABatchWithoutIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, func(cfg *ReadConfig[*post]) { cfg.Negative = nil }, BatchConfig{})
		m.around = func(context.Context, []int64) error { advance(time.Second); return nil }
		go m.titles(t.Context(), 1, 77)
		synctest.Wait()
		got := make(chan string, 2)
		go func() { got <- m.title(t.Context(), 77) }()
		go func() { got <- m.title(t.Context(), 1) }()
		if a, b := <-got, <-got; a != "post 1" && b != "post 1" || a != "error: post not found" && b != "error: post not found" {
			t.Errorf("%q, %q", a, b)
		}
	})
}

func TestBatchSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{Size: 3})
		m.expectTitle(t, t.Context(), 1, "post 1")
		m.expectTitles(t, "0:post 0 1:post 1 2:post 2 3:post 3 4:post 4", 0, 1, 2, 3, 4)
		m.expectCalls(t, []int64{0, 2, 3}, []int64{4})

		var b busy
		m.around = func(context.Context, []int64) error { b.in(); advance(time.Second); b.out(); return nil }
		var ids []int64
		for id := range int64(30) {
			ids = append(ids, 100+id)
		}
		began := time.Now()
		m.expectTitles(t, "", ids...)
		if took := time.Since(began); b.most != batchParallel || took != 3*time.Second {
			t.Errorf("%d loads at once, %v", b.most, took)
		}
	})
}

// An error of the load is returned, and nothing of that load is stored; what was
// hit, and what other loads of the same call brought, is not lost.
func TestBatchError(t *testing.T) {
	m := newManyPosts(t, nil, BatchConfig{Size: 2})
	m.expectTitles(t, "1:post 1", 1)
	m.around = func(_ context.Context, ids []int64) error {
		if slices.Contains(ids, 4) {
			return errDown
		}
		return nil
	}
	m.expectTitles(t, "error: "+errDown.Error(), 1, 2, 3, 4, 5)
	m.around = nil
	m.calls = nil
	m.expectTitles(t, "1:post 1 2:post 2 3:post 3 4:post 4 5:post 5", 1, 2, 3, 4, 5)
	m.expectCalls(t, []int64{4, 5})
}

func TestBatchPanic(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("a bug") }, "exit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			m := newManyPosts(t, nil, BatchConfig{})
			m.around = func(context.Context, []int64) error { end(); return nil }
			func() {
				defer func() {
					if p, ok := recover().(*PanicError); name == "panic" && (!ok || p.Value != "a bug") {
						t.Errorf("%v", p)
					}
				}()
				if _, err := m.getAll(t.Context(), 1, 2); err != errExited {
					t.Error(err)
				}
			}()
			m.around = nil
			m.expectTitles(t, "1:post 1 2:post 2", 1, 2)
			if len(m.read.flights) != 0 {
				t.Error("a flight is left behind")
			}
		})
	}
}

// The done-when of batches: on a cold cache, whatever the overlap, each id is
// loaded once.
func TestBatchStampede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{Size: 7})
		m.around = func(context.Context, []int64) error { advance(time.Second); return nil }
		const rows = 50
		for id := range int64(rows) {
			m.set(post{ID: id, Title: fmt.Sprint("post ", id)})
		}
		m.enter = func(context.Context, int64) { advance(time.Second) }
		var wg sync.WaitGroup
		for n := range int64(1000) {
			wg.Go(func() {
				if n%10 == 0 {
					m.expectTitle(t, t.Context(), n%rows, fmt.Sprint("post ", n%rows))
					return
				}
				var ids []int64
				var want []string
				for i := range n%13 + 1 {
					id := (n*7 + i*i) % rows
					ids = append(ids, id)
					want = append(want, fmt.Sprintf("%d:post %d", id, id))
				}
				m.expectTitles(t, strings.Join(want, " "), ids...)
			})
		}
		wg.Wait()
		loaded := map[int64]int{}
		for _, ids := range m.calls {
			for _, id := range ids {
				loaded[id]++
			}
		}
		once := m.loadCount()
		for id := range int64(rows) {
			if loaded[id] > 1 {
				t.Errorf("post %d is loaded %d times", id, loaded[id])
			}
			once += loaded[id]
		}
		if once != rows {
			t.Errorf("%d loads of %d posts", once, rows)
		}
	})
}

// A failed load of others is no reason to fail: who joined it tries on its own,
// and all who joined it together.
func TestBatchJoinsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{})
		m.around = func(_ context.Context, ids []int64) error {
			advance(time.Second)
			if slices.Contains(ids, 4) {
				return errDown
			}
			return nil
		}
		go m.titles(t.Context(), 1, 2, 4)
		synctest.Wait()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { m.expectTitle(t, t.Context(), 1, "post 1") })
			wg.Go(func() { m.expectTitles(t, "2:post 2 3:post 3", 2, 3) })
		}
		wg.Wait()
		if got := len(m.calls) + m.loadCount(); got > 5 {
			t.Errorf("%d loads", got)
		}
	})
}

// The error of a read of one may mean that there is no such thing, which is no
// error of a batch.
func TestBatchJoinsAReadOfOneThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, func(cfg *ReadConfig[*post]) { cfg.Negative = nil }, BatchConfig{})
		m.enter = func(context.Context, int64) { advance(time.Second) }
		go m.title(t.Context(), 77)
		synctest.Wait()
		m.expectTitles(t, "1:post 1", 1, 77)
	})
}

// In an outage, callers that wait for the same ids cause a few loads, not one each.
func TestBatchOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{})
		m.around = func(context.Context, []int64) error { advance(time.Second); return errDown }
		m.fail(errDown)
		m.enter = func(context.Context, int64) { advance(time.Second) }
		var wg sync.WaitGroup
		for range 300 {
			wg.Go(func() { m.expectTitles(t, "error: "+errDown.Error(), 1, 2) })
			wg.Go(func() { m.expectTitle(t, t.Context(), 2, "error: "+errDown.Error()) })
		}
		wg.Wait()
		if got := len(m.calls) + m.loadCount(); got > 10 {
			t.Errorf("%d loads", got)
		}
	})
}

// A write that returns during a load of a batch is seen by whoever calls later.
func TestBatchIsOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{})
		seen := make(chan struct{})
		first := true
		m.around = func(context.Context, []int64) error {
			if first {
				first = false
				<-seen
			}
			return nil
		}
		got := make(chan string)
		go func() { got <- m.titles(t.Context(), 1, 2) }()
		synctest.Wait()
		m.put(t.Context(), post{ID: 1, Title: "new"}, postTag(1))
		later := make(chan string)
		go func() { later <- m.titles(t.Context(), 1, 2) }()
		go func() { later <- "1:" + m.title(t.Context(), 1) + " 2:post 2" }()
		synctest.Wait()
		close(seen)
		<-got
		for range 2 {
			if got := <-later; got != "1:new 2:post 2" {
				t.Error(got)
			}
		}
		m.expectTitles(t, "1:new 2:post 2", 1, 2)
	})
}

func TestBatchCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{})
		m.around = func(context.Context, []int64) error { advance(time.Second); return nil }
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { _, err := m.getAll(ctx, 1, 2); first <- err }()
		synctest.Wait()
		var wg sync.WaitGroup
		wg.Go(func() { m.expectTitles(t, "2:post 2 3:post 3", 2, 3) })
		wg.Go(func() { m.expectTitle(t, t.Context(), 1, "post 1") })
		synctest.Wait()
		cancel()
		if err := <-first; err != context.Canceled {
			t.Error(err)
		}
		wg.Wait()
		m.expectCalls(t, []int64{1, 2}, []int64{3})
		m.expectLoads(t, 0)
		if _, err := m.getAll(ctx, 9); err != context.Canceled {
			t.Error(err)
		}
	})
}

func TestBatchConditions(t *testing.T) {
	m := newManyPosts(t, nil, BatchConfig{})
	m.cached = func(id int64) bool { return id != 2 }
	for range 2 {
		m.expectTitles(t, "2:post 2 1:post 1 2:post 2 3:post 3", 2, 1, 2, 3)
	}
	m.expectCalls(t, []int64{1, 3}, []int64{2}, []int64{2})
	m.cached = func(int64) bool { return false }
	m.expectTitles(t, "1:post 1 3:post 3", 1, 3)
	m.expectCalls(t, []int64{1, 3})

	m.cached = nil
	m.store = func(p *post) bool { return p.ID != 5 }
	m.expectTitles(t, "4:post 4 5:post 5", 4, 5)
	m.expectTitles(t, "4:post 4 5:post 5", 4, 5)
	m.expectCalls(t, []int64{4, 5}, []int64{5})
}

func TestBatchPerCallControl(t *testing.T) {
	m := newManyPosts(t, nil, BatchConfig{})
	m.expectTitles(t, "1:post 1", 1)
	m.set(post{ID: 1, Title: "behind the back"})
	m.expectTitles(t, "1:post 1", 1)
	if got := m.titles(Bypass(t.Context()), 1); got != "1:behind the back" {
		t.Error(got)
	}
	m.expectTitles(t, "1:post 1", 1)
	if got := m.titles(Refresh(t.Context()), 1); got != "1:behind the back" {
		t.Error(got)
	}
	m.expectTitles(t, "1:behind the back", 1)

	ctx, trace := WithTrace(t.Context())
	m.titles(ctx, 1, 2, 77)
	m.titles(Bypass(ctx), 1)
	m.cached = func(id int64) bool { return id == 1 }
	m.titles(ctx, 1, 3)
	var got []string
	for _, e := range trace.Events() {
		got = append(got, fmt.Sprintf("%s %s %s %s %v", e.Method, e.Key, e.Outcome, e.Reason, e.Stored))
	}
	want := []string{
		"Posts Post(1) hit  false",
		"Posts Post(2) miss absent true",
		"Posts Post(77) miss absent true",
		"Posts Post(1) bypassed bypass false",
		"Posts Post(1) hit  false",
		"Posts Post(3) skipped condition false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	m.cache.Close()
	m.expectTitles(t, "1:behind the back", 1)
}

func TestBatchOfKeysThatFail(t *testing.T) {
	m := newManyPosts(t, nil, BatchConfig{})
	loader := BatchLoader[int64, *post]{
		Key: func(key *Key, id int64) {
			defer key.Recover()
			if id == 2 {
				panic("no key")
			}
			key.Int(id)
		},
		Call: func(_ context.Context, ids []int64, found func(int64, *post)) error {
			m.calls = append(m.calls, slices.Clone(ids))
			for _, id := range ids {
				found(id, &post{ID: id})
			}
			return nil
		},
	}
	for range 2 {
		found, err := m.batch.Load(t.Context(), []int64{1, 2, 3}, loader)
		if err != nil || len(found) != 3 || found[0].ID != 1 || found[1].ID != 3 || found[2].ID != 2 {
			t.Errorf("%+v, %v", found, err)
		}
	}
	m.expectCalls(t, []int64{1, 3}, []int64{2}, []int64{2})
}

func TestBatchStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, func(cfg *ReadConfig[*post]) { cfg.TTL, cfg.Stale = time.Minute, time.Hour }, BatchConfig{Soft: 50 * time.Millisecond, Hard: time.Second})
		m.expectTitles(t, "1:post 1 2:post 2", 1, 2)
		advance(time.Minute)
		for id := range int64(3) {
			m.set(post{ID: id, Title: "new"})
		}
		failing := true
		m.around = func(context.Context, []int64) error {
			if failing {
				return errDown
			}
			advance(500 * time.Millisecond)
			return nil
		}
		m.expectTitles(t, "1:post 1 2:post 2", 1, 2)                  // the load failed
		m.expectTitles(t, "1:post 1 2:post 2", 1, 2)                  // backing off
		m.expectTitles(t, "error: "+errDown.Error(), 1, 3)            // 3 has nothing to go on with
		m.put(t.Context(), post{ID: 2, Title: "written"}, postTag(2)) // nor has 2 any more
		m.expectTitles(t, "error: "+errDown.Error(), 1, 2)
		m.calls = nil

		failing = false
		advance(time.Minute)
		began := time.Now()
		m.expectTitles(t, "1:post 1", 1) // outlasts soft
		if took := time.Since(began); took != 50*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		m.expectTitles(t, "1:post 1 2:written", 1, 2) // waits for 2 alone
		advance(time.Second)
		m.expectTitles(t, "1:new 2:written", 1, 2)
		m.expectCalls(t, []int64{1}, []int64{2})

		m.around = func(context.Context, []int64) error { advance(2 * time.Second); return nil }
		if _, err := m.getAll(t.Context(), 1, 5); !errors.As(err, new(*TimeoutError)) {
			t.Error(err)
		}
		advance(2 * time.Second)
		m.expectTitles(t, "5:post 5", 5)
	})
}

func TestBatchEarlyRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, func(cfg *ReadConfig[*post]) { cfg.TTL, cfg.Refresh = time.Minute, certain }, BatchConfig{Size: 2})
		m.around = func(context.Context, []int64) error { advance(time.Second); return nil }
		m.expectTitles(t, "1:post 1 2:post 2 3:post 3", 1, 2, 3)
		m.calls = nil
		for id := range int64(4) {
			m.set(post{ID: id, Title: "new"})
		}
		for range 3 {
			m.expectTitles(t, "1:post 1 2:post 2 3:post 3", 1, 2, 3)
		}
		advance(1500 * time.Millisecond)
		m.read.cfg.Refresh = 0
		m.expectTitles(t, "1:new 2:new 3:new", 1, 2, 3)
		m.expectCalls(t, []int64{1, 2}, []int64{3})
		if got := m.cache.Stats(); got.Refreshes != 3 || got.Hits != 12 {
			t.Errorf("%+v", got.Counts)
		}
	})
}

func TestBatchMaxLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{Size: 2}, WithMaxLoads(2))
		var b busy
		m.around = func(context.Context, []int64) error { b.in(); advance(time.Second); b.out(); return nil }
		var wg sync.WaitGroup
		wg.Go(func() { m.titles(t.Context(), 0, 1, 2, 3, 4, 5, 6, 7) })
		wg.Go(func() { m.titles(t.Context(), 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19) })
		wg.Wait()
		if b.most != 2 {
			t.Errorf("%d loads at once", b.most)
		}
	})
}

// A trip that waits among those of its own batch does not hold up the trip that
// waits for one of its ids.
func TestBatchTripsWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{Size: 1})
		m.around = func(ctx context.Context, ids []int64) error {
			if ids[0] < 5 {
				advance(time.Second)
				m.titles(ctx, ids[0]+5)
			}
			return nil
		}
		began := time.Now()
		m.titles(t.Context(), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("they waited %v for each other", took)
		}
	})
}

func TestBatchInsideItsOwnLoad(t *testing.T) {
	m := newManyPosts(t, nil, BatchConfig{})
	depth := 0
	m.around = func(ctx context.Context, ids []int64) error {
		if depth++; depth == 1 {
			if got := m.titles(ctx, ids...); got == "" {
				t.Error("nothing")
			}
			m.expectTitle(t, ctx, 2, "post 2")
		}
		return nil
	}
	m.expectTitles(t, "1:post 1 2:post 2", 1, 2)
	if depth != 2 {
		t.Errorf("%d calls", depth)
	}
}

// With arguments that others may change, nothing is kept of a load whose caller has
// left.
func TestBatchSharedArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{SharedArgs: true})
		m.around = func(context.Context, []int64) error { advance(time.Second); return nil }
		ctx, cancel := context.WithCancel(t.Context())
		go func() { advance(time.Millisecond); cancel() }()
		m.titles(ctx, 1)
		advance(2 * time.Second)
		m.calls = nil
		m.expectTitles(t, "1:post 1", 1)
		m.expectCalls(t, []int64{1})
		m.expectTitles(t, "1:post 1", 1)
		m.expectCalls(t)
	})
}

func TestBatchInfallible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, func(cfg *ReadConfig[*post]) { cfg.Infallible = true }, BatchConfig{Infallible: true}, WithLoadTimeout(time.Second))
		once := true
		m.around = func(ctx context.Context, _ []int64) error {
			if once {
				once = false
				<-ctx.Done()
			}
			return nil
		}
		m.expectTitles(t, "1:post 1 2:post 2", 1, 2)
		m.expectCalls(t, []int64{1, 2}, []int64{1, 2})
		m.expectTitles(t, "1:post 1 2:post 2", 1, 2)
		m.expectCalls(t, []int64{1, 2})
		m.expectTitles(t, "1:post 1 2:post 2", 1, 2)
		m.expectCalls(t)
	})
}

// An id that someone has loaded and stored between the look into the cache and the
// flight is not loaded again.
func TestBatchLooksAgain(t *testing.T) {
	store := &interruptedStore{memoryStore: newMemoryStore()}
	m := newManyPosts(t, nil, BatchConfig{}, WithStore(store))
	store.afterGet = func() { m.expectTitle(t, t.Context(), 1, "post 1") }
	m.expectTitles(t, "1:post 1 2:post 2", 1, 2)
	m.expectCalls(t, []int64{2})
	m.expectLoads(t, 1)
}

// interruptedStore calls a function once, after it has looked for an entry.
type interruptedStore struct {
	*memoryStore
	afterGet func()
}

func (s *interruptedStore) Get(key string) ([]byte, bool, error) {
	entry, ok, err := s.memoryStore.Get(key)
	if then := s.afterGet; then != nil {
		s.afterGet = nil
		then()
	}
	return entry, ok, err
}

// Whatever ends the goroutine of a load, no flight is left in the air.
func TestBatchEncodingEndsTheGoroutine(t *testing.T) {
	m := newManyPosts(t, func(cfg *ReadConfig[*post]) {
		cfg.Encode = func(*Encoder, *post) { runtime.Goexit() }
	}, BatchConfig{})
	m.store = func(*post) bool { return false }
	m.expectTitles(t, "1:post 1 1:post 1 2:post 2 2:post 2", 1, 1, 2, 2)
	if len(m.read.flights) != 0 {
		t.Error("a flight is left behind")
	}
}

func TestBatchEarlyRefreshCanWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, shared := range []bool{false, true} {
			m := newManyPosts(t, func(cfg *ReadConfig[*post]) { cfg.TTL, cfg.Refresh = time.Minute, certain }, BatchConfig{SharedArgs: shared})
			m.around = func(context.Context, []int64) error { advance(time.Millisecond); return nil }
			m.expectTitles(t, "1:post 1", 1)
			m.around = func(context.Context, []int64) error { return errDown }
			for range 50 { // within the first backing off
				m.expectTitles(t, "1:post 1", 1)
				advance(time.Millisecond)
			}
			if want := map[bool]int{false: 2, true: 1}[shared]; len(m.calls) != want {
				t.Errorf("shared arguments %v: %d loads, want %d", shared, len(m.calls), want)
			}
		}
	})
}

// A batch past the cache returns what one through it does: in the order of the
// ids, in calls of at most Size.
func TestBatchPastTheCache(t *testing.T) {
	m := newManyPosts(t, nil, BatchConfig{Size: 2})
	inside, tx := m.cache.Begin(t.Context())
	defer tx.End()
	for name, ctx := range map[string]context.Context{"bypass": Bypass(t.Context()), "transaction": inside} {
		if got, want := m.titles(ctx, 1, 2, 3, 1), "1:post 1 2:post 2 3:post 3 1:post 1"; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		m.expectCalls(t, []int64{1, 2}, []int64{3})
	}
}

// If a call ends with an error, each of its ids has an outcome all the same.
func TestBatchOutcomesAfterAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{Size: 1, Hard: time.Minute})
		outcomes := func(ctx context.Context, ids ...int64) string {
			ctx, trace := WithTrace(ctx)
			m.titles(ctx, ids...)
			var s []string
			for _, e := range trace.Events() {
				s = append(s, fmt.Sprintf("%s %s %s", e.Key, e.Outcome, e.Reason))
			}
			return strings.Join(s, ", ")
		}
		m.expectTitles(t, "1:post 1", 1)
		m.around = func(_ context.Context, ids []int64) error {
			if ids[0] == 2 {
				return errDown
			}
			advance(2 * time.Minute)
			return nil
		}
		if got, want := outcomes(t.Context(), 1, 2, 3), "Post(1) hit , Post(2) miss absent, Post(3) miss load failed"; got != want {
			t.Errorf("%s; want %s", got, want)
		}
		if got, want := outcomes(t.Context(), 4, 5), "Post(4) miss outlasted hard, Post(5) miss outlasted hard"; got != want {
			t.Errorf("%s; want %s", got, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got, want := outcomes(ctx, 6, 7), "Post(6) miss the caller was done, Post(7) miss the caller was done"; got != want {
			t.Errorf("%s; want %s", got, want)
		}
		advance(time.Hour)
	})
}

// A repository that returns an id twice is taken at its first word.
func TestBatchReturnsAnIDTwice(t *testing.T) {
	m := newManyPosts(t, nil, BatchConfig{})
	loader := BatchLoader[int64, *post]{
		Key: func(key *Key, id int64) { key.Int(id) },
		Call: func(_ context.Context, ids []int64, found func(int64, *post)) error {
			found(1, &post{ID: 1, Title: "first"})
			found(1, &post{ID: 1, Title: "second"})
			found(9, &post{ID: 9, Title: "nobody asked for it"})
			return nil
		},
	}
	for _, ctx := range []context.Context{t.Context(), t.Context()} {
		found, err := m.batch.Load(ctx, []int64{1}, loader)
		if err != nil || len(found) != 1 || found[0].Value.Title != "first" {
			t.Errorf("%+v, %v", found, err)
		}
	}
	found, err := m.batch.Load(Bypass(t.Context()), []int64{1, 1}, loader)
	if err != nil || len(found) != 2 || found[0].Value == found[1].Value {
		t.Errorf("%+v, %v", found, err)
	}
}

// Waiting for a turn among the loads of one's own batch is none for WithMaxLoads.
func TestBatchTurnsAreNoneOfTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManyPosts(t, nil, BatchConfig{Size: 1})
		m.around = func(context.Context, []int64) error { advance(time.Second); return nil }
		done := make(chan struct{})
		go func() {
			m.titles(t.Context(), 0, 1, 2, 3, 4, 5, 6, 7)
			close(done)
		}()
		synctest.Wait()
		if stats := m.cache.Stats(); stats.LoadsRunning != batchParallel || stats.LoadsWaiting != 0 {
			t.Errorf("%d running, %d waiting", stats.LoadsRunning, stats.LoadsWaiting)
		}
		<-done
	})
}
