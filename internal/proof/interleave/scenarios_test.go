package interleave

import (
	"context"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// A scenario is a small program of calls.
type scenario struct {
	name    string
	why     string
	guarded bool
	// preemptions bounds the exhaustive search; 0 is without a bound.
	preemptions int
	// setup runs before the threads, unscheduled.
	setup func(w *world)
	// threads adds the clients.
	threads func(w *world)
}

var background = context.Background()

// warmUp fills the cache with everything there is.
func warmUp(w *world) {
	for id := 1; id <= 3; id++ {
		w.rows.Get(background, id)
		w.rows.Page(background, id)
		w.rows.Old(background, id)
	}
	w.rows.List(background, 0)
	w.rows.List(background, 1)
}

var scenarios = []scenario{
	{
		name:  "hit",
		why:   "a cached row is read while it is changed",
		setup: warmUp,
		threads: func(w *world) {
			w.plan.Thread("reader", func() { w.get("reader", background, 1) })
			w.plan.Thread("writer", func() { w.update("writer", background, succeeds, 1) })
		},
	},
	{
		name: "miss",
		why:  "a row is loaded while it is changed, and read again",
		threads: func(w *world) {
			w.plan.Thread("reader", func() {
				w.get("reader", background, 1)
				w.get("reader", background, 1)
			})
			w.plan.Thread("writer", func() { w.update("writer", background, succeeds, 1) })
		},
	},
	{
		name: "join",
		why:  "who comes after a write meets a load that began before it",
		threads: func(w *world) {
			w.plan.Thread("reader1", func() { w.get("reader1", background, 1) })
			w.plan.Thread("reader2", func() { w.get("reader2", background, 1) })
			w.plan.Thread("writer", func() { w.update("writer", background, succeeds, 1) })
		},
	},
	{
		name:  "list",
		why:   "a list depends on the rows it turned out to have",
		setup: warmUp,
		threads: func(w *world) {
			w.plan.Thread("reader", func() { w.list("reader", background, 0) })
			w.plan.Thread("writer", func() { w.update("writer", background, succeeds, 2) })
		},
	},
	{
		name: "list loaded",
		why:  "the tags of a result are as safe as those of the arguments",
		threads: func(w *world) {
			w.plan.Thread("reader", func() {
				w.list("reader", background, 0)
				w.list("reader", background, 0)
			})
			w.plan.Thread("writer", func() { w.update("writer", background, succeeds, 2) })
		},
	},
}

var _ = time.Second
var _ = cacheruntime.Bypass
