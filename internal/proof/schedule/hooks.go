package schedule

import (
	"sync"
	"time"
)

// The functions below are woven into the code that is driven, in place of or in
// front of what other goroutines could see or change: see package weave. In a
// goroutine that no search drives they do what the code did without them.

// Load is called before an atomic read of *p, and returns p.
func Load[T any](p *T) *T {
	step(op{p, false, false})
	return p
}

// Change is called before an atomic change of *p, and returns p.
func Change[T any](p *T) *T {
	step(op{p, true, false})
	return p
}

// Touch is called before a read or a change of something that is known by a
// comparable name, such as a row of a database.
func Touch(name any, change bool) { step(op{name, change, false}) }

// Lock locks a mutex, when its turn has come.
func Lock(mu sync.Locker) {
	if t := step(op{mu, true, false}); t != nil {
		t.run.take(mu, t)
	}
	mu.Lock()
}

// Unlock unlocks it.
func Unlock(mu sync.Locker) {
	defer mu.Unlock()
	if t := running(); t != nil {
		t.run.release(mu, t)
	}
}

// Close closes a channel. To send, to receive and to select are no steps: who does that
// goes on to the end of the step in which it can, or waits for one by which it can. So
// there are never two of its cases to choose from, as long as each step enables one.
func Close[T any](c chan T) {
	step(op{c, true, false})
	close(c)
}

// Go is in place of a go statement.
func Go(f func()) {
	t := running()
	if t == nil {
		go f()
		return
	}
	child := t.child()
	go child.begin(f)
}

// AfterFunc is [time.AfterFunc].
func AfterFunc(d time.Duration, f func()) *time.Timer {
	t := running()
	if t == nil {
		return time.AfterFunc(d, f)
	}
	t.park(op{clockTime, false, false})
	child := t.child()
	child.timer = true
	return time.AfterFunc(d, func() { child.begin(f) })
}

// Now is called before something depends on the time.
func Now() { step(op{clockTime, false, false}) }

// TouchNow is [Touch] for what depends on the time as well.
func TouchNow(name any, change bool) { step(op{name, change, true}) }

// Elapse lets time pass, and so leases end, while others are anywhere. Who looks at the
// time by other ways than [Now] and timers is not taken to depend on it.
func Elapse(d time.Duration) {
	if t := running(); t != nil {
		t.elapse = d
		t.park(op{clockTime, true, false})
		return
	}
	<-time.After(d)
}

// AwaitTimers waits until what [Elapse] has let begin has ended.
func AwaitTimers() { step(op{timers, false, false}) }
