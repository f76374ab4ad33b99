package cacheruntime_test

import (
	"context"
	"sync/atomic"
	"testing"

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
