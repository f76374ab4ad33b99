//go:build race

package goldentest

// Race reports whether the race detector is on, under which allocations are
// others.
const Race = true
