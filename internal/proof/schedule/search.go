// Package schedule runs a concurrent program under one schedule after the other:
// all that differ, or many at random. It drives the goroutines of the program one step
// at a time, in a testing/synctest bubble; a step ends before the next access to
// something that others could see or change, where package weave has put a hook.
//
// Only one search at a time can go on in a process.
package schedule

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A Program makes the threads of one run. It is called anew for each, inside of its
// bubble; what it does itself is not scheduled.
type Program func(p *Plan)

// A Plan is what a run is to do.
type Plan struct {
	run   *run
	fs    []func()
	check func() error
}

// Thread adds a goroutine. Names are to be unique, and without spaces.
func (p *Plan) Thread(name string, f func()) {
	p.run.newThread(name)
	p.fs = append(p.fs, f)
}

// Check is called when all have ended, to judge the run.
func (p *Plan) Check(f func() error) { p.check = f }

// A Result is what a search has found.
type Result struct {
	Schedules   int      // that were run to the end and judged; Search runs some of them once for each bound
	Steps       int      // taken in them
	Complete    bool     // there are no others within the limits
	Preemptions int      // of Search: the largest bound it was through with, or None
	Failure     *Failure // the first one; nil if there is none
}

// String says how far a search has come.
func (r Result) String() string {
	how := "given up there"
	switch {
	case r.Failure != nil:
		how = "the last one fails"
	case r.Complete:
		how = "and no schedule is left"
	case r.Preemptions >= 0:
		how = fmt.Sprintf("through with up to %d preemptions", r.Preemptions)
	}
	return fmt.Sprintf("%d runs of %d steps in all, %s", r.Schedules, r.Steps, how)
}

// None says that a search has not come to the end of anything.
const None = -2

// A Failure is a run that was judged wrong.
type Failure struct {
	Err      error
	Schedule string // for Replay
	Trace    string // what was done in it, a line a step
}

func (f *Failure) Error() string {
	return fmt.Sprintf("%v\n\nthe schedule, a line a step:\n%s\nto see it again: -schedule '%s'", f.Err, f.Trace, f.Schedule)
}

// maxSteps is how long a run may be.
const maxSteps = 20_000

var (
	errRedundant = errors.New("the same as one that was run before")
	errDiverged  = errors.New("the program does something else under this schedule than when it was found: it is not deterministic, or not what it was; search again without -schedule")
)

// taken is a step that was taken.
type taken struct {
	thread *thread
	op     op
	nth    int   // of the thread
	clock  clock // after it
	where  string
}

// execute runs the program once. At each step choose picks a thread of those that can
// go on, or nil to give the run up.
func execute(t *testing.T, program Program, traced bool, choose func(r *run, can []*thread) *thread, after func(*thread, []*thread)) (steps []taken, err error) {
	defer func() { // the bubble tells of goroutines that it has to leave behind
		if value := recover(); value != nil && err == nil {
			panic(value)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		r := &run{traced: traced, byID: map[identity]*thread{}, held: map[any]*thread{}, freed: map[any]clock{}}
		p := &Plan{run: r}
		program(p)
		driven.Store(r)
		defer driven.Store(nil)
		for i, f := range p.fs {
			go r.threads[i].begin(f)
		}
		synctest.Wait()
		gaveUp := false
		for len(steps) < maxSteps {
			can := r.enabled()
			if len(can) == 0 {
				// Those that wait may wait for time to pass.
				r.arrived = r.arrived[:0]
				for d := time.Millisecond; d < 24*time.Hour && len(r.waiting()) > 0 && len(r.arrived) == 0; d *= 4 {
					<-time.After(d)
					synctest.Wait()
				}
				after(nil, r.arrived)
				if can = r.enabled(); len(can) == 0 {
					break
				}
			}
			next := choose(r, can)
			if next == nil {
				gaveUp = true
				break
			}
			steps = append(steps, taken{thread: next, op: next.next, where: next.where})
			after(next, r.advance(next))
		}
		waiting := r.waiting()
		switch {
		case gaveUp:
			err = errRedundant
		case len(steps) == maxSteps:
			err = fmt.Errorf("the program has not ended after %d steps", maxSteps)
		case len(waiting) > 0:
			err = fmt.Errorf("none of these can ever go on: %s", strings.Join(waiting, ", "))
		}
		r.finish(len(waiting) > 0 && !gaveUp && len(steps) < maxSteps)
		if err == nil && r.failure != nil {
			err = r.failure
		}
		if err == nil && p.check != nil {
			err = p.check()
		}
	})
	return steps, err
}

// Random runs the program under a schedule that the seed decides: at every step any
// thread, or, for odd seeds, the thread of the highest priority, where priorities are
// random and change a few times (probabilistic concurrency testing: Burckhardt et al.,
// ASPLOS 2010).
func Random(t *testing.T, program Program, seed uint64) Result {
	rng := rand.New(rand.NewPCG(seed, 0))
	// Three changes find what depends on the order of four steps; length is more
	// than most programs take, as the changes may come anywhere.
	const changes, length = 3, 400
	priorities := map[*thread]float64{}
	drops := map[int]bool{}
	for range changes {
		drops[rng.IntN(length)] = true
	}
	n := 0
	steps, err := execute(t, program, false, func(r *run, can []*thread) *thread {
		n++
		if seed%2 == 0 {
			return can[rng.IntN(len(can))]
		}
		var best *thread
		for _, t := range can {
			if _, ok := priorities[t]; !ok {
				priorities[t] = 1 + rng.Float64()
			}
			if best == nil || priorities[t] > priorities[best] {
				best = t
			}
		}
		if drops[n] {
			priorities[best] = -float64(n)
		}
		return best
	}, func(*thread, []*thread) {})
	result := Result{Schedules: 1, Steps: len(steps)}
	if err != nil {
		result.Failure = explain(t, program, steps, err)
	}
	return result
}

// Replay runs the program under one schedule, as a failure names it, and on to the end
// if that goes on. It returns what was done, a line a step, and how it was judged.
func Replay(t *testing.T, program Program, schedule string) (string, error) {
	names := decode(schedule)
	n := 0
	steps, err := execute(t, program, true, func(r *run, can []*thread) *thread {
		n++
		if n > len(names) {
			return can[0]
		}
		for _, t := range can {
			if t.name == names[n-1] {
				return t
			}
		}
		return nil
	}, func(*thread, []*thread) {})
	if errors.Is(err, errRedundant) {
		err = errDiverged
	}
	return trace(steps), err
}

// explain runs a failing schedule once more and keeps what happens.
func explain(t *testing.T, program Program, steps []taken, err error) *Failure {
	f := &Failure{Err: err, Schedule: encode(steps)}
	text, again := Replay(t, program, f.Schedule)
	f.Trace = text
	if again == nil || errors.Is(again, errDiverged) {
		f.Err = fmt.Errorf("%w\n(%w)", err, errDiverged)
	}
	return f
}

// encode writes a schedule as names of threads, each with the number of steps that
// it takes in a row.
func encode(steps []taken) string {
	var b strings.Builder
	for i := 0; i < len(steps); {
		j := i
		for j < len(steps) && steps[j].thread == steps[i].thread {
			j++
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s*%d", steps[i].thread.name, j-i)
		i = j
	}
	return b.String()
}

func decode(schedule string) (names []string) {
	for _, field := range strings.Fields(schedule) {
		name, count, _ := strings.Cut(field, "*")
		n, err := strconv.Atoi(count)
		if err != nil {
			n = 1
		}
		for range n {
			names = append(names, name)
		}
	}
	return names
}
