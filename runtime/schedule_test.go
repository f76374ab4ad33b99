package cacheruntime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type schedRow struct {
	version int
	exists  bool
}

type world struct {
	mu      sync.Mutex
	rng     *rand.Rand
	rows    map[int64][]schedRow // history
	commit  map[int64]int
	goexits bool
	panics  bool
}

func (w *world) n(n int) int { w.mu.Lock(); defer w.mu.Unlock(); return w.rng.IntN(n) }
func (w *world) pause() {
	switch k := w.n(10); {
	case k < 4:
	case k < 6:
		runtime.Gosched()
	default:
		advance(time.Duration(w.n(20)) * time.Millisecond)
	}
}

type schedStore struct {
	*memoryStore
	w *world
}

func (s *schedStore) Get(key string) ([]byte, bool, error) {
	if s.w.n(20) == 0 {
		s.w.pause()
	}
	switch s.w.n(30) {
	case 0:
		return nil, false, nil
	case 1:
		return nil, false, errors.New("store")
	}
	b, ok, err := s.memoryStore.Get(key)
	if s.w.n(20) == 0 {
		s.w.pause()
	}
	return b, ok, err
}
func (s *schedStore) Set(key string, e []byte) error {
	s.w.pause()
	if s.w.n(20) == 0 {
		return errors.New("store")
	}
	return s.memoryStore.Set(key, e)
}

var errInjected = errors.New("injected")

// Readers and writers at random, under every policy: whatever the schedule, no read
// that begins after a write has returned sees older data, and nothing is left
// behind.
func TestReadSchedules(t *testing.T) {
	for seed := range uint64(*seeds) {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { schedule(t, seed) })
		})
		if !ok {
			return
		}
	}
}

func schedule(t *testing.T, seed uint64) {
	w := &world{rng: rand.New(rand.NewPCG(seed, 7)), rows: map[int64][]schedRow{}, commit: map[int64]int{}}
	pick := func(n int) bool { return w.n(n) == 0 }
	w.goexits, w.panics = pick(4), pick(4)
	cfg := ReadConfig[*post]{Repository: postRepository, Method: "Post", TTL: time.Duration(1+w.n(100)) * time.Millisecond,
		IsNil: func(p *post) bool { return p == nil }, Encode: encodePost, Decode: decodePost}
	switch w.n(3) {
	case 0:
		cfg.Negative = []Negative{{Err: errNotFound}}
	case 1:
		cfg.Negative = []Negative{{Err: errNotFound, TTL: 5 * time.Millisecond}}
	}
	bcfg := BatchConfig{Method: "Posts", Size: w.n(3)}
	cfg.Share = pick(3)
	if pick(2) {
		cfg.Stale = 200 * time.Millisecond
		if pick(2) {
			cfg.Soft, bcfg.Soft = 5*time.Millisecond, 5*time.Millisecond
		}
	}
	if pick(3) {
		cfg.Hard = 30 * time.Millisecond
	}
	if pick(3) {
		bcfg.Hard = 30 * time.Millisecond
	}
	if pick(2) {
		cfg.Refresh = 2
	}
	cfg.SharedArgs = pick(4)
	bcfg.SharedArgs = cfg.SharedArgs
	cfg.Infallible = pick(6)
	store := &schedStore{newMemoryStore(), w}
	opts := []Option{WithLogger(slog.New(slog.DiscardHandler)), WithStore(store)}
	if pick(2) {
		opts = append(opts, WithMaxLoads(1+w.n(3)))
	}
	if pick(2) {
		opts = append(opts, WithLoadTimeout(25*time.Millisecond))
	}
	if pick(3) {
		opts = append(opts, WithGuardedWrites(time.Minute))
	}
	cache, err := New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	read := NewRead(cache, cfg)
	batch := NewBatch[[]byte](read, bcfg)
	lcfg := cfg
	lcfg.Method = "List"
	lcfg.Negative = nil
	list := NewRead(cache, lcfg)
	write := NewWrite(cache, postRepository, "Update")
	const ids = 3
	for id := range int64(ids) {
		w.rows[id] = []schedRow{{0, id != 2}}
	}
	now := func(id int64) schedRow { h := w.rows[id]; return h[len(h)-1] }
	before := func(ctx context.Context) error {
		w.pause()
		if w.n(40) == 0 {
			advance(2 * time.Second) // ignores its deadline
		}
		if w.n(12) == 0 && !cfg.Infallible {
			return errInjected
		}
		if w.panics && w.n(30) == 0 {
			panic("injected")
		}
		if w.goexits && w.n(30) == 0 {
			runtime.Goexit()
		}
		return nil
	}
	var get func(ctx context.Context, id int64) (*post, error)
	var getList func(ctx context.Context) (*post, error)
	get = func(ctx context.Context, id int64) (*post, error) {
		key := read.Key(ctx)
		defer key.Release()
		key.Int(id)
		if v, err, ok := read.Lookup(ctx, key); ok {
			return v, err
		}
		return read.Load(ctx, key, Loader[*post]{
			Depends: func(tags *Tags) { tags.Add(postTag(id)) },
			Call: func(ctx context.Context) (*post, error) {
				if err := before(ctx); err != nil {
					return nil, err
				}
				if w.n(8) == 0 {
					get(ctx, int64(w.n(ids)))
				}
				w.mu.Lock()
				row := now(id)
				w.mu.Unlock()
				w.pause()
				if !row.exists {
					if cfg.Infallible {
						return nil, nil
					}
					return nil, errNotFound
				}
				return &post{ID: id, Author: int64(row.version), Title: strconv.Itoa(row.version)}, nil
			},
		})
	}
	getList = func(ctx context.Context) (*post, error) {
		key := list.Key(ctx)
		defer key.Release()
		if v, err, ok := list.Lookup(ctx, key); ok {
			return v, err
		}
		return list.Load(ctx, key, Loader[*post]{
			Depends: func(tags *Tags) { tags.Add(feedTag()) },
			DependsResult: func(tags *Tags, p *post) {
				for i, s := range p.Tags {
					if s != "" {
						tags.Add(postTag(int64(i)))
					}
				}
			},
			Call: func(ctx context.Context) (*post, error) {
				if err := before(ctx); err != nil {
					return nil, err
				}
				p := &post{Tags: make([]string, ids)}
				w.mu.Lock()
				for id := range int64(ids) {
					if row := now(id); row.exists {
						p.Tags[id] = strconv.Itoa(row.version)
					}
				}
				w.mu.Unlock()
				w.pause()
				return p, nil
			},
		})
	}
	getAll := func(ctx context.Context, want ...int64) ([]Found[[]byte, *post], error) {
		var keys [][]byte
		for _, id := range want {
			keys = append(keys, []byte{byte(id)})
		}
		return batch.Load(ctx, keys, BatchLoader[[]byte, *post]{
			Key: func(key *Key, id []byte) { key.Int(int64(id[0])) },
			Policy: func(id []byte) Loader[*post] {
				n := int64(id[0])
				return Loader[*post]{Depends: func(tags *Tags) { tags.Add(postTag(n)) }}
			},
			Call: func(ctx context.Context, ids [][]byte, found func([]byte, *post)) error {
				if err := before(ctx); err != nil {
					return err
				}
				if w.n(8) == 0 {
					get(ctx, int64(w.n(3)))
				}
				seen := map[byte]bool{}
				for _, id := range ids {
					if seen[id[0]] && !controlOf(ctx).bypasses() {
						if controlOf(ctx).isInsideAny(cache) {
							t.Errorf("an id twice in one call: %v", ids)
						}
					}
					if seen[id[0]] {
						continue
					}
					seen[id[0]] = true
					w.mu.Lock()
					row := now(int64(id[0]))
					w.mu.Unlock()
					if row.exists {
						found(id, &post{ID: int64(id[0]), Title: strconv.Itoa(row.version)})
					}
					w.pause()
				}
				return nil
			},
		})
	}
	least := func() map[int64]int {
		w.mu.Lock()
		defer w.mu.Unlock()
		m := map[int64]int{}
		for id := range int64(ids) {
			m[id] = w.commit[id]
		}
		return m
	}
	sawAt := func(what string, id int64, title string, from map[int64]int) { // "" is absent
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, row := range w.rows[id][from[id]:] {
			if row.exists && title == strconv.Itoa(row.version) || !row.exists && title == "" {
				return
			}
		}
		t.Errorf("%s: STALE id %d: %q, committed %d, history %v", what, id, title, from[id], w.rows[id])
	}
	okErr := func(what string, ctx context.Context, err error, hard bool) {
		var timeout *TimeoutError
		switch {
		case errors.Is(err, errInjected):
		case errors.Is(err, errNotFound):
		case errors.As(err, &timeout) && hard:
		case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		case errors.Is(err, errExited) && w.goexits:
		case errors.Is(err, context.DeadlineExceeded) && cache.turns != nil && !errors.As(err, &timeout): // no turn
		default:
			t.Errorf("%s: error %v", what, err)
		}
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 12 {
				w.pause()
				w.pause()
				id := int64(w.n(ids))
				var version int
				_, call := write.BeginAnyway(t.Context(), func(tags *Tags) { tags.Add(postTag(id), feedTag()) })
				w.pause()
				w.mu.Lock()
				version = len(w.rows[id])
				w.rows[id] = append(w.rows[id], schedRow{version, w.rng.IntN(3) > 0})
				w.mu.Unlock()
				w.pause()
				call.Returned(nil)
				call.End()
				w.mu.Lock()
				w.commit[id] = max(w.commit[id], version)
				w.mu.Unlock()
				if w.n(20) == 0 {
					cache.Clear(t.Context())
				}
			}
		})
	}
	for range 6 {
		wg.Go(func() {
			for range 25 {
				w.pause()
				func() {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					switch w.n(12) {
					case 0:
						ctx = Refresh(ctx)
					case 1:
						ctx = Bypass(ctx)
					case 2, 3:
						d := time.Duration(w.n(15)) * time.Millisecond
						time.AfterFunc(d, cancel)
					}
					done := make(chan struct{})
					go func() { // the load's Goexit on a direct call ends this one
						defer close(done)
						defer func() {
							if v := recover(); v != nil {
								if fmt.Sprint(v) != "injected" {
									if pe, ok := v.(*PanicError); !ok || fmt.Sprint(pe.Value) != "injected" {
										t.Errorf("panic %v", v)
									}
								}
							}
						}()
						from := least()
						switch w.n(5) {
						case 0, 1:
							id := int64(w.n(ids))
							p, err := get(ctx, id)
							switch {
							case err == nil && p != nil:
								sawAt("get", id, p.Title, from)
								if !cfg.Share {
									p.Title = "mutated"
								}
							case err == nil || errors.Is(err, errNotFound):
								sawAt("get", id, "", from)
							default:
								okErr("get", ctx, err, cfg.Hard > 0)
							}
						case 2:
							p, err := getList(ctx)
							if err != nil || p == nil {
								if p == nil && err == nil {
									t.Errorf("list nil")
									return
								}
								okErr("list", ctx, err, cfg.Hard > 0)
								return
							}
							for i, s := range p.Tags {
								sawAt("list", int64(i), s, from)
							}
						default:
							var want []int64
							for range 1 + w.n(5) {
								want = append(want, int64(w.n(ids)))
							}
							found, err := getAll(ctx, want...)
							if err != nil {
								okErr("batch", ctx, err, bcfg.Hard > 0)
								return
							}
							got := map[int64]int{}
							for _, f := range found {
								got[int64(f.ID[0])]++
								sawAt("batch", int64(f.ID[0]), f.Value.Title, from)
								if !cfg.Share {
									f.Value.Title = "mutated"
								}
							}
							for _, id := range want {
								if got[id] == 0 {
									sawAt("batch", id, "", from)
								}
							}
						}
					}()
					<-done
				}()
			}
		})
	}
	wg.Wait()
	advance(time.Minute)
	synctest.Wait()
	for _, r := range []*Read[*post]{read, list} {
		if len(r.flights) != 0 {
			t.Errorf("%d flights are left", len(r.flights))
		}
	}
	if len(cache.turns) != 0 || cache.loadsRunning.Load() != 0 || cache.loadsWaiting.Load() != 0 {
		t.Errorf("turns %d running %d waiting %d", len(cache.turns), cache.loadsRunning.Load(), cache.loadsWaiting.Load())
	}
	if seed%10 == 0 { // it takes a while under the race detector
		cache.view().expectNoMarks(t)
	}
	cache.Close()
}
