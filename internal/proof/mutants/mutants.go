// Package mutants has deliberate faults of the runtime. A proof that cannot fail
// proves nothing: for each fault, the tests have to find a history that the
// protocol forbids.
package mutants

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/cachegen/cachegen/internal/proof/model"
	"github.com/cachegen/cachegen/internal/proof/model/across"
	"github.com/cachegen/cachegen/internal/proof/weave"
)

// A Mutant is a fault: the runtime without one of its rules.
type Mutant struct {
	Name    string
	Rule    string // what the protocol demands, and the mutant does not do
	Patches []weave.Patch
	Package string // whose tests find it, as a folder of the module; empty for [Interleave]
	Run     string // which of them: the argument of go test's -run
}

// The packages whose tests find mutants.
const (
	// Interleave runs the runtime under chosen schedules, and judges the histories.
	Interleave = "internal/proof/interleave"
	// Runtime has the tests of what does not depend on a schedule: which value is
	// stored, for how long, and for whom.
	Runtime = "runtime"
)

func (m *Mutant) folder() string { return cmp.Or(m.Package, Interleave) }

// A Harmless change takes away or adds what looks as if it mattered. It is no
// mutant: no test can find it.
type Harmless struct {
	Change string
	Why    string
}

// render writes the tables as they stand in PROOF.md.
func render() string {
	var b strings.Builder
	b.WriteString("| mutant | what the protocol demands | found by |\n|---|---|---|\n")
	for _, m := range Table {
		fmt.Fprintf(&b, "| %s | %s | `%s`, %s |\n", m.Name, m.Rule, m.folder(), tests(m.Run))
	}
	b.WriteString("\nAnd of the model, each found in the scope named:\n\n| mutant of the model | what the protocol demands | found in |\n|---|---|---|\n")
	for _, m := range model.Mutants() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", m.Name, m.Rule, m.Scope)
	}
	b.WriteString("\nAnd of the model across processes:\n\n| mutant of the model | what the protocol demands | found in |\n|---|---|---|\n")
	for _, m := range across.Mutants() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", m.Name, m.Rule, m.Scope)
	}
	b.WriteString("\nThese changes are harmless, and so no mutants:\n\n| change | why |\n|---|---|\n")
	for _, h := range NoFaults {
		fmt.Fprintf(&b, "| %s | %s |\n", h.Change, h.Why)
	}
	return b.String()
}

// tests renders a -run argument.
func tests(run string) string {
	run = strings.NewReplacer("^", "", "$", "", "(", "", ")", "").Replace(run)
	return "`" + strings.ReplaceAll(run, "|", "`, `") + "`"
}
