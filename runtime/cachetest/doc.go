// Package cachetest helps to test repositories behind a cache: with a clock
// that the test moves, a store that fails on demand, loads that the test holds,
// and assertions on what the cache did.
//
// # What to test
//
// That a read is answered from the cache, and that each write makes stale what
// it changes, is a matter of the directives; a test of the generated wrapper
// with a fake repository behind it shows that they say what was meant:
//
//	func TestRename(t *testing.T) {
//		repo := blog.NewCachedAuthorRepository(newAuthors(), cachetest.New(t))
//		read := func(want string) *cacheruntime.Trace {
//			ctx, trace := cacheruntime.WithTrace(t.Context())
//			author, err := repo.ByID(ctx, 7)
//			if err != nil || author.Name != want {
//				t.Errorf("author 7: %v, %v", author, err)
//			}
//			return trace
//		}
//
//		cachetest.Miss(t, read("Ada"))
//		cachetest.Hit(t, read("Ada"))
//		if err := repo.Rename(t.Context(), 7, "Ada Lovelace"); err != nil {
//			t.Fatal(err)
//		}
//		cachetest.Reason(t, read("Ada Lovelace"), cacheruntime.ReasonInvalidated)
//	}
//
// Give each call that is looked at a context and a trace of its own: a trace
// keeps all calls made with its context, those that a load makes included.
//
// # Time
//
// A [Clock] moves only when the test says so, and with it lifetimes end, callers
// run out of patience (soft and hard) and leases end:
//
//	clock := cachetest.NewClock()
//	cache := cachetest.New(t, cacheruntime.WithClock(clock))
//	…
//	clock.Advance(time.Hour)
//
// What a caller waits for has begun once its timer is set, which [Clock.Wait]
// waits for; then Advance ends it.
//
// The clock is that of the cache alone. The deadlines of loads, and expressions
// of your directives such as ttl=(time.Until(result.Until)), go by the system's
// clock. If they matter, or if the repository itself sleeps, use testing/synctest
// and no Clock: in a bubble the system's clock is a fake one for everybody. The
// cache waits only in ways that let time pass there (no call of the system, no
// goroutine outside), provided it is made in the bubble:
//
//	synctest.Test(t, func(t *testing.T) {
//		repo := blog.NewCachedAuthorRepository(newAuthors(), cachetest.New(t))
//		…
//		<-time.After(time.Hour) // takes no time
//		…
//		synctest.Wait() // until all others wait: for a load, say
//	})
//
// Everything in this package works in a bubble too.
//
// # Slow loads
//
// What a cache gets wrong most easily is a load that a write overtakes: the load
// has its answer from the database, the write changes the row, and only then is
// the answer stored. [Points] make that happen on purpose. The fake repository
// calls Reach where a load is to be held, after it has looked at its rows, and
// the test lets the write go between:
//
//	points.Hold("loaded 7")
//	go repo.ByID(ctx, 7)
//	points.Wait("loaded 7")   // the load has the old name
//	repo.Rename(ctx, 7, "Ada Lovelace")
//	points.Release("loaded 7")
//	repo.ByID(ctx, 7)         // must return the new name
//
// The example of [Points] is the whole of it.
//
// # Failures
//
// A [Store] in place of the embedded one fails, loses or damages entries when
// told to. None of that may show in what a repository returns; it costs loads,
// which the traces tell and [cacheruntime.Cache.Stats] counts.
//
// # Several processes
//
// A [Shared] is what several processes share, in memory, and fails when told to. Each
// [Tier] of it stands for a process with a cache of its own:
//
//	synctest.Test(t, func(t *testing.T) {
//		shared := cachetest.NewShared(t)
//		open := func() *blog.CachedAuthorRepository {
//			return blog.NewCachedAuthorRepository(db, cachetest.New(t, cacheruntime.WithShared(shared.Tier())))
//		}
//		here, there := open(), open()
//		…
//		here.Rename(ctx, 7, "Ada Lovelace")
//		<-time.After(time.Second) // WithMaxStaleness
//		there.ByID(ctx, 7)        // must return the new name
//	})
//
// [Shared.Cut], [Shared.Stall] and [Shared.Flush] are what happens to servers, and
// [Tier.Cut] and [Tier.Stall] to one process; [Shared.Heal] ends it. [Faults] are for
// tests that look closer.
//
// All types and functions may be used concurrently, except that those which may
// end a test belong to its own goroutine, as [testing.TB.FailNow] does: each says
// so.
package cachetest
