package cacheruntime_test

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachegen/cachegen/internal/proof/history"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

// Several caches stand for processes that share a log. They run random programs while
// random faults come between them and the log, in fake time. Of the files with this
// beginning
//
//   - this one has the kinds of world, what is random in one, and how it is run;
//   - processes_process_test.go has a process: its cache, and what its clients read;
//   - processes_writes_test.go has what they write;
//   - processes_faults_test.go has what goes wrong;
//   - processes_judge_test.go has what reads must see, and what must hold in the end.
//
// Rows are versions: a write adds one. A client that reads notes first which version of
// each row it must see at least (least). If it sees an older one the test fails, with
// the history of the world. The least version rises when a write has returned: at once
// for reads of its own process (own), and for those of others D after the log was told
// (told).
//
// For more programs, or others:
//
//	go test ./runtime -run TestProcesses -programs 100 -seed 1000
//
// A failure says how to run its seed again. The seed decides what clients do, what goes
// wrong, and when; not in which order things happen that are due at the same moment, nor
// the random ids of records. So it may take several runs to see the failure again, which
// is what -count is for.

var (
	programs  = flag.Int("programs", 3, "random programs of several processes, of each kind")
	firstSeed = flag.Uint64("seed", 0, "of the first of them")
)

// seeds are those of the programs.
func seeds() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for i := range uint64(*programs) {
			if !yield(*firstSeed + i) {
				return
			}
		}
	}
}

// A kind is what the processes of a world are promised.
type kind struct {
	bound   time.Duration // D
	guarded bool
	lossy   bool // the log may lose what it was told: by a flush, a failover, …
}

func (k kind) String() string {
	s := fmt.Sprintf("D=%v", k.bound)
	if k.guarded {
		s += ",guarded"
	}
	if k.lossy {
		s += ",lossy"
	}
	return s
}

// Processes that share a log run random programs while all goes wrong that can. What a
// process has written it reads; what others have written it reads once D is over, or
// at once with D = 0; with guarded writes and D = 0 each row is linearizable. When all
// works again, everything is current and served from memory.
func TestProcesses(t *testing.T) {
	tally := new(tally)
	for _, bound := range []time.Duration{0, 100 * time.Millisecond, time.Second} {
		for _, guarded := range []bool{false, true} {
			for _, lossy := range []bool{false, true} {
				k := kind{bound, guarded, lossy}
				for seed := range seeds() {
					t.Run(fmt.Sprintf("%v/%d", k, seed), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { newWorld(t, k, seed, tally).run() })
					})
				}
			}
		}
	}
	tally.check(t)
}

// Porcupine has a word on small programs.
func TestProcessesAreLinearizable(t *testing.T) {
	for seed := range seeds() {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			var w *world
			synctest.Test(t, func(t *testing.T) {
				w = newWorld(t, kind{guarded: true}, seed, new(tally))
				w.duration = 200 * time.Millisecond
				w.run()
			})
			if err := w.history.Linearizable(time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
}

const (
	rows  = 3
	lease = 200 * time.Millisecond // of writes in doubt, and of guarded ones

	// How long it takes until everything is current and served once all works again:
	// the follower tries again within a second, and requests that are still under way
	// may leave marks, whose leases end then.
	recovery = 4 * time.Second
)

// A random decides. It is safe for concurrent use.
type random struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func (r *random) n(n int) int { r.mu.Lock(); defer r.mu.Unlock(); return r.rng.IntN(n) }

func (r *random) fork() *random {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &random{rng: rand.New(rand.NewPCG(r.rng.Uint64(), 0))}
}

// pause lets some time pass, or not.
func (r *random) pause(most time.Duration) {
	if r.n(3) > 0 {
		<-time.After(time.Duration(r.n(int(most))))
	}
}

// A world is several processes, what they share, and a database.
type world struct {
	t        *testing.T
	kind     kind
	seed     uint64
	random   *random
	duration time.Duration
	began    time.Time
	shared   *cachetest.Shared
	history  *history.History
	tally    *tally
	late     sync.WaitGroup // of what is under way when calls have returned
	delay    time.Duration  // of messages, at most, when all is well
	lasting  bool           // faults last for longer than D before any other, or an end of them
	hiccups  bool           // one message in a while takes much longer
	pace     time.Duration  // of writes
	bitByBit bool           // who is behind learns of a few records at a time
	faults   []fault

	mu        sync.Mutex
	processes []*process
	names     int
	version   [rows]int64 // in the database
	told      [rows][]told
	opened    []*process // those that are not, too
	untold    bool       // what was written in a process that ended was not delivered
	failed    bool
}

func newWorld(t *testing.T, k kind, seed uint64, tally *tally) *world {
	return &world{
		t: t, kind: k, seed: seed, tally: tally, duration: time.Second + 3*k.bound, began: time.Now(),
		random:  &random{rng: rand.New(rand.NewPCG(seed, 7))},
		shared:  cachetest.NewShared(t),
		history: history.New(),
	}
}

// prepare decides what kind of world it is.
func (w *world) prepare() {
	rnd := w.random
	w.delay = []time.Duration{100 * time.Microsecond, time.Millisecond, 10 * time.Millisecond}[rnd.n(3)]
	w.pace = []time.Duration{30 * time.Millisecond, 100 * time.Millisecond, w.duration / 8, w.duration / 2}[rnd.n(4)]
	w.lasting = rnd.n(2) == 0
	w.hiccups = rnd.n(3) == 0
	if rnd.n(2) == 0 {
		w.bitByBit = true
		w.shared.SetLimits(1000, 2+rnd.n(5))
	}
	// A few of the faults a world: all of them at once leave nothing that works.
	all := len(faults)
	if !w.kind.lossy {
		all = harmless
	}
	for range 1 + rnd.n(4) {
		w.faults = append(w.faults, faults[rnd.n(all)])
	}
}

// fail fails the test, once, with the whole history and how to try again.
func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.mu.Lock()
	failed := w.failed
	w.failed = true
	w.mu.Unlock()
	if !failed {
		run := strings.ReplaceAll(w.t.Name(), "/", "$/^")
		w.t.Errorf("at %v: %s\n%s\nagain: go test ./runtime -run '^%s$' -seed %d -programs 1 -count 20",
			time.Since(w.began), fmt.Sprintf(format, args...), w.history, run, w.seed)
	}
}

// note enters into the history what happens to all.
func (w *world) note(format string, args ...any) {
	w.history.Begin("fault", fmt.Sprintf("%v: %s", time.Since(w.began), fmt.Sprintf(format, args...))).Return()
}

func (w *world) begin(client string, format string, args ...any) *history.Call {
	return w.history.Begin(client, fmt.Sprintf("%v: %s", time.Since(w.began), fmt.Sprintf(format, args...)))
}

func (w *world) run() {
	w.prepare()
	for range 2 + w.random.n(3) {
		w.open()
	}
	over, stop := context.WithTimeout(w.t.Context(), w.duration)
	defer stop()
	w.harass(over)
	for _, p := range w.alive() {
		p.stop()
	}
	for _, p := range w.alive() {
		p.clients.Wait()
	}
	w.late.Wait()
	w.note("all works again")
	w.hiccups = false
	w.shared.Heal()
	for len(w.alive()) == 0 { // all have crashed, and nobody is left to end their marks
		w.open()
		for _, p := range w.alive() {
			p.stop()
			p.clients.Wait()
		}
		w.late.Wait()
	}
	processes := w.alive() // some have crashed
	for _, p := range processes {
		p.tier.SetFaults(p.weather(cachetest.Faults{}))
	}
	w.tally.add(w)
	<-time.After(recovery)
	w.judge(processes)
	for _, p := range processes {
		if err := p.cache.Close(); err != nil {
			w.fail("%s: closed: %v", p.name, err)
		}
	}
}

// alive returns the processes that have neither ended nor crashed.
func (w *world) alive() []*process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.processes
}

// forget takes a process out of the world.
func (w *world) forget(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var rest []*process
	for _, other := range w.processes {
		if other != p {
			rest = append(rest, other)
		}
	}
	w.processes = rest
}
