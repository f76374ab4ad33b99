// Package goldentest is what the tests inside the golden cases share.
package goldentest

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"testing"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// Cache returns a cache that is closed when the test ends.
func Cache(t *testing.T, options ...cacheruntime.Option) *cacheruntime.Cache {
	t.Helper()
	options = append(options, cacheruntime.WithLogger(slog.New(slog.DiscardHandler)))
	cache, err := cacheruntime.New(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	return cache
}

// ErrUnreachable is the error of [Unreachable].
var ErrUnreachable = errors.New("unreachable")

// Unreachable is shared by processes none of which can reach it.
type Unreachable struct{}

func (Unreachable) Append(context.Context, cacheruntime.LogPosition, cacheruntime.LogRecord) (cacheruntime.LogReply, error) {
	return cacheruntime.LogReply{}, ErrUnreachable
}

func (Unreachable) Prove(context.Context, cacheruntime.LogPosition) (cacheruntime.LogReply, error) {
	return cacheruntime.LogReply{}, ErrUnreachable
}

func (Unreachable) Snapshot(context.Context, uint64) (cacheruntime.LogSnapshot, error) {
	return cacheruntime.LogSnapshot{}, ErrUnreachable
}

func (Unreachable) Wait(context.Context, cacheruntime.LogPosition) error { return ErrUnreachable }

func (Unreachable) Get(_ context.Context, keys []string) ([][]byte, error) {
	return make([][]byte, len(keys)), ErrUnreachable
}

func (Unreachable) Set(context.Context, []cacheruntime.SharedEntry) error { return ErrUnreachable }

func (Unreachable) Lock(context.Context, string, string, time.Duration) (bool, error) {
	return false, ErrUnreachable
}

func (Unreachable) Unlock(context.Context, string, string) error { return ErrUnreachable }

func (Unreachable) Close() error { return nil }

// Want fails the test unless got is deeply equal to want. Nil and empty are
// different values.
func Want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %#v, want %#v", what, got, want)
	}
}

// Outcomes runs f and fails the test unless the calls that it makes with the
// context it is given have these outcomes, in this order.
func Outcomes(t *testing.T, what string, f func(context.Context), want ...cacheruntime.Outcome) {
	t.Helper()
	ctx, trace := cacheruntime.WithTrace(t.Context())
	f(ctx)
	var got []cacheruntime.Outcome
	for _, event := range trace.Events() {
		got = append(got, event.Outcome)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: outcomes %q, want %q\n%s", what, got, want, trace)
	}
}

// RoundTrip calls a read three times and fails the test unless it answers with a
// value like that of fresh every time: loaded, then decoded twice. Each answer is
// handed to change, if there is one, which must not make a difference.
func RoundTrip[T any](t *testing.T, what string, read func(context.Context) (T, error), fresh func() T, change func(T)) {
	t.Helper()
	Outcomes(t, what, func(ctx context.Context) {
		for range 3 {
			got, err := read(ctx)
			if err != nil {
				t.Errorf("%s: %v", what, err)
				return
			}
			Want(t, what, got, fresh())
			if change != nil {
				change(got)
			}
		}
	}, cacheruntime.Miss, cacheruntime.Hit, cacheruntime.Hit)
}

// Calls counts the calls that reach a repository behind the cache.
type Calls struct {
	mu     sync.Mutex
	counts map[string]int
}

// Count counts a call.
func (c *Calls) Count(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[method]++
}

// Want fails the test unless the method was called n times since it was last
// asked for.
func (c *Calls) Want(t *testing.T, method string, n int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts[method] != n {
		t.Errorf("%s was called %d times, want %d", method, c.counts[method], n)
	}
	delete(c.counts, method)
}
