// Package mutants has deliberate faults of the runtime. A proof that cannot fail
// proves nothing: for each fault, the tests have to find a history that the
// protocol forbids.
package mutants

import "github.com/cachegen/cachegen/internal/proof/weave"

// A Mutant is a fault: the runtime without one of its rules.
type Mutant struct {
	Name    string
	Rule    string // what the protocol demands, and the mutant does not do
	Patches []weave.Patch
	Package string // whose tests find it, below the module; empty for [Interleave]
	Run     string // which of them: the argument of go test's -run
}
