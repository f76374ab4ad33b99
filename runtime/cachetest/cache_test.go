package cachetest_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

// outputTo is a test whose log is kept.
type outputTo struct {
	testing.TB
	w io.Writer
}

func (o outputTo) Output() io.Writer { return o.w }

// A load that panics when its caller has left is logged while the test runs, and
// does no harm after it.
func TestNewLogsAsLongAsTheTestRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		points := cachetest.NewPoints(t)
		var r *rowReader
		// leave makes a read that leaves its load behind.
		leave := func() {
			points.Hold("load")
			ctx, cancel := context.WithCancel(t.Context())
			left := make(chan error, 1)
			go func() {
				_, err := r.row(ctx, 7)
				left <- err
			}()
			points.Wait("load")
			cancel()
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Errorf("left with %v", err)
			}
		}
		record(t, func(t testing.TB) {
			r = newRowReader(cachetest.New(outputTo{t, &log}))
			r.load = func(context.Context, int64) (string, error) {
				points.Reach(context.Background(), "load")
				panic("dropped a row")
			}
			leave()
			points.Release("load")
			synctest.Wait()
			if !strings.Contains(log.String(), "dropped a row") {
				t.Errorf("not logged: %q", log.String())
			}
			log.Reset()
			<-time.After(2 * time.Minute) // the same is logged once a minute
			leave()
		}).expect(t)
		points.Release("load")
		synctest.Wait()
		if log.Len() > 0 {
			t.Errorf("logged after the test: %q", log.String())
		}
	})
}

func TestNewClosesTheCache(t *testing.T) {
	store := cachetest.NewStore(t)
	var r *rowReader
	record(t, func(t testing.TB) {
		r = newRowReader(cachetest.New(t, cacheruntime.WithStore(store)))
		cachetest.Miss(t, r.expectRow(t, t.Context(), 7, "row"))
		cachetest.Hit(t, r.expectRow(t, t.Context(), 7, "row"))
	}).expect(t)
	cachetest.Reason(t, r.expectRow(t, t.Context(), 7, "row"), cacheruntime.ReasonClosed)
}

func TestNewWithWrongOptions(t *testing.T) {
	r := record(t, func(t testing.TB) { cachetest.New(t, cacheruntime.WithMaxBytes(-1)) })
	r.expect(t, "WithMaxBytes(-1)")
	if !r.fatal {
		t.Error("the test goes on")
	}
}
