package cacheruntime

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestHitIsACopy(t *testing.T) {
	r := newPosts(t, nil)
	r.set(post{ID: 7, Title: "seven", Tags: []string{"a", "b"}})
	first, err := r.get(t.Context(), 7)
	if err != nil {
		t.Fatal(err)
	}
	first.Tags[0] = "changed"
	for range 2 {
		p, err := r.get(t.Context(), 7)
		if err != nil || p.Title != "seven" || len(p.Tags) != 2 || p.Tags[0] != "a" {
			t.Fatalf("%+v, %v", p, err)
		}
		p.Title = "changed"
		p.Tags[0] = "changed"
	}
	r.expectLoads(t, 1)
}

func TestHitAllocates(t *testing.T) {
	r := newPosts(t, nil)
	r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	r.set(post{ID: 7, Title: "seven"})
	ctx := context.Background()
	r.title(ctx, 7)
	key := r.read.Key(ctx)
	key.Int(7)
	name := string(key.buf)
	key.Release()
	store := testing.AllocsPerRun(1000, func() { r.cache.store.Get(name) })
	hit := testing.AllocsPerRun(1000, func() { r.get(ctx, 7) })
	if hit > store+1 {
		t.Errorf("a hit allocates %v times, the store's copy %v times and the value once", hit, store)
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.TTL = time.Minute })
		r.set(post{ID: 7, Title: "old"})
		r.expectTitle(t, t.Context(), 7, "old")
		r.set(post{ID: 7, Title: "new"})
		advance(time.Minute - 1)
		r.expectTitle(t, t.Context(), 7, "old")
		advance(1)
		r.expectTitle(t, t.Context(), 7, "new")
	})
}

func TestForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.TTL = Forever; cfg.Jitter = 0.5 })
		r.set(post{ID: 7, Title: "old"})
		r.expectTitle(t, t.Context(), 7, "old")
		advance(200 * 365 * 24 * time.Hour)
		r.expectTitle(t, t.Context(), 7, "old")
		r.expectLoads(t, 1)
	})
}

func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.TTL = time.Hour; cfg.Jitter = 0.25 })
		least, most := Forever, time.Duration(0)
		for range 1000 {
			ttl := time.Duration(r.read.expiry(time.Hour) - time.Now().UnixNano())
			least, most = min(least, ttl), max(most, ttl)
		}
		if least < 45*time.Minute || least > 46*time.Minute || most > time.Hour || most < 59*time.Minute {
			t.Errorf("lifetimes from %v to %v", least, most)
		}
	})
	r := newPosts(t, nil)
	if got := r.read.expiry(Forever - 1); got != never {
		t.Errorf("a lifetime that ends after the end of time expires at %d", got)
	}
}

func TestComputedTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.TTL = 0; cfg.Negative = []Negative{{Nil: true}} })
		ttl := map[int64]time.Duration{1: time.Minute, 2: 0, 3: -1}
		r.ttl = func(p *post) time.Duration { return ttl[p.ID] }
		for id := range ttl {
			r.set(post{ID: id, Title: "old"})
			r.expectTitle(t, t.Context(), id, "old")
			r.set(post{ID: id, Title: "new"})
		}
		r.expectTitle(t, t.Context(), 1, "old")
		r.expectTitle(t, t.Context(), 2, "new")
		r.expectTitle(t, t.Context(), 3, "new")
		advance(time.Minute)
		r.expectTitle(t, t.Context(), 1, "new")
		r.expectTitle(t, t.Context(), 9, "error: post not found") // no lifetime for it
		r.expectTitle(t, t.Context(), 9, "error: post not found")
		if stats := r.cache.Stats(); stats.NegativeHits != 0 {
			t.Errorf("%+v", stats.Counts)
		}
	})
}

func TestStoreCondition(t *testing.T) {
	r := newPosts(t, nil)
	r.store = func(p *post) bool { return p.Author == 1 }
	for author := range int64(2) {
		r.set(post{ID: author, Author: author})
		r.title(t.Context(), author)
		r.title(t.Context(), author)
	}
	if stats := r.cache.Stats(); stats.Hits != 1 || stats.Misses != 3 {
		t.Errorf("%+v", stats.Counts)
	}
}

// What panics after the load keeps its result from being stored, not from being
// returned.
func TestPanicsAfterTheLoad(t *testing.T) {
	var nobody *post
	for name, prepare := range map[string]func(*posts){
		"store":  func(r *posts) { r.store = func(*post) bool { return nobody.ID == 0 } },
		"ttl":    func(r *posts) { r.ttl = func(*post) time.Duration { return time.Duration(nobody.ID) } },
		"result": func(r *posts) { r.dependsResult = func(*post) []Tag { return []Tag{authorTag(nobody.Author)} } },
	} {
		r := newPosts(t, nil)
		prepare(r)
		r.set(post{ID: 7, Title: "seven"})
		r.expectTitle(t, t.Context(), 7, "seven")
		r.expectTitle(t, t.Context(), 7, "seven")
		r.expectLoads(t, 2)
		if stats := r.cache.Stats(); stats.Store.Entries != 0 || stats.LoadErrors != 0 || stats.Undecided != 2 {
			t.Errorf("%s: %+v", name, stats)
		}
	}
}

func TestPanicInDependencies(t *testing.T) {
	r := newPosts(t, nil)
	var nobody *post
	r.depends = func(int64) []Tag { return []Tag{postTag(nobody.ID)} }
	r.set(post{ID: 7, Title: "seven"})
	r.expectTitle(t, t.Context(), 7, "seven")
	ctx, trace := WithTrace(t.Context())
	r.expectTitle(t, ctx, 7, "seven")
	if got := trace.Events(); len(got) != 1 || got[0].Outcome != Skipped || got[0].Reason != ReasonDependency {
		t.Errorf("%v", got)
	}
	r.expectLoads(t, 2)
}

func TestNegativeError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := errors.New("other")
		r := newPosts(t, func(cfg *ReadConfig[*post]) {
			cfg.Negative = []Negative{{Err: other}, {Err: errNotFound, TTL: time.Minute}}
		})
		wrapped := fmt.Errorf("wrapped: %w", errNotFound)
		calls := 0
		get := func() error {
			key := r.read.Key(t.Context())
			defer key.Release()
			key.Int(1)
			if p, err, ok := r.read.Lookup(t.Context(), key); ok {
				if p != nil {
					t.Errorf("a negative hit with %+v", p)
				}
				return err
			}
			_, err := r.read.Load(t.Context(), key, Loader[*post]{
				Call: func(context.Context) (*post, error) { calls++; return nil, wrapped },
			})
			return err
		}
		if err := get(); err != wrapped {
			t.Errorf("the load returned %v", err)
		}
		if err := get(); err != errNotFound {
			t.Errorf("the hit returned %v, want the sentinel itself", err)
		}
		advance(time.Minute)
		if err := get(); err != wrapped || calls != 2 {
			t.Errorf("after its lifetime: %v, %d loads", err, calls)
		}
		if stats := r.cache.Stats(); stats.NegativeHits != 1 || stats.Hits != 0 || stats.LoadErrors != 0 {
			t.Errorf("%+v", stats.Counts)
		}
		wrapped = errors.New("another error")
		r.cache.Clear(t.Context())
		get()
		get()
		if stats := r.cache.Stats(); stats.NegativeHits != 1 || stats.LoadErrors != 2 {
			t.Errorf("an error that is not negative: %+v", stats.Counts)
		}
	})
}

// Without a lifetime of its own a negative entry has that of the read, computed
// or not.
func TestNegativeErrorLivesAsLongAsTheRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.TTL = 0 })
		r.ttl = func(*post) time.Duration { return time.Minute }
		for range 2 {
			r.expectTitle(t, t.Context(), 1, "error: "+errNotFound.Error())
		}
		r.expectLoads(t, 1)
		advance(time.Minute)
		r.expectTitle(t, t.Context(), 1, "error: "+errNotFound.Error())
		r.expectLoads(t, 2)

		r.ttl = func(p *post) time.Duration { return time.Duration(p.ID) } // panics: there is no post
		r.expectTitle(t, t.Context(), 2, "error: "+errNotFound.Error())
		r.expectTitle(t, t.Context(), 2, "error: "+errNotFound.Error())
		r.expectLoads(t, 4)
	})
}

func TestNilResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, remembered := range []bool{false, true} {
			r := newPosts(t, func(cfg *ReadConfig[*post]) {
				cfg.Negative = nil
				if remembered {
					cfg.Negative = []Negative{{Err: errNotFound}, {Nil: true, TTL: time.Minute}}
				}
			})
			loads := 0
			get := func() *post {
				key := r.read.Key(t.Context())
				defer key.Release()
				key.Int(1)
				if p, err, ok := r.read.Lookup(t.Context(), key); ok {
					if err != nil {
						t.Error(err)
					}
					return p
				}
				p, _ := r.read.Load(t.Context(), key, Loader[*post]{
					Call:          func(context.Context) (*post, error) { loads++; return nil, nil },
					DependsResult: func(tags *Tags, p *post) { tags.Add(authorTag(p.Author)) },
				})
				return p
			}
			for range 3 {
				if get() != nil {
					t.Error("not nil")
				}
			}
			if want := map[bool]int{false: 3, true: 1}[remembered]; loads != want {
				t.Errorf("remembered %v: %d loads", remembered, loads)
			}
			advance(time.Minute)
			get()
			if want := map[bool]int{false: 4, true: 2}[remembered]; loads != want {
				t.Errorf("remembered %v: %d loads after the lifetime", remembered, loads)
			}
		}
	})
}

func TestVary(t *testing.T) {
	r := newPosts(t, nil)
	loads := 0
	get := func(ctx context.Context, tenant string, id int64) {
		key := r.read.Key(ctx)
		defer key.Release()
		key.String(tenant)
		key.Args()
		key.Int(id)
		if _, _, ok := r.read.Lookup(ctx, key); ok {
			return
		}
		r.read.Load(ctx, key, Loader[*post]{Call: func(context.Context) (*post, error) { loads++; return &post{}, nil }})
	}
	ctx := t.Context()
	all := func() {
		get(ctx, "a", 1)
		get(ctx, "b", 1)
		get(ctx, "a", 2)
	}
	all()
	all()
	if loads != 3 {
		t.Errorf("%d loads, want one for each", loads)
	}
	r.cache.Invalidate(ctx, postEntry(1)) // in all variants
	all()
	if loads != 5 {
		t.Errorf("%d loads, want two more", loads)
	}
	ctx, trace := WithTrace(ctx)
	get(ctx, "a", 1)
	if got := trace.Events()[0].Key; got != `Post["a"](1)` {
		t.Errorf("key is rendered as %s", got)
	}
}

func TestEntryPatterns(t *testing.T) {
	const listing = 0b01
	r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Patterns = []uint8{listing} })
	loads := 0
	get := func(author int64, lang string) {
		key := r.read.Key(t.Context())
		defer key.Release()
		key.Int(author)
		key.Next()
		key.String(lang)
		key.Next()
		if _, _, ok := r.read.Lookup(t.Context(), key); ok {
			return
		}
		r.read.Load(t.Context(), key, Loader[*post]{Call: func(context.Context) (*post, error) { loads++; return &post{}, nil }})
	}
	expect := func(what string, want int) {
		t.Helper()
		loads = 0
		get(1, "en")
		get(1, "de")
		get(2, "en")
		if loads != want {
			t.Errorf("%s: %d loads, want %d", what, loads, want)
		}
	}
	invalidate := func(write func(*Key)) {
		key := NewKey()
		write(key)
		r.cache.Invalidate(t.Context(), key.PatternTag(postRepository+".Post", listing))
	}
	expect("at first", 3)
	expect("then", 0)
	invalidate(func(k *Key) { k.Int(1); k.Next(); k.Any() })
	expect("after (1, *)", 2)
	invalidate(func(k *Key) { k.Int(1); k.Next(); k.String("en"); k.Next() })
	expect("after (1, en)", 1)
	r.cache.Invalidate(t.Context(), AllTag(postRepository+".Post", listing))
	expect("after (*, *)", 3)
}

func TestLongKeys(t *testing.T) {
	store := newMemoryStore()
	r := newPosts(t, nil, WithStore(store))
	loads := 0
	get := func(text string) string {
		key := r.read.Key(t.Context())
		defer key.Release()
		key.String(text)
		p, _, ok := r.read.Lookup(t.Context(), key)
		if !ok {
			p, _ = r.read.Load(t.Context(), key, Loader[*post]{Call: func(context.Context) (*post, error) { loads++; return &post{Title: text}, nil }})
		}
		return p.Title
	}
	texts := []string{strings.Repeat("a", maxStoreKey), strings.Repeat("a", maxStoreKey+1), strings.Repeat("a", 100000)}
	for range 2 {
		for _, text := range texts {
			if got := get(text); got != text {
				t.Errorf("%d bytes instead of %d", len(got), len(text))
			}
		}
	}
	if loads != len(texts) {
		t.Errorf("%d loads", loads)
	}
	for name, data := range store.entries {
		if len(name) != 32 {
			t.Errorf("stored under %d bytes", len(name))
		}
		// Entries under each other's digest are not taken for the right ones.
		for other := range store.entries {
			if other != name {
				store.entries[other] = data
			}
		}
		break
	}
	loads = 0
	for _, text := range texts {
		if got := get(text); got != text {
			t.Errorf("%d bytes instead of %d", len(got), len(text))
		}
	}
	if loads != len(texts)-1 {
		t.Errorf("%d loads", loads)
	}
	// Nor are entries that do not say whose they are.
	for _, data := range store.entries {
		data[1] ^= flagLong
	}
	loads = 0
	for _, text := range texts {
		get(text)
	}
	if loads != len(texts) {
		t.Errorf("%d loads", loads)
	}
}

func TestFailedKey(t *testing.T) {
	r := newPosts(t, nil)
	ctx, trace := WithTrace(t.Context())
	for range 2 {
		key := r.read.Key(ctx)
		key.MarshalText(failing{"error"})
		if _, _, ok := r.read.Lookup(ctx, key); ok {
			t.Error("found")
		}
		p, err := r.read.Load(ctx, key, Loader[*post]{Call: func(context.Context) (*post, error) { return &post{ID: 1}, nil }})
		if err != nil || p.ID != 1 {
			t.Error(p, err)
		}
		key.Release()
	}
	for _, event := range trace.Events() {
		if event.Outcome != Skipped || event.Reason != ReasonKey {
			t.Error(event)
		}
	}
	if stats := r.cache.Stats(); stats.Skipped != 2 || stats.Loads != 0 {
		t.Errorf("%+v", stats.Counts)
	}
}

func TestBypass(t *testing.T) {
	r := newPosts(t, nil)
	r.set(post{ID: 7, Title: "old"})
	bypass := Bypass(t.Context())
	r.expectTitle(t, bypass, 7, "old")
	if entries := r.cache.Stats().Store.Entries; entries != 0 {
		t.Error("a call that bypasses the cache fills it")
	}
	r.expectTitle(t, t.Context(), 7, "old")
	r.set(post{ID: 7, Title: "new"})
	r.expectTitle(t, bypass, 7, "new")
	r.expectTitle(t, t.Context(), 7, "old")
	r.put(bypass, post{ID: 7, Title: "newer"}, postEntry(7))
	r.expectTitle(t, t.Context(), 7, "newer")
	if stats := r.cache.Stats(); stats.Bypassed != 2 {
		t.Errorf("%+v", stats.Counts)
	}
}

func TestRefresh(t *testing.T) {
	r := newPosts(t, nil)
	r.set(post{ID: 7, Title: "old"})
	r.expectTitle(t, t.Context(), 7, "old")
	r.set(post{ID: 7, Title: "new"})
	r.expectTitle(t, t.Context(), 7, "old")
	r.expectTitle(t, Refresh(t.Context()), 7, "new")
	r.expectTitle(t, t.Context(), 7, "new")
	r.expectLoads(t, 2)
}

func TestSkipAndHolds(t *testing.T) {
	r := newPosts(t, nil)
	ctx, trace := WithTrace(t.Context())
	r.read.Skip(ctx)
	r.read.Skip(t.Context())
	if got := trace.Events(); len(got) != 1 || got[0].Outcome != Skipped || got[0].Reason != ReasonCondition || got[0].Method != "Post" {
		t.Errorf("%v", got)
	}
	if got := r.cache.Stats().Skipped; got != 2 {
		t.Errorf("%d calls skipped", got)
	}
	var nobody *post
	if !Holds(func() bool { return true }) || Holds(func() bool { return false }) || Holds(func() bool { return nobody.ID == 0 }) {
		t.Error("Holds")
	}
}

func TestStoreFails(t *testing.T) {
	store := newMemoryStore()
	store.getErr = errors.New("cannot read")
	store.setErr = errors.New("cannot write")
	store.resetErr = errors.New("cannot reset")
	logger := newTestLogger()
	r := newPosts(t, nil, WithStore(store), WithLogger(logger.Logger))
	r.set(post{ID: 7, Title: "seven"})
	ctx, trace := WithTrace(t.Context())
	for range 3 {
		r.expectTitle(t, ctx, 7, "seven")
	}
	for _, event := range trace.Events() {
		if event.Outcome != Miss || event.Reason != ReasonStoreError || event.Stored {
			t.Error(event)
		}
	}
	stats := r.cache.Stats()
	if stats.StoreErrors != 9 || stats.Misses != 3 { // looked up twice and stored, each time
		t.Errorf("%+v", stats.Counts)
	}
	if got := logger.messages(); len(got) != 2 {
		t.Errorf("logged: %q", got)
	}
	if err := r.cache.Clear(ctx); err != store.resetErr {
		t.Errorf("Clear: %v", err)
	}
}

func TestDamagedEntries(t *testing.T) {
	store := newMemoryStore()
	logger := newTestLogger()
	r := newPosts(t, nil, WithStore(store), WithLogger(logger.Logger))
	r.set(post{ID: 7, Title: "seven"})
	r.expectTitle(t, t.Context(), 7, "seven")
	whole, name := []byte(nil), ""
	for name, whole = range store.entries {
	}
	damaged := [][]byte{nil, whole[:10], whole[:len(whole)-1], append(append([]byte{}, whole...), 0)}
	unknown := append([]byte{}, whole...)
	unknown[1] = flagError
	unknown[2] = 99 // no such negative error
	damaged = append(damaged, unknown, sealed(unknown), sealed(whole[:len(whole)-1]), sealed(append(whole[:len(whole):len(whole)], 0)))
	for i, data := range damaged {
		store.entries[name] = data
		ctx, trace := WithTrace(t.Context())
		r.expectTitle(t, ctx, 7, "seven")
		if got := trace.Events(); len(got) != 1 || got[0].Outcome != Miss || got[0].Reason != ReasonUndecodable || !got[0].Stored {
			t.Errorf("damage %d: %v", i, got)
		}
		r.expectTitle(t, t.Context(), 7, "seven")
	}
	stats := r.cache.Stats()
	if stats.Undecodable == 0 || stats.Hits != uint64(len(damaged)) {
		t.Errorf("%+v", stats.Counts)
	}
	if got := logger.messages(); len(got) != 1 {
		t.Errorf("logged: %q", got)
	}
}

func TestUnencodableResult(t *testing.T) {
	logger := newTestLogger()
	r := newPosts(t, func(cfg *ReadConfig[*post]) {
		cfg.Encode = func(e *Encoder, p *post) {
			if p.ID == 1 {
				e.Fail(errors.New("no"))
			}
			panic("no")
		}
	}, WithLogger(logger.Logger))
	for id := range int64(2) {
		r.set(post{ID: id, Title: "title"})
		r.expectTitle(t, t.Context(), id, "title")
		r.expectTitle(t, t.Context(), id, "title")
	}
	r.expectLoads(t, 4)
	if stats := r.cache.Stats(); stats.Unencodable != 4 || stats.Store.Entries != 0 {
		t.Errorf("%+v", stats)
	}
	if got := logger.messages(); len(got) != 1 {
		t.Errorf("logged: %q", got)
	}
}

func TestProblemsAreLoggedAgainLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger := newTestLogger()
		log := problemLog{logger: logger.Logger}
		log.report("a", "repository", "Method", errNotFound)
		advance(problemInterval - 1)
		log.report("a", "repository", "Method", errNotFound)
		advance(1)
		log.report("a", "repository", "Method", errNotFound)
		if got := logger.messages(); len(got) != 2 || !strings.Contains(got[0], "cachegen: a") || !strings.Contains(got[0], errNotFound.Error()) {
			t.Errorf("logged: %q", got)
		}
	})
}

func TestClosedCache(t *testing.T) {
	store := newMemoryStore()
	r := newPosts(t, nil, WithStore(store))
	r.set(post{ID: 7, Title: "old"})
	r.expectTitle(t, t.Context(), 7, "old")
	for range 2 {
		if err := r.cache.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if store.closed != 1 {
		t.Errorf("the store is closed %d times", store.closed)
	}
	ctx, trace := WithTrace(t.Context())
	r.put(ctx, post{ID: 7, Title: "new"}, postEntry(7))
	r.expectTitle(t, ctx, 7, "new")
	if got := trace.Events()[1]; got.Outcome != Bypassed || got.Reason != ReasonClosed {
		t.Error(got)
	}
	if err := r.cache.Invalidate(ctx, postEntry(7)); err != nil {
		t.Error(err)
	}
}

func TestMethodsDoNotShareEntries(t *testing.T) {
	r := newPosts(t, nil)
	r.set(post{ID: 7, Title: "seven"})
	r.title(t.Context(), 7)
	for name, configure := range map[string]func(*ReadConfig[*post]){
		"method":      func(cfg *ReadConfig[*post]) { cfg.Method = "Other" },
		"repository":  func(cfg *ReadConfig[*post]) { cfg.Repository = "example.com/other.PostRepository" },
		"fingerprint": func(cfg *ReadConfig[*post]) { cfg.Fingerprint = 1 },
	} {
		other := newPostsOn(r.cache, configure)
		if got := other.title(t.Context(), 7); got != "error: post not found" {
			t.Errorf("another %s reads %q", name, got)
		}
	}
	if got := newPostsOn(r.cache, nil).title(t.Context(), 7); got != "seven" {
		t.Errorf("another wrapper of the same repository reads %q", got)
	}
}
