package cacheruntime_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

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

// While the log cannot be asked, the second tier is not asked for what could not be
// served.
func TestSharedNoSecondTierWhileCutOff(t *testing.T) {
	for name, d := range map[string]time.Duration{"bounded": bound, "none": 0} {
		t.Run(name, func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				a := s.join(cacheruntime.WithMaxStaleness(d))
				a.expectHits(1)
				a.tier.SetFaults(cachetest.Faults{Request: only(broken, "Append", "Prove", "Snapshot", "Wait")})
				pass(3 * bound)
				gets := a.tier.Calls("Get")
				a.expectNoHit(1)
				a.getMany(1, 2, 3)
				if n := a.tier.Calls("Get") - gets; n > 0 {
					t.Errorf("it was asked %d times", n)
				}
				a.tier.SetFaults(cachetest.Faults{})
				pass(2 * bound)
				a.getMany(4, 5)
				if n := a.tier.Calls("Get") - gets; n != 1 {
					t.Errorf("when the log can be asked, it was asked %d times, want 1", n)
				}
			})
		})
	}
}

// What was loaded before an epoch was known, or under one that is over by the time it is
// stored, is not shared with others, who may have an entry of this one.
func TestSharedEntryOfAnotherEpoch(t *testing.T) {
	for name, isKnown := range map[string]bool{"not known": false, "over": true} {
		t.Run(name, func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				if !isKnown {
					s.shared.SetFaults(cachetest.Faults{Request: only(broken, "Snapshot")})
				}
				store := cachetest.NewStore(t)
				a := s.join(cacheruntime.WithStore(store))
				release := store.HoldSets()
				go a.get(1)
				store.WaitSet()
				if isKnown {
					s.shared.Flush()
					pass(bound)
				}
				release()
				synctest.Wait()
				if n := s.shared.Entries(); n > 0 {
					t.Errorf("%d entries are shared that no process can serve", n)
				}
				s.shared.SetFaults(cachetest.Faults{})
				pass(bound)
				a.get(1)
				synctest.Wait()
				if n := s.shared.Entries(); n != 1 {
					t.Errorf("%d entries are shared", n)
				}
			})
		})
	}
}

// With D = 0 a batch asks the log no more often for many values that have expired.
func TestSharedBatchOfStaleValues(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		expiring := func(c *cacheruntime.ReadConfig[int64]) { c.TTL, c.Stale = time.Minute, time.Hour }
		a := s.joinWith(expiring, cacheruntime.WithMaxStaleness(0))
		ids := []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
		a.getMany(ids...)
		pass(2 * time.Minute)
		s.fail(errors.New("the database is down"))
		proofs := a.tier.Calls("Prove")
		if rows := a.getMany(ids...); len(rows) != len(ids) {
			t.Fatalf("%d rows", len(rows))
		}
		if n := a.tier.Calls("Prove") - proofs; n > 3 {
			t.Errorf("the log was asked %d times", n)
		}
	})
}

// A lock of which it is not known whether it was taken is given back, or other processes
// would wait for it.
func TestSharedLockThatMayBeTaken(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		flights := cacheruntime.WithSharedFlights(time.Minute)
		a, b := s.join(flights), s.join(flights)
		a.tier.SetFaults(cachetest.Faults{Reply: only(broken, "Lock")})
		s.fail(errors.New("the database is down")) // so there will be no entry
		a.try(1)
		s.fail(nil)
		synctest.Wait()
		began := time.Now()
		b.expect(1)
		if took := time.Since(began); took > bound {
			t.Errorf("another process waited for %v", took)
		}
	})
}

// An entry whose value cannot be decoded is one that the second tier did not have.
func TestSharedUndecodableEntry(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		a := s.joinWith(func(c *cacheruntime.ReadConfig[int64]) { c.Encode = func(*cacheruntime.Encoder, int64) {} })
		a.get(1)
		synctest.Wait()
		if n := s.shared.Entries(); n != 1 {
			t.Fatalf("%d entries", n)
		}
		b := s.join()
		b.expect(1)
		if stats := b.cache.Stats(); stats.SharedMisses != 1 || stats.Undecodable != 1 || b.loadCount() != 1 {
			t.Errorf("%+v", stats.Counts)
		}
	})
}
