package cachetest

import (
	"io"
	"log/slog"
	"sync"
	"testing"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// New returns a cache with those options for one test: it logs to the test's log
// unless they say otherwise, and is closed when the test ends. If the options are
// wrong the test fails and ends; call it from the test's goroutine.
func New(t testing.TB, opts ...cacheruntime.Option) *cacheruntime.Cache {
	t.Helper()
	log := &testLog{out: t.Output()}
	logger := slog.New(slog.NewTextHandler(log, nil))
	cache, err := cacheruntime.New(append([]cacheruntime.Option{cacheruntime.WithLogger(logger)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cache.Close(); err != nil {
			t.Errorf("closing the cache: %v", err)
		}
		log.end()
	})
	return cache
}

// A testLog writes to the log of a test as long as there is one: a load may
// outlive its test, and writing then would panic.
type testLog struct {
	mu  sync.Mutex
	out io.Writer // nil: the test has ended
}

func (l *testLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out == nil {
		return len(line), nil
	}
	return l.out.Write(line)
}

func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = nil
}
