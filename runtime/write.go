package cacheruntime

import (
	"context"
	"slices"
	"time"
)

// A Write is a method that changes data, in one wrapper.
type Write struct {
	cache *Cache
	stats *methodStats
}

// NewWrite is called by generated constructors. The repository is identified by
// import path and name, "example.com/blog.PostRepository".
func NewWrite(cache *Cache, repository, method string) *Write {
	return &Write{cache: cache, stats: cache.method(repository, method)}
}

// Begin begins a call. The function adds the tags that it makes stale; it is run
// at once and again by [WriteCall.End], because the call may change what they
// are made of, and both are invalidated. The call is to be made with the context
// that Begin returns: with [WithGuardedWrites] it has a deadline.
//
// After an error, which wraps [ErrRefused], the call must not be made: it would have
// to be guarded and cannot be. There is then no WriteCall, and nothing to end.
func (w *Write) Begin(ctx context.Context, tags func(*Tags)) (context.Context, *WriteCall, error) {
	call, err := w.begin(ctx, tags)
	if err != nil {
		event := Event{Outcome: Refused, Err: err}
		w.stats.note(ctx, 0, countRefused, event)
		if call.trace != nil {
			call.addTo(call.trace, event)
		}
		return ctx, nil, err
	}
	return call.called, call, nil
}

// BeginAnyway is [Write.Begin] for a method that returns no error, and so could not
// say that it was refused: if the call cannot be guarded it is made without its mark,
// and invalidates as one that is not guarded does, which is logged.
func (w *Write) BeginAnyway(ctx context.Context, tags func(*Tags)) (context.Context, *WriteCall) {
	call, err := w.begin(ctx, tags)
	if err != nil {
		w.cache.problems.report("a write was not guarded, as it cannot be refused", w.stats.repository, w.stats.method, err)
	}
	return call.called, call
}

// begin returns a call even with an error: one that is not guarded, but should be.
func (w *Write) begin(ctx context.Context, tags func(*Tags)) (call *WriteCall, err error) {
	control := controlOf(ctx)
	call = &WriteCall{write: w, caller: ctx, called: ctx, control: control, collect: tags, trace: control.tracer(), cause: CauseAmbiguous}
	call.tags.write = true
	began := time.Now() // before anything is marked: the deadline counts from here
	if call.trace != nil {
		call.began = began
		call.tags.traced = true
	}
	tags(&call.tags)
	// In a transaction they are left to it, as it may end during the call.
	_, atOnce := control.collect(w.cache, pending{slots: call.tags.slots, names: call.tags.names})
	call.tags.result = resultUnknown
	if w.cache.guardLease > 0 && atOnce {
		tags(&call.tags) // once more: what depends on the result as *
		err = call.guard(began)
	}
	return call, err
}

// A WriteCall is one call of a [Write]. It belongs to one goroutine.
type WriteCall struct {
	write   *Write
	caller  context.Context // given to Begin
	called  context.Context // given to the call
	cancel  func()          // of called; nil if that has no deadline of ours
	control *control
	collect func(*Tags)
	tags    Tags
	marks   *held // of a guarded write
	cause   Cause // ambiguous until it is known what the call returned
	trace   *Trace
	began   time.Time
	reloads []reload
}

// guard marks the tags known before the call. If it cannot, it leaves the call as it
// is without a guard.
func (c *WriteCall) guard(began time.Time) (err error) {
	cache := c.write.cache
	if m := (marks{slots: distinct(slices.Clone(c.tags.slots))}); m.any() {
		if c.marks, err = cache.hold(m, cache.guardLease, false); err != nil {
			return err
		}
		c.write.stats.note(c.caller, 0, countMarks, Event{Outcome: Marked})
	}
	c.called, c.cancel = context.WithDeadline(c.caller, began.Add(cache.guardLease/2))
	return nil
}

// Reload adds a read that [WriteCall.End] makes once it has invalidated, if the
// call succeeded. The context makes it load whatever is cached, even if that of the
// write is one of [Bypass]. Several are made one after the other. In a transaction
// they are made when the outermost one has been committed and has invalidated, with
// the context that it was begun with: what the function reads of variables it reads
// then. An error or a panic is logged, and nothing else comes of it. Of a read whose
// conditions do not hold only the repository is called. After [Cache.Close] none are
// made.
func (c *WriteCall) Reload(read func(context.Context) error) {
	c.reloads = append(c.reloads, reload{c.write.stats, read})
}

// Returned tells what the call returned, and returns it. A method without an
// error returns nil. Without Returned it is not known whether the call has changed
// anything or still will, which is right if it panicked.
func (c *WriteCall) Returned(err error) error {
	switch {
	case err == nil:
		c.tags.result = resultKnown
		c.cause = CauseWrite
	case !c.write.cache.inDoubt(c.called, err):
		c.cause = CauseFailed
	}
	return err
}

// End invalidates, or leaves it to the transaction that the call was made in. It
// is to be deferred before the call is made: a call that failed, panicked or
// ended its goroutine may have changed data as well.
func (c *WriteCall) End() {
	if c.cancel != nil {
		defer c.cancel()
	}
	left := c.finish()
	if c.cause == CauseWrite && !left {
		c.write.cache.reload(c.caller, c.reloads)
	}
}

// finish invalidates, and reports whether a transaction does the rest.
func (c *WriteCall) finish() (left bool) {
	defer func() { left = c.invalidate() }() // also if collect panics
	c.collect(&c.tags)
	return
}

func (c *WriteCall) invalidate() (left bool) {
	stats, cache := c.write.stats, c.write.cache
	later := pending{slots: c.tags.slots, names: c.tags.names}
	if c.cause == CauseWrite {
		later.reloads = c.reloads
	}
	left, atOnce := c.control.collect(cache, later)
	event := Event{Outcome: Collected}
	if atOnce || c.marks != nil {
		err := cache.settle(c.caller, stats, c.tags.slots, c.marks, c.cause)
		event = Event{Outcome: Invalidated, Cause: c.cause, Err: err}
	} else {
		stats.tell(c.caller, event)
	}
	if c.trace != nil {
		c.addTo(c.trace, event)
	}
	return left
}

// addTo adds an event of the call to a trace.
func (c *WriteCall) addTo(trace *Trace, event Event) {
	event.Repository, event.Method = c.write.stats.repository, c.write.stats.method
	event.Tags = c.tags.sortedNames()
	event.Duration = time.Since(c.began)
	trace.add(event)
}

// A reload is a read that is to be made after a write.
type reload struct {
	stats *methodStats // of the write
	read  func(context.Context) error
}

// reload makes reads, one after the other.
func (c *Cache) reload(ctx context.Context, reloads []reload) {
	if len(reloads) == 0 || c.closed.Load() {
		return
	}
	ctx = withControl(ctx, func(c *control) { c.bypass, c.refresh, c.reload = false, true, true })
	for _, r := range reloads {
		if err := r.run(ctx); err != nil {
			c.problems.report("a reload after a write failed", r.stats.repository, r.stats.method, err)
		}
	}
}

func (r *reload) run(ctx context.Context) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = newPanicError(value)
		}
	}()
	return r.read(ctx)
}
