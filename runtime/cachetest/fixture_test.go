package cachetest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A recorder is a test whose failures are looked at.
type recorder struct {
	testing.TB // for what is not recorded
	failures   []string
	fatal      bool
	cleanups   []func()
}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	r.fatal = true
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

// record runs f as a test of its own and returns what failed in it.
func record(t *testing.T, f func(t testing.TB)) *recorder {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	for _, cleanup := range slices.Backward(r.cleanups) {
		cleanup()
	}
	return r
}

// expect fails the test unless there was one failure that contains all parts, or
// none if no part is given.
func (r *recorder) expect(t *testing.T, parts ...string) {
	t.Helper()
	if len(parts) == 0 {
		if len(r.failures) > 0 {
			t.Errorf("unexpected failures: %q", r.failures)
		}
		return
	}
	if len(r.failures) != 1 {
		t.Errorf("%d failures, want one with %q: %q", len(r.failures), parts, r.failures)
		return
	}
	for _, part := range parts {
		if !strings.Contains(r.failures[0], part) {
			t.Errorf("failure without %q:\n%s", part, r.failures[0])
		}
	}
}

var errNoRow = errors.New("no such row")

// A rowReader is a read as it is generated, in front of a function.
type rowReader struct {
	read *cacheruntime.Read[string]
	load func(ctx context.Context, id int64) (string, error)
}

// newRowReader makes the read Row of a repository example.com/kit.Rows, whose
// entries live for a minute, which serves them for an hour more if a load fails or
// takes a second, and which remembers errNoRow. What it loads is "row" unless
// load is changed.
func newRowReader(cache *cacheruntime.Cache) *rowReader {
	return &rowReader{
		read: cacheruntime.NewRead(cache, cacheruntime.ReadConfig[string]{
			Repository: "example.com/kit.Rows",
			Method:     "Row",
			TTL:        time.Minute,
			Stale:      time.Hour,
			Soft:       time.Second,
			Negative:   []cacheruntime.Negative{{Err: errNoRow}},
			Encode:     func(e *cacheruntime.Encoder, row string) { e.String(row) },
			Decode:     func(d *cacheruntime.Decoder) string { return d.String() },
		}),
		load: func(context.Context, int64) (string, error) { return "row", nil },
	}
}

func (r *rowReader) row(ctx context.Context, id int64) (string, error) {
	key := r.read.Key(ctx)
	defer key.Release()
	key.Int(id)
	if result, err, ok := r.read.Lookup(ctx, key); ok {
		return result, err
	}
	return r.read.Load(ctx, key, cacheruntime.Loader[string]{
		Call: func(ctx context.Context) (string, error) { return r.load(ctx, id) },
	})
}

// expectRow fails the test unless a read returns the row, and returns its trace.
func (r *rowReader) expectRow(t testing.TB, ctx context.Context, id int64, want string) *cacheruntime.Trace {
	t.Helper()
	ctx, trace := cacheruntime.WithTrace(ctx)
	got, err := r.row(ctx, id)
	if err != nil || got != want {
		t.Errorf("row %d: %q, %v; want %q", id, got, err, want)
	}
	return trace
}
