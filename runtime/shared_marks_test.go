package cacheruntime_test

import (
	"errors"
	"testing"
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
