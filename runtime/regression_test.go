package cacheruntime

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// Each test here failed once: the comment says what a caller saw.

// joinOvertakenAbsence lets a load find nothing, then an insert return, then a
// read begin that joins the load: it must not be told that there is nothing.
func joinOvertakenAbsence(t *testing.T, cfg func(*ReadConfig[*post]), setup func(*posts), invalidates ...Tag) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, cfg)
		setup(r)
		hold := make(chan struct{})
		first := true
		r.leave = func(context.Context, int64) {
			r.mu.Lock()
			f := first
			first = false
			r.mu.Unlock()
			if f {
				<-hold
			}
		}
		go r.get(t.Context(), 7) // looks at the rows: nothing there
		synctest.Wait()
		r.put(t.Context(), post{ID: 7, Author: 1, Title: "new"}, invalidates...) // the insert returns
		done := make(chan string)
		go func() { done <- r.title(t.Context(), 7) }() // begins after it
		synctest.Wait()
		close(hold)
		if got := <-done; got != "new" {
			t.Errorf("read after the insert returned: %q", got)
		}
	})
}

func TestStaleErrorAdopted(t *testing.T) {
	joinOvertakenAbsence(t, func(c *ReadConfig[*post]) { c.Negative = nil }, func(r *posts) {
		r.depends = func(int64) []Tag { return []Tag{authorTag(1)} }
		r.dependsResult = func(p *post) []Tag { return []Tag{postTag(p.ID)} }
	}, postTag(7), feedTag())
}

func TestStaleErrorAdoptedOwnTagOnly(t *testing.T) {
	joinOvertakenAbsence(t, func(c *ReadConfig[*post]) { c.Negative = nil }, func(r *posts) {
		r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	}, feedTag())
}

// Entries of another cache passed the hit test: every clock began at zero.
func TestStoreOutlivesCache(t *testing.T) {
	store := newMemoryStore()
	r1 := newPosts(t, nil, WithStore(store))
	r1.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	r1.set(post{ID: 7, Title: "old"})
	for range 3 {
		r1.cache.Invalidate(t.Context(), feedTag())
	}
	r1.expectTitle(t, t.Context(), 7, "old")
	r1.cache.Close()

	r2 := newPosts(t, nil, WithStore(store))
	r2.depends = r1.depends
	r2.set(post{ID: 7, Title: "old"})
	r2.put(t.Context(), post{ID: 7, Title: "new"}, postTag(7))
	r2.expectTitle(t, t.Context(), 7, "new")
}

func TestStoreSharedByCaches(t *testing.T) {
	store := newMemoryStore()
	r1 := newPosts(t, nil, WithStore(store))
	r2 := newPosts(t, nil, WithStore(store))
	tag := func(id int64) []Tag { return []Tag{postTag(id)} }
	r1.depends, r2.depends = tag, tag
	r1.cache.Invalidate(t.Context(), feedTag())
	r1.cache.Invalidate(t.Context(), feedTag())
	r1.set(post{ID: 7, Title: "old"})
	r1.expectTitle(t, t.Context(), 7, "old")
	r2.set(post{ID: 7, Title: "old"})
	r2.put(t.Context(), post{ID: 7, Title: "new"}, postTag(7))
	r2.expectTitle(t, t.Context(), 7, "new")
}

// A panicking unmarshaler made every hit panic until the entry expired.
func TestDecodePanics(t *testing.T) {
	r := newPosts(t, func(c *ReadConfig[*post]) {
		c.Decode = func(*Decoder) *post { panic("unmarshal") }
	})
	r.set(post{ID: 7, Title: "x"})
	r.expectTitle(t, t.Context(), 7, "x")
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("the second read panics: %v", v)
		}
	}()
	r.expectTitle(t, t.Context(), 7, "x")
}

type panickingError struct{}

func (panickingError) Error() string { return "failure" }
func (panickingError) Is(error) bool { panic("Is") }

// An error whose Is panics was reported as a load that panicked.
func TestIsPanics(t *testing.T) {
	r := newPosts(t, func(c *ReadConfig[*post]) {})
	key := r.read.Key(t.Context())
	key.Int(7)
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("panic: %.80v", v)
		}
	}()
	_, err := r.read.Load(t.Context(), key, Loader[*post]{Call: func(context.Context) (*post, error) { return nil, panickingError{} }})
	if err != (panickingError{}) {
		t.Error(err)
	}
}

type panicStore struct{ *memoryStore }

func (panicStore) Set(string, []byte) error { panic("set") }

// A store that panics took the outcome of a good load with it.
func TestStoreSetPanics(t *testing.T) {
	r := newPosts(t, nil, WithStore(panicStore{newMemoryStore()}))
	r.set(post{ID: 7, Title: "x"})
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("panic: %.80v", v)
		}
	}()
	r.expectTitle(t, t.Context(), 7, "x")
}

// A load that ignored its deadline held up its key for ever.
func TestStuckLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil)
		r.set(post{ID: 7, Title: "x"})
		stuck := make(chan struct{})
		n := 0
		r.enter = func(context.Context, int64) {
			r.mu.Lock()
			n++
			me := n
			r.mu.Unlock()
			if me == 1 {
				<-stuck // ignores its context
			}
		}
		go r.get(t.Context(), 7)
		<-time.After(24 * time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r.expectTitle(t, ctx, 7, "x")
		close(stuck)
	})
}

// A read without an error returned what its load returned when the cache's own
// deadline cut it off.
func TestInfallibleDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, _ := New()
		defer cache.Close()
		read := NewRead(cache, ReadConfig[int]{Repository: "r", Method: "M", TTL: time.Hour, Infallible: true,
			Encode: func(e *Encoder, v int) { e.Int(int64(v)) }, Decode: func(d *Decoder) int { return int(d.Int()) }})
		key := read.Key(t.Context())
		v, _ := read.Load(t.Context(), key, Loader[int]{Call: func(ctx context.Context) (int, error) {
			select {
			case <-time.After(time.Minute):
				return 42, nil
			case <-ctx.Done():
				return 0, nil
			}
		}})
		if v != 42 {
			t.Errorf("%d: without a cache the call returns 42, as its context has no deadline", v)
		}
	})
}

// Errors that callers shared were counted as results that cannot be encoded.
func TestSpuriousUnencodable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, func(c *ReadConfig[*post]) {
			c.Encode = func(e *Encoder, p *post) { e.String(p.Title) } // panics on nil
		})
		hold := make(chan struct{})
		r.enter = func(context.Context, int64) { <-hold }
		for range 3 {
			go r.get(t.Context(), 7)
		}
		synctest.Wait()
		close(hold)
		synctest.Wait()
		if n := r.cache.Stats().Unencodable; n != 0 {
			t.Errorf("not found: %d unencodable", n)
		}
	})
}

// A refresh took the outcome of a load that another caller had begun without one.
func TestRefreshNested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil)
		r.set(post{ID: 2, Title: "old"})
		r.get(t.Context(), 2)
		r.set(post{ID: 2, Title: "new"}) // behind the cache's back
		call := func(ctx context.Context) string {
			key := r.read.Key(ctx)
			defer key.Release()
			key.Int(1)
			p, _ := r.read.Load(ctx, key, Loader[*post]{Call: func(ctx context.Context) (*post, error) {
				<-time.After(time.Second)
				return r.get(ctx, 2) // a view made of the other read
			}})
			return p.Title
		}
		// a flight is under way; a plain call and a refresh come during it; it is overtaken
		r.depends = nil
		go call(t.Context())
		<-time.After(time.Millisecond)
		r.cache.Invalidate(t.Context(), postEntry(1))
		var got string
		done := make(chan struct{})
		go func() { got = call(Refresh(t.Context())); close(done) }()
		for range 50 {
			<-time.After(time.Millisecond)
			go call(t.Context()) // one will start the next one, plain
		}
		<-done
		<-time.After(time.Minute)
		if got != "new" {
			t.Errorf("refreshed: %q", got)
		}
	})
}

// A marshaler that ended the goroutine left the callers hanging.
func TestEncodeGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, func(c *ReadConfig[*post]) {
			c.Encode = func(*Encoder, *post) { runtime.Goexit() }
			c.TTL = 0 // ttl 0 from the read: encode is left to land
		})
		r.ttl = func(*post) time.Duration { return 0 }
		r.set(post{ID: 7, Title: "x"})
		hold := make(chan struct{})
		r.enter = func(context.Context, int64) { <-hold }
		done := make(chan error, 2)
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		for range 2 {
			go func() { _, err := r.get(ctx, 7); done <- err }()
		}
		synctest.Wait()
		close(hold)
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("hangs until its own deadline: %v", err)
			}
		}
	})
}

type ownMemory struct{ data []byte }

func (o *ownMemory) AppendBinary(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return o.data, nil
	}
	return append(b, o.data...), nil
}

// What a marshaler returned was kept as scratch space and written over.
func TestScratchOverwritesUserMemory(t *testing.T) {
	a := &ownMemory{[]byte("aaaa")}
	k := NewKey()
	k.AppendBinary(a)
	m := k.Map(2, false)
	m.Entry()
	k.Int(2)
	m.Entry()
	k.Int(1)
	m.End()
	if string(a.data) != "aaaa" {
		t.Errorf("an argument was overwritten: %q", a.data)
	}
	k.Release()
}

// Two loads that waited for each other did so for ever, if nothing else ended
// them: their callers had no deadline, or could not return an error.
func TestLoadsThatWaitForEachOther(t *testing.T) {
	for _, infallible := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Infallible = infallible })
			r.set(post{ID: 1, Title: "1"})
			r.set(post{ID: 2, Title: "2"})
			parent := map[int64]int64{1: 2}
			gate := make(chan struct{})
			r.enter = func(_ context.Context, id int64) {
				r.mu.Lock()
				other := parent[id]
				r.mu.Unlock()
				if other != 0 {
					<-gate
					r.get(context.WithoutCancel(t.Context()), other) // of a method without a context
				}
			}
			done := make(chan string, 2)
			go func() { done <- r.title(t.Context(), 1) }()
			synctest.Wait()
			r.mu.Lock()
			parent = map[int64]int64{2: 1} // turned round: no cycle at any time
			r.mu.Unlock()
			go func() { done <- r.title(t.Context(), 2) }()
			synctest.Wait()
			close(gate)
			if a, b := <-done, <-done; a == b {
				t.Errorf("infallible %v: %q, %q", infallible, a, b)
			}
		})
	}
}
