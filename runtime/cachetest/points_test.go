package cachetest_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cachegen/cachegen/runtime/cachetest"
)

// reach calls Reach in a goroutine and returns where its result comes.
func reach(ctx context.Context, points *cachetest.Points, name string) <-chan error {
	passed := make(chan error, 1)
	go func() { passed <- points.Reach(ctx, name) }()
	return passed
}

func expectHeld(t *testing.T, passed <-chan error) {
	t.Helper()
	select {
	case <-passed:
		t.Error("passed a point that is held")
	default:
	}
}

// inAndOutside runs a test in a bubble and outside of one.
func inAndOutside(t *testing.T, test func(t *testing.T)) {
	t.Run("bubble", func(t *testing.T) { synctest.Test(t, test) })
	t.Run("outside", test)
}

func TestPoints(t *testing.T) {
	inAndOutside(t, func(t *testing.T) {
		points := cachetest.NewPoints(t)
		if err := points.Reach(t.Context(), "load 7"); err != nil {
			t.Error(err)
		}
		points.Hold("load 7")
		points.Hold("load 7") // twice is once
		first := reach(t.Context(), points, "load 7")
		points.Wait("load 7")
		expectHeld(t, first)
		if err := points.Reach(t.Context(), "load 8"); err != nil {
			t.Error(err)
		}

		points.Release("load 7")
		points.Hold("load 7")
		if err := <-first; err != nil {
			t.Error(err)
		}
		second := reach(t.Context(), points, "load 7")
		points.Wait("load 7")
		expectHeld(t, second)
		points.Release("load 7")
		if err := <-second; err != nil {
			t.Error(err)
		}
		points.Release("load 7") // nobody is there: nothing happens
		if err := points.Reach(t.Context(), "load 7"); err != nil {
			t.Error(err)
		}
		if got := points.Count("load 7"); got != 4 {
			t.Errorf("reached %d times", got)
		}
		if points.Count("load 8") != 1 || points.Count("load 9") != 0 {
			t.Error("other points are not counted apart")
		}
	})
}

// Who is let go is no longer held, even if it has not run since.
func TestPointsWaitForTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		record(t, func(t testing.TB) {
			points := cachetest.NewPoints(t)
			points.Hold("load 7")
			reach(t.Context(), points, "load 7")
			points.Wait("load 7")
			points.Release("load 7")
			points.Hold("load 7")
			points.Wait("load 7")
		}).expect(t, "nobody is held there")
	})
}

func TestPointsEndWithContext(t *testing.T) {
	points := cachetest.NewPoints(t)
	points.Hold("load 7")
	ctx, cancel := context.WithCancel(t.Context())
	passed := reach(ctx, points, "load 7")
	points.Wait("load 7")
	cancel()
	if err := <-passed; !errors.Is(err, context.Canceled) {
		t.Errorf("left with %v", err)
	}
	points.Release("load 7")
	if err := points.Reach(ctx, "load 7"); err != nil {
		t.Errorf("held nobody and returned %v", err)
	}
	// The error does not depend on which of the two is seen first.
	for range 50 {
		points.Hold("load 7")
		ctx, cancel := context.WithCancel(t.Context())
		passed := reach(ctx, points, "load 7")
		points.Wait("load 7")
		cancel()
		points.Release("load 7")
		if err := <-passed; !errors.Is(err, context.Canceled) {
			t.Fatalf("left with %v", err)
		}
	}
}

func TestPointsWaitInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t, func(t testing.TB) {
			points := cachetest.NewPoints(t)
			points.Hold("load 7")
			points.Reach(t.Context(), "load 8")
			points.Reach(t.Context(), "load 8")
			points.Wait("load 7")
		})
		r.expect(t, `Wait("load 7"): nobody is held there after 10s; reached so far: "load 8" (2)`)
		if !r.fatal {
			t.Error("the test goes on")
		}
		record(t, func(t testing.TB) {
			points := cachetest.NewPoints(t)
			points.Hold("load 7")
			points.Wait("load 7")
		}).expect(t, "reached so far: none")
	})
	r := record(t, func(t testing.TB) { cachetest.NewPoints(t).Wait("load 7") })
	r.expect(t, `Wait("load 7"): the point lets everyone pass`)
	if !r.fatal {
		t.Error("the test goes on")
	}
}

func TestPointsEndWithTest(t *testing.T) {
	inAndOutside(t, func(t *testing.T) {
		var points *cachetest.Points
		var passed <-chan error
		record(t, func(t testing.TB) {
			points = cachetest.NewPoints(t)
			points.Hold("load 7")
			passed = reach(context.Background(), points, "load 7")
			points.Wait("load 7")
		}).expect(t)
		if err := <-passed; err != nil {
			t.Error(err)
		}
		points.Hold("load 7")
		if err := points.Reach(context.Background(), "load 7"); err != nil {
			t.Error(err)
		}
	})
}

func TestPointsConcurrently(t *testing.T) {
	points := cachetest.NewPoints(t)
	points.Hold("load 7")
	var reached atomic.Int64
	var enough atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !enough.Load() {
				reached.Add(1)
				if err := points.Reach(t.Context(), "load 7"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		points.Wait("load 7")
		points.Release("load 7")
		points.Hold("load 7")
	}
	enough.Store(true)
	points.Release("load 7")
	wg.Wait()
	if got := int64(points.Count("load 7")); got != reached.Load() {
		t.Errorf("counted %d times, reached %d times", got, reached.Load())
	}
}
