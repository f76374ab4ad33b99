package sqltx_test

import (
	"context"
	"database/sql"
	"testing"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/sqltx"
)

// A repository on one database, called in the transaction of another one, must
// not be handed that one's transaction: it would read and write the wrong
// database (two shards with the same tables would not even notice).
func TestRepositoryOfAnotherDatabase(t *testing.T) {
	first, second := newDatabase(t, "first"), newDatabase(t, "second")
	r, s := newTexts(t, first), newTexts(t, second)
	err := sqltx.Run(t.Context(), first.DB, r.cache, nil, func(ctx context.Context, _ *sql.Tx) error {
		s.expect(t, ctx, "second")   // and what is read is even stored in s's cache
		return s.put(ctx, "changed") // goes to the first database
	})
	if err != nil {
		t.Fatal(err)
	}
	s.expect(t, t.Context(), "changed")
	r.expect(t, t.Context(), "first")
}

// A reload after a transaction on a second database, inside one on a first.
func TestReloadAfterInnerTransactionOnAnotherDatabase(t *testing.T) {
	first, second := newDatabase(t, "first"), newDatabase(t, "second")
	r, s := newTexts(t, first), newTexts(t, second)
	sqltx.Run(t.Context(), first.DB, r.cache, nil, func(ctx context.Context, _ *sql.Tx) error {
		return sqltx.Run(ctx, second.DB, s.cache, nil, func(ctx context.Context, tx *sql.Tx) error {
			ctx, write := s.write.Begin(ctx, func(tags *cacheruntime.Tags) { tags.Add(textTag()) })
			defer write.End()
			write.Reload(func(ctx context.Context) error { _, err := s.get(ctx); return err })
			_, err := tx.ExecContext(ctx, "changed")
			return write.Returned(err)
		})
	})
	s.expect(t, t.Context(), "changed")
}

// A read through another cache than the transaction's: what a transaction sees
// that is then rolled back must not be served to others.
func TestRolledBackDataInAnotherCache(t *testing.T) {
	d := newDatabase(t, "old")
	r, s := newTexts(t, d), newTexts(t, d)
	sqltx.Run(t.Context(), d.DB, r.cache, nil, func(ctx context.Context, _ *sql.Tx) error {
		r.put(ctx, "uncommitted")
		s.get(ctx)
		s.expect(t, t.Context(), "old") // dirty read by others
		return errFailed
	})
	s.expect(t, t.Context(), "old")
}
