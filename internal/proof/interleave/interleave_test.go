package interleave

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/cachegen/cachegen/internal/proof/schedule"
	"github.com/cachegen/cachegen/internal/proof/weave"
)

var (
	seeds  = flag.Uint64("seeds", 300, "run the random programs under so many schedules")
	first  = flag.Uint64("from", 1, "the seed of the first of them")
	replay = flag.String("schedule", "", "run the one program that -run names under this schedule, as a failure prints it")
	budget = flag.Int("schedules", 4000, "run each scenario under so many schedules, unless there are fewer")
)

// TestMain runs the tests where the runtime has hooks. If it has none, that is in a
// binary that is built here, with the same flags.
func TestMain(m *testing.M) {
	if schedule.Woven {
		goleak.VerifyTestMain(m)
		return
	}
	flag.Parse()
	code, err := runWoven(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// runWoven builds the tests with hooks and runs them. It returns their exit code.
func runWoven(args []string) (code int, err error) {
	dir, err := os.MkdirTemp("", "interleave")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	const module = "../../.."
	overlay, err := weave.Overlay(weave.Options{Root: module, Dir: dir, Patches: []weave.Patch{weave.SmallTable}})
	if err != nil {
		return 0, err
	}
	binary := filepath.Join(dir, "woven.test")
	build := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, out)
	}
	tests := exec.Command(binary, slices.DeleteFunc(args, func(arg string) bool {
		return strings.HasPrefix(arg, "-test.testlogfile") // is this process's
	})...)
	tests.Stdout, tests.Stderr = os.Stdout, os.Stderr
	err = tests.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// TestScenarios runs the schedules of every scenario, as many as the budget allows.
func TestScenarios(t *testing.T) {
	total, steps, complete, before := 0, 0, 0, judged
	for _, s := range scenarios {
		t.Run(strings.ReplaceAll(s.name, " ", "-"), func(t *testing.T) {
			if *replay != "" {
				steps, err := schedule.Replay(t, s.program, *replay)
				t.Logf("\n%s", steps)
				if err != nil {
					t.Error(err)
				}
				return
			}
			result := schedule.Search(t, s.program, *budget)
			total += result.Schedules
			steps += result.Steps
			if result.Failure != nil {
				t.Fatalf("found after %d schedules: %v with go test ./internal/proof/interleave -run '%s$'", result.Schedules, result.Failure, t.Name())
			}
			if result.Complete {
				complete++
			}
			t.Logf("%s: %s", s.why, result)
		})
	}
	if *replay != "" {
		return
	}
	t.Logf("%d runs of %d steps in all; %d of %d scenarios to the end; %d reads and %d writes judged",
		total, steps, complete, len(scenarios), judged.reads-before.reads, judged.writes-before.writes)
}

func (s scenario) program(p *schedule.Plan) {
	w := newWorld(p, s.guarded)
	if s.setup != nil {
		s.setup(w)
	}
	s.threads(w)
}
