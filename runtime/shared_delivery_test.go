package cacheruntime_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

// What could not be delivered is not served in the process that wrote it, also from
// another table, and is delivered as soon as that can be done.
func TestSharedUndelivered(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.join(), s.join()
		a.expectHits(1)
		b.expectHits(1)
		a.tier.Cut()
		a.write(1)
		a.expect(1)
		if n := a.cache.Stats().Shared.Queued; n != 1 {
			t.Errorf("%d are queued", n)
		}
		a.tier.Heal()
		pass(3 * bound)
		b.expect(1)
		a.expectHits(1)
		b.expectHits(1)
		if n := a.cache.Stats().Shared.Queued; n != 0 {
			t.Errorf("%d are queued still", n)
		}
	})
}

// What is queued while something is being delivered stays queued.
func TestSharedUndeliveredMeanwhile(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.join(), s.join()
		b.expectHits(1)
		b.expectHits(2)
		a.tier.Cut()
		a.write(1)
		synctest.Wait() // or else it may be called before that is waited for
		a.tier.SetFaults(cachetest.Faults{Request: only(late(bound/2), "Append")})
		a.tier.Heal()
		a.calls("Append")
		a.write(2)
		pass(5 * bound)
		b.expect(1)
		b.expect(2)
	})
}

// What is queued is not served from a table that is read anew.
func TestSharedUndeliveredInANewTable(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.join(), s.join()
		loseEpoch(a, b)
		a.tier.SetFaults(cachetest.Faults{Request: only(broken, "Append")})
		a.write(1)
		pass(2 * bound)
		if stats := a.cache.Stats().Shared; !stats.Current || stats.Queued != 1 {
			t.Fatalf("%+v", stats)
		}
		a.expect(1)
	})
}

// A cache can be closed while something is being delivered.
func TestSharedCloseDuringADelivery(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.join(), s.join()
		b.expectHits(1)
		a.tier.Cut()
		a.write(1)
		synctest.Wait() // or else it may be called before that is waited for
		a.tier.SetFaults(cachetest.Faults{Request: only(late(bound/2), "Append")})
		a.tier.Heal()
		a.calls("Append")
		if err := a.cache.Close(); err != nil {
			t.Error(err)
		}
		pass(bound)
		b.expect(1)
	})
}

// Close delivers what is left, or says that it could not.
func TestSharedClose(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.join(), s.join()
		b.expectHits(1)
		a.tier.Cut()
		a.write(1)
		a.tier.Heal()
		if err := a.cache.Close(); err != nil {
			t.Errorf("what can be delivered is left: %v", err)
		}
		pass(bound)
		b.expect(1)

		c := s.join()
		c.tier.Cut()
		c.write(1)
		if err := c.cache.Close(); !errors.Is(err, cacheruntime.ErrUndelivered) || !strings.Contains(err.Error(), "what 1 invalidation made stale") {
			t.Errorf("%v, want one that says what was not delivered", err)
		}
	})
}

// A full log has no room for marks.
type full struct {
	*cachetest.Tier
	ended atomic.Bool
}

var errFull = errors.New("no room for another mark")

func (f *full) Append(ctx context.Context, from cacheruntime.LogPosition, record cacheruntime.LogRecord) (cacheruntime.LogReply, error) {
	if record.Mark.ID != (cacheruntime.LogID{}) && !f.ended.Load() {
		return cacheruntime.LogReply{}, errFull
	}
	return f.Tier.Append(ctx, from, record)
}

// What a log has no room to mark does not keep others from being told what is stale, by
// the write in doubt and by those after it. It is marked as soon as there is room.
func TestSharedWithoutRoomForMarks(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		log := new(full)
		s.wrap = func(t *cachetest.Tier) cacheruntime.Shared { log.Tier = t; return log }
		a := s.join(cacheruntime.WithAmbiguousWrites(fullLease, nil))
		s.wrap = nil
		b := s.join()
		b.expectHits(1)
		b.expectHits(2)
		end := a.mustBegin(1)
		s.grow(1)
		end(inDoubt)
		a.write(2)
		pass(3 * bound)
		b.expect(1)
		b.expect(2)
		if n := a.cache.Stats().Shared.Queued; n == 0 {
			t.Error("nothing is left to be delivered, and there is no mark")
		}
		if err := a.cache.Invalidate(t.Context(), rowTag(2)); err != nil {
			t.Errorf("what needs no mark waits for one that has no room: %v", err)
		}
		log.ended.Store(true)
		pass(3 * bound)
		a.expectDelivered()
		if n := len(s.shared.Marks()); n != 1 {
			t.Errorf("there are %d marks, want 1", n)
		}
		s.grow(1) // it lands
		pass(2 * fullLease)
		b.expectHits(1)
		s.expectNoMarks()
	})
}

// Nor do writes that are refused, as there is no room for their marks, keep others from
// being told, or end hits. The log is asked for room about once a second, whoever wants it.
func TestSharedRefusedWithoutRoomForMarks(t *testing.T) {
	for _, bound := range []time.Duration{0, bound} {
		for _, queued := range []bool{false, true} {
			t.Run(fmt.Sprintf("bound %v, mark queued %v", bound, queued), func(t *testing.T) {
				onSite(t, func(t *testing.T, s *site) {
					log := new(full)
					s.wrap = func(t *cachetest.Tier) cacheruntime.Shared { log.Tier = t; return log }
					a := s.join(cacheruntime.WithAmbiguousWrites(time.Hour, nil), cacheruntime.WithGuardedWrites(time.Hour), cacheruntime.WithMaxStaleness(bound))
					if queued {
						log.ended.Store(true)
						end := a.mustBegin(1)
						log.ended.Store(false)
						s.grow(1)
						end(inDoubt)
					}
					pass(3 * time.Second)
					a.expectHits(2)
					failures, loads, undelivered := a.cache.Stats().Shared.Failures, a.loadCount(), 0
					for range 200 {
						if _, err := a.begin(3); !errors.Is(err, cacheruntime.ErrRefused) {
							t.Fatalf("a write that cannot be marked: %v", err)
						}
						a.expect(2)
						if a.cache.Invalidate(t.Context(), rowTag(4)) != nil {
							undelivered++
						}
						pass(10 * time.Millisecond)
					}
					failures, loads = a.cache.Stats().Shared.Failures-failures, a.loadCount()-loads
					if failures > 10 || loads > 10 || undelivered > 10 {
						t.Errorf("within 2 s the log was asked in vain %d times; of 200 reads %d were loaded, of 200 invalidations %d not delivered at once",
							failures, loads, undelivered)
					}
					log.ended.Store(true)
					pass(2 * time.Second)
					a.mustBegin(3)(nil)
				})
			})
		}
	}
}

// A small log has room for one mark. As in Redis, those that are renewed need none, and
// those that a record ends make some.
type small struct {
	*cachetest.Tier
	shared *cachetest.Shared
}

func (l *small) Append(ctx context.Context, from cacheruntime.LogPosition, record cacheruntime.LogRecord) (cacheruntime.LogReply, error) {
	left := slices.DeleteFunc(l.shared.Marks(), func(m cacheruntime.LogMark) bool {
		return m.ID == record.Mark.ID || slices.ContainsFunc(record.Release, func(r cacheruntime.LogRelease) bool { return r.ID == m.ID })
	})
	if record.Mark.ID != (cacheruntime.LogID{}) && len(left) > 0 {
		return cacheruntime.LogReply{}, errFull
	}
	return l.Tier.Append(ctx, from, record)
}

func (s *site) makeSmall() {
	s.wrap = func(t *cachetest.Tier) cacheruntime.Shared { return &small{t, s.shared} }
}

// A process whose mark has no room makes room, by ending leases: there may be nobody else
// who does.
func TestSharedRoomForMarksIsMade(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.makeSmall()
		a := s.join(cacheruntime.WithAmbiguousWrites(fullLease, nil))
		for id := range int64(2) {
			end := a.mustBegin(id)
			s.grow(id)
			end(inDoubt)
		}
		pass(10 * fullLease)
		a.expectDelivered()
		s.expectNoMarks()
		a.expectHits(0)
		a.expectHits(1)
	})
}

// So does one that has no room for a mark that is to be entered into a new epoch.
func TestSharedRoomForMarksOfALostLogIsMade(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.makeSmall()
		a := s.join(cacheruntime.WithAmbiguousWrites(fullLease, nil))
		end := a.mustBegin(0)
		s.grow(0)
		end(inDoubt)
		a.tier.Stall()
		s.shared.FailOver(100) // which has lost all
		s.append(cacheruntime.LogRecord{Mark: cacheruntime.LogMark{ID: cacheruntime.LogID{1}, Slots: []uint32{1}, Lease: fullLease}})
		a.tier.Heal()
		pass(10 * fullLease)
		a.expectDelivered()
		s.expectNoMarks()
		a.expectHits(0)
		all := 0
		for _, r := range s.shared.Records() {
			if r.All {
				all++
			}
		}
		if all != 1 {
			t.Errorf("%d records of everything", all)
		}
	})
}

// What a new epoch has no room to mark does not keep others from being told what is stale.
func TestSharedWithoutRoomForMarksOfALostLog(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		log := new(full)
		log.ended.Store(true)
		s.wrap = func(t *cachetest.Tier) cacheruntime.Shared { log.Tier = t; return log }
		a := s.join(cacheruntime.WithAmbiguousWrites(fullLease, nil))
		s.wrap = nil
		end := a.mustBegin(0)
		s.grow(0)
		end(inDoubt)
		pass(bound / 2)
		log.ended.Store(false)
		s.shared.Flush()
		pass(3 * bound)
		b := s.join() // it knows of no mark
		b.expectHits(1)
		b.expectHits(2)
		a.write(2)
		a.write(1)
		pass(3 * bound)
		b.expect(1)
		b.expect(2)
		if a.cache.Stats().Shared.Current {
			t.Error("too weak: there is room for the mark")
		}
		log.ended.Store(true)
		pass(2 * fullLease)
		a.expectDelivered()
		b.expectHits(2)
		s.expectNoMarks()
	})
}

// A commit's mark is renewed though another mark has no room.
func TestSharedRenewalWithoutRoomForMarks(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.makeSmall()
		a, b := s.joinGuarded(), s.joinGuarded()
		b.expectHits(1)
		a.commit(1, func() {
			_, call := a.update.BeginAnyway(context.Background(), func(tags *cacheruntime.Tags) { tags.Add(rowTag(2)) })
			call.End() // in doubt
			for range 30 {
				pass(fullLease / 10)
				b.expectNoHit(1)
			}
		})
	})
}

// An impostor answers the next append in place of the log, which does not hear of it.
type impostor struct {
	*cachetest.Tier
	answer atomic.Pointer[func(from cacheruntime.LogPosition, record cacheruntime.LogRecord) cacheruntime.LogReply]
}

func (i *impostor) Append(ctx context.Context, from cacheruntime.LogPosition, record cacheruntime.LogRecord) (cacheruntime.LogReply, error) {
	if answer := i.answer.Swap(nil); answer != nil {
		return (*answer)(from, record), nil
	}
	return i.Tier.Append(ctx, from, record)
}

// joinImpostor starts a process whose log is an impostor's.
func (s *site) joinImpostor() (*member, *impostor) {
	i := new(impostor)
	s.wrap = func(t *cachetest.Tier) cacheruntime.Shared { i.Tier = t; return i }
	defer func() { s.wrap = nil }()
	return s.join(), i
}

// A server that was the primary answers: it has appended the record to a log that nobody
// follows any more. That is no answer: what was invalidated there is invalidated in the
// log that the table is of, before the write returns.
func TestSharedAppendedElsewhere(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, server := s.joinImpostor()
		b := s.join()
		old := a.cache.Stats().Shared.Epoch
		s.shared.Flush()
		b.write(9)
		pass(2 * bound)
		a.expectHits(1)
		b.expectHits(1)
		if now := a.cache.Stats().Shared.Epoch; now == old {
			t.Fatal("there is no new epoch")
		}
		answer := func(from cacheruntime.LogPosition, record cacheruntime.LogRecord) cacheruntime.LogReply {
			head := cacheruntime.LogPosition{Epoch: old, Number: from.Number + 1, ID: record.ID}
			return cacheruntime.LogReply{Head: head, Appended: true}
		}
		server.answer.Store(&answer)
		a.write(1)
		a.expect(1)
		pass(2 * bound)
		b.expect(1)
		if n := a.cache.Stats().Shared.Queued; n != 0 {
			t.Errorf("%d are queued", n)
		}
	})
}

// A record without a condition that was not appended is not delivered.
func TestSharedNotAppended(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, server := s.joinImpostor()
		answer := func(from cacheruntime.LogPosition, _ cacheruntime.LogRecord) cacheruntime.LogReply {
			return cacheruntime.LogReply{Head: from, Known: true}
		}
		server.answer.Store(&answer)
		if err := a.cache.Invalidate(t.Context(), rowTag(1)); !errors.Is(err, cacheruntime.ErrUndelivered) {
			t.Errorf("%v, want %v", err, cacheruntime.ErrUndelivered)
		}
		pass(bound)
		a.expectDelivered()
		if n := a.tier.Calls("Append"); n == 0 {
			t.Error("it is not tried again")
		}
	})
}

// While writes keep coming, what could not be delivered is delivered once it can be,
// and the writes after it deliver for themselves again.
func TestSharedDeliveryUnderConstantWrites(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.join()
		a.tier.Cut()
		if err := a.cache.Invalidate(t.Context(), rowTag(0)); !errors.Is(err, cacheruntime.ErrUndelivered) {
			t.Fatalf("%v, want %v", err, cacheruntime.ErrUndelivered)
		}
		var writers sync.WaitGroup
		for i := range int64(2000) {
			writers.Go(func() {
				pass(time.Duration(i) * time.Millisecond)
				a.cache.Invalidate(t.Context(), rowTag(i))
			})
		}
		pass(100 * time.Millisecond)
		a.tier.SetFaults(cachetest.Faults{Request: only(late(2*time.Millisecond), "Append")})
		a.tier.Heal()
		pass(1500 * time.Millisecond)
		a.expectDelivered()
		undelivered := a.cache.Stats().Shared.Undelivered
		writers.Wait()
		if n := a.cache.Stats().Shared.Undelivered - undelivered; n > 0 {
			t.Errorf("of the writes after that, %d could not be delivered", n)
		}
		for _, record := range s.shared.Records() {
			if record.All {
				t.Errorf("record %d invalidates everything", record.Number)
			}
		}
	})
}

// A server that takes no records, say as the user's permissions have changed, can still be
// asked (a Redis that cannot write to its disk cannot, see TestServerThatCannotSave): what
// other tags stand for goes on to be served.
func TestSharedServerThatTakesNothing(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.join()
		a.expectHits(1)
		a.tier.SetFaults(cachetest.Faults{Request: only(broken, "Append")})
		if err := a.cache.Invalidate(t.Context(), rowTag(2)); !errors.Is(err, cacheruntime.ErrUndelivered) {
			t.Fatalf("%v, want %v", err, cacheruntime.ErrUndelivered)
		}
		for range 100 {
			pass(bound / 10)
			a.expectHit(1)
		}
		appends := a.tier.Calls("Append")
		for range 10 {
			a.cache.Invalidate(t.Context(), rowTag(2))
		}
		if n := a.tier.Calls("Append") - appends; n > 0 {
			t.Errorf("writes have tried %d times to append", n)
		}
		a.tier.SetFaults(cachetest.Faults{})
		pass(2 * bound)
		a.expectDelivered()
		if err := a.cache.Invalidate(t.Context(), rowTag(2)); err != nil {
			t.Error(err)
		}
	})
}

// In an outage the log is not tried more often for what is queued, and for those who
// write.
func TestSharedOutageWithWrites(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.join()
		a.tier.Cut()
		tries := map[string]int{"Append": a.tier.Calls("Append"), "Prove": a.tier.Calls("Prove")}
		for i := range int64(3000) {
			a.cache.Invalidate(t.Context(), rowTag(i%100)) // few, as the race detector makes them slow
			pass(10 * time.Millisecond)
		}
		for method, before := range tries {
			if n := a.tier.Calls(method) - before; n < 30 || n > 300 {
				t.Errorf("%s was called %d times in 30 s", method, n)
			}
		}
		a.tier.Heal()
		pass(2 * bound)
		a.expectDelivered()
	})
}

// After an outage, however many guarded writes were under way, no record ends more marks
// than one may, of which the tier makes sure.
func TestSharedManyReleases(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.joinGuarded()
		var ends []func(error)
		for i := range int64(400) {
			ends = append(ends, a.mustBegin(i%100))
		}
		a.tier.Cut()
		for _, end := range ends {
			end(nil)
		}
		a.tier.Heal()
		pass(2 * bound)
		a.expectDelivered()
		pass(2 * fullLease)
		s.expectNoMarks()
	})
}

// The trace of a transaction tells, as that of a write does, that others are not told yet.
func TestSharedUndeliveredTransaction(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.join()
		a.tier.Cut()
		traced, trace := cacheruntime.WithTrace(t.Context())
		ctx, tx := a.cache.Begin(traced)
		if err := a.cache.Invalidate(ctx, rowTag(1)); err != nil && !errors.Is(err, cacheruntime.ErrUndelivered) {
			t.Fatal(err)
		}
		if err := tx.Commit(func() error { return nil }); err != nil {
			t.Error(err)
		}
		events := trace.Events()
		if len(events) == 0 || !errors.Is(events[len(events)-1].Err, cacheruntime.ErrUndelivered) {
			t.Errorf("the end of the transaction is not traced with %v:\n%v", cacheruntime.ErrUndelivered, trace)
		}
	})
}
