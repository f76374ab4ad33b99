//go:build !race

// The race detector makes pools forget.

package cacheruntime

import (
	"testing"
	"time"
)

// A hit costs no memory for the sake of other processes.
func TestSharedHitAllocations(t *testing.T) {
	ctx := t.Context()
	alone := newTagged(t)
	shared, _ := newSharing(t, newMemoryLog(), WithMaxStaleness(time.Hour))
	want := testing.AllocsPerRun(1000, func() { alone.get(ctx, 7) })
	if got := testing.AllocsPerRun(1000, func() { shared.get(ctx, 7) }); got > want {
		t.Errorf("%v allocations, want %v as in a process of its own", got, want)
	}
}
