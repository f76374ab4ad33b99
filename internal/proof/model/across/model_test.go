package across

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/proof/model"
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
			found := model.Explore(x, true)
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
			found := model.Explore(x, false)
			if !found.Found {
				t.Fatalf("survived %d states of %q", found.States, m.Scope)
			}
			t.Logf("%-42s %-26s %2d steps, %d states: %s", m.Name, m.Scope, len(found.Trace), found.States, x.end(found.Trace))
		})
	}
}

// What is listed as harmless breaks no promise: in its own scope, and with -deep in all.
func TestHarmless(t *testing.T) {
	for _, m := range Harmless() {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			for _, scope := range Scopes() {
				if (scope.Name != m.Scope || scope.large && underRace) && !*deep {
					continue
				}
				x := &system{scope, m.fault}
				if found := model.Explore(x, false); found.Found {
					t.Errorf("%s:\n%s", scope.Why, x.render(found.Trace))
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
			found := model.Explore(x, false)
			if !found.Found {
				t.Fatal("nothing found")
			}
			t.Logf("%s:\n%s", m.Rule, x.render(found.Trace))
		})
	}
}

// A trace reads as what happened.
func TestTrace(t *testing.T) {
	m := Limits()[0]
	x, _ := m.system(m.Scope)
	got := x.render(model.Explore(x, false).Trace)
	const want = `
  1  writer: post(7) has version 1
  2  crash: ends A
     In a local store an old entry is left that would be served.
`
	if got != strings.TrimPrefix(want, "\n") {
		t.Error(got)
	}
}
