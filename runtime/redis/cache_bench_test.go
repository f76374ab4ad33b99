package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/redis"
)

type post struct {
	ID, Author int64
	Title      string
}

// posts is a repository that makes its rows up, with a wrapper as it is generated.
type posts struct {
	cache *cacheruntime.Cache
	read  *cacheruntime.Read[*post]
	many  *cacheruntime.Batch[int64, *post]
	loads atomic.Int64
}

func newPosts(b testing.TB, ttl time.Duration, options ...cacheruntime.Option) *posts {
	b.Helper()
	cache, err := cacheruntime.New(options...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := cache.Close(); err != nil {
			b.Error(err)
		}
	})
	r := &posts{cache: cache}
	r.read = cacheruntime.NewRead(cache, cacheruntime.ReadConfig[*post]{
		Repository: "example.com/blog.PostRepository",
		Method:     "Post",
		TTL:        ttl,
		IsNil:      func(p *post) bool { return p == nil },
		Encode: func(e *cacheruntime.Encoder, p *post) {
			e.Int(p.ID)
			e.Int(p.Author)
			e.String(p.Title)
		},
		Decode: func(d *cacheruntime.Decoder) *post {
			return &post{ID: d.Int(), Author: d.Int(), Title: d.String()}
		},
	})
	r.many = cacheruntime.NewBatch[int64](r.read, cacheruntime.BatchConfig{Method: "Posts"})
	return r
}

func tag(name string, id int64) cacheruntime.Tag {
	key := cacheruntime.NewKey()
	key.Int(id)
	return key.Tag("example.com/blog." + name)
}

func (r *posts) loader(id int64) cacheruntime.Loader[*post] {
	return cacheruntime.Loader[*post]{
		Call:          func(context.Context) (*post, error) { return r.load(id), nil },
		Depends:       func(tags *cacheruntime.Tags) { tags.Add(tag("post", id)) },
		DependsResult: func(tags *cacheruntime.Tags, p *post) { tags.Add(tag("author", p.Author)) },
	}
}

func (r *posts) load(id int64) *post {
	r.loads.Add(1)
	return &post{ID: id, Author: id % 10, Title: "On caching what changes"}
}

func (r *posts) get(ctx context.Context, id int64) (*post, error) {
	key := r.read.Key(ctx)
	defer key.Release()
	key.Int(id)
	if p, err, ok := r.read.Lookup(ctx, key); ok {
		return p, err
	}
	return r.read.Load(ctx, key, r.loader(id))
}

func (r *posts) getAll(ctx context.Context, ids []int64) ([]cacheruntime.Found[int64, *post], error) {
	return r.many.Load(ctx, ids, cacheruntime.BatchLoader[int64, *post]{
		Key:    func(key *cacheruntime.Key, id int64) { key.Int(id) },
		Policy: r.loader,
		Call: func(_ context.Context, ids []int64, add func(int64, *post)) error {
			for _, id := range ids {
				add(id, r.load(id))
			}
			return nil
		},
	})
}

// mustGet is for reads that must succeed. It may be called on any goroutine.
func (r *posts) mustGet(b testing.TB, ctx context.Context, id int64) {
	if p, err := r.get(ctx, id); err != nil || p.ID != id {
		b.Error(p, err)
	}
}

// hits makes n reads.
func (r *posts) hits(b testing.TB, ctx context.Context, n int) {
	for range n {
		r.mustGet(b, ctx, 7)
	}
}

// openTier opens a tier with timeouts for a machine that is busy.
func openTier(b testing.TB, server *redistest.Server) *redis.Tier {
	b.Helper()
	tier, err := redis.Open(b.Context(), redis.Options{
		InitAddress: []string{server.Addr()}, Namespace: "bench", Timeout: 10 * time.Second, LogTimeout: 10 * time.Second,
	})
	if err != nil {
		b.Fatal(err)
	}
	return tier
}

func withTier(b testing.TB, server *redistest.Server) cacheruntime.Option {
	return cacheruntime.WithShared(openTier(b, server))
}

// forgetful is a store without memory: every read looks in the second tier.
type forgetful struct{}

func (forgetful) Get(string) ([]byte, bool, error) { return nil, false, nil }
func (forgetful) Set(string, []byte) error         { return nil }
func (forgetful) Reset() error                     { return nil }
func (forgetful) Close() error                     { return nil }

var lifetimes = []struct {
	name string
	ttl  time.Duration
}{{"ttl", time.Hour}, {"forever", cacheruntime.Forever}}

// BenchmarkHit is a hit in the memory of a process, without a shared tier and with one,
// D = 1 s. Both are measured in turns, so that what else the machine does concerns both;
// ns/op is of the two together.
func BenchmarkHit(b *testing.B) {
	for _, lifetime := range lifetimes {
		b.Run(lifetime.name, func(b *testing.B) {
			server := redistest.Start(b)
			alone := newPosts(b, lifetime.ttl)
			shared := newPosts(b, lifetime.ttl, withTier(b, server))
			ctx := context.Background()
			const inTurn = 1000
			measure := func(r *posts) time.Duration {
				began := time.Now()
				r.hits(b, ctx, inTurn)
				return time.Since(began)
			}
			measure(alone)
			measure(shared)
			var of [2][]time.Duration
			for n := 0; b.Loop(); n++ {
				if n%inTurn != 0 {
					continue // a pair of turns is so many pairs of hits
				}
				of[0] = append(of[0], measure(alone))
				of[1] = append(of[1], measure(shared))
			}
			// A turn in which the machine did something else as well is no measure.
			var ns [2]float64
			for i := range of {
				slices.Sort(of[i])
				ns[i] = float64(of[i][len(of[i])/4].Nanoseconds()) / inTurn
			}
			b.ReportMetric(ns[0], "ns-alone")
			b.ReportMetric(ns[1], "ns-shared")
			b.ReportMetric(ns[1]/ns[0], "ratio")
			if loads := shared.loads.Load(); loads > 1 {
				b.Logf("%d loads: not all were hits", loads)
			}
		})
	}
}

// BenchmarkHitShared is the second half of [BenchmarkHit], for profiles.
func BenchmarkHitShared(b *testing.B) {
	for _, lifetime := range lifetimes {
		b.Run(lifetime.name, func(b *testing.B) {
			r := newPosts(b, lifetime.ttl, withTier(b, redistest.Start(b)))
			ctx := context.Background()
			r.hits(b, ctx, 1)
			b.ReportAllocs()
			for b.Loop() {
				r.hits(b, ctx, 1)
			}
		})
	}
}

// BenchmarkHitProven is a hit with D = 0, which waits for a proof, by several readers at
// the same time: they share proofs.
func BenchmarkHitProven(b *testing.B) {
	for _, readers := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			r := newPosts(b, time.Hour, withTier(b, redistest.Start(b)), cacheruntime.WithMaxStaleness(0))
			ctx := context.Background()
			r.hits(b, ctx, 1)
			before, loads := r.cache.Stats().Shared.Proofs, r.loads.Load()
			b.ResetTimer()
			inParallel(b, readers, func() { r.hits(b, ctx, 1) })
			b.ReportMetric(float64(r.cache.Stats().Shared.Proofs-before)/float64(b.N), "proofs/op")
			if n := r.loads.Load() - loads; n > 0 {
				b.Errorf("%d loads: not all were hits", n)
			}
		})
	}
}

// inParallel does something b.N times on n goroutines.
func inParallel(b *testing.B, n int, do func()) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				do()
			}
		})
	}
	wg.Wait()
}

// BenchmarkSharedHit is a read that is answered from the second tier.
func BenchmarkSharedHit(b *testing.B) {
	for _, readers := range []int{1, 64} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			server := redistest.Start(b)
			const n = 1000
			ids := fill(b, server, n)
			r := newPosts(b, time.Hour, withTier(b, server), cacheruntime.WithStore(forgetful{}))
			ctx := context.Background()
			var next atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			inParallel(b, readers, func() { r.mustGet(b, ctx, ids[next.Add(1)%n]) })
			if loads := r.loads.Load(); loads > 0 {
				b.Errorf("%d loads: not all were hits", loads)
			}
		})
	}
}

// fill has n posts in the second tier and returns their ids.
func fill(b *testing.B, server *redistest.Server, n int) (ids []int64) {
	b.Helper()
	writer := newPosts(b, time.Hour, withTier(b, server))
	for id := range int64(n) {
		ids = append(ids, id)
	}
	if _, err := writer.getAll(b.Context(), ids); err != nil {
		b.Fatal(err)
	}
	reader := newPosts(b, time.Hour, withTier(b, server), cacheruntime.WithStore(forgetful{}))
	redistest.Until(b, "the entries are stored", func() bool {
		before := reader.loads.Load()
		if _, err := reader.getAll(b.Context(), ids); err != nil {
			b.Fatal(err)
		}
		return reader.loads.Load() == before
	})
	return ids
}

// BenchmarkSharedBatch is a batch of 100 that is answered from the second tier.
func BenchmarkSharedBatch(b *testing.B) {
	server := redistest.Start(b)
	ids := fill(b, server, 100)
	r := newPosts(b, time.Hour, withTier(b, server), cacheruntime.WithStore(forgetful{}))
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if found, err := r.getAll(ctx, ids); err != nil || len(found) != len(ids) {
			b.Fatal(found, err)
		}
	}
	if loads := r.loads.Load(); loads > 0 {
		b.Errorf("%d loads: not all were hits", loads)
	}
}

// BenchmarkMissBoth is a read that neither tier can answer, and whose load takes no time:
// it asks Redis, loads, and fills both.
func BenchmarkMissBoth(b *testing.B) {
	for _, readers := range []int{1, 64} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			r := newPosts(b, time.Hour, withTier(b, redistest.Start(b)))
			ctx := context.Background()
			var next atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			inParallel(b, readers, func() { r.mustGet(b, ctx, next.Add(1)) })
			if n := r.cache.Stats().SharedErrors; n > 0 {
				b.Errorf("the tier failed %d times", n)
			}
		})
	}
}

// BenchmarkInvalidations is how many invalidations go through one Redis: from one
// process by several goroutines, and from several processes, each with a connection of
// its own. Every process applies the records of all.
func BenchmarkInvalidations(b *testing.B) {
	for _, test := range []struct{ processes, writers int }{{1, 1}, {1, 8}, {1, 64}, {4, 1}, {4, 16}, {8, 8}} {
		b.Run(fmt.Sprintf("processes=%d/writers=%d", test.processes, test.writers), func(b *testing.B) {
			server := redistest.Start(b)
			var caches []*cacheruntime.Cache
			for range test.processes {
				caches = append(caches, newPosts(b, time.Hour, withTier(b, server)).cache)
			}
			ctx := context.Background()
			server.Do("CONFIG", "RESETSTAT")
			b.ResetTimer()
			var next atomic.Int64
			inParallel(b, test.processes*test.writers, func() {
				n := next.Add(1)
				if err := caches[n%int64(len(caches))].Invalidate(ctx, tag("post", n), tag("author", n%10)); err != nil {
					b.Error(err)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			reportCommands(b, server)
		})
	}
}

// reportCommands reports what the server's scripts took, since the last reset.
func reportCommands(b *testing.B, server *redistest.Server) {
	for field := range strings.SplitSeq(server.Info("cmdstat_evalsha"), ",") {
		if text, ok := strings.CutPrefix(field, "usec_per_call="); ok {
			each, err := strconv.ParseFloat(text, 64)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(each, "redis-µs/script")
		}
	}
}

// BenchmarkPropagation is how long after a write has returned another process no longer
// has what it made stale: of writes now and then, and while others write constantly.
func BenchmarkPropagation(b *testing.B) {
	for _, busy := range []bool{false, true} {
		name := "quiet"
		if busy {
			name = "busy"
		}
		b.Run(name, func(b *testing.B) {
			server := redistest.Start(b)
			writer := newPosts(b, time.Hour, withTier(b, server))
			reader := newPosts(b, time.Hour, withTier(b, server))
			ctx, cancel := context.WithCancel(context.Background())
			var others sync.WaitGroup
			defer others.Wait()
			defer cancel()
			if busy {
				third := newPosts(b, time.Hour, withTier(b, server))
				others.Go(func() {
					for n := int64(0); ctx.Err() == nil; n++ {
						if err := third.cache.Invalidate(ctx, tag("other", n)); err != nil && !errors.Is(err, context.Canceled) {
							b.Error(err)
						}
					}
				})
			}
			var took []time.Duration
			for b.Loop() {
				b.StopTimer()
				<-time.After(100*time.Millisecond + rand.N(50*time.Millisecond))
				reader.mustGet(b, ctx, 7)
				b.StartTimer()
				if err := writer.cache.Invalidate(ctx, tag("post", 7)); err != nil {
					b.Fatal(err)
				}
				returned := time.Now()
				var last time.Duration // that a read began which was answered with what is stale
				for loads := reader.loads.Load(); ; {
					began := time.Since(returned)
					reader.mustGet(b, ctx, 7)
					if reader.loads.Load() != loads {
						break
					}
					last = began
				}
				if last > time.Second {
					b.Errorf("a read that began %v after a write was stale", last)
				}
				took = append(took, last)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
			b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms-max")
		})
	}
}

// BenchmarkStart is a process that joins: what it takes to read the table, of which few
// words or all are in use.
func BenchmarkStart(b *testing.B) {
	for _, full := range []bool{false, true} {
		name := "empty"
		if full {
			name = "full"
		}
		b.Run(name, func(b *testing.B) {
			server := redistest.Start(b)
			tier := openTier(b, server)
			defer tier.Close()
			if full {
				record := cacheruntime.LogRecord{ID: cacheruntime.LogID{1}, Slots: []uint32{cacheruntime.SharedTableSize - 1}}
				if _, err := tier.Append(b.Context(), cacheruntime.LogPosition{}, record); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if _, err := tier.Snapshot(b.Context(), 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkScripts is what the log costs: the time of a call, and of it the server's
// own, which bounds how many of them one Redis can do.
func BenchmarkScripts(b *testing.B) {
	run := func(name string, slots int, call func(*redis.Tier, cacheruntime.LogPosition, cacheruntime.LogRecord) (cacheruntime.LogReply, error)) {
		b.Run(name, func(b *testing.B) {
			server := redistest.Start(b)
			tier := openTier(b, server)
			defer tier.Close()
			snapshot, err := tier.Snapshot(b.Context(), 0)
			if err != nil {
				b.Fatal(err)
			}
			at := snapshot.At
			record := cacheruntime.LogRecord{}
			for i := range slots {
				record.Slots = append(record.Slots, uint32(i*(cacheruntime.SharedTableSize/max(slots, 1))))
			}
			server.Do("CONFIG", "RESETSTAT")
			for n := uint64(1); b.Loop(); n++ {
				for i := range 8 {
					record.ID[i] = byte(n >> (8 * i))
				}
				record.ID[15] = 1
				reply, err := call(tier, at, record)
				if err != nil {
					b.Fatal(err)
				}
				at = reply.Head
			}
			b.StopTimer()
			reportCommands(b, server)
		})
	}
	run("prove", 0, func(tier *redis.Tier, at cacheruntime.LogPosition, _ cacheruntime.LogRecord) (cacheruntime.LogReply, error) {
		return tier.Prove(b.Context(), at)
	})
	for _, slots := range []int{2, 20, 1000} {
		run(fmt.Sprintf("append/slots=%d", slots), slots, func(tier *redis.Tier, at cacheruntime.LogPosition, record cacheruntime.LogRecord) (cacheruntime.LogReply, error) {
			return tier.Append(b.Context(), at, record)
		})
	}
}
