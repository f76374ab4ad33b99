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

// Traffic is calls of several processes at random, for as long as it goes on.
type traffic struct {
	world *world
	seed  uint64
	over  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup

	reads, hits, sharedHits, writes, refused, late, doubtful atomic.Int64
}

// traffic begins to make calls in processes. A process that is killed is to be dismissed
// before.
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
	tr.wg.Go(func() { tr.settle(p) })
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
				case <-p.dismissed:
					return
				case <-time.After(time.Duration(rnd.Int64N(int64(2 * pause)))):
					call(p, rnd)
				}
			}
		})
	}
}

// settle looks now and then whether what was late has been delivered.
func (tr *traffic) settle(p *process) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-tr.over:
			return
		case <-p.dismissed:
			return
		case <-ticker.C:
			if p.isLate() {
				p.settle()
			}
		}
	}
}

// halt ends the traffic, when all calls have returned.
func (tr *traffic) halt() {
	tr.once.Do(func() { close(tr.over) })
	tr.wg.Wait()
}

// stop ends the traffic, and says what there was.
func (tr *traffic) stop() {
	tr.halt()
	tr.world.db.slow.Store(0)
	tr.world.t.Logf("%d reads, of them %d hits and %d shared ones; %d writes, of them %d refused, %d delivered late, %d in doubt; the most that was behind: %v",
		tr.reads.Load(), tr.hits.Load(), tr.sharedHits.Load(), tr.writes.Load(), tr.refused.Load(), tr.late.Load(), tr.doubtful.Load(), tr.world.db.mostLag())
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
	switch {
	case p.isDismissed():
	case err != nil:
		tr.world.t.Errorf("process %d: %s %v: %v", p.number, method, ids, err)
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
		if doubt := tr.world.defaults.Doubt; doubt > 0 && !tr.world.defaults.Forgetful && rnd.IntN(2) == 0 {
			// It is to land while it is marked, however slow the machine is.
			plan.late, plan.within = time.Duration(1+rnd.Int64N(int64(doubt/4))), doubt/2
		}
		tr.world.db.plan(number, plan)
	}
	w, err := p.tryWrite(number, how, ids...)
	switch {
	case p.isDismissed():
	case w.Refused:
		tr.refused.Add(1)
	case w.Late:
		tr.late.Add(1)
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
