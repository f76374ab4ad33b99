package cacheruntime

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

var errDown = errors.New("the database is down")

// newStalePosts makes a repository whose entries live a minute and are kept an
// hour longer, with post 7 cached.
func newStalePosts(t *testing.T, configure func(*ReadConfig[*post]), opts ...Option) *posts {
	t.Helper()
	r := newPosts(t, func(cfg *ReadConfig[*post]) {
		cfg.TTL = time.Minute
		cfg.Stale = time.Hour
		if configure != nil {
			configure(cfg)
		}
	}, opts...)
	r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	r.set(post{ID: 7, Title: "old"})
	r.expectTitle(t, t.Context(), 7, "old")
	r.set(post{ID: 7, Title: "new"})
	return r
}

// traced reads a post and returns what happened besides the result.
func (r *posts) traced(ctx context.Context, id int64) (title string, event Event) {
	ctx, trace := WithTrace(ctx)
	title = r.title(ctx, id)
	events := trace.Events()
	return title, events[len(events)-1]
}

func (r *posts) expectTraced(t *testing.T, id int64, title string, outcome Outcome, reason Reason) {
	t.Helper()
	gotTitle, event := r.traced(t.Context(), id)
	if gotTitle != title || event.Outcome != outcome || event.Reason != reason {
		t.Errorf("read post %d: %q, %s (%s); want %q, %s (%s)", id, gotTitle, event.Outcome, event.Reason, title, outcome, reason)
	}
}

func TestStaleIfLoadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStalePosts(t, nil)
		r.fail(errDown)
		r.expectTraced(t, 7, "old", Hit, "")
		advance(time.Minute)
		r.expectTraced(t, 7, "old", Stale, ReasonFailed)
		if got := r.cache.Stats(); got.Stale != 1 || got.LoadErrors != 1 || got.Misses != 1 {
			t.Errorf("%+v", got.Counts)
		}

		// Each caller has a copy of its own.
		p, _ := r.get(t.Context(), 7)
		p.Title = "changed by a caller"
		r.expectTitle(t, t.Context(), 7, "old")

		// It is too old at the end of the hour, to the nanosecond.
		advance(time.Hour - time.Nanosecond)
		r.expectTraced(t, 7, "old", Stale, ReasonFailed)
		advance(time.Nanosecond)
		r.expectTraced(t, 7, "error: "+errDown.Error(), Miss, ReasonExpired)
		r.fail(nil)
		r.expectTraced(t, 7, "new", Miss, ReasonExpired)
	})
}

func TestLoadThatSucceedsReplacesStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStalePosts(t, nil)
		advance(time.Minute)
		r.expectTraced(t, 7, "new", Miss, ReasonExpired)
		r.expectTraced(t, 7, "new", Hit, "")
	})
}

func TestStaleOfWhatIsNotAValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStalePosts(t, nil)
		r.expectTitle(t, t.Context(), 8, "error: post not found")
		advance(time.Minute)
		r.fail(errDown)
		r.expectTraced(t, 8, "error: "+errDown.Error(), Miss, ReasonExpired)
	})
}

// An error that is remembered is an answer: the load has not failed.
func TestStaleIfLoadFindsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStalePosts(t, nil)
		advance(time.Minute)
		r.mu.Lock()
		delete(r.rows, 7)
		r.mu.Unlock()
		r.expectTraced(t, 7, "error: post not found", Miss, ReasonExpired)
	})
}

// What was invalidated is never served, however the load goes, not even if that
// happens while a caller waits for the load.
func TestStaleAfterInvalidation(t *testing.T) {
	t.Run("before the call", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newStalePosts(t, func(cfg *ReadConfig[*post]) { cfg.Soft = time.Second })
			r.fail(errDown)
			advance(time.Minute)
			r.expectTraced(t, 7, "old", Stale, ReasonFailed)
			r.put(t.Context(), post{ID: 7, Title: "written"}, postTag(7))
			r.expectTraced(t, 7, "error: "+errDown.Error(), Miss, ReasonInvalidated)
		})
	})
	for _, test := range []struct {
		name       string
		invalidate func(*posts)
	}{
		{"during the load", func(r *posts) { r.put(t.Context(), post{ID: 7, Title: "written"}, postTag(7)) }},
		{"clear during the load", func(r *posts) { r.cache.Clear(t.Context()) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newStalePosts(t, func(cfg *ReadConfig[*post]) { cfg.Soft = time.Second })
				advance(time.Minute)
				r.enter = func(context.Context, int64) { advance(5 * time.Second) }
				r.fail(errDown)
				time.AfterFunc(500*time.Millisecond, func() { test.invalidate(r) })
				began := time.Now()
				r.expectTraced(t, 7, "error: "+errDown.Error(), Miss, ReasonExpired)
				if took := time.Since(began); took != 5*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestSoft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStalePosts(t, func(cfg *ReadConfig[*post]) { cfg.Soft = 50 * time.Millisecond })
		advance(time.Minute)
		r.enter = func(context.Context, int64) { advance(time.Second) }
		for range 3 { // they share the load, each with its own patience
			began := time.Now()
			r.expectTraced(t, 7, "old", Stale, ReasonSoft)
			if took := time.Since(began); took != 50*time.Millisecond {
				t.Errorf("it took %v", took)
			}
		}
		// The load goes on and is stored.
		advance(time.Second)
		r.expectTraced(t, 7, "new", Hit, "")
		r.expectLoads(t, 2)

		// Without an expired value there is nothing to do but wait.
		r.set(post{ID: 8, Title: "eight"})
		r.expectTraced(t, 8, "eight", Miss, ReasonAbsent)
	})
}

// It may become too old while the caller waits.
func TestSoftTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStalePosts(t, func(cfg *ReadConfig[*post]) { cfg.Soft = time.Second })
		advance(time.Minute + time.Hour - time.Millisecond)
		r.enter = func(context.Context, int64) { advance(5 * time.Second) }
		r.expectTraced(t, 7, "new", Miss, ReasonExpired)
	})
}

// What a load that outlived its caller brings is stored under the stamp it began
// with: a write during the load keeps it out.
func TestSoftLoadIsOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStalePosts(t, func(cfg *ReadConfig[*post]) { cfg.Soft = 50 * time.Millisecond })
		advance(time.Minute)
		r.leave = func(context.Context, int64) { advance(time.Second) } // it has seen the rows
		r.expectTraced(t, 7, "old", Stale, ReasonSoft)
		r.put(t.Context(), post{ID: 7, Title: "written"}, postTag(7))
		advance(2 * time.Second)
		r.expectTraced(t, 7, "written", Miss, ReasonInvalidated)
		if got := r.cache.Stats().Overtaken; got != 1 {
			t.Errorf("%d overtaken", got)
		}
	})
}

func TestHard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Hard = 2 * time.Second })
		r.set(post{ID: 7, Title: "seven"})
		r.enter = func(context.Context, int64) { advance(3 * time.Second) }
		began := time.Now()
		ctx, trace := WithTrace(t.Context())
		_, err := r.get(ctx, 7)
		var timeout *TimeoutError
		if !errors.As(err, &timeout) || timeout.After != 2*time.Second || !timeout.Timeout() || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if got := err.Error(); got != "cacheruntime: example.com/blog.PostRepository.Post: no result within 2s (hard); the load goes on" {
			t.Error(got)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
		if event := trace.Events()[0]; event.Outcome != Miss || event.Reason != ReasonHard {
			t.Errorf("%+v", event)
		}
		// Who joins counts from its own call.
		r.expectTraced(t, 7, "seven", Joined, ReasonAbsent)
		r.expectTraced(t, 7, "seven", Hit, "")
		r.expectLoads(t, 1)
	})
}

func TestHardWithAnExpiredValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStalePosts(t, func(cfg *ReadConfig[*post]) { cfg.Hard = 2 * time.Second })
		advance(time.Minute)
		r.enter = func(context.Context, int64) { advance(3 * time.Second) }
		r.expectTraced(t, 7, "old", Stale, ReasonHard)
		advance(time.Second + time.Millisecond)
		r.expectTraced(t, 7, "new", Hit, "")
	})
}

// The limits span all the loads that a call waits for.
func TestHardSpansFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Hard = 4 * time.Second })
		r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
		r.set(post{ID: 7, Title: "seven"})
		r.enter = func(context.Context, int64) { advance(3 * time.Second) }
		go r.title(t.Context(), 7)
		synctest.Wait()
		r.put(t.Context(), post{ID: 7, Title: "written"}, postTag(7))
		began := time.Now()
		if _, err := r.get(t.Context(), 7); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("it took %v", took)
		}
		advance(10 * time.Second)
	})
}

func TestForcedRefreshIsNeverStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStalePosts(t, nil)
		advance(time.Minute)
		r.fail(errDown)
		r.expectTitle(t, Refresh(t.Context()), 7, "error: "+errDown.Error())
		r.expectTitle(t, Bypass(t.Context()), 7, "error: "+errDown.Error())
	})
}

// While loads fail, those that have an expired value to go on with try rarely, and
// whoever has none tries all the same.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStalePosts(t, func(cfg *ReadConfig[*post]) { cfg.TTL, cfg.Stale = time.Minute, 24*time.Hour })
		advance(time.Minute)
		r.fail(errDown)
		before := r.loadCount()
		r.expectTraced(t, 7, "old", Stale, ReasonFailed)
		r.expectTraced(t, 7, "old", Stale, ReasonBackoff)
		if got := r.loadCount() - before; got != 1 {
			t.Errorf("%d loads", got)
		}
		// The tries become rarer, down to one in about half a minute.
		tries := func(d, each time.Duration) (loads int) {
			before := r.loadCount()
			for end := time.Now().Add(d); time.Now().Before(end); advance(each) {
				r.expectTitle(t, t.Context(), 7, "old")
			}
			return r.loadCount() - before
		}
		if got := tries(time.Minute, 20*time.Millisecond); got < 6 || got > 13 {
			t.Errorf("%d loads in the first minute", got)
		}
		if got := tries(time.Hour, time.Second); got < 90 || got > 170 {
			t.Errorf("%d loads in the next hour", got)
		}
		// Nobody is handed an error whose load was not tried.
		for range 3 {
			before := r.loadCount()
			r.expectTraced(t, 8, "error: "+errDown.Error(), Miss, ReasonAbsent)
			if r.loadCount() != before+1 {
				t.Error("an error without a load")
			}
		}
		// A success ends it.
		r.fail(nil)
		advance(time.Minute)
		r.expectTraced(t, 7, "new", Miss, ReasonExpired)
		r.fail(errDown)
		advance(time.Minute)
		r.expectTraced(t, 7, "new", Stale, ReasonFailed)
		advance(130 * time.Millisecond)
		r.expectTraced(t, 7, "new", Stale, ReasonFailed)
	})
}

// A caller without an expired value ends the backing off for those who have one.
func TestBackoffEndsWithAnyLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStalePosts(t, nil)
		advance(time.Minute)
		r.fail(errDown)
		r.expectTraced(t, 7, "old", Stale, ReasonFailed)
		r.fail(nil)
		r.expectTraced(t, 7, "old", Stale, ReasonBackoff)
		r.expectTitle(t, Refresh(t.Context()), 7, "new")
		r.expectTraced(t, 7, "new", Hit, "")
	})
}

func TestBackoffForgets(t *testing.T) {
	r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Stale = time.Hour })
	r.read.mu.Lock()
	defer r.read.mu.Unlock()
	for i := range maxSetbacks + 10 {
		r.read.tried(fmt.Sprint(i), true, false)
	}
	if got := len(r.read.setbacks); got > maxSetbacks {
		t.Errorf("%d keys are remembered", got)
	}
}

// A read without an error to say so waits for no failed load twice.
func TestStaleOfAnInfallibleRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStalePosts(t, func(cfg *ReadConfig[*post]) { cfg.Infallible = true }, WithLoadTimeout(time.Second))
		advance(time.Minute)
		r.enter = func(ctx context.Context, _ int64) { <-ctx.Done() }
		r.expectTraced(t, 7, "old", Stale, ReasonFailed)
		r.enter = nil
		advance(time.Minute)
		r.expectTraced(t, 7, "new", Miss, ReasonExpired)
	})
}

func TestPanicOfALoadIsNotHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStalePosts(t, nil)
		advance(time.Minute)
		r.enter = func(context.Context, int64) { panic("a bug") }
		defer func() {
			if p, ok := recover().(*PanicError); !ok || p.Value != "a bug" {
				t.Errorf("%v", p)
			}
		}()
		r.title(t.Context(), 7)
	})
}

// certain is a beta with which every hit is an early refresh.
const certain = 1e12

func newRefreshPosts(t *testing.T, configure func(*ReadConfig[*post])) *posts {
	r := newPosts(t, func(cfg *ReadConfig[*post]) {
		cfg.TTL = time.Minute
		cfg.Refresh = certain
		if configure != nil {
			configure(cfg)
		}
	})
	r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	r.enter = func(context.Context, int64) { advance(time.Millisecond) }
	r.set(post{ID: 7, Title: "old"})
	r.expectTitle(t, t.Context(), 7, "old")
	r.set(post{ID: 7, Title: "new"})
	return r
}

func TestEarlyRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRefreshPosts(t, nil)
		for range 10 { // one is in flight; the hit does not wait for it
			r.expectTraced(t, 7, "old", Hit, "")
		}
		advance(10 * time.Millisecond)
		r.read.cfg.Refresh = 0
		r.expectTraced(t, 7, "new", Hit, "")
		r.expectLoads(t, 2)
		if got := r.cache.Stats(); got.Refreshes != 1 || got.Hits != 11 || got.Misses != 1 {
			t.Errorf("%+v", got.Counts)
		}
		// It lives a minute from then on.
		advance(time.Minute - 10*time.Millisecond)
		r.expectTraced(t, 7, "new", Hit, "")
	})
}

func TestEarlyRefreshIsOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRefreshPosts(t, nil)
		r.enter = nil
		r.leave = func(context.Context, int64) { advance(time.Second) }
		r.expectTraced(t, 7, "old", Hit, "")
		synctest.Wait()
		r.put(t.Context(), post{ID: 7, Title: "written"}, postTag(7))
		r.expectTraced(t, 7, "written", Miss, ReasonInvalidated)
		r.expectTraced(t, 7, "written", Hit, "")
		advance(10 * time.Second)
	})
}

// A refresh that fails is logged, and the next one waits.
func TestEarlyRefreshFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger := newTestLogger()
		r := newRefreshPosts(t, nil)
		r.cache.problems.logger = logger.Logger
		r.fail(errDown)
		for range 100 {
			r.expectTraced(t, 7, "old", Hit, "")
			advance(time.Millisecond)
		}
		if got := r.loadCount(); got < 2 || got > 4 {
			t.Errorf("%d loads", got)
		}
		if got := logger.messages(); len(got) != 1 {
			t.Errorf("%q", got)
		}
	})
}

func TestEarlyRefreshWithSharedArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRefreshPosts(t, func(cfg *ReadConfig[*post]) { cfg.SharedArgs = true })
		r.expectTraced(t, 7, "old", Hit, "")
		synctest.Wait()
		r.expectLoads(t, 1)
	})
}

// The probability of an early refresh is that of the formula: exp(−left/(took·β)).
func TestEarlyRefreshProbability(t *testing.T) {
	r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Refresh = 2 })
	took := 100 * time.Millisecond
	for _, test := range []struct {
		left time.Duration
		want float64
	}{
		{0, 1},
		{200 * time.Millisecond, 0.3679},
		{400 * time.Millisecond, 0.1353},
		{time.Second, 0.0067},
		{10 * time.Second, 0},
	} {
		n := 0
		const draws = 20000
		for range draws {
			if r.read.early(&entry{seen: 1, soft: 1 + int64(test.left), took: took}) {
				n++
			}
		}
		if got := float64(n) / draws; got < test.want-0.02 || got > test.want+0.02 {
			t.Errorf("%v before expiry: %.3f, want %.3f", test.left, got, test.want)
		}
	}
	if r.read.early(&entry{soft: never, took: took}) {
		t.Error("what does not expire is refreshed")
	}
}
