//go:build !race

// The race detector makes pools forget.

package cacheruntime_test

import (
	"testing"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// A hit costs no memory for the sake of other processes.
func TestSharedHitAllocations(t *testing.T) {
	s := newSite(t)
	allocations := func(m *member) float64 {
		m.get(1)
		return testing.AllocsPerRun(1000, func() { m.get(1) })
	}
	want := allocations(s.alone(nil))
	shared := s.join(cacheruntime.WithMaxStaleness(time.Hour))
	if got := allocations(shared); got > want {
		t.Errorf("%v allocations, want %v as in a process of its own", got, want)
	}
	shared.expectHit(1)
}
