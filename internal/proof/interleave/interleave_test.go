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
	budget = flag.Int("schedules", 4000, "run each scenario under so many schedules, unless there are fewer")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestScenarios runs the schedules of every scenario, as many as the budget allows.
func TestScenarios(t *testing.T) {
	total, steps, complete := 0, 0, 0
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
				t.Fatalf("found after %d schedules: %v with go run ./internal/proof/woven -test.run '%s$'", result.Schedules, result.Failure, t.Name())
			}
			if result.Complete {
				complete++
			}
			t.Logf("%s: %s", s.why, result)
		})
	}
	t.Logf("%d schedules of %d steps in all; %d of %d scenarios to the end", total, steps, complete, len(scenarios))
}

func (s scenario) program(p *schedule.Plan) {
	w := newWorld(p, s.guarded)
	if s.setup != nil {
		s.setup(w)
	}
	s.threads(w)
}
