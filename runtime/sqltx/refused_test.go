package sqltx_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"testing"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/sqltx"
)

var errUnreachable = errors.New("unreachable")

// unreachable is a log that processes share, and that this one cannot reach.
type unreachable struct{ cacheruntime.Shared }

func (unreachable) Append(context.Context, cacheruntime.LogPosition, cacheruntime.LogRecord) (cacheruntime.LogReply, error) {
	return cacheruntime.LogReply{}, errUnreachable
}

func (unreachable) Prove(context.Context, cacheruntime.LogPosition) (cacheruntime.LogReply, error) {
	return cacheruntime.LogReply{}, errUnreachable
}

func (unreachable) Snapshot(context.Context, uint64) (cacheruntime.LogSnapshot, error) {
	return cacheruntime.LogSnapshot{}, errUnreachable
}

func (unreachable) Wait(context.Context, cacheruntime.LogPosition) error { return errUnreachable }

func (unreachable) Get(_ context.Context, keys []string) ([][]byte, error) {
	return make([][]byte, len(keys)), errUnreachable
}

func (unreachable) Set(context.Context, []cacheruntime.SharedEntry) error { return errUnreachable }

func (unreachable) Close() error { return nil }

// A commit that a cache refuses is not tried, so the transaction has to be rolled back:
// it would hold its connection for ever. That holds for the refusal of any of several.
func TestRefusedCommit(t *testing.T) {
	refusing := []cacheruntime.Option{
		cacheruntime.WithShared(unreachable{}),
		cacheruntime.WithGuardedWrites(time.Minute),
		cacheruntime.WithLogger(slog.New(slog.DiscardHandler)),
	}
	for name, options := range map[string][2][]cacheruntime.Option{
		"the outer one": {refusing, nil},
		"the inner one": {nil, refusing},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t, "old")
			d.SetMaxOpenConns(1)
			outer, inner := newTexts(t, d, options[0]...), newTexts(t, d, options[1]...)
			outer.expect(t, t.Context(), "old")
			inner.expect(t, t.Context(), "old")
			err := sqltx.Run(t.Context(), d.DB, outer.cache, nil, func(ctx context.Context, _ *sql.Tx) error {
				if err := outer.put(ctx, "new"); err != nil {
					return err
				}
				return sqltx.Run(ctx, d.DB, inner.cache, nil, func(ctx context.Context, _ *sql.Tx) error {
					return inner.put(ctx, "new")
				})
			})
			if !errors.Is(err, cacheruntime.ErrRefused) {
				t.Errorf("%v, want %v", err, cacheruntime.ErrRefused)
			}
			d.expectCalls(t, "begin", "rollback")
			outer.expect(t, t.Context(), "old")
			inner.expect(t, t.Context(), "old")
		})
	}
}

// The error of a rollback after a refusal is told as well.
func TestRollbackFailsAfterARefusal(t *testing.T) {
	d := newDatabase(t, "old")
	d.rollback = func() error { return errFailed }
	r := newTexts(t, d,
		cacheruntime.WithShared(unreachable{}),
		cacheruntime.WithGuardedWrites(time.Minute),
		cacheruntime.WithLogger(slog.New(slog.DiscardHandler)))
	err := sqltx.Run(t.Context(), d.DB, r.cache, nil, func(ctx context.Context, _ *sql.Tx) error { return r.put(ctx, "new") })
	if !errors.Is(err, cacheruntime.ErrRefused) || !errors.Is(err, errFailed) {
		t.Errorf("%v, want %v and %v", err, cacheruntime.ErrRefused, errFailed)
	}
}
