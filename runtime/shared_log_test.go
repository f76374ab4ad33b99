package cacheruntime_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
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

// Nor is it if no time has passed since the log was asked last: proofs are told apart by
// their numbers, as clocks can be coarse.
func TestSharedProofOfTheSameInstant(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		d := cacheruntime.WithMaxStaleness(0)
		a, b := s.join(d), s.join(d)
		a.expectHits(1)
		began := time.Now()
		for range 3 {
			a.expectHit(1)
			b.write(1)
			a.expect(1)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
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

// A log whose head cannot be reached is replaced by another one.
func TestSharedHeadOutOfReach(t *testing.T) {
	for name, isEmpty := range map[string]bool{"no records": true, "a record that is known": false} {
		t.Run(name, func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				a := s.join()
				a.expectHits(1)
				epoch, known := s.shared.Head().Epoch, s.shared.Records()
				asked := 0
				a.tier.SetFaults(cachetest.Faults{Log: func(_ string, reply *cacheruntime.LogReply) error {
					if reply.Head.Epoch != epoch || asked == 1000 {
						return nil
					}
					asked++
					reply.Head.Number += 1000
					if reply.Records = nil; !isEmpty {
						reply.Records = known
					}
					return nil
				}})
				pass(2 * bound)
				a.expectHits(1)
				if now := a.cache.Stats().Shared.Epoch; now == epoch || now != s.shared.Head().Epoch {
					t.Errorf("epoch %x, it was %x and is %x", now, epoch, s.shared.Head().Epoch)
				}
				if asked == 1000 {
					t.Error("the log was asked again and again")
				}
			})
		})
	}
}

// A process that starts when the table of the log is damaged begins another log.
func TestSharedMalformedSnapshotAtStart(t *testing.T) {
	for name, damage := range map[string]func(*cacheruntime.LogSnapshot) error{
		"found by the cache": func(snapshot *cacheruntime.LogSnapshot) error {
			snapshot.Words = []uint64{snapshot.At.Number + 1}
			return nil
		},
		"found by the tier": func(*cacheruntime.LogSnapshot) error {
			return fmt.Errorf("the table: %w", cacheruntime.ErrMalformed)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				s.join().write(1)
				epoch := s.shared.Head().Epoch
				s.shared.SetFaults(cachetest.Faults{Snapshot: func(snapshot *cacheruntime.LogSnapshot) error {
					if snapshot.At.Epoch != epoch {
						return nil
					}
					return damage(snapshot)
				}})
				s.join().expectHits(1)
			})
		})
	}
}

// An answer that comes when its epoch is over says nothing about the one that is: its
// table is not read again.
func TestSharedAnswerFromAnotherEpoch(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.join()
		a.tier.SetFaults(cachetest.Faults{Reply: once(late(bound*9/10), "Append")})
		answered := make(chan struct{})
		go func() {
			a.cache.Invalidate(t.Context(), rowTag(2))
			close(answered)
		}()
		synctest.Wait()
		s.shared.Flush()
		pass(bound / 2)
		a.expectHits(1)
		a.expectHit(1)
		snapshots := a.tier.Calls("Snapshot")
		<-answered
		a.expectHit(1)
		if a.tier.Calls("Snapshot") != snapshots {
			t.Error("the table was read again")
		}
	})
}

// A table is read again in the same epoch while a write of this process, which the
// snapshot does not have, returns. An answer to a question from before must not make that
// table one that is served as if there had been no write.
func TestSharedAnswerAboutAnotherTable(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.join()
		a.expectHits(1)
		epoch := s.shared.Head().Epoch
		a.tier.SetFaults(cachetest.Faults{Reply: once(late(bound*9/10), "Append")})
		answered := make(chan struct{})
		go func() {
			a.cache.Invalidate(t.Context(), rowTag(2))
			close(answered)
		}()
		synctest.Wait()
		// The log looks as if it were lost.
		a.tier.SetFaults(cachetest.Faults{
			Log: func(call string, reply *cacheruntime.LogReply) error {
				if call == "Prove" {
					*reply = cacheruntime.LogReply{}
				}
				return nil
			},
			Reply: only(late(bound/2), "Snapshot"),
		})
		a.calls("Snapshot")
		a.write(1)
		a.tier.SetFaults(cachetest.Faults{Request: only(lost, "Append", "Prove", "Wait")})
		<-answered
		if stats := a.cache.Stats().Shared; stats.Epoch != epoch || s.shared.Head().Epoch != epoch {
			t.Fatalf("%+v, want epoch %x", stats, epoch)
		}
		a.expect(1)
	})
}

// What is logged says how things are: that the log cannot be followed also if it could be
// meanwhile, and if the reason is another one by now.
func TestSharedOutagesAreLogged(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		var log bytes.Buffer
		a := s.join(cacheruntime.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		logged := func(what string) bool {
			synctest.Wait()
			defer log.Reset()
			return strings.Contains(log.String(), what)
		}
		cannot, again := "cannot be followed; without it reads go to the repository after "+bound.String(), "is followed again"
		a.tier.Cut()
		if pass(10 * bound); !logged(cannot) {
			t.Error("an outage is not logged")
		}
		if pass(10 * bound); logged(cannot) {
			t.Error("it is logged again, and nothing has changed")
		}
		a.tier.Heal()
		if pass(10 * bound); !logged(again) {
			t.Error("its end is not logged")
		}
		a.tier.SetFaults(cachetest.Faults{Request: only(broken, "Prove", "Snapshot", "Append")})
		if pass(10 * bound); !logged(cannot) {
			t.Error("the next outage is not logged")
		}
		a.tier.SetFaults(cachetest.Faults{Request: only(lost, "Prove", "Snapshot", "Append")})
		if pass(10 * bound); !logged(cannot) {
			t.Error("another reason is not logged")
		}
	})
}

// A nameless log cannot be asked, for a reason with another number in it each time.
type nameless struct {
	*cachetest.Tier
	port atomic.Int64
}

func (n *nameless) Snapshot(context.Context, uint64) (cacheruntime.LogSnapshot, error) {
	return cacheruntime.LogSnapshot{}, fmt.Errorf("read tcp 127.0.0.1:%d->127.0.0.1:6379: connection reset by peer", 50000+n.port.Add(1))
}

// A reason is no other one for the port that a connection was made from: it is not logged
// each time.
func TestSharedOutageIsLoggedOnceForAllPorts(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		var log bytes.Buffer
		s.wrap = func(t *cachetest.Tier) cacheruntime.Shared { return &nameless{Tier: t} }
		s.join(cacheruntime.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		pass(50 * time.Second)
		synctest.Wait()
		if n := strings.Count(log.String(), "cannot be followed"); n != 1 {
			t.Errorf("it is logged %d times within 50 s", n)
		}
	})
}

// With D = 0 a caller that waits no longer than hard does not wait for a server that
// does not answer either, to be told whether it may have the stale value.
func TestSharedHardWithoutAnAnswer(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		const hard = 200 * time.Millisecond
		m := s.joinWith(func(c *cacheruntime.ReadConfig[int64]) {
			c.TTL, c.Stale, c.Hard = time.Second, time.Hour, hard
		}, cacheruntime.WithMaxStaleness(0))
		m.expectHits(1)
		pass(2 * time.Second) // it expires
		m.setLeave(func() { pass(20 * hard) })
		m.tier.Stall()
		began := time.Now()
		_, err := m.try(1)
		if took := time.Since(began); took > 3*hard/2 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %v", err, took)
		}
		m.tier.Heal()
		pass(40 * hard)
	})
}

// Nor does one that has waited for soft: it takes the outcome of the load when there is one.
func TestSharedSoftWithoutAnAnswer(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		const soft, load = 50 * time.Millisecond, 60 * time.Millisecond
		m := s.joinWith(func(c *cacheruntime.ReadConfig[int64]) {
			c.TTL, c.Stale, c.Soft = time.Second, time.Hour, soft
		}, cacheruntime.WithMaxStaleness(0))
		m.expectHits(1)
		pass(2 * time.Second) // it expires
		m.setLeave(func() { m.tier.Stall(); pass(load) })
		began := time.Now()
		m.expect(1)
		if took := time.Since(began); took > 2*load {
			t.Errorf("it took %v", took)
		}
		m.setLeave(nil)
		m.tier.Heal()
	})
}

// Who logs may ask the cache how it stands, also when a new epoch has begun.
func TestSharedLoggerAsks(t *testing.T) {
	s := newSite(t)
	members := make(chan *member, 1)
	logged := make(chan bool, 1)
	a := s.join(cacheruntime.WithLogger(slog.New(onRecord{slog.DiscardHandler, func() {
		select {
		case a := <-members:
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				a.cache.Stats()
			}()
			select {
			case <-answered:
				logged <- true
			case <-time.After(10 * time.Second): // not in a bubble: who waits for a mutex keeps its time from passing
				logged <- false
			}
		default:
		}
	}})))
	members <- a
	s.shared.Flush()
	if !<-logged {
		t.Error("Stats does not return while a new epoch is logged")
	}
}

// onRecord is a handler of logs that calls a function for each.
type onRecord struct {
	slog.Handler
	do func()
}

func (h onRecord) Enabled(context.Context, slog.Level) bool { return true }

func (h onRecord) Handle(context.Context, slog.Record) error {
	h.do()
	return nil
}
