package blog_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/cachegen/cachegen/example/blog"
	"github.com/cachegen/cachegen/example/internal/sample"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

var frontPage = blog.Page{Number: 1, Size: 5}

// Reads of the front page, and one that is not on it.
func listing(r repositories) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) { return r.posts.List(ctx, blog.Filter{}, frontPage) }
}

func post(r repositories, id int64) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) { return r.posts.ByID(ctx, id) }
}

func totals(r repositories) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) { return r.reports.Totals(ctx) }
}

func featured(r repositories) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) { return r.posts.Featured(ctx) }
}

func discussion(r repositories) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) { return r.comments.ByPost(ctx, 1, frontPage) }
}

func engines(r repositories) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) { return r.posts.Search(ctx, "engine", frontPage, "") }
}

// While the database is down, what the front page needs is there for as long as
// its repository says, and nothing else is.
func TestOutage(t *testing.T) {
	for _, test := range []struct {
		name       string
		read       func(repositories) func(context.Context) (any, error)
		ttl, stale time.Duration
	}{
		{"List", listing, 10 * time.Minute, time.Hour},
		{"ByID", func(r repositories) func(context.Context) (any, error) { return post(r, 1) }, 10 * time.Minute, time.Hour},
		{"Featured", featured, time.Hour, time.Hour},
		{"Totals", totals, time.Hour, 24 * time.Hour},
		{"ByPost", discussion, 5 * time.Minute, 0},
		{"Search", engines, time.Minute, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, clock := t.Context(), cachetest.NewClock()
			far, cached, direct := remotely(t, cacheruntime.WithClock(clock))
			if err := direct.posts.Feature(ctx, 5, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			read := test.read(cached)
			trace, want, err := traced(ctx, read)
			cachetest.Miss(t, trace)
			if err != nil {
				t.Fatal(err)
			}

			far.down.Store(true)
			clock.Advance(test.ttl)
			if test.stale > 0 {
				// Jitter may end both up to a tenth of the ttl earlier.
				almost := test.stale - test.ttl/10 - time.Minute
				for _, d := range []time.Duration{0, almost} {
					clock.Advance(d)
					trace, got, err := traced(ctx, read)
					cachetest.Stale(t, trace)
					if err != nil || !reflect.DeepEqual(got, want) {
						t.Errorf("%+v, %v; want %+v", got, err, want)
					}
				}
				clock.Advance(test.stale - almost)
			}
			if _, got, err := traced(ctx, read); !errors.Is(err, errDown) {
				t.Errorf("%+v, %v; want %v", got, err, errDown)
			}
		})
	}
}

// What a write has made stale is not served, whether the database is up or not.
func TestOutageAfterWrite(t *testing.T) {
	ctx, clock := t.Context(), cachetest.NewClock()
	far, cached, _ := remotely(t, cacheruntime.WithClock(clock))
	if _, err := listing(cached)(ctx); err != nil {
		t.Fatal(err)
	}
	clock.Advance(10 * time.Minute)
	if err := cached.posts.Edit(ctx, 12, "Another title", ""); err != nil {
		t.Fatal(err)
	}
	far.down.Store(true)
	if _, got, err := traced(ctx, listing(cached)); !errors.Is(err, errDown) {
		t.Errorf("%+v, %v; want %v", got, err, errDown)
	}
}

// That a post does not exist is an answer: an expired one is not served instead.
func TestGoneIsNoOutage(t *testing.T) {
	ctx, clock := t.Context(), cachetest.NewClock()
	_, cached, direct := remotely(t, cacheruntime.WithClock(clock))
	if _, err := post(cached, 7)(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := direct.posts.Delete(ctx, 7); err != nil { // the cache is not told
		t.Fatal(err)
	}
	clock.Advance(10 * time.Minute)
	if _, got, err := traced(ctx, post(cached, 7)); !errors.Is(err, blog.ErrNotFound) {
		t.Errorf("%+v, %v; want %v", got, err, blog.ErrNotFound)
	}
}

// A visitor who can be given an expired front page waits for a new one for 100ms.
// The load goes on, for the next visitor.
func TestSlowFrontPage(t *testing.T) {
	ctx, clock := t.Context(), cachetest.NewClock()
	far, cached, direct := remotely(t, cacheruntime.WithClock(clock))
	old, err := listing(cached)(ctx)
	if err != nil {
		t.Fatal(err)
	}
	clock.Advance(10 * time.Minute)
	if err := direct.posts.Edit(ctx, 12, "Another title", ""); err != nil { // the cache is not told
		t.Fatal(err)
	}

	far.points.Hold("List")
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		trace, got, err := traced(ctx, listing(cached))
		cachetest.Stale(t, trace)
		cachetest.Reason(t, trace, cacheruntime.ReasonSoft)
		if err != nil || !reflect.DeepEqual(got, old) {
			t.Errorf("%+v, %v; want %+v", got, err, old)
		}
	}()
	far.points.Wait("List")
	clock.Wait(t, 2) // soft and hard
	clock.Advance(100*time.Millisecond - 1)
	select {
	case <-waiting:
		t.Fatal("the visitor did not wait for 100ms")
	default:
	}
	clock.Advance(1)
	<-waiting

	far.points.Release("List")
	want, err := listing(direct)(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := listing(cached)(ctx); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if n := far.points.Count("List"); n != 2 {
		t.Errorf("%d loads, want 2", n)
	}
}

// Nobody waits for comments longer than a second.
func TestSlowComments(t *testing.T) {
	ctx, clock := t.Context(), cachetest.NewClock()
	far, cached, direct := remotely(t, cacheruntime.WithClock(clock))
	far.points.Hold("ByPost")
	failed := make(chan error)
	go func() {
		_, err := discussion(cached)(ctx)
		failed <- err
	}()
	far.points.Wait("ByPost")
	clock.Wait(t, 1)
	clock.Advance(time.Second)
	var timeout *cacheruntime.TimeoutError
	if err := <-failed; !errors.As(err, &timeout) || timeout.After != time.Second {
		t.Fatalf("%v, want a timeout after 1s", err)
	}

	far.points.Release("ByPost")
	want, err := discussion(direct)(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := discussion(cached)(ctx); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if n := far.points.Count("ByPost"); n != 1 {
		t.Errorf("%d loads, want the one that went on", n)
	}
}

// The figures are loaded again before they expire: here they took half an hour,
// and expire within a second.
func TestRefreshedFigures(t *testing.T) {
	ctx, clock := t.Context(), cachetest.NewClock()
	far, cached, _ := remotely(t, cacheruntime.WithClock(clock))
	far.points.Hold("Totals")
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		if _, err := totals(cached)(ctx); err != nil {
			t.Error(err)
		}
	}()
	far.points.Wait("Totals")
	clock.Advance(30 * time.Minute)
	far.points.Release("Totals")
	<-loaded

	clock.Advance(time.Hour - time.Second)
	far.points.Hold("Totals")
	for range 100 { // each refreshes with a probability of 99.9%
		trace, _, err := traced(ctx, totals(cached))
		cachetest.Hit(t, trace)
		if err != nil {
			t.Fatal(err)
		}
	}
	far.points.Wait("Totals")
	far.points.Release("Totals")
}

// Who changes the front page loads it again, so that no visitor has to.
func TestFeatureReloads(t *testing.T) {
	ctx := t.Context()
	far, cached, direct := remotely(t, standing())
	if _, err := featured(cached)(ctx); err != nil {
		t.Fatal(err)
	}
	if err := cached.posts.Feature(ctx, 5, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := far.points.Count("Featured"); n != 2 {
		t.Errorf("%d loads, want another one by Feature", n)
	}
	trace, got, err := traced(ctx, featured(cached))
	cachetest.Hit(t, trace)
	want, err2 := featured(direct)(ctx)
	if err := errors.Join(err, err2); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}

	// A write that fails has nothing to show.
	if err := cached.posts.Feature(ctx, sample.Draft, time.Now().Add(time.Hour)); !errors.Is(err, blog.ErrNotFound) {
		t.Errorf("Feature of a draft: %v", err)
	}
	if n := far.points.Count("Featured"); n != 2 {
		t.Errorf("%d loads, want none by a Feature that failed", n)
	}
}
