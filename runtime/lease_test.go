package cacheruntime

import (
	"context"
	"database/sql/driver"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// newTagged makes posts whose reads depend on post(id), with post 7 loaded.
func newTagged(t *testing.T, opts ...Option) *posts {
	r := newPosts(t, nil, opts...)
	r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	r.set(post{ID: 7, Title: "old"})
	r.expectTitle(t, t.Context(), 7, "old")
	return r
}

// expectHit fails the test unless a read is answered from the cache, or not.
func (r *posts) expectHit(t *testing.T, want bool) {
	t.Helper()
	ctx, trace := WithTrace(t.Context())
	r.title(ctx, 7)
	if got := trace.Events()[0]; (got.Outcome == Hit) != want {
		t.Errorf("%v, want a hit: %v", got, want)
	}
}

func (r *posts) expectReason(t *testing.T, want Reason) {
	t.Helper()
	ctx, trace := WithTrace(t.Context())
	r.title(ctx, 7)
	if got := trace.Events()[0]; got.Reason != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func (r *posts) expectInvalidations(t *testing.T, want Invalidations) {
	t.Helper()
	if got := r.cache.Stats().Invalidations; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// settled lets time pass, and what it sets off come to rest.
func settled(d time.Duration) {
	advance(d)
	synctest.Wait()
}

func broken(context.Context) error { return driver.ErrBadConn }

// A write returns an ambiguous error and the database makes the change later:
// until the lease ends nothing is served or kept, and what was loaded before the
// change never comes back.
func TestAmbiguousWriteLandsLate(t *testing.T) {
	for name, test := range map[string]struct {
		opts  []Option
		lease time.Duration
	}{
		"default": {nil, 5 * time.Second},
		"lease":   {[]Option{WithAmbiguousWrites(time.Minute, nil)}, time.Minute},
		"guarded": {[]Option{WithGuardedWrites(20 * time.Second)}, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newTagged(t, test.opts...)
				err := r.write(t.Context(), func(context.Context) error {
					time.AfterFunc(test.lease-time.Second, func() { r.set(post{ID: 7, Title: "new"}) })
					return driver.ErrBadConn
				}, postTag(7))
				if err != driver.ErrBadConn {
					t.Fatal(err)
				}
				r.expectInvalidations(t, Invalidations{Ambiguous: 1})
				r.expectReason(t, ReasonMarked)
				r.expectTitle(t, t.Context(), 7, "old")
				settled(test.lease - time.Second)
				r.expectTitle(t, t.Context(), 7, "new")
				r.expectHit(t, false)
				settled(time.Second)
				r.expectInvalidations(t, Invalidations{Ambiguous: 1, Leases: 1})
				r.expectTitle(t, t.Context(), 7, "new")
				r.expectHit(t, true)
			})
		})
	}
}

// A load that begins under a mark, before the change lands, and returns when the
// mark is gone is not served and not kept.
func TestLoadUnderAMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTagged(t)
		r.write(t.Context(), broken, postTag(7))
		read, release := slowLoad(r)
		late := make(chan string)
		go func() { late <- r.title(t.Context(), 7) }()
		<-read
		r.set(post{ID: 7, Title: "new"})
		settled(5 * time.Second)
		release()
		if got := <-late; got != "old" {
			t.Errorf("%q", got)
		}
		r.expectTitle(t, t.Context(), 7, "new")
	})
}

// Marks are counts: the end of one lease does not end the others.
func TestAmbiguousWritesOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTagged(t)
		r.write(t.Context(), broken, postTag(7))
		advance(3 * time.Second)
		r.write(t.Context(), broken, postTag(7))
		settled(2 * time.Second)
		r.expectInvalidations(t, Invalidations{Ambiguous: 2, Leases: 1})
		r.title(t.Context(), 7)
		r.expectHit(t, false)
		r.expectReason(t, ReasonMarked)
		r.put(t.Context(), post{ID: 7, Title: "new"}, postTag(7)) // ends no mark either
		r.expectReason(t, ReasonMarked)
		settled(3 * time.Second)
		r.title(t.Context(), 7)
		r.expectHit(t, true)
		if got := r.cache.Stats().Marks; got != 2 {
			t.Errorf("%d marks", got)
		}
	})
}

func TestWriteCauses(t *testing.T) {
	refused := errors.New("refused")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		call func(context.Context) error
		want Invalidations
	}{
		"success":                {t.Context(), func(context.Context) error { return nil }, Invalidations{Writes: 1}},
		"success, context ended": {ended, func(context.Context) error { return nil }, Invalidations{Writes: 1}},
		"error":                  {t.Context(), func(context.Context) error { return refused }, Invalidations{Failed: 1}},
		"error, context ended":   {ended, func(context.Context) error { return refused }, Invalidations{Ambiguous: 1}},
		"error, ambiguous":       {t.Context(), broken, Invalidations{Ambiguous: 1}},
		"panic":                  {t.Context(), func(context.Context) error { panic("write") }, Invalidations{Ambiguous: 1}},
		"goexit":                 {t.Context(), func(context.Context) error { runtime.Goexit(); return nil }, Invalidations{Ambiguous: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				recorded := &recorder{}
				r := newTagged(t, WithObserver(recorded))
				ctx, trace := WithTrace(test.ctx)
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() { recover() }()
					r.write(ctx, test.call, postTag(7))
				}()
				<-done
				r.expectInvalidations(t, test.want)
				doubt := test.want.Ambiguous == 1
				want := ReasonInvalidated
				if doubt {
					want = ReasonMarked
				}
				r.expectReason(t, want)
				settled(time.Minute)
				if doubt {
					test.want.Leases = 1
				}
				r.expectInvalidations(t, test.want)

				cause := trace.Events()[0].Cause
				told := recorded.causes()
				if len(told) != int(test.want.Total()) || told[0] != cause || doubt && told[1] != CauseLease {
					t.Errorf("traced as %q, observers are told %q", cause, told)
				}
				if n := recorded.count(Marked); n != int(test.want.Ambiguous) {
					t.Errorf("observers are told of %d marks", n)
				}
			})
		})
	}
}

// A recorder is an observer.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (o *recorder) Observe(_ context.Context, e Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
}

func (o *recorder) causes() (causes []Cause) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if e.Outcome == Invalidated {
			causes = append(causes, e.Cause)
		}
	}
	return causes
}

func (o *recorder) count(outcome Outcome) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if e.Outcome == outcome {
			n++
		}
	}
	return n
}

// While a guarded write is in progress nobody is served what it may have
// replaced, and reads work.
func TestGuardedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTagged(t, WithGuardedWrites(time.Minute))
		var called context.Context
		r.write(t.Context(), func(ctx context.Context) error {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != 30*time.Second {
				t.Errorf("deadline in %v", time.Until(deadline))
			}
			r.expectReason(t, ReasonMarked)
			r.expectTitle(t, t.Context(), 7, "old")
			r.set(post{ID: 7, Title: "new"})
			r.expectTitle(t, t.Context(), 7, "new")
			r.expectTitle(t, t.Context(), 7, "new")
			r.expectHit(t, false)
			called = ctx
			return nil
		}, postTag(7))
		if called.Err() == nil {
			t.Error("the context is not released")
		}
		r.expectInvalidations(t, Invalidations{Writes: 1})
		r.expectTitle(t, t.Context(), 7, "new")
		r.expectHit(t, true)
		settled(2 * time.Minute)
		r.expectInvalidations(t, Invalidations{Writes: 1}) // the lease is over
		if got := r.cache.Stats().Marks; got != 1 {
			t.Errorf("%d marks", got)
		}
	})
}

// What is known only from the result is marked as * before the call.
func TestGuardedWriteTagsOfTheResult(t *testing.T) {
	r := newTagged(t, WithGuardedWrites(time.Minute))
	id := int64(0)
	_, write := r.update.BeginAnyway(t.Context(), func(tags *Tags) {
		tags.Result(allPostTag(), func() { tags.Add(postTag(id)) })
	})
	r.expectReason(t, ReasonMarked)
	id = 7
	r.set(post{ID: 7, Title: "new"})
	write.Returned(nil)
	write.End()
	r.expectTitle(t, t.Context(), 7, "new")
	r.expectHit(t, true)
}

// A write that changes what its tags are made of marks the ones and invalidates
// the others.
func TestGuardedWriteChangesItsTags(t *testing.T) {
	r := newTagged(t, WithGuardedWrites(time.Minute))
	id := int64(1)
	_, write := r.update.BeginAnyway(t.Context(), func(tags *Tags) { tags.Add(postTag(id)) })
	r.expectHit(t, true)
	id = 7
	r.set(post{ID: 7, Title: "new"})
	write.Returned(nil)
	write.End()
	r.expectTitle(t, t.Context(), 7, "new")
}

// A guarded write that outlasts its lease: the marks go with a new clock, and
// End still invalidates.
func TestGuardedWriteOutlastsItsLease(t *testing.T) {
	for name, err := range map[string]error{"success": nil, "ambiguous": driver.ErrBadConn} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newTagged(t, WithGuardedWrites(time.Minute))
				r.write(t.Context(), func(ctx context.Context) error {
					settled(59 * time.Second)
					if ctx.Err() == nil {
						t.Error("half the lease is over")
					}
					r.expectReason(t, ReasonMarked)
					settled(time.Second)
					r.expectInvalidations(t, Invalidations{Leases: 1})
					r.expectTitle(t, t.Context(), 7, "old")
					r.expectHit(t, true)
					r.set(post{ID: 7, Title: "new"})
					return err
				}, postTag(7))
				r.expectTitle(t, t.Context(), 7, "new")
				if err == nil {
					r.expectHit(t, true)
					r.expectInvalidations(t, Invalidations{Writes: 1, Leases: 1})
				} else {
					r.expectReason(t, ReasonMarked)
					settled(time.Minute)
					r.expectInvalidations(t, Invalidations{Ambiguous: 1, Leases: 2})
				}
				settled(time.Minute)
				if marks, _ := marksOf(r.cache.view(), postTagSlot(7)); marks != 0 {
					t.Errorf("%d marks are left", marks)
				}
			})
		})
	}
}

// postTagSlot is the index of a word that post(id) alone marks.
func postTagSlot(id int64) uint32 {
	tags := Tags{write: true}
	tags.Add(postTag(id))
	return tags.slots[len(tags.slots)-1] % tableSize
}

// A guarded write that ends ambiguously is marked throughout, for another lease
// and no longer.
func TestGuardedWriteEndsInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTagged(t, WithGuardedWrites(time.Minute))
		slot := postTagSlot(7)
		r.write(t.Context(), func(context.Context) error {
			advance(10 * time.Second)
			return driver.ErrBadConn
		}, postTag(7))
		if marks, _ := marksOf(r.cache.view(), slot); marks != 1 {
			t.Errorf("%d marks", marks)
		}
		settled(time.Minute - 1)
		r.expectReason(t, ReasonMarked)
		r.expectInvalidations(t, Invalidations{Ambiguous: 1})
		settled(1)
		r.expectInvalidations(t, Invalidations{Ambiguous: 1, Leases: 1})
		if marks, _ := marksOf(r.cache.view(), slot); marks != 0 {
			t.Errorf("%d marks are left", marks)
		}
	})
}

// Guarded writes of one post at the same time: whoever has read the new title
// never reads the old one again.
func TestGuardedWritesConcurrently(t *testing.T) {
	r := newTagged(t, WithGuardedWrites(time.Minute))
	var writers, readers sync.WaitGroup
	var mu sync.Mutex
	version := 0
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			last := ""
			for {
				select {
				case <-stop:
					return
				default:
				}
				// Titles grow: of two of them the longer is the newer.
				if title := r.title(t.Context(), 7); len(title) < len(last) {
					t.Errorf("read version %d after %d", len(title), len(last))
					return
				} else {
					last = title
				}
			}
		})
	}
	for range 3 {
		writers.Go(func() {
			for range 50 {
				r.write(t.Context(), func(context.Context) error {
					mu.Lock()
					defer mu.Unlock()
					version++
					r.set(post{ID: 7, Title: "old" + string(make([]byte, version))})
					return nil
				}, postTag(7))
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	if marks, _ := marksOf(r.cache.view(), postTagSlot(7)); marks != 0 {
		t.Errorf("%d marks are left", marks)
	}
}

// fakeClock is a clock whose timers run when the test says so.
type fakeClock struct {
	mu     sync.Mutex
	timers []*fakeTimer
}

type fakeTimer struct {
	d       time.Duration
	f       func()
	stopped bool
}

func (c *fakeClock) Now() time.Time { return time.Now() }

func (c *fakeClock) AfterFunc(d time.Duration, f func()) Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	timer := &fakeTimer{d: d, f: f}
	c.timers = append(c.timers, timer)
	return timer
}

func (t *fakeTimer) Stop() bool {
	stopped := t.stopped
	t.stopped = true
	return !stopped
}

// Leases go by the clock of the cache; there is a timer only while one is
// outstanding, and one that fires after all, or after Close, does no harm.
func TestLeaseTimers(t *testing.T) {
	clock := &fakeClock{}
	r := newTagged(t, WithClock(clock), WithGuardedWrites(time.Minute))
	r.put(t.Context(), post{ID: 7}, postTag(7))
	if len(clock.timers) != 1 || !clock.timers[0].stopped || clock.timers[0].d != time.Minute {
		t.Errorf("%+v", clock.timers)
	}
	before := r.cache.view().now()
	clock.timers[0].f()
	if r.cache.view().now() != before {
		t.Error("a lease that was taken over ends again")
	}
	r.write(t.Context(), broken, postTag(7))
	r.cache.Close()
	clock.timers[2].f()
	r.expectInvalidations(t, Invalidations{Writes: 1, Ambiguous: 1, Leases: 1})
}

func TestPlainWriteHasNoTimer(t *testing.T) {
	clock := &fakeClock{}
	r := newTagged(t, WithClock(clock))
	r.put(t.Context(), post{ID: 7}, postTag(7))
	if len(clock.timers) != 0 {
		t.Errorf("%+v", clock.timers)
	}
}
