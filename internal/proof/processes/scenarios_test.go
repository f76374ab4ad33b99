package processes

import (
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// works waits until processes serve hits of every row, and those of the shared tier, and
// see what each other writes: what was lost is only speed.
func (w *world) works(processes ...*process) {
	w.t.Helper()
	for _, p := range processes {
		redistest.Until(w.t, "what was late has been delivered", p.settle)
	}
	for i, p := range processes {
		other := processes[(i+1)%len(processes)]
		redistest.Until(w.t, "hits come", func() bool {
			w.failFast()
			p.read("Get", 1)
			return p.read("Get", 1) == cacheruntime.Hit
		})
		if other == p {
			continue
		}
		// An entry that this process does not have, and the other has just loaded.
		redistest.Until(w.t, "shared hits come", func() bool {
			w.failFast()
			if p.write("update", 2) {
				p.settle()
				return false
			}
			version := w.db.current(2)[0].Version
			redistest.Until(w.t, "what was written is seen", func() bool {
				s, err := other.tryRead("Page", 2)
				return err == nil && s.Rows[0].Version == version
			})
			return p.read("Page", 2) == cacheruntime.SharedHit
		})
	}
}

// failFast ends the test if anything stale was read.
func (w *world) failFast() {
	w.t.Helper()
	if w.t.Failed() {
		w.t.FailNow()
	}
}

// A process that starts is served what others have loaded.
func TestWarmStart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: time.Second})
	first := w.start(server.Addr())
	for _, id := range w.db.ids() {
		first.read("Get", id)
	}
	second := w.start(server.Addr())
	for _, id := range w.db.ids() {
		if got := second.read("Get", id); got != cacheruntime.SharedHit {
			t.Errorf("row %d: %s", id, got)
		}
		if got := second.read("Get", id); got != cacheruntime.Hit {
			t.Errorf("row %d, again: %s", id, got)
		}
	}
	if n, err := second.stats(); err != nil || n.Loads > 0 {
		t.Errorf("%d loads, %v", n.Loads, err)
	}
	w.works(first, second)
}
