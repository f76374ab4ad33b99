package cacheruntime

import "testing"

// A commit fails and leaves the transaction open (SQLite's BUSY); more is
// written, and a second commit succeeds: that is invalidated after it too.
func TestWriteBetweenTwoCommits(t *testing.T) {
	r := newTagged(t)
	ctx, tx := r.cache.Begin(t.Context())
	defer tx.End()
	r.change(ctx, postTag(8))
	tx.Commit(func() error { return errRefused })
	r.change(ctx, postTag(7)) // in the database's transaction, which is still open
	r.expectTitle(t, t.Context(), 7, "old")
	if err := tx.Commit(r.commit(post{ID: 7, Title: "new"})); err != nil {
		t.Fatal(err)
	}
	r.expectTitle(t, t.Context(), 7, "new")
}

// A commit after End, say of a helper that ends what its caller tries again: what is
// written while it runs is part of it.
func TestCommitAfterEnd(t *testing.T) {
	r := newTagged(t)
	ctx, tx := r.cache.Begin(t.Context())
	tx.End()
	err := tx.Commit(func() error {
		r.change(ctx, postTag(7))
		r.expectTitle(t, t.Context(), 7, "old")
		r.set(post{ID: 7, Title: "new"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.expectTitle(t, t.Context(), 7, "new")
	r.expectInvalidations(t, Invalidations{Transactions: 1})
}

// After such a commit the context still reads what is not committed. It must not
// be stored: it may be rolled back yet.
func TestReadBetweenCommitAndRollback(t *testing.T) {
	r := newTagged(t)
	ctx, tx := r.cache.Begin(t.Context())
	r.change(ctx, postTag(7))
	tx.Commit(func() error { return errRefused })
	r.set(post{ID: 7, Title: "uncommitted"}) // as the transaction sees it
	r.title(ctx, 7)
	r.set(post{ID: 7, Title: "old"}) // ROLLBACK
	tx.End()
	r.expectTitle(t, t.Context(), 7, "old")
}
