package schedule

import (
	"fmt"
	"path"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"
)

// An op is what a thread does in its next step: it reads or changes an object.
type op struct {
	object any
	change bool
	timed  bool // it depends on the time as well
}

// Objects that are not variables.
type object string

const (
	nothing   object = "nothing"  // the beginning of a thread
	clockTime object = "the time" // which passes, and timers are set by
	timers    object = "timers"   // the end of what timers have begun
	channels  object = "channels" // all of them: which a select waits for is not told apart
)

// dependent reports whether the order of two ops can matter.
func dependent(a, b op) bool {
	if a.object == nothing || b.object == nothing || a.object == timers || b.object == timers {
		return false
	}
	return a.object == b.object && (a.change || b.change) ||
		a.timed && b.object == clockTime && b.change ||
		b.timed && a.object == clockTime && a.change
}

// A thread is a goroutine that a search drives.
type thread struct {
	run      *run
	name     string
	index    int // in run.threads, in the order of names' making
	resume   chan struct{}
	timer    bool          // begins when a timer fires
	elapse   time.Duration // how long its next step is to last
	children int
	clock    clock // of what has happened before its next step

	// Guarded by run.mu.
	began  bool
	parked bool
	ended  bool
	next   op     // if it is parked
	where  string // in the code, if the run is traced
}

// A run is one execution of a program, under one schedule.
type run struct {
	traced bool

	mu      sync.Mutex
	threads []*thread
	byID    map[identity]*thread
	held    map[any]*thread // locks
	freed   map[any]clock   // when they were unlocked
	closed  []reflect.Value // channels, in that order; kept, or a new one may get the address of one
	free    bool            // hooks let everybody pass: the run is over
	stuck   bool            // hooks end whoever comes: nobody could go on
	arrived []*thread       // at a hook, since the last step
	failure error           // a panic
}

// driven is the run that goes on in this process: one at a time.
var driven atomic.Pointer[run]

// running is the thread of the calling goroutine; nil if it is none.
func running() *thread {
	r := driven.Load()
	if r == nil {
		return nil
	}
	id := goroutine()
	r.mu.Lock()
	t, free, stuck := r.byID[id], r.free, r.stuck
	r.mu.Unlock()
	switch {
	case t != nil && stuck:
		runtime.Goexit()
	case free:
		return nil
	}
	return t
}

// step waits for the turn of the calling goroutine. It returns its thread, or nil
// if it is none.
func step(o op) *thread {
	t := running()
	if t != nil {
		t.park(o)
	}
	return t
}

func (r *run) newThread(name string) *thread {
	t := &thread{run: r, name: name, index: len(r.threads), resume: make(chan struct{})}
	r.threads = append(r.threads, t)
	return t
}

// child is a thread that another one starts. Its name tells of which, so that it is
// the same one in every run.
func (t *thread) child() *thread {
	t.run.mu.Lock()
	defer t.run.mu.Unlock()
	t.children++
	return t.run.newThread(fmt.Sprintf("%s.%d", t.name, t.children))
}

// begin is the goroutine of a thread.
func (t *thread) begin(f func()) {
	id := name(t.name)
	t.run.mu.Lock()
	if t.run.free {
		t.run.mu.Unlock()
		f()
		return
	}
	t.began = true
	t.run.byID[id] = t
	t.run.mu.Unlock()
	defer func() {
		t.run.mu.Lock()
		delete(t.run.byID, id)
		t.ended = true
		if value := recover(); value != nil && t.run.failure == nil {
			buf := make([]byte, 8<<10)
			t.run.failure = fmt.Errorf("%s panicked: %v\n%s", t.name, value, buf[:runtime.Stack(buf, false)])
		}
		t.run.mu.Unlock()
	}()
	t.park(op{nothing, false, false})
	f()
}

// park waits until the thread is to take its next step.
func (t *thread) park(o op) {
	r := t.run
	r.mu.Lock()
	if r.free || t.parked { // or it is a goroutine of the thread's that did not say so
		r.mu.Unlock()
		return
	}
	t.next, t.parked = o, true
	r.arrived = append(r.arrived, t)
	if r.traced {
		t.where = caller()
	}
	r.mu.Unlock()
	<-t.resume
	if r.stuck {
		runtime.Goexit()
	}
}

// caller is the place of the code that a hook is woven into.
func caller() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if !strings.HasSuffix(path.Dir(f.File), "internal/proof/schedule") || strings.HasSuffix(f.File, "_test.go") {
			name := f.Function[strings.LastIndexByte(f.Function, '/')+1:]
			_, name, _ = strings.Cut(name, ".")
			return fmt.Sprintf("%s\t%s:%d", strings.ReplaceAll(name, "[...]", ""), f.File, f.Line)
		}
		if !more {
			return ""
		}
	}
}

func (r *run) take(mu any, t *thread) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.free {
		return
	}
	r.held[mu] = t
	t.clock.join(r.freed[mu])
}

func (r *run) release(mu any, t *thread) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held, mu)
	r.freed[mu] = slices.Clone(t.clock)
}

func (r *run) closes(c any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = append(r.closed, reflect.ValueOf(c))
}

// firstClosed is which of the channels was closed first; i if none was.
func (r *run) firstClosed(cases []reflect.SelectCase, i int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.closed {
		for j := range cases {
			if cases[j].Chan.Pointer() == c.Pointer() {
				return j
			}
		}
	}
	return i
}

// enabled are the threads that can take a step, in the order of their making.
func (r *run) enabled() []*thread {
	r.mu.Lock()
	defer r.mu.Unlock()
	var can []*thread
	for _, t := range r.threads {
		if !t.parked {
			continue
		}
		if r.held[t.next.object] != nil || t.next.object == timers && slices.ContainsFunc(r.threads, (*thread).isTimer) {
			continue
		}
		can = append(can, t)
	}
	return can
}

// isTimer reports whether a thread was begun by a timer and has not ended.
func (t *thread) isTimer() bool { return t.timer && t.began && !t.ended }

// advance lets a thread take its step, and waits until all have come to the next
// hook or wait for each other. It returns those who have come to one.
func (r *run) advance(t *thread) []*thread {
	r.mu.Lock()
	r.arrived = r.arrived[:0]
	t.parked = false
	elapse := t.elapse
	t.elapse = 0
	r.mu.Unlock()
	if elapse > 0 {
		<-time.After(elapse)
		synctest.Wait()
	}
	t.resume <- struct{}{}
	synctest.Wait()
	return r.arrived
}

// finish lets everybody go on to the end, unscheduled, or ends them where they are
// if they are stuck.
func (r *run) finish(stuck bool) {
	r.mu.Lock()
	r.free, r.stuck = true, stuck
	for _, t := range r.threads {
		if t.parked {
			t.parked = false
			close(t.resume)
		}
	}
	r.mu.Unlock()
	synctest.Wait()
}

// waiting are threads that neither ended nor can go on, but for timers.
func (r *run) waiting() (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.threads {
		if t.began && !t.ended {
			names = append(names, t.name)
		}
	}
	return names
}

// A clock is a vector clock: of every thread, by index, the number of its steps
// that have happened before.
type clock []int

func (c *clock) join(d clock) {
	for len(*c) < len(d) {
		*c = append(*c, 0)
	}
	for i, n := range d {
		(*c)[i] = max((*c)[i], n)
	}
}

func (c clock) at(i int) int {
	if i < len(c) {
		return c[i]
	}
	return 0
}
