package across

import (
	"flag"
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/proof/model"
)

var deep = flag.Bool("deep", false, "explore the scopes that take minutes as well")

// Every interleaving of every scope keeps every promise.
func TestProtocol(t *testing.T) {
	for _, scope := range Scopes() {
		if scope.deep && !*deep {
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
