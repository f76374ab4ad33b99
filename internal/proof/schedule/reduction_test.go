package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// every runs a program under all its schedules of so many preemptions at most, less
// than 0 for any number, without any reduction.
func every(t *testing.T, program Program, preemptions, budget int) (complete bool) {
	type choice struct {
		can  []string
		at   int
		last string
		used int // preemptions, before this choice
	}
	costs := func(c *choice, name string) int {
		if c.last != "" && c.last != name && slices.Contains(c.can, c.last) {
			return 1
		}
		return 0
	}
	var stack []*choice
	for runs := 0; ; runs++ {
		if runs == budget {
			return false
		}
		n := 0
		_, err := execute(t, program, false, func(r *run, can []*thread) *thread {
			if n == len(stack) {
				c := &choice{}
				if n > 0 {
					before := stack[n-1]
					c.last = before.can[before.at]
					c.used = before.used + costs(before, c.last)
				}
				for _, t := range can {
					c.can = append(c.can, t.name)
				}
				if i := slices.Index(c.can, c.last); i > 0 { // who goes on costs nothing: first
					c.can[0], c.can[i] = c.can[i], c.can[0]
				}
				stack = append(stack, c)
			}
			c := stack[n]
			n++
			for _, t := range can {
				if t.name == c.can[c.at] {
					return t
				}
			}
			return nil
		}, func(*thread, []*thread) {})
		if err != nil {
			t.Fatal(err)
		}
		for len(stack) > 0 {
			c := stack[len(stack)-1]
			for c.at++; c.at < len(c.can); c.at++ {
				if preemptions < 0 || c.used+costs(c, c.can[c.at]) <= preemptions {
					break
				}
			}
			if c.at < len(c.can) {
				break
			}
			stack = stack[:len(stack)-1]
		}
		if len(stack) == 0 {
			return true
		}
	}
}

// A reduced search finds the outcomes of all schedules, whatever the threads do: with
// locks around several accesses, selects, timers that are stopped, and children.
func TestReductionLosesNothing(t *testing.T) {
	const kinds = 8
	compared := 0
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 2))
		programs := make([][]int, 2+rng.IntN(2))
		closes := [2]bool{} // a channel is closed once
		for i := range programs {
			for range 1 + rng.IntN(2) {
				kind := rng.IntN(kinds)
				if kind == 4 || kind == 5 {
					if closes[kind%2] {
						kind = 2
					}
					closes[kind%2] = closes[kind%2] || kind != 2
				}
				programs[i] = append(programs[i], kind)
			}
		}
		outcomes := func() (Program, map[string]bool) {
			found := map[string]bool{}
			return func(p *Plan) {
				var vars [2]atomic.Int64
				var mu sync.Mutex
				channels := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
				seen := make([][]int64, len(programs)+1)
				for i, program := range programs {
					p.Thread(string(rune('a'+i)), func() {
						for _, kind := range program {
							v, w := &vars[kind%2], &vars[1-kind%2]
							switch kind {
							case 0, 1: // both under a lock, one in place of the other
								Lock(&mu)
								seen[i] = append(seen[i], Load(v).Load())
								Change(w).Add(int64(i) + 1)
								Unlock(&mu)
							case 2: // not under the lock
								old := Load(v).Load()
								Change(v).Store(2*old + int64(i) + 1)
							case 3:
								Go(func() { Change(v).Add(10 * (int64(i) + 1)) })
							case 4, 5:
								Close(channels[kind%2])
							case 6:
								timer := AfterFunc(time.Minute, func() { Change(v).Add(1000) })
								seen[i] = append(seen[i], Load(v).Load())
								if timer.Stop() {
									seen[i] = append(seen[i], -1)
								}
							case 7:
								Elapse(time.Hour)
								AwaitTimers()
								seen[i] = append(seen[i], Load(v).Load())
							}
						}
					})
				}
				p.Thread("s", func() { // waits at the end, for what another one closes at last
					seen[len(programs)] = append(seen[len(programs)], int64(Select(channels[0], channels[1])), Load(&vars[0]).Load())
				})
				if !closes[0] {
					p.Thread("z", func() { Close(channels[0]) })
				}
				p.Check(func() error {
					found[fmt.Sprint(vars[0].Load(), vars[1].Load(), seen)] = true
					return nil
				})
			}, found
		}
		for _, preemptions := range []int{-1} {
			program, want := outcomes()
			if !every(t, program, preemptions, 1500) {
				continue
			}
			compared++
			program, got := outcomes()
			result := All(t, program, Limits{Preemptions: preemptions})
			if result.Failure != nil || !result.Complete {
				t.Fatalf("seed %d: %+v", seed, result)
			}
			for outcome := range want {
				if !got[outcome] {
					t.Errorf("seed %d, %v, %d preemptions: %s is not among %d of %d outcomes, in %d schedules", seed, programs, preemptions, outcome, len(got), len(want), result.Schedules)
				}
			}
			for outcome := range got {
				if !want[outcome] {
					t.Errorf("seed %d, %v, %d preemptions: %s cannot be", seed, programs, preemptions, outcome)
				}
			}
		}
	}
	t.Logf("%d compared", compared)
}
