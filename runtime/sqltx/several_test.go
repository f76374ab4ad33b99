package sqltx_test

import (
	"context"
	"database/sql"
	"errors"
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
		s.expect(t, ctx, "second")
		return s.put(ctx, "changed")
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
			ctx, write, err := s.write.Begin(ctx, func(tags *cacheruntime.Tags) { tags.Add(textTag()) })
			if err != nil {
				return err
			}
			defer write.End()
			write.Reload(func(ctx context.Context) error { _, err := s.get(ctx); return err })
			_, err = tx.ExecContext(ctx, "changed")
			return write.Returned(err)
		})
	})
	s.expect(t, t.Context(), "changed")
}

// A read through another cache than the transaction's: what a transaction sees
// that is then rolled back must not be served to others. So it is not seen, unless a
// Run for that cache joins.
func TestRolledBackDataInAnotherCache(t *testing.T) {
	d := newDatabase(t, "old")
	r, s := newTexts(t, d), newTexts(t, d)
	sqltx.Run(t.Context(), d.DB, r.cache, nil, func(ctx context.Context, _ *sql.Tx) error {
		r.put(ctx, "uncommitted")
		s.get(ctx)
		s.expect(t, t.Context(), "old")
		s.expect(t, cacheruntime.Bypass(ctx), "uncommitted") // nobody else gets that
		return errors.Join(errFailed, sqltx.Run(ctx, d.DB, s.cache, nil, func(ctx context.Context, _ *sql.Tx) error {
			s.expect(t, ctx, "uncommitted")
			return nil
		}))
	})
	s.expect(t, t.Context(), "old")
}

// A reload of a write through another cache than the transaction's is stored there.
func TestReloadInAnotherCache(t *testing.T) {
	d := newDatabase(t, "old")
	r, s := newTexts(t, d), newTexts(t, d)
	sqltx.Run(t.Context(), d.DB, r.cache, nil, func(ctx context.Context, tx *sql.Tx) error {
		in, write, err := s.write.Begin(ctx, func(tags *cacheruntime.Tags) { tags.Add(textTag()) })
		if err != nil {
			return err
		}
		write.Reload(func(ctx context.Context) error { _, err := s.get(ctx); return err })
		_, err = tx.ExecContext(in, "uncommitted")
		write.Returned(err)
		write.End()
		return errFailed
	})
	s.expect(t, t.Context(), "old")
}

// A transaction that begins within a load is that of what the load calls, but not of
// loads within it.
func TestRunInALoad(t *testing.T) {
	d := newDatabase(t, "old")
	r, s := newTexts(t, d), newTexts(t, d)
	load := func(ctx context.Context) (string, error) {
		return "", sqltx.Run(ctx, d.DB, r.cache, nil, func(ctx context.Context, tx *sql.Tx) error {
			if got, ok := sqltx.FromContext(ctx, d.DB); !ok || got != tx {
				t.Error("the load has begun before the transaction, and does not find it")
			}
			r.put(ctx, "uncommitted")
			s.expect(t, ctx, "old")
			return errFailed
		})
	}
	key := s.read.Key(t.Context())
	defer key.Release()
	key.Int(1)
	if _, err := s.read.Load(t.Context(), key, cacheruntime.Loader[string]{Call: load}); err != errFailed {
		t.Error(err)
	}
}

// A Run in a load of another cache begins a transaction of its own.
func TestRunInALoadOfAnotherCache(t *testing.T) {
	d := newDatabase(t, "old")
	r, s := newTexts(t, d), newTexts(t, d)
	sqltx.Run(t.Context(), d.DB, r.cache, nil, func(ctx context.Context, outer *sql.Tx) error {
		key := s.read.Key(ctx)
		defer key.Release()
		key.Int(1)
		_, err := s.read.Load(ctx, key, cacheruntime.Loader[string]{Call: func(ctx context.Context) (string, error) {
			return "", sqltx.Run(ctx, d.DB, s.cache, nil, func(_ context.Context, inner *sql.Tx) error {
				if inner == outer {
					t.Error("it joins")
				}
				return nil
			})
		}})
		return err
	})
	d.expectCalls(t, "begin", "begin", "commit", "commit")
}
