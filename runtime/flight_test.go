package cacheruntime

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// outcome is how a call ended.
type outcome struct {
	post     *post
	err      error
	panicked any
	exited   bool
}

// call makes a read of its own in a goroutine and delivers how it ended.
func (r *posts) call(ctx context.Context, loader Loader[*post]) <-chan outcome {
	ended := make(chan outcome, 1)
	go func() {
		o := outcome{exited: true}
		defer func() {
			if value := recover(); value != nil {
				o.panicked, o.exited = value, false
			}
			ended <- o
		}()
		key := r.read.Key(ctx)
		defer key.Release()
		key.String("call")
		var ok bool
		if o.post, o.err, ok = r.read.Lookup(ctx, key); !ok {
			o.post, o.err = r.read.Load(ctx, key, loader)
		}
		o.exited = false
	}()
	return ended
}

// returning is a load that waits for the channel and then returns what f does.
func returning(gate <-chan struct{}, f func(context.Context) (*post, error)) Loader[*post] {
	return Loader[*post]{Call: func(ctx context.Context) (*post, error) {
		<-gate
		return f(ctx)
	}}
}

func TestStampede(t *testing.T) {
	r := newPosts(t, nil)
	r.set(post{ID: 7, Title: "seven", Tags: []string{"tag"}})
	const callers = 1000
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	var mu sync.Mutex
	seen := map[*post]bool{}
	ready.Add(callers)
	for range callers {
		done.Go(func() {
			ready.Done()
			<-start
			p, err := r.get(t.Context(), 7)
			if err != nil || p.Title != "seven" || p.Tags[0] != "tag" {
				t.Error(p, err)
				return
			}
			p.Tags[0] = "changed"
			mu.Lock()
			defer mu.Unlock()
			if seen[p] {
				t.Error("two callers got one value")
			}
			seen[p] = true
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	r.expectLoads(t, 1)
	if stats := r.cache.Stats(); stats.Misses+stats.Joined+stats.Hits != callers || stats.Misses != 1 {
		t.Errorf("%+v", stats.Counts)
	}
}

// A stampede that a write overtakes costs two loads.
func TestStampedeUnderWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil)
		r.set(post{ID: 7, Title: "old"})
		read, release := slowLoad(r)
		var done sync.WaitGroup
		callers := func(want ...string) {
			for range 100 {
				done.Go(func() {
					if got := r.title(t.Context(), 7); got != want[0] && got != want[len(want)-1] {
						t.Errorf("got %q, want %q", got, want)
					}
				})
			}
		}
		callers("old", "new")
		<-read
		synctest.Wait()
		r.put(t.Context(), post{ID: 7, Title: "new"}, postEntry(7))
		callers("new")
		synctest.Wait()
		release()
		done.Wait()
		r.expectLoads(t, 2)
	})
}

// So does a stampede on something that fails, though no outcome can be shared
// with those who came after its load had begun.
func TestStampedeOnFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Negative = nil })
		read, release := slowLoad(r)
		var done sync.WaitGroup
		for range 100 {
			done.Go(func() { r.expectTitle(t, t.Context(), 7, "error: post not found") })
		}
		<-read
		synctest.Wait()
		release()
		done.Wait()
		r.expectLoads(t, 2)
	})
}

func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, share := range []bool{false, true} {
			r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Share = share })
			gate := make(chan struct{})
			loader := returning(gate, func(context.Context) (*post, error) { return &post{ID: 1}, nil })
			a, b := r.call(t.Context(), loader), r.call(t.Context(), loader)
			synctest.Wait()
			close(gate)
			if first, second := <-a, <-b; first.post.ID != 1 || second.post.ID != 1 || (first.post == second.post) != share {
				t.Errorf("share %v: %+v, %+v", share, first, second)
			}
		}
	})
}

// Who joins an outcome that is not to be stored tries again: nothing proves it
// current.
func TestJoinedOutcomes(t *testing.T) {
	failure := errors.New("failure")
	dependency := func(tags *Tags) { tags.Add(postTag(1)) }
	for _, test := range []struct {
		name   string
		loader Loader[*post]
		shared bool
	}{
		{"error", Loader[*post]{}, false},
		{"error with a dependency", Loader[*post]{Depends: dependency}, false},
		{"nil", Loader[*post]{}, false},
		{"nil with a dependency", Loader[*post]{Depends: dependency}, false},
		{"unstored", Loader[*post]{Store: func(*post) bool { return false }}, false},
		{"unstored with a dependency", Loader[*post]{Store: func(*post) bool { return false }, Depends: dependency}, false},
		{"unknown tags", Loader[*post]{DependsResult: func(*Tags, *post) { panic("unknown") }, Depends: dependency}, false},
		{"stored", Loader[*post]{}, true},
		{"dependency that adds nothing", Loader[*post]{Store: func(*post) bool { return false }, Depends: func(*Tags) {}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newPosts(t, nil)
				gate := make(chan struct{})
				var mu sync.Mutex
				loads := 0
				loader := test.loader
				loader.Call = func(context.Context) (*post, error) {
					<-gate
					mu.Lock()
					defer mu.Unlock()
					loads++
					switch {
					case strings.HasPrefix(test.name, "error"):
						return nil, failure
					case strings.HasPrefix(test.name, "nil"):
						return nil, nil
					}
					return &post{ID: 1}, nil
				}
				starter := r.call(t.Context(), loader)
				synctest.Wait()
				joiner := r.call(t.Context(), loader)
				synctest.Wait()
				close(gate)
				a, b := <-starter, <-joiner
				if a.err != b.err || (a.post == nil) != (b.post == nil) {
					t.Errorf("%+v, %+v", a, b)
				}
				want := 2
				if test.shared {
					want = 1
				}
				if loads != want {
					t.Errorf("%d loads, want %d", loads, want)
				}
			})
		})
	}
}

func TestCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil)
		gate := make(chan struct{})
		loader := returning(gate, func(ctx context.Context) (*post, error) { return &post{ID: 1}, ctx.Err() })
		ctx, cancel := context.WithCancel(t.Context())
		starter := r.call(ctx, loader)
		synctest.Wait()
		joiner := r.call(t.Context(), loader)
		short, cancelShort := context.WithTimeout(t.Context(), time.Second)
		defer cancelShort()
		other := r.call(short, loader)
		synctest.Wait()
		cancel()
		if got := <-starter; got.err != context.Canceled {
			t.Errorf("starter: %+v", got)
		}
		if got := <-other; got.err != context.DeadlineExceeded {
			t.Errorf("joiner with a deadline: %+v", got)
		}
		close(gate)
		if got := <-joiner; got.err != nil || got.post.ID != 1 {
			t.Errorf("joiner: %+v", got)
		}
		if got := <-r.call(t.Context(), loader); got.err != nil || got.post.ID != 1 {
			t.Errorf("later: %+v", got)
		}
		if stats := r.cache.Stats(); stats.Loads != 1 || stats.Hits != 1 {
			t.Errorf("%+v", stats.Counts)
		}
	})
}

func TestCallerIsDoneAlready(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := newPosts(t, nil)
	r.set(post{ID: 7, Title: "seven"})
	r.expectTitle(t, ctx, 7, "error: context canceled")
	r.expectLoads(t, 0)
	r.expectTitle(t, t.Context(), 7, "seven")
	r.expectTitle(t, ctx, 7, "seven") // a hit needs no waiting
}

func TestInfallible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Infallible = true }, WithLoadTimeout(time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		gate := make(chan struct{})
		got := r.call(ctx, returning(gate, func(context.Context) (*post, error) { return &post{ID: 1}, nil }))
		synctest.Wait()
		close(gate)
		if got := <-got; got.err != nil || got.post.ID != 1 {
			t.Errorf("its context is done: %+v", got)
		}
		if got := <-r.call(ctx, Loader[*post]{}); got.post == nil || got.post.ID != 1 {
			t.Errorf("not stored: %+v", got)
		}

		// A load whose deadline has passed may have returned anything.
		r.cache.Clear(ctx)
		incomplete := Loader[*post]{
			Depends: func(tags *Tags) { tags.Add(postTag(1)) },
			Call:    func(ctx context.Context) (*post, error) { <-ctx.Done(); return &post{ID: 2}, nil },
		}
		complete := Loader[*post]{Call: func(context.Context) (*post, error) { return &post{ID: 3}, nil }}
		first := r.call(ctx, incomplete)
		synctest.Wait()
		second := r.call(ctx, complete)
		if a, b := <-first, <-second; a.post.ID != 2 || b.post.ID != 3 {
			t.Errorf("%+v, %+v", a.post, b.post)
		}
		if got := <-r.call(ctx, Loader[*post]{}); got.post.ID != 3 {
			t.Errorf("stored: %+v", got.post)
		}
	})
}

func TestLoadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil, WithLoadTimeout(time.Minute))
		type valueKey struct{}
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), valueKey{}, "value"), time.Hour)
		defer cancel()
		began := time.Now()
		got := <-r.call(ctx, Loader[*post]{Call: func(ctx context.Context) (*post, error) {
			if ctx.Value(valueKey{}) != "value" {
				t.Error("the load's context has lost a value")
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		if got.err != context.DeadlineExceeded || time.Since(began) != time.Minute {
			t.Errorf("%v after %v", got.err, time.Since(began))
		}
	})
}

func TestLoadPanics(t *testing.T) {
	for _, infallible := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Infallible = infallible })
			gate := make(chan struct{})
			cause := errors.New("cause")
			loader := returning(gate, func(context.Context) (*post, error) { panic(cause) })
			var calls []<-chan outcome
			for range 5 {
				calls = append(calls, r.call(t.Context(), loader))
			}
			synctest.Wait()
			close(gate)
			for _, call := range calls {
				got := <-call
				err, ok := got.panicked.(*PanicError)
				if !ok || err.Value != cause || !errors.Is(err, cause) || !strings.Contains(string(err.Stack), "TestLoadPanics") || !strings.Contains(err.Error(), "cause") {
					t.Errorf("%+v", got)
				}
			}
			if len(r.read.flights) != 0 {
				t.Error("a flight is left behind")
			}
			if got := <-r.call(t.Context(), Loader[*post]{Call: func(context.Context) (*post, error) { return &post{ID: 2}, nil }}); got.post == nil || got.post.ID != 2 {
				t.Errorf("afterwards: %+v", got)
			}
			if stats := r.cache.Stats(); stats.LoadErrors != 1 {
				t.Errorf("%+v", stats.Counts)
			}
		})
	}
	if err := (&PanicError{Value: "text"}).Unwrap(); err != nil {
		t.Errorf("a value that is no error is unwrapped to %v", err)
	}
}

func TestLoadPanicsWhenAllHaveLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger := newTestLogger()
		r := newPosts(t, nil, WithLogger(logger.Logger))
		gate := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		call := r.call(ctx, returning(gate, func(context.Context) (*post, error) { panic("nobody hears it") }))
		synctest.Wait()
		cancel()
		<-call
		close(gate)
		synctest.Wait()
		if got := logger.messages(); len(got) != 1 || !strings.Contains(got[0], "nobody hears it") {
			t.Errorf("logged: %q", got)
		}
	})
}

func TestNestedPanicKeepsItsStack(t *testing.T) {
	r := newPosts(t, nil)
	inner := &PanicError{Value: "inner"}
	got := <-r.call(t.Context(), Loader[*post]{Call: func(context.Context) (*post, error) { panic(inner) }})
	if got.panicked != inner {
		t.Errorf("%v", got.panicked)
	}
}

func TestLoadExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil)
		gate := make(chan struct{})
		loader := returning(gate, func(context.Context) (*post, error) { runtime.Goexit(); return nil, nil })
		a, b := r.call(t.Context(), loader), r.call(t.Context(), loader)
		synctest.Wait()
		close(gate)
		for _, call := range []<-chan outcome{a, b} {
			if got := <-call; got.err != errExited || got.exited {
				t.Errorf("%+v", got)
			}
		}
		// Without an error to return, the call ends the caller's goroutine as it
		// would without the cache.
		r = newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Infallible = true })
		if got := <-r.call(t.Context(), loader); !got.exited {
			t.Errorf("infallible: %+v", got)
		}
		if len(r.read.flights) != 0 {
			t.Error("a flight is left behind")
		}
	})
}

func TestUnencodableJoiners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, failure := range []error{nil, errors.New("failure")} {
			r := newPosts(t, func(cfg *ReadConfig[*post]) {
				cfg.Encode = func(e *Encoder, _ *post) { e.Fail(errors.New("no")) }
			})
			gate := make(chan struct{})
			var mu sync.Mutex
			loads := 0
			loader := returning(gate, func(context.Context) (*post, error) {
				mu.Lock()
				defer mu.Unlock()
				loads++
				return &post{ID: int64(loads)}, failure
			})
			loader.Depends = func(tags *Tags) { tags.Add(postTag(1)) }
			starter := r.call(t.Context(), loader)
			synctest.Wait()
			var joiners []<-chan outcome
			for range 3 {
				joiners = append(joiners, r.call(t.Context(), loader))
			}
			synctest.Wait()
			close(gate)
			if got := <-starter; got.post.ID != 1 || got.err != failure {
				t.Errorf("%+v", got)
			}
			for _, joiner := range joiners {
				got := <-joiner
				if got.err != failure || failure == nil && got.post == nil || got.post != nil && got.post.ID == 1 {
					t.Errorf("error %v: %+v", failure, got)
				}
			}
			if want := map[bool]int{true: 4, false: 2}[failure == nil]; loads != want {
				t.Errorf("error %v: %d loads, want %d", failure, loads, want)
			}
			if stats := r.cache.Stats(); stats.Unencodable != map[bool]uint64{true: 1, false: 0}[failure == nil] {
				t.Errorf("%+v", stats.Counts)
			}
		}
	})
}

// A load that reads the same key again goes straight through instead of waiting
// for itself, also by way of another read.
func TestLoadReadsItself(t *testing.T) {
	r := newPosts(t, nil)
	other := newPostsOn(r.cache, func(cfg *ReadConfig[*post]) { cfg.Method = "Other" })
	r.set(post{ID: 7, Title: "seven"})
	other.set(post{ID: 7, Title: "other"})
	depth := 0
	r.enter = func(ctx context.Context, id int64) {
		if depth++; depth == 1 {
			if got := other.title(ctx, id); got != "other" {
				t.Errorf("other: %q", got)
			}
		}
	}
	other.enter = func(ctx context.Context, id int64) {
		if got := r.title(ctx, id); got != "seven" {
			t.Errorf("inside: %q", got)
		}
	}
	ctx, trace := WithTrace(t.Context())
	r.expectTitle(t, ctx, 7, "seven")
	var got []string
	for _, event := range trace.Events() {
		got = append(got, fmt.Sprintf("%s %s %s", event.Outcome, event.Key, event.Reason))
	}
	want := []string{"skipped Post(7) inside its own load", "miss Other(7) absent", "miss Post(7) absent"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q, want %q", got, want)
	}
	r.expectTitle(t, t.Context(), 7, "seven")
	r.expectLoads(t, 2)
}

// A starter whose arguments may change leaves: what its load returns is neither
// stored nor given to those who joined.
func TestSharedArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, sharedArgs := range []bool{false, true} {
			r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.SharedArgs = sharedArgs })
			gate := make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			starter := r.call(ctx, returning(gate, func(context.Context) (*post, error) { return &post{ID: 1}, nil }))
			synctest.Wait()
			joiner := r.call(t.Context(), returning(gate, func(context.Context) (*post, error) { return &post{ID: 2}, nil }))
			synctest.Wait()
			cancel()
			<-starter
			close(gate)
			want := int64(1)
			if sharedArgs {
				want = 2
			}
			if got := <-joiner; got.post.ID != want {
				t.Errorf("shared %v: joiner got %d", sharedArgs, got.post.ID)
			}
			if got := <-r.call(t.Context(), Loader[*post]{}); got.post.ID != want {
				t.Errorf("shared %v: %d is stored", sharedArgs, got.post.ID)
			}
		}
	})
}

// A refreshing call does not take the outcome of a load that began before it,
// and shares one that began after it.
func TestRefreshJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil)
		r.set(post{ID: 7, Title: "old"})
		read, release := slowLoad(r)
		go r.title(t.Context(), 7)
		<-read
		r.set(post{ID: 7, Title: "new"}) // nothing is invalidated
		r.enter = func(context.Context, int64) { advance(time.Second) }
		answers := make(chan string)
		for range 5 {
			go func() { answers <- r.title(Refresh(t.Context()), 7) }()
		}
		synctest.Wait()
		release()
		for range 5 {
			if got := <-answers; got != "new" {
				t.Errorf("got %q", got)
			}
		}
		r.expectLoads(t, 3) // the plain one, the first refresh, and one for those who called during that
	})
}

// Between a caller's look into the store and its load another load may have
// ended: its entry is found.
func TestRecheck(t *testing.T) {
	r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Negative = []Negative{{Err: errNotFound}} })
	for _, title := range []string{"seven", ""} {
		if title != "" {
			r.set(post{ID: 7, Title: title})
		} else {
			delete(r.rows, 7)
			r.cache.Clear(t.Context())
		}
		ctx, trace := WithTrace(t.Context())
		key := r.read.Key(ctx)
		key.Int(7)
		if _, _, ok := r.read.Lookup(ctx, key); ok {
			t.Fatal("found")
		}
		first, firstErr := r.get(t.Context(), 7)
		p, err := r.read.Load(ctx, key, Loader[*post]{Call: func(context.Context) (*post, error) {
			t.Error("loaded again")
			return nil, nil
		}})
		key.Release()
		if err != firstErr || (p == nil) != (first == nil) || p != nil && p.Title != title {
			t.Errorf("%+v, %v", p, err)
		}
		want := Hit
		if title == "" {
			want = NegativeHit
		}
		if got := trace.Events(); len(got) != 1 || got[0].Outcome != want {
			t.Errorf("%v", got)
		}
	}
}

// Who may have which outcome, case by case; the tests above show what follows.
func TestMayTake(t *testing.T) {
	r := newPosts(t, nil)
	slots := appendSlots(nil, []uint32{1})
	for _, test := range []struct {
		name   string
		flight *flight[*post]
		fresh  bool
		want   bool
	}{
		{"a batch did not return it", &flight[*post]{number: 6, loaded: true, many: true, absent: true}, false, false},
		{"the first failure of a batch", &flight[*post]{number: 6, loaded: true, many: true, failed: true}, false, false},
		{"the first panic of a batch", &flight[*post]{number: 6, loaded: true, many: true, panicked: &PanicError{}}, false, false},
		{"a failure", &flight[*post]{number: 6, loaded: true, failed: true}, false, true},
		{"a failure that began before", &flight[*post]{number: 5, loaded: true, failed: true}, false, false},
		{"began after the call", &flight[*post]{number: 6, loaded: true}, false, true},
		{"found after the call", &flight[*post]{number: 6}, false, true},
		{"began before", &flight[*post]{number: 5, loaded: true}, false, false},
		{"began before and is current", &flight[*post]{number: 5, loaded: true, checkable: true}, false, true},
		{"tags unknown", &flight[*post]{number: 5, loaded: true}, false, false},
		{"arguments may have changed", &flight[*post]{number: 6, loaded: true, checkable: true, tainted: true}, false, false},
		{"refresh: began after the call", &flight[*post]{number: 6, loaded: true, fresh: true}, true, true},
		{"refresh: of a call without it", &flight[*post]{number: 6, loaded: true}, true, false},
		{"refresh: found after the call", &flight[*post]{number: 6, checkable: true}, true, false},
		{"refresh: began before and is current", &flight[*post]{number: 5, loaded: true, checkable: true}, true, false},
		{"panicked", &flight[*post]{number: 5, panicked: &PanicError{}}, true, true},
		{"exited", &flight[*post]{number: 5, exited: true}, true, true},
	} {
		test.flight.entry = entry{soft: never, hard: never, epoch: r.cache.view().epoch, slots: slots}
		c := call[*post]{read: r.read, key: &Key{control: &control{refresh: test.fresh}}, before: 5}
		if got := c.mayTake(t.Context(), test.flight); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
	// In a batch, and for one that has tried before.
	for _, test := range []struct {
		name    string
		flight  *flight[*post]
		many    bool
		refused int
		want    bool
	}{
		{"the second failure of a batch", &flight[*post]{number: 6, many: true, failed: true}, false, 1, true},
		{"the second failure of a batch, which began before", &flight[*post]{number: 5, many: true, failed: true}, false, 1, false},
		{"in a batch: a failure of the read of one", &flight[*post]{number: 6, failed: true}, true, 3, false},
		{"in a batch: the first failure of a batch", &flight[*post]{number: 6, many: true, failed: true}, true, 0, false},
		{"in a batch: the second failure of a batch", &flight[*post]{number: 6, many: true, failed: true}, true, 1, true},
		{"in a batch: absent", &flight[*post]{number: 6, many: true, absent: true}, true, 0, true},
		{"in a batch: absent, which began before", &flight[*post]{number: 5, many: true, absent: true}, true, 0, false},
	} {
		c := call[*post]{read: r.read, key: new(Key), before: 5, many: test.many, refused: test.refused}
		if got := c.mayTake(t.Context(), test.flight); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
	current := &flight[*post]{number: 5, loaded: true, checkable: true, entry: entry{soft: never, hard: never, epoch: r.cache.view().epoch, slots: slots}}
	r.cache.view().invalidate([]uint32{1})
	c := call[*post]{read: r.read, key: new(Key), before: 5}
	if c.mayTake(t.Context(), current) {
		t.Error("what was invalidated since may be taken")
	}
}

// Who comes from a flight with nothing for them when the next one has landed
// already gets its outcome all the same, and a copy of its own.
func TestLateForTheNextFlight(t *testing.T) {
	r := newPosts(t, nil)
	loader := Loader[*post]{
		Call:  func(context.Context) (*post, error) { return &post{ID: 1}, nil },
		Store: func(*post) bool { return false },
	}
	board := func(from *flight[*post]) (*flight[*post], bool) {
		return r.read.board("key", &call[*post]{key: new(Key), last: from}, func() *trip { return new(trip) })
	}
	fly := func(from *flight[*post]) *flight[*post] {
		f, starter := board(from)
		if !starter {
			t.Fatal("there is a flight")
		}
		f.stats = r.read.stats
		r.read.fly(t.Context(), f, loader)
		return f
	}
	first := fly(nil)
	second := fly(first)
	late, starter := board(first)
	if starter || late != second {
		t.Error("the next flight is not shared")
	}
	if p, ok := r.read.copyOf(late); !ok || p.ID != 1 || p == late.value {
		t.Errorf("no copy: %+v", p)
	}
	if third, starter := board(late); !starter || third.number != 3 {
		t.Error("there is no flight after the next one")
	}
}
