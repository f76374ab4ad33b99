package cachetest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

var start = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)

func TestClockStandsStill(t *testing.T) {
	clock := cachetest.NewClock()
	if !clock.Now().Equal(start) {
		t.Errorf("starts at %v", clock.Now())
	}
	clock.Advance(time.Hour)
	clock.Advance(0)
	if want := start.Add(time.Hour); !clock.Now().Equal(want) {
		t.Errorf("after an hour it is %v", clock.Now())
	}
	synctest.Test(t, func(t *testing.T) {
		if inBubble := time.Now(); !inBubble.Equal(start) {
			t.Errorf("a bubble starts at %v, the clock at %v", inBubble, start)
		}
	})
}

func TestClockCallsTimersInOrder(t *testing.T) {
	clock := cachetest.NewClock()
	var mu sync.Mutex
	var calls []string
	call := func(name string) func() {
		return func() {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, fmt.Sprintf("%s at %v", name, clock.Now().Sub(start)))
		}
	}
	clock.AfterFunc(3*time.Second, call("third"))
	clock.AfterFunc(time.Second, call("first"))
	clock.AfterFunc(3*time.Second, call("fourth"))
	clock.AfterFunc(2*time.Second, func() {
		call("second")()
		clock.AfterFunc(0, call("at once"))
		clock.AfterFunc(5*time.Second, call("set meanwhile"))
		clock.AfterFunc(9*time.Second, call("too late"))
	})
	stopped := clock.AfterFunc(time.Second, call("stopped"))
	if !stopped.Stop() || stopped.Stop() {
		t.Error("stopping works once")
	}
	if got := clock.Timers(); got != 4 {
		t.Errorf("%d timers", got)
	}
	clock.Advance(time.Second - 1)
	if calls != nil {
		t.Errorf("called early: %q", calls)
	}
	clock.Advance(9*time.Second + 1)
	want := []string{"first at 1s", "second at 2s", "at once at 2s", "third at 3s", "fourth at 3s", "set meanwhile at 7s"}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Error(diff)
	}
	if !clock.Now().Equal(start.Add(10*time.Second)) || clock.Timers() != 1 {
		t.Errorf("in the end it is %v, and there are %d timers", clock.Now(), clock.Timers())
	}
	clock.Advance(time.Second)
	if calls[len(calls)-1] != "too late at 11s" {
		t.Errorf("%q", calls)
	}
}

func TestClockTimerThatRan(t *testing.T) {
	clock := cachetest.NewClock()
	var stoppedInside bool
	var timer cacheruntime.Timer
	timer = clock.AfterFunc(time.Second, func() { stoppedInside = timer.Stop() })
	clock.Advance(time.Second)
	if stoppedInside || timer.Stop() {
		t.Error("a call that has begun was called off")
	}
}

// Advance waits for what it calls, including what was due when it was set.
func TestClockAdvanceWaits(t *testing.T) {
	for _, delay := range []time.Duration{time.Second, 0, -time.Second} {
		t.Run(delay.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock := cachetest.NewClock()
				began := time.Now()
				clock.AfterFunc(delay, func() { <-time.After(time.Minute) })
				clock.Advance(time.Second)
				if took := time.Since(began); took != time.Minute {
					t.Errorf("advanced after %v, while the call took a minute", took)
				}
			})
		})
	}
}

// A timer that is due when it is set needs no Advance.
func TestClockTimerThatIsDue(t *testing.T) {
	clock := cachetest.NewClock()
	called := make(chan struct{})
	clock.AfterFunc(0, func() { close(called) })
	<-called
	if clock.Timers() != 0 {
		t.Error("it is still set")
	}
}

// One Advance comes after the other: the second moves on from where the first
// has ended.
func TestClockAdvanceWaitsForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := cachetest.NewClock()
		resume := make(chan struct{})
		clock.AfterFunc(time.Second, func() { <-resume })
		var wg sync.WaitGroup
		wg.Go(func() { clock.Advance(time.Second) })
		synctest.Wait()
		wg.Go(func() { clock.Advance(time.Minute) })
		synctest.Wait()
		clock.AfterFunc(59*time.Second, func() {
			if want := start.Add(time.Minute); !clock.Now().Equal(want) {
				t.Errorf("called at %v, want %v", clock.Now(), want)
			}
		})
		close(resume)
		wg.Wait()
		if want := start.Add(61 * time.Second); !clock.Now().Equal(want) || clock.Timers() != 0 {
			t.Errorf("it is %v, want %v; %d timers", clock.Now(), want, clock.Timers())
		}
	})
}

func TestClockConcurrently(t *testing.T) {
	clock := cachetest.NewClock()
	var mu sync.Mutex
	called := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 20 {
				timer := clock.AfterFunc(time.Duration(i)*time.Second, func() {
					mu.Lock()
					defer mu.Unlock()
					called++
				})
				if i%4 == 3 && timer.Stop() {
					mu.Lock()
					called++
					mu.Unlock()
				}
				clock.Advance(time.Second)
			}
		})
	}
	wg.Wait()
	clock.Advance(20 * time.Second)
	if called != 160 || clock.Timers() != 0 {
		t.Errorf("%d of 160 timers were called or stopped; %d are left", called, clock.Timers())
	}
	if want := start.Add(180 * time.Second); !clock.Now().Equal(want) {
		t.Errorf("it is %v, want %v", clock.Now(), want)
	}
}

func TestClockDoesNotGoBack(t *testing.T) {
	defer func() {
		if got, want := recover(), "cachetest: Clock.Advance(-1s): a clock does not go back"; got != want {
			t.Errorf("panic: %v, want %v", got, want)
		}
	}()
	cachetest.NewClock().Advance(-time.Second)
}

func TestClockWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := cachetest.NewClock()
		ran := make(chan struct{})
		for i := range 3 {
			go func() {
				<-time.After(time.Duration(i) * time.Second)
				clock.AfterFunc(time.Second, func() { ran <- struct{}{} })
			}()
		}
		began := time.Now()
		clock.Wait(t, 3)
		if took := time.Since(began); took != 2*time.Second || clock.Timers() != 3 {
			t.Errorf("after %v there are %d timers", took, clock.Timers())
		}
		go clock.Advance(time.Second)
		for range 3 {
			<-ran
		}
	})
}

func TestClockWaitInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := cachetest.NewClock()
		clock.AfterFunc(time.Second, func() {})
		r := record(t, func(t testing.TB) {
			clock.Wait(t, 1)
			clock.Wait(t, 2)
		})
		r.expect(t, "1 timers are set after 10s, want 2")
		if !r.fatal {
			t.Error("the test goes on")
		}
	})
}

func TestClockExpiresEntries(t *testing.T) {
	clock := cachetest.NewClock()
	r := newRowReader(cachetest.New(t, cacheruntime.WithClock(clock)))
	cachetest.Reason(t, r.expectRow(t, t.Context(), 7, "row"), cacheruntime.ReasonAbsent)
	clock.Advance(time.Minute - 1)
	cachetest.Hit(t, r.expectRow(t, t.Context(), 7, "row"))
	clock.Advance(1)
	cachetest.Reason(t, r.expectRow(t, t.Context(), 7, "row"), cacheruntime.ReasonExpired)
}

func TestClockEndsPatience(t *testing.T) {
	clock := cachetest.NewClock()
	points := cachetest.NewPoints(t)
	r := newRowReader(cachetest.New(t, cacheruntime.WithClock(clock)))
	r.expectRow(t, t.Context(), 7, "row")
	clock.Advance(time.Minute)

	r.load = func(ctx context.Context, _ int64) (string, error) { return "new row", points.Reach(ctx, "load") }
	points.Hold("load")
	read := make(chan *cacheruntime.Trace, 1)
	go func() { read <- r.expectRow(t, t.Context(), 7, "row") }()
	points.Wait("load")
	clock.Wait(t, 1)
	clock.Advance(time.Second - 1)
	select {
	case trace := <-read:
		t.Errorf("out of patience early: %v", trace)
	default:
	}
	clock.Advance(1)
	trace := <-read
	cachetest.Stale(t, trace)
	cachetest.Reason(t, trace, cacheruntime.ReasonSoft)
}
