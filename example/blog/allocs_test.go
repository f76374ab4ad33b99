//go:build !race

// The race detector makes pools drop some of what they are given, so that
// allocations cannot be counted under it.

package blog_test

import "testing"

// A hit allocates what the store does to hand out its copy of the entry, and
// the value it returns, nothing else.
func TestHitAllocations(t *testing.T) {
	direct := database(t)
	hot := cached(t, direct)
	for _, read := range mainReads {
		t.Run(read.name, func(t *testing.T) {
			ctx := t.Context()
			call := func() {
				if err := read.call(ctx, hot); err != nil {
					t.Fatal(err)
				}
			}
			bare, key := bareStore(t, direct, read.call)
			store := testing.AllocsPerRun(1000, func() {
				if _, err := bare.Get(key); err != nil {
					t.Fatal(err)
				}
			})
			call() // the miss
			if got := testing.AllocsPerRun(1000, call); got != store+read.allocs {
				t.Errorf("%v allocations, want %v of the store and %v for the result", got, store, read.allocs)
			}
		})
	}
}
