package cacheruntime_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

// fallBehind has b write rows 8 and then the given one, and keeps a from hearing of it
// for a while, so that what a appends next is beyond a gap: of the records before it a
// is told the first only.
func fallBehind(a, b *member, id int64) {
	a.shared.SetLimits(1000, 1)
	a.tier.SetFaults(cachetest.Faults{Request: only(late(bound/2), "Prove", "Wait")})
	b.write(8)
	b.write(id)
}

// What a process invalidates itself it does not read again, whatever it has yet to hear
// of others.
func TestSharedOwnWriteBeyondAGap(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.join(), s.join()
		a.get(1)
		fallBehind(a, b, 2)
		a.write(1)
		a.expect(1)
	})
}

// The stamp of a load is not beyond what has been applied: a cached read within it
// may be answered with what is stale by a record in the gap.
func TestSharedStampBeforeAGap(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.join(), s.join()
		a.get(1)
		fallBehind(a, b, 1)
		a.write(3)
		if a.cache.Stats().Shared.Position == s.shared.Head().Number {
			t.Fatal("there is no gap")
		}
		if got := a.getOuter(1); got != 1 {
			t.Fatalf("got %d: not from the cache", got)
		}
		a.tier.SetFaults(cachetest.Faults{})
		pass(2 * bound)
		if got := a.getOuter(1); got != 2 {
			t.Errorf("got %d: what was loaded with a read of before a write is stored as of after it", got)
		}
	})
}

// However a process is kept from hearing of a write, it is not served what was there
// before for longer than D. Once it hears of it all, it caches again.
func TestSharedBound(t *testing.T) {
	for _, test := range []struct {
		name string
		when func(a, b *member) // before row 1 is written
		then func(a, b *member) // after that
	}{
		{"cut off", func(a, _ *member) { a.tier.Cut() }, nil},
		{"stalled", func(a, _ *member) { a.tier.Stall() }, nil},
		{"heard late", func(a, _ *member) {
			a.tier.SetFaults(cachetest.Faults{Request: only(late(bound*3/4), "Prove", "Wait")})
		}, nil},
		{"answered late", func(a, _ *member) {
			// The server answers before the write, and a hears it afterwards.
			a.tier.SetFaults(cachetest.Faults{Reply: only(late(bound*3/4), "Prove")})
			a.calls("Prove")
			a.tier.SetFaults(cachetest.Faults{Request: only(lost, "Prove", "Wait")})
		}, nil},
		{"answered late when it wrote", func(a, _ *member) {
			a.tier.SetFaults(cachetest.Faults{Request: only(lost, "Prove", "Wait"), Reply: only(late(bound*3/4), "Append")})
			go a.write(2)
			a.calls("Append")
		}, nil},
		{"told a part", func(a, b *member) {
			// It asks once when the write has returned, and is told of the first record.
			a.shared.SetLimits(1000, 1)
			var asked atomic.Int64
			a.calls("Prove")
			a.tier.SetFaults(cachetest.Faults{
				Request: func(call string) cachetest.Fate {
					if call == "Prove" && asked.Add(1) > 1 {
						return lost
					}
					return cachetest.Fate{}
				},
				Reply: only(lost, "Wait"),
			})
			b.write(2)
			b.write(3)
		}, nil},
		{"woken up with nothing", func(a, _ *member) {
			a.tier.SetFaults(cachetest.Faults{Request: only(lost, "Prove"), Reply: only(late(bound*3/4), "Wait")})
		}, nil},
		{"lost by all", nil, func(a, _ *member) { a.shared.Flush() }},
		{"lost by all before", func(a, _ *member) { a.shared.Flush() }, nil},
		{"lost by the server that took over", nil, func(a, _ *member) { a.shared.FailOver(1) }},
		{"trimmed", func(a, _ *member) { a.tier.Stall() }, func(a, b *member) {
			b.write(2)
			a.shared.Trim(1)
			pass(bound / 2)
			a.tier.Heal()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				a, b := s.join(), s.join()
				a.copyRow()
				if test.when != nil {
					test.when(a, b)
				}
				b.write(1)
				if test.then != nil {
					test.then(a, b)
				}
				a.expectBound()
				s.shared.Heal()
				a.tier.SetFaults(cachetest.Faults{})
				a.expectHits(1)
			})
		})
	}
}

// A process believes nothing of what it is told by a log that does not continue its own.
func TestSharedForgedReplies(t *testing.T) {
	id := func(n byte) cacheruntime.LogID { return cacheruntime.LogID{n, 0xff} }
	for _, test := range []struct {
		name  string
		reply func(at cacheruntime.LogPosition) cacheruntime.LogReply // to a process that is there
	}{
		{"another head", func(at cacheruntime.LogPosition) cacheruntime.LogReply {
			at.ID = id(1)
			return cacheruntime.LogReply{Head: at}
		}},
		{"another epoch", func(at cacheruntime.LogPosition) cacheruntime.LogReply {
			at.Epoch++
			return cacheruntime.LogReply{Head: at}
		}},
		{"another predecessor", func(at cacheruntime.LogPosition) cacheruntime.LogReply {
			at.Number, at.ID = at.Number+1, id(1)
			return cacheruntime.LogReply{Head: at, Records: []cacheruntime.LogRecord{{Number: at.Number, ID: at.ID, Previous: id(2)}}}
		}},
		{"a gap", func(at cacheruntime.LogPosition) cacheruntime.LogReply {
			previous := at.ID
			at.Number, at.ID = at.Number+2, id(1)
			return cacheruntime.LogReply{Head: at, Records: []cacheruntime.LogRecord{{Number: at.Number, ID: at.ID, Previous: previous}}}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				a, b := s.join(), s.join()
				a.copyRow()
				reply := test.reply(s.shared.Head())
				reply.Known = true
				a.tier.SetFaults(cachetest.Faults{Log: func(call string, r *cacheruntime.LogReply) error {
					if call == "Prove" {
						*r = reply
					}
					return nil
				}})
				b.write(1)
				a.expectBound()
				a.tier.SetFaults(cachetest.Faults{})
				a.expectHits(1)
			})
		})
	}
}

// A malformed is a tier whose log is malformed until it is condemned.
type malformed struct {
	*cachetest.Tier
	is atomic.Bool
}

func (m *malformed) Prove(ctx context.Context, from cacheruntime.LogPosition) (cacheruntime.LogReply, error) {
	if m.is.Load() {
		return cacheruntime.LogReply{}, cacheruntime.ErrMalformed
	}
	return m.Tier.Prove(ctx, from)
}

func (m *malformed) Snapshot(ctx context.Context, condemned uint64) (cacheruntime.LogSnapshot, error) {
	if condemned != 0 {
		m.is.Store(false)
	}
	return m.Tier.Snapshot(ctx, condemned)
}

// A log that is malformed is ended.
func TestSharedMalformedLog(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		tier := new(malformed)
		s.wrap = func(t *cachetest.Tier) cacheruntime.Shared { tier.Tier = t; return tier }
		a := s.join()
		a.expectHits(1)
		tier.is.Store(true)
		s.grow(1) // by one that nobody has heard of
		pass(2 * bound)
		a.expectHits(1)
	})
}

// With D = 0, a read that begins when a write has returned is not stale at all.
func TestSharedNoStaleness(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		d := cacheruntime.WithMaxStaleness(0)
		a, b := s.join(d), s.join(d)
		a.tier.SetFaults(cachetest.Faults{Request: only(late(bound), "Wait")})
		for range 3 {
			a.expectHits(1)
			b.write(1)
			pass(1)
			a.expect(1)
		}
		a.expectHits(1)
		a.tier.Cut()
		b.write(1)
		pass(1)
		a.expect(1)
	})
}

// A clockwork has a moment of the hit test in which something else may happen: when it
// looks at the time.
type clockwork struct{ at atomic.Pointer[func()] }

func (c *clockwork) Now() time.Time {
	if at := c.at.Swap(nil); at != nil {
		(*at)()
	}
	return time.Now()
}

func (c *clockwork) AfterFunc(d time.Duration, f func()) cacheruntime.Timer {
	return time.AfterFunc(d, f)
}

// A hit is served by a proof from before its tags were looked at: a later one says
// nothing of what they were.
func TestSharedProofBeforeWords(t *testing.T) {
	for name, d := range map[string]time.Duration{"bounded": bound, "none": 0} {
		t.Run(name, func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				ttl := func(c *cacheruntime.ReadConfig[int64]) { c.TTL = time.Hour }
				clock := &clockwork{}
				a := s.joinWith(ttl, cacheruntime.WithClock(clock), cacheruntime.WithMaxStaleness(d))
				b := s.join()
				a.expectHits(1)
				a.get(2)
				a.tier.SetFaults(cachetest.Faults{Request: only(lost, "Prove", "Wait")})
				pass(time.Millisecond)
				b.write(1)
				if d > 0 {
					pass(d / 2)
				}
				// While row 1 is tested, a hears of the write, and that there is no other.
				meanwhile := func() {
					a.tier.SetFaults(cachetest.Faults{})
					a.get(2)
					pass(2 * bound)
				}
				clock.at.Store(&meanwhile)
				a.expect(1)
			})
		})
	}
}

// loseEpoch loses the log, has b begin a new one and cache row 1 there, and returns when
// a is reading the new one, of which the reply is delayed.
func loseEpoch(a, b *member) {
	a.tier.SetFaults(cachetest.Faults{Request: only(late(bound/2), "Prove"), Reply: only(late(bound/2), "Snapshot")})
	a.shared.Flush()
	b.write(9)
	b.expectHits(1)
	a.calls("Snapshot")
}

// While its table is lost, a process serves nothing, though what it was told last is
// younger than D.
func TestSharedLostTable(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.join(), s.join()
		a.expectHits(1)
		a.expectHits(2)
		a.tier.SetFaults(cachetest.Faults{Reply: only(late(bound/2), "Snapshot")})
		s.shared.Flush()
		b.write(1)
		a.calls("Snapshot")
		a.expect(1)
		a.write(2)
		a.expect(2)
	})
}

// Nor does it when the snapshot is there: that may be older than what it has written.
func TestSharedOwnWriteWithoutATable(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.join(), s.join()
		loseEpoch(a, b)
		a.write(1)
		pass(bound * 3 / 4) // the snapshot comes, and the proof does not yet
		a.expect(1)
	})
}

// A load that began in one epoch is not stored as of another.
func TestSharedEpochChangesDuringALoad(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.join(), s.join()
		for range 10 {
			b.write(9) // the stamp is to be larger than numbers of the next epoch
		}
		pass(bound)
		there, back := make(chan struct{}), make(chan struct{})
		a.setLeave(func() { close(there); <-back })
		go a.get(1)
		<-there
		a.setLeave(nil)
		s.shared.Flush()
		b.write(1)
		pass(bound)
		close(back)
		synctest.Wait()
		a.expect(1)
	})
}

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
		if err := c.cache.Close(); err == nil {
			t.Error("nothing is said of what was not delivered")
		}
	})
}

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
		if marks := s.shared.Marks(); len(marks) > 0 {
			t.Errorf("marks are left: %v", marks)
		}
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

// Until they are there, nothing is served.
func TestSharedNoHitsBeforeMarks(t *testing.T) {
	for name, d := range map[string]time.Duration{"none": 0, "bounded": bound} {
		t.Run(name, func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				at := cacheruntime.WithMaxStaleness(d)
				a, b := s.joinGuarded(at), s.joinGuarded(at)
				a.expectHits(2)
				end := b.mustBegin(1)
				pass(bound)
				b.tier.Stall()
				a.tier.SetFaults(cachetest.Faults{Request: only(late(bound), "Append")})
				s.shared.Flush()
				a.calls("Append") // of the mark
				a.tier.SetFaults(cachetest.Faults{})
				a.cache.Invalidate(t.Context(), rowTag(2))
				a.expectNoHit(1)
				b.tier.Heal()
				end(nil)
			})
		})
	}
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
		if marks := s.shared.Marks(); len(marks) > 0 {
			t.Errorf("marks are left: %v", marks)
		}
		s.joinGuarded().expectHits(1)
	})
}

// The mark of a commit is renewed for as long as it takes. Who has not heard of that does
// not end it.
func TestSharedCommitThatTakesLong(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.joinGuarded(), s.joinGuarded()
		a.expectHits(1)
		ctx, tx := b.cache.Begin(t.Context())
		_, call, err := b.update.Begin(ctx, func(tags *cacheruntime.Tags) { tags.Add(rowTag(1)) })
		if err != nil {
			t.Fatal(err)
		}
		call.Returned(nil)
		call.End()
		err = tx.Commit(func() error {
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
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		pass(bound)
		a.expectHits(1)
		if marks := s.shared.Marks(); len(marks) > 0 {
			t.Errorf("marks are left: %v", marks)
		}
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

// Who is cut off does not take the outcome of a load that began before.
func TestSharedJoinWhileCutOff(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.join(), s.join()
		there, back := make(chan struct{}), make(chan struct{})
		a.setLeave(func() { close(there); <-back })
		go a.get(1)
		<-there
		a.setLeave(nil)
		a.tier.Cut()
		b.write(1)
		pass(2 * bound)
		time.AfterFunc(bound/10, func() { close(back) })
		a.expect(1)
	})
}

// Nor is it served what has expired, if loads fail.
func TestSharedStaleWhileCutOff(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.joinWith(func(c *cacheruntime.ReadConfig[int64]) { c.TTL, c.Stale = 10*time.Second, time.Hour })
		b := s.join()
		a.expectHits(1)
		pass(20 * time.Second)
		s.fail(errors.New("the database is down"))
		if row, err := a.try(1); row != 1 || err != nil {
			t.Fatalf("%d, %v: what has expired is not served", row, err)
		}
		a.tier.Cut()
		b.write(1)
		pass(2 * bound)
		if row, err := a.try(1); err == nil {
			t.Errorf("got %d, which is stale", row)
		}
		s.fail(nil)
	})
}

// An entry of the second tier is tested like any other.
func TestSharedEntryIsTested(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a, b := s.join(), s.join()
		b.expectHits(1)
		synctest.Wait()
		a.write(1)
		if s.shared.Entries() == 0 {
			t.Fatal("there is no entry")
		}
		a.expect(1)
	})
}

// The second tier answers for each id of a batch with the entry of that id.
func TestSharedBatch(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.join()
		for id := range int64(5) {
			for range id {
				s.grow(id)
			}
			a.get(id)
		}
		pass(bound)
		b := s.join()
		rows := b.getMany(4, 2, 0, 1, 3)
		for id := range int64(5) {
			if rows[id] != id+1 {
				t.Errorf("row %d: got %d, want %d", id, rows[id], id+1)
			}
			b.expect(id)
		}
		if n := b.loadCount(); n > 0 {
			t.Errorf("%d loads", n)
		}
	})
}

// Processes that share flights go on when the one that loads has given the lock back,
// with what it has stored or without.
func TestSharedFlightsGoOn(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		const wait = time.Minute
		a, b := s.join(cacheruntime.WithSharedFlights(wait)), s.join(cacheruntime.WithSharedFlights(wait))
		a.setLeave(func() { pass(bound) })
		for _, failure := range []error{nil, errors.New("the database is down")} {
			s.fail(failure)
			go a.try(1)
			pass(bound / 10)
			began := time.Now()
			if _, err := b.try(1); err != failure {
				t.Error(err)
			}
			if took := time.Since(began); took > 2*bound {
				t.Errorf("with the error %v, another process waited for %v", failure, took)
			}
			if loads := b.loadCount(); failure == nil && loads > 0 {
				t.Errorf("%d loads by who waited", loads)
			}
			a.setLeave(func() { pass(bound) })
			s.fail(nil)
			a.write(1)
			pass(bound)
		}
	})
}

// zombie answers the next append as a server does that was the primary: it has appended
// the record to a log that nobody follows any more.
type zombie struct {
	*cachetest.Tier
	epoch atomic.Uint64 // of that log; 0 for none
}

func (z *zombie) Append(ctx context.Context, from cacheruntime.LogPosition, record cacheruntime.LogRecord) (cacheruntime.LogReply, error) {
	if epoch := z.epoch.Swap(0); epoch != 0 {
		head := cacheruntime.LogPosition{Epoch: epoch, Number: from.Number + 1, ID: record.ID}
		return cacheruntime.LogReply{Head: head, Appended: true}, nil
	}
	return z.Tier.Append(ctx, from, record)
}

// An answer from a log that is over is none: what was invalidated there is invalidated
// in the one that the table is of, before the write returns.
func TestSharedAppendedElsewhere(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		z := new(zombie)
		s.wrap = func(t *cachetest.Tier) cacheruntime.Shared { z.Tier = t; return z }
		a := s.join()
		s.wrap = nil
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
		z.epoch.Store(old)
		a.write(1)
		a.expect(1)
		pass(2 * bound)
		b.expect(1)
		if n := a.cache.Stats().Shared.Queued; n != 0 {
			t.Errorf("%d are queued", n)
		}
	})
}
