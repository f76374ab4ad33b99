package interleave

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/proof/schedule"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// TestRandom runs random programs, each under a random schedule: a few clients that
// make a few calls each, of all kinds.
func TestRandom(t *testing.T) {
	total, steps, before := 0, 0, judged
	run := func(seed uint64) {
		program := func(p *schedule.Plan) { randomProgram(p, seed) }
		if *replay != "" {
			text, err := schedule.Replay(t, program, *replay)
			t.Logf("seed %d\n%s", seed, text)
			if err != nil {
				t.Error(err)
			}
			return
		}
		result := schedule.Random(t, program, seed)
		total++
		steps += result.Steps
		if result.Failure != nil {
			t.Fatalf("found after %d schedules (go test ./internal/proof/interleave -run TestRandom -from %d -seeds 1): %v", total, seed, result.Failure)
		}
	}
	for seed := *first; seed < *first+*seeds; seed++ {
		run(seed)
	}
	t.Logf("%d random programs of %d steps in all: %d reads and %d writes judged", total, steps, judged.reads-before.reads, judged.writes-before.writes)
}

// randomProgram makes the program that a seed stands for.
func randomProgram(plan *schedule.Plan, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(plan, rng.IntN(3) == 0)
	w.small = true
	if rng.IntN(2) == 0 {
		warmUp(w)
	}
	if rng.IntN(4) == 0 {
		coolDown(w)
	}
	id := func() int { return 1 + rng.IntN(3) }
	how := func() ending {
		if rng.IntN(2) == 0 {
			return succeeds
		}
		return ending(rng.IntN(int(panics) + 1))
	}
	for client := range 2 + rng.IntN(3) {
		name := fmt.Sprintf("client%d", client+1)
		var calls []func(string)
		for range 1 + rng.IntN(4) {
			ctx := background
			switch rng.IntN(12) {
			case 0:
				ctx = cacheruntime.Refresh(ctx)
			case 1:
				ctx = cacheruntime.Bypass(ctx)
			}
			a, b, group, how := id(), id(), rng.IntN(2), how()
			switch rng.IntN(16) {
			case 0, 1, 2:
				calls = append(calls, func(c string) { w.get(c, ctx, a) })
			case 3:
				calls = append(calls, func(c string) { w.page(c, ctx, a) })
			case 4:
				calls = append(calls, func(c string) { w.old(c, ctx, a) })
			case 5, 6:
				calls = append(calls, func(c string) { w.all(c, ctx, a, b) })
			case 7, 8:
				calls = append(calls, func(c string) { w.list(c, ctx, group) })
			case 9, 10:
				calls = append(calls, w.updates(how, min(a, 2)))
			case 11:
				calls = append(calls, w.updates(how, 1, 2))
			case 12:
				calls = append(calls, w.inserts(how))
			case 13:
				calls = append(calls, w.evicts)
			case 14:
				rollback := rng.IntN(3) == 0
				calls = append(calls, func(c string) {
					w.transact(c, how, rollback, func(ctx context.Context) {
						w.rows.Update(ctx, min(a, 2))
						w.rows.Get(ctx, a)
						w.rows.List(ctx, group)
					})
				})
			case 15:
				w.db.moves = true
				calls = append(calls, w.moves(how, min(a, 2), group))
			}
		}
		w.thread(name, calls...)
	}
	if rng.IntN(3) == 0 {
		plan.Thread("time", func() { schedule.Elapse(time.Duration(rng.IntN(90)) * time.Second) })
	}
}
