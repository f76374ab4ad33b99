package cacheruntime

import (
	"context"
	"database/sql/driver"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachegen/cachegen/internal/proof/history"
)

var seeds = flag.Int("seeds", 60, "seeds of the random schedules")

// Readers, writers and transactions in orders that a seed decides: no read is stale,
// and with guarded writes each row is linearizable.
func TestRandomSchedules(t *testing.T) {
	for _, guarded := range []bool{false, true} {
		for seed := range *seeds {
			t.Run(fmt.Sprintf("guarded=%v/%d", guarded, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { checkHistory(t, guarded, uint64(seed)) })
			})
		}
	}
}

// checkHistory runs readers, writers and transactions, whose order the seed decides.
func checkHistory(t *testing.T, guarded bool, seed uint64) {
	const lease = 200 * time.Millisecond
	store := newMemoryStore()
	opts := []Option{WithStore(store), WithAmbiguousWrites(lease, nil)}
	if guarded {
		opts = append(opts, WithGuardedWrites(lease))
	}
	r := newPosts(t, nil, opts...)
	r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	outer := newPostsOn(r.cache, func(cfg *ReadConfig[*post]) { cfg.Method = "Outer" })
	outer.depends = r.depends
	const rows = 2
	var mu sync.Mutex
	h := history.New()
	version := [rows]int64{}
	apply := func(call *history.Call, id int64) {
		mu.Lock()
		defer mu.Unlock()
		version[id]++
		r.set(post{ID: id, Title: strconv.FormatInt(version[id], 10)})
		call.Wrote(int(id), version[id])
	}
	for id := range int64(rows) {
		r.set(post{ID: id, Title: "0"})
	}
	rngs := rand.New(rand.NewPCG(seed, 1))
	newRand := func() func(int) int {
		var m sync.Mutex
		g := rand.New(rand.NewPCG(rngs.Uint64(), 2))
		return func(n int) int { m.Lock(); defer m.Unlock(); return g.IntN(n) }
	}
	dbRand := newRand()
	pause := func(rnd func(int) int) {
		if rnd(3) > 0 {
			<-time.After(time.Duration(1+rnd(20)) * time.Millisecond)
		}
	}
	r.enter = func(context.Context, int64) { pause(dbRand) }
	r.leave = func(context.Context, int64) { pause(dbRand) }

	var wg sync.WaitGroup
	for reader := range 4 {
		rnd := newRand()
		wg.Go(func() {
			for range 60 {
				pause(rnd)
				id := int64(rnd(rows))
				ctx := t.Context()
				if rnd(8) == 0 {
					ctx = Refresh(ctx)
				}
				if rnd(10) == 0 {
					store.mu.Lock()
					clear(store.entries)
					store.mu.Unlock()
				}
				call := h.Begin(fmt.Sprint("reader ", reader), fmt.Sprintf("Post(%d)", id))
				var p *post
				var err error
				if rnd(3) == 0 {
					key := outer.read.Key(ctx)
					key.Int(id)
					var ok bool
					if p, err, ok = outer.read.Lookup(ctx, key); !ok {
						p, err = outer.read.Load(ctx, key, Loader[*post]{
							Call: func(ctx context.Context) (*post, error) {
								pause(dbRand)
								p, err := r.get(ctx, id)
								pause(dbRand)
								return p, err
							},
							Depends: func(tags *Tags) { tags.Add(postTag(id)) },
						})
					}
					key.Release()
				} else {
					p, err = r.get(ctx, id)
				}
				if err != nil {
					t.Error(err)
					return
				}
				seen, err := strconv.ParseInt(p.Title, 10, 64)
				if err != nil {
					t.Error(err)
				}
				call.Saw(int(id), seen)
				call.Return()
			}
		})
	}
	for writer := range 3 {
		rnd := newRand()
		// change makes the changes, at once or late, and says what the database says. If
		// they are late, the call counts as returned when they are made: its marks are
		// there by then.
		change := func(ids []int64, call *history.Call, late *bool) error {
			pause(rnd)
			switch rnd(6) {
			case 0:
				return errRefused
			case 1:
				*late = true
				d := time.Duration(1+rnd(int(lease/time.Millisecond)-1)) * time.Millisecond
				wg.Go(func() {
					<-time.After(d)
					for _, id := range ids {
						apply(call, id)
					}
					call.Return()
				})
				return driver.ErrBadConn
			case 2:
				for _, id := range ids {
					apply(call, id)
				}
				pause(rnd)
				panic("lost")
			}
			for _, id := range ids {
				apply(call, id)
			}
			for range 6 { // the change is visible, and the write has not returned
				pause(rnd)
			}
			return nil
		}
		wg.Go(func() {
			for range 25 {
				pause(rnd)
				call := h.Begin(fmt.Sprint("writer ", writer), "write")
				late := false
				func() {
					defer func() { recover() }()
					if rnd(3) > 0 {
						id := int64(rnd(rows))
						_, w := r.update.BeginAnyway(t.Context(), func(tags *Tags) { tags.Add(postTag(id)) })
						defer w.End()
						w.Reload(func(ctx context.Context) error { _, err := r.get(ctx, id); return err })
						w.Returned(change([]int64{id}, call, &late))
						return
					}
					ctx, tx := r.cache.Begin(t.Context())
					defer tx.End()
					var ids []int64
					for range 1 + rnd(2) {
						id := int64(rnd(rows))
						in, inner := ctx, (*Tx)(nil)
						if rnd(2) == 0 {
							in, inner = r.cache.Begin(ctx)
						}
						r.change(in, postTag(id))
						ids = append(ids, id)
						pause(rnd)
						if inner != nil {
							if rnd(2) == 0 {
								inner.Commit(func() error { pause(rnd); return nil })
							}
							inner.End()
						}
					}
					if rnd(5) > 0 {
						tx.Commit(func() error { return change(ids, call, &late) })
					}
				}()
				if !late {
					call.Return()
				}
			}
		})
	}
	wg.Wait()
	judge := h.Stale
	if guarded {
		judge = h.Unordered
	}
	if err := judge(); err != nil {
		t.Error(err)
	}
	settled(2 * lease)
	for id := range int64(rows) {
		r.expectTitle(t, t.Context(), id, strconv.FormatInt(version[id], 10))
		if marks, _ := marksOf(r.cache.view(), postTagSlot(id)); marks != 0 {
			t.Errorf("row %d: %d marks", id, marks)
		}
	}
}
