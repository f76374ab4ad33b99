package schedule

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// Limits bound an exhaustive search.
type Limits struct {
	// Preemptions is how often a thread that could go on may be kept from it in one
	// schedule; less than 0 is without a bound. Most faults need one or two
	// (Musuvathi and Qadeer, PLDI 2007). With a bound, a few outcomes that are within
	// it may be left out where threads wait for each other: it is for finding, not for
	// proving.
	Preemptions int
	// Schedules is how many to run at most; 0 is without a bound.
	Schedules int
}

// Search runs the program under more and more of its schedules (iterative context
// bounding: Musuvathi and Qadeer, PLDI 2007): all without preemptions, all with one at
// most, with two, each for a fifth of the budget, and then all there are. So it finds
// what needs few preemptions first, and the reports are easy to read. Only the search
// without a bound leaves nothing out, and it needs far fewer schedules for that: see
// Limits.
func Search(t *testing.T, program Program, budget int) (result Result) {
	result.Preemptions = None
	add := func(bound, schedules int) (goOn bool) {
		r := All(t, program, Limits{Preemptions: bound, Schedules: max(schedules, 1)})
		result.Schedules += r.Schedules
		result.Steps += r.Steps
		result.Failure = r.Failure
		result.Complete = r.Complete && bound < 0
		if r.Failure == nil && r.Complete {
			result.Preemptions = bound
		}
		return r.Failure == nil && r.Complete
	}
	for bound := range 3 {
		if !add(bound, budget/5) {
			break
		}
	}
	if result.Failure == nil && result.Schedules < budget {
		add(-1, budget-result.Schedules)
	}
	return result
}

// A node is a choice among threads, at one step of a schedule.
type node struct {
	can         []string        // by name
	chosen      string          // in the current schedule
	todo        map[string]bool // to be chosen some time, what was included
	done        map[string]bool // chosen before
	asleep      map[string]bool // to choose them leads to nothing new
	last        string          // who took the step before
	preemptions int             // so far
}

// costs reports whether it is a preemption to choose a thread.
func (n *node) costs(name string) int {
	if n.last != "" && n.last != name && slices.Contains(n.can, n.last) {
		return 1
	}
	return 0
}

// All runs the program under every schedule within the limits, but for those that
// differ only in the order of steps that do not touch the same objects. It is dynamic
// partial-order reduction with source sets and sleep sets (Abdulla, Aronis, Jonsson and
// Sagonas, POPL 2014). Where preemptions are bounded sleep sets are left out, and the
// additional choices are made that the bound calls for (Coons, Musuvathi and McKinley,
// OOPSLA 2013).
func All(t *testing.T, program Program, limits Limits) (result Result) {
	var stack []*node
	for {
		s := &sweep{limits: limits, stack: stack, touched: map[any]*touches{}}
		steps, err := execute(t, program, false, s.choose, s.after)
		stack = s.stack
		switch {
		case s.diverged != "":
			result.Failure = &Failure{Err: fmt.Errorf("%w: %s", errDiverged, s.diverged), Schedule: encode(steps)}
			return result
		case errors.Is(err, errRedundant):
		case err != nil:
			result.Schedules++
			result.Steps += len(steps)
			result.Failure = explain(t, program, steps, err)
			return result
		default:
			result.Schedules++
			result.Steps += len(steps)
		}
		if limits.Schedules > 0 && result.Schedules >= limits.Schedules {
			return result
		}
		if stack = backtrack(stack, limits); len(stack) == 0 {
			result.Complete = true
			return result
		}
	}
}

// backtrack goes back to the last choice where there is something to be tried yet.
func backtrack(stack []*node, limits Limits) []*node {
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		n.done[n.chosen] = true
		for _, name := range n.can {
			if !n.todo[name] || n.done[name] || n.asleep[name] {
				continue
			}
			if limits.Preemptions >= 0 && n.preemptions+n.costs(name) > limits.Preemptions {
				continue
			}
			n.chosen = name
			return stack
		}
		stack = stack[:len(stack)-1]
	}
	return nil
}

// A sweep is one run of an exhaustive search.
type sweep struct {
	limits   Limits
	stack    []*node
	steps    []taken
	touched  map[any]*touches
	diverged string
	all      clock // of all steps
}

// touches is what happened to an object.
type touches struct {
	change clock // the last one
	loads  clock // since the beginning
}

func (s *sweep) choose(r *run, can []*thread) *thread {
	i := len(s.steps)
	if i == len(s.stack) {
		n := s.fresh(can)
		if n == nil {
			return nil
		}
		s.stack = append(s.stack, n)
	}
	n := s.stack[i]
	for _, t := range can {
		if t.name == n.chosen {
			s.races(t)
			s.happen(t)
			return t
		}
	}
	s.diverged = fmt.Sprintf("at step %d %s was to go on and cannot", i+1, n.chosen)
	return nil
}

// fresh is a choice that was not made before.
func (s *sweep) fresh(can []*thread) *node {
	n := &node{todo: map[string]bool{}, done: map[string]bool{}, asleep: map[string]bool{}}
	for _, t := range can {
		n.can = append(n.can, t.name)
	}
	slices.Sort(n.can)
	if i := len(s.stack); i > 0 {
		before := s.stack[i-1]
		n.last, n.preemptions = before.chosen, before.preemptions+before.costs(before.chosen)
		if s.limits.Preemptions < 0 {
			did := s.steps[i-1].op
			for _, t := range can {
				if t.name != before.chosen && (before.asleep[t.name] || before.done[t.name]) && !dependent(t.next, did) {
					n.asleep[t.name] = true
				}
			}
		}
	}
	for _, name := range n.can {
		if n.asleep[name] {
			continue
		}
		if n.chosen == "" || name == n.last {
			n.chosen = name // who took the last step goes on
		}
	}
	if n.chosen == "" {
		return nil
	}
	n.todo[n.chosen] = true
	return n
}

// races finds the steps that could as well have come after the one that the thread is
// about to take, and has the other order tried.
func (s *sweep) races(t *thread) {
	before := slices.Clone(t.clock) // what happened before the step for other reasons
	for i := len(s.steps) - 1; i >= 0; i-- {
		did := s.steps[i]
		if !dependent(did.op, t.next) || before.at(did.thread.index) >= did.nth {
			continue
		}
		before.join(did.clock)
		s.try(i, t)
		if s.limits.Preemptions >= 0 {
			// Also from where the other thread began to run, which costs less.
			first := i
			for first > 0 && s.steps[first-1].thread == did.thread {
				first--
			}
			s.try(first, t)
		}
	}
}

// try has something else chosen in place of the i-th step, so that the thread's next one
// comes before it. First come those of the steps since that do not depend on it: one
// that depends on no other of those is chosen, unless there is such a choice already.
func (s *sweep) try(i int, t *thread) {
	n, did := s.stack[i], s.steps[i]
	var others []taken
	for _, step := range s.steps[i+1:] {
		if step.clock.at(did.thread.index) < did.nth {
			others = append(others, step)
		}
	}
	others = append(others, taken{thread: t, clock: t.clock, nth: t.clock.at(t.index) + 1})
	first := ""
	for j, step := range others {
		depends := slices.ContainsFunc(others[:j], func(before taken) bool {
			return step.clock.at(before.thread.index) >= before.nth ||
				before.thread == step.thread || j == len(others)-1 && dependent(before.op, t.next)
		})
		switch {
		case depends || !slices.Contains(n.can, step.thread.name):
		case n.todo[step.thread.name] && s.limits.Preemptions < 0:
			return
		case s.limits.Preemptions >= 0:
			n.todo[step.thread.name] = true
			first = step.thread.name
		case first == "":
			first = step.thread.name
		}
	}
	if first != "" {
		n.todo[first] = true
		return
	}
	for _, name := range n.can {
		n.todo[name] = true
	}
}

// happen notes the step that the thread is about to take.
func (s *sweep) happen(t *thread) {
	o := t.next
	switch o.object {
	case nothing:
	case timers:
		for _, u := range t.run.threads {
			if u.timer && u.ended {
				t.clock.join(u.clock)
			}
		}
	default:
		touched := s.touch(o.object)
		t.clock.join(touched.change)
		if o.change {
			t.clock.join(touched.loads)
		}
	}
	if o.timed {
		t.clock.join(s.touch(clockTime).change)
	}
	t.clock.join(make(clock, t.index+1))
	t.clock[t.index]++
	if o.object != nothing && o.object != timers {
		touched := s.touch(o.object)
		if o.change {
			touched.change = slices.Clone(t.clock)
		}
		touched.loads.join(t.clock)
	}
	if o.timed {
		s.touch(clockTime).loads.join(t.clock)
	}
	s.all.join(t.clock)
	s.steps = append(s.steps, taken{thread: t, op: o, nth: t.clock[t.index], clock: slices.Clone(t.clock)})
}

func (s *sweep) touch(object any) *touches {
	if s.touched[object] == nil {
		s.touched[object] = &touches{}
	}
	return s.touched[object]
}

// after notes who was woken, or begun, by the step of a thread; nil is time.
func (s *sweep) after(t *thread, arrived []*thread) {
	if t == nil {
		for _, u := range arrived {
			u.clock.join(s.all)
		}
		return
	}
	for _, u := range arrived {
		if u != t {
			u.clock.join(t.clock)
		}
	}
}
