package processes

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/redistest"
)

var duration = flag.Duration("for", 6*time.Second, "how long the random runs last, each of them, if everything has happened by then")

// Everything happens to Redis, the processes and the network, in an order that is random:
// nothing stale is read. In some of the runs Redis keeps what it has, and with guarded
// writes not even a commit is missed then that nobody has told of.
func TestRandom(t *testing.T) {
	for i, test := range []struct {
		name  string
		bound time.Duration
		guard time.Duration
		loses bool
	}{
		{"bounded", 200 * time.Millisecond, 0, false},
		{"linearizable", 0, time.Second, false},
		{"bounded/loses", 200 * time.Millisecond, 0, true},
		{"guarded/loses", 0, time.Second, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := settings{Bound: test.bound, Guard: test.guard, Timeout: shortTimeout, LogLength: 100, LosesData: test.loses}
			r := &randomRun{world: newWorld(t, 10, s), rnd: rand.New(rand.NewPCG(seed(t), uint64(i)))}
			r.run(test.loses)
		})
	}
}

// A randomRun is a number of processes, each behind a proxy of its own, and what happens
// to them.
type randomRun struct {
	*world
	rnd       *rand.Rand
	primary   *redistest.Server
	traffic   *traffic
	processes []*process         // that live
	proxies   []*redistest.Proxy // of those
	happened  []string
}

// What a random run has at least, or else it says nothing.
const (
	leastReads  = 300
	leastHits   = 30
	leastWrites = 30
)

func (r *randomRun) run(loses bool) {
	r.primary = redistest.Start(r.t)
	r.traffic = r.world.traffic(r.rnd.Uint64())
	for range 3 {
		r.add()
	}
	faults := []func(){r.pauseServer, r.pauseProcess, r.network, r.network, r.killProcess, r.killClients}
	if loses {
		faults = append(faults, r.flush, r.restart, r.failOver, r.deleteKey)
	}
	// All of them happen, in one order after the other: none is missing by chance.
	for began := time.Now(); time.Since(began) < *duration; {
		for _, i := range r.rnd.Perm(len(faults)) {
			r.wait(600 * time.Millisecond)
			faults[i]()
			r.failFast()
		}
	}
	r.t.Logf("happened: %v", r.happened)
	r.traffic.stop()
	tr := r.traffic
	if reads, hits, writes := tr.reads.Load(), tr.hits.Load(), tr.accepted(); reads < leastReads || hits < leastHits || writes < leastWrites {
		r.t.Errorf("too little to judge: %d reads, %d hits, %d writes; want %d, %d and %d at least", reads, hits, writes, leastReads, leastHits, leastWrites)
	}
	r.awaitRecovery(r.processes...)
}

// wait lets some time pass, up to most.
func (r *randomRun) wait(most time.Duration) {
	wait(time.Duration(r.rnd.Int64N(int64(most))))
}

func (r *randomRun) note(format string, args ...any) {
	r.happened = append(r.happened, fmt.Sprintf("%.3fs ", r.db.now().Seconds())+fmt.Sprintf(format, args...))
}

// add starts one more process.
func (r *randomRun) add() {
	proxy := redistest.StartProxy(r.t, r.primary.Addr())
	p := r.start(proxy.Addr())
	r.processes = append(r.processes, p)
	r.proxies = append(r.proxies, proxy)
	r.traffic.join(p)
}

func (r *randomRun) pauseServer() {
	r.note("server paused")
	r.primary.Pause()
	r.wait(700 * time.Millisecond)
	r.primary.Resume()
	r.note("and resumed")
}

func (r *randomRun) pauseProcess() {
	p := r.processes[r.rnd.IntN(len(r.processes))]
	r.note("process %d paused", p.number)
	p.Pause()
	r.wait(700 * time.Millisecond)
	p.Resume()
	r.note("and resumed")
}

func (r *randomRun) network() {
	i := r.rnd.IntN(len(r.proxies))
	proxy := r.proxies[i]
	direction := redistest.Direction(1 + r.rnd.IntN(int(redistest.Both)))
	how := []string{"drop", "block", "delay", "cut"}[r.rnd.IntN(4)]
	r.note("network of process %d: %s %d", r.processes[i].number, how, direction)
	switch how {
	case "drop":
		proxy.Drop(direction)
	case "block":
		proxy.Block(direction)
	case "delay":
		proxy.Delay(direction, time.Duration(r.rnd.Int64N(int64(400*time.Millisecond))))
	case "cut":
		proxy.Cut()
	}
	r.wait(700 * time.Millisecond)
	proxy.Heal()
	r.note("and healed")
}

// killProcess kills a process, and starts another one.
func (r *randomRun) killProcess() {
	i := r.rnd.IntN(len(r.processes))
	r.note("process %d killed", r.processes[i].number)
	r.processes[i].kill()
	r.processes = slices.Delete(r.processes, i, i+1)
	r.proxies = slices.Delete(r.proxies, i, i+1)
	r.wait(100 * time.Millisecond)
	r.add()
	r.note("process %d started", r.processes[len(r.processes)-1].number)
}

func (r *randomRun) killClients() {
	r.note("clients killed")
	r.primary.Do("CLIENT", "KILL", "TYPE", "normal")
}

func (r *randomRun) flush() {
	r.note("flushed")
	r.primary.Flush()
}

func (r *randomRun) restart() {
	r.note("restarted")
	if r.rnd.IntN(2) == 0 {
		r.primary.Do("SAVE")
		r.wait(300 * time.Millisecond)
		r.primary.Restart()
	} else {
		r.primary.RestartEmpty()
	}
}

func (r *randomRun) deleteKey() {
	key := logKeys()[r.rnd.IntN(3)]
	r.note("%s deleted", key)
	r.primary.Do("DEL", key)
}

// failOver kills the primary and promotes a replica that has fallen behind.
func (r *randomRun) failOver() {
	replication := redistest.StartProxy(r.t, r.primary.Addr())
	replica := redistest.Start(r.t)
	replica.Follow(replication.Addr())
	replication.Block(redistest.Both)
	r.wait(300 * time.Millisecond)
	r.note("failed over")
	r.primary.Kill()
	replica.Promote()
	r.primary = replica
	for _, proxy := range r.proxies {
		proxy.Retarget(replica.Addr())
	}
}
