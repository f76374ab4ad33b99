package cacheruntime

import (
	"context"
	"database/sql/driver"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var errRefused = errors.New("refused")

// change is a write inside a transaction, which the rows do not show yet.
func (r *posts) change(ctx context.Context, tags ...Tag) error {
	return r.write(ctx, func(context.Context) error { return nil }, tags...)
}

func (r *posts) commit(p post) func() error {
	return func() error { r.set(p); return nil }
}

func TestTransactionCommits(t *testing.T) {
	r := newTagged(t)
	ctx, tx := r.cache.Begin(t.Context())
	defer tx.End()
	loads := r.loadCount()
	for range 2 { // inside, reads go to the repository
		r.expectTitle(t, ctx, 7, "old")
	}
	r.expectTitle(t, Refresh(ctx), 7, "old")
	r.expectLoads(t, loads+3)
	if got := r.cache.Stats(); got.Loads != 1 || got.Bypassed != 3 {
		t.Errorf("%+v", got.Counts)
	}
	if err := r.change(ctx, postTag(7)); err != nil {
		t.Fatal(err)
	}
	r.expectHit(t, true) // others see what is committed
	err := tx.Commit(func() error {
		r.set(post{ID: 7, Title: "new"})
		r.expectHit(t, true)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.expectInvalidations(t, Invalidations{Transactions: 1})
	r.expectTitle(t, t.Context(), 7, "new")
	r.expectTitle(t, ctx, 7, "new")
	r.expectLoads(t, loads+4) // the context is like any other
	tx.End()
	r.expectInvalidations(t, Invalidations{Transactions: 1})

	// So is a write with it.
	r.write(ctx, func(context.Context) error { r.set(post{ID: 7, Title: "newer"}); return nil }, postTag(7))
	r.expectTitle(t, ctx, 7, "newer")
	r.expectInvalidations(t, Invalidations{Transactions: 1, Writes: 1})
}

// What a transaction reads is neither stored nor shared with those outside.
func TestTransactionReadsAreNotShared(t *testing.T) {
	r := newTagged(t)
	ctx, tx := r.cache.Begin(t.Context())
	defer tx.End()
	r.cache.Clear(t.Context())
	r.expectTitle(t, ctx, 7, "old")
	r.expectHit(t, false)

	r.cache.Clear(t.Context())
	read, release := slowLoad(r)
	outside := make(chan string)
	go func() { outside <- r.title(t.Context(), 7) }()
	<-read
	r.set(post{ID: 7, Title: "uncommitted"})
	r.expectTitle(t, ctx, 7, "uncommitted") // does not wait for the flight
	release()
	if got := <-outside; got != "old" {
		t.Errorf("%q", got)
	}
}

func TestTransactionRollsBack(t *testing.T) {
	r := newTagged(t)
	ctx, tx := r.cache.Begin(t.Context())
	r.change(ctx, postTag(7))
	tx.End()
	tx.End()
	r.expectInvalidations(t, Invalidations{Transactions: 1})
	r.expectReason(t, ReasonInvalidated)
	r.change(ctx, postTag(7))
	r.expectInvalidations(t, Invalidations{Transactions: 1, Writes: 1})
}

func TestEmptyTransaction(t *testing.T) {
	r := newTagged(t, WithGuardedWrites(time.Minute))
	_, tx := r.cache.Begin(t.Context())
	if err := tx.Commit(func() error { return driver.ErrBadConn }); err != driver.ErrBadConn {
		t.Error(err)
	}
	tx.End()
	if r.cache.view().now() != 0 || r.cache.Stats().Marks != 0 {
		t.Error("ending a transaction without writes does something")
	}
}

// Everything is invalidated in one step, and what depends on nothing that was
// written stays.
func TestTransactionIsOneStep(t *testing.T) {
	r := newTagged(t)
	ctx, tx := r.cache.Begin(t.Context())
	for id := range int64(10) {
		if id != 7 {
			r.change(ctx, postTag(id))
		}
	}
	tx.End()
	if got := r.cache.view().now(); got != 1 {
		t.Errorf("the clock is %d", got)
	}
	r.expectHit(t, true)
}

func TestTransactionCommitFails(t *testing.T) {
	for name, test := range map[string]struct {
		commit func() error
		want   Invalidations
	}{
		"refused":   {func() error { return errRefused }, Invalidations{Transactions: 1}},
		"ambiguous": {func() error { return driver.ErrBadConn }, Invalidations{Ambiguous: 1}},
		"panic":     {func() error { panic(errRefused) }, Invalidations{Ambiguous: 1}},
		"goexit":    {func() error { runtime.Goexit(); return nil }, Invalidations{Ambiguous: 1}},
	} {
		for _, guarded := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var opts []Option
					if guarded {
						opts = append(opts, WithGuardedWrites(5*time.Second))
					}
					r := newTagged(t, opts...)
					ctx, tx := r.cache.Begin(t.Context())
					defer tx.End()
					r.change(ctx, postTag(7))
					var panicked any
					done := make(chan struct{})
					go func() {
						defer close(done)
						defer func() { panicked = recover() }()
						if err, want := tx.Commit(test.commit), test.commit(); err != want {
							t.Errorf("error %v, want %v", err, want)
						}
					}()
					<-done
					if want := name == "panic"; (panicked == errRefused) != want {
						t.Errorf("panic %v", panicked)
					}
					r.expectInvalidations(t, test.want)
					want, after := ReasonInvalidated, test.want
					if after.Ambiguous > 0 {
						want, after.Leases = ReasonMarked, 1
					}
					r.expectReason(t, want)
					settled(5 * time.Second)
					r.expectInvalidations(t, after)
					if marks, _ := marksOf(r.cache.view(), postTagSlot(7)); marks != 0 {
						t.Errorf("%d marks are left", marks)
					}
				})
			})
		}
	}
}

// A commit whose context has ended is in doubt.
func TestTransactionContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTagged(t)
		ctx, cancel := context.WithCancel(t.Context())
		ctx, tx := r.cache.Begin(ctx)
		r.change(ctx, postTag(7))
		cancel()
		tx.Commit(func() error { return errRefused })
		r.expectInvalidations(t, Invalidations{Ambiguous: 1})
		settled(5 * time.Second)
	})
}

// The database applies the commit after it has reported a broken connection.
func TestTransactionCommitLandsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTagged(t)
		ctx, tx := r.cache.Begin(t.Context())
		r.change(ctx, postTag(7))
		tx.Commit(func() error {
			time.AfterFunc(4*time.Second, func() { r.set(post{ID: 7, Title: "new"}) })
			return driver.ErrBadConn
		})
		r.expectTitle(t, t.Context(), 7, "old")
		settled(4 * time.Second)
		r.expectTitle(t, t.Context(), 7, "new")
		settled(time.Second)
		r.expectTitle(t, t.Context(), 7, "new")
		r.expectHit(t, true)
	})
}

// Whether a single write in a transaction is ambiguous is for the commit to say.
func TestAmbiguousWriteInATransaction(t *testing.T) {
	r := newTagged(t, WithGuardedWrites(time.Minute))
	ctx, tx := r.cache.Begin(t.Context())
	r.write(ctx, func(inside context.Context) error {
		if _, ok := inside.Deadline(); ok {
			t.Error("a deadline")
		}
		r.expectHit(t, true) // nothing is marked
		return driver.ErrBadConn
	}, postTag(7))
	r.expectHit(t, true)
	if got := r.cache.Stats().Marks; got != 0 {
		t.Errorf("%d marks", got)
	}
	tx.End()
	r.expectInvalidations(t, Invalidations{Transactions: 1})
	r.expectReason(t, ReasonInvalidated)
}

// With guarded writes the tags are marked while the commit runs.
func TestGuardedCommit(t *testing.T) {
	r := newTagged(t, WithGuardedWrites(time.Minute))
	ctx, tx := r.cache.Begin(t.Context())
	r.change(ctx, postTag(7))
	tx.Commit(func() error {
		r.expectReason(t, ReasonMarked)
		r.set(post{ID: 7, Title: "new"})
		r.expectTitle(t, t.Context(), 7, "new")
		r.change(ctx, postTag(8)) // late, and yet part of it
		return nil
	})
	if got := r.cache.Stats(); got.Marks != 1 || got.Invalidations != (Invalidations{Transactions: 1}) {
		t.Errorf("%+v", got.Counts)
	}
	r.expectTitle(t, t.Context(), 7, "new")
	r.expectHit(t, true)
	for _, id := range []int64{7, 8} {
		if marks, clock := marksOf(r.cache.view(), postTagSlot(id)); marks != 0 || clock != 1 {
			t.Errorf("post %d: %d marks, clock %d", id, marks, clock)
		}
	}
}

// A commit that failed may be tried again.
func TestCommitAgain(t *testing.T) {
	r := newTagged(t)
	ctx, tx := r.cache.Begin(t.Context())
	defer tx.End()
	r.change(ctx, postTag(7))
	if err := tx.Commit(func() error { return errRefused }); err != errRefused {
		t.Fatal(err)
	}
	r.expectTitle(t, t.Context(), 7, "old")
	err := tx.Commit(func() error {
		r.change(ctx, postTag(8)) // collected, as during the first one
		r.set(post{ID: 7, Title: "new"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.expectTitle(t, t.Context(), 7, "new")
	r.expectInvalidations(t, Invalidations{Transactions: 2})
}

// End leaves it to a commit that is running: what it has written is not there
// before.
func TestEndDuringCommit(t *testing.T) {
	r := newTagged(t)
	ctx, tx := r.cache.Begin(t.Context())
	r.change(ctx, postTag(7))
	tx.Commit(func() error {
		tx.End()
		r.change(ctx, postTag(8))
		r.set(post{ID: 7, Title: "new"})
		return nil
	})
	r.expectTitle(t, t.Context(), 7, "new")
	r.expectInvalidations(t, Invalidations{Transactions: 1})
}

// A write that returns when its transaction has been committed invalidates at
// once; what it had said before is part of the commit.
func TestTransactionEndsDuringAWrite(t *testing.T) {
	r := newTagged(t)
	ctx, tx := r.cache.Begin(t.Context())
	r.write(ctx, func(context.Context) error {
		tx.Commit(r.commit(post{ID: 7, Title: "new"}))
		r.expectInvalidations(t, Invalidations{Transactions: 1})
		r.expectTitle(t, t.Context(), 7, "new")
		r.set(post{ID: 7, Title: "newer"})
		return nil
	}, postTag(7))
	r.expectInvalidations(t, Invalidations{Transactions: 1, Writes: 1})
	r.expectTitle(t, t.Context(), 7, "newer")
}

// However writes and the end of their transaction interleave, when both are over
// nothing from before them is served.
func TestTransactionEndsConcurrentlyWithWrites(t *testing.T) {
	r := newPosts(t, nil)
	r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	for round := range 50 {
		for id := range int64(4) {
			r.set(post{ID: id, Title: "old"})
			r.cache.Invalidate(t.Context(), postTag(id))
			r.expectTitle(t, t.Context(), id, "old")
		}
		ctx, tx := r.cache.Begin(t.Context())
		var wg sync.WaitGroup
		for id := range int64(4) {
			wg.Go(func() {
				r.write(ctx, func(context.Context) error {
					r.set(post{ID: id, Title: "new"})
					return nil
				}, postTag(id))
			})
		}
		wg.Go(func() {
			if round%2 == 0 {
				tx.Commit(func() error { return nil })
			} else {
				tx.End()
			}
		})
		wg.Wait()
		tx.End()
		for id := range int64(4) {
			r.expectTitle(t, t.Context(), id, "new")
		}
	}
}

// The tags of an inner transaction are invalidated when it is committed, in case
// it is one of its own, and when the outer one is.
func TestInnerTransaction(t *testing.T) {
	r := newTagged(t)
	ctx, outer := r.cache.Begin(t.Context())
	defer outer.End()
	inside, inner := r.cache.Begin(ctx)
	r.change(inside, postTag(7))
	inner.Commit(func() error { return nil })
	inner.End()
	r.expectInvalidations(t, Invalidations{Transactions: 1})
	r.expectTitle(t, t.Context(), 7, "old")
	r.expectHit(t, true)

	// Inside of the outer one, the inner context is as well.
	bypassed := r.cache.Stats().Bypassed
	r.title(inside, 7)
	if got := r.cache.Stats().Bypassed; got != bypassed+1 {
		t.Error("a read in the outer transaction uses the cache")
	}
	outer.Commit(r.commit(post{ID: 7, Title: "new"}))
	r.expectInvalidations(t, Invalidations{Transactions: 2})
	r.expectTitle(t, t.Context(), 7, "new")
}

func TestInnerTransactionRollsBack(t *testing.T) {
	r := newTagged(t)
	ctx, outer := r.cache.Begin(t.Context())
	inside, inner := r.cache.Begin(ctx)
	r.change(inside, postTag(7))
	inner.End()
	r.expectHit(t, true)
	r.expectInvalidations(t, Invalidations{})
	outer.Commit(r.commit(post{ID: 7, Title: "new"})) // there may have been no savepoint
	r.expectTitle(t, t.Context(), 7, "new")
}

func TestInnerTransactionOutlivesTheOuterOne(t *testing.T) {
	r := newTagged(t)
	ctx, outer := r.cache.Begin(t.Context())
	inside, inner := r.cache.Begin(ctx)
	r.change(inside, postTag(7))
	outer.End()
	r.expectInvalidations(t, Invalidations{Transactions: 1})
	r.expectTitle(t, t.Context(), 7, "old")
	r.set(post{ID: 7, Title: "new"})
	inner.End()
	r.expectInvalidations(t, Invalidations{Transactions: 2})
	r.expectTitle(t, t.Context(), 7, "new")
}

// The tags go past a transaction that has ended to the next one around it.
func TestInnermostOfThreeTransactions(t *testing.T) {
	r := newTagged(t)
	ctx, first := r.cache.Begin(t.Context())
	ctx, second := r.cache.Begin(ctx)
	ctx, third := r.cache.Begin(ctx)
	r.change(ctx, postTag(7))
	second.End()
	third.End()
	r.expectInvalidations(t, Invalidations{})
	first.Commit(r.commit(post{ID: 7, Title: "new"}))
	r.expectInvalidations(t, Invalidations{Transactions: 1})
	r.expectTitle(t, t.Context(), 7, "new")
}

// A write whose inner transaction has ended may be one of its own or part of the
// outer one.
func TestWriteBetweenTransactions(t *testing.T) {
	r := newTagged(t)
	ctx, outer := r.cache.Begin(t.Context())
	inside, inner := r.cache.Begin(ctx)
	inner.End()
	r.change(inside, postTag(7))
	r.expectInvalidations(t, Invalidations{Writes: 1})
	r.expectTitle(t, t.Context(), 7, "old")
	outer.Commit(r.commit(post{ID: 7, Title: "new"}))
	r.expectTitle(t, t.Context(), 7, "new")
}

// Doubt about an inner commit is doubt about the outer one.
func TestInnerTransactionInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTagged(t)
		ctx, outer := r.cache.Begin(t.Context())
		inside, inner := r.cache.Begin(ctx)
		r.change(inside, postTag(7))
		inner.Commit(func() error { return driver.ErrBadConn })
		r.expectInvalidations(t, Invalidations{Ambiguous: 1})
		r.expectReason(t, ReasonMarked)
		advance(4 * time.Second)
		outer.Commit(func() error { return nil })
		settled(4 * time.Second)
		r.expectInvalidations(t, Invalidations{Ambiguous: 2, Leases: 1})
		r.expectReason(t, ReasonMarked)
		settled(time.Second)
		r.title(t.Context(), 7)
		r.expectHit(t, true)
	})
}

// Transactions of several caches in one context have nothing to do with each
// other.
func TestTransactionsOfSeveralCaches(t *testing.T) {
	r, s := newTagged(t), newTagged(t)
	ctx, first := r.cache.Begin(t.Context())
	ctx, second := s.cache.Begin(ctx)
	r.change(ctx, postTag(7))
	s.change(ctx, postTag(7))
	r.expectHit(t, true)
	s.expectHit(t, true)
	second.End()
	r.expectHit(t, true)
	s.expectHit(t, false)
	if bypassed := r.cache.Stats().Bypassed; r.title(ctx, 7) != "old" || r.cache.Stats().Bypassed != bypassed+1 {
		t.Error("the first one has ended")
	}
	if bypassed := s.cache.Stats().Bypassed; s.title(ctx, 7) != "old" || s.cache.Stats().Bypassed != bypassed {
		t.Error("the second one has not ended")
	}
	first.End()
	r.expectHit(t, false)
}

// What is invalidated by hand in a transaction is invalidated again after it: it
// may be for data that the transaction has changed.
func TestInvalidateByHandInATransaction(t *testing.T) {
	for name, invalidate := range map[string]func(*posts, context.Context) error{
		"tags":  func(r *posts, ctx context.Context) error { return r.cache.Invalidate(ctx, postTag(7)) },
		"clear": func(r *posts, ctx context.Context) error { return r.cache.Clear(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newTagged(t)
			ctx, tx := r.cache.Begin(t.Context())
			if err := invalidate(r, ctx); err != nil {
				t.Fatal(err)
			}
			r.expectHit(t, false)
			r.expectTitle(t, t.Context(), 7, "old")
			tx.Commit(r.commit(post{ID: 7, Title: "new"}))
			r.expectTitle(t, t.Context(), 7, "new")
		})
	}
}

// The memory of a transaction is in proportion to what it has written, not to how
// often.
func TestLongTransaction(t *testing.T) {
	r := newTagged(t)
	ctx, tx := r.cache.Begin(t.Context())
	defer tx.End()
	for i := range 10_000 {
		r.change(ctx, postTag(int64(i%10)))
	}
	if n := cap(tx.pending.slots); n > 1000 {
		t.Errorf("room for %d slots", n)
	}
}

func TestTransactionTrace(t *testing.T) {
	recorded := &recorder{}
	r := newTagged(t, WithObserver(recorded))
	ctx, trace := WithTrace(t.Context())
	ctx, tx := r.cache.Begin(ctx)
	r.title(ctx, 7)
	r.change(ctx, postTag(7), feedTag())
	r.change(ctx, postTag(7))
	tx.Commit(func() error { return driver.ErrBadConn })
	events := trace.Events()
	for i := range events {
		events[i].Duration = 0
	}
	want := []Event{
		{Repository: postRepository, Method: "Post", Outcome: Bypassed, Reason: ReasonTransaction, Key: "Post(7)"},
		{Repository: postRepository, Method: "Update", Outcome: Collected, Tags: []string{"blog.feed", "blog.post(7)"}},
		{Repository: postRepository, Method: "Update", Outcome: Collected, Tags: []string{"blog.post(7)"}},
		{Outcome: Invalidated, Cause: CauseAmbiguous, Tags: []string{"blog.feed", "blog.post(7)"}},
	}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Error(diff)
	}
	if got := recorded.causes(); recorded.count(Collected) != 2 || !slices.Equal(got, []Cause{CauseAmbiguous}) {
		t.Errorf("observers are told of %d collected, and %q", recorded.count(Collected), got)
	}
}

// reloading is a write with reloads, by way of the generated read.
func (r *posts) reloading(ctx context.Context, call func() error, reloads ...func(context.Context) error) error {
	ctx, write, err := r.update.Begin(ctx, func(tags *Tags) { tags.Add(postTag(7)) })
	if err != nil {
		return err
	}
	defer write.End()
	for _, reload := range reloads {
		write.Reload(reload)
	}
	return write.Returned(call())
}

func (r *posts) reload(ctx context.Context) error {
	_, err := r.get(ctx, 7)
	return err
}

type valueKey struct{}

func TestReload(t *testing.T) {
	logger := newTestLogger()
	r := newTagged(t, WithLogger(logger.Logger), WithGuardedWrites(time.Minute))
	ctx := context.WithValue(t.Context(), valueKey{}, "tenant")
	var order []string
	err := r.reloading(ctx, r.commit(post{ID: 7, Title: "new"}),
		func(ctx context.Context) error {
			if _, ok := ctx.Deadline(); ok || ctx.Value(valueKey{}) != "tenant" || !controlOf(ctx).refreshes() {
				t.Error("not the caller's context")
			}
			order = append(order, "first")
			return errRefused
		},
		func(context.Context) error { order = append(order, "second"); panic("reload") },
		func(ctx context.Context) error { order = append(order, "third"); return r.reload(ctx) },
	)
	if err != nil || !slices.Equal(order, []string{"first", "second", "third"}) {
		t.Errorf("%v, %q", err, order)
	}
	loads := r.loadCount()
	r.expectTitle(t, t.Context(), 7, "new")
	r.expectLoads(t, loads) // another reader hits
	if got := logger.messages(); len(got) != 1 {
		t.Errorf("logged %q", got) // at most once a minute
	}

	// It loads whatever is cached, and not after a write that failed.
	r.reloading(ctx, func() error { return nil }, r.reload)
	r.expectLoads(t, loads+1)
	never := func(context.Context) error { t.Error("the write failed"); return nil }
	r.reloading(ctx, func() error { return errRefused }, never)
	func() {
		defer func() { recover() }()
		r.reloading(ctx, func() error { panic("write") }, never)
	}()
}

// A read past the cache would reload nothing.
func TestReloadUnderBypass(t *testing.T) {
	r := newTagged(t)
	r.reloading(Bypass(t.Context()), r.commit(post{ID: 7, Title: "new"}), r.reload)
	loads := r.loadCount()
	r.expectTitle(t, t.Context(), 7, "new")
	r.expectLoads(t, loads)
}

func TestReloadAfterClose(t *testing.T) {
	r := newTagged(t)
	ctx, tx := r.cache.Begin(t.Context())
	never := func(context.Context) error { t.Error("reloaded"); return nil }
	r.reloading(ctx, func() error { return nil }, never)
	r.cache.Close()
	r.reloading(t.Context(), func() error { return nil }, never)
	tx.Commit(func() error { return nil })
}

// In a transaction reloads wait for the commit of the outermost one, and are made
// outside of it.
func TestReloadInATransaction(t *testing.T) {
	r := newTagged(t)
	begun := context.WithValue(t.Context(), valueKey{}, "tenant")
	ctx, outer := r.cache.Begin(begun)
	ctx = context.WithValue(ctx, valueKey{}, "transaction")
	inside, inner := r.cache.Begin(ctx)
	runs := 0
	reload := func(ctx context.Context) error {
		if runs++; ctx.Value(valueKey{}) != "tenant" {
			t.Error("the context is one from inside")
		}
		return r.reload(ctx)
	}
	r.reloading(inside, func() error { return nil }, reload)
	inner.Commit(func() error { return nil })
	if runs != 0 {
		t.Error("reloaded after the inner commit")
	}
	if err := outer.Commit(func() error { return errRefused }); err != errRefused || runs != 0 {
		t.Error("reloaded after a commit that failed")
	}
	outer.Commit(r.commit(post{ID: 7, Title: "new"}))
	if runs != 1 {
		t.Errorf("%d reloads", runs)
	}
	loads := r.loadCount()
	r.expectTitle(t, t.Context(), 7, "new")
	r.expectLoads(t, loads)
	outer.Commit(func() error { return nil })
	if runs != 1 {
		t.Errorf("%d reloads after another commit", runs)
	}

	ctx, tx := r.cache.Begin(begun)
	r.reloading(ctx, func() error { return nil }, reload)
	tx.End()
	if runs != 1 {
		t.Error("reloaded after a rollback")
	}

	ctx, tx = r.cache.Begin(begun)
	r.reloading(ctx, func() error { return errRefused }, reload)
	tx.Commit(func() error { return nil })
	if runs != 1 {
		t.Error("reloaded after a write that failed")
	}

	// Should the outer one end first, it is for the inner one.
	ctx, outer = r.cache.Begin(begun)
	inside, inner = r.cache.Begin(context.WithValue(ctx, valueKey{}, "transaction"))
	r.reloading(inside, func() error { return nil }, reload)
	outer.End()
	inner.Commit(func() error { return nil })
	if runs != 2 {
		t.Error("not reloaded")
	}
}

// A transaction does not end before what it wrote is invalidated: who reads with its
// context while it is being committed may have seen the write return.
func TestReadWithTheContextOfATransactionThatEnds(t *testing.T) {
	r := newPosts(t, nil)
	r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	others := make([]Tag, 1000) // so that it takes a moment
	for i := range others {
		others[i] = postTag(int64(1000 + i))
	}
	for range 100 {
		r.set(post{ID: 7, Title: "old"})
		r.cache.Invalidate(t.Context(), postTag(7))
		r.expectTitle(t, t.Context(), 7, "old")
		ctx, tx := r.cache.Begin(t.Context())
		r.put(ctx, post{ID: 7, Title: "new"}, append(others, postTag(7))...)
		var wg sync.WaitGroup
		ended := make(chan struct{})
		wg.Go(func() {
			for {
				r.expectTitle(t, ctx, 7, "new")
				select {
				case <-ended:
					return
				default:
				}
			}
		})
		tx.Commit(func() error { return nil })
		close(ended)
		wg.Wait()
		if t.Failed() {
			return
		}
	}
}
