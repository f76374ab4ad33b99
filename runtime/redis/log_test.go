package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	mathrand "math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

func newID() (id cacheruntime.LogID) {
	rand.Read(id[:])
	return id
}

func record(slots ...uint32) cacheruntime.LogRecord {
	return cacheruntime.LogRecord{ID: newID(), Slots: slots}
}

func mark(slots ...uint32) cacheruntime.LogMark {
	return cacheruntime.LogMark{ID: newID(), Generation: 1, Slots: slots, Lease: 5 * time.Second}
}

func mustAppend(t testing.TB, tier *Tier, from cacheruntime.LogPosition, r cacheruntime.LogRecord) cacheruntime.LogReply {
	t.Helper()
	reply, err := tier.Append(t.Context(), from, r)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func mustProve(t testing.TB, tier *Tier, from cacheruntime.LogPosition) cacheruntime.LogReply {
	t.Helper()
	reply, err := tier.Prove(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func mustSnapshot(t testing.TB, tier *Tier, condemned uint64) cacheruntime.LogSnapshot {
	t.Helper()
	s, err := tier.Snapshot(t.Context(), condemned)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(s.Marks, func(a, b cacheruntime.LogMark) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return s
}

func after(p cacheruntime.LogPosition, r cacheruntime.LogRecord) cacheruntime.LogPosition {
	return cacheruntime.LogPosition{Epoch: p.Epoch, Number: p.Number + 1, ID: r.ID}
}

// A fold is what records add up to, worked out apart from Redis.
type fold struct {
	at      cacheruntime.LogPosition
	words   map[uint32]uint64
	cleared uint64
	marks   map[cacheruntime.LogID]cacheruntime.LogMark
	records []cacheruntime.LogRecord // of the epoch, after the first
	start   cacheruntime.LogPosition
}

func (f *fold) append(r cacheruntime.LogRecord) (cacheruntime.LogRecord, bool) {
	switch r.OnlyIf {
	case cacheruntime.IfOutstanding:
		if m, ok := f.marks[r.Release[0].ID]; !ok || m.Generation != r.Release[0].Generation {
			return r, false
		}
	case cacheruntime.IfAbsent:
		if _, ok := f.marks[r.Mark.ID]; ok {
			return r, false
		}
	}
	r.OnlyIf = cacheruntime.Always
	r.Number, r.Previous = f.at.Number+1, f.at.ID
	f.at = after(f.at, r)
	slots, all := slices.Clone(r.Slots), r.All
	for _, release := range r.Release {
		slots = append(slots, f.marks[release.ID].Slots...)
		all = all || f.marks[release.ID].All
		delete(f.marks, release.ID)
	}
	for _, slot := range slots {
		f.words[slot] = r.Number
	}
	if all {
		f.cleared = r.Number
	}
	if r.Mark.ID != (cacheruntime.LogID{}) {
		f.marks[r.Mark.ID] = r.Mark
	}
	f.records = append(f.records, r)
	return r, true
}

func (f *fold) position(i int) cacheruntime.LogPosition {
	if i == 0 {
		return f.start
	}
	return cacheruntime.LogPosition{Epoch: f.at.Epoch, Number: f.records[i-1].Number, ID: f.records[i-1].ID}
}

// identity is that of a server in its present role.
func identity(s *redistest.Server) string { return s.Info("run_id") + s.Info("master_replid") }

// check compares a snapshot with what the records add up to.
func (f *fold) check(t *testing.T, got cacheruntime.LogSnapshot) {
	t.Helper()
	want := cacheruntime.LogSnapshot{At: f.at, Cleared: f.cleared, Server: got.Server}
	for _, m := range f.marks {
		want.Marks = append(want.Marks, m)
	}
	slices.SortFunc(want.Marks, func(a, b cacheruntime.LogMark) int { return slices.Compare(a.ID[:], b.ID[:]) })
	raised := 0
	for _, word := range got.Words {
		if word != 0 {
			raised++
		}
	}
	if raised != len(f.words) {
		t.Errorf("%d words are raised, want %d", raised, len(f.words))
	}
	for slot, word := range f.words {
		if int(slot) >= len(got.Words) || got.Words[slot] != word {
			t.Errorf("slot %d is not %d", slot, word)
		}
	}
	got.Words = nil
	if diff := cmp.Diff(want, got, equateEmpty); diff != "" {
		t.Fatalf("snapshot (-want +got):\n%s", diff)
	}
}

// Whatever is appended, records come back as they were, and the state is what they add up
// to.
func TestSnapshotIsWhatRecordsAddUpTo(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tiers := []*Tier{open(t, s), open(t, s)}
	seed := mathrand.Uint64()
	t.Logf("seed %d", seed)
	random := mathrand.New(mathrand.NewPCG(seed, 0))

	first := mustSnapshot(t, tiers[0], 0)
	if first.At.Number != 1 || len(first.Words) != 0 || len(first.Marks) != 0 || first.Cleared != 0 {
		t.Fatalf("an empty log begins with %+v", first)
	}
	f := &fold{at: first.At, start: first.At, words: make(map[uint32]uint64), marks: make(map[cacheruntime.LogID]cacheruntime.LogMark)}
	var known []cacheruntime.LogRelease // marks that there are or were

	slots := func() []uint32 {
		var some []uint32
		for range random.IntN(4) {
			some = append(some, []uint32{0, 1, uint32(random.IntN(64)), cacheruntime.SharedTableSize - 1, uint32(random.IntN(cacheruntime.SharedTableSize))}[random.IntN(5)])
		}
		slices.Sort(some)
		return slices.Compact(some)
	}
	for range 400 {
		r := record(slots()...)
		r.All = random.IntN(30) == 0
		if random.IntN(3) == 0 {
			r.Mark = mark(slots()...)
			r.Mark.Generation = random.Uint64()
			r.Mark.Lease = time.Duration(1 + random.Int64N(math.MaxInt64))
			r.Mark.All = random.IntN(10) == 0
			if len(known) > 0 && random.IntN(2) == 0 {
				r.Mark.ID = known[random.IntN(len(known))].ID // renewed, or back again
			}
			known = append(known, cacheruntime.LogRelease{ID: r.Mark.ID, Generation: r.Mark.Generation})
			if random.IntN(3) == 0 {
				r.OnlyIf = cacheruntime.IfAbsent
			}
		} else if len(known) > 0 {
			for range random.IntN(3) {
				r.Release = append(r.Release, known[random.IntN(len(known))])
			}
			if len(r.Release) == 1 && random.IntN(2) == 0 {
				r.OnlyIf = cacheruntime.IfOutstanding
			}
		}

		since := max(0, len(f.records)-random.IntN(20))
		from := f.position(since)
		want, appended := f.append(r)
		reply := mustAppend(t, tiers[random.IntN(2)], from, r)
		if reply.Appended != appended || !reply.Known || reply.Head != f.at {
			t.Fatalf("%+v was answered by %+v, want appended %v and head %+v", want, reply, appended, f.at)
		}
		if len(f.records[since:])+len(reply.Records) > 0 && !reflect.DeepEqual(f.records[since:], reply.Records) {
			t.Fatalf("records after %d (-want +got):\n%s", from.Number, cmp.Diff(f.records[since:], reply.Records))
		}
		if random.IntN(40) == 0 {
			f.check(t, mustSnapshot(t, tiers[random.IntN(2)], 0))
		}
		if random.IntN(10) == 0 && len(f.records) > 0 {
			since := random.IntN(len(f.records))
			reply := mustProve(t, tiers[random.IntN(2)], f.position(since))
			want := cacheruntime.LogReply{Head: f.at, Known: true, Records: f.records[since:]}
			if !reflect.DeepEqual(want, reply) {
				t.Fatalf("proof (-want +got):\n%s", cmp.Diff(want, reply))
			}
		}
	}
	f.check(t, mustSnapshot(t, tiers[0], 0))
}

// equateEmpty compares lists by what is in them.
var equateEmpty = cmp.FilterValues(func(a, b any) bool {
	return empty(a) && empty(b)
}, cmp.Ignore())

func empty(v any) bool {
	switch v := v.(type) {
	case []uint32:
		return len(v) == 0
	case []uint64:
		return len(v) == 0
	case []cacheruntime.LogRecord:
		return len(v) == 0
	case []cacheruntime.LogMark:
		return len(v) == 0
	case []cacheruntime.LogRelease:
		return len(v) == 0
	}
	return false
}

// A process that has fallen behind gets the records in parts, or learns that they are
// gone.
func TestRepliesAndTheLogAreBounded(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s)
	start := mustSnapshot(t, tier, 0).At
	var appending sync.WaitGroup
	for range 20 {
		appending.Go(func() {
			for range 60 {
				if _, err := tier.Append(t.Context(), cacheruntime.LogPosition{}, record(1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	appending.Wait()
	reply := mustProve(t, tier, start)
	at := reply.Head
	early := cacheruntime.LogPosition{Epoch: at.Epoch, Number: reply.Records[3].Number, ID: reply.Records[3].ID}
	if n := len(reply.Records); !reply.Known || at.Number != 1201 || n < maxRecords || n > maxRecords+100 {
		t.Errorf("%d records of 1200, head %+v", n, at)
	}
	r := record(2)
	reply = mustAppend(t, tier, start, r)
	at = after(at, r)
	if last := reply.Records[len(reply.Records)-1]; !reply.Appended || reply.Head != at || last.ID == r.ID {
		t.Errorf("head %+v, want %+v; the last record is %d", reply.Head, at, last.Number)
	}
	seen := start
	for seen != at {
		reply := mustProve(t, tier, seen)
		if len(reply.Records) == 0 {
			t.Fatalf("no records after %d", seen.Number)
		}
		last := reply.Records[len(reply.Records)-1]
		seen = cacheruntime.LogPosition{Epoch: seen.Epoch, Number: last.Number, ID: last.ID}
	}

	many := make([]uint32, 2000) // 8 KB: two hundred of them are more than a reply may have
	for i := range many {
		many[i] = uint32(i * 3)
	}
	from := at
	for range 220 {
		mustAppend(t, tier, at, record(many...))
	}
	if n := len(mustProve(t, tier, from).Records); n == 0 || n > 200 {
		t.Errorf("%d records of 8 KB in one reply", n)
	}

	short := open(t, s, func(o *Options) { o.LogLength = 100 })
	from = mustAppend(t, short, at, record(3)).Head
	mustAppend(t, short, at, record(4))
	if n := s.Do("XLEN", "{test}:log").(int64); n < 100 || n > 300 {
		t.Errorf("the log has %d records, want about 100", n)
	}
	if reply := mustProve(t, tier, early); reply.Known || len(reply.Records) > 0 {
		t.Errorf("a position that was trimmed is known: %+v", reply)
	}
	if reply := mustProve(t, tier, from); !reply.Known {
		t.Error("a position of the last hundred is not known")
	}
}

// Too many slots would hold up Redis for all; everything is invalidated instead.
func TestTooManySlotsAreEverything(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s)
	at := mustSnapshot(t, tier, 0).At
	many := make([]uint32, maxSlots+1)
	for i := range many {
		many[i] = uint32(i)
	}
	r := record(many...)
	r.Mark = mark(many...)
	reply := mustAppend(t, tier, at, r)
	if got := reply.Records[0]; !got.All || !got.Mark.All || len(got.Slots) > 0 || len(got.Mark.Slots) > 0 {
		t.Errorf("%d slots and a mark of as many became %+v", len(many), got)
	}
	if got := mustSnapshot(t, tier, 0); got.Cleared != 2 || len(got.Words) != 0 || !got.Marks[0].All {
		t.Errorf("cleared %d, %d words, marks %+v", got.Cleared, len(got.Words), got.Marks)
	}
}

func TestRecordsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s)
	from := mustSnapshot(t, tier, 0).At
	before := contents(s)
	for name, r := range map[string]cacheruntime.LogRecord{
		"no id":               {Slots: []uint32{1}},
		"slots out of order":  record(2, 1),
		"a slot twice":        record(1, 1),
		"a slot too high":     record(cacheruntime.SharedTableSize),
		"a mark without end":  {ID: newID(), Mark: cacheruntime.LogMark{ID: newID()}},
		"a mark out of order": {ID: newID(), Mark: mark(2, 1)},
		"condition release":   {ID: newID(), OnlyIf: cacheruntime.IfOutstanding},
		"condition mark":      {ID: newID(), OnlyIf: cacheruntime.IfAbsent},
		"condition unknown":   {ID: newID(), OnlyIf: 7},
		"too many releases":   {ID: newID(), Release: make([]cacheruntime.LogRelease, maxReleases+1)},
	} {
		if reply, err := tier.Append(t.Context(), from, r); err == nil {
			t.Errorf("%s: %+v", name, reply)
		}
	}
	if diff := cmp.Diff(before, contents(s)); diff != "" {
		t.Error(diff)
	}
}

// Whatever happens to the keys of the log: a proof says nothing and writes nothing, and
// the next record or snapshot begins a new epoch, with the marks that are still there.
func TestWhatBeginsANewEpoch(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--enable-debug-command", "yes")
	tier := open(t, s)
	const log, table, marks = "{test}:log", "{test}:table", "{test}:marks"
	set := func(offset string, value string) func() {
		return func() { s.Do("SETRANGE", table, offset, value) }
	}
	number := func(n uint64) string { return string(little.AppendUint64(nil, n)) }
	id := newID()
	head := func(change func(fields []string) []string) func() { // rewrites the last entry
		return func() {
			all := stream(s, log)
			s.Do("DEL", log)
			for _, e := range all[:len(all)-1] {
				s.Do("XADD", log, e.id, "r", e.record)
			}
			last := all[len(all)-1]
			s.Do(append([]string{"XADD", log}, change([]string{last.id, "r", last.record})...)...)
		}
	}
	tests := []struct {
		name      string
		ruin      func()
		marksLost bool
	}{
		{name: "all keys gone", ruin: s.Flush, marksLost: true},
		{name: "log gone", ruin: func() { s.Do("DEL", log) }},
		{name: "table gone", ruin: func() { s.Do("DEL", table) }},
		{name: "marks gone", ruin: func() { s.Do("DEL", marks) }, marksLost: true},
		{name: "log of another type", ruin: func() { s.Do("SET", log, "x") }},
		{name: "table of another type", ruin: func() { s.Do("DEL", table); s.Do("RPUSH", table, "x") }},
		{name: "marks of another type", ruin: func() { s.Do("SET", marks, "x") }, marksLost: true},
		{name: "log empty", ruin: func() { s.Do("XTRIM", log, "MAXLEN", "0") }},
		{name: "head deleted", ruin: func() {
			all := stream(s, log)
			s.Do("XDEL", log, all[len(all)-1].id)
		}},
		{name: "a foreign entry at the head", ruin: func() { s.Do("XADD", log, "*", "a", "b") }},
		{name: "two fields in the head", ruin: head(func(e []string) []string { return append(e, "a", "b") })},
		{name: "another field in the head", ruin: head(func(e []string) []string { return []string{e[0], "s", e[2]} })},
		{name: "head cut", ruin: head(func(e []string) []string { e[2] = e[2][:49]; return e })},
		{name: "head empty", ruin: head(func(e []string) []string { e[2] = ""; return e })},
		{name: "head too long", ruin: head(func(e []string) []string { e[2] += strings.Repeat("x", maxRecordSize); return e })},
		{name: "head of another version", ruin: head(func(e []string) []string { e[2] = "\x02" + e[2][1:]; return e })},
		{name: "head of another number", ruin: head(func(e []string) []string { e[2] = e[2][:1] + number(77) + e[2][9:]; return e })},
		{name: "head of another id", ruin: head(func(e []string) []string { e[2] = e[2][:25] + string(id[:]) + e[2][41:]; return e })},
		{name: "table garbage", ruin: func() { s.Do("SET", table, strings.Repeat("x", 200)) }},
		{name: "table empty", ruin: func() { s.Do("SET", table, "") }},
		{name: "table cut in the header", ruin: func() { s.Do("SET", table, s.Do("GETRANGE", table, "0", "99").(string)) }},
		{name: "table cut in a word", ruin: func() { s.Do("SET", table, s.Do("GETRANGE", table, "0", "150").(string)) }},
		{name: "table only a header's head", ruin: func() { s.Do("SET", table, s.Do("GETRANGE", table, "0", "7").(string)) }},
		{name: "table too long", ruin: set(strconv.Itoa(144+8*cacheruntime.SharedTableSize), "12345678")},
		{name: "table evicted and written to", ruin: func() { s.Do("DEL", table); s.Do("SETRANGE", table, "1000", "12345678") }},
		{name: "epoch 0", ruin: set("16", number(0))},
		{name: "head 0", ruin: set("24", number(0))},
		{name: "head further", ruin: set("24", number(4))},
		{name: "head before", ruin: set("24", number(2))},
		{name: "head too high", ruin: set("24", number(1<<48-1))},
		{name: "head much too high", ruin: set("24", number(math.MaxUint64))},
		{name: "another head", ruin: set("32", string(id[:]))},
		{name: "cleared after the head", ruin: set("48", number(1000))},
		{name: "fewer marks", ruin: set("56", number(0))},
		{name: "more marks than can be", ruin: set("56", number(maxMarks+1))},
		{name: "another server", ruin: set("64", "x")},
		{name: "another replication", ruin: set("143", "x")},
		{name: "a mark more", ruin: func() { s.Do("HSET", marks, string(id[:]), "x") }},
		{name: "a history of its own", ruin: func() { s.Do("DEBUG", "CHANGE-REPL-ID") }},
	}
	for _, test := range tests {
		for _, by := range []string{"append", "snapshot"} {
			t.Run(test.name+"/"+by, func(t *testing.T) {
				s.Flush()
				at := mustSnapshot(t, tier, 0).At
				m := mark(4, 5)
				r := record(1)
				r.Mark = m
				mustAppend(t, tier, at, r)
				at = after(at, r)
				r = record(2)
				mustAppend(t, tier, at, r)
				at = after(at, r)
				if reply := mustProve(t, tier, at); !reply.Known || reply.Head != at {
					t.Fatalf("%+v", reply)
				}

				test.ruin()
				before := contents(s)
				if diff := cmp.Diff(cacheruntime.LogReply{}, mustProve(t, tier, at)); diff != "" {
					t.Errorf("proof (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(before, contents(s)); diff != "" {
					t.Errorf("a proof has changed what is in Redis:\n%s", diff)
				}

				want := cacheruntime.LogSnapshot{Words: []uint64{}, Server: identity(s)}
				if !test.marksLost {
					want.Marks = []cacheruntime.LogMark{m}
				}
				var epoch uint64
				if by == "append" {
					r := record(3)
					reply := mustAppend(t, tier, at, r)
					if reply.Known || !reply.Appended || len(reply.Records) > 0 || reply.Head.Number != 2 || reply.Head.ID != r.ID {
						t.Errorf("append: %+v", reply)
					}
					epoch, want.At, want.Words = reply.Head.Epoch, reply.Head, []uint64{0, 0, 0, 2}
				}
				got := mustSnapshot(t, tier, 0)
				if by == "snapshot" {
					epoch, want.At = got.At.Epoch, cacheruntime.LogPosition{Epoch: got.At.Epoch, Number: 1, ID: got.At.ID}
				}
				if epoch == at.Epoch {
					t.Error("the epoch is the same")
				}
				if diff := cmp.Diff(want, got, equateEmpty); diff != "" {
					t.Errorf("snapshot (-want +got):\n%s", diff)
				}
				if reply := mustProve(t, tier, got.At); !reply.Known || reply.Head != got.At {
					t.Errorf("the new epoch does not go on: %+v", reply)
				}
			})
		}
	}
}

func TestCondemned(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s)
	old := mustSnapshot(t, tier, 0).At
	r := record(1)
	r.Mark = mark(3)
	mustAppend(t, tier, old, r)

	next := mustSnapshot(t, tier, old.Epoch)
	if next.At.Epoch == old.Epoch || next.At.Number != 1 || len(next.Words) > 0 || len(next.Marks) != 1 {
		t.Errorf("%+v", next)
	}
	if again := mustSnapshot(t, tier, old.Epoch); again.At != next.At {
		t.Errorf("an epoch that is over was condemned, and %+v became %+v", next.At, again.At)
	}
	if reply := mustProve(t, tier, old); reply.Known || reply.Head != next.At {
		t.Errorf("%+v", reply)
	}
}

// What cannot be read in the log is an error that says so. A new epoch ends it.
func TestMalformedRecord(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func(string) string{
		"cut":               func(r string) string { return r[:len(r)-1] },
		"longer":            func(r string) string { return r + "x" },
		"much longer":       func(r string) string { return r + strings.Repeat("x", maxRecordSize) },
		"empty":             func(string) string { return "" },
		"garbage":           func(string) string { return strings.Repeat("\xff", 100) },
		"more slots":        func(r string) string { return r[:42] + "\xff\xff\xff\xff" + r[46:] },
		"a slot too high":   func(r string) string { return r[:46] + "\xff\xff\xff\xff" + r[50:] },
		"another one's":     func(r string) string { return r[:9] + strings.Repeat("x", 16) + r[25:] },
		"of another number": func(r string) string { return r[:1] + "\x07" + r[2:] },
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			tier := open(t, s)
			start := mustSnapshot(t, tier, 0).At
			for i := range uint32(3) {
				mustAppend(t, tier, start, record(i))
			}
			all := stream(s, "{test}:log")
			s.Do("DEL", "{test}:log")
			for i, e := range all {
				r := e.record
				if i == 2 {
					r = forge(r)
				}
				s.Do("XADD", "{test}:log", e.id, "r", r)
			}
			if reply, err := tier.Prove(t.Context(), start); !errors.Is(err, cacheruntime.ErrMalformed) {
				t.Errorf("%+v, %v", reply, err)
			}
			next := mustSnapshot(t, tier, start.Epoch)
			if reply := mustProve(t, tier, next.At); !reply.Known {
				t.Errorf("%+v", reply)
			}
		})
	}
}

// While the slot of the log is moved to another node of a cluster there is no snapshot, and
// afterwards there is, with the marks.
func TestSlotOfTheLogMoves(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	tier := open(t, cluster.Nodes[0])
	r := record(1)
	r.Mark = mark(1) // so that all keys are there
	before := mustAppend(t, tier, cacheruntime.LogPosition{}, r).Head
	to := cluster.Nodes[0]
	if to == cluster.Owner(tier.keys[0]) {
		to = cluster.Nodes[1]
	}
	cluster.Move(to, func() {
		if got, err := tier.Snapshot(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "ASK") {
			t.Errorf("while it is moved: %+v, %v", got, err)
		}
	}, tier.keys...)
	var got cacheruntime.LogSnapshot
	redistest.Until(t, "there is a snapshot", func() (ok bool) {
		var err error
		got, err = tier.Snapshot(t.Context(), 0)
		return err == nil
	})
	if got.At.Epoch == before.Epoch || len(got.Marks) != 1 || got.Marks[0].ID != r.Mark.ID {
		t.Errorf("%+v", got)
	}
	if reply := mustAppend(t, tier, got.At, record(2)); !reply.Known {
		t.Errorf("%+v", reply)
	}
}

// A word that is too high is of no record.
func TestMalformedTable(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s)
	start := mustSnapshot(t, tier, 0).At
	s.Do("SETRANGE", "{test}:table", "1000", "12345678")
	if got, err := tier.Snapshot(t.Context(), 0); !errors.Is(err, cacheruntime.ErrMalformed) {
		t.Errorf("%+v, %v", got.At, err)
	}
	if next := mustSnapshot(t, tier, start.Epoch); next.At.Epoch == start.Epoch || len(next.Words) > 0 {
		t.Errorf("%+v", next)
	}
}

func TestMalformedMarks(t *testing.T) {
	t.Parallel()
	good := mark(7, 8)
	value, err := appendMark(nil, good)
	if err != nil {
		t.Fatal(err)
	}
	id, zero := newID(), cacheruntime.LogID{}
	for name, forged := range map[string][2]string{
		"empty":           {string(id[:]), ""},
		"cut":             {string(id[:]), string(value[:len(value)-1])},
		"longer":          {string(id[:]), string(value) + "x"},
		"more slots":      {string(id[:]), string(value[:17]) + "\xff\xff\xff\xff" + string(value[21:])},
		"not sorted":      {string(id[:]), string(value[:21]) + string(value[25:]) + string(value[21:25])},
		"a slot too high": {string(id[:]), string(value[:25]) + "\xff\xff\xff\xff"},
		"neither all nor": {string(id[:]), string(value[:16]) + "\x02" + string(value[17:])},
		"no lease":        {string(id[:]), string(value[:8]) + strings.Repeat("\x00", 8) + string(value[16:])},
		"endless lease":   {string(id[:]), string(value[:15]) + "\x80" + string(value[16:])},
		"no id":           {"x", string(value)},
		"zero id":         {string(zero[:]), string(value)},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			tier := open(t, s)
			start := mustSnapshot(t, tier, 0).At
			r := record()
			r.Mark = good
			mustAppend(t, tier, start, r)
			forge := func() {
				s.Do("HSET", "{test}:marks", forged[0], forged[1])
				s.Do("SETRANGE", "{test}:table", "56", string(little.AppendUint64(nil, 2)))
			}
			forge()
			if reply := mustProve(t, tier, start); !reply.Known {
				t.Errorf("%+v", reply)
			}
			wrongSlots := name == "not sorted" || name == "a slot too high"
			condemned := uint64(0)
			if wrongSlots {
				// Which Redis does not look at, until the epoch is condemned for them.
				if got, err := tier.Snapshot(t.Context(), 0); !errors.Is(err, cacheruntime.ErrMalformed) {
					t.Errorf("%+v, %v", got.At, err)
				}
				condemned = start.Epoch
			}
			got := mustSnapshot(t, tier, condemned)
			if got.At.Epoch == start.Epoch || len(got.Marks) != 1 || got.Marks[0].ID != good.ID {
				t.Errorf("%+v", got)
			}

			// Whoever releases it cannot say what it has marked, if not for the order.
			if name != "not sorted" && len(forged[0]) == len(id) && forged[0] != string(zero[:]) {
				forge()
				r := record(1)
				r.Release = []cacheruntime.LogRelease{{ID: id}}
				mustAppend(t, tier, got.At, r)
				if got := mustSnapshot(t, tier, 0); got.Cleared != 2 || len(got.Marks) != 1 {
					t.Errorf("after the release: %+v", got)
				}
			}
		})
	}
}

// A restart begins a new epoch, even if all data is still there; so do a failover, and
// the way back.
func TestRestart(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	tier := open(t, s)
	first := mustSnapshot(t, tier, 0)
	at := first.At
	r := record(1)
	r.Mark = mark(3)
	mustAppend(t, tier, at, r)
	at = after(at, r)

	s.Restart()
	if n := s.Do("XLEN", "{test}:log").(int64); n != 2 {
		t.Fatalf("%d records are there after the restart", n)
	}
	var reply cacheruntime.LogReply
	redistest.Until(t, "the log is proven", func() (ok bool) {
		var err error
		reply, err = tier.Prove(t.Context(), at)
		return err == nil
	})
	if diff := cmp.Diff(cacheruntime.LogReply{}, reply); diff != "" {
		t.Errorf("proof (-want +got):\n%s", diff)
	}
	if next := mustSnapshot(t, tier, 0); next.At.Epoch == at.Epoch || next.At.Number != 1 || len(next.Marks) != 1 || next.Server == first.Server {
		t.Errorf("%+v", next)
	}
}

func TestFailover(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	old := open(t, primary)
	first := mustSnapshot(t, old, 0)
	at := first.At
	r := record(1)
	mustAppend(t, old, at, r)
	at = after(at, r)
	replica.CatchUp(primary)

	// Nothing is asked of a replica, also not of one that can be written to.
	for _, readOnly := range []string{"yes", "no"} {
		replica.Do("CONFIG", "SET", "replica-read-only", readOnly)
		_, err := Open(t.Context(), Options{InitAddress: []string{replica.Addr()}, Namespace: "test"})
		if err == nil || !strings.Contains(err.Error(), "connect to the primary") {
			t.Errorf("replica-read-only %s: %v", readOnly, err)
		}
	}

	// There and back, without a record in between: the primary is the server that it
	// was, but who knows what it has lost.
	replica.Promote()
	primary.Follow(replica.Addr())
	if reply, err := old.Prove(t.Context(), at); err == nil {
		t.Errorf("a demoted primary proves %+v", reply)
	}
	replacement := open(t, replica)
	if diff := cmp.Diff(cacheruntime.LogReply{}, mustProve(t, replacement, at)); diff != "" {
		t.Errorf("proof of a promoted replica (-want +got):\n%s", diff)
	}
	primary.Promote()
	if diff := cmp.Diff(cacheruntime.LogReply{}, mustProve(t, old, at)); diff != "" {
		t.Errorf("proof of a primary that is back (-want +got):\n%s", diff)
	}
	if next := mustSnapshot(t, old, 0); next.Server == first.Server || next.Server != identity(primary) {
		t.Errorf("a primary that is back is %q, and was %q", next.Server, first.Server)
	}
}

// Attaching the first replica begins an epoch: Redis begins another history then. The
// second one does not.
func TestFirstReplica(t *testing.T) {
	primary := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	tier := open(t, primary)
	before := mustSnapshot(t, tier, 0).At
	for i, want := range []bool{true, false} {
		redistest.StartReplica(t, primary)
		at := mustSnapshot(t, tier, 0).At
		if began := at.Epoch != before.Epoch; began != want {
			t.Errorf("replica %d: a new epoch: %v, want %v", i+1, began, want)
		}
		before = at
	}
}

// The memory of a log of the largest records is what the package comment says.
func TestMemoryOfTheLargestRecords(t *testing.T) {
	s := redistest.Start(t)
	tier := open(t, s, func(o *Options) { o.LogLength = 100 })
	at := mustSnapshot(t, tier, 0).At
	var last cacheruntime.LogID
	for range 300 {
		r := record(slotsFrom(0, maxSlots)...)
		r.Mark = mark(slotsFrom(1, maxSlots)...)
		for range maxReleases {
			r.Release = append(r.Release, cacheruntime.LogRelease{ID: newID()})
		}
		r.Release[0].ID, last = last, r.Mark.ID
		if body, err := encodeBody(r); err != nil || prefixSize+len(body) != maxRecordSize {
			t.Fatalf("%d bytes, want %d: %v", prefixSize+len(body), maxRecordSize, err)
		}
		at = mustAppend(t, tier, at, r).Head
	}
	n, bytes := s.Do("XLEN", "{test}:log").(int64), s.Do("MEMORY", "USAGE", "{test}:log", "SAMPLES", "0").(int64)
	if n < 100 || n > 200 {
		t.Fatalf("%d records", n)
	}
	if each := bytes / n; each < int64(maxRecordSize) || each > 26_000 {
		t.Errorf("%d bytes for each of %d records", each, n)
	}
}

// A primary that cannot reach enough replicas may have been replaced.
func TestTooFewReplicas(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s)
	at := mustSnapshot(t, tier, 0).At
	s.Do("CONFIG", "SET", "min-replicas-to-write", "1")
	if reply, err := tier.Prove(t.Context(), at); err == nil {
		t.Errorf("%+v", reply)
	}
	if reply, err := tier.Append(t.Context(), at, record(1)); err == nil {
		t.Errorf("%+v", reply)
	}
}

// Invalidations go through when Redis can store nothing more.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s)
	at := mustSnapshot(t, tier, 0).At
	if err := tier.Set(t.Context(), []cacheruntime.SharedEntry{{Key: "k", Entry: []byte("v"), TTL: time.Minute}}); err != nil {
		t.Fatal(err)
	}
	s.Do("CONFIG", "SET", "maxmemory", "1mb")
	for range 2 * failuresToLeaveAlone {
		err := tier.Set(t.Context(), []cacheruntime.SharedEntry{{Key: "l", Entry: make([]byte, 1000), TTL: time.Minute}})
		if err == nil || errors.Is(err, ErrLeftAlone) {
			t.Fatalf("storing an entry beyond the limit: %v", err)
		}
	}
	if reply := mustAppend(t, tier, at, record(cacheruntime.SharedTableSize-1)); !reply.Appended {
		t.Errorf("%+v", reply)
	}
	next := mustSnapshot(t, tier, at.Epoch)
	if next.At.Epoch == at.Epoch {
		t.Error("no new epoch")
	}
	if got, err := tier.Get(t.Context(), []string{"k"}); err != nil || string(got[0]) != "v" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTooManyMarks(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s)
	at := mustSnapshot(t, tier, 0).At
	value, _ := appendMark(nil, mark(1))
	args := []string{"HSET", "{test}:marks"}
	for range maxMarks {
		id := newID()
		args = append(args, string(id[:]), string(value))
	}
	s.Do(args...)
	s.Do("SETRANGE", "{test}:table", "56", string(little.AppendUint64(nil, maxMarks)))
	r := record(1)
	r.Mark = mark(2)
	if reply, err := tier.Append(t.Context(), at, r); err == nil || !strings.Contains(err.Error(), "marks") {
		t.Errorf("%+v, %v", reply, err)
	}
	if got := mustSnapshot(t, tier, 0); got.At.Epoch != at.Epoch || len(got.Marks) != maxMarks {
		t.Errorf("%+v, %d marks", got.At, len(got.Marks))
	}
	r.Mark, r.Release = cacheruntime.LogMark{}, []cacheruntime.LogRelease{{ID: cacheruntime.LogID([]byte(args[2])), Generation: 1}}
	if reply := mustAppend(t, tier, at, r); !reply.Appended {
		t.Errorf("%+v", reply)
	}
	r = record(1)
	r.Mark = mark(2)
	if reply := mustAppend(t, tier, at, r); !reply.Appended {
		t.Errorf("%+v", reply)
	}
}

// releases returns the ends of marks.
func releases(marks []cacheruntime.LogMark) (all []cacheruntime.LogRelease) {
	for _, m := range marks {
		all = append(all, cacheruntime.LogRelease{ID: m.ID})
	}
	return all
}

// slotsFrom returns n slots, from the first on.
func slotsFrom(first, n int) []uint32 {
	slots := make([]uint32, n)
	for i := range slots {
		slots[i] = uint32(first + i)
	}
	return slots
}

// Many slots in marks would hold up Redis, too: beyond a limit a mark is of everything, for
// all who read the log, until there is room again.
func TestTooManySlotsInMarks(t *testing.T) {
	s := redistest.Start(t)
	tier := open(t, s)
	start := mustSnapshot(t, tier, 0).At
	at := start
	put := func(m cacheruntime.LogMark, release ...cacheruntime.LogRelease) cacheruntime.LogMark {
		t.Helper()
		r := record()
		r.Mark, r.Release = m, release
		reply := mustAppend(t, tier, at, r)
		at = reply.Head
		return reply.Records[len(reply.Records)-1].Mark
	}
	want := func(n, ofEverything int) {
		t.Helper()
		got := mustSnapshot(t, tier, 0)
		all := 0
		for _, m := range got.Marks {
			if m.All {
				all++
			}
		}
		if got.At != at || got.At.Epoch != start.Epoch || len(got.Marks) != n || all != ofEverything {
			t.Fatalf("%d marks, %d of everything, at %+v; want %d, %d, %+v", len(got.Marks), all, got.At, n, ofEverything, at)
		}
	}
	var marks []cacheruntime.LogMark
	for range maxMarked / maxSlots {
		m := mark(slotsFrom(5, maxSlots)...)
		if got := put(m); got.All {
			t.Fatalf("mark %d is of everything", len(marks))
		}
		marks = append(marks, m)
	}
	want(len(marks), 0)

	renewed := marks[0]
	renewed.Generation++
	if got := put(renewed); got.All {
		t.Error("a mark that is renewed takes the room of two")
	}
	beyond := mark(1)
	if got := put(beyond); !got.All || len(got.Slots) > 0 || got.ID != beyond.ID || got.Lease != beyond.Lease || got.Generation != beyond.Generation {
		t.Errorf("a mark beyond the limit is %+v", got)
	}
	want(len(marks)+1, 1)
	if got := put(mark(slotsFrom(7, maxSlots)...), cacheruntime.LogRelease{ID: marks[1].ID}); got.All {
		t.Error("a mark does not take the room of the one that ends")
	}
	beyond.Generation++
	if got := put(beyond, cacheruntime.LogRelease{ID: marks[2].ID}); got.All {
		t.Error("there is room, and a mark that is renewed is still of everything")
	}
	want(len(marks), 0)

	// The next epoch keeps them, and the limit.
	at = mustSnapshot(t, tier, start.Epoch).At
	start = at
	want(len(marks), 0)
	if got := put(mark(slotsFrom(0, maxSlots)...)); !got.All {
		t.Error("after a new epoch there is no limit")
	}
	want(len(marks)+1, 1)
}

// A record that ends many marks writes no words for them. Everybody is told which slots
// it is about; in the table everything is invalidated.
func TestRecordThatEndsTooManySlots(t *testing.T) {
	s := redistest.Start(t)
	tier := open(t, s)
	at := mustSnapshot(t, tier, 0).At
	put := func(r cacheruntime.LogRecord) {
		t.Helper()
		at = mustAppend(t, tier, at, r).Head
	}
	begin := func(slots ...[]uint32) (marks []cacheruntime.LogMark) {
		t.Helper()
		for _, some := range slots {
			r := record()
			r.Mark = mark(some...)
			put(r)
			marks = append(marks, r.Mark)
		}
		return marks
	}
	words := func(s cacheruntime.LogSnapshot, slots []uint32) (n int) {
		for _, slot := range slots {
			if int(slot) < len(s.Words) && s.Words[slot] == at.Number {
				n++
			}
		}
		return n
	}

	// As many as there can be, also if the record names them itself.
	slots := slotsFrom(0, maxSlots)
	r := record(slots...)
	r.Release = releases(begin(slots))
	put(r)
	if got := mustSnapshot(t, tier, 0); got.Cleared != 0 || words(got, slots) != maxSlots || len(got.Marks) > 0 {
		t.Errorf("cleared %d, %d words, %d marks", got.Cleared, words(got, slots), len(got.Marks))
	}

	// One more.
	r = record(0)
	r.Release = releases(begin(slotsFrom(1, maxSlots-1), []uint32{maxSlots}))
	reply := mustAppend(t, tier, at, r)
	at = reply.Head
	if got := reply.Records[0]; got.All || len(got.Release) != 2 {
		t.Errorf("%+v", got)
	}
	got := mustSnapshot(t, tier, 0)
	if got.Cleared != at.Number || words(got, slots) != 0 || len(got.Marks) > 0 {
		t.Errorf("cleared %d of %d, %d words, %d marks", got.Cleared, at.Number, words(got, slots), len(got.Marks))
	}
}

// The costliest things that anybody can do to the log by its own means, in the time of
// the server: nothing else is answered meanwhile.
func TestNothingHoldsUpRedis(t *testing.T) {
	s := redistest.Start(t)
	tier := open(t, s)
	at := mustSnapshot(t, tier, 0).At
	var marks []cacheruntime.LogMark
	put := func(r cacheruntime.LogRecord) { at = mustAppend(t, tier, at, r).Head }
	for i := range maxReleases {
		r := record()
		r.Mark = mark(slotsFrom(i, maxSlots)...)
		put(r)
		marks = append(marks, r.Mark)
	}
	// The new epoch, which alone looks at every slot of every mark, takes about 70 ms on a
	// processor, the others about 10.
	const most = 500 * time.Millisecond
	for _, test := range []struct {
		name string
		do   func()
	}{
		{"a snapshot", func() { mustSnapshot(t, tier, 0) }},
		{"a new epoch", func() { mustSnapshot(t, tier, at.Epoch) }},
		{"the end of many marks", func() { r := record(slotsFrom(0, maxSlots)...); r.Release = releases(marks); put(r) }},
	} {
		before := processorTime(t, s)
		test.do()
		took := processorTime(t, s) - before
		t.Logf("%s takes %v", test.name, took)
		if took == 0 || took > most {
			t.Errorf("%s takes %v in Redis, more than %v", test.name, took, most)
		}
	}
	if got := mustSnapshot(t, tier, 0); len(got.Marks) > 0 {
		t.Errorf("%d marks are left", len(got.Marks))
	}
}

// Marks that are more than a log may have are not dropped: who knows what they stand for.
func TestMarksBeyondTheLimit(t *testing.T) {
	value, _ := appendMark(nil, mark(1))
	large, _ := appendMark(nil, mark(slotsFrom(0, maxSlots)...))
	for name, forged := range map[string]struct {
		n     int
		value []byte
	}{
		"marks": {maxMarks + 1, value},
		"slots": {maxMarked/maxSlots + 1, large},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			tier := open(t, s)
			start := mustSnapshot(t, tier, 0).At
			args := []string{"HSET", "{test}:marks"}
			for range forged.n {
				id := newID()
				args = append(args, string(id[:]), string(forged.value))
			}
			s.Do(args...)
			s.Do("SETRANGE", "{test}:table", "56", string(little.AppendUint64(nil, uint64(forged.n))))
			got := mustSnapshot(t, tier, 0)
			if got.At.Epoch == start.Epoch || len(got.Marks) != 1 || !got.Marks[0].All || got.Marks[0].Lease != time.Minute {
				t.Fatalf("%+v, %d marks", got.At, len(got.Marks))
			}
			r := record(1)
			r.Release = releases(got.Marks)
			if reply := mustAppend(t, tier, got.At, r); !reply.Known || reply.Head.Epoch != got.At.Epoch {
				t.Errorf("%+v", reply)
			}
			if got := mustSnapshot(t, tier, 0); got.Cleared != 2 || len(got.Marks) > 0 {
				t.Errorf("cleared %d, marks %+v", got.Cleared, got.Marks)
			}
		})
	}
}

// Programs with another format or table leave each other's logs alone.
func TestAnotherFormat(t *testing.T) {
	t.Parallel()
	for name, others := range map[string]scripts{
		"format": logScripts(format+1, cacheruntime.SharedTableSize),
		"size":   logScripts(format, cacheruntime.SharedTableSize/2),
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			mine, theirs := open(t, s), open(t, s)
			theirs.scripts = others
			at := mustSnapshot(t, theirs, 0).At
			before := contents(s)
			check := func(what string, err error) {
				if err == nil || !strings.Contains(err.Error(), "use another namespace") {
					t.Errorf("%s: %v", what, err)
				}
			}
			_, err := mine.Append(t.Context(), at, record(1))
			check("append", err)
			_, err = mine.Prove(t.Context(), at)
			check("proof", err)
			_, err = mine.Snapshot(t.Context(), at.Epoch)
			check("snapshot", err)
			_, err = Open(t.Context(), Options{InitAddress: []string{s.Addr()}, Namespace: "test"})
			check("open", err)
			if diff := cmp.Diff(before, contents(s)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWait(t *testing.T) {
	s := redistest.Start(t)
	tier := open(t, s)
	at := mustSnapshot(t, tier, 0).At
	mustAppend(t, tier, at, record(1))
	if err := tier.Wait(t.Context(), at); err != nil {
		t.Errorf("with a record there: %v", err)
	}

	waiting := func(ctx context.Context, from cacheruntime.LogPosition) chan error {
		done := make(chan error, 1)
		go func() { done <- tier.Wait(ctx, from) }()
		redistest.Until(t, "a client is blocked", func() bool { return s.Info("blocked_clients") == "1" })
		return done
	}
	done := waiting(t.Context(), cacheruntime.LogPosition{Epoch: at.Epoch, Number: 2})
	start := time.Now()
	mustAppend(t, tier, at, record(1))
	if err := <-done; err != nil || time.Since(start) > waitFor/2 {
		t.Errorf("a record woke it after %v: %v", time.Since(start), err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	done = waiting(ctx, cacheruntime.LogPosition{Epoch: at.Epoch, Number: 3})
	start = time.Now()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || time.Since(start) > waitFor/2 {
		t.Errorf("it gave up after %v: %v", time.Since(start), err)
	}
	redistest.Until(t, "no client is blocked", func() bool { return s.Info("blocked_clients") == "0" })

	// Giving up does not cost a connection; the client may make one of those that it makes
	// when it first needs them.
	connections := func() int {
		info, err := tier.clients.Load().entries.Do(t.Context(), tier.clients.Load().entries.B().Info().Section("stats").Build()).ToString()
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(infoField(info, "total_connections_received"))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := connections()
	const times = 10
	for range times {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if err := tier.Wait(ctx, cacheruntime.LogPosition{Epoch: at.Epoch, Number: 3}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		cancel()
		redistest.Until(t, "no client is blocked", func() bool {
			info, err := tier.clients.Load().entries.Do(t.Context(), tier.clients.Load().entries.B().Info().Section("clients").Build()).ToString()
			return err == nil && infoField(info, "blocked_clients") == "0"
		})
	}
	if after := connections(); after-before >= times/2 {
		t.Errorf("there were %d connections, then %d", before, after)
	}

	// The server may be late, however short the time is that commands have otherwise.
	tier.options.LogTimeout = time.Millisecond
	if err := tier.Wait(t.Context(), cacheruntime.LogPosition{Epoch: at.Epoch, Number: 3}); err != nil {
		t.Errorf("with no record: %v", err)
	}
	tier.options.LogTimeout = 10 * time.Second
	s.Do("DEL", "{test}:log")
	s.Do("SET", "{test}:log", "x")
	if err := tier.Wait(t.Context(), at); err == nil {
		t.Error("no error of a log of another type")
	}
}

// A record that gets between the commands of a snapshot is noticed.
func TestSnapshotOfTwoPositions(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s)
	at := mustSnapshot(t, tier, 0).At
	state, err := tier.clients.Load().entries.Do(t.Context(), tier.clients.Load().entries.B().Eval().Script(tier.scripts.snapshot).Numkeys(3).Key(tier.keys...).
		Arg(append(candidate(), strings.Repeat("\x00", 8))...).Build()).ToArray()
	if err != nil {
		t.Fatal(err)
	}
	table := func() string { return s.Do("GETRANGE", "{test}:table", "0", "-1").(string) }
	if got, ok, err := decodeSnapshot(state, table()); !ok || err != nil || got.At != at {
		t.Errorf("%+v, %v, %v", got, ok, err)
	}
	if _, ok, err := decodeSnapshot(state, ""); ok || err != nil {
		t.Errorf("without a table: %v, %v", ok, err)
	}
	mustAppend(t, tier, at, record(1))
	if _, ok, err := decodeSnapshot(state, table()); ok || err != nil {
		t.Errorf("with a later table: %v, %v", ok, err)
	}
}

// A snapshot is of one position, however many records are appended meanwhile.
func TestSnapshotsWhileRecordsAreAppended(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s)
	start := mustSnapshot(t, tier, 0).At
	mustAppend(t, tier, start, record(cacheruntime.SharedTableSize-1)) // so that the table takes long to send
	stop := make(chan struct{})
	var appending sync.WaitGroup
	for i := range 4 {
		appending.Go(func() {
			for n := uint32(0); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := tier.Append(t.Context(), start, record(uint32(i)*1000+n%100)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var snapshots []cacheruntime.LogSnapshot
	for len(snapshots) < 8 {
		got, err := tier.Snapshot(t.Context(), 0)
		if err != nil {
			t.Error(err)
			break
		}
		snapshots = append(snapshots, got)
	}
	close(stop)
	appending.Wait()

	f := &fold{at: start, start: start, words: make(map[uint32]uint64), marks: make(map[cacheruntime.LogID]cacheruntime.LogMark)}
	for _, got := range snapshots {
		for f.at.Number < got.At.Number {
			reply := mustProve(t, tier, f.at)
			for _, r := range reply.Records[:min(len(reply.Records), int(got.At.Number-f.at.Number))] {
				f.append(r)
			}
		}
		f.check(t, got)
	}
	if last := snapshots[len(snapshots)-1].At.Number; last < 20 {
		t.Errorf("only %d records were appended meanwhile", last)
	}
}
