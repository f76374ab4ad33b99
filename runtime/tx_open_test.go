package cacheruntime

import (
	"context"
	"database/sql/driver"
	"testing"
	"testing/synctest"
	"time"
)

// A write after a commit that failed may be in no transaction of the database.
func TestWriteAfterAFailedCommit(t *testing.T) {
	r := newTagged(t)
	ctx, tx := r.cache.Begin(t.Context())
	defer tx.End()
	tx.Commit(func() error { return errRefused })
	r.expectTitle(t, t.Context(), 7, "old")
	r.set(post{ID: 7, Title: "new"})
	r.change(ctx, postTag(7))
	r.expectTitle(t, t.Context(), 7, "new")
}

// An outer transaction is committed while an inner one has not ended (a deferred
// inner.End in the same function): what the inner one has written is committed.
func TestOuterCommitBeforeInnerEnd(t *testing.T) {
	r := newTagged(t)
	ctx, outer := r.cache.Begin(t.Context())
	defer outer.End()
	inside, inner := r.cache.Begin(ctx)
	defer inner.End()
	r.change(inside, postTag(7))
	if err := outer.Commit(r.commit(post{ID: 7, Title: "new"})); err != nil {
		t.Fatal(err)
	}
	r.expectTitle(t, t.Context(), 7, "new")
}

// The lease that was asked for writes in doubt is not shortened by a guard.
func TestDoubtLongerThanGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTagged(t, WithGuardedWrites(time.Second), WithAmbiguousWrites(time.Minute, nil))
		r.write(t.Context(), func(context.Context) error {
			time.AfterFunc(30*time.Second, func() { r.set(post{ID: 7, Title: "new"}) })
			return driver.ErrBadConn
		}, postTag(7))
		settled(2 * time.Second)
		r.title(t.Context(), 7)
		settled(30 * time.Second)
		r.expectTitle(t, t.Context(), 7, "new")
	})
}

// A guarded write with the context of an inner transaction that has ended, which
// may be one of its own: it is marked like any other.
func TestGuardedWriteBetweenTransactions(t *testing.T) {
	r := newTagged(t, WithGuardedWrites(time.Minute))
	ctx, outer := r.cache.Begin(t.Context())
	defer outer.End()
	inside, inner := r.cache.Begin(ctx)
	inner.End()
	r.write(inside, func(context.Context) error { r.expectReason(t, ReasonMarked); return nil }, postTag(7))
}

// An insert that fills in the id which its tag is made of: what is not known before the
// call can be marked as *.
func TestGuardedInsert(t *testing.T) {
	r := newTagged(t, WithGuardedWrites(time.Minute))
	other := newPostsOn(r.cache, func(cfg *ReadConfig[*post]) { cfg.Method = "Other" })
	other.depends = r.depends
	row := post{Title: "new"}
	_, w := r.update.BeginAnyway(t.Context(), func(tags *Tags) { tags.Add(postTag(row.ID), allPostTag()) })
	row.ID = 7
	r.set(row)
	other.set(row)
	other.expectTitle(t, t.Context(), 7, "new")
	r.expectTitle(t, t.Context(), 7, "new")
	w.Returned(nil)
	w.End()
}

// While an outer transaction is being committed, what an inner one that has not ended
// has written is marked.
func TestGuardedOuterCommitBeforeInnerEnd(t *testing.T) {
	r := newTagged(t, WithGuardedWrites(time.Minute))
	ctx, outer := r.cache.Begin(t.Context())
	inside, inner := r.cache.Begin(ctx)
	r.change(inside, postTag(7))
	outer.Commit(func() error { r.expectReason(t, ReasonMarked); return nil })
	inner.End()
	r.title(t.Context(), 7)
	r.expectHit(t, true)
}

// So is everything, if it was cleared.
func TestGuardedCommitAfterClear(t *testing.T) {
	r := newTagged(t, WithGuardedWrites(time.Minute))
	ctx, outer := r.cache.Begin(t.Context())
	inside, inner := r.cache.Begin(ctx)
	r.cache.Clear(inside)
	r.expectTitle(t, t.Context(), 7, "old")
	r.expectHit(t, true)
	outer.Commit(func() error {
		r.expectHit(t, false)
		r.expectHit(t, false)
		r.set(post{ID: 7, Title: "new"})
		return nil
	})
	inner.End()
	r.expectTitle(t, t.Context(), 7, "new")
	r.expectHit(t, true)
}

// A commit in doubt after a Clear: everything is in doubt, until the lease ends.
func TestClearInDoubt(t *testing.T) {
	for name, opts := range map[string][]Option{
		"plain":   nil,
		"guarded": {WithGuardedWrites(5 * time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newTagged(t, opts...)
				ctx, tx := r.cache.Begin(t.Context())
				r.cache.Clear(ctx)
				tx.Commit(func() error {
					time.AfterFunc(4*time.Second, func() { r.set(post{ID: 7, Title: "new"}) })
					return driver.ErrBadConn
				})
				r.expectTitle(t, t.Context(), 7, "old")
				settled(4 * time.Second)
				r.expectTitle(t, t.Context(), 7, "new")
				r.expectHit(t, false)
				settled(time.Second)
				r.expectTitle(t, t.Context(), 7, "new")
				r.expectHit(t, true)
				r.expectInvalidations(t, Invalidations{Leases: 1, Clears: 2})
			})
		})
	}
}

// Reloads are left to the innermost transaction alone, and made once.
func TestReloadOfAnInnerTransactionIsMadeOnce(t *testing.T) {
	r := newTagged(t)
	runs := 0
	reload := func(context.Context) error { runs++; return nil }
	ctx, outer := r.cache.Begin(t.Context())
	inside, inner := r.cache.Begin(ctx)
	r.reloading(inside, func() error { return nil }, reload)
	inner.Commit(func() error { return nil })
	outer.Commit(func() error { return nil })
	if runs != 1 {
		t.Errorf("%d reloads", runs)
	}

	ctx, outer = r.cache.Begin(t.Context())
	inside, inner = r.cache.Begin(ctx)
	r.reloading(inside, func() error { return nil }, reload)
	inner.End() // rolled back
	outer.Commit(func() error { return nil })
	if runs != 1 {
		t.Error("reloaded after the rollback of the inner transaction")
	}
}

// Reloads are made outside of all transactions of the cache, those between the
// outermost one and that of the write included: there they would be stored nowhere.
func TestReloadOutsideOfNestedTransactions(t *testing.T) {
	r := newTagged(t)
	ctx, first := r.cache.Begin(t.Context())
	ctx, second := r.cache.Begin(ctx)
	ctx, third := r.cache.Begin(ctx)
	r.reloading(ctx, func() error { return nil }, r.reload)
	first.End()
	second.End()
	third.Commit(r.commit(post{ID: 7, Title: "new"}))
	loads := r.loadCount()
	r.expectTitle(t, t.Context(), 7, "new")
	r.expectLoads(t, loads)
}

// The context of a transaction that has ended is like any other: one that begins
// with it collects, and that is all.
func TestTransactionAfterAnother(t *testing.T) {
	r := newTagged(t, WithGuardedWrites(time.Minute))
	ctx, first := r.cache.Begin(t.Context())
	first.End()
	ctx, second := r.cache.Begin(ctx)
	r.write(ctx, func(context.Context) error { r.expectHit(t, true); return nil }, postTag(7))
	r.expectHit(t, true)
	second.Commit(r.commit(post{ID: 7, Title: "new"}))
	r.expectTitle(t, t.Context(), 7, "new")
	r.expectInvalidations(t, Invalidations{Transactions: 1})
}
