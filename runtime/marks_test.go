package cacheruntime

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// expectNoMarks fails if a word of the table has a mark.
func (r *posts) expectNoMarks(t *testing.T) {
	t.Helper()
	for i := range r.cache.view().words {
		if marks, _ := marksOf(r.cache.view(), uint32(i)); marks != 0 {
			t.Errorf("word %d has %d marks left", i, marks)
		}
	}
}

// The marks of a guarded write are released as they were made, though the tags of the
// call are added to, sorted and shortened after it.
func TestGuardedWriteReleasesWhatItMarked(t *testing.T) {
	for n := range int64(12) {
		r := newTagged(t, WithGuardedWrites(time.Minute))
		var tags []Tag
		for id := range n + 1 {
			tags = append(tags, postTag(id+1))
		}
		r.write(t.Context(), func(context.Context) error { return nil }, tags...)
		r.expectNoMarks(t)
	}
}

// So are those of a commit, during which other writes are collected.
func TestGuardedCommitReleasesWhatItMarked(t *testing.T) {
	for n := range int64(12) {
		r := newTagged(t, WithGuardedWrites(time.Minute))
		ctx, tx := r.cache.Begin(t.Context())
		for id := range n + 1 {
			r.change(ctx, postTag(id+1))
		}
		if err := tx.Commit(func() error {
			for id := range n + 1 {
				r.change(ctx, postTag(100+id))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		r.expectNoMarks(t)
	}
}

// A guard ends the context of the call, and the error that the driver makes of that may
// be of any kind: the write is in doubt, although its caller's context has not ended.
func TestGuardThatEndsLeavesInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTagged(t, WithGuardedWrites(time.Minute))
		r.write(t.Context(), func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("the connection was given up")
		}, postTag(7))
		r.expectInvalidations(t, Invalidations{Ambiguous: 1})
		r.expectReason(t, ReasonMarked)
		settled(time.Minute)
		r.expectNoMarks(t)
	})
}

// What is written after a commit that failed may be part of another transaction of the
// database, which is committed before End is called: that invalidates it again.
func TestEndAfterAWriteAfterAFailedCommit(t *testing.T) {
	r := newTagged(t)
	ctx, tx := r.cache.Begin(t.Context())
	tx.Commit(func() error { return errRefused })
	r.change(ctx, postTag(7))
	r.expectTitle(t, t.Context(), 7, "old")
	r.set(post{ID: 7, Title: "new"})
	tx.End()
	r.expectTitle(t, t.Context(), 7, "new")
}

// An inner transaction does not leave what it has written to an outer one that has a
// commit behind it which failed, and may never end.
func TestInnerEndAfterAFailedOuterCommit(t *testing.T) {
	r := newTagged(t)
	ctx, outer := r.cache.Begin(t.Context())
	defer outer.End()
	inside, inner := r.cache.Begin(ctx)
	outer.Commit(func() error { return errRefused })
	r.change(inside, postTag(7))
	r.set(post{ID: 7, Title: "new"})
	inner.End()
	r.expectTitle(t, t.Context(), 7, "new")
}
