package cachetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// A Tier is what one process has of a [Shared], for [cacheruntime.WithShared]. Calls whose
// context has no deadline take a second at most for the log, 100 ms for entries, and five
// seconds of waiting for records.
type Tier struct {
	shared *Shared

	// Guarded by shared.mu.
	link    link
	down    chan struct{} // closed when the connection breaks
	calls   map[string]int
	running int
	claimed bool
	closed  bool
}

var _ cacheruntime.Shared = (*Tier)(nil)

// How long a call takes at most if its context has no deadline.
const (
	logTimeout   = time.Second
	entryTimeout = 100 * time.Millisecond
	waitTimeout  = 5 * time.Second
)

const callWait = "Wait"

// Cut cuts this process off, see [Shared.Cut].
func (t *Tier) Cut() {
	t.shared.mu.Lock()
	defer t.shared.mu.Unlock()
	t.link.cut = true
	t.drop()
}

// Stall makes nothing of this process get through, see [Shared.Stall].
func (t *Tier) Stall() {
	t.shared.mu.Lock()
	defer t.shared.mu.Unlock()
	t.link.stalled = true
}

// Break breaks the connections of this process: calls under way fail, and those that
// follow do not.
func (t *Tier) Break() {
	t.shared.mu.Lock()
	defer t.shared.mu.Unlock()
	t.drop()
}

// Heal ends what [Tier.Cut] and [Tier.Stall] have begun, but not what was done to all
// processes.
func (t *Tier) Heal() {
	t.shared.mu.Lock()
	defer t.shared.mu.Unlock()
	t.link.heal()
	t.shared.settle()
}

// SetFaults says what goes wrong from now on for this process, see [Shared.SetFaults].
func (t *Tier) SetFaults(faults Faults) {
	t.shared.mu.Lock()
	defer t.shared.mu.Unlock()
	t.link.faults = faults
}

// Calls returns how often a method of [cacheruntime.Shared] was called so far, by its
// name.
func (t *Tier) Calls(method string) int {
	t.shared.mu.Lock()
	defer t.shared.mu.Unlock()
	return t.calls[method]
}

// drop breaks the connections. The mutex is locked.
func (t *Tier) drop() {
	close(t.down)
	t.down = make(chan struct{})
}

// A request is a call under way. Its fields are guarded by the mutex.
type request struct {
	tier *Tier
	call string
	down chan struct{} // of the connection that it was sent over
	left bool          // the caller
	// do does what is asked for, unless it is too early.
	do    func() bool
	forge func() error // changes what do has found
	done  chan error   // with room for one
}

// send makes a call: do is called with the mutex locked until it returns true, and
// maybe after call has returned an error, so what it sets is the caller's only if there
// is none.
func (t *Tier) send(ctx context.Context, call string, timeout time.Duration, do func() bool, forge func() error) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	s := t.shared
	s.mu.Lock()
	t.calls[call]++
	t.running++
	if t.closed {
		s.misused("%s after Close", call)
	}
	r := &request{tier: t, call: call, down: t.down, do: do, forge: forge, done: make(chan error, 1)}
	if ctx.Err() == nil {
		r.send()
	}
	s.mu.Unlock()
	var err error
	select {
	case err = <-r.done:
	case <-r.down:
		err = errBroken
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.running--
	r.left = true
	if err != nil {
		return fmt.Errorf("%s: %w", call, err)
	}
	return nil
}

// send sends a request on its way. The mutex is locked.
func (r *request) send() {
	t, s := r.tier, r.tier.shared
	fate := t.link.request(r.call).then(s.link.request(r.call))
	switch {
	case t.link.cut || s.link.cut:
		r.done <- errCut
	case fate.Broken:
		r.done <- errBroken
	case fate.Lost:
	default:
		s.later(fate.Delay, func() {
			s.waiting = append(s.waiting, r)
			s.settle()
		})
	}
}

// reply sends the answer back. The mutex is locked.
func (r *request) reply() {
	t, s := r.tier, r.tier.shared
	fate := t.link.reply(r.call).then(s.link.reply(r.call))
	if r.left {
		return
	}
	err := r.forge()
	switch {
	case fate.Broken:
		r.done <- errBroken
	case fate.Lost:
	default:
		s.later(fate.Delay, func() {
			if r.down == t.down {
				r.done <- err
			}
		})
	}
}

// later calls f once some time has passed. The mutex is locked, then as now.
func (s *Shared) later(d time.Duration, f func()) {
	if d <= 0 {
		f()
		return
	}
	time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		f()
	})
}

func none() error { return nil }

// Append appends a record.
func (t *Tier) Append(ctx context.Context, from cacheruntime.LogPosition, record cacheruntime.LogRecord) (cacheruntime.LogReply, error) {
	s := t.shared
	if err := check(record); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.misused("Append: %v", err)
		return cacheruntime.LogReply{}, fmt.Errorf("Append: %w", err)
	}
	record = cloneRecord(record)
	var reply cacheruntime.LogReply
	err := t.send(ctx, "Append", logTimeout, func() bool {
		reply = s.server.append(from, record, s.most)
		return true
	}, func() error { return t.forgeReply("Append", &reply) })
	if err != nil {
		return cacheruntime.LogReply{}, err
	}
	return reply, nil
}

// Prove tells what the log has after a position.
func (t *Tier) Prove(ctx context.Context, from cacheruntime.LogPosition) (cacheruntime.LogReply, error) {
	s := t.shared
	var reply cacheruntime.LogReply
	err := t.send(ctx, "Prove", logTimeout, func() bool {
		reply = s.server.prove(from, s.most)
		return true
	}, func() error { return t.forgeReply("Prove", &reply) })
	if err != nil {
		return cacheruntime.LogReply{}, err
	}
	return reply, nil
}

// forgeReply is what faults do to a reply. The mutex is locked.
func (t *Tier) forgeReply(call string, reply *cacheruntime.LogReply) error {
	for _, forge := range []func(string, *cacheruntime.LogReply) error{t.link.faults.Log, t.shared.link.faults.Log} {
		if forge != nil {
			if err := forge(call, reply); err != nil {
				return err
			}
		}
	}
	return nil
}

// Snapshot returns the state of the log.
func (t *Tier) Snapshot(ctx context.Context, condemned uint64) (cacheruntime.LogSnapshot, error) {
	s := t.shared
	var snapshot cacheruntime.LogSnapshot
	err := t.send(ctx, "Snapshot", logTimeout, func() bool {
		snapshot = s.server.snapshot(condemned)
		return true
	}, func() error {
		for _, forge := range []func(*cacheruntime.LogSnapshot) error{t.link.faults.Snapshot, s.link.faults.Snapshot} {
			if forge != nil {
				if err := forge(&snapshot); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return cacheruntime.LogSnapshot{}, err
	}
	return snapshot, nil
}

// Wait waits until there is a record with a higher number than that of from, for up
// to five seconds. As in Redis that may never come about: the log may have begun
// anew with lower numbers.
func (t *Tier) Wait(ctx context.Context, from cacheruntime.LogPosition) error {
	s := t.shared
	over := false // guarded by the mutex
	timer := time.AfterFunc(waitTimeout, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		over = true
		s.settle()
	})
	defer timer.Stop()
	return t.send(ctx, callWait, 2*waitTimeout, func() bool {
		return over || s.server.log.head().Number > from.Number
	}, none)
}

// Get returns the entries of keys.
func (t *Tier) Get(ctx context.Context, keys []string) ([][]byte, error) {
	s := t.shared
	keys = slices.Clone(keys)
	var entries [][]byte
	err := t.send(ctx, "Get", entryTimeout, func() bool {
		entries = make([][]byte, len(keys))
		for i, key := range keys {
			if entry, ok := s.entries[key]; ok && !ended(entry.ends) {
				entries[i] = slices.Clone(entry.data)
			}
		}
		return true
	}, func() error {
		for _, forge := range []func(string, []byte) []byte{t.link.faults.Entry, s.link.faults.Entry} {
			for i, key := range keys {
				if forge != nil && entries[i] != nil {
					entries[i] = forge(key, entries[i])
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// Set keeps entries.
func (t *Tier) Set(ctx context.Context, entries []cacheruntime.SharedEntry) error {
	s := t.shared
	entries = slices.Clone(entries)
	for i := range entries {
		entries[i].Entry = slices.Clone(entries[i].Entry)
	}
	return t.send(ctx, "Set", entryTimeout, func() bool {
		for _, entry := range entries {
			switch {
			case entry.TTL == cacheruntime.Forever:
				s.entries[entry.Key] = sharedEntry{data: entry.Entry}
			case entry.TTL > 0:
				s.entries[entry.Key] = sharedEntry{data: entry.Entry, ends: time.Now().Add(entry.TTL)}
			}
		}
		return true
	}, none)
}

// Lock takes the lock of a key.
func (t *Tier) Lock(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	s := t.shared
	if ttl <= 0 {
		s.mu.Lock()
		s.misused("Lock for %v: must be positive", ttl)
		s.mu.Unlock()
	}
	taken := false
	err := t.send(ctx, "Lock", entryTimeout, func() bool {
		if lock, ok := s.locks[key]; !ok || ended(lock.ends) {
			s.locks[key] = sharedLock{token: token, ends: time.Now().Add(ttl)}
			taken = true
		}
		return true
	}, none)
	return err == nil && taken, err
}

// Unlock gives a lock back.
func (t *Tier) Unlock(ctx context.Context, key, token string) error {
	s := t.shared
	return t.send(ctx, "Unlock", entryTimeout, func() bool {
		if s.locks[key].token == token {
			delete(s.locks, key)
		}
		return true
	}, none)
}

// Claim makes the tier a cache's own, which fails if it has been claimed or closed before.
func (t *Tier) Claim() error {
	t.shared.mu.Lock()
	defer t.shared.mu.Unlock()
	if t.claimed || t.closed {
		return errors.New("cachetest: the tier is closed, or belongs to another cache already: make one for each cache")
	}
	t.claimed = true
	return nil
}

// Close ends the use of the tier.
func (t *Tier) Close() error {
	s := t.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.closed {
		s.misused("Close was called twice")
	}
	if t.running > 0 {
		s.misused("Close while %d other methods are running", t.running)
	}
	t.closed = true
	return nil
}

// check tells why a record is none that may be appended.
func check(record cacheruntime.LogRecord) error {
	mark, none := record.Mark, cacheruntime.LogID{}
	for i, slot := range record.Slots {
		if i > 0 && record.Slots[i-1] >= slot {
			return fmt.Errorf("slots are not distinct and sorted: %d, %d", record.Slots[i-1], slot)
		}
	}
	for _, slot := range slices.Concat(record.Slots, mark.Slots) {
		if slot >= cacheruntime.SharedTableSize {
			return fmt.Errorf("slot %d is beyond the table", slot)
		}
	}
	for _, release := range record.Release {
		if release.ID == none {
			return errors.New("a release of no mark")
		}
	}
	switch {
	case record.ID == none:
		return errors.New("a record without an id")
	case len(record.Slots) > cacheruntime.MaxLogSlots || len(mark.Slots) > cacheruntime.MaxLogSlots:
		return fmt.Errorf("%d slots, and %d marked: at most %d", len(record.Slots), len(mark.Slots), cacheruntime.MaxLogSlots)
	case len(record.Release) > cacheruntime.MaxLogReleases:
		return fmt.Errorf("%d releases: at most %d", len(record.Release), cacheruntime.MaxLogReleases)
	case mark.ID == none && (mark.Generation != 0 || mark.Slots != nil || mark.All || mark.Lease != 0):
		return errors.New("a mark without an id")
	case mark.ID != none && mark.Lease <= 0:
		return fmt.Errorf("a mark with a lease of %v", mark.Lease)
	case record.OnlyIf == cacheruntime.IfOutstanding && len(record.Release) != 1:
		return fmt.Errorf("if a mark is outstanding, with %d releases", len(record.Release))
	case record.OnlyIf == cacheruntime.IfAbsent && mark.ID == none:
		return errors.New("if a mark is absent, without one")
	case record.OnlyIf > cacheruntime.IfAbsent:
		return fmt.Errorf("condition %d", record.OnlyIf)
	}
	return nil
}
