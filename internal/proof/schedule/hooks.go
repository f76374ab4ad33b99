package schedule

import (
	"reflect"
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

// Close closes a channel. To send and to receive are no steps: who does that goes on in
// the step in which it can, or waits for one by which it can.
func Close[T any](c chan T) {
	if t := step(op{channels, true, false}); t != nil {
		t.run.closes(c)
	}
	close(c)
}

// Select is in place of a select that waits for channels, and returns which of them it
// was. Of several that are closed it is the one that was closed first, so that a run
// can be repeated. It is a step if there are several: what it does then depends on what
// is closed before it.
func Select(cs ...any) int {
	var cases []reflect.SelectCase
	several := 0
	for _, c := range cs {
		v := reflect.ValueOf(c)
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: v})
		if _, timer := c.(<-chan time.Time); !timer && !v.IsNil() {
			several++
		}
	}
	var t *thread
	if several > 1 {
		t = step(op{channels, false, false})
	}
	i, _, _ := reflect.Select(cases)
	if t != nil {
		i = t.run.firstClosed(cases, i)
	}
	return i
}

// Poll is called before a select that does not wait: which way that goes depends on what
// is closed before it.
func Poll() { step(op{channels, false, false}) }

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

// A Timer is what [AfterFunc] returns.
type Timer struct{ *time.Timer }

// Stop is a step: whether time passes before it decides what the timer does.
func (t Timer) Stop() bool {
	step(op{clockTime, false, false})
	return t.Timer.Stop()
}

// AfterFunc is in place of [time.AfterFunc].
func AfterFunc(d time.Duration, f func()) Timer {
	t := step(op{clockTime, false, false})
	if t == nil {
		return Timer{time.AfterFunc(d, f)}
	}
	child := t.child()
	child.timer = true
	return Timer{time.AfterFunc(d, func() { child.begin(f) })}
}

// Now is called before something depends on the time.
func Now() { step(op{clockTime, false, false}) }

// TouchNow is [Touch] for what depends on the time as well.
func TouchNow(name any, change bool) { step(op{name, change, true}) }

// Elapse lets time pass, and so leases end, while others are anywhere. Who looks at the
// time by other ways than [Now] and timers is not taken to depend on it.
func Elapse(d time.Duration) {
	switch t := running(); {
	case t != nil:
		t.elapse = d
		t.park(op{clockTime, true, false})
	case driven.Load() == nil: // otherwise the run is over
		<-time.After(d)
	}
}

// AwaitTimers waits until what [Elapse] has let begin has ended.
func AwaitTimers() { step(op{timers, false, false}) }
