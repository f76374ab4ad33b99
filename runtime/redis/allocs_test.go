//go:build !race

// The race detector makes pools forget.

package redis_test

import (
	"testing"

	"github.com/cachegen/cachegen/internal/redistest"
)

// A shared tier does not make a hit allocate more.
func TestHitAllocations(t *testing.T) {
	server := redistest.Start(t)
	for _, lifetime := range lifetimes {
		alone := newPosts(t, lifetime.ttl)
		shared := newPosts(t, lifetime.ttl, withTier(t, server))
		ctx := t.Context()
		count := func(r *posts) float64 { return testing.AllocsPerRun(5000, func() { r.hits(t, ctx, 1) }) }
		if a, s := count(alone), count(shared); a != s {
			t.Errorf("%s: a hit allocates %v times, with a shared tier %v times", lifetime.name, a, s)
		}
	}
}
