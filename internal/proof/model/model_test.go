package model

import (
	"flag"
	"strings"
	"testing"
	"time"
)

var deep = flag.Bool("deep", false, "explore the scopes that take minutes as well")

// Every interleaving of every scope keeps every promise. Under the race detector, which
// has nothing to see here, only small scopes are explored.
func TestProtocol(t *testing.T) {
	for _, scope := range Scopes() {
		if (scope.deep || scope.large && underRace) && !*deep {
			continue
		}
		t.Run(scope.Name, func(t *testing.T) {
			t.Parallel()
			x := &system{scope, keepsAllRules}
			began := time.Now()
			found := Explore(x, true)
			if found.Found {
				t.Errorf("%s:\n%s", scope.Why, x.render(found.Trace))
				return
			}
			t.Logf("%-30s %9d states %9d transitions %10.3g interleavings, at most %d steps, %v",
				scope.Name, found.States, found.Transitions, found.Interleavings, found.Depth, time.Since(began).Round(time.Millisecond))
		})
	}
}

// Every rule is needed: without it there is an interleaving that breaks a promise.
func TestMutants(t *testing.T) {
	for _, m := range Mutants() {
		t.Run(m.Name, func(t *testing.T) {
			x, ok := m.system(m.Scope)
			if !ok {
				t.Fatalf("no scope %q", m.Scope)
			}
			found := Explore(x, false)
			if !found.Found {
				t.Fatalf("survived %d states of %q", found.States, m.Scope)
			}
			t.Logf("%-42s %-26s %2d steps, %d states: %s", m.Name, m.Scope, len(found.Trace), found.States, x.end(found.Trace))
		})
	}
}

// What is listed as harmless breaks no promise anywhere. For what began as a rule and
// turned out to be none, this says why it is not among the mutants.
func TestHarmless(t *testing.T) {
	for _, m := range Harmless() {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			for _, scope := range scopes(m.fault) {
				if scope.deep || scope.large && !*deep && (scope.Name != m.Scope || underRace) {
					continue
				}
				x := &system{scope, m.fault}
				if found := Explore(x, false); found.Found {
					t.Errorf("%s:\n%s", scope.Name, x.render(found.Trace))
				}
			}
		})
	}
}

// What is not promised does happen: the model can show it, so the promise is not
// larger than it looks.
func TestLimits(t *testing.T) {
	for _, m := range Limits() {
		t.Run(m.Name, func(t *testing.T) {
			x, ok := m.system(m.Scope)
			if !ok {
				t.Fatalf("no scope %q", m.Scope)
			}
			found := Explore(x, false)
			if !found.Found {
				t.Fatal("nothing found")
			}
			t.Logf("%s:\n%s", m.Rule, x.render(found.Trace))
		})
	}
}

// A trace reads as what happened.
func TestTrace(t *testing.T) {
	m := Mutants()[0]
	x, _ := m.system(m.Scope)
	got := x.render(Explore(x, false).Trace)
	const want = `
  1  reader 1: finds nothing for post(7)
  2  reader 1: has missed, with 0 flights before it
  3  reader 1: starts flight 1
  4  flight 1: finds nothing for post(7)
  5  flight 1: takes 0 for its stamp
  6  flight 1: loads version 0 of post(7)
  7  writer: the call succeeds; post(7) has version 1
  8  writer: marks post(7)
  9  writer: moves the clock to 1
 10  writer: raises post(7) to 1 and takes its mark out; returns
 11  flight 1: takes 1 for its stamp; sees post(7) at 1, not later than 1
 12  flight 1: may be stored
 13  flight 1: stores version 0 of post(7) as of 1
 14  reader 2: finds an entry for post(7): version 0 as of 1
 15  reader 2: sees post(7) at 1, not later than 1; a hit; returns version 0; but version 1 had returned before
     The read began after a write had returned, and did not see it.
`
	if got != strings.TrimPrefix(want, "\n") {
		t.Error(got)
	}
}
