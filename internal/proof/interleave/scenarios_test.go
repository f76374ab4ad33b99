package interleave

import (
	"context"
	"time"

	"github.com/cachegen/cachegen/internal/proof/schedule"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// A scenario is a small program of calls.
type scenario struct {
	name string
	why  string
	// guarded is with WithGuardedWrites, and judged accordingly: no read may see
	// less than one that had returned before it began.
	guarded bool
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
	}
	w.rows.List(background, 0)
	w.rows.List(background, 1)
}

// coolDown fills the cache with what has expired since, and may still be served if
// there is no other.
func coolDown(w *world) {
	w.rows.Old(background, 1)
	<-time.After(2 * time.Minute)
}

// thread adds a client.
func (w *world) thread(name string, calls ...func(client string)) {
	w.plan.Thread(name, func() {
		for _, call := range calls {
			call(name)
		}
	})
}

func (w *world) gets(id int) func(string) { return func(c string) { w.get(c, background, id) } }
func (w *world) looks(id int) func(string) { // past the cache
	return func(c string) { w.get(c, cacheruntime.Bypass(background), id) }
}
func (w *world) refreshes(id int) func(string) {
	return func(c string) { w.get(c, cacheruntime.Refresh(background), id) }
}
func (w *world) pages(id int) func(string) { return func(c string) { w.page(c, background, id) } }
func (w *world) olds(id int) func(string)  { return func(c string) { w.old(c, background, id) } }
func (w *world) warms(id int) func(string) { return func(c string) { w.warm(c, background, id) } }
func (w *world) lists(group int) func(string) {
	return func(c string) { w.list(c, background, group) }
}
func (w *world) gives(ids ...int) func(string) {
	return func(c string) { w.all(c, background, ids...) }
}
func (w *world) updates(how ending, ids ...int) func(string) {
	return func(c string) { w.update(c, background, how, ids...) }
}
func (w *world) inserts(how ending) func(string) {
	return func(c string) { w.insert(c, background, how) }
}
func (w *world) moves(how ending, id, to int) func(string) {
	return func(c string) { w.move(c, background, how, id, to) }
}
func (w *world) evicts(string) { w.store.evict() }

// told adds a client that changes row 1 in a transaction, past the cache, and one that
// tells the cache of it, in the same transaction, while that is committed. The change has
// been made when both are done.
func (w *world) told(tell func(context.Context) error) {
	inside, done := make(chan context.Context, 1), make(chan struct{})
	w.thread("writer", func(c string) {
		w.write(c, "a transaction", background, succeeds, func(ctx context.Context) error {
			ctx, tx := w.cache.Begin(ctx)
			defer tx.End()
			t := &transaction{}
			ctx = context.WithValue(ctx, transactionKey{}, t)
			if err := w.db.Update(ctx, 1); err != nil {
				return err
			}
			inside <- ctx
			err := tx.Commit(func() error { return w.db.conclude(ctx, t) })
			<-done
			return err
		})
	})
	w.plan.Thread("teller", func() {
		tell(<-inside)
		schedule.Close(done)
	})
}

var scenarios = []scenario{
	{
		name:  "hit",
		why:   "a cached row is read while it is changed",
		setup: warmUp,
		threads: func(w *world) {
			w.thread("reader", w.gets(1))
			w.thread("writer", w.updates(succeeds, 1))
		},
	},
	{
		name: "miss",
		why:  "a row is loaded while it is changed, and read again",
		threads: func(w *world) {
			w.thread("reader", w.gets(1), w.gets(1))
			w.thread("writer", w.updates(succeeds, 1))
		},
	},
	{
		name: "join",
		why:  "who comes after a write meets a load that began before it",
		threads: func(w *world) {
			w.thread("reader1", w.gets(1))
			w.thread("reader2", w.gets(1))
			w.thread("writer", w.updates(succeeds, 1))
		},
	},
	{
		name:  "writers",
		why:   "two writes of one row",
		setup: warmUp,
		threads: func(w *world) {
			w.thread("writer1", w.updates(succeeds, 1))
			w.thread("writer2", w.updates(succeeds, 1))
			w.thread("reader", w.gets(1), w.gets(1))
		},
	},
	{
		name: "read after write",
		why:  "a client sees what it has written",
		threads: func(w *world) {
			w.thread("client", w.updates(succeeds, 1), w.gets(1), w.gets(1))
			w.thread("reader", w.gets(1))
		},
	},
	{
		name: "failure",
		why:  "a write that fails may have changed something",
		threads: func(w *world) {
			w.thread("reader", w.gets(1), w.gets(1))
			w.thread("writer", w.updates(fails, 1))
		},
	},
	{
		name: "panic",
		why:  "so may one that panics",
		threads: func(w *world) {
			w.thread("reader", w.gets(1), w.gets(1))
			w.thread("writer", w.updates(panics, 1))
		},
	},
	{
		name:  "list",
		why:   "a list depends on the rows that it turned out to have",
		setup: warmUp,
		threads: func(w *world) {
			w.thread("reader", w.lists(0))
			w.thread("writer", w.updates(succeeds, 2))
		},
	},
	{
		name: "list loaded",
		why:  "tags of a result are as safe as those of arguments",
		threads: func(w *world) {
			w.thread("reader", w.lists(0), w.lists(0))
			w.thread("writer", w.updates(succeeds, 2))
		},
	},
	{
		name:  "move",
		why:   "a row leaves one list for another",
		setup: warmUp,
		threads: func(w *world) {
			w.thread("reader", w.lists(0), w.lists(1))
			w.thread("writer", w.moves(succeeds, 1, 1))
		},
	},
	{
		name: "nested",
		why:  "a load is answered by the cache, from one of the words that a write is raising",
		threads: func(w *world) {
			w.thread("reader", w.gets(2), w.pages(2), w.pages(2))
			w.thread("writer", w.updates(succeeds, 1, 2))
		},
	},
	{
		name:  "insert",
		why:   "a row comes into being that was remembered as not there",
		setup: warmUp,
		threads: func(w *world) {
			w.thread("reader", w.gets(3), w.lists(0))
			w.thread("writer", w.inserts(succeeds))
		},
	},
	{
		name: "insert loaded",
		why:  "a row comes into being while it is looked for",
		threads: func(w *world) {
			w.thread("reader", w.gets(3), w.gets(3))
			w.thread("writer", w.inserts(succeeds))
		},
	},
	{
		name: "insert joined",
		why:  "who comes after an insert meets a load that has not seen it",
		threads: func(w *world) {
			w.thread("reader1", w.gets(3))
			w.thread("reader2", w.gets(3))
			w.thread("writer", w.inserts(succeeds))
		},
	},
	{
		name:  "insert fails",
		why:   "an insert that fails, and has inserted, leaves no ID",
		setup: warmUp,
		threads: func(w *world) {
			w.thread("reader", w.gets(3), w.lists(0))
			w.thread("writer", w.inserts(fails))
		},
	},
	{
		name:  "insert breaks",
		why:   "the answer of an insert is lost, and with it the ID",
		setup: warmUp,
		threads: func(w *world) {
			w.thread("reader", w.gets(3), w.gets(3))
			w.thread("writer", w.inserts(breaks))
		},
	},
	{
		name: "late",
		why:  "a write lands within the lease after its answer was lost",
		threads: func(w *world) {
			w.thread("reader", w.gets(1), w.gets(1))
			w.thread("writer", w.updates(lands, 1))
		},
	},
	{
		name: "late twice",
		why:  "two writes of one row are in doubt, one of them for longer",
		threads: func(w *world) {
			w.thread("writer1", w.updates(lands, 1))
			w.thread("writer2", w.updates(lands, 1))
			w.thread("reader", w.gets(1))
		},
	},
	{
		name: "late and sure",
		why:  "a write in doubt, and another one of the same row that is not",
		threads: func(w *world) {
			w.thread("writer1", w.updates(lands, 1))
			w.thread("writer2", w.updates(succeeds, 1))
			w.thread("reader", w.gets(1))
		},
	},
	{
		name:  "eviction",
		why:   "entries are given up at any time",
		setup: warmUp,
		threads: func(w *world) {
			w.thread("reader", w.gets(1), w.gets(1))
			w.thread("writer", w.updates(succeeds, 1))
			w.thread("store", w.evicts)
		},
	},
	{
		name: "batch",
		why:  "one of the rows that a batch loads is changed meanwhile",
		threads: func(w *world) {
			w.thread("reader", w.gives(1, 2), w.gets(1))
			w.thread("writer", w.updates(succeeds, 1))
		},
	},
	{
		name: "batch joined",
		why:  "who reads a row after a write meets a batch that began before it",
		threads: func(w *world) {
			w.thread("reader1", w.gives(1, 2))
			w.thread("reader2", w.gets(1))
			w.thread("writer", w.updates(succeeds, 1))
		},
	},
	{
		name: "batches",
		why:  "two batches share a row, after a write",
		threads: func(w *world) {
			w.thread("reader1", w.gives(1, 2))
			w.thread("reader2", w.gives(1, 3))
			w.thread("writer", w.updates(succeeds, 1))
		},
	},
	{
		name:  "stale",
		why:   "what has expired may be served, what was invalidated may not",
		setup: coolDown,
		threads: func(w *world) {
			w.thread("reader", w.olds(1), w.olds(1))
			w.thread("writer", w.updates(succeeds, 1))
			w.plan.Thread("time", func() { schedule.Elapse(time.Second) })
		},
	},
	{
		name: "refresh",
		why:  "an entry is loaded early, in the background, while it is changed",
		setup: func(w *world) {
			w.db.slow = time.Minute
			w.rows.Warm(background, 1)
			w.db.slow = 0
			<-time.After(time.Hour - time.Second) // so that nobody is lucky enough not to
		},
		threads: func(w *world) {
			w.thread("reader", w.warms(1), w.warms(1))
			w.thread("writer", w.updates(succeeds, 1))
		},
	},
	{
		name:  "forced refresh",
		why:   "one client has an entry loaded although it is there, while it is changed",
		setup: warmUp,
		threads: func(w *world) {
			w.thread("reader", w.refreshes(1), w.gets(1))
			w.thread("writer", w.updates(succeeds, 1))
		},
	},
	{
		name: "forced refresh joined",
		why:  "who wants an entry loaded after a write meets such a load that began before it",
		threads: func(w *world) {
			w.thread("reader1", w.refreshes(1))
			w.thread("reader2", w.refreshes(1))
			w.thread("writer", w.updates(succeeds, 1))
		},
	},
	{
		name: "changed by others",
		why:  "who wants an entry loaded after a change that the cache was not told of gets that, and so do all after it",
		threads: func(w *world) {
			w.plan.Thread("reader", func() { w.rows.Get(background, 1) })
			w.thread("client", func(c string) {
				w.write(c, "a change by others", background, succeeds, func(ctx context.Context) error { return w.db.Update(ctx, 1) })
			}, w.refreshes(1), w.gets(1))
		},
	},
	{
		name:  "transaction",
		why:   "others see what a transaction writes when it has been committed, and not before",
		setup: warmUp,
		threads: func(w *world) {
			w.thread("writer", func(c string) {
				w.transact(c, succeeds, false, func(ctx context.Context) {
					w.rows.Update(ctx, 1)
					w.own(ctx, 1, 1)
				})
			}, w.gets(1))
			w.thread("reader", w.gets(1), w.gets(1))
		},
	},
	{
		name:  "transaction shared",
		why:   "who reads with the context of a transaction sees what was written in it, until it has ended and after",
		setup: warmUp,
		threads: func(w *world) {
			inside := make(chan context.Context, 1)
			w.thread("writer", func(c string) {
				w.transact(c, succeeds, false, func(ctx context.Context) {
					w.rows.Update(ctx, 1)
					inside <- ctx
				})
			})
			w.plan.Thread("reader", func() { w.own(<-inside, 1, 1) })
		},
	},
	{
		name: "transaction loaded",
		why:  "what a transaction reads is not kept, whether it is committed or not",
		threads: func(w *world) {
			w.thread("writer", func(c string) {
				w.transact(c, succeeds, true, func(ctx context.Context) {
					w.rows.Update(ctx, 1)
					w.rows.Get(ctx, 1)
					w.rows.All(ctx, []int{1})
				})
			}, w.gets(1))
			w.thread("reader", w.gets(1))
		},
	},
	{
		name: "transactions",
		why:  "what an inner transaction writes is committed by the outer one",
		threads: func(w *world) {
			w.thread("writer", func(c string) {
				w.transact(c, succeeds, false, func(ctx context.Context) {
					ctx, inner := w.cache.Begin(ctx)
					w.rows.Update(ctx, 1)
					inner.Commit(func() error { return nil })
					inner.End()
				})
			}, w.gets(1))
			w.thread("reader", w.gets(1), w.gets(1))
		},
	},
	{
		name: "late commit",
		why:  "the answer of a commit is lost, and it lands within the lease",
		threads: func(w *world) {
			w.thread("writer", func(c string) {
				w.transact(c, lands, false, func(ctx context.Context) { w.rows.Update(ctx, 1) })
			})
			w.thread("reader", w.gets(1), w.gets(1))
		},
	},
	{
		name:  "by hand",
		why:   "a change that the cache is told of",
		setup: warmUp,
		threads: func(w *world) {
			w.thread("writer", func(c string) {
				w.write(c, "Invalidate", background, succeeds, func(ctx context.Context) error {
					if err := w.db.Update(ctx, 1); err != nil {
						return err
					}
					return w.cache.Invalidate(ctx, ItemTag(1))
				})
			})
			w.thread("clearer", func(c string) {
				w.write(c, "Clear", background, succeeds, func(ctx context.Context) error {
					if err := w.db.Update(ctx, 2); err != nil {
						return err
					}
					return w.cache.Clear(ctx)
				})
			})
			w.thread("reader", w.gets(1), w.gets(2))
		},
	},
	{
		name: "by hand in a transaction",
		why:  "what is invalidated in a transaction while that ends is so once it has ended",
		threads: func(w *world) {
			w.told(func(ctx context.Context) error { return w.cache.Invalidate(ctx, ItemTag(1)) })
			w.thread("reader", w.gets(1), w.gets(1))
		},
	},
	{
		name: "clear in a transaction",
		why:  "and so is what is cleared",
		threads: func(w *world) {
			w.told(func(ctx context.Context) error { return w.cache.Clear(ctx) })
			w.thread("reader", w.gets(1), w.gets(1))
		},
	},
	{
		name:  "clear",
		why:   "a load is answered by the cache while that is being cleared",
		setup: func(w *world) { w.rows.Get(background, 2) },
		threads: func(w *world) {
			w.thread("clearer", func(c string) {
				w.write(c, "Clear", background, succeeds, func(ctx context.Context) error {
					if err := w.db.Update(ctx, 2); err != nil {
						return err
					}
					return w.cache.Clear(ctx)
				})
			})
			w.thread("reader", w.pages(2), w.pages(2))
		},
	},
	{
		name:  "entry",
		why:   "one entry is invalidated by its arguments, and all of a method",
		setup: warmUp,
		threads: func(w *world) {
			w.thread("writer", func(c string) {
				w.write(c, "InvalidateGet", background, succeeds, func(ctx context.Context) error {
					if err := w.db.Update(ctx, 1); err != nil {
						return err
					}
					return w.rows.InvalidateGet(ctx, 1)
				})
				w.write(c, "InvalidateAllGet", background, succeeds, func(ctx context.Context) error {
					if err := w.db.Update(ctx, 2); err != nil {
						return err
					}
					return w.rows.InvalidateAllGet(ctx)
				})
			})
			w.thread("reader", w.gets(1), w.gets(2))
		},
	},
	{
		name: "new cache",
		why:  "a store outlives its cache, and entries of the old one are none of the new one's",
		setup: func(w *world) {
			for range 5 {
				w.update("before", background, succeeds, 1, 2)
			}
			warmUp(w)
			w.open()
		},
		threads: func(w *world) {
			w.thread("writer", w.updates(succeeds, 1))
			w.thread("reader", w.gets(1), w.gets(1))
		},
	},
	{
		name:    "guarded",
		why:     "nobody sees the old after somebody saw the new",
		guarded: true,
		setup:   warmUp,
		threads: func(w *world) {
			w.thread("reader1", w.looks(1))
			w.thread("reader2", w.gets(1))
			w.thread("writer", w.updates(succeeds, 1))
		},
	},
	{
		name:    "guarded readers",
		why:     "three readers, one of whom loads past the cache",
		guarded: true,
		setup:   warmUp,
		threads: func(w *world) {
			w.thread("reader1", w.looks(1), w.gets(1))
			w.thread("reader2", w.gets(1))
			w.thread("reader3", w.lists(0))
			w.thread("writer", w.updates(succeeds, 1))
		},
	},
	{
		name:    "guarded late and loaded",
		why:     "what is loaded while a write is in doubt is not served once it has landed",
		guarded: true,
		threads: func(w *world) {
			w.thread("reader", w.gets(1), w.looks(1), w.gets(1))
			w.thread("writer", w.updates(lands, 1))
		},
	},
	{
		name:    "guarded writers",
		why:     "a write ends while another one of the same row is in progress",
		guarded: true,
		threads: func(w *world) {
			w.thread("writer1", w.updates(succeeds, 1), w.gets(1))
			w.thread("writer2", w.updates(succeeds, 1))
			w.thread("reader", w.looks(1), w.gets(1))
		},
	},
	{
		name:    "guarded slow",
		why:     "a write outlasts its guard while another one of the same row is in progress",
		guarded: true,
		threads: func(w *world) {
			w.thread("writer1", w.updates(outlasts, 1), w.gets(1))
			w.thread("writer2", w.updates(succeeds, 1))
			w.thread("reader", w.looks(1), w.gets(1))
		},
	},
	{
		name:    "guarded words",
		why:     "one row's tags are raised after the other's",
		guarded: true,
		setup:   warmUp,
		threads: func(w *world) {
			w.thread("reader", w.gets(1), w.lists(0), w.gets(1))
			w.thread("writer", w.updates(succeeds, 1, 2))
		},
	},
	{
		name:    "guarded insert",
		why:     "what is inserted is not known before",
		guarded: true,
		setup:   warmUp,
		threads: func(w *world) {
			w.thread("reader", w.looks(3), w.gets(3))
			w.thread("writer", w.inserts(succeeds))
		},
	},
	{
		name:    "guarded move",
		why:     "nor is the group that a row is moved from",
		guarded: true,
		setup:   warmUp,
		threads: func(w *world) {
			w.thread("reader", w.looks(1), w.lists(0), w.lists(1))
			w.thread("writer", w.moves(succeeds, 1, 1))
		},
	},
	{
		name:    "guarded late",
		why:     "a guarded write is in doubt, and lands within the lease",
		guarded: true,
		setup:   warmUp,
		threads: func(w *world) {
			w.thread("reader", w.looks(1), w.gets(1))
			w.thread("writer", w.updates(lands, 1))
		},
	},
	{
		name:    "guarded transaction",
		why:     "a commit is guarded",
		guarded: true,
		setup:   warmUp,
		threads: func(w *world) {
			w.thread("reader", w.looks(1), w.gets(1))
			w.thread("writer", func(c string) {
				w.transact(c, succeeds, false, func(ctx context.Context) { w.rows.Update(ctx, 1) })
			})
		},
	},
}
