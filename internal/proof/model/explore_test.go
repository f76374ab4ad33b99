package model

import (
	"math"
	"slices"
	"testing"
)

// A walk is the system of two counters that are each counted up to a limit, in any
// order.
type walk struct {
	limit [2]int
	bad   [2]int
	stuck bool
	round bool // begin anew at the end
}

func (w walk) Start() [2]int { return [2]int{} }

func (w walk) Steps(s *[2]int, yield func(*[2]int)) {
	for i := range s {
		if next := *s; next[i] < w.limit[i] {
			next[i]++
			yield(&next)
		}
	}
	if w.round && *s == w.limit {
		yield(&[2]int{})
	}
}

func (w walk) Bad(s *[2]int) bool   { return *s == w.bad && *s != [2]int{} }
func (w walk) Stuck(s *[2]int) bool { return w.stuck }

func TestExplore(t *testing.T) {
	// Ways through a grid of 3 by 4: 7 over 3.
	found := Explore(walk{limit: [2]int{3, 4}}, true)
	if found.Found || found.States != 20 || found.Transitions != 31 || found.Depth != 7 || found.Interleavings != 35 {
		t.Errorf("got %+v", found)
	}
	found = Explore(walk{limit: [2]int{3, 4}, round: true}, true)
	if found.Found || found.States != 20 || !math.IsNaN(found.Interleavings) {
		t.Errorf("of a cycle: got %+v", found)
	}
	// A shortest way: two steps of the second counter, one of the first.
	found = Explore(walk{limit: [2]int{3, 4}, bad: [2]int{1, 2}}, false)
	if slices.Sort(found.Trace); !found.Found || !slices.Equal(found.Trace, []int{0, 1, 1}) {
		t.Errorf("of a bad state: got %+v", found)
	}
	found = Explore(walk{limit: [2]int{3, 4}, stuck: true}, false)
	if !found.Found || len(found.Trace) != 7 {
		t.Errorf("of an end that is none: got %+v", found)
	}
}
