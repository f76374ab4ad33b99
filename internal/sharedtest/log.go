package sharedtest

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// Whoever of many is first, one epoch begins; so it does if they all condemn the same.
func testBegunByMany(t *testing.T, s Subject) {
	processes := [2]process{newProcess(t, s.Open), newProcess(t, s.Open)}
	var condemned uint64
	for range 3 {
		var all sync.WaitGroup
		var at [8]cacheruntime.LogPosition
		for i := range at {
			p := processes[i%2]
			all.Go(func() {
				snapshot, err := p.Snapshot(p.ctx, condemned)
				if err != nil {
					t.Error(err)
				}
				at[i] = snapshot.At
			})
		}
		all.Wait()
		if slices.ContainsFunc(at[:], func(p cacheruntime.LogPosition) bool { return p != at[0] }) || at[0].Epoch == condemned {
			t.Fatalf("after epoch %d begin %+v", condemned, at)
		}
		condemned = at[0].Epoch
	}
}

func testPositions(t *testing.T, s Subject) {
	h := newHistory(t, s)
	h.append(0, record(1))
	h.append(0, record(2))
	first := h.positions[0]
	const head, beyond = math.MaxUint64 - 1, math.MaxUint64 - 2 // of the log as it is by then
	for name, from := range map[string]cacheruntime.LogPosition{
		"none":                   {},
		"another epoch":          {Epoch: first.Epoch ^ 1, Number: first.Number, ID: first.ID},
		"another record":         {Epoch: first.Epoch, Number: 2, ID: newID()},
		"another first record":   {Epoch: first.Epoch, Number: 1, ID: newID()},
		"another record at head": {Epoch: first.Epoch, Number: head, ID: newID()},
		"no ID":                  {Epoch: first.Epoch, Number: 2},
		"number 0":               {Epoch: first.Epoch, ID: first.ID},
		"after the head":         {Epoch: first.Epoch, Number: beyond, ID: first.ID},
		"far after the head":     {Epoch: first.Epoch, Number: cacheruntime.MaxLogNumber, ID: first.ID},
		"no number of a log":     {Epoch: first.Epoch, Number: math.MaxUint64, ID: first.ID},
	} {
		switch from.Number {
		case head:
			from.Number = h.state.At.Number
		case beyond:
			from.Number, from.ID = h.state.At.Number+1, h.state.At.ID
		}
		expect(t, "a proof from "+name, cacheruntime.LogReply{Head: h.state.At}, h.next().prove(from))
		r := record(3)
		h.records, h.positions = append(h.records, h.state.add(r)), append(h.positions, h.state.At)
		expect(t, "an append from "+name, cacheruntime.LogReply{Head: h.state.At, Appended: true}, h.next().append(from, r))
		refused := releasing(cacheruntime.IfOutstanding, mark(1))
		expect(t, "a refused append from "+name, cacheruntime.LogReply{Head: h.state.At}, h.next().append(from, refused))
	}
	for from := range h.positions {
		h.check(from)
	}
}

func testTrimmed(t *testing.T, s Subject) {
	p := newProcess(t, s.OpenShort)
	var positions []cacheruntime.LogPosition
	for range 600 {
		positions = append(positions, p.append(cacheruntime.LogPosition{}, record(1)).Head)
	}
	head := positions[599]
	for _, from := range positions[:100] {
		expect(t, "a proof from a position that is trimmed away", cacheruntime.LogReply{Head: head}, p.prove(from))
	}
	for n := range 100 {
		reply := p.prove(positions[599-n])
		if !reply.Known || reply.Head != head || len(reply.Records) != n {
			t.Fatalf("%d before the head: known %v, %d records", n, reply.Known, len(reply.Records))
		}
	}
	expect(t, "what trimmed records add up to", state{At: head, Words: map[uint32]uint64{1: head.Number}}, p.snapshot(0))
}

// Marks begin, are renewed and end, on conditions or none. A record whose condition does
// not hold changes nothing.
func testMarks(t *testing.T, s Subject) {
	h := newHistory(t, s)
	a, b, never, all := mark(7, 1, 2), mark(1, 2, cacheruntime.SharedTableSize-1), mark(1, 4), mark(1)
	all.All = true
	renewed, again := a, b
	renewed.Generation, renewed.Slots, renewed.Lease = 8, []uint32{3}, math.MaxInt64
	again.Slots = []uint32{6}
	swap := func(onlyIf cacheruntime.LogCondition, from, to cacheruntime.LogMark) cacheruntime.LogRecord {
		r := releasing(onlyIf, from)
		r.Mark = to
		return r
	}
	const always, ifAbsent, ifOutstanding = cacheruntime.Always, cacheruntime.IfAbsent, cacheruntime.IfOutstanding
	for _, step := range []struct {
		name     string
		record   cacheruntime.LogRecord
		appended bool
	}{
		{"absent", marking(a, ifAbsent), true},
		{"outstanding", marking(a, ifAbsent), false},
		{"outstanding in another generation", marking(renewed, ifAbsent), false},
		{"outstanding, and ended by the same record", swap(ifAbsent, a, a), false},
		{"another that is absent", marking(b, ifAbsent), true},
		{"a release of one that never was", releasing(ifOutstanding, never), false},
		{"a release in a later generation", releasing(ifOutstanding, renewed), false},
		{"renewed, which invalidates nothing", marking(renewed, always), true},
		{"a release in an earlier generation", releasing(ifOutstanding, a), false},
		{"a release", releasing(ifOutstanding, renewed), true},
		{"a release of one that was", releasing(ifOutstanding, renewed), false},
		{"a release of one that was, on no condition", releasing(always, renewed), true},
		{"absent again", marking(a, ifAbsent), true},
		{"one ends in any generation as another is renewed", swap(always, renewed, b), true},
		{"the same ends and begins", swap(ifOutstanding, b, again), true},
		{"of everything", marking(all, always), true},
		{"releases, also of the same and of what is not there", releasing(always, again, again, never), true},
		{"a release of everything", releasing(ifOutstanding, all), true},
		{"everything", cacheruntime.LogRecord{ID: newID(), All: true}, true},
		{"nothing", record(), true},
	} {
		since := len(h.records) / 2
		if h.append(since, step.record) != step.appended {
			t.Fatalf("%s: the reference is wrong", step.name)
		}
		h.check(since)
	}
}

func testCondemned(t *testing.T, s Subject) {
	h := newHistory(t, s)
	r := record(1)
	r.All, r.Mark = true, mark(3, 2, 4)
	h.append(0, r)
	h.append(0, marking(mark(4, 5), cacheruntime.Always))
	old := h.state.At
	for _, other := range []uint64{0, old.Epoch ^ 1, old.Epoch + 1} {
		expect(t, "the state, as no epoch of it was condemned", h.state, h.next().snapshot(other))
	}
	h.begin(old.Epoch)
	expect(t, "a proof from an epoch that is over", cacheruntime.LogReply{Head: h.state.At}, h.next().prove(old))
	for range 2 {
		expect(t, "the state, as an epoch was condemned that is over", h.state, h.next().snapshot(old.Epoch))
	}
	for _, m := range h.state.Marks { // which the new epoch goes on with
		if h.append(0, marking(m, cacheruntime.IfAbsent)) || !h.append(0, releasing(cacheruntime.IfOutstanding, m)) {
			t.Error("the reference is wrong")
		}
	}
	h.check(0)
}

func testRandomRecords(t *testing.T, s Subject) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	h := newHistory(t, s)
	slots := func() (some []uint32) {
		for range rng.IntN(5) {
			some = append(some, []uint32{rng.Uint32N(8), rng.Uint32N(1000)}[rng.IntN(2)]) // a great table takes its time
		}
		slices.Sort(some)
		return slices.Compact(some)
	}
	var ids [6]cacheruntime.LogID // few, so that they meet
	for i := range ids {
		ids[i] = newID()
	}
	for n := range 250 {
		r := record(slots()...)
		r.All = rng.IntN(30) == 0
		for range rng.IntN(3) {
			r.Release = append(r.Release, cacheruntime.LogRelease{ID: ids[rng.IntN(len(ids))], Generation: rng.Uint64N(3)})
		}
		if rng.IntN(2) == 0 {
			r.Mark = cacheruntime.LogMark{ID: ids[rng.IntN(len(ids))], Generation: rng.Uint64N(3), Slots: slots(), All: rng.IntN(10) == 0, Lease: 1 + time.Duration(rng.Int64N(math.MaxInt64))}
			r.OnlyIf = []cacheruntime.LogCondition{cacheruntime.Always, cacheruntime.IfAbsent}[rng.IntN(2)]
		}
		if len(r.Release) == 1 && rng.IntN(2) == 0 {
			r.OnlyIf = cacheruntime.IfOutstanding
		}
		h.append(max(0, len(h.records)-rng.IntN(5)), r)
		if n%8 == 0 {
			h.check(max(0, len(h.records)-rng.IntN(20)))
		}
		if rng.IntN(80) == 0 {
			h.begin(h.state.At.Epoch)
		}
	}
	h.check(0)
}

func testGreatestRecords(t *testing.T, s Subject) {
	h := newHistory(t, s)
	spread := func(first uint32) (slots []uint32) {
		const step = cacheruntime.SharedTableSize / cacheruntime.MaxLogSlots
		for i := range uint32(cacheruntime.MaxLogSlots) {
			slots = append(slots, first+i*step)
		}
		return slots
	}
	var marks []cacheruntime.LogMark
	for i := range uint32(cacheruntime.MaxLogReleases) {
		marks = append(marks, mark(math.MaxUint64, 2, 1000+i))
		h.append(len(h.records), marking(marks[i], cacheruntime.IfAbsent))
	}
	h.append(len(h.records), record(spread(0)...))
	h.check(len(h.records) - 1)

	r := releasing(cacheruntime.Always, marks...)
	r.Slots, r.Mark = spread(1), mark(1, spread(3)...)
	h.append(len(h.records), r)
	expect(t, "the greatest record, proven", h.reply(len(h.records)-1, false), h.next().prove(h.positions[len(h.records)-1]))
	// With what it ends it invalidates more than MaxLogSlots, so it may count for everything.
	got := h.next().snapshot(0)
	if got.Cleared == h.state.At.Number {
		h.state.Words, h.state.Cleared = got.Words, got.Cleared
	}
	expect(t, "the state after it", h.state, got)

	h.append(len(h.records), releasing(cacheruntime.IfOutstanding, r.Mark))
	h.check(len(h.records))
}

// Whatever many append at once stands in one chain, and every snapshot is what the records
// before it add up to.
func testConcurrentAppends(t *testing.T, s Subject) {
	const appenders, each = 8, 20
	processes := [2]process{newProcess(t, s.Open), newProcess(t, s.Open)}
	start := processes[0].snapshot(0)
	var all sync.WaitGroup
	var told [appenders][]cacheruntime.LogReply
	for i := range appenders {
		p := processes[i%2]
		all.Go(func() {
			at := start.At
			for n := range each {
				r := record(uint32(i), uint32(10+n))
				reply, err := p.Append(p.ctx, at, r)
				if err != nil || !reply.Appended || reply.Head.ID != r.ID || len(reply.Records) == 0 {
					t.Errorf("%+v, %v", reply, err)
					return
				}
				told[i] = append(told[i], reply)
				at = reply.Head
			}
		})
	}
	var snapshots []cacheruntime.LogSnapshot
	for range 10 {
		snapshot, err := processes[0].Snapshot(processes[0].ctx, 0)
		if err != nil {
			t.Error(err)
		}
		snapshots = append(snapshots, snapshot)
	}
	all.Wait()

	// Proven record by record, the log is one chain.
	now := begun(start.At, nil)
	states := map[cacheruntime.LogPosition]state{}
	var chain []cacheruntime.LogRecord
	for {
		for _, snapshot := range snapshots {
			if snapshot.At == now.At {
				expect(t, "a snapshot meanwhile", now, stateOf(t, snapshot))
			}
		}
		states[now.At] = state{}
		reply := processes[1].prove(now.At)
		if !reply.Known {
			t.Fatalf("position %+v is not known", now.At)
		}
		if len(reply.Records) == 0 {
			break
		}
		r := reply.Records[0]
		expect(t, "a record in the chain", now.add(r), r)
		chain = append(chain, r)
	}
	if len(chain) != appenders*each {
		t.Fatalf("%d records", len(chain))
	}
	for _, snapshot := range snapshots {
		if _, ok := states[snapshot.At]; !ok {
			t.Errorf("a snapshot of %+v, which is not in the chain", snapshot.At)
		}
	}
	for _, replies := range told {
		at := start.At
		for _, reply := range replies {
			expect(t, "what was told to one of them", cacheruntime.LogReply{
				Head:     cacheruntime.LogPosition{Epoch: start.At.Epoch, Number: reply.Head.Number, ID: chain[reply.Head.Number-2].ID},
				Known:    true,
				Records:  chain[at.Number-1 : reply.Head.Number-1],
				Appended: true,
			}, reply)
			at = reply.Head
		}
	}
}

// Wait may return at any time, so what is told apart is whether it returns in time.
func testWait(t *testing.T, s Subject) {
	h := newHistory(t, s)
	h.append(0, record(1))
	p := h.processes[0]
	const rounds, each = 10, time.Second // each less than what Wait takes by itself
	within := func(what string, wait func(from cacheruntime.LogPosition)) {
		t.Helper()
		start := time.Now()
		for range rounds {
			wait(h.state.At)
		}
		if took := time.Since(start); took > rounds*each {
			t.Errorf("it took %v until %s, %d times", took, what, rounds)
		}
	}
	within("a record that is there was noticed", func(cacheruntime.LogPosition) {
		if err := p.Wait(p.ctx, h.positions[0]); err != nil {
			t.Error(err)
		}
		if err := p.Wait(p.ctx, cacheruntime.LogPosition{}); err != nil {
			t.Error(err)
		}
	})
	within("a record that came was noticed", func(from cacheruntime.LogPosition) {
		done := make(chan error, 1)
		go func() { done <- p.Wait(p.ctx, from) }()
		select {
		case err := <-done:
			t.Errorf("with no record: %v", err)
			done <- nil
		case <-time.After(20 * time.Millisecond): // it most likely waits by now
		}
		h.processes[1].append(from, record(1))
		if err := <-done; err != nil {
			t.Error(err)
		}
		h.state.At = p.prove(cacheruntime.LogPosition{}).Head
	})
	within("the end of the context was noticed", func(from cacheruntime.LogPosition) {
		ctx, cancel := context.WithTimeout(p.ctx, 20*time.Millisecond)
		defer cancel()
		_ = p.Wait(ctx, from) // whether that is an error is left to it
	})
}

// What was lost is not served: the next use that may change anything begins an epoch, with
// the marks as far as they are there.
func testLoss(t *testing.T, s Subject, loss Loss, by string) {
	h := newHistory(t, s)
	r := record(1)
	r.All, r.Mark = true, mark(3, 2, 4)
	h.append(0, r)
	h.append(0, record(6))
	h.check(0)
	old := h.state.At
	server := h.next().server()
	loss.Lose()
	for _, from := range append(h.positions, cacheruntime.LogPosition{}) {
		expect(t, "a proof", cacheruntime.LogReply{}, h.next().prove(from))
	}
	if loss.Marks {
		clear(h.state.Marks)
	}
	if by == "snapshot" {
		h.begin(0)
	} else {
		next := record(8)
		if by == "refused append" {
			next = releasing(cacheruntime.IfOutstanding, mark(1, 8))
		}
		reply := h.next().append(old, next)
		want := cacheruntime.LogReply{Head: reply.Head}
		h.state = begun(reply.Head, h.state.Marks)
		if by == "append" {
			h.state.At.Number = 1
			h.state.add(next)
			want = cacheruntime.LogReply{Head: h.state.At, Appended: true}
		}
		expect(t, "an append", want, reply)
		expect(t, "the state", h.state, h.next().snapshot(0))
	}
	if h.state.At.Epoch == old.Epoch {
		t.Error("the epoch is the same")
	}
	expect(t, "a proof from the old head", cacheruntime.LogReply{Head: h.state.At}, h.next().prove(old))
	expect(t, "the server, which is the same", server, h.next().server())
}
