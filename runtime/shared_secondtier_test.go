package cacheruntime_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
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
