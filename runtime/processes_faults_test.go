package cacheruntime_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

// delays makes every message of a tier take some time.
func delays(request, reply time.Duration) cachetest.Faults {
	return cachetest.Faults{
		Request: func(string) cachetest.Fate { return cachetest.Fate{Delay: request} },
		Reply:   func(string) cachetest.Fate { return cachetest.Fate{Delay: reply} },
	}
}

func newShared(t *testing.T, tier *cachetest.Tier, opts ...cacheruntime.Option) *cacheruntime.Cache {
	t.Helper()
	opts = append([]cacheruntime.Option{
		cacheruntime.WithLogger(slog.New(slog.DiscardHandler)),
		cacheruntime.WithShared(tier), cacheruntime.WithStore(cachetest.NewStore(t)),
	}, opts...)
	cache, err := cacheruntime.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	return cache
}

// What could not be delivered is delivered though more comes all the time.
func TestDeliversUnderConstantWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := cachetest.NewShared(t)
		tier := shared.Tier()
		tier.SetFaults(delays(time.Millisecond, time.Millisecond))
		cache := newShared(t, tier)
		<-time.After(time.Second)
		tier.Cut()
		cache.Invalidate(t.Context(), tag("row", 1))
		tier.Heal()
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		undelivered := 0
		for id := int64(0); ctx.Err() == nil; id++ {
			<-time.After(time.Millisecond / 2)
			undelivered = 0
			if cache.Invalidate(t.Context(), tag("row", id%100)) != nil {
				undelivered++
			}
		}
		if stats := cache.Stats().Shared; undelivered > 0 || stats.Queued > 0 || !stats.Current {
			t.Errorf("after 10 seconds in which all worked: %+v", stats)
		}
	})
}

// A reply to what was asked before the table was read again proves nothing of the new
// one: it may lack what this process has appended meanwhile.
func TestOldReplyProvesNothingOfANewTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := cachetest.NewShared(t)
		tier := shared.Tier()
		var mu sync.Mutex
		slow := map[string]time.Duration{} // how long the next reply to a call is under way
		next := func(call string, d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			slow[call] = d
		}
		tier.SetFaults(cachetest.Faults{
			Request: func(string) cachetest.Fate { return cachetest.Fate{Delay: time.Microsecond} },
			Reply: func(call string) cachetest.Fate {
				mu.Lock()
				defer mu.Unlock()
				d := slow[call]
				delete(slow, call)
				return cachetest.Fate{Delay: d + time.Microsecond}
			},
		})
		cache := newShared(t, tier)
		row := newRow(cache)
		<-time.After(time.Second)
		began := time.Now()
		at := func(ms int, do func()) {
			<-time.After(time.Until(began.Add(time.Duration(ms) * time.Millisecond)))
			do()
		}
		invalidate := func(id int64) {
			if err := cache.Invalidate(t.Context(), tag("row", id)); err != nil {
				t.Error(err)
			}
		}
		var wg sync.WaitGroup
		// The reply to one append is under way while a new epoch begins.
		next("Append", 500*time.Millisecond)
		wg.Go(func() { invalidate(8) })
		at(10, shared.Flush)
		at(20, func() { invalidate(9) })
		at(100, func() {
			row.expect(t, 0)
			row.expect(t, 0)
		})
		at(490, func() {
			next("Append", 210*time.Millisecond)
			wg.Go(func() { invalidate(8) })
		})
		at(499, func() { next("Snapshot", 100*time.Millisecond) })
		// Now it comes, and the table is read again.
		at(550, func() {
			row.version.Add(1)
			invalidate(row.id)
			next("Prove", 200*time.Millisecond)
		})
		at(705, func() { row.expect(t, 1) })
		wg.Wait()
	})
}

// A row is read through a cache.
type row struct {
	id      int64
	version atomic.Int64
	read    *cacheruntime.Read[int64]
}

func newRow(cache *cacheruntime.Cache) *row {
	return &row{id: 1, read: cacheruntime.NewRead(cache, cacheruntime.ReadConfig[int64]{
		Repository: "example.com/world.Rows", Method: "Version", TTL: time.Hour,
		Encode: func(e *cacheruntime.Encoder, version int64) { e.Int(version) },
		Decode: func(d *cacheruntime.Decoder) int64 { return d.Int() },
	})}
}

func (r *row) get(ctx context.Context) (int64, error) {
	key := r.read.Key(ctx)
	defer key.Release()
	key.Int(r.id)
	if version, err, ok := r.read.Lookup(ctx, key); ok {
		return version, err
	}
	return r.read.Load(ctx, key, cacheruntime.Loader[int64]{
		Depends: func(tags *cacheruntime.Tags) { tags.Add(tag("row", r.id)) },
		Call:    func(context.Context) (int64, error) { return r.version.Load(), nil },
	})
}

// expect fails the test unless the row is read as of a version.
func (r *row) expect(t *testing.T, want int64) {
	t.Helper()
	ctx, trace := cacheruntime.WithTrace(t.Context())
	if version, err := r.get(ctx); err != nil || version != want {
		t.Errorf("row %d: version %d, %v; want %d: %s", r.id, version, err, want, trace)
	}
}

// A log that says it has not appended what it had to cannot be right: a guarded write
// is not begun, and what is stale is delivered once more.
func TestUnconditionalRecordsAreAppended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := cachetest.NewShared(t)
		tier := shared.Tier()
		cache := newShared(t, tier, cacheruntime.WithGuardedWrites(time.Second))
		write := cacheruntime.NewWrite(cache, "example.com/world.Rows", "Update")
		tier.SetFaults(cachetest.Faults{Log: func(_ string, reply *cacheruntime.LogReply) error {
			reply.Appended = false
			return nil
		}})
		if _, call, err := write.Begin(t.Context(), func(tags *cacheruntime.Tags) { tags.Add(tag("row", 1)) }); !errors.Is(err, cacheruntime.ErrRefused) {
			t.Errorf("begun: %v", err)
			call.End()
		}
		tier.SetFaults(cachetest.Faults{})
		<-time.After(5 * time.Second)
		if marks := shared.Marks(); len(marks) > 0 {
			t.Errorf("marks are left: %v", marks)
		}
		tier.SetFaults(cachetest.Faults{Log: func(_ string, reply *cacheruntime.LogReply) error {
			reply.Appended = false
			return nil
		}})
		if err := cache.Invalidate(t.Context(), tag("row", 1)); !errors.Is(err, cacheruntime.ErrUndelivered) {
			t.Errorf("delivered: %v", err)
		}
		tier.SetFaults(cachetest.Faults{})
		<-time.After(5 * time.Second)
		if stats := cache.Stats().Shared; stats.Queued > 0 || !stats.Current {
			t.Errorf("afterwards: %+v", stats)
		}
	})
}

// What a log says of leases, slots and numbers is not trusted.
func TestForgedRecordsDoNoHarm(t *testing.T) {
	for _, test := range []struct {
		name  string
		forge func(record *cacheruntime.LogRecord)
	}{
		{"negative lease", func(record *cacheruntime.LogRecord) {
			record.Mark = cacheruntime.LogMark{ID: cacheruntime.LogID{1}, Lease: math.MinInt64}
		}},
		{"endless lease", func(record *cacheruntime.LogRecord) {
			record.Mark = cacheruntime.LogMark{ID: cacheruntime.LogID{1}, Lease: math.MaxInt64}
		}},
		{"slots", func(record *cacheruntime.LogRecord) {
			record.Slots = []uint32{math.MaxUint32, 7, 7, cacheruntime.SharedTableSize}
			record.Mark = cacheruntime.LogMark{ID: cacheruntime.LogID{1}, Slots: record.Slots, Lease: time.Millisecond}
		}},
		{"releases", func(record *cacheruntime.LogRecord) {
			record.Release = []cacheruntime.LogRelease{{}, {ID: cacheruntime.LogID{1}, Generation: math.MaxUint64}, {ID: cacheruntime.LogID{1}}}
		}},
		{"condition", func(record *cacheruntime.LogRecord) { record.OnlyIf = 255 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared := cachetest.NewShared(t)
				tier := shared.Tier()
				cache := newShared(t, tier)
				other := newShared(t, shared.Tier())
				tier.SetFaults(cachetest.Faults{
					Log: func(_ string, reply *cacheruntime.LogReply) error {
						for i := range reply.Records {
							test.forge(&reply.Records[i])
						}
						return nil
					},
					Snapshot: func(snapshot *cacheruntime.LogSnapshot) error {
						var record cacheruntime.LogRecord
						test.forge(&record)
						snapshot.Marks = append(snapshot.Marks, record.Mark)
						return nil
					},
				})
				for id := range int64(5) {
					if err := other.Invalidate(t.Context(), tag("row", id)); err != nil {
						t.Error(err)
					}
					<-time.After(time.Second)
					if id == 3 {
						shared.EvictLog() // a snapshot comes
					}
				}
				tier.SetFaults(cachetest.Faults{})
				<-time.After(5 * time.Second)
				shared.Flush() // whatever was believed is over then
				<-time.After(5 * time.Second)
				row := newRow(cache)
				row.expect(t, 0)
				row.version.Add(1)
				if err := other.Invalidate(t.Context(), tag("row", row.id)); err != nil {
					t.Error(err)
				}
				<-time.After(2 * time.Second)
				row.expect(t, 1)
			})
		})
	}
}

// A mark whose lease is over by the time that its writer hears of it is not marked
// again.
func TestMarkThatHasEndedStaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := cachetest.NewShared(t)
		tier := shared.Tier()
		cache := newShared(t, tier, cacheruntime.WithGuardedWrites(100*time.Millisecond))
		write := cacheruntime.NewWrite(cache, "example.com/world.Rows", "Update")
		row := newRow(cache)
		<-time.After(time.Second)
		appends := 0
		tier.SetFaults(cachetest.Faults{Reply: func(call string) (fate cachetest.Fate) {
			if call == "Append" {
				if appends++; appends == 1 {
					fate.Delay = 500 * time.Millisecond
				}
			}
			return fate
		}})
		_, call, err := write.Begin(t.Context(), func(tags *cacheruntime.Tags) { tags.Add(tag("row", row.id)) })
		if err != nil {
			t.Fatal(err)
		}
		call.Returned(nil)
		call.End()
		<-time.After(time.Second)
		row.expect(t, 0)
		ctx, trace := cacheruntime.WithTrace(t.Context())
		row.get(ctx)
		cachetest.Hit(t, trace)
	})
}
