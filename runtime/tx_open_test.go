package cacheruntime

import (
	"context"
	"database/sql/driver"
	"testing"
	"testing/synctest"
	"time"
)

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

// Two readers of two methods, guarded: an insert fills in the id that its tag is
// made of.
func TestGuardedInsertNewThenOld(t *testing.T) {
	r := newTagged(t, WithGuardedWrites(time.Minute))
	other := newPostsOn(r.cache, func(cfg *ReadConfig[*post]) { cfg.Method = "Other" })
	other.depends = r.depends
	row := post{Title: "new"}
	_, w := r.update.Begin(t.Context(), func(tags *Tags) { tags.Add(postTag(row.ID)) })
	row.ID = 7
	r.set(row)
	other.set(row)
	other.expectTitle(t, t.Context(), 7, "new")
	r.expectTitle(t, t.Context(), 7, "new")
	w.Returned(nil)
	w.End()
}
