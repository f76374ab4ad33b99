package cacheruntime_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

// delays makes every message of a tier take some time.
func delays(request, reply time.Duration) cachetest.Faults {
	return cachetest.Faults{
		Request: func(string) cachetest.Fate { return cachetest.Fate{Delay: request} },
		Reply:   func(string) cachetest.Fate { return cachetest.Fate{Delay: reply} },
	}
}

func newShared(t *testing.T, tier *cachetest.Tier, opts ...cacheruntime.Option) *cacheruntime.Cache {
	t.Helper()
	opts = append([]cacheruntime.Option{
		cacheruntime.WithLogger(slog.New(slog.DiscardHandler)),
		cacheruntime.WithShared(tier), cacheruntime.WithStore(cachetest.NewStore(t)),
	}, opts...)
	cache, err := cacheruntime.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	return cache
}

// What could not be delivered is delivered though more comes all the time.
func TestDeliversUnderConstantWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := cachetest.NewShared(t)
		tier := shared.Tier()
		tier.SetFaults(delays(time.Millisecond, time.Millisecond))
		cache := newShared(t, tier)
		<-time.After(time.Second)
		tier.Cut()
		cache.Invalidate(t.Context(), tag("row", 1))
		tier.Heal()
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		undelivered := 0
		for id := int64(0); ctx.Err() == nil; id++ {
			<-time.After(time.Millisecond / 2)
			undelivered = 0
			if cache.Invalidate(t.Context(), tag("row", id%100)) != nil {
				undelivered++
			}
		}
		if stats := cache.Stats().Shared; undelivered > 0 || stats.Queued > 0 || !stats.Current {
			t.Errorf("after 10 seconds in which all worked: %+v", stats)
		}
	})
}
