package cacheruntime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The database changes behind the cache's back. A read with a Refresh context sees
// what was there when it began, and so does every read that begins when that one has
// returned: nothing older is stored over it, however loads and batches overlap. An id
// that is given twice is loaded once, and nothing is left behind.
func TestRefreshesAreNotUndone(t *testing.T) {
	for seed := range uint64(*seeds) {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { refreshes(t, seed) })
		})
		if !ok {
			return
		}
	}
}

func refreshes(t *testing.T, seed uint64) {
	w := &world{rng: rand.New(rand.NewPCG(seed, 11))}
	pick := func(n int) bool { return w.n(n) == 0 }
	cfg := ReadConfig[*post]{Repository: postRepository, Method: "Post", TTL: Forever, Encode: encodePost, Decode: decodePost, Share: pick(3)}
	bcfg := BatchConfig{Method: "Posts", Size: w.n(3)}
	if pick(2) {
		cfg.Hard, bcfg.Hard = 30*time.Millisecond, 30*time.Millisecond
	}
	cfg.SharedArgs = pick(4)
	bcfg.SharedArgs = cfg.SharedArgs
	opts := []Option{WithLogger(slog.New(slog.DiscardHandler))}
	if pick(2) {
		opts = append(opts, WithMaxLoads(1+w.n(3)))
	}
	if pick(3) {
		opts = append(opts, WithLoadTimeout(25*time.Millisecond))
	}
	if pick(2) {
		opts = append(opts, WithStore(lateStore{newMemoryStore(), w}))
	}
	cache, err := New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	read := NewRead(cache, cfg)
	batch := NewBatch[int64](read, bcfg)
	failing := pick(2)

	var mu sync.Mutex
	now := map[int64]int64{}   // versions in the database
	known := map[int64]int64{} // when reads with a Refresh context began that have returned
	look := func(ids []int64) map[int64]int64 {
		mu.Lock()
		defer mu.Unlock()
		found := map[int64]int64{}
		for _, id := range ids {
			found[id] = now[id]
		}
		return found
	}
	floors := func(refresh bool) map[int64]int64 {
		mu.Lock()
		defer mu.Unlock()
		from := known
		if refresh {
			from = now
		}
		floor := map[int64]int64{}
		for id, v := range from {
			floor[id] = v
		}
		return floor
	}
	load := func(ctx context.Context, ids []int64) (map[int64]int64, error) {
		w.pause()
		found := look(ids)
		w.pause()
		if pick(8) { // slow
			advance(time.Duration(w.n(80)) * time.Millisecond)
		}
		if failing && pick(5) {
			return nil, errInjected
		}
		return found, nil
	}
	judge := func(who string, refresh bool, floor map[int64]int64, id int64, p *post) {
		if p.Author < floor[id] {
			t.Errorf("%s, Refresh %v, post %d: version %d, want %d at least", who, refresh, id, p.Author, floor[id])
		}
		if refresh {
			mu.Lock()
			known[id] = max(known[id], floor[id])
			mu.Unlock()
		}
	}
	id := func() int64 { return int64(w.n(3)) }
	var all sync.WaitGroup
	for c := range 4 + w.n(6) {
		all.Go(func() {
			for range 8 {
				w.pause()
				ctx, cancel := context.WithCancel(context.Background())
				if pick(6) {
					time.AfterFunc(time.Duration(w.n(20))*time.Millisecond, cancel)
				}
				refresh := pick(2)
				if refresh {
					ctx = Refresh(ctx)
				}
				who := fmt.Sprint("reader ", c)
				switch w.n(5) {
				case 0:
					mu.Lock()
					now[id()]++
					mu.Unlock()
				case 1:
					if pick(3) {
						cache.Invalidate(ctx, postTag(id()))
					}
				case 2:
					id, floor := id(), floors(refresh)
					key := read.Key(ctx)
					key.Int(id)
					p, err, ok := read.Lookup(ctx, key)
					if !ok {
						p, err = read.Load(ctx, key, Loader[*post]{
							Call: func(ctx context.Context) (*post, error) {
								found, err := load(ctx, []int64{id})
								return &post{ID: id, Author: found[id]}, err
							},
							Depends: func(tags *Tags) { tags.Add(postTag(id)) },
						})
					}
					key.Release()
					if err == nil {
						judge(who, refresh, floor, id, p)
					}
				default:
					ids := make([]int64, 1+w.n(5))
					for i := range ids {
						ids[i] = id()
					}
					floor := floors(refresh)
					found, err := batch.Load(ctx, ids, BatchLoader[int64, *post]{
						Key: func(key *Key, id int64) { key.Int(id) },
						Policy: func(id int64) Loader[*post] {
							return Loader[*post]{Depends: func(tags *Tags) { tags.Add(postTag(id)) }}
						},
						Call: func(ctx context.Context, ids []int64, add func(int64, *post)) error {
							distinct := map[int64]bool{}
							for _, id := range ids {
								if distinct[id] {
									t.Errorf("post %d is there twice in %v", id, ids)
								}
								distinct[id] = true
							}
							found, err := load(ctx, ids)
							for id, v := range found {
								add(id, &post{ID: id, Author: v})
							}
							return err
						},
					})
					if err == nil && len(found) != len(ids) {
						t.Errorf("%s: %d of %v", who, len(found), ids)
					}
					if err != nil && !errors.Is(err, errInjected) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%s: %v", who, err)
					}
					for _, f := range found {
						judge(who+" "+fmt.Sprint(ids), refresh, floor, f.ID, f.Value)
					}
				}
				cancel()
			}
		})
	}
	all.Wait()
	advance(2 * time.Minute) // for what nobody waits for
	read.mu.Lock()
	left := len(read.flights)
	read.mu.Unlock()
	if left != 0 {
		t.Errorf("%d flights are left behind", left)
	}
	if s := cache.Stats(); s.LoadsRunning != 0 || s.LoadsWaiting != 0 {
		t.Errorf("%d loads running, %d waiting", s.LoadsRunning, s.LoadsWaiting)
	}
}

// lateStore takes its time.
type lateStore struct {
	*memoryStore
	w *world
}

func (s lateStore) Get(key string) ([]byte, bool, error) {
	s.w.pause()
	return s.memoryStore.Get(key)
}

func (s lateStore) Set(key string, entry []byte) error {
	s.w.pause()
	err := s.memoryStore.Set(key, entry)
	s.w.pause()
	return err
}
