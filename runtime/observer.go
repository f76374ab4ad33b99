package cacheruntime

import (
	"context"
	"fmt"
)

// An Observer is told what a cache does, as it happens: see [WithObserver]. What it
// is told adds up to [Stats].
//
// It is told of every call of a read, with the outcome that a [Trace] has of it, the
// reason, and how long it took; of a batch, of every id. It is told of every step that
// invalidates, with the cause: writes and ends of transactions, leases, calls by hand.
// Of a write in a transaction it is told that it was [Collected]: that has invalidated
// nothing yet, and is not counted in Stats.
// And it is told what does not show in a call or belongs to none, with the
// outcomes that are documented to be for observers, such as [Loaded] and [Evicted].
// Each event carries repository and method, if it belongs to any.
// Event.Key and Event.Tags are set only while the call is traced as well: rendering
// them takes time.
//
// Observe is called concurrently, by the goroutine in which it happens, which waits
// for it: it should count, or hand the event on, and return. That of a call is told
// before the call returns, and what a load comes to before the calls that wait for it
// return. An observer that panics is logged ([WithLogger]), and the call goes on as
// if it had returned.
//
// The context is that of the call or of the load in the course of which it happened,
// and context.Background for what happens in neither. An observer that calls a
// cached repository itself should do so with that context: inside a load, a read of
// what is being loaded then calls the repository instead of waiting for itself. It is
// told of its own calls as well.
type Observer interface {
	Observe(ctx context.Context, event Event)
}

// observers are those of a cache. A nil pointer is none.
type observers struct {
	all      []Observer
	problems *problemLog
}

func newObservers(all []Observer, problems *problemLog) *observers {
	if len(all) == 0 {
		return nil
	}
	return &observers{all, problems}
}

func (o *observers) tell(ctx context.Context, e Event) {
	for _, observer := range o.all {
		o.tellOne(observer, ctx, e)
	}
}

// tellOne keeps a panic of the observer from the caller, whose call it is none of.
func (o *observers) tellOne(observer Observer, ctx context.Context, e Event) {
	defer func() {
		if value := recover(); value != nil {
			o.problems.report("an observer panicked", e.Repository, e.Method, fmt.Errorf("panic: %v", value))
		}
	}()
	observer.Observe(ctx, e)
}
