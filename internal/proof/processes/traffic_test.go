package processes

import (
	"flag"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// Traffic is calls that several processes make at random, for as long as it goes on.
type traffic struct {
	world *world
	seed  uint64
	over  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup

	// What has returned so far: reads are those that were judged, and writes all calls
	// that write, whatever became of them.
	reads, hits, sharedHits, writes, refused, queued, doubtful atomic.Int64
}

// traffic begins to make calls in processes. It goes on in the others if one is killed.
func (w *world) traffic(seed uint64, processes ...*process) *traffic {
	tr := &traffic{world: w, seed: seed, over: make(chan struct{})}
	w.db.slow.Store(int64(2 * time.Millisecond))
	w.t.Cleanup(tr.halt) // if the test ends before its time
	for _, p := range processes {
		tr.join(p)
	}
	return tr
}

// join begins to make calls in one more process.
func (tr *traffic) join(p *process) {
	tr.wg.Go(func() { tr.watchDelivery(p) })
	for i := range 3 {
		rnd := rand.New(rand.NewPCG(tr.seed, uint64(p.number)<<8+uint64(i)))
		call := tr.read
		pause := time.Millisecond
		if i == 0 {
			call, pause = tr.write, 20*time.Millisecond
		}
		tr.wg.Go(func() {
			for {
				select {
				case <-tr.over:
					return
				case <-p.killed:
					return
				case <-time.After(time.Duration(rnd.Int64N(int64(2 * pause)))):
					call(p, rnd)
				}
			}
		})
	}
}

// watchDelivery looks now and then whether what was not delivered at once has been.
func (tr *traffic) watchDelivery(p *process) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-tr.over:
			return
		case <-p.killed:
			return
		case <-ticker.C:
			if p.hasUndelivered() {
				p.checkDelivered()
			}
		}
	}
}

// halt ends the traffic, when all calls have returned.
func (tr *traffic) halt() {
	tr.once.Do(func() { close(tr.over) })
	tr.wg.Wait()
}

// flow waits until the traffic has gone on for a while in which Redis can be used: until
// enough more reads have been judged, with hits among them, and writes were made.
func (tr *traffic) flow() {
	tr.world.t.Helper()
	reads, hits, writes := tr.reads.Load()+50, tr.hits.Load()+10, tr.accepted()+5
	tr.world.until("enough is read, hit and written", func() bool {
		return tr.reads.Load() >= reads && tr.hits.Load() >= hits && tr.accepted() >= writes
	})
}

// accepted returns how many writes were made that were not refused.
func (tr *traffic) accepted() int64 { return tr.writes.Load() - tr.refused.Load() }

// letRun lets the traffic go on for some time, and longer if by then no read has been
// judged that began meanwhile. In that time something is done to what it needs.
func (tr *traffic) letRun(d time.Duration) {
	tr.world.t.Helper()
	reads := tr.reads.Load()
	wait(d)
	// Some may have begun before.
	tr.world.until("reads have been judged", func() bool { return tr.reads.Load() > reads+20 })
}

// stop ends the traffic, when it has gone on for a while after what was done to it, and
// says what there was.
func (tr *traffic) stop() {
	tr.world.t.Helper()
	tr.flow()
	tr.halt()
	tr.world.db.slow.Store(0)
	tr.world.t.Logf("%d reads, of them %d hits and %d shared ones; %d writes, of them %d refused, %d not delivered at once, %d in doubt; what another process had written was seen after %v at most",
		tr.reads.Load(), tr.hits.Load(), tr.sharedHits.Load(), tr.writes.Load(), tr.refused.Load(), tr.queued.Load(), tr.doubtful.Load(), tr.world.db.mostLag())
	tr.world.failFast()
}

// trafficRows is the number of rows that are changed.
const trafficRows = 6

func (tr *traffic) read(p *process, rnd *rand.Rand) {
	id := 1 + rnd.IntN(trafficRows)
	method, ids := "Get", []int{id}
	switch rnd.IntN(10) {
	case 0, 1, 2:
		method = "Page"
	case 3:
		method, ids = "Some", []int{id, id + 1, id + 2}
	case 4:
		method, ids = "All", nil
	case 5:
		method = "Brief"
	case 6:
		ids = []int{tr.world.db.rowToCome()}
	}
	s, err := p.tryRead(method, ids...)
	if err != nil {
		if !p.isKilled() {
			tr.world.t.Errorf("process %d: %s %v: %v", p.number, method, ids, err)
		}
		return
	}
	tr.reads.Add(1)
	switch cacheruntime.Outcome(s.Outcome) {
	case cacheruntime.Hit, cacheruntime.NegativeHit:
		tr.hits.Add(1)
	case cacheruntime.SharedHit:
		tr.sharedHits.Add(1)
	}
}

func (tr *traffic) write(p *process, rnd *rand.Rand) {
	how, ids := "update", []int{1 + rnd.IntN(trafficRows)}
	switch rnd.IntN(8) {
	case 0:
		ids = append(ids, 1+rnd.IntN(trafficRows))
	case 1:
		how, ids = "transaction", append(ids, 1+rnd.IntN(trafficRows))
	case 2:
		how = "outside"
	case 3:
		if tr.world.db.rowToCome() < maxRows {
			how, ids = "insert", nil
		}
	}
	number := p.begin(how)
	doubtful := how != "outside" && rnd.IntN(30) == 0
	if doubtful {
		plan := plan{lost: true}
		if doubt := tr.world.defaults.Doubt; doubt > 0 && !tr.world.defaults.LosesData && rnd.IntN(2) == 0 {
			// It is to land while it is marked, however slow the machine is.
			plan.late, plan.within = time.Duration(1+rnd.Int64N(int64(doubt/4))), doubt/2
		}
		tr.world.db.plan(number, plan)
	}
	w, err := p.tryWrite(number, how, ids...)
	switch {
	case p.isKilled():
		return
	case w.Refused:
		tr.refused.Add(1)
	case w.Queued:
		tr.queued.Add(1)
	case doubtful:
		tr.doubtful.Add(1)
	case err != nil && tr.world.defaults.Guard == 0:
		tr.world.t.Errorf("process %d: %s %v: %v", p.number, how, ids, err)
	}
	tr.writes.Add(1)
}

var seedFlag = flag.Uint64("seed", 0, "seed of what is done at random; 0 is one that is different every time")

// seed returns the seed of a test.
func seed(t testing.TB) uint64 {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed=%d", seed)
	return seed
}
