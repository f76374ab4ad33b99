// Package sharedtest tests what a [cacheruntime.Shared] promises, by its methods alone.
// Every implementation runs the same tests, so that what is proven of caches that share
// one of them does not rest on what another one does not do.
package sharedtest

import (
	"context"
	"crypto/rand"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// A Subject is an implementation, with nothing in it yet.
type Subject struct {
	// Open returns what one more process has of it. The implementation closes it when the
	// test has ended, if need be.
	Open func(t *testing.T) cacheruntime.Shared
	// OpenShort is like Open. What is appended by it leaves at least the last 100 records in
	// the log, and at most 500.
	OpenShort func(t *testing.T) cacheruntime.Shared
	// Losses are what can happen to it, each of them after which the log does not fit its
	// state any more.
	Losses []Loss
}

// A Loss is that of a part of what an implementation keeps, or of everything.
type Loss struct {
	Name  string
	Lose  func()
	Marks bool // are lost with it
}

// limit is how long a test may take. A machine may be busy, and have the race detector on.
const limit = 2 * time.Minute

// Test runs all tests, each with a subject of its own.
func Test(t *testing.T, start func(t *testing.T) Subject) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s Subject)
	}{
		{"begun by many", testBegunByMany},
		{"positions", testPositions},
		{"trimmed", testTrimmed},
		{"marks", testMarks},
		{"condemned", testCondemned},
		{"random records", testRandomRecords},
		{"greatest records", testGreatestRecords},
		{"concurrent appends", testConcurrentAppends},
		{"wait", testWait},
		{"entries", testEntries},
		{"locks", testLocks},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, start(t)) })
	}
	for i, loss := range start(t).Losses {
		for _, by := range []string{"append", "refused append", "snapshot"} {
			t.Run("loss of "+loss.Name+"/"+by, func(t *testing.T) {
				s := start(t)
				testLoss(t, s, s.Losses[i], by)
			})
		}
	}
}

// A process is one that uses a subject. Its methods fail the test if there is an error, or
// an answer that is not consistent in itself.
type process struct {
	t   *testing.T
	ctx context.Context
	cacheruntime.Shared
}

func newProcess(t *testing.T, open func(t *testing.T) cacheruntime.Shared) process {
	// With a deadline no call ends before it, however slow the machine is.
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return process{t, ctx, open(t)}
}

func (p process) append(from cacheruntime.LogPosition, r cacheruntime.LogRecord) cacheruntime.LogReply {
	p.t.Helper()
	reply, err := p.Append(p.ctx, from, r)
	if err != nil {
		p.t.Fatal(err)
	}
	return reply
}

func (p process) prove(from cacheruntime.LogPosition) cacheruntime.LogReply {
	p.t.Helper()
	reply, err := p.Prove(p.ctx, from)
	if err != nil {
		p.t.Fatal(err)
	}
	return reply
}

func (p process) snapshot(condemned uint64) state {
	p.t.Helper()
	snapshot, err := p.Snapshot(p.ctx, condemned)
	if err != nil {
		p.t.Fatal(err)
	}
	return stateOf(p.t, snapshot)
}

// server identifies who answers.
func (p process) server() string {
	p.t.Helper()
	snapshot, err := p.Snapshot(p.ctx, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	if snapshot.Server == "" {
		p.t.Fatal("nothing tells who has answered")
	}
	return snapshot.Server
}

// expect compares what there is with what there has to be. Nil is like nothing.
func expect(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// A state is what records add up to.
type state struct {
	At      cacheruntime.LogPosition
	Words   map[uint32]uint64 // but those that are 0
	Cleared uint64
	Marks   map[cacheruntime.LogID]cacheruntime.LogMark
}

func stateOf(t *testing.T, snapshot cacheruntime.LogSnapshot) state {
	t.Helper()
	s := state{At: snapshot.At, Words: map[uint32]uint64{}, Cleared: snapshot.Cleared, Marks: map[cacheruntime.LogID]cacheruntime.LogMark{}}
	if len(snapshot.Words) > cacheruntime.SharedTableSize {
		t.Fatalf("%d words", len(snapshot.Words))
	}
	for slot, word := range snapshot.Words {
		if word != 0 {
			s.Words[uint32(slot)] = word
		}
	}
	for _, m := range snapshot.Marks {
		if _, ok := s.Marks[m.ID]; ok {
			t.Fatalf("mark %x is outstanding twice", m.ID)
		}
		s.Marks[m.ID] = m
	}
	return s
}

// begun is the state in which an epoch begins.
func begun(at cacheruntime.LogPosition, marks map[cacheruntime.LogID]cacheruntime.LogMark) state {
	s := state{At: at, Words: map[uint32]uint64{}, Marks: map[cacheruntime.LogID]cacheruntime.LogMark{}}
	maps.Copy(s.Marks, marks)
	return s
}

// holds reports whether a record is appended.
func (s *state) holds(r cacheruntime.LogRecord) bool {
	switch r.OnlyIf {
	case cacheruntime.IfOutstanding:
		m, ok := s.Marks[r.Release[0].ID]
		return ok && m.Generation == r.Release[0].Generation
	case cacheruntime.IfAbsent:
		_, ok := s.Marks[r.Mark.ID]
		return !ok
	}
	return true
}

// add adds the record after the head, and returns it as it is in the log.
func (s *state) add(r cacheruntime.LogRecord) cacheruntime.LogRecord {
	r.Number, r.Previous, r.OnlyIf = s.At.Number+1, s.At.ID, cacheruntime.Always
	s.At = cacheruntime.LogPosition{Epoch: s.At.Epoch, Number: r.Number, ID: r.ID}
	invalidate := func(slots []uint32, all bool) {
		for _, slot := range slots {
			s.Words[slot] = r.Number
		}
		if all {
			s.Cleared = r.Number
		}
	}
	invalidate(r.Slots, r.All)
	for _, release := range r.Release {
		invalidate(s.Marks[release.ID].Slots, s.Marks[release.ID].All)
		delete(s.Marks, release.ID)
	}
	if r.Mark.ID != (cacheruntime.LogID{}) {
		s.Marks[r.Mark.ID] = r.Mark
	}
	return r
}

// A history is an epoch as it has to be by what was appended, which two processes do in turn.
type history struct {
	t         *testing.T
	processes [2]process
	turn      int
	positions []cacheruntime.LogPosition // of all records
	records   []cacheruntime.LogRecord   // after the first position
	state     state
}

func newHistory(t *testing.T, s Subject) *history {
	t.Helper()
	h := &history{t: t, processes: [2]process{newProcess(t, s.Open), newProcess(t, s.Open)}}
	for _, from := range []cacheruntime.LogPosition{{}, {Epoch: 1, Number: 1, ID: newID()}, {}} {
		expect(t, "a proof without a log", cacheruntime.LogReply{}, h.next().prove(from)) // nor has one begun
	}
	h.begin(0)
	return h
}

// next returns the process whose turn it is.
func (h *history) next() process {
	h.turn++
	return h.processes[h.turn%2]
}

// begin begins an epoch, if there is none or that one is the present one.
func (h *history) begin(condemned uint64) {
	h.t.Helper()
	got := h.next().snapshot(condemned)
	if at := got.At; at.Epoch == 0 || at.Epoch == condemned || at.Number != 1 || at.ID == (cacheruntime.LogID{}) {
		h.t.Fatalf("an epoch begins at %+v", at)
	}
	h.state = begun(got.At, h.state.Marks)
	h.positions, h.records = []cacheruntime.LogPosition{got.At}, nil
	expect(h.t, "the state in which an epoch begins", h.state, got)
}

// append appends a record, and reports whether it was appended as the reference says.
// From is the place of a position among all.
func (h *history) append(from int, r cacheruntime.LogRecord) bool {
	h.t.Helper()
	appended := h.state.holds(r)
	if appended {
		h.records = append(h.records, h.state.add(r))
		h.positions = append(h.positions, h.state.At)
	}
	reply := h.next().append(h.positions[from], r)
	expect(h.t, "the reply to an append", h.reply(from, appended), reply)
	return appended
}

func (h *history) reply(from int, appended bool) cacheruntime.LogReply {
	return cacheruntime.LogReply{Head: h.state.At, Known: true, Records: h.records[from:], Appended: appended}
}

// check compares proof and state with what they have to be.
func (h *history) check(from int) {
	h.t.Helper()
	expect(h.t, "a proof", h.reply(from, false), h.next().prove(h.positions[from]))
	expect(h.t, "the state", h.state, h.next().snapshot(0))
}

func newID() (id cacheruntime.LogID) {
	rand.Read(id[:]) // never fails
	return id
}

func record(slots ...uint32) cacheruntime.LogRecord {
	return cacheruntime.LogRecord{ID: newID(), Slots: slots}
}

func mark(generation uint64, slots ...uint32) cacheruntime.LogMark {
	return cacheruntime.LogMark{ID: newID(), Generation: generation, Slots: slots, Lease: 5 * time.Second}
}

// marking, releasing return records that say no more than that.
func marking(m cacheruntime.LogMark, onlyIf cacheruntime.LogCondition) cacheruntime.LogRecord {
	return cacheruntime.LogRecord{ID: newID(), Mark: m, OnlyIf: onlyIf}
}

func releasing(onlyIf cacheruntime.LogCondition, marks ...cacheruntime.LogMark) cacheruntime.LogRecord {
	r := cacheruntime.LogRecord{ID: newID(), OnlyIf: onlyIf}
	for _, m := range marks {
		r.Release = append(r.Release, cacheruntime.LogRelease{ID: m.ID, Generation: m.Generation})
	}
	return r
}
