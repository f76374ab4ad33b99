package cacheruntime_test

import (
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/proof/history"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// told is that from some time on reads are to see a version, if they are in other
// processes D later.
type told struct {
	at      time.Time
	version int64
}

// A tally is how much there was to be judged, in several worlds.
type tally struct {
	worlds       int
	hits, writes uint64
}

// add adds what there was in a world until all worked again: hits may be stale, loads
// are not.
func (t *tally) add(w *world) {
	t.worlds++
	for _, p := range w.opened {
		stats := p.cache.Stats()
		t.hits += stats.Hits + stats.SharedHits
	}
	for _, version := range w.version {
		t.writes += uint64(version)
	}
}

// check fails the test if there was so little that it shows nothing. A few worlds may be
// ones in which hardly anything worked.
func (t *tally) check(test *testing.T) {
	test.Logf("%d worlds, %d hits, %d writes", t.worlds, t.hits, t.writes)
	if n := uint64(t.worlds); n >= 10 && (t.hits < 10*n || t.writes < 30*n) {
		test.Errorf("in %d worlds there were only %d hits, and %d writes", n, t.hits, t.writes)
	}
}

// judge judges the end.
func (w *world) judge(processes []*process) {
	ctx := w.t.Context()
	if w.untold {
		for id := range int64(rows) {
			processes[0].touch(ctx, id)
		}
		<-time.After(w.kind.bound + time.Second)
	}
	for _, p := range processes {
		if stats := p.cache.Stats(); stats.Shared.Queued != 0 {
			w.fail("%s: afterwards, %d writes are yet to be delivered", p.name, stats.Shared.Queued)
		}
		for id := range int64(rows) {
			for again := range 2 {
				ctx, trace := cacheruntime.WithTrace(ctx)
				call := w.begin(p.name, "Get(%d)", id)
				row, err := p.get(ctx, id)
				if err != nil || row[0] != w.version[id] {
					w.fail("%s: afterwards, row %d: %v, %v; want %d", p.name, id, row, err, w.version[id])
					return
				}
				call.Saw(int(id), row[0])
				call.Return()
				outcome := trace.Events()[0].Outcome
				if again > 0 && outcome != cacheruntime.Hit {
					w.fail("%s: afterwards, row %d is not served from memory: %s\n%+v\nmarks: %v", p.name, id, trace, p.cache.Stats().Shared, w.shared.Marks())
				}
			}
		}
	}
	if marks := w.shared.Marks(); len(marks) > 0 {
		w.fail("afterwards, there are marks: %v", marks)
	}
	if w.kind.guarded && w.kind.bound == 0 && !w.kind.lossy {
		if err := w.history.Unordered(); err != nil {
			w.fail("%v", err)
		}
	}
}

// least is what a read that begins now must see at least.
func (p *process) least() (least [rows]int64) {
	p.mu.Lock()
	least = p.own
	p.mu.Unlock()
	w, now := p.world, time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.told {
		for _, told := range w.told[id] {
			if w.kind.bound == 0 || now.Sub(told.at) > w.kind.bound {
				least[id] = max(least[id], told.version)
			}
		}
	}
	return least
}

// judgeRead judges what a read saw that began at a time, when it was to see at least
// those versions.
func (p *process) judgeRead(client string, call *history.Call, seen map[int64]int64, least [rows]int64, began time.Time) {
	for id := range int64(rows) {
		version, ok := seen[id]
		if !ok {
			continue
		}
		call.Saw(int(id), version)
		if version < least[id] {
			call.Return()
			p.fail("%s, which began at %v: STALE: row %d as of version %d, and %d is to be seen", client, began.Sub(p.began), id, version, least[id])
			return
		}
	}
	call.Return()
	// Whatever it waits for has a time of its own: proofs, entries, locks. But who
	// learns of a few records at a time may run after the others for long.
	if took := time.Since(began); took > 3*time.Second && !p.bitByBit {
		p.fail("%s: a read took %v", client, took)
	}
}

// returned is called when a write has returned. This process is to see it from now
// on, the others when they are told: with a guarded write they were told before.
func (p *process) returned(c *change) {
	p.mu.Lock()
	for id, version := range c.done {
		p.own[id] = max(p.own[id], version)
	}
	p.mu.Unlock()
	if p.kind.guarded && !p.kind.lossy || p.cache.Stats().Shared.Queued == 0 {
		p.tell(c)
	} else {
		p.tellLater(c)
	}
	c.call.Return()
}

// landed is called when a change has been made that came late. If the log had been
// told that it is in doubt, it is marked.
func (p *process) landed(c *change) {
	defer c.call.Return()
	p.mu.Lock()
	for id, version := range c.done {
		p.own[id] = max(p.own[id], version)
	}
	p.mu.Unlock()
	if p.kind.lossy {
		return // others may not know of the mark
	}
	if p.kind.guarded || p.cache.Stats().Shared.Queued == 0 {
		p.tell(c)
	} else {
		p.tellLater(c)
	}
}

// tell makes all processes answerable for a change.
func (w *world) tell(c *change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, version := range c.done {
		w.told[id] = append(w.told[id], told{time.Now(), version})
	}
}

// tellLater does so when nothing is left to be delivered.
func (p *process) tellLater(c *change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.queued = append(p.queued, c); len(p.queued) == 1 {
		p.late.Go(p.tellQueued)
	}
}

// tellQueued tells of the changes that wait for it. Those that cannot be delivered within
// some seconds are not told of: nothing is asked of others until the end.
func (p *process) tellQueued() {
	const every, patience = 25 * time.Millisecond, 5 * time.Second
	for last := time.Now(); time.Since(last) < patience; {
		p.mu.Lock()
		n := len(p.queued)
		p.mu.Unlock()
		<-time.After(every)
		if p.cache.Stats().Shared.Queued > 0 {
			continue
		}
		p.mu.Lock()
		delivered := p.queued[:n]
		p.queued = p.queued[n:]
		n = len(p.queued)
		p.mu.Unlock()
		for _, c := range delivered {
			p.tell(c)
		}
		if n == 0 {
			return
		}
		last = time.Now()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queued = nil
}
