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

// A setback is what is known of a key whose last load failed. For the failure of a
// batch other ids may be to blame: it holds up batches alone.
type setback struct{ one, many delay }

// A delay is how long loads that can wait are to wait.
type delay struct {
	failures int
	until    int64 // Unix time in ns
}

// longer makes a delay twice as long as the last one.
func (d *delay) longer(now int64) {
	wait := min(backoffFirst<<min(d.failures, 16), backoffMost)
	wait += time.Duration((rand.Float64() - 0.5) / 2 * float64(wait)) // not all keys at once
	d.failures++
	d.until = now + int64(wait)
}

// backsOff reports whether a load of the key that can wait is to wait, for a batch
// or for the read of one.
func (r *Read[V]) backsOff(key []byte, many bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.setbacks[string(key)]
	if !ok {
		return false
	}
	now := r.cache.now().UnixNano()
	return now < s.one.until || many && now < s.many.until
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
	if now := r.cache.now().UnixNano(); many {
		s.many.longer(now)
	} else {
		s.one.longer(now)
	}
	r.setbacks[key] = s
}

// forgetSetbacks makes room for an eighth, so that it is rarely called: by what is
// over, and then by whatever comes first.
func (r *Read[V]) forgetSetbacks() {
	now := r.cache.now().UnixNano()
	for key, s := range r.setbacks {
		if max(s.one.until, s.many.until) <= now {
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
