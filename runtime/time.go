package cacheruntime

import "time"

// A Clock tells a cache the time: see [WithClock].
type Clock interface {
	// Now returns the time, by which entries expire.
	Now() time.Time
	// AfterFunc calls f in a goroutine of its own once d has passed, unless the
	// timer is stopped before. It is how callers wait no longer than soft and
	// hard, and how leases end.
	AfterFunc(d time.Duration, f func()) Timer
}

// A Timer is a call that a [Clock] is to make.
type Timer interface {
	// Stop calls it off, and reports whether it did.
	Stop() bool
}

// now is the time by the cache's clock.
func (c *Cache) now() time.Time {
	if c.clock != nil {
		return c.clock.Now()
	}
	return time.Now()
}

// afterFunc calls f once d has passed by the cache's clock.
func (c *Cache) afterFunc(d time.Duration, f func()) Timer {
	if c.clock != nil {
		return c.clock.AfterFunc(d, f)
	}
	return time.AfterFunc(d, f)
}
