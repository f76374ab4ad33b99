package schedule

import (
	"context"
	"runtime/pprof"
	"unsafe"
)

// An identity tells goroutines apart. It is the address of their profiler labels, which
// goroutines that they start inherit.
type identity unsafe.Pointer

// name gives the calling goroutine an identity of its own.
func name(thread string) identity {
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("thread", thread)))
	return goroutine()
}

// goroutine is the identity of the calling goroutine.
func goroutine() identity { return identity(profilerLabels()) }

// There is no other quick way to ask: to parse the number of the goroutine from its
// stack takes four fifths of a search's time. The runtime keeps this name for those
// who ask.
//
//go:linkname profilerLabels runtime/pprof.runtime_getProfLabel
func profilerLabels() unsafe.Pointer
