package schedule

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A search widens until there is nothing left, or the budget is used up.
func TestSearch(t *testing.T) {
	harmless := func(p *Plan) {
		var n atomic.Int64
		for _, name := range []string{"a", "b", "c"} {
			p.Thread(name, func() {
				Change(&n).Add(1)
				Change(&n).Add(1)
			})
		}
	}
	all := Search(t, harmless, 10_000)
	if !all.Complete || all.Failure != nil || !strings.Contains(all.String(), "no schedule is left") {
		t.Errorf("%+v", all)
	}
	some := Search(t, harmless, 40)
	if some.Complete || some.Preemptions < 0 || some.Schedules != 40 || !strings.Contains(some.String(), "through with up to") {
		t.Errorf("%+v", some)
	}
	if found := Search(t, lostUpdate, 1000); found.Failure == nil || found.Preemptions != 0 {
		t.Errorf("%+v, want a failure with one preemption", found)
	}
}

// Two threads that count without care lose a count, in some schedules.
func lostUpdate(p *Plan) {
	var n atomic.Int64
	for _, name := range []string{"a", "b"} {
		p.Thread(name, func() {
			old := Load(&n).Load()
			Change(&n).Store(old + 1)
		})
	}
	p.Check(func() error {
		if got := n.Load(); got != 2 {
			return fmt.Errorf("counted to %d", got)
		}
		return nil
	})
}

func TestLostUpdate(t *testing.T) {
	result := All(t, lostUpdate, Limits{Preemptions: -1})
	if result.Failure == nil {
		t.Fatalf("not found in %d schedules", result.Schedules)
	}
	for _, want := range []string{"counted to 1", "Change(&n).Store(old + 1)", "schedule_test.go", "-schedule '"} {
		if !strings.Contains(result.Failure.Error(), want) {
			t.Errorf("the failure does not say %q:\n%v", want, result.Failure)
		}
	}
	text, err := Replay(t, lostUpdate, result.Failure.Schedule)
	if err == nil || text != result.Failure.Trace {
		t.Errorf("replayed: %v\n%s\nwant %v", err, text, result.Failure)
	}
	if result := All(t, lostUpdate, Limits{Preemptions: 0}); result.Failure != nil || !result.Complete {
		t.Errorf("without preemptions: %+v", result)
	}
	found := false
	for seed := range uint64(100) {
		found = found || Random(t, lostUpdate, seed).Failure != nil
	}
	if !found {
		t.Error("not found at random")
	}
}

// What threads do that share nothing has one schedule.
func TestIndependent(t *testing.T) {
	result := All(t, func(p *Plan) {
		for _, name := range []string{"a", "b", "c"} {
			var mine atomic.Int64
			p.Thread(name, func() {
				for range 5 {
					Change(&mine).Add(1)
				}
			})
		}
	}, Limits{Preemptions: -1})
	if result.Schedules != 1 || !result.Complete || result.Failure != nil {
		t.Errorf("%+v, want one schedule", result)
	}
}

func TestDeadlock(t *testing.T) {
	result := All(t, func(p *Plan) {
		var a, b sync.Mutex
		lock := func(first, second *sync.Mutex) func() {
			return func() {
				Lock(first)
				Lock(second)
				Unlock(second)
				Unlock(first)
			}
		}
		p.Thread("a", lock(&a, &b))
		p.Thread("b", lock(&b, &a))
	}, Limits{Preemptions: -1})
	if result.Failure == nil || !strings.Contains(result.Failure.Error(), "none of these can ever go on: a, b") {
		t.Errorf("%+v", result)
	}
}

// The outcomes of small random programs are those of all interleavings.
func TestAllAreFound(t *testing.T) {
	const objects, threads = 2, 3
	type step struct {
		object int
		kind   int // load, add, double, locked double, close and look
	}
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var programs [threads][]step
		for i := range programs {
			for range 1 + rng.IntN(3) {
				programs[i] = append(programs[i], step{rng.IntN(objects), rng.IntN(3)})
			}
		}
		// A state is the objects and what every thread has seen.
		type state struct {
			at   [threads]int
			vars [objects]int64
			seen string
		}
		want := map[string]bool{}
		var walk func(s state, seen [threads][]int64)
		walk = func(s state, seen [threads][]int64) {
			over := true
			for i, program := range programs {
				if s.at[i] == len(program) {
					continue
				}
				over = false
				next, saw := s, seen
				p := program[s.at[i]]
				next.at[i]++
				switch p.kind {
				case 0:
					saw[i] = append(slices.Clone(saw[i]), s.vars[p.object])
				case 1:
					next.vars[p.object] = 3*s.vars[p.object] + 1
				case 2:
					next.vars[p.object] += int64(i) + 2
				}
				walk(next, saw)
			}
			if over {
				want[fmt.Sprint(s.vars, seen)] = true
			}
		}
		walk(state{}, [threads][]int64{})
		bounds := []Limits{{Preemptions: -1}}
		if len(programs[0])+len(programs[1])+len(programs[2]) < 6 {
			bounds = append(bounds, Limits{Preemptions: 6}) // which are enough for all
		}
		for _, limits := range bounds {
			got := map[string]bool{}
			result := All(t, func(p *Plan) {
				var vars [objects]atomic.Int64
				var mu [objects]sync.Mutex
				var seen [threads][]int64
				for i, program := range programs {
					p.Thread(string(rune('a'+i)), func() {
						for _, s := range program {
							v := &vars[s.object]
							switch s.kind {
							case 0:
								seen[i] = append(seen[i], Load(v).Load())
							case 1:
								for {
									old := Load(v).Load()
									if Change(v).CompareAndSwap(old, 3*old+1) {
										break
									}
								}
							case 2:
								Lock(&mu[s.object])
								Change(v).Add(int64(i) + 2)
								Unlock(&mu[s.object])
							}
						}
					})
				}
				p.Check(func() error {
					var now [objects]int64
					for i := range vars {
						now[i] = vars[i].Load()
					}
					got[fmt.Sprint(now, seen)] = true
					return nil
				})
			}, limits)
			if result.Failure != nil || !result.Complete {
				t.Fatalf("seed %d: %+v", seed, result)
			}
			for outcome := range want {
				if !got[outcome] {
					t.Errorf("seed %d, %+v: %s is not found among %d of %d outcomes in %d schedules; %v", seed, limits, outcome, len(got), len(want), result.Schedules, programs)
				}
			}
			for outcome := range got {
				if !want[outcome] {
					t.Errorf("seed %d: %s cannot be", seed, outcome)
				}
			}
		}
	}
}

// What a select sees first depends on which of its channels is closed first.
func TestSelect(t *testing.T) {
	outcomes := map[string]bool{}
	result := All(t, func(p *Plan) {
		a, b := make(chan struct{}), make(chan struct{})
		saw := ""
		p.Thread("waiter", func() {
			saw = string(rune('a' + Select(a, b)))
		})
		p.Thread("a", func() { Close(a) })
		p.Thread("b", func() { Close(b) })
		p.Check(func() error {
			outcomes[saw] = true
			return nil
		})
	}, Limits{Preemptions: -1})
	if result.Failure != nil || !outcomes["a"] || !outcomes["b"] || len(outcomes) != 2 {
		t.Errorf("%v in %+v, want a and b", outcomes, result)
	}
}

// What a look at a channel sees depends on whether that is closed before it.
func TestPoll(t *testing.T) {
	outcomes := map[string]bool{}
	result := All(t, func(p *Plan) {
		done := make(chan struct{})
		var other atomic.Int64
		saw := ""
		p.Thread("looker", func() {
			Change(&other).Add(1)
			Poll()
			select {
			case <-done:
				saw = "closed"
			default:
				saw = "open"
			}
		})
		p.Thread("closer", func() { Close(done) })
		p.Check(func() error {
			outcomes[saw] = true
			return nil
		})
	}, Limits{Preemptions: -1})
	if result.Failure != nil || len(outcomes) != 2 {
		t.Errorf("%v in %+v, want open and closed", outcomes, result)
	}
}

// A select does not take a channel for one that was closed before, though that is
// garbage by then and its memory may be in use again.
func TestSelectAmongNewChannels(t *testing.T) {
	const channels = 200 // of which some get the memory of others
	result := All(t, func(p *Plan) {
		wrong := 0
		p.Thread("a", func() {
			for range channels {
				Close(make(chan struct{}))
			}
			runtime.GC()
			for range channels {
				open, closed := make(chan struct{}), make(chan struct{})
				close(closed)
				if Select(open, closed) == 0 {
					wrong++
				}
			}
		})
		p.Check(func() error {
			if wrong > 0 {
				return fmt.Errorf("%d selects of %d saw a channel closed that was open", wrong, channels)
			}
			return nil
		})
	}, Limits{Preemptions: -1})
	if result.Failure != nil {
		t.Error(result.Failure.Err)
	}
}

// Goroutines that wait for each other over channels, start others, or wait for
// timers, are driven as well.
func TestWaiting(t *testing.T) {
	outcomes := map[string]bool{}
	result := All(t, func(p *Plan) {
		done := make(chan struct{})
		var state atomic.Int64
		var saw []int64
		var fired atomic.Bool
		late := false
		p.Thread("waiter", func() {
			<-done
			saw = append(saw, Load(&state).Load())
		})
		p.Thread("closer", func() {
			Go(func() { Change(&state).Add(1) })
			AfterFunc(time.Hour, func() {
				fired.Store(true)
				Change(&state).Add(10)
			})
			Close(done)
		})
		p.Thread("time", func() {
			Elapse(2 * time.Hour)
			AwaitTimers()
			late = state.Load() < 10 && fired.Load()
		})
		p.Check(func() error {
			outcomes[fmt.Sprint(saw, state.Load())] = true
			if late {
				return errors.New("a timer that had begun was not awaited")
			}
			return nil
		})
	}, Limits{Preemptions: -1})
	if result.Failure != nil || !result.Complete {
		t.Fatalf("%+v", result)
	}
	for _, want := range []string{"[0] 11", "[1] 11", "[10] 11", "[11] 11"} {
		if !outcomes[want] {
			t.Errorf("%s is not found in %d schedules: %v", want, result.Schedules, outcomes)
		}
	}
}
