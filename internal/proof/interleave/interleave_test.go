package interleave

import (
	"flag"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/cachegen/cachegen/internal/proof/schedule"
)

var (
	seeds  = flag.Uint64("seeds", 300, "run the random programs under so many schedules")
	first  = flag.Uint64("from", 1, "the seed of the first of them")
	replay = flag.String("schedule", "", "run the one program that -run names under this schedule, as a failure prints it")
	deep   = flag.Bool("deep", false, "search without a bound on preemptions")
	bound  = flag.Int("preemptions", -1, "search with this bound on preemptions in place of each scenario's own")
	atMost = flag.Int("schedules", 0, "give a search up after so many schedules; 0 for never")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestScenarios runs every schedule of every scenario.
func TestScenarios(t *testing.T) {
	total, steps := 0, 0
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
			limits := schedule.Limits{Preemptions: -1, Schedules: *atMost}
			if s.preemptions > 0 && !*deep {
				limits.Preemptions = s.preemptions
			}
			if *bound >= 0 {
				limits.Preemptions = *bound
			}
			result := schedule.All(t, s.program, limits)
			total += result.Schedules
			steps += result.Steps
			if result.Failure != nil {
				t.Fatalf("found after %d schedules: %v", result.Schedules, result.Failure)
			}
			t.Logf("%d schedules, %d steps, complete: %v", result.Schedules, result.Steps, result.Complete)
		})
	}
	t.Logf("%d schedules of %d steps in all", total, steps)
}

func (s scenario) program(p *schedule.Plan) {
	w := newWorld(p, s.guarded)
	if s.setup != nil {
		s.setup(w)
	}
	s.threads(w)
}
