package stress

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cachegen/cachegen/internal/proof/history"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

var (
	duration = flag.Duration("for", 5*time.Second, "how long the stress lasts, all of it together")
	seedFlag = flag.Uint64("seed", 0, "seed of what is done at random; 0 is one that is different every time")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	readers     = 8
	writers     = 3
	readsARound = 500 // of each reader: what bounds the memory of a history
	readsATurn  = 60  // reads for each thing that changes something
	lease       = 40 * time.Millisecond
	guardLease  = 100 * time.Millisecond
	readsAtLast = 100
	leastRounds = 3 // on a machine that is busy with other things, too
)

// No read is stale while everything happens at once; and with guarded writes the reads
// of each row are linearizable.
func TestStress(t *testing.T) {
	for i, test := range []struct {
		name    string
		guarded bool
		own     bool // a store that fails and forgets, in place of the smallest embedded one
	}{
		{"embedded", false, false},
		{"failing", false, true},
		{"guarded/embedded", true, false},
		{"guarded/failing", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			seed := *seedFlag
			if seed == 0 {
				seed = rand.Uint64()
			}
			t.Logf("-seed=%d", seed)
			opts := []cacheruntime.Option{
				cacheruntime.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))), // its failures are injected
				cacheruntime.WithAmbiguousWrites(lease, nil),
				cacheruntime.WithLoadTimeout(100 * time.Millisecond),
			}
			r := &run{t: t, seed: seed + uint64(i)}
			if test.own {
				r.store = cachetest.NewStore(t)
				opts = append(opts, cacheruntime.WithStore(r.store), cacheruntime.WithMaxLoads(6))
			} else {
				opts = append(opts, cacheruntime.WithMaxBytes(1<<20))
			}
			marked := lease
			if test.guarded {
				opts = append(opts, cacheruntime.WithGuardedWrites(guardLease))
				marked = guardLease
			}
			r.start(cachetest.New(t, opts...), marked)
			r.judge = (*history.History).Stale
			if test.guarded {
				r.judge = (*history.History).Unordered
			}
			for began := time.Now(); (time.Since(began) < *duration/4 || r.rounds < leastRounds) && !t.Failed(); {
				r.round()
			}
			r.report()
		})
	}
}

// A run is one cache under stress.
type run struct {
	t      *testing.T
	ctx    context.Context
	seed   uint64
	cache  *cacheruntime.Cache
	cached *CachedPosts
	db     *database
	store  *cachetest.Store // nil: the embedded one
	judge  func(*history.History) error

	history                           *history.History // of this round
	rounds, judgedReads, judgedWrites int
	meddled, meddledWithStore         int // times, of the one who does
	transactions                      atomic.Int64
}

// start puts the cache in front of a database. What a write in doubt marks is marked
// for that lease.
func (r *run) start(cache *cacheruntime.Cache, marked time.Duration) {
	r.ctx = r.t.Context()
	r.db = newDatabase(&faults{dice: newDice(r.seed, 1), every: marked * 3 / 2}, newDice(r.seed, 2), marked)
	r.cache = cache
	r.cached = NewCachedPosts(r.db, cache)
	r.db.cached = r.cached
}

// round lets all work for a while, and judges what they saw.
func (r *run) round() {
	r.history = history.New()
	r.db.record(r.history)
	var reading, others sync.WaitGroup
	// What changes something is done once in so many reads, however fast they are:
	// so the cache is hit about as often on every machine.
	turns := make(chan struct{}, 4)
	number := 0
	work := func(wg *sync.WaitGroup, kind string, work func(*worker)) {
		number++
		w := &worker{
			run:  r,
			name: fmt.Sprint(kind, " ", number),
			rnd:  rand.New(rand.NewPCG(r.seed, uint64(r.rounds)<<8+uint64(number))),
		}
		wg.Go(func() { work(w) })
	}
	for range readers {
		work(&reading, "reader", func(w *worker) {
			for range readsARound {
				if w.t.Failed() {
					return
				}
				ctx, cancel := w.context()
				w.read(ctx)
				cancel()
				if w.oneIn(readsATurn) {
					select {
					case turns <- struct{}{}:
					default:
					}
				}
				if w.oneIn(10) {
					<-time.After(time.Duration(w.rnd.IntN(300)) * time.Microsecond)
				}
			}
		})
	}
	inTurn := func(do func(*worker)) func(*worker) {
		return func(w *worker) {
			for range turns {
				do(w)
			}
		}
	}
	for range writers {
		work(&others, "writer", inTurn((*worker).write))
	}
	work(&others, "transaction", inTurn((*worker).transact))
	work(&others, "meddler", inTurn((*worker).meddle))
	reading.Wait()
	close(turns)
	others.Wait()
	r.db.late.Wait()
	// By now every write has returned, so that what is left must be what is there.
	work(&others, "last", func(w *worker) {
		for range readsAtLast {
			w.read(w.ctx)
		}
	})
	others.Wait()

	r.rounds++
	r.judgedReads += r.history.Reads()
	r.judgedWrites += r.history.Writes()
	if err := r.judge(r.history); err != nil {
		r.t.Errorf("round %d: %v", r.rounds, err)
	}
}

// report says what happened, and fails the test if something that could go wrong did
// not happen at all.
func (r *run) report() {
	stats := r.cache.Stats()
	r.t.Logf("%d reads and %d writes judged in %d rounds; hit ratio %.2f\n%s",
		r.judgedReads, r.judgedWrites, r.rounds, stats.HitRatio(), stats)
	happened := map[string]uint64{
		"hit":             stats.Hits,
		"negative hit":    stats.NegativeHits,
		"joined":          stats.Joined,
		"stale":           stats.Stale,
		"refreshed":       stats.Refreshes,
		"reloaded":        stats.Reloads,
		"skipped":         stats.Skipped,
		"bypassed":        stats.Bypassed,
		"overtaken":       stats.Overtaken,
		"evicted":         stats.Store.Evictions,
		"load failed":     stats.LoadErrors,
		"marked":          stats.Marks,
		"write":           stats.Invalidations.Writes,
		"failed write":    stats.Invalidations.Failed,
		"ambiguous write": stats.Invalidations.Ambiguous,
		"lease":           stats.Invalidations.Leases,
		"transaction":     stats.Invalidations.Transactions,
		"by hand":         stats.Invalidations.ByHand,
	}
	if r.store != nil {
		happened["store error"] = stats.StoreErrors
		happened["undecodable"] = stats.Undecodable
	}
	if r.t.Failed() {
		return // it was cut short
	}
	for what, n := range happened {
		if n == 0 {
			r.t.Errorf("too weak: never %s", what)
		}
	}
	if ratio := stats.HitRatio(); ratio < 1./3 {
		r.t.Errorf("too weak: the hit ratio is %.2f", ratio)
	}
}
