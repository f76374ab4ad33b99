package cacheruntime

import "context"

// An Observer is told what a cache does, as it happens: see [WithObserver].
//
// Observe is called by the goroutine in which it happens, concurrently, and
// holds it up: it should count, or hand the event on. The context is that of the
// call, of the load, or context.Background for what belongs to no call. Calls of
// reads and writes come with the outcomes that [Trace] knows; further outcomes
// are those that are documented to be for observers. Event.Key and Event.Tags
// are set only while the call is traced as well: rendering them takes time.
type Observer interface {
	Observe(ctx context.Context, event Event)
}
