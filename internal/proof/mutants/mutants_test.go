package mutants

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cachegen/cachegen/internal/proof/weave"
)

var update = flag.Bool("update", false, "rewrite the tables in PROOF.md, and fail")

const (
	module  = "../../.."
	proofMD = module + "/PROOF.md"

	// patience is how long the tests of one mutant may take. Those that find a
	// fault do so within seconds; a mutant that makes them hang is none.
	patience = 3 * time.Minute

	// enough is how many schedules of a scenario are run, those with few preemptions
	// first: most faults need few.
	enough = 30_000
	// some is how many are run without a mutant, to see that the tests do not fail
	// anyway. That they hold is for package interleave itself.
	some = 200
)

// Each mutant is compiled into the tests that are to find it, and they do.
func TestMutants(t *testing.T) {
	dependOnSources(t)
	if !t.Run("none", func(t *testing.T) {
		for _, folder := range folders() {
			if v := (&Mutant{Package: folder, Run: allRuns(folder)}).try(t, some); v.found || v.trouble != "" {
				t.Errorf("%s fails without a mutant: %s\n%s", folder, v.trouble, v.output)
			}
		}
	}) {
		return
	}

	var mu sync.Mutex
	verdicts := map[string]verdict{}
	t.Run("of", func(t *testing.T) {
		for i := range Table {
			m := &Table[i]
			t.Run(m.Name, func(t *testing.T) {
				t.Parallel()
				v := m.try(t, enough)
				switch {
				case v.trouble != "":
					t.Errorf("%s: %s\n%s", m.Name, v.trouble, v.output)
				case !v.found:
					t.Errorf("%s survived %s in %s: nothing shows that %q", m.Name, m.Run, m.folder(), m.Rule)
				}
				mu.Lock()
				defer mu.Unlock()
				verdicts[m.Name] = v
			})
		}
	})
	var b strings.Builder
	for _, m := range Table {
		if v, ok := verdicts[m.Name]; ok {
			fmt.Fprintf(&b, "%-28s %-26s %-28s %s\n", m.Name, m.folder(), v.test, v.schedules)
		}
	}
	t.Logf("mutant, found by, in how many schedules:\n%s", b.String())
}

// A verdict is what came of a mutant.
type verdict struct {
	found     bool
	test      string // that failed first
	schedules string // that it took; empty if the test is not about them
	trouble   string // that kept it from being tried, or something else that the tests failed by
	output    string
}

var (
	failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	history    = regexp.MustCompile(`found after \d+ schedules: .*`)
	// A program that does something else under the same schedule, or does not end,
	// is no history.
	noHistory = regexp.MustCompile(`does something else when it is run again|has not ended after`)
	schedules = regexp.MustCompile(`found after \d+ schedules`)
	// panicked is how a test of the runtime may end that was handed what it cannot
	// be: a nil pointer, say.
	panicked = regexp.MustCompile(`(?ms)^panic: runtime error: .*?cachegen/runtime\.(Test\w+)[.(]`)
	// otherEnds are those of a test binary that has not come to judge anything.
	otherEnds = regexp.MustCompile(`(?m)^panic: test timed out|^fatal error:|^SIG[A-Z]+:|no tests to run`)
)

// try builds the tests with the mutant and runs them, under at most so many schedules
// of each scenario.
func (m *Mutant) try(t *testing.T, limit int) (v verdict) {
	dir := t.TempDir()
	overlay, err := weave.Overlay(weave.Options{Root: module, Dir: dir, Patches: append([]weave.Patch{weave.SmallTable}, m.Patches...)})
	if err != nil {
		return verdict{trouble: err.Error()}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	binary := filepath.Join(dir, "mutant.test")
	// With -trimpath, go's build cache is shared by all checkouts: the packages of all
	// mutants take two gigabytes of it.
	build := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-trimpath", "-ldflags=-s -w", "-overlay="+overlay, "-o", binary)
	if m.folder() == Runtime {
		build.Args = append(build.Args, "-gcflags=-N -l") // its tests take longer to compile than to run
	}
	build.Args = append(build.Args, "./"+m.folder())
	build.Dir = module
	if out, err := build.CombinedOutput(); err != nil {
		return verdict{trouble: "it does not build: " + err.Error(), output: string(out)}
	}
	run := exec.CommandContext(ctx, binary, "-test.run="+m.Run, "-test.failfast", "-test.timeout="+patience.String())
	if m.folder() == Interleave {
		run.Args = append(run.Args, fmt.Sprintf("-schedules=%d", limit))
	}
	run.Dir = filepath.Join(module, m.folder())
	out, err := run.CombinedOutput()
	v.output = shortened(out)
	failed := append(panicked.FindAllSubmatch(out, 1), failedTest.FindAllSubmatch(out, -1)...)
	v.schedules = string(schedules.Find(out))
	first := history.Find(out)
	switch end := otherEnds.Find(out); {
	case ctx.Err() != nil:
		v.trouble = "the tests have not ended within " + patience.String()
	case end != nil:
		v.trouble = "the tests ended otherwise: " + string(end)
	case err == nil:
	case len(failed) == 0:
		v.trouble = "the tests did not run: " + err.Error()
	case m.folder() == Interleave && (first == nil || noHistory.Match(first)):
		v.trouble = "the tests failed without a history: " + string(first)
	default:
		v.found = true
		v.test = string(failed[len(failed)-1][1])
	}
	return v
}

// shortened is what is worth showing of an output.
func shortened(out []byte) string {
	const most = 4000
	if len(out) <= most {
		return string(out)
	}
	return string(out[:most/2]) + "\n…\n" + string(out[len(out)-most/2:])
}

// folders are those whose tests find mutants.
func folders() (all []string) {
	for _, m := range Table {
		all = append(all, m.folder())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// allRuns is the -run argument for all tests in a folder that find mutants.
func allRuns(folder string) string {
	var all []string
	for _, m := range Table {
		if m.folder() == folder {
			all = append(all, m.Run)
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "|")
}

// dependOnSources looks at the files that the go command will compile, so that go
// test does not take the result of an earlier run when they have changed.
func dependOnSources(t *testing.T) {
	for _, folder := range []string{"runtime", "internal/proof", "go.mod"} {
		err := filepath.WalkDir(filepath.Join(module, folder), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(path) == ".go" {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The table is in order, and every patch fits and compiles.
func TestTable(t *testing.T) {
	dir := t.TempDir() // for all of them, one after the other
	seen := map[string]bool{}
	for _, m := range Table {
		if seen[m.Name] {
			t.Errorf("%s is there twice", m.Name)
		}
		seen[m.Name] = true
		if m.Run == "" || len(m.Patches) == 0 || !strings.HasSuffix(m.Rule, ".") || strings.ContainsAny(m.Name+m.Rule, "|`\n") {
			t.Errorf("%s is not complete", m.Name)
		}
		if _, err := weave.Overlay(weave.Options{Root: module, Dir: dir, Patches: m.Patches}); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
}

// PROOF.md has the tables as they are here.
func TestProofIsCurrent(t *testing.T) {
	text, err := os.ReadFile(proofMD)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- mutants -->\n", "<!-- /mutants -->\n"
	before, rest, found := strings.Cut(string(text), begin)
	old, after, found2 := strings.Cut(rest, end)
	if !found || !found2 {
		t.Fatalf("PROOF.md has no part between %q and %q", begin, end)
	}
	want := "\n" + render() + "\n"
	if old == want {
		return
	}
	t.Errorf("PROOF.md is not current: run go test ./internal/proof/mutants -run Proof -update (-old +new):\n%s", cmp.Diff(old, want))
	if *update {
		if err := os.WriteFile(proofMD, []byte(before+begin+want+end+after), 0o666); err != nil {
			t.Error(err)
		}
	}
}
