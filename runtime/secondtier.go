package cacheruntime

import (
	"context"
	"fmt"
	"time"
)

// The second tier is asked by flights, for entries that the memory of the process does
// not have, and gets what they load. Its entries are those of the store, to the byte,
// and pass the same test: it need not know of invalidations.

// How often a process looks whether another one has loaded what both need.
const (
	minPoll = 2 * time.Millisecond
	maxPoll = 50 * time.Millisecond
)

// sharedKey is the key under which other processes know an entry too. One of another
// format version is another entry: binaries of both may run at the same time.
func sharedKey(key string) string {
	return string([]byte{entryVersion}) + storeKey(key, nil)
}

// fetchShared looks for the entry of a flight in the second tier. It reports whether
// there is one, which is the outcome then. With [WithSharedFlights] it waits for
// another process that is loading it, or has the lock when it returns.
func (r *Read[V]) fetchShared(f *flight[V]) bool {
	l := r.cache.log
	if l == nil || !l.couldServe() || !l.begin() {
		return false
	}
	defer l.end()
	key, wait := sharedKey(f.key), l.flightWait
	if r.cfg.Hard > 0 {
		wait = min(wait, r.cfg.Hard/4) // a caller is to get what is loaded all the same
	}
	ok, err := r.askShared(f, key)
	if ok || err != nil || wait == 0 {
		return ok
	}
	id := newLogID()
	token := string(id[:])
	for deadline, pause := time.Now().Add(wait), minPoll; ; pause = min(2*pause, maxPoll) {
		locked, err := l.shared.Lock(f.ctx, key, token, l.flightWait)
		if locked || err != nil { // it may be taken all the same
			f.lock = token
		}
		if err != nil {
			r.sharedFailed(f.ctx, "a lock cannot be taken", err)
			return false
		}
		// Who had the lock may have stored something by now.
		switch ok, err = r.askShared(f, key); {
		case ok || err != nil || locked || time.Now().After(deadline):
			return ok
		}
		select {
		case <-time.After(pause):
		case <-l.ctx.Done():
			return false
		}
	}
}

// withinHard bounds a wait for what processes share such that a caller that waits no
// longer than hard, if that is not 0, can still have something loaded.
func withinHard(ctx context.Context, hard time.Duration) (context.Context, context.CancelFunc) {
	if hard == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, hard/4)
}

func (r *Read[V]) askShared(f *flight[V], key string) (ok bool, err error) {
	ctx, cancel := withinHard(f.ctx, r.cfg.Hard)
	defer cancel()
	found, err := r.cache.log.shared.Get(ctx, []string{key})
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%w: %d entries for a key", ErrMalformed, len(found))
	}
	if err != nil {
		r.sharedFailed(f.ctx, "entries cannot be read", err)
		return false, err
	}
	return r.adopt(f, found[0], 0), nil
}

// sharedFailed tells what could not be done with the second tier.
func (r *Read[V]) sharedFailed(ctx context.Context, what string, err error) {
	r.stats.note(ctx, 0, countSharedErrors, Event{Outcome: SharedFailed, Err: err})
	r.report("the shared tier failed: "+what, err)
}

// adopt makes an entry of the second tier the outcome of a flight, and keeps it, if it
// may be served. For since see sharedLog.testCurrent.
func (r *Read[V]) adopt(f *flight[V], data []byte, since uint64) bool {
	if data == nil {
		r.stats.add(0, countSharedMisses, 1)
		return false
	}
	var e entry
	switch reason := r.testEntry(f.ctx, 0, f.key, data, &e, since); {
	case reason == ReasonExpired && e.hard > e.soft && e.seen < e.hard:
		f.fallback = &e // its value will do if the load fails
		fallthrough
	case reason != "":
		r.stats.add(0, countSharedMisses, 1)
		return false
	}
	if !r.isOutcome(f, &e) {
		r.stats.add(0, countSharedMisses, 1)
		return false
	}
	f.shared = true
	f.stored = r.mayKeep(f)
	if f.stored {
		defer close(f.kept)
		f.stored = r.put(f, data)
	}
	return true
}

// share gives the second tier what flights of a trip have loaded, after those who
// wait for it have been answered.
func (r *Read[V]) share(flights ...*flight[V]) {
	l := r.cache.log
	if l == nil || !l.begin() {
		return
	}
	defer l.end()
	l.mu.Lock()
	epoch := l.at.Epoch
	l.mu.Unlock()
	var entries []SharedEntry
	for _, f := range flights {
		if f.toShare != nil && f.entry.epoch == epoch {
			ttl := Forever
			if f.until != never {
				ttl = time.Duration(f.until - r.cache.now().UnixNano())
			}
			if ttl > 0 {
				entries = append(entries, SharedEntry{sharedKey(f.key), f.toShare, ttl})
			}
		}
		f.toShare = nil
	}
	if len(entries) > 0 {
		if err := l.shared.Set(flights[0].ctx, entries); err != nil {
			r.sharedFailed(flights[0].ctx, "entries cannot be stored", err)
		}
	}
	for _, f := range flights {
		if f.lock == "" {
			continue
		}
		if err := l.shared.Unlock(f.ctx, sharedKey(f.key), f.lock); err != nil {
			r.sharedFailed(f.ctx, "a lock cannot be given back", err)
		}
	}
}
