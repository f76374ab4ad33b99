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

// What begins an epoch is a record of its own, with number 1.
func testBegunBySnapshot(t *testing.T, s Subject) {
	h := &history{t: t, processes: [2]process{newProcess(t, s.Open), newProcess(t, s.Open)}}
	for range 2 { // the first has not begun one
		expect(t, "a proof without a log", cacheruntime.LogReply{}, h.next().prove(cacheruntime.LogPosition{}))
		expect(t, "a proof without a log", cacheruntime.LogReply{}, h.next().prove(cacheruntime.LogPosition{Epoch: 1, Number: 1, ID: newID()}))
	}
	h.begin(0)
	h.check(0)
	for n := range 3 {
		h.append(0, record(uint32(n), 9))
		h.check(n)
		h.append(len(h.records), record(9))
		h.check(len(h.records))
	}
}

func testBegunByAppend(t *testing.T, s Subject) {
	h := &history{t: t, processes: [2]process{newProcess(t, s.Open), newProcess(t, s.Open)}}
	r := record(3)
	reply := h.next().append(cacheruntime.LogPosition{}, r)
	if reply.Head.Epoch == 0 {
		t.Error("an epoch begins without a number")
	}
	head := cacheruntime.LogPosition{Epoch: reply.Head.Epoch, Number: 2, ID: r.ID}
	expect(t, "the first append", cacheruntime.LogReply{Head: head, Appended: true}, reply)
	expect(t, "the state", state{At: head, Words: map[uint32]uint64{3: 2}}, h.next().snapshot(0))
}

func testBegunByRefusedAppend(t *testing.T, s Subject) {
	p := newProcess(t, s.Open)
	reply := p.append(cacheruntime.LogPosition{}, releasing(cacheruntime.IfOutstanding, mark(1, 3)))
	if reply.Appended || reply.Head.Number != 1 {
		t.Errorf("%+v", reply)
	}
	expect(t, "the state", begun(reply.Head, nil), p.snapshot(0))
}

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
	first, head := h.positions[0], h.state.At
	for name, from := range map[string]cacheruntime.LogPosition{
		"none":                   {},
		"another epoch":          {Epoch: first.Epoch ^ 1, Number: first.Number, ID: first.ID},
		"another record":         {Epoch: first.Epoch, Number: 2, ID: newID()},
		"another first record":   {Epoch: first.Epoch, Number: 1, ID: newID()},
		"another record at head": {Epoch: first.Epoch, Number: 3, ID: newID()},
		"no ID":                  {Epoch: first.Epoch, Number: 2},
		"number 0":               {Epoch: first.Epoch, ID: first.ID},
		"after the head":         {Epoch: first.Epoch, Number: 4, ID: head.ID},
		"far after the head":     {Epoch: first.Epoch, Number: cacheruntime.MaxLogNumber, ID: head.ID},
		"no number of a log":     {Epoch: first.Epoch, Number: math.MaxUint64, ID: head.ID},
	} {
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

// A record whose condition does not hold changes nothing.
func testConditions(t *testing.T, s Subject) {
	h := newHistory(t, s)
	a, b, never := mark(1, 1, 2), mark(1, 2, 3), mark(1, 4)
	renewed, before := a, a
	renewed.Generation, renewed.Slots = 2, []uint32{5}
	both := releasing(cacheruntime.IfAbsent, a)
	both.Mark = renewed
	for _, step := range []struct {
		name     string
		record   cacheruntime.LogRecord
		appended bool
	}{
		{"absent", marking(a, cacheruntime.IfAbsent), true},
		{"outstanding", marking(a, cacheruntime.IfAbsent), false},
		{"outstanding in another generation", marking(renewed, cacheruntime.IfAbsent), false},
		{"outstanding, and ended by the same record", both, false},
		{"another that is absent", marking(b, cacheruntime.IfAbsent), true},
		{"a release of one that never was", releasing(cacheruntime.IfOutstanding, never), false},
		{"a release in a later generation", releasing(cacheruntime.IfOutstanding, renewed), false},
		{"renewed", marking(renewed, cacheruntime.Always), true},
		{"a release in an earlier generation", releasing(cacheruntime.IfOutstanding, before), false},
		{"a release", releasing(cacheruntime.IfOutstanding, renewed), true},
		{"a release of one that was", releasing(cacheruntime.IfOutstanding, renewed), false},
		{"a release of the other", releasing(cacheruntime.IfOutstanding, b), true},
		{"absent again", marking(a, cacheruntime.IfAbsent), true},
	} {
		step.record.Slots = []uint32{7}
		since := len(h.records) / 2
		if h.append(since, step.record) != step.appended {
			t.Fatalf("%s: the reference is wrong", step.name)
		}
		h.check(since)
	}
}

func testMarks(t *testing.T, s Subject) {
	h := newHistory(t, s)
	a, b, all := mark(7, 1, 2), mark(1, 2, cacheruntime.SharedTableSize-1), mark(1)
	all.All = true
	renewed := a
	renewed.Generation, renewed.Slots, renewed.Lease = 8, []uint32{3}, math.MaxInt64
	replaced := releasing(cacheruntime.Always, renewed)
	replaced.Mark = b
	again := b
	again.Slots = []uint32{6}
	swap := releasing(cacheruntime.Always, b)
	swap.Mark = again
	cleared := record()
	cleared.All = true
	for _, r := range []cacheruntime.LogRecord{
		marking(a, cacheruntime.Always),
		marking(renewed, cacheruntime.Always),      // slots 1 and 2 are invalidated by nothing
		releasing(cacheruntime.Always, mark(1, 9)), // that is not there
		replaced, // one ends as another begins
		swap,     // the same ends and begins
		releasing(cacheruntime.Always, again, again, all), // twice, and before it begins
		marking(all, cacheruntime.Always),
		cleared,
		releasing(cacheruntime.Always, all),
		record(), // of nothing
	} {
		h.append(0, r)
		h.check(len(h.records))
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
	for n := range 400 {
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
func testLoss(t *testing.T, s Subject, loss Loss, byAppend bool) {
	h := newHistory(t, s)
	r := record(1)
	r.All, r.Mark = true, mark(3, 2, 4)
	h.append(0, r)
	h.append(0, record(6))
	h.check(0)
	old := h.state
	loss.Lose()
	for _, from := range append(h.positions, cacheruntime.LogPosition{}) {
		expect(t, "a proof", cacheruntime.LogReply{}, h.next().prove(from))
	}
	if loss.Marks {
		clear(h.state.Marks)
	}
	if !byAppend {
		h.begin(0)
		if h.state.At.Epoch == old.At.Epoch {
			t.Error("the epoch is the same")
		}
		h.check(0)
		return
	}
	next := record(8)
	reply := h.next().append(old.At, next)
	if reply.Head.Epoch == old.At.Epoch {
		t.Error("the epoch is the same")
	}
	head := cacheruntime.LogPosition{Epoch: reply.Head.Epoch, Number: 2, ID: next.ID}
	expect(t, "an append", cacheruntime.LogReply{Head: head, Appended: true}, reply)
	expect(t, "the state", state{At: head, Words: map[uint32]uint64{8: 2}, Marks: h.state.Marks}, h.next().snapshot(0))
	expect(t, "a proof from the old head", cacheruntime.LogReply{Head: head}, h.next().prove(old.At))
}
