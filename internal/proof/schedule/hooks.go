// Package schedule decides in which order the goroutines of a run take their steps.
package schedule

import (
	"sync"
	"time"
)

// Load comes before an atomic read of *p.
func Load[T any](p *T) *T { return p }

// Change comes before an atomic change of *p.
func Change[T any](p *T) *T { return p }

// Lock locks.
func Lock(mu sync.Locker) { mu.Lock() }

// Unlock unlocks.
func Unlock(mu sync.Locker) { mu.Unlock() }

// Go runs f in a goroutine.
func Go(f func()) { go f() }

// AfterFunc is like time.AfterFunc.
func AfterFunc(d time.Duration, f func()) *time.Timer { return time.AfterFunc(d, f) }

// Close closes a channel.
func Close[T any](c chan T) { close(c) }

// Point comes before a select, and a send or a receive on channel p.
func Point(p any) {}
