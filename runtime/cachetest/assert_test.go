package cachetest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

func rowTag(id int64) cacheruntime.Tag {
	key := cacheruntime.NewKey()
	key.Int(id)
	return key.Tag("example.com/kit.row")
}

// sample returns a trace of a miss of row 7, hits of rows 7 and 8, and an
// invalidation of row 7 and of all rows.
func sample(t *testing.T) *cacheruntime.Trace {
	t.Helper()
	cache := cachetest.New(t)
	r := newRowReader(cache)
	r.row(t.Context(), 8)
	ctx, trace := cacheruntime.WithTrace(t.Context())
	r.row(ctx, 7)
	r.row(ctx, 7)
	r.row(ctx, 8)
	if err := cache.Invalidate(ctx, rowTag(7), cacheruntime.AllTag("example.com/kit.row")); err != nil {
		t.Fatal(err)
	}
	return trace
}

// A read that is answered from the shared tier is a read too.
func TestAssertionsOnSharedHits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := cachetest.NewShared(t)
		here := newRowReader(cachetest.New(t, cacheruntime.WithShared(shared.Tier())))
		there := newRowReader(cachetest.New(t, cacheruntime.WithShared(shared.Tier())))
		synctest.Wait()
		here.row(t.Context(), 7)
		synctest.Wait()
		ctx, trace := cacheruntime.WithTrace(t.Context())
		there.row(ctx, 7)
		there.row(ctx, 8)
		cachetest.SharedHit(t, trace, "Row(7)")
		cachetest.Miss(t, trace, "Row(8)")
		record(t, func(t testing.TB) { cachetest.Miss(t, trace) }).
			expect(t, `1 of 2 reads not as wanted: outcome "miss"`, "\t> shared hit  Rows.Row(7)", "\t  miss  Rows.Row(8)")
		record(t, func(t testing.TB) { cachetest.Hit(t, trace, "Row(7)") }).
			expect(t, `1 of 1 reads not as wanted: outcome "hit"`, "\t> shared hit  Rows.Row(7)")
	})
}

func TestAssertions(t *testing.T) {
	trace := sample(t)
	_, empty := cacheruntime.WithTrace(t.Context())
	for _, test := range []struct {
		name   string
		assert func(t testing.TB)
		want   []string // of the failure; none: it holds
	}{
		{"call", func(t testing.TB) { cachetest.Hit(t, trace, "Row(8)") }, nil},
		{"not all calls", func(t testing.TB) { cachetest.Hit(t, trace, "Row(7)") },
			[]string{`1 of 2 reads not as wanted: outcome "hit"`, "\t> miss  Rows.Row(7)", "\n\t  hit  Rows.Row(7)", "\n\t  hit  Rows.Row(8)", "\n\t  invalidated  by hand"}},
		{"method", func(t testing.TB) { cachetest.Hit(t, trace, "Row") }, []string{"1 of 3 reads"}},
		{"as shown", func(t testing.TB) { cachetest.Hit(t, trace, "Rows.Row(8)") }, nil},
		{"method of a repository", func(t testing.TB) { cachetest.Hit(t, trace, "Rows.Row") }, []string{"1 of 3 reads"}},
		{"another repository", func(t testing.TB) { cachetest.Hit(t, trace, "Others.Row(8)") }, []string{"no read of Others.Row(8)"}},
		{"every read", func(t testing.TB) { cachetest.Miss(t, trace) },
			[]string{`2 of 3 reads not as wanted: outcome "miss"`, "\t  miss  Rows.Row(7)", "\t> hit  Rows.Row(7)", "\t> hit  Rows.Row(8)"}},
		{"absent call", func(t testing.TB) { cachetest.Hit(t, trace, "Row(8)", "Row(9)", "Other") },
			[]string{`no read of Row(9), Other, want outcome "hit"`, "hit  Rows.Row(8)"}},
		{"no call", func(t testing.TB) { cachetest.Hit(t, empty) },
			[]string{`no read, want outcome "hit"`, "the trace is empty"}},
		{"reason", func(t testing.TB) { cachetest.Reason(t, trace, "", "Row(8)") }, nil},
		{"other reason", func(t testing.TB) { cachetest.Reason(t, trace, cacheruntime.ReasonExpired, "Row(7)") },
			[]string{`2 of 2 reads not as wanted: reason "expired"`, "\t> miss", "\t> hit"}},
		{"outcomes", func(t testing.TB) {
			cachetest.Outcomes(t, trace, cacheruntime.Miss, cacheruntime.Hit, cacheruntime.Hit, cacheruntime.Invalidated)
		}, nil},
		{"no outcomes", func(t testing.TB) { cachetest.Outcomes(t, empty) }, nil},
		{"more outcomes", func(t testing.TB) { cachetest.Outcomes(t, trace, cacheruntime.Miss, cacheruntime.Stale) },
			[]string{`outcomes ["miss" "hit" "hit" "invalidated"], want ["miss" "stale"]`, "\t  miss", "\t> hit", "\t> invalidated"}},
		{"fewer outcomes", func(t testing.TB) { cachetest.Outcomes(t, empty, cacheruntime.Miss) }, []string{`outcomes [], want ["miss"]`}},
		{"invalidated", func(t testing.TB) { cachetest.Invalidated(t, trace) }, nil},
		{"tag", func(t testing.TB) { cachetest.Invalidated(t, trace, rowTag(7)) }, nil},
		{"both tags", func(t testing.TB) {
			cachetest.Invalidated(t, trace, cacheruntime.AllTag("example.com/kit.row"), rowTag(7))
		}, nil},
		{"other tag", func(t testing.TB) { cachetest.Invalidated(t, trace, rowTag(7), rowTag(8)) },
			[]string{"not invalidated: kit.row(8)\n", "invalidated  by hand  kit.row(*), kit.row(7)"}},
		{"nothing invalidated", func(t testing.TB) { cachetest.Invalidated(t, empty) }, []string{"nothing was invalidated", "the trace is empty"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := record(t, test.assert)
			r.expect(t, test.want...)
			if r.fatal {
				t.Error("the test does not go on")
			}
		})
	}
}

// An invalidation is no read, whatever is said of reads.
func TestAssertionsLookAtReadsAlone(t *testing.T) {
	cache := cachetest.New(t)
	ctx, trace := cacheruntime.WithTrace(t.Context())
	if err := cache.Invalidate(ctx, rowTag(7)); err != nil {
		t.Fatal(err)
	}
	record(t, func(t testing.TB) { cachetest.Miss(t, trace) }).expect(t, "no read, want")
	newRowReader(cache).row(ctx, 7)
	record(t, func(t testing.TB) { cachetest.Miss(t, trace) }).expect(t)
}

// Each assertion holds for its outcome and for no other.
func TestAssertionsOfOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		traces := outcomes(t)
		for _, test := range []struct {
			outcome cacheruntime.Outcome
			assert  func(testing.TB, *cacheruntime.Trace, ...string)
		}{
			{cacheruntime.Hit, cachetest.Hit},
			{cacheruntime.NegativeHit, cachetest.NegativeHit},
			{cacheruntime.Stale, cachetest.Stale},
			{cacheruntime.Miss, cachetest.Miss},
			{cacheruntime.Joined, cachetest.Joined},
			{cacheruntime.Skipped, cachetest.Skipped},
			{cacheruntime.Bypassed, cachetest.Bypassed},
		} {
			for outcome, trace := range traces {
				r := record(t, func(t testing.TB) { test.assert(t, trace, "Row") })
				if outcome == test.outcome {
					r.expect(t)
				} else {
					r.expect(t, `1 of 1 reads not as wanted: outcome "`+string(test.outcome)+`"`)
				}
			}
		}
	})
}

// What a write in a transaction leaves to it is not invalidated before it ends.
func TestInvalidatedByATransaction(t *testing.T) {
	cache := cachetest.New(t)
	write := cacheruntime.NewWrite(cache, "example.com/kit.Rows", "SetRow")
	begun, whole := cacheruntime.WithTrace(t.Context())
	ctx, tx := cache.Begin(begun)
	ctx, trace := cacheruntime.WithTrace(ctx)
	_, call := write.BeginAnyway(ctx, func(tags *cacheruntime.Tags) { tags.Add(rowTag(7)) })
	call.Returned(nil)
	call.End()
	cachetest.Outcomes(t, trace, cacheruntime.Collected)
	invalidated := func(trace *cacheruntime.Trace) *recorder {
		return record(t, func(t testing.TB) { cachetest.Invalidated(t, trace, rowTag(7)) })
	}
	invalidated(trace).expect(t, "not invalidated", "collected")
	if err := tx.Commit(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	invalidated(trace).expect(t, "not invalidated", "collected")
	invalidated(whole).expect(t)
}

// outcomes returns traces of one read each, by what came of it.
func outcomes(t *testing.T) map[cacheruntime.Outcome]*cacheruntime.Trace {
	t.Helper()
	points := cachetest.NewPoints(t)
	r := newRowReader(cachetest.New(t))
	r.load = func(ctx context.Context, id int64) (string, error) {
		if id == 0 {
			return "", errNoRow
		}
		return "row", points.Reach(ctx, "load")
	}
	traces := map[cacheruntime.Outcome]*cacheruntime.Trace{}
	traced := func(outcome cacheruntime.Outcome) context.Context {
		ctx, trace := cacheruntime.WithTrace(t.Context())
		traces[outcome] = trace
		return ctx
	}
	r.row(traced(cacheruntime.Miss), 7)
	r.row(traced(cacheruntime.Hit), 7)
	r.row(cacheruntime.Bypass(traced(cacheruntime.Bypassed)), 7)
	r.read.Skip(traced(cacheruntime.Skipped))
	r.row(t.Context(), 0)
	r.row(traced(cacheruntime.NegativeHit), 0)
	<-time.After(time.Minute)
	r.load = func(context.Context, int64) (string, error) { return "", errors.New("no connection") }
	r.row(traced(cacheruntime.Stale), 7)
	r.load = func(ctx context.Context, _ int64) (string, error) { return "row", points.Reach(ctx, "load") }
	points.Hold("load")
	var wg sync.WaitGroup
	wg.Go(func() { r.row(t.Context(), 8) })
	points.Wait("load")
	joined := traced(cacheruntime.Joined)
	wg.Go(func() { r.row(joined, 8) })
	synctest.Wait()
	points.Release("load")
	wg.Wait()
	return traces
}
