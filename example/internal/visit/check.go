package visit

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/cachegen/cachegen/example/blog"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// An answer is what a read returned, and how.
type answer struct {
	value any
	err   error
	event cacheruntime.Event
	took  time.Duration
}

// hit reports whether the answer came from the cache.
func (a answer) hit() bool {
	return a.event.Outcome == cacheruntime.Hit || a.event.Outcome == cacheruntime.NegativeHit
}

// read makes a read, which the cache must treat as the outcome says, and
// compares the result with the database.
func (v *visit) read(ctx context.Context, outcome cacheruntime.Outcome, r read) {
	if v.over() {
		return
	}
	a := v.ask(ctx, r)
	v.report.read(r.name, a)
	if a.event.Outcome != outcome {
		v.fail("%s: %v, want %v", r.name, a.event.Outcome, outcome)
	}
	if err := v.compare(ctx, r, a); err != nil {
		v.fail("%s: %w", r.name, err)
	}
	if a.event.Stored && !contains(v.known, r) {
		v.known = append(v.known, r)
	}
}

// write makes a write. Then it repeats every read of which there is an entry:
// those that the write made stale must be loaded again, all others must still
// be answered from the cache, and all must be what the database says.
func (v *visit) write(ctx context.Context, name string, call func(context.Context, site) error, stale ...read) {
	if v.over() {
		return
	}
	for _, r := range stale {
		if !contains(v.known, r) {
			v.fail("%s: %s was not read before", name, r.name)
		}
	}
	traced, trace := cacheruntime.WithTrace(ctx)
	start := time.Now()
	if err := call(traced, v.cached); err != nil {
		v.fail("%s: %w", name, err)
		return
	}
	v.report.write(name, trace.Events(), time.Since(start))

	var kept []answer
	for _, r := range v.known {
		if v.over() {
			return
		}
		a := v.ask(ctx, r)
		switch affected := contains(stale, r); {
		case affected && a.hit():
			v.fail("%s: %s was not made stale", name, r.name)
		case !affected && !a.hit():
			v.fail("%s: %s was made stale for nothing", name, r.name)
		case affected:
			v.report.again(r.name, a)
		default:
			kept = append(kept, a)
		}
		if err := v.compare(ctx, r, a); err != nil {
			v.fail("%s after %s: %w", r.name, name, err)
		}
	}
	if !v.over() {
		v.report.kept(kept)
		v.report.compared(len(v.known))
	}
}

// fails is a write that must return an error.
func fails(call func(context.Context, site) error) func(context.Context, site) error {
	return func(ctx context.Context, s site) error {
		if call(ctx, s) == nil {
			return errors.New("succeeded, want an error")
		}
		return nil
	}
}

// ask makes a read through the cache.
func (v *visit) ask(ctx context.Context, r read) answer {
	ctx, trace := cacheruntime.WithTrace(ctx)
	start := time.Now()
	value, err := r.call(ctx, v.cached)
	a := answer{value: value, err: err, took: time.Since(start)}
	if events := trace.Events(); len(events) == 1 {
		a.event = events[0]
	} else {
		v.fail("%s: %d events in its trace, want one", r.name, len(events))
	}
	return a
}

// compare returns an error unless the answer is what the database says.
func (v *visit) compare(ctx context.Context, r read, a answer) error {
	value, err := r.call(ctx, v.direct)
	if err := errors.Join(unexpected(a.err), unexpected(err)); err != nil {
		return err
	}
	if (a.err == nil) != (err == nil) || !reflect.DeepEqual(a.value, value) {
		return fmt.Errorf("the cache says %+v, %v; the database says %+v, %v", a.value, a.err, value, err)
	}
	return nil
}

// unexpected is err, unless it says that what was asked for does not exist.
func unexpected(err error) error {
	if errors.Is(err, blog.ErrNotFound) {
		return nil
	}
	return err
}

func contains(reads []read, r read) bool {
	return slices.ContainsFunc(reads, func(other read) bool { return other.name == r.name })
}

// over reports whether the visit has come to an untimely end.
func (v *visit) over() bool {
	return v.err != nil || v.report.err != nil
}

// fail ends the visit.
func (v *visit) fail(format string, args ...any) {
	if v.err == nil {
		v.err = fmt.Errorf(format, args...)
	}
}
