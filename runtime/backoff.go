package cacheruntime

import (
	"math/rand/v2"
	"time"
)

// While loads of a key fail, those that nobody depends on wait: refreshes in the
// background, and loads of callers that have an expired value to go on with. So
// an outage is not hammered by keys that can do without.
const (
	backoffFirst = 100 * time.Millisecond // after one failure; twice as long after each further one
	backoffMost  = 30 * time.Second
	maxSetbacks  = 1 << 16 // keys of a read that are remembered
)

// A setback is what is known of a key whose last load failed.
type setback struct {
	failures int
	until    int64 // Unix time in ns before which no load is tried that can wait
	many     bool  // the loads were those of batches, and other ids may be to blame
}

// backsOff reports whether a load of the key that can wait is to wait, for a batch
// or for the read of one.
func (r *Read[V]) backsOff(key []byte, many bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.setbacks[string(key)]
	return ok && (many || !s.many) && r.cache.now().UnixNano() < s.until
}

// tried notes how a load has gone, for a batch or for the read of one. r.mu is
// held.
func (r *Read[V]) tried(key string, failed, many bool) {
	if !failed {
		delete(r.setbacks, key)
		return
	}
	if r.cfg.Stale == 0 && r.cfg.Refresh == 0 {
		return // no load can wait
	}
	if r.setbacks == nil {
		r.setbacks = map[string]setback{}
	}
	s, ok := r.setbacks[key]
	if !ok && len(r.setbacks) >= maxSetbacks {
		r.forgetSetbacks()
	}
	delay := min(backoffFirst<<min(s.failures, 16), backoffMost)
	delay += time.Duration((rand.Float64() - 0.5) / 2 * float64(delay)) // not all keys at once
	s.failures++
	s.many = many && (s.many || !ok)
	s.until = r.cache.now().UnixNano() + int64(delay)
	r.setbacks[key] = s
}

// forgetSetbacks makes room for an eighth, so that it is rarely called: by what is
// over, and then by whatever comes first.
func (r *Read[V]) forgetSetbacks() {
	now := r.cache.now().UnixNano()
	for key, s := range r.setbacks {
		if s.until <= now {
			delete(r.setbacks, key)
		}
	}
	for key := range r.setbacks {
		if len(r.setbacks) <= maxSetbacks-maxSetbacks/8 {
			return
		}
		delete(r.setbacks, key)
	}
}
