package model

import (
	"hash/maphash"
	"math"
	"slices"
)

// A System is something that can be explored: states, and the steps that lead from
// one to others.
type System[S comparable] interface {
	// Start is the state in which everything begins.
	Start() S
	// Steps calls yield with each state that one step leads to from s, always in the
	// same order. A state from which nothing leads on is an end.
	Steps(s *S, yield func(*S))
	// Bad reports whether a state breaks a promise.
	Bad(s *S) bool
	// Stuck reports whether a state that is an end should not be one.
	Stuck(s *S) bool
}

// An Exploration is what Explore found out.
type Exploration struct {
	States      int
	Transitions int
	Depth       int // number of steps of the longest of the shortest ways to a state
	// Interleavings is the number of different ways from the start to an end; NaN if
	// there are cycles, or if they were not to be counted.
	Interleavings float64
	// Found says that a state is bad or stuck. Trace then is a shortest way there:
	// each number is the place of the next state among those that Steps yields.
	Found bool
	Trace []int
}

// Explore walks through all states of a system, breadth first, until it finds one that
// is bad, or stuck. So the way to what it finds is a shortest one.
//
// A state is remembered by a hash of 128 bits. That two of n states share one has a
// probability of less than n²/2^129: below 10^-24 for ten million.
//
// Ways are counted only if that is asked for, as it takes memory for each transition.
func Explore[S comparable](system System[S], count bool) Exploration {
	type origin struct {
		from uint32 // number of the state
		nth  uint32 // of its steps
	}
	seeds := [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	known := map[[2]uint64]uint32{} // number of a state
	var origins []origin
	var ways graph
	found := Exploration{Interleavings: math.NaN()}
	trace := func(at uint32) {
		found.Found = true
		for at != 0 {
			found.Trace = append(found.Trace, int(origins[at].nth))
			at = origins[at].from
		}
		slices.Reverse(found.Trace)
	}

	var level, next []S // the states at one distance from the start, and at one step more
	number := func(s *S, o origin) uint32 {
		id := [2]uint64{maphash.Comparable(seeds[0], *s), maphash.Comparable(seeds[1], *s)}
		n, ok := known[id]
		if !ok {
			n = uint32(len(origins))
			known[id] = n
			origins = append(origins, o)
			next = append(next, *s)
		}
		return n
	}
	start := system.Start()
	number(&start, origin{})
	at := uint32(0) // number of the state whose steps are taken
	for len(next) > 0 && !found.Found {
		level, next = next, level[:0]
		for i := range level {
			if system.Bad(&level[i]) {
				trace(at)
				break
			}
			nth := uint32(0)
			system.Steps(&level[i], func(s *S) {
				to := number(s, origin{at, nth})
				if count {
					ways.to = append(ways.to, to)
				}
				nth++
				found.Transitions++
			})
			if nth == 0 && system.Stuck(&level[i]) {
				trace(at)
				break
			}
			if count {
				ways.ends = append(ways.ends, len(ways.to))
			}
			at++
		}
		if len(next) > 0 {
			found.Depth++
		}
	}
	found.States = len(origins)
	if count && !found.Found {
		found.Interleavings = ways.count()
	}
	return found
}

// A graph has the states as nodes, by number; the start is the first.
type graph struct {
	to   []uint32 // where the edges lead, those of one node after those of another
	ends []int    // of the edges of each node
}

func (g *graph) edges(node uint32) []uint32 {
	first := 0
	if node > 0 {
		first = g.ends[node-1]
	}
	return g.to[first:g.ends[node]]
}

// count returns the number of ways from the first node to any without edges, or NaN
// if the graph has a cycle. Nodes are taken when all edges to them have been.
func (g *graph) count() (total float64) {
	into := make([]int, len(g.ends))
	for _, to := range g.to {
		into[to]++
	}
	if into[0] > 0 {
		return math.NaN()
	}
	ways := make([]float64, len(g.ends))
	ways[0] = 1
	ready := []uint32{0}
	taken := 0
	for ; len(ready) > 0; taken++ {
		node := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		edges := g.edges(node)
		if len(edges) == 0 {
			total += ways[node]
		}
		for _, to := range edges {
			ways[to] += ways[node]
			if into[to]--; into[to] == 0 {
				ready = append(ready, to)
			}
		}
	}
	if taken < len(g.ends) {
		return math.NaN()
	}
	return total
}
