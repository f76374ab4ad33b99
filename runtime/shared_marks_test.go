package cacheruntime_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

const fullLease = 10 * time.Second

func (s *site) joinGuarded(options ...cacheruntime.Option) *member {
	s.t.Helper()
	return s.join(append(options, cacheruntime.WithGuardedWrites(fullLease))...)
}

func (m *member) mustBegin(id int64) (end func(error)) {
	m.t.Helper()
	end, err := m.begin(id)
	if err != nil {
		m.t.Fatal(err)
	}
	return end
}

// While a guarded write is in progress, nobody is served what it may be changing: who
// was there, and who comes.
func TestSharedGuardedWrite(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.joinGuarded(), s.joinGuarded()
		a.expectHits(1)
		end := b.mustBegin(1)
		pass(bound)
		a.expectNoHit(1)
		c := s.joinGuarded()
		c.expectNoHit(1)
		s.grow(1)
		end(nil)
		pass(bound)
		a.expectHits(1)
		c.expectHits(1)
		s.expectNoMarks()
	})
}

// Marks that the log has lost are entered again by those who know of them.
func TestSharedMarksOfALostLog(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		b := s.joinGuarded()
		end := b.mustBegin(1)
		s.shared.Flush()
		pass(2 * bound)
		c := s.joinGuarded()
		c.expectNoHit(1)
		s.grow(1)
		end(nil)
		pass(bound)
		c.expectHits(1)
	})
}

// A mark that could not be entered again is not once its write has ended.
func TestSharedMarkOfALostLogEnds(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		log := new(full)
		log.ended.Store(true)
		s.wrap = func(t *cachetest.Tier) cacheruntime.Shared { log.Tier = t; return log }
		a := s.joinGuarded()
		end := a.mustBegin(1)
		pass(bound)
		log.ended.Store(false)
		s.shared.Flush()
		pass(3 * bound)
		s.grow(1)
		end(nil)
		pass(bound)
		log.ended.Store(true)
		pass(3 * bound)
		s.expectNoMarks()
		a.expectHits(1)
	})
}

// A slow log takes a while to take a mark that is told again.
type slow struct {
	*cachetest.Tier
	asked, granted chan struct{}
}

func (l *slow) Append(ctx context.Context, from cacheruntime.LogPosition, record cacheruntime.LogRecord) (cacheruntime.LogReply, error) {
	if record.OnlyIf == cacheruntime.IfAbsent {
		l.asked <- struct{}{}
		<-l.granted
	}
	return l.Tier.Append(ctx, from, record)
}

// Nor does one stay there that is entered again when its write has just ended.
func TestSharedMarkOfALostLogEndsMeanwhile(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		log := &slow{asked: make(chan struct{}), granted: make(chan struct{})}
		s.wrap = func(t *cachetest.Tier) cacheruntime.Shared { log.Tier = t; return log }
		a := s.joinGuarded()
		end := a.mustBegin(1)
		s.grow(1)
		pass(bound)
		s.shared.Flush()
		<-log.asked
		end(nil)
		log.granted <- struct{}{}
		pass(bound)
		s.expectNoMarks()
		a.expectHits(1)
	})
}

// A gated log refuses to take marks that are told again, or holds replies back.
type gated struct {
	*cachetest.Tier
	refuses          atomic.Bool // marks that are told again
	told             chan cacheruntime.LogReply
	holdsAppends     atomic.Bool // other ones
	holdsProofs      atomic.Bool
	appended, proven chan struct{} // closed to let go of them
}

func (g *gated) Append(ctx context.Context, from cacheruntime.LogPosition, record cacheruntime.LogRecord) (cacheruntime.LogReply, error) {
	again := record.OnlyIf == cacheruntime.IfAbsent
	if again && g.refuses.Load() {
		return cacheruntime.LogReply{}, errFull
	}
	reply, err := g.Tier.Append(ctx, from, record)
	switch {
	case again:
		g.told <- reply
	case g.holdsAppends.Load():
		<-g.appended
	}
	return reply, err
}

func (g *gated) Prove(ctx context.Context, from cacheruntime.LogPosition) (cacheruntime.LogReply, error) {
	if g.holdsProofs.Load() {
		<-g.proven
	}
	return g.Tier.Prove(ctx, from)
}

// A process knows of a mark of a lost log, and the new one does not take it yet. While an
// append of the process is on its way, the log changes; then it is told of the mark.
func onLateRestore(t *testing.T, change func(s *site, mark cacheruntime.LogMark), then func(s *site, b *member, g *gated)) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.joinGuarded()
		g := &gated{told: make(chan cacheruntime.LogReply, 1), appended: make(chan struct{}), proven: make(chan struct{})}
		s.wrap = func(t *cachetest.Tier) cacheruntime.Shared { g.Tier = t; return g }
		b := s.join()
		a.mustBegin(1)
		pass(2 * bound)
		mark := s.shared.Marks()[0]
		g.refuses.Store(true)
		a.tier.Cut()
		s.shared.Flush()
		pass(2 * bound)
		b.get(1) // stored, though it is marked: nothing is served yet
		s.grow(1)
		pass(3 * bound)
		b.expect(1)
		s.grow(1)
		pass(3 * bound)
		g.holdsAppends.Store(true)
		go b.cache.Invalidate(t.Context(), rowTag(4))
		pass(time.Millisecond)
		change(s, mark)
		then(s, b, g)
	})
}

// What the process asked before another one has entered the mark again proves nothing:
// nothing is served until the mark is in its own table.
func TestSharedProofBeforeAMarkOfOthers(t *testing.T) {
	onLateRestore(t, func(s *site, mark cacheruntime.LogMark) {
		s.append(cacheruntime.LogRecord{Mark: mark})
	}, func(s *site, b *member, g *gated) {
		g.holdsProofs.Store(true)
		g.refuses.Store(false)
		if reply := <-g.told; reply.Appended {
			s.t.Error("too weak: the mark was not in the log")
		}
		g.holdsAppends.Store(false)
		pass(time.Millisecond)
		close(g.appended)
		pass(time.Millisecond)
		b.expect(1)
		g.holdsProofs.Store(false)
		close(g.proven)
		pass(bound)
		b.expectNoHit(1)
	})
}

// A mark that has ended in a record that the process has not seen yet does not stay there
// when it is entered again.
func TestSharedMarkOfALostLogEndsUnseen(t *testing.T) {
	onLateRestore(t, func(s *site, mark cacheruntime.LogMark) {
		s.append(cacheruntime.LogRecord{Slots: mark.Slots, Release: []cacheruntime.LogRelease{{ID: mark.ID}}})
	}, func(s *site, b *member, g *gated) {
		g.refuses.Store(false)
		if reply := <-g.told; !reply.Appended {
			s.t.Error("too weak: the mark was in the log")
		}
		g.holdsAppends.Store(false)
		close(g.appended)
		pass(bound)
		s.expectNoMarks()
		b.expectHits(1)
	})
}

// Nor does a process end one that it has not entered: its lease was over, and its owner
// has renewed it.
func TestSharedMarkOfOthersIsLeft(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.joinGuarded()
		log := &slow{asked: make(chan struct{}), granted: make(chan struct{})}
		s.wrap = func(t *cachetest.Tier) cacheruntime.Shared { log.Tier = t; return log }
		b := s.join()
		a.mustBegin(1)
		pass(bound)
		mark := s.shared.Marks()[0]
		a.tier.Cut()
		s.shared.Flush()
		<-log.asked
		s.append(cacheruntime.LogRecord{Release: []cacheruntime.LogRelease{{ID: mark.ID}}})
		mark.Generation++
		s.append(cacheruntime.LogRecord{Mark: mark})
		log.granted <- struct{}{}
		pass(bound)
		if len(s.shared.Marks()) != 1 {
			t.Error("the mark of another process was ended")
		}
		b.expectNoHit(1)
	})
}

// The lease of a writer that has died is ended in the log, by whoever is there.
func TestSharedLeaseEnds(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.joinGuarded(), s.joinGuarded()
		a.expectHits(1)
		b.mustBegin(1)
		b.tier.Cut()
		pass(fullLease / 2)
		s.grow(1)
		a.expectNoHit(1)
		pass(fullLease)
		a.expect(1)
		a.expectHits(1)
		s.expectNoMarks()
		s.joinGuarded().expectHits(1)
	})
}

// The mark of a commit is renewed for as long as it takes. Who has not heard of that does
// not end it.
func TestSharedCommitThatTakesLong(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.joinGuarded(), s.joinGuarded()
		a.expectHits(1)
		b.commit(1, func() {
			for range 6 {
				pass(fullLease / 2)
				a.expectNoHit(1)
			}
			// a hears nothing of renewals until the lease is over as far as it knows.
			a.tier.SetFaults(cachetest.Faults{Request: only(lost, "Prove", "Wait"), Reply: only(lost, "Wait")})
			pass(2 * fullLease)
			a.tier.SetFaults(cachetest.Faults{})
			pass(2 * bound)
			for _, r := range s.shared.Records() {
				if len(r.Release) > 0 {
					t.Errorf("record %d ends the mark", r.Number)
				}
			}
			a.expectNoHit(1)
			s.grow(1)
		})
		pass(bound)
		a.expectHits(1)
		s.expectNoMarks()
	})
}

// A renewal that its process has given up arrives after the next one, and the process ends.
// The mark ends with its lease all the same.
func TestSharedRenewalsOutOfOrder(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.join(), s.joinGuarded()
		a.expectHits(1)
		over := make(chan struct{})
		defer close(over)
		generation := func() uint64 {
			marks := s.shared.Marks()
			if len(marks) != 1 {
				t.Fatalf("%d marks", len(marks))
			}
			return marks[0].Generation
		}
		go b.commit(1, func() {
			b.tier.SetFaults(cachetest.Faults{Request: once(late(2*time.Second), "Append")})
			for generation() < 2 { // the first renewal is late, and has been given up
				pass(time.Millisecond)
			}
			for generation() == 2 {
				pass(time.Millisecond)
			}
			b.tier.Cut()
			<-over
		})
		pass(5 * fullLease)
		s.expectNoMarks()
		a.expectHits(1)
	})
}

// While a process ends the leases of many marks, one after the other, it renews its own.
func TestSharedRenewalsWhileLeasesEnd(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		const lease, others = 2 * time.Second, 1000
		a := s.join(cacheruntime.WithGuardedWrites(lease))
		for i := range uint32(others) { // of a process that has ended
			s.append(cacheruntime.LogRecord{Mark: cacheruntime.LogMark{
				ID: cacheruntime.LogID{1, byte(i), byte(i >> 8)}, Slots: []uint32{i}, Lease: lease / 2,
			}})
		}
		a.tier.SetFaults(cachetest.Faults{Request: only(late(lease/10), "Append")})
		a.commit(1, func() {
			own := func(m cacheruntime.LogMark) bool { return m.Lease == lease }
			renewed := func() uint64 {
				marks := s.shared.Marks()
				return marks[slices.IndexFunc(marks, own)].Generation
			}
			for range 5 {
				before := renewed()
				pass(lease)
				if after := renewed(); after == before {
					t.Errorf("renewed %d times, and not once more for a whole lease", after)
				}
			}
			if n := len(s.shared.Marks()); n == 1 || n > others {
				t.Errorf("too weak: there are %d marks", n)
			}
		})
	})
}

// So it does while it tells a new log of many marks.
func TestSharedRenewalsWhileMarksAreToldAgain(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		const lease, others = 2 * time.Second, 1000
		a := s.join(cacheruntime.WithGuardedWrites(lease))
		for i := range uint32(others) {
			s.append(cacheruntime.LogRecord{Mark: cacheruntime.LogMark{
				ID: cacheruntime.LogID{1, byte(i), byte(i >> 8)}, Slots: []uint32{i}, Lease: time.Hour,
			}})
		}
		pass(bound)
		a.tier.SetFaults(cachetest.Faults{Request: only(late(lease/100), "Append")})
		a.commit(1, func() {
			s.shared.Flush()
			pass(lease)
			renewed := func() uint64 {
				marks := s.shared.Marks()
				i := slices.IndexFunc(marks, func(m cacheruntime.LogMark) bool { return m.Lease == lease })
				if i < 0 {
					t.Fatal("the mark of the commit is not in the new log")
				}
				return marks[i].Generation
			}
			for range 5 {
				before := renewed()
				pass(lease)
				if after := renewed(); after == before {
					t.Errorf("renewed %d times, and not once more for a whole lease", after)
				}
			}
			if n := len(s.shared.Marks()); n > others {
				t.Errorf("too weak: there are %d marks", n)
			}
		})
	})
}

// A guarded write that cannot be marked is refused, and leaves no mark.
func TestSharedRefused(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.joinGuarded(), s.joinGuarded()
		for name, faults := range map[string]cachetest.Faults{
			"lost on the way there": {Request: only(broken, "Append")},
			"lost on the way back":  {Reply: only(broken, "Append")},
		} {
			a.tier.SetFaults(faults)
			if _, err := a.begin(1); !errors.Is(err, cacheruntime.ErrRefused) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := a.begin(1); !errors.Is(err, cacheruntime.ErrRefused) {
				t.Errorf("%s, when that is known: %v", name, err)
			}
			a.tier.SetFaults(cachetest.Faults{})
			pass(fullLease / 2)
			if marks := s.shared.Marks(); len(marks) > 0 {
				t.Errorf("%s: marks are left: %v", name, marks)
			}
			b.expectHits(1)
		}
		if n := a.cache.Stats().Refused; n != 4 {
			t.Errorf("%d refusals are counted, want 4", n)
		}
	})
}

// A refusal is in the trace of its context, of a write and of a commit.
func TestSharedRefusalIsTraced(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.joinGuarded()
		ctx, trace := cacheruntime.WithTrace(t.Context())
		tx, end := a.cache.Begin(ctx)
		if _, _, err := a.update.Begin(tx, func(tags *cacheruntime.Tags) { tags.Add(rowTag(1)) }); err != nil {
			t.Fatal(err)
		}
		a.tier.Cut()
		if err := end.Commit(func() error { t.Error("it is made"); return nil }); !errors.Is(err, cacheruntime.ErrRefused) {
			t.Error(err)
		}
		_, _, err := a.update.Begin(ctx, func(tags *cacheruntime.Tags) { tags.Add(rowTag(1)) })
		if !errors.Is(err, cacheruntime.ErrRefused) {
			t.Error(err)
		}
		events := trace.Events()
		if len(events) != 2 {
			t.Fatalf("events:\n%v", trace)
		}
		for _, e := range events {
			if e.Outcome != cacheruntime.Refused || !errors.Is(e.Err, cacheruntime.ErrRefused) {
				t.Errorf("want a refusal: %v", e)
			}
		}
		end.End()
	})
}

// A write of which a part is in doubt is in doubt, even if another part of it was refused.
func TestSharedDoubtAndRefusal(t *testing.T) {
	refusal := fmt.Errorf("%w: unreachable", cacheruntime.ErrRefused)
	for name, test := range map[string]struct {
		err   error
		marks int
	}{
		"refused":              {refusal, 0},
		"refused twice":        {errors.Join(refusal, fmt.Errorf("again: %w", refusal)), 0},
		"in doubt and refused": {fmt.Errorf("saving: %w", errors.Join(inDoubt, refusal)), 1},
		"refused and in doubt": {errors.Join(refusal, inDoubt), 1},
	} {
		t.Run(name, func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				a := s.join(cacheruntime.WithAmbiguousWrites(fullLease, nil))
				a.expectHits(1)
				a.mustBegin(1)(test.err)
				if n := len(s.shared.Marks()); n != test.marks {
					t.Errorf("there are %d marks, want %d", n, test.marks)
				}
				a.expect(1)
				if test.marks > 0 {
					s.grow(1)
				}
				pass(2 * fullLease)
				a.expectHits(1)
			})
		})
	}
}

// A guarded write that is in doubt is marked at all times, also if that is told later: the
// mark of its lease comes with the end of the one that guarded it.
func TestSharedDoubtTakesOver(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.joinGuarded()
		end := a.mustBegin(1)
		guard := s.shared.Marks()[0].ID
		a.tier.Cut()
		end(inDoubt)
		a.tier.Heal()
		pass(3 * bound)
		a.expectDelivered()
		for _, r := range s.shared.Records() {
			for _, release := range r.Release {
				if release.ID == guard && r.Mark.ID == (cacheruntime.LogID{}) {
					t.Error("the guard is gone before there is another mark")
				}
			}
		}
		if n := len(s.shared.Marks()); n != 1 {
			t.Errorf("there are %d marks, want that of the write in doubt", n)
		}
	})
}

// Processes do not try to end the marks that others have ended meanwhile.
func TestSharedLeasesAreEndedOnce(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		var members []*member
		for range 5 {
			members = append(members, s.join(cacheruntime.WithAmbiguousWrites(bound, nil)))
		}
		const writes = 300
		for id := range int64(writes) {
			members[0].mustBegin(id)(inDoubt)
		}
		if n := len(s.shared.Marks()); n != writes {
			t.Fatalf("there are %d marks, want %d", n, writes)
		}
		appends := 0
		for _, m := range members {
			appends -= m.tier.Calls("Append")
			m.tier.SetFaults(cachetest.Faults{Request: only(late(2*time.Millisecond), "Append")})
		}
		pass(10 * bound)
		for _, m := range members {
			appends += m.tier.Calls("Append")
		}
		s.expectNoMarks()
		if appends > writes*3/2 {
			t.Errorf("%d marks were ended with %d records", writes, appends)
		}
	})
}

// A write in doubt that lands later is not hidden by what was loaded in between, in any
// process.
func TestSharedDoubt(t *testing.T) {
	for name, isCut := range map[string]bool{"delivered": false, "delivered later": true} {
		t.Run(name, func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				a, b := s.join(cacheruntime.WithAmbiguousWrites(fullLease, nil)), s.join()
				b.expectHits(1)
				end := a.mustBegin(1)
				if isCut {
					a.tier.Cut()
				}
				end(inDoubt)
				a.tier.Heal()
				pass(2 * bound)
				b.expectNoHit(1)
				a.expectNoHit(1)
				s.grow(1)
				b.expect(1)
				a.expect(1)
				pass(2 * fullLease)
				b.expectHits(1)
				a.expectHits(1)
			})
		})
	}
}

// The reply to a write in doubt comes after the follower has applied its mark, and ended
// it: it is not applied again.
func TestSharedMarkOfALateReply(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.join(cacheruntime.WithAmbiguousWrites(bound/4, nil))
		a.tier.SetFaults(cachetest.Faults{Reply: once(late(bound*9/10), "Append")})
		a.mustBegin(1)(inDoubt)
		s.expectNoMarks()
		a.get(1)
		a.expectHit(1)
	})
}

// Marks that no process of ours has made do no harm but that what they mark is not
// served.
func TestSharedForgedMarks(t *testing.T) {
	// The log has the mark. What the process hears of it is changed where no log would
	// take it as it is.
	for name, forge := range map[string]func(appended, heard *cacheruntime.LogMark){
		"no lease":           func(_, heard *cacheruntime.LogMark) { heard.Lease = 0 },
		"a negative lease":   func(_, heard *cacheruntime.LogMark) { heard.Lease = -time.Hour },
		"the longest lease":  func(_, heard *cacheruntime.LogMark) { heard.Lease = cacheruntime.Forever },
		"a short lease":      func(appended, _ *cacheruntime.LogMark) { appended.Lease = 1 },
		"slots out of order": func(appended, _ *cacheruntime.LogMark) { appended.Slots = []uint32{9, 3, 9} },
		"slots out of bounds": func(_, heard *cacheruntime.LogMark) {
			heard.Slots = []uint32{cacheruntime.SharedTableSize + 3, 1<<32 - 1}
		},
		"a late generation": func(appended, _ *cacheruntime.LogMark) { appended.Generation = 1<<64 - 1 },
	} {
		t.Run(name, func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				appended := cacheruntime.LogMark{ID: cacheruntime.LogID{1}, Slots: []uint32{3}, Lease: time.Second}
				forge(&appended, &cacheruntime.LogMark{})
				heard := appended
				forge(&cacheruntime.LogMark{}, &heard)
				a := s.join()
				a.tier.SetFaults(cachetest.Faults{Log: func(_ string, reply *cacheruntime.LogReply) error {
					for i := range reply.Records {
						if r := &reply.Records[i]; r.Mark.ID == heard.ID {
							r.Mark = heard
						}
					}
					return nil
				}})
				s.append(cacheruntime.LogRecord{Mark: appended})
				pass(10 * time.Second)
				a.get(1)
				a.expectHit(1)
				if n := a.tier.Calls("Append"); n > 10 {
					t.Errorf("%d records appended", n)
				}
				if heard.Lease < time.Hour {
					s.expectNoMarks()
				}
			})
		})
	}
}

// Nobody waits for longer than a day for the end of a mark, whatever lease it has.
func TestSharedLongestLease(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.join(cacheruntime.WithMaxStaleness(time.Hour))
		s.append(cacheruntime.LogRecord{Mark: cacheruntime.LogMark{ID: cacheruntime.LogID{1}, All: true, Lease: cacheruntime.Forever}})
		pass(23 * time.Hour)
		if len(s.shared.Marks()) == 0 {
			t.Error("it is ended too soon")
		}
		pass(5 * time.Hour)
		s.expectNoMarks()
	})
}

// A guarded write that invalidates nothing marks nothing, now or in another epoch.
func TestSharedGuardedWriteOfNothing(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.joinGuarded()
		for range 3 {
			_, call, err := a.update.Begin(t.Context(), func(*cacheruntime.Tags) {})
			if err != nil {
				t.Fatal(err)
			}
			call.Returned(nil)
			call.End()
		}
		s.shared.Flush()
		pass(2 * bound)
		if n := a.tier.Calls("Append"); n > 0 {
			t.Errorf("%d records appended", n)
		}
		s.expectNoMarks()
	})
}

// The end of a lease that could not be entered is entered when it can be, not a lease
// later.
func TestSharedEndOfALeaseInAnOutage(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		const lease = time.Minute
		a := s.join()
		s.append(cacheruntime.LogRecord{Mark: cacheruntime.LogMark{ID: cacheruntime.LogID{1}, All: true, Lease: lease}})
		pass(lease - bound)
		a.tier.Cut()
		pass(lease / 2)
		a.tier.Heal()
		pass(5 * bound)
		s.expectNoMarks()
		a.get(1)
		a.expectHit(1)
	})
}

// A mark is renewed at the moment at which it is released, and the renewal comes second.
func TestSharedRenewalBehindTheRelease(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.joinGuarded()
		ctx, tx := a.cache.Begin(t.Context())
		_, call, err := a.update.Begin(ctx, func(tags *cacheruntime.Tags) { tags.Add(rowTag(1)) })
		if err != nil {
			t.Fatal(err)
		}
		call.Returned(nil)
		call.End()
		err = tx.Commit(func() error {
			a.tier.SetFaults(cachetest.Faults{Request: once(late(bound/2), "Append")})
			a.calls("Append") // the renewal
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		pass(2 * bound)
		renewed, released := -1, -1
		for i, record := range slices.Backward(s.shared.Records()) {
			if record.Mark.Generation > 0 {
				renewed = i
			}
			if len(record.Release) > 0 {
				released = i // at last the first
			}
		}
		if renewed < 0 || released < 0 || renewed < released {
			t.Fatalf("record %d renews the mark, and record %d is the first to end it", renewed, released)
		}
		s.expectNoMarks()
	})
}

// A method that returns no error cannot be refused: that it was not guarded is logged.
func TestSharedUnguardedAnyway(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		var log bytes.Buffer
		a := s.join(cacheruntime.WithGuardedWrites(fullLease), cacheruntime.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		a.expectHits(1)
		a.tier.Cut()
		pass(bound)
		_, call := a.update.BeginAnyway(t.Context(), func(tags *cacheruntime.Tags) { tags.Add(rowTag(1)) })
		s.grow(1)
		call.Returned(nil)
		call.End()
		a.expect(1)
		synctest.Wait()
		if lines := log.String(); !strings.Contains(lines, "guarded") || !strings.Contains(lines, "Update") {
			t.Errorf("nothing is logged of it:\n%s", lines)
		}
	})
}
