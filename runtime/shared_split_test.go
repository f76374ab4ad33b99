package cacheruntime_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

// A mover talks to one of two servers, which do not know of each other.
type mover struct {
	*cachetest.Tier // of the server that was replaced
	successor       *cachetest.Tier
	moved           atomic.Bool
	anonymous       bool // neither server says which it is
}

func (m *mover) now() *cachetest.Tier {
	if m.moved.Load() {
		return m.successor
	}
	return m.Tier
}

func (m *mover) Append(ctx context.Context, from cacheruntime.LogPosition, record cacheruntime.LogRecord) (cacheruntime.LogReply, error) {
	return m.now().Append(ctx, from, record)
}

func (m *mover) Prove(ctx context.Context, from cacheruntime.LogPosition) (cacheruntime.LogReply, error) {
	return m.now().Prove(ctx, from)
}

func (m *mover) Snapshot(ctx context.Context, condemned uint64) (cacheruntime.LogSnapshot, error) {
	s, err := m.now().Snapshot(ctx, condemned)
	if m.anonymous {
		s.Server = ""
	}
	return s, err
}

func (m *mover) Wait(ctx context.Context, from cacheruntime.LogPosition) error {
	return m.now().Wait(ctx, from)
}

func (m *mover) Get(ctx context.Context, keys []string) ([][]byte, error) {
	return m.now().Get(ctx, keys)
}

func (m *mover) Set(ctx context.Context, entries []cacheruntime.SharedEntry) error {
	return m.now().Set(ctx, entries)
}

func (m *mover) Close() error { return errors.Join(m.Tier.Close(), m.successor.Close()) }

// move has it talk to the successor, or to the one before that again, and ends its
// connections.
func (m *mover) move(to bool) {
	if m.moved.Swap(to) != to {
		m.Tier.Break()
		m.successor.Break()
	}
}

// joinMover starts a process that may move to the successor.
func (s *site) joinMover(successor *cachetest.Shared, anonymous bool, options ...cacheruntime.Option) (*member, *mover) {
	s.t.Helper()
	m := &mover{successor: successor.Tier(), anonymous: anonymous}
	s.wrap = func(t *cachetest.Tier) cacheruntime.Shared { m.Tier = t; return m }
	defer func() { s.wrap = nil }()
	return s.join(options...), m
}

// A server that was replaced goes on for a while, so that some processes read through its
// successor what others have written since. When one comes over that knows of a write, its own
// or not, the successor's log is told: nobody has the old value from then on.
func TestSharedSplitBrain(t *testing.T) {
	for i := range 4 {
		witness, anonymous := i%2 == 1, i/2 == 1
		t.Run(fmt.Sprintf("witness %t anonymous %t", witness, anonymous), func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				successor := cachetest.NewShared(t)
				writer, m := s.joinMover(successor, anonymous)
				other, n := s.joinMover(successor, anonymous)
				s.shared = successor
				b := s.join()
				b.expectHits(1)
				writer.write(1)
				pass(2 * bound)
				if want, _ := s.row(1); b.get(1) == want {
					t.Fatal("too weak: the other side knows of the write")
				}
				comes := writer
				if witness {
					writer.cache.Close()
					comes, m = other, n
				}
				m.move(true)
				comes.expectHits(1)
				pass(bound)
				b.expectHits(1)
				if n := b.cache.Stats().Shared.Epochs; n != 1 {
					t.Errorf("the successor is in epoch %d", n)
				}
			})
		})
	}
}

// A process that is closed before it could tell the successor does so, or says that it has not.
func TestSharedClosedBeforeToldAgain(t *testing.T) {
	for _, reachable := range []bool{true, false} {
		t.Run(fmt.Sprintf("reachable %t", reachable), func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				successor := cachetest.NewShared(t)
				writer, m := s.joinMover(successor, false)
				s.shared = successor
				b := s.join()
				b.expectHits(1)
				writer.write(1)
				m.successor.SetFaults(cachetest.Faults{Request: only(broken, "Append")})
				m.move(true)
				pass(5 * bound) // it has come over, and could tell nothing
				if reachable {
					m.successor.SetFaults(cachetest.Faults{})
				}
				err := writer.cache.Close()
				if errors.Is(err, cacheruntime.ErrUndelivered) == reachable {
					t.Errorf("closing: %v", err)
				}
				if err != nil && !strings.Contains(err.Error(), "another server") {
					t.Errorf("closing blames something else: %v", err) // the write was delivered
				}
				pass(bound)
				if reachable {
					b.expectHits(1)
				}
			})
		})
	}
}

// So does one that goes over while it is closed.
func TestSharedClosedAsItComesOver(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		successor := cachetest.NewShared(t)
		l := &lateSnapshot{mover: &mover{successor: successor.Tier()}, asked: make(chan struct{}, 1)}
		s.wrap = func(t *cachetest.Tier) cacheruntime.Shared { l.Tier = t; return l }
		writer := s.join()
		s.wrap = nil
		s.shared = successor
		b := s.join()
		b.expectHits(1)
		writer.write(1)
		l.move(true)
		<-l.asked
		err := writer.cache.Close()
		pass(bound)
		if want, _ := s.row(1); b.get(1) != want && !errors.Is(err, cacheruntime.ErrUndelivered) {
			t.Errorf("what another server was not told is left in silence: %v", err)
		}
	})
}

// A lateSnapshot of the successor arrives when it has been called off.
type lateSnapshot struct {
	*mover
	asked chan struct{}
}

func (l *lateSnapshot) Snapshot(ctx context.Context, condemned uint64) (cacheruntime.LogSnapshot, error) {
	s, err := l.mover.Snapshot(context.WithoutCancel(ctx), condemned)
	if l.moved.Load() {
		l.asked <- struct{}{}
		<-ctx.Done()
		pass(1)
	}
	return s, err
}

// More processes come over to another server than its log keeps records. Each is outrun by the
// others' invalidations, but no process makes one more than once.
func TestSharedManyComeOver(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		const records = 20
		s.shared.SetLimits(records, 1000)
		members := make([]*member, 3*records)
		for i := range members {
			members[i] = s.join()
		}
		s.shared.FailOver(0)
		pass(5 * bound)
		for _, m := range members {
			m.expectHits(1)
			if n := m.cache.Stats().Shared.Epochs; n > 5 {
				t.Errorf("%d epochs", n)
			}
		}
	})
}

// Processes go to the successor and back at random, while they write and single requests or
// replies are lost or late. A process sees what it has written at any time; when all
// have come over everybody sees everything, and is served from memory again.
func TestSharedBackAndForth(t *testing.T) {
	for seed := range 10 * uint64(*programs) {
		seed += *firstSeed
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) { s.goBackAndForth(rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func (s *site) goBackAndForth(r *rand.Rand) {
	const rows = 2
	successor := cachetest.NewShared(s.t)
	options := []cacheruntime.Option{cacheruntime.WithMaxStaleness([]time.Duration{0, bound / 5, bound}[r.IntN(3)])}
	if r.IntN(3) == 0 {
		options = append(options, cacheruntime.WithGuardedWrites(2*bound))
	}
	members := make([]*member, 2+r.IntN(3))
	movers := make([]*mover, len(members))
	written := make([][rows + 1]int64, len(members)) // by each, of each row
	for i := range members {
		members[i], movers[i] = s.joinMover(successor, false, options...)
	}
	for range 60 {
		i, id := r.IntN(len(members)), 1+r.Int64N(rows)
		switch r.IntN(8) {
		case 0:
			movers[i].move(r.IntN(2) == 0)
		case 1:
			movers[i].now().SetFaults(oneFault(r))
		case 2, 3:
			end, err := members[i].begin(id)
			if err != nil {
				continue // it was refused
			}
			s.grow(id)
			if r.IntN(4) == 0 {
				end(inDoubt)
				continue
			}
			end(nil)
			written[i][id], _ = s.row(id)
		case 4:
			pass(upTo(r, bound))
		case 5:
			pass(upTo(r, bound/30))
		default:
			if got := members[i].get(id); got < written[i][id] {
				s.t.Errorf("process %d reads %d of row %d, and has written %d", i, got, id, written[i][id])
			}
		}
	}
	for _, m := range movers {
		m.Tier.SetFaults(cachetest.Faults{})
		m.successor.SetFaults(cachetest.Faults{})
		m.move(true)
	}
	pass(20 * bound)
	for _, m := range members {
		for id := range int64(rows) {
			m.expect(1 + id)
		}
		m.expectDelivered()
	}
	pass(time.Minute) // by then leases have ended
	for _, m := range members {
		for id := range int64(rows) {
			m.expectHits(1 + id)
		}
	}
}

// oneFault is one request that goes wrong, or one reply.
func oneFault(r *rand.Rand) (f cachetest.Faults) {
	methods := []string{"Append", "Snapshot", "Prove", "Get", "Set"}
	fate := once([]cachetest.Fate{lost, broken, late(upTo(r, bound/2))}[r.IntN(3)], methods[r.IntN(len(methods))])
	if r.IntN(2) == 0 {
		f.Request = fate
	} else {
		f.Reply = fate
	}
	return f
}

func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
