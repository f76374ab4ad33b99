package cachetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// A Clock is a clock for [cacheruntime.WithClock] that moves only when
// [Clock.Advance] moves it.
type Clock struct {
	mu        sync.Mutex
	changed   signal
	now       time.Time
	timers    []*timer // set, neither called nor stopped, in the order of their times
	calls     int      // of timers, that have not returned
	advancing bool
}

// A timer is a call that the clock is to make.
type timer struct {
	clock *Clock
	at    time.Time
	f     func()
}

// NewClock returns a clock that stands at midnight UTC on 1 January 2000, as one
// in a bubble of testing/synctest does.
func NewClock() *Clock {
	return &Clock{now: time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)}
}

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// AfterFunc sets a timer: Advance calls f, in a goroutine of its own, when the
// clock has moved on by d. If d is not positive, f is called at once.
func (c *Clock) AfterFunc(d time.Duration, f func()) cacheruntime.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &timer{clock: c, at: c.now.Add(d), f: f}
	if d <= 0 {
		c.call(t)
		return t
	}
	// Of timers for the same time, the one set first comes first.
	i, _ := slices.BinarySearchFunc(c.timers, t, func(other, t *timer) int {
		if other.at.After(t.at) {
			return 1
		}
		return -1
	})
	c.timers = slices.Insert(c.timers, i, t)
	c.changed.fire()
	return t
}

// Stop calls the timer off. It reports whether it did: false if the timer has
// been stopped or its call has begun.
func (t *timer) Stop() bool {
	c := t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.timers, t)
	if i < 0 {
		return false
	}
	c.timers = slices.Delete(c.timers, i, i+1)
	c.changed.fire()
	return true
}

// call calls a timer's function. The mutex is locked.
func (c *Clock) call(t *timer) {
	c.calls++
	go func() {
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.calls--
			c.changed.fire()
		}()
		t.f()
	}()
}

// Advance moves the clock on by d, which must not be negative. Timers that fall
// due, those that other timers set meanwhile included, are called one after the
// other in the order of their times, with the clock standing at the time of each.
// Advance returns when the last of them has returned, and the clock then stands d
// later than before.
//
// It does not wait for what those calls set off in other goroutines, such as
// callers that have run out of patience and now return: wait for these by what
// they do. A timer's function must not call Advance, which would wait for itself.
// Of concurrent calls of Advance, one comes after the other.
func (c *Clock) Advance(d time.Duration) {
	if d < 0 {
		panic(fmt.Sprintf("cachetest: Clock.Advance(%v): a clock does not go back", d))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed.wait(&c.mu, nil, func() bool { return !c.advancing })
	c.advancing = true
	defer func() {
		c.advancing = false
		c.changed.fire()
	}()
	returned := func() bool { return c.calls == 0 }
	c.changed.wait(&c.mu, nil, returned) // those of timers that were due when they were set
	end := c.now.Add(d)
	for len(c.timers) > 0 && !c.timers[0].at.After(end) {
		next := c.timers[0]
		c.timers = slices.Delete(c.timers, 0, 1)
		c.now = next.at
		c.call(next)
		c.changed.fire()
		c.changed.wait(&c.mu, nil, returned)
	}
	c.now = end
}

// Timers returns how many timers are set: neither called nor stopped.
func (c *Clock) Timers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.timers)
}

// Wait waits until at least n timers are set at the same time, such as those of n
// callers that have begun to wait for a load. If that takes more than ten seconds
// of the system's time (in a bubble of testing/synctest: of the bubble's), the
// test fails and ends; call it from the test's goroutine.
func (c *Clock) Wait(t testing.TB, n int) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	c.mu.Lock()
	ready := c.changed.wait(&c.mu, timeout.C, func() bool { return len(c.timers) >= n })
	set := len(c.timers)
	c.mu.Unlock() // before Fatalf, with which cleanups may begin
	if !ready {
		t.Fatalf("cachetest: %d timers are set after %v, want %d", set, patience, n)
	}
}
