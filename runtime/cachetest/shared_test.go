package cachetest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

// id returns an id that is easy to tell from others.
func id(n int) cacheruntime.LogID { return cacheruntime.LogID{byte(n), byte(n >> 8), 1} }

func mark(n int, slots ...uint32) cacheruntime.LogMark {
	return cacheruntime.LogMark{ID: id(n), Slots: slots, Lease: time.Second}
}

// A process is a tier with what its log is expected to answer.
type process struct {
	*cachetest.Tier
	t testing.TB
}

func (p process) snapshot(condemned uint64) cacheruntime.LogSnapshot {
	p.t.Helper()
	snapshot, err := p.Snapshot(p.t.Context(), condemned)
	if err != nil {
		p.t.Fatal(err)
	}
	return snapshot
}

func (p process) append(from cacheruntime.LogPosition, record cacheruntime.LogRecord) cacheruntime.LogReply {
	p.t.Helper()
	reply, err := p.Append(p.t.Context(), from, record)
	if err != nil {
		p.t.Fatal(err)
	}
	return reply
}

func (p process) prove(from cacheruntime.LogPosition) cacheruntime.LogReply {
	p.t.Helper()
	reply, err := p.Prove(p.t.Context(), from)
	if err != nil {
		p.t.Fatal(err)
	}
	return reply
}

// A follower adds records up to a state of its own.
type follower struct {
	at      cacheruntime.LogPosition
	words   map[uint32]uint64
	cleared uint64
	marks   map[cacheruntime.LogID]cacheruntime.LogMark
}

func follow(snapshot cacheruntime.LogSnapshot) *follower {
	f := &follower{at: snapshot.At, words: map[uint32]uint64{}, cleared: snapshot.Cleared, marks: map[cacheruntime.LogID]cacheruntime.LogMark{}}
	for slot, number := range snapshot.Words {
		if number > 0 {
			f.words[uint32(slot)] = number
		}
	}
	for _, mark := range snapshot.Marks {
		f.marks[mark.ID] = mark
	}
	return f
}

// apply applies the records of a reply, and reports whether it is at the head.
func (f *follower) apply(t testing.TB, reply cacheruntime.LogReply) bool {
	t.Helper()
	if !reply.Known || reply.Head.Epoch != f.at.Epoch {
		t.Fatalf("at %v: not known: %v", f.at, reply.Head)
	}
	for _, record := range reply.Records {
		if record.Number != f.at.Number+1 || record.Previous != f.at.ID {
			t.Fatalf("record %d after %x does not follow %d, %x", record.Number, record.Previous, f.at.Number, f.at.ID)
		}
		f.at.Number, f.at.ID = record.Number, record.ID
		all, slots := record.All, record.Slots
		for _, release := range record.Release {
			if mark, ok := f.marks[release.ID]; ok {
				all = all || mark.All
				slots = slices.Concat(slots, mark.Slots)
				delete(f.marks, release.ID)
			}
		}
		for _, slot := range slots {
			f.words[slot] = record.Number
		}
		if all {
			f.cleared = record.Number
		}
		if record.Mark.ID != (cacheruntime.LogID{}) {
			f.marks[record.Mark.ID] = record.Mark
		}
	}
	return f.at == reply.Head
}

func randomSlots(rng *rand.Rand) []uint32 {
	slots := map[uint32]bool{}
	for range rng.IntN(4) {
		slots[uint32(rng.IntN(20))] = true
	}
	return slices.Sorted(maps.Keys(slots))
}

// Who adds up the records that it is told of, a few at a time, has what a snapshot
// has.
func TestSharedIsWhatItsRecordsAddUpTo(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 0))
		shared := cachetest.NewShared(t)
		shared.SetLimits(1000, 1+rng.IntN(5))
		p := process{shared.Tier(), t}
		f := follow(p.snapshot(0))
		appends := f.at.Number
		for n := range 200 {
			record := cacheruntime.LogRecord{ID: id(n + 1000), Slots: randomSlots(rng), All: rng.IntN(30) == 0}
			marks := slices.Collect(maps.Keys(f.marks)) // maybe some that are gone
			slices.SortFunc(marks, func(a, b cacheruntime.LogID) int { return slices.Compare(a[:], b[:]) })
			should := true
			switch m := rng.IntN(10); {
			case m < 3:
				record.Mark = mark(1+rng.IntN(8), randomSlots(rng)...)
				record.Mark.All = rng.IntN(10) == 0
				record.Mark.Generation = uint64(rng.IntN(3))
				if m == 0 {
					record.OnlyIf = cacheruntime.IfAbsent
				}
			case m < 6 && len(marks) > 0:
				release := marks[rng.IntN(len(marks))]
				record.Release = []cacheruntime.LogRelease{{ID: release, Generation: uint64(rng.IntN(3))}}
				if m == 3 {
					record.OnlyIf = cacheruntime.IfOutstanding
				}
			case m == 6:
				record.Release = []cacheruntime.LogRelease{{ID: id(1 + rng.IntN(8))}, {ID: id(1 + rng.IntN(8))}}
			}
			// The truth about the conditions is that of now.
			now := follow(p.snapshot(0))
			switch record.OnlyIf {
			case cacheruntime.IfAbsent:
				_, there := now.marks[record.Mark.ID]
				should = !there
			case cacheruntime.IfOutstanding:
				outstanding, there := now.marks[record.Release[0].ID]
				should = there && outstanding.Generation == record.Release[0].Generation
			}
			reply := p.append(f.at, record)
			if reply.Appended != should {
				t.Fatalf("seed %d: %+v: appended: %v", seed, record, reply.Appended)
			}
			if should {
				appends++
			}
			if reply.Head.Number != appends || should && reply.Head.ID != record.ID {
				t.Fatalf("seed %d: head %v after %d records", seed, reply.Head, appends)
			}
			if rng.IntN(3) == 0 {
				continue // fall behind
			}
			for current := f.apply(t, reply); !current; {
				current = f.apply(t, p.prove(f.at))
			}
			if want := follow(p.snapshot(0)); !reflect.DeepEqual(f, want) {
				t.Fatalf("seed %d: snapshot and records differ:\n%s", seed, cmp.Diff(want, f, cmp.AllowUnexported(follower{})))
			}
		}
	}
}

// However an epoch ends, a new one begins at the next use that may change anything,
// with the marks as far as they are there.
func TestSharedBeginsEpochs(t *testing.T) {
	for _, test := range []struct {
		name  string
		end   func(shared *cachetest.Shared)
		marks int // of two
		proof bool
	}{
		{"condemned", func(*cachetest.Shared) {}, 2, true},
		{"flush", (*cachetest.Shared).Flush, 0, false},
		{"evict log", (*cachetest.Shared).EvictLog, 2, false},
		{"evict marks", (*cachetest.Shared).EvictMarks, 0, false},
		{"restart", (*cachetest.Shared).Restart, 1, false},
		{"fail over", func(shared *cachetest.Shared) { shared.FailOver(1) }, 1, false},
		{"fail over with all", func(shared *cachetest.Shared) { shared.FailOver(0) }, 2, false},
		{"fail over with nothing", func(shared *cachetest.Shared) { shared.FailOver(1000) }, 0, false},
	} {
		for _, use := range []string{"snapshot", "append"} {
			if test.proof && use == "append" {
				continue // an append condemns nothing
			}
			t.Run(test.name+"/"+use, func(t *testing.T) {
				shared := cachetest.NewShared(t)
				p := process{shared.Tier(), t}
				old := p.snapshot(0).At
				if old.Epoch == 0 || old.Number != 1 || old.ID == (cacheruntime.LogID{}) {
					t.Fatalf("the first epoch begins at %v", old)
				}
				if again := p.snapshot(old.Epoch + 1).At; again != old {
					t.Fatalf("%v, after another epoch was condemned: %v", old, again)
				}
				p.append(old, cacheruntime.LogRecord{ID: id(1), Mark: mark(1, 7)})
				shared.Save()
				last := p.append(old, cacheruntime.LogRecord{ID: id(2), Mark: mark(2, 8), Slots: []uint32{9}}).Head
				test.end(shared)

				reply := p.prove(last)
				if reply.Known != test.proof {
					t.Errorf("the old head is known: %v", reply.Known)
				}
				if !test.proof && shared.Head() != (cacheruntime.LogPosition{}) {
					t.Errorf("a proof began an epoch: %v", shared.Head())
				}
				number := uint64(1)
				if use == "append" {
					number = 2
					reply := p.append(last, cacheruntime.LogRecord{ID: id(3), Slots: []uint32{3}})
					if reply.Known || reply.Records != nil || !reply.Appended || reply.Head.Number != 2 {
						t.Errorf("append: %+v", reply)
					}
				}
				snapshot := p.snapshot(old.Epoch)
				if snapshot.At.Epoch == old.Epoch || snapshot.At.Epoch == 0 || snapshot.At.Number != number {
					t.Errorf("from %v to %v", old, snapshot.At)
				}
				if len(snapshot.Marks) != test.marks {
					t.Errorf("marks: %v", snapshot.Marks)
				}
				if use == "snapshot" && (snapshot.Words != nil || snapshot.Cleared != 0) {
					t.Errorf("a new epoch with words: %v", snapshot)
				}
				if again := p.snapshot(old.Epoch); again.At != snapshot.At {
					t.Errorf("the old epoch was condemned twice: %v, %v", snapshot.At, again.At)
				}
				for _, from := range []cacheruntime.LogPosition{last, {Epoch: snapshot.At.Epoch, Number: 1, ID: id(9)}, {Epoch: old.Epoch, Number: 1, ID: snapshot.At.ID}} {
					if p.prove(from).Known {
						t.Errorf("%v is known", from)
					}
				}
			})
		}
	}
}

// A restart brings old entries back.
func TestSharedRestart(t *testing.T) {
	shared := cachetest.NewShared(t)
	p := process{shared.Tier(), t}
	set := func(value string) {
		if err := p.Set(t.Context(), []cacheruntime.SharedEntry{{Key: "k", Entry: []byte(value), TTL: cacheruntime.Forever}}); err != nil {
			t.Error(err)
		}
	}
	set("old")
	shared.Save()
	set("new")
	shared.Restart()
	expectEntry(t, p, "k", "old")
}

func expectEntry(t *testing.T, p process, key, want string) {
	t.Helper()
	entries, err := p.Get(t.Context(), []string{"another", key})
	if err != nil || len(entries) != 2 || entries[0] != nil {
		t.Fatalf("%q, %v", entries, err)
	}
	if got := entries[1]; string(got) != want || (got == nil) != (want == "") {
		t.Errorf("%q, want %q", got, want)
	}
}

// What has been trimmed is not known any more, unless it is the head.
func TestSharedTrims(t *testing.T) {
	shared := cachetest.NewShared(t)
	p := process{shared.Tier(), t}
	heads := []cacheruntime.LogPosition{p.snapshot(0).At}
	for n := range 5 {
		heads = append(heads, p.append(heads[n], cacheruntime.LogRecord{ID: id(n), Slots: []uint32{uint32(n)}}).Head)
	}
	expect := func(first int) {
		t.Helper()
		for n, head := range heads {
			reply := p.prove(head)
			if reply.Known != (n >= first) {
				t.Errorf("record %d of %d is known: %v", n, len(heads), reply.Known)
			}
			if reply.Known && len(reply.Records) != len(heads)-1-n {
				t.Errorf("%d records after %d of %d", len(reply.Records), n, len(heads))
			}
		}
		if n := len(shared.Records()); n != len(heads)-first {
			t.Errorf("%d records", n)
		}
	}
	expect(0)
	shared.Trim(3)
	expect(3)
	shared.Trim(0)
	expect(5)
	if words := p.snapshot(0).Words; len(words) != 5 || words[0] != 2 {
		t.Errorf("the words were trimmed: %v", words)
	}
	shared.SetLimits(2, 10)
	for n := range 3 {
		heads = append(heads, p.append(heads[n], cacheruntime.LogRecord{ID: id(10 + n)}).Head)
	}
	expect(len(heads) - 2)
}

func TestSharedWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := cachetest.NewShared(t)
		a, b := process{shared.Tier(), t}, process{shared.Tier(), t}
		at := a.snapshot(0).At
		woken := make(chan error, 1)
		wait := func() { go func() { woken <- b.Wait(t.Context(), at) }() }
		asleep := func(yes bool) {
			t.Helper()
			synctest.Wait()
			select {
			case err := <-woken:
				if yes || err != nil {
					t.Errorf("woken up: %v", err)
				}
			default:
				if !yes {
					t.Error("asleep")
				}
			}
		}
		wait()
		asleep(true)
		at = a.append(at, cacheruntime.LogRecord{ID: id(1)}).Head
		asleep(false)
		wait()
		asleep(true)
		shared.Flush()
		at.Epoch = a.snapshot(0).At.Epoch
		asleep(true) // the number is a lower one
		<-time.After(5 * time.Second)
		asleep(false) // though there is nothing
		wait()
		asleep(true)
		for n := range 2 {
			a.append(at, cacheruntime.LogRecord{ID: id(n)})
		}
		asleep(false) // for the number is higher, whatever it is of

		at = shared.Head()
		wait()
		asleep(true)
		b.Stall()
		a.append(at, cacheruntime.LogRecord{ID: id(5)})
		asleep(true)
		b.Heal()
		asleep(false)

		at = shared.Head()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { woken <- b.Wait(ctx, at) }()
		asleep(true)
		cancel()
		if err := <-woken; !errors.Is(err, context.Canceled) {
			t.Errorf("called off: %v", err)
		}
		wait()
		asleep(true)
		b.Break()
		if err := <-woken; err == nil {
			t.Error("the connection broke without an error")
		}
	})
}

func TestSharedEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := cachetest.NewShared(t)
		p := process{shared.Tier(), t}
		set := func(key, value string, ttl time.Duration) {
			t.Helper()
			data := []byte(value)
			if err := p.Set(t.Context(), []cacheruntime.SharedEntry{{Key: key, Entry: data, TTL: ttl}}); err != nil {
				t.Error(err)
			}
			clear(data) // is no longer looked at
		}
		set("k", "v", time.Second)
		set("forever", "w", cacheruntime.Forever)
		set("never", "x", 0)
		expectEntry(t, p, "k", "v")
		expectEntry(t, p, "never", "")
		<-time.After(time.Second)
		expectEntry(t, p, "k", "")
		<-time.After(1000 * time.Hour)
		expectEntry(t, p, "forever", "w")
		shared.DamageEntries()
		expectEntry(t, p, "forever", string([]byte{'w' ^ 0xff}))
		if n := shared.Entries(); n != 1 {
			t.Errorf("%d entries", n)
		}
		shared.EvictEntries()
		expectEntry(t, p, "forever", "")

		lock := func(token string, want bool) {
			t.Helper()
			if got, err := p.Lock(t.Context(), "k", token, time.Second); err != nil || got != want {
				t.Errorf("lock by %s: %v, %v", token, got, err)
			}
		}
		unlock := func(token string) {
			if err := p.Unlock(t.Context(), "k", token); err != nil {
				t.Error(err)
			}
		}
		lock("a", true)
		lock("b", false)
		unlock("b")
		lock("b", false)
		unlock("a")
		lock("b", true)
		<-time.After(time.Second)
		lock("a", true)
		unlock("b")
		lock("b", false)
	})
}

// What becomes of an append and of its caller, fault by fault.
func TestSharedFaults(t *testing.T) {
	fate := func(f cachetest.Fate) func(string) cachetest.Fate {
		return func(string) cachetest.Fate { return f }
	}
	for _, test := range []struct {
		name  string
		fault func(shared *cachetest.Shared, tier *cachetest.Tier)
		// What the caller hears and after what time, and when there is a record; never
		// if that is negative.
		err     string
		after   time.Duration
		arrives time.Duration
	}{
		{"none", func(*cachetest.Shared, *cachetest.Tier) {}, "", 0, 0},
		{"cut", func(_ *cachetest.Shared, tier *cachetest.Tier) { tier.Cut() }, "Append: cachetest: cut off", 0, -1},
		{"all cut", func(shared *cachetest.Shared, _ *cachetest.Tier) { shared.Cut() }, "cut off", 0, -1},
		{"another cut", func(shared *cachetest.Shared, _ *cachetest.Tier) { shared.Tier().Cut() }, "", 0, 0},
		{"stalled", func(_ *cachetest.Shared, tier *cachetest.Tier) { tier.Stall() }, "deadline exceeded", time.Second, 10 * time.Second},
		{"all stalled", func(shared *cachetest.Shared, _ *cachetest.Tier) { shared.Stall() }, "deadline exceeded", time.Second, 10 * time.Second},
		{"cut while stalled", func(_ *cachetest.Shared, tier *cachetest.Tier) {
			tier.Stall()
			time.AfterFunc(time.Second/2, tier.Break)
		}, "the connection broke", time.Second / 2, -1},
		{"fail over while stalled", func(shared *cachetest.Shared, _ *cachetest.Tier) {
			shared.Stall()
			time.AfterFunc(time.Second/2, func() { shared.FailOver(0) })
		}, "the connection broke", time.Second / 2, -1},
		{"delayed", func(_ *cachetest.Shared, tier *cachetest.Tier) {
			tier.SetFaults(cachetest.Faults{
				Request: fate(cachetest.Fate{Delay: time.Second / 8}), Reply: fate(cachetest.Fate{Delay: time.Second / 4}),
			})
		}, "", time.Second * 3 / 8, time.Second / 8},
		{"delayed twice", func(shared *cachetest.Shared, tier *cachetest.Tier) {
			tier.SetFaults(cachetest.Faults{Request: fate(cachetest.Fate{Delay: time.Second / 8})})
			shared.SetFaults(cachetest.Faults{Request: fate(cachetest.Fate{Delay: time.Second / 4})})
		}, "", time.Second * 3 / 8, time.Second * 3 / 8},
		{"delayed too long", func(_ *cachetest.Shared, tier *cachetest.Tier) {
			tier.SetFaults(cachetest.Faults{Request: fate(cachetest.Fate{Delay: 3 * time.Second})})
		}, "deadline exceeded", time.Second, 3 * time.Second},
		{"cut while delayed", func(_ *cachetest.Shared, tier *cachetest.Tier) {
			tier.SetFaults(cachetest.Faults{Request: fate(cachetest.Fate{Delay: time.Second / 2})})
			time.AfterFunc(time.Second/4, tier.Break)
		}, "the connection broke", time.Second / 4, -1},
		{"request lost", func(_ *cachetest.Shared, tier *cachetest.Tier) {
			tier.SetFaults(cachetest.Faults{Request: fate(cachetest.Fate{Lost: true})})
		}, "deadline exceeded", time.Second, -1},
		{"request broken", func(_ *cachetest.Shared, tier *cachetest.Tier) {
			tier.SetFaults(cachetest.Faults{Request: fate(cachetest.Fate{Broken: true})})
		}, "the connection broke", 0, -1},
		{"reply lost", func(_ *cachetest.Shared, tier *cachetest.Tier) {
			tier.SetFaults(cachetest.Faults{Reply: fate(cachetest.Fate{Lost: true})})
		}, "deadline exceeded", time.Second, 0},
		{"reply broken", func(_ *cachetest.Shared, tier *cachetest.Tier) {
			tier.SetFaults(cachetest.Faults{Reply: fate(cachetest.Fate{Broken: true})})
		}, "the connection broke", 0, 0},
		{"cut while the reply is delayed", func(_ *cachetest.Shared, tier *cachetest.Tier) {
			tier.SetFaults(cachetest.Faults{Reply: fate(cachetest.Fate{Delay: time.Second / 2})})
			time.AfterFunc(time.Second/4, tier.Cut)
		}, "the connection broke", time.Second / 4, 0},
		{"forged", func(_ *cachetest.Shared, tier *cachetest.Tier) {
			tier.SetFaults(cachetest.Faults{Log: func(call string, reply *cacheruntime.LogReply) error {
				return fmt.Errorf("%s %d: %w", call, reply.Head.Number, cacheruntime.ErrMalformed)
			}})
		}, "Append: Append 2: malformed", 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared := cachetest.NewShared(t)
				tier, watch := shared.Tier(), process{shared.Tier(), t}
				from := watch.snapshot(0).At
				arrived := make(chan time.Duration, 1)
				began := time.Now()
				go func() {
					defer close(arrived)
					const tick = time.Second / 8
					for after := time.Duration(0); after < 11*time.Second; after += tick {
						<-time.After(began.Add(after + tick/2).Sub(time.Now()))
						if shared.Head().Number > from.Number {
							arrived <- after
							return
						}
					}
				}()
				synctest.Wait()
				test.fault(shared, tier)
				reply, err := tier.Append(t.Context(), from, cacheruntime.LogRecord{ID: id(1), Slots: []uint32{5}})
				if after := time.Since(began); after != test.after {
					t.Errorf("after %v, want %v", after, test.after)
				}
				switch {
				case test.err == "" && err == nil:
					if !reply.Appended || len(reply.Records) != 1 {
						t.Errorf("reply: %+v", reply)
					}
				case test.err == "" || err == nil || !strings.Contains(err.Error(), test.err):
					t.Errorf("error %v, want %q", err, test.err)
				}
				<-time.After(10*time.Second - time.Since(began))
				shared.Heal()
				if after, ok := <-arrived; ok != (test.arrives >= 0) || ok && after != test.arrives {
					t.Errorf("the record came after %v (%v), want %v", after, ok, test.arrives)
				}
			})
		})
	}
}

// Faults change what comes back, and nothing else.
func TestSharedForges(t *testing.T) {
	shared := cachetest.NewShared(t)
	p := process{shared.Tier(), t}
	at := p.append(p.snapshot(0).At, cacheruntime.LogRecord{ID: id(1), Slots: []uint32{2}, Mark: mark(1, 3)}).Head
	if err := p.Set(t.Context(), []cacheruntime.SharedEntry{{Key: "k", Entry: []byte("v"), TTL: cacheruntime.Forever}}); err != nil {
		t.Fatal(err)
	}
	whole := p.prove(cacheruntime.LogPosition{Epoch: at.Epoch, Number: 1, ID: shared.Records()[0].ID})
	snapshot := p.snapshot(0)
	p.SetFaults(cachetest.Faults{
		Log: func(_ string, reply *cacheruntime.LogReply) error {
			for _, record := range reply.Records {
				record.Slots[0], record.Mark.Slots[0] = 77, 77
			}
			reply.Head.Number = 1 << 60
			return nil
		},
		Snapshot: func(snapshot *cacheruntime.LogSnapshot) error {
			snapshot.Words[2], snapshot.Marks[0].Slots[0] = 77, 77
			return nil
		},
		Entry: func(key string, entry []byte) []byte {
			entry[0] = 'x'
			return entry
		},
	})
	if forged := p.prove(whole.Head); forged.Head.Number != 1<<60 {
		t.Errorf("not forged: %+v", forged)
	}
	if forged := p.snapshot(0); forged.Words[2] != 77 {
		t.Errorf("not forged: %+v", forged)
	}
	expectEntry(t, p, "k", "x")
	p.prove(cacheruntime.LogPosition{Epoch: at.Epoch, Number: 1, ID: shared.Records()[0].ID})
	p.SetFaults(cachetest.Faults{})
	again := p.prove(cacheruntime.LogPosition{Epoch: at.Epoch, Number: 1, ID: shared.Records()[0].ID})
	if diff := cmp.Diff(whole, again); diff != "" {
		t.Errorf("the log has changed:\n%s", diff)
	}
	if diff := cmp.Diff(snapshot, p.snapshot(0)); diff != "" {
		t.Errorf("the state has changed:\n%s", diff)
	}
	expectEntry(t, p, "k", "v")
}

// The fates of a seed are the same each time.
func TestRandomFate(t *testing.T) {
	a := cachetest.RandomFate(1, time.Second, 0.1, 0.2)
	b := cachetest.RandomFate(1, time.Second, 0.1, 0.2)
	var lost, broken int
	var delay time.Duration
	for range 1000 {
		fate := a("Prove")
		if other := b("Append"); other != fate {
			t.Fatalf("%v and %v", fate, other)
		}
		if fate.Lost {
			lost++
		}
		if fate.Broken {
			broken++
		}
		if fate.Delay < 0 || fate.Delay > time.Second {
			t.Errorf("delay %v", fate.Delay)
		}
		delay += fate.Delay
	}
	if lost < 50 || lost > 150 || broken < 130 || broken > 270 || delay < 400*time.Second || delay > 600*time.Second {
		t.Errorf("of 1000, %d lost, %d broken, %v together", lost, broken, delay)
	}
}

func TestSharedMisuse(t *testing.T) {
	for _, test := range []struct {
		name string
		use  func(tier *cachetest.Tier)
		want []string
	}{
		{"close", func(tier *cachetest.Tier) { tier.Close() }, nil},
		{"close twice", func(tier *cachetest.Tier) { tier.Close(); tier.Close() }, []string{"Close was called twice"}},
		{"after close", func(tier *cachetest.Tier) {
			tier.Close()
			tier.Get(t.Context(), nil)
		}, []string{"Get after Close"}},
		{"slots", func(tier *cachetest.Tier) {
			tier.Append(t.Context(), cacheruntime.LogPosition{}, cacheruntime.LogRecord{ID: id(1), Slots: []uint32{2, 1}})
		}, []string{"not distinct and sorted: 2, 1"}},
		{"beyond", func(tier *cachetest.Tier) {
			tier.Append(t.Context(), cacheruntime.LogPosition{}, cacheruntime.LogRecord{ID: id(1), Slots: []uint32{cacheruntime.SharedTableSize}})
		}, []string{"slot 1048576 is beyond the table"}},
		{"many slots", func(tier *cachetest.Tier) {
			slots := make([]uint32, 2049)
			for i := range slots {
				slots[i] = uint32(i)
			}
			tier.Append(t.Context(), cacheruntime.LogPosition{}, cacheruntime.LogRecord{ID: id(1), Slots: slots[:2048]})
			tier.Append(t.Context(), cacheruntime.LogPosition{}, cacheruntime.LogRecord{ID: id(2), Slots: slots})
		}, []string{"2049 slots, and 0 marked: at most 2048"}},
		{"many releases", func(tier *cachetest.Tier) {
			releases := make([]cacheruntime.LogRelease, 257)
			for i := range releases {
				releases[i].ID = id(1)
			}
			tier.Append(t.Context(), cacheruntime.LogPosition{}, cacheruntime.LogRecord{ID: id(1), Release: releases[:256]})
			tier.Append(t.Context(), cacheruntime.LogPosition{}, cacheruntime.LogRecord{ID: id(2), Release: releases})
		}, []string{"257 releases: at most 256"}},
		{"no id", func(tier *cachetest.Tier) {
			tier.Append(t.Context(), cacheruntime.LogPosition{}, cacheruntime.LogRecord{})
		}, []string{"without an id"}},
		{"condition", func(tier *cachetest.Tier) {
			tier.Append(t.Context(), cacheruntime.LogPosition{}, cacheruntime.LogRecord{ID: id(1), OnlyIf: cacheruntime.IfOutstanding})
		}, []string{"if a mark is outstanding, with 0 releases"}},
		{"no lease", func(tier *cachetest.Tier) {
			tier.Append(t.Context(), cacheruntime.LogPosition{}, cacheruntime.LogRecord{ID: id(1), Mark: cacheruntime.LogMark{ID: id(1)}})
		}, []string{"a mark with a lease of 0s"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			record(t, func(t testing.TB) { test.use(cachetest.NewShared(t).Tier()) }).expect(t, test.want...)
		})
	}
}

// Of two caches on one tier the second one is told, as by that of package redis.
func TestSharedTierIsOfOneCache(t *testing.T) {
	tier := cachetest.NewShared(t).Tier()
	cachetest.New(t, cacheruntime.WithShared(tier))
	second, err := cacheruntime.New(cacheruntime.WithShared(tier))
	if err == nil || !strings.Contains(err.Error(), "one for each cache") {
		t.Errorf("a second cache: %v", err)
	}
	if second != nil {
		second.Close()
	}
}
