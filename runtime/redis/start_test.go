package redis_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/redis"
)

// withRetryingTier shares what is at an address as soon as somebody answers there.
func withRetryingTier(t *testing.T, address string, change ...func(*redis.Options)) cacheruntime.Option {
	t.Helper()
	options := redis.Options{
		InitAddress: []string{address}, Namespace: "bench", RetryOnFailedConnect: true,
		Timeout: 10 * time.Second, LogTimeout: 10 * time.Second,
	}
	for _, c := range change {
		c(&options)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	tier, err := redis.Open(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	return cacheruntime.WithShared(tier)
}

var quiet = cacheruntime.WithLogger(slog.New(slog.DiscardHandler))

// lags is a bound that a busy machine does not exceed.
var lags = cacheruntime.WithMaxStaleness(20 * time.Second)

// A process that starts in an outage reads from the repository, and its writes are told the
// others when it is over. From then on it has a cache like any other.
func TestCacheThatStartsInAnOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr())
	proxy.Cut()
	other := newPosts(t, time.Hour, withTier(t, server), lags)
	late := newPosts(t, time.Hour, withRetryingTier(t, proxy.Addr()), lags, quiet)
	ctx := t.Context()
	other.hits(t, ctx, 2)
	if n := other.loads.Load(); n != 1 {
		t.Fatalf("the other process loaded %d times", n)
	}

	late.hits(t, ctx, 3)
	if n := late.loads.Load(); n != 3 {
		t.Errorf("3 reads loaded %d times", n)
	}
	if err := late.cache.Invalidate(ctx, tag("post", 7)); !errors.Is(err, cacheruntime.ErrUndelivered) {
		t.Errorf("invalidating: %v", err)
	}
	if s := late.cache.Stats().Shared; s.Queued != 1 || s.Current || s.Epoch != 0 {
		t.Errorf("%+v", s)
	}

	proxy.Heal()
	redistest.Until(t, "the invalidation is delivered", func() bool { return late.cache.Stats().Shared.Queued == 0 })
	redistest.Until(t, "the other process has heard of it", func() bool {
		other.hits(t, ctx, 1)
		return other.loads.Load() == 2
	})
	redistest.Until(t, "there are hits", func() bool {
		before := late.loads.Load()
		late.hits(t, ctx, 2)
		return late.loads.Load() == before
	})
	if err := late.cache.Invalidate(ctx, tag("post", 7)); err != nil {
		t.Errorf("invalidating: %v", err)
	}
}

// Guarded writes are refused until the log can be told of them.
func TestGuardedWriteInAnOutageAtTheStart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Kill()
	late := newPosts(t, time.Hour, withRetryingTier(t, server.Addr()), cacheruntime.WithGuardedWrites(time.Minute), quiet)
	write := cacheruntime.NewWrite(late.cache, "example.com/blog.PostRepository", "Update")
	update := func() error {
		_, call, err := write.Begin(t.Context(), func(tags *cacheruntime.Tags) { tags.Add(tag("post", 7)) })
		if err != nil {
			return err
		}
		defer call.End()
		return call.Returned(nil)
	}
	if err := update(); !errors.Is(err, cacheruntime.ErrRefused) {
		t.Error(err)
	}
	server.Restart()
	redistest.Until(t, "writes are made", func() bool { return update() == nil })
}

// A server that accepts connections and says nothing does not hold up a process that starts,
// nor one that ends.
func TestCacheThatStartsWhileTheServerHangs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Pause()
	tier := withRetryingTier(t, server.Addr(), func(o *redis.Options) {
		o.LogTimeout = 100 * time.Millisecond
		o.ClientOption.Dialer.Timeout = time.Hour
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		cache, err := cacheruntime.New(tier, quiet)
		if err != nil {
			t.Error(err)
			return
		}
		if err := cache.Invalidate(t.Context(), tag("post", 7)); !errors.Is(err, cacheruntime.ErrUndelivered) {
			t.Errorf("invalidating: %v", err)
		}
		if err := cache.Close(); err == nil {
			t.Error("the invalidation was lost without an error")
		}
	}()
	redistest.Until(t, "the cache has been made and closed", func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}
