package cacheruntime

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A randomFault is what goes wrong between caches and their log, by chance.
type randomFault struct {
	mu    sync.Mutex
	rng   *rand.Rand
	quiet bool
}

func (f *randomFault) chance(p float64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.quiet && f.rng.Float64() < p
}

// delay lets some time pass, mostly little.
func (f *randomFault) delay() {
	f.mu.Lock()
	d := time.Duration(f.rng.Int64N(int64(3 * time.Millisecond)))
	if f.rng.IntN(20) == 0 {
		d *= 200
	}
	if f.quiet {
		d = 0
	}
	f.mu.Unlock()
	if d > 0 {
		advance(d)
	}
}

// disturb puts a tier into the hands of chance.
func (f *randomFault) disturb(m *memoryTier) {
	log := func(do func() LogReply) (LogReply, error) {
		f.delay()
		if f.chance(0.02) {
			return LogReply{}, errDown
		}
		if f.chance(0.005) {
			return LogReply{}, fmt.Errorf("by chance: %w", ErrMalformed)
		}
		reply := do()
		f.delay()
		if f.chance(0.02) {
			return LogReply{}, errDown
		}
		if n := len(reply.Records); n > 1 && f.chance(0.5) {
			reply.Records = reply.Records[:1+n/2]
		}
		return reply, nil
	}
	store(&m.onAppend, func(_ LogRecord, do func() LogReply) (LogReply, error) { return log(do) })
	store(&m.onProve, func(do func() LogReply) (LogReply, error) {
		if f.chance(0.01) {
			return LogReply{}, nil
		}
		return log(do)
	})
	store(&m.onSnapshot, func(_ uint64, do func() LogSnapshot) (LogSnapshot, error) {
		f.delay()
		s := do()
		f.delay()
		if f.chance(0.05) {
			return LogSnapshot{}, errDown
		}
		return s, nil
	})
}

// Whatever goes wrong on the way, no read of a process misses what this process has
// written before, nor what another one has written, and delivered, longer ago than the
// bound. When it is over every process is current again, and serves hits.
func TestNothingStaleUnderRandomFaults(t *testing.T) {
	for seed := range uint64(1) {
		for _, bound := range []time.Duration{0, 100 * time.Millisecond, time.Second} {
			t.Run(fmt.Sprint(bound, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { randomRun(t, seed, bound) })
			})
		}
	}
}

func randomRun(t *testing.T, seed uint64, bound time.Duration) {
	const processes, rows, lasts = 3, 2, 20 * time.Second
	f := &randomFault{rng: rand.New(rand.NewPCG(seed, uint64(bound)))}
	m := newMemoryLog()
	var all []*posts
	for range processes {
		tier := &memoryTier{memoryLog: m}
		f.disturb(tier)
		opts := []Option{WithShared(tier), WithMaxStaleness(bound)}
		if seed%2 == 1 {
			opts = append(opts, WithSharedFlights(50*time.Millisecond))
		}
		r := newPosts(t, nil, opts...)
		r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
		r.enter = func(context.Context, int64) { f.delay() }
		r.leave = r.enter
		all = append(all, r)
	}

	type version struct {
		number, by int
		returned   time.Time
		delivered  bool
	}
	var mu sync.Mutex
	last := make([]int, rows)          // numbers of versions so far
	history := make([][]version, rows) // of those whose writes have returned
	var writing [rows]chan struct{}    // versions of a row are written one after the other
	set := func(row, number int) {
		for _, r := range all {
			r.set(post{ID: int64(row), Title: strconv.Itoa(number)})
		}
	}
	for row := range rows {
		writing[row] = make(chan struct{}, 1)
		set(row, 0)
	}
	// least is the version that a read which begins now must not be older than.
	least := func(row, by int) int {
		mu.Lock()
		defer mu.Unlock()
		least := 0
		for _, v := range history[row] {
			if v.by == by || v.delivered && time.Since(v.returned) > bound {
				least = max(least, v.number)
			}
			if bound == 0 && v.delivered {
				least = max(least, v.number)
			}
		}
		return least
	}

	ctx := t.Context()
	end := time.Now().Add(lasts)
	var group sync.WaitGroup
	for by, r := range all {
		for range 3 {
			group.Go(func() {
				for time.Now().Before(end) {
					f.delay()
					row := 0
					if f.chance(0.5) {
						row = 1
					}
					want := least(row, by)
					got, err := strconv.Atoi(r.title(ctx, int64(row)))
					if err != nil || got < want {
						t.Errorf("process %d, row %d: version %d (%v), want at least %d", by, row, got, err, want)
					}
				}
			})
		}
		group.Go(func() {
			for time.Now().Before(end) {
				advance(time.Duration(20+10*by) * time.Millisecond)
				row := by % rows
				writing[row] <- struct{}{}
				mu.Lock()
				last[row]++
				number := last[row]
				mu.Unlock()
				f.delay()
				set(row, number)
				<-writing[row]
				f.delay()
				err := r.cache.Invalidate(ctx, postTag(int64(row)))
				mu.Lock()
				history[row] = append(history[row], version{number, by, time.Now(), err == nil})
				mu.Unlock()
			}
		})
	}
	group.Go(func() {
		for time.Now().Before(end) {
			advance(3 * time.Second)
			m.flush()
		}
	})
	group.Wait()

	f.mu.Lock()
	f.quiet = true
	f.mu.Unlock()
	settled(3 * time.Second)
	for by, r := range all {
		r.expectShared(t, fmt.Sprint("process ", by, " afterwards"), func(s SharedStats) bool { return s.Current && s.Queued == 0 })
		for row := range int64(rows) {
			r.expectTitle(t, ctx, row, strconv.Itoa(last[row]))
			hits := r.cache.Stats().Hits
			r.expectTitle(t, ctx, row, strconv.Itoa(last[row]))
			if r.cache.Stats().Hits != hits+1 {
				t.Errorf("process %d, row %d: no hit", by, row)
			}
		}
		if s := r.cache.Stats(); s.Hits < 50 {
			t.Errorf("process %d: %d hits, which shows little", by, s.Hits)
		}
	}
	if testing.Verbose() {
		t.Log(all[0].cache.Stats())
	}
}
