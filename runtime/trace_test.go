package cacheruntime

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.TTL = time.Minute })
		r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
		r.enter = func(context.Context, int64) { advance(time.Millisecond) }
		r.set(post{ID: 7, Title: "seven"})
		ctx, trace := WithTrace(t.Context())
		r.title(ctx, 7)
		r.title(ctx, 7)
		r.put(ctx, post{ID: 7, Title: "new"}, postTag(7))
		r.title(ctx, 7)
		advance(time.Minute)
		r.title(ctx, 7)
		r.cache.Clear(ctx)
		r.store = func(*post) bool { return false }
		r.title(ctx, 7)
		r.title(Refresh(ctx), 7)
		r.title(Bypass(ctx), 7)
		r.title(ctx, 8)
		r.title(ctx, 8)
		done, cancel := context.WithCancel(ctx)
		cancel()
		r.title(done, 9)

		const want = `miss          PostRepository.Post(7)  absent, stored       1ms
hit           PostRepository.Post(7)                       0s
invalidated   PostRepository.Update   blog.post(7)         0s
miss          PostRepository.Post(7)  invalidated, stored  1ms
miss          PostRepository.Post(7)  expired, stored      1ms
invalidated   clear                   *                    0s
miss          PostRepository.Post(7)  absent               1ms
miss          PostRepository.Post(7)  refresh              1ms
bypassed      PostRepository.Post(7)  bypass               1ms
miss          PostRepository.Post(8)  absent, stored       1ms
negative hit  PostRepository.Post(8)                       0s
miss          PostRepository.Post(9)  the caller was done  0s
`
		if diff := cmp.Diff(want, trace.String()); diff != "" {
			t.Error(diff)
		}
		first := trace.Events()[0]
		if diff := cmp.Diff(Event{Repository: postRepository, Method: "Post", Outcome: Miss, Reason: ReasonAbsent, Key: "Post(7)", Stored: true, Duration: time.Millisecond}, first); diff != "" {
			t.Error(diff)
		}
		if got := first.String(); got != "miss  PostRepository.Post(7)  absent, stored  1ms" {
			t.Errorf("%q", got)
		}
		inner, innerTrace := WithTrace(ctx)
		before := len(trace.Events())
		r.title(inner, 8)
		if len(innerTrace.Events()) != 1 || len(trace.Events()) != before {
			t.Error("a trace inside a trace")
		}
	})
}

func TestTraceConcurrently(t *testing.T) {
	r := newPosts(t, nil)
	r.set(post{ID: 7})
	ctx, trace := WithTrace(t.Context())
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			r.title(ctx, 7)
			_ = trace.String()
		})
	}
	wg.Wait()
	if got := len(trace.Events()); got != 10 {
		t.Errorf("%d events", got)
	}
}

// A trace tells what kept a load from being stored: a write in progress, a write that returned
// meanwhile, or the policy of the read, which is no reason of the cache's.
func TestTraceTellsWhatOvertookALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &recounter{}
		r := newPosts(t, nil, WithGuardedWrites(time.Minute), WithObserver(o))
		r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
		r.set(post{ID: 7, Title: "old"})
		ctx, trace := WithTrace(t.Context())
		r.write(t.Context(), func(context.Context) error { r.title(ctx, 7); return nil }, postTag(7))
		r.leave = func(context.Context, int64) { r.cache.Invalidate(t.Context(), postTag(7)) }
		r.title(ctx, 7)
		r.leave = nil
		r.store = func(*post) bool { return false }
		r.title(ctx, 7)
		const want = `miss  PostRepository.Post(7)  absent, not stored: marked       0s
miss  PostRepository.Post(7)  absent, not stored: invalidated  0s
miss  PostRepository.Post(7)  absent                           0s
`
		if diff := cmp.Diff(want, trace.String()); diff != "" {
			t.Error(diff)
		}
		var told []Reason
		for _, e := range o.events {
			if e.Outcome == Overtaken {
				told = append(told, e.Reason)
			}
		}
		if diff := cmp.Diff([]Reason{ReasonMarked, ReasonInvalidated}, told); diff != "" {
			t.Error(diff)
		}
	})
}
