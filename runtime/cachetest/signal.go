package cachetest

import (
	"sync"
	"time"
)

// patience is how long a test waits for the code under test before it fails. A
// load that is held is given up by the cache after 30 seconds: by then the test
// has failed with a better message.
const patience = 10 * time.Second

// A signal tells of changes to what a mutex guards, which guards it as well. It
// does so with channels made by those who wait, so that in a bubble of
// testing/synctest they wait durably.
type signal struct{ changed chan struct{} }

// fire tells all who wait to look again.
func (s *signal) fire() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// wait waits until ready returns true, or something is received from timeout,
// which may be nil. It reports whether it was ready. The mutex is locked
// whenever ready is called and when wait returns, and unlocked meanwhile.
func (s *signal) wait(mu *sync.Mutex, timeout <-chan time.Time, ready func() bool) bool {
	for !ready() {
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		mu.Unlock()
		late := false
		select {
		case <-changed:
		case <-timeout:
			late = true
		}
		mu.Lock()
		if late {
			return ready()
		}
	}
	return true
}
