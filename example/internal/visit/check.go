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
	value  any
	err    error
	events []cacheruntime.Event // one, or of a batch one for each ID
	took   time.Duration
}

// partly is the outcome of a batch some of which is in the cache.
const partly cacheruntime.Outcome = "partly"

// outcome is what the cache did.
func (a answer) outcome() cacheruntime.Outcome {
	for _, event := range a.events {
		if event.Outcome != a.events[0].Outcome {
			return partly
		}
	}
	return a.events[0].Outcome
}

// hit reports whether all of the answer came from the cache.
func (a answer) hit() bool {
	return !slices.ContainsFunc(a.events, func(event cacheruntime.Event) bool {
		return event.Outcome != cacheruntime.Hit && event.Outcome != cacheruntime.NegativeHit
	})
}

// stored reports whether any of the answer was put into the cache.
func (a answer) stored() bool {
	return slices.ContainsFunc(a.events, func(event cacheruntime.Event) bool { return event.Stored })
}

// read makes a read, which the cache must treat as the outcome says, and
// compares the result with the database.
func (v *visit) read(ctx context.Context, outcome cacheruntime.Outcome, r read) answer {
	return v.readEither(ctx, r, outcome)
}

// readEither is read with several outcomes of which one will do.
func (v *visit) readEither(ctx context.Context, r read, outcomes ...cacheruntime.Outcome) (a answer) {
	if v.over() {
		return a
	}
	if a = v.ask(ctx, r); v.over() {
		return a
	}
	v.report.read(r.name, a)
	if !slices.Contains(outcomes, a.outcome()) {
		v.fail("%s: %v, want %v", r.name, a.outcome(), outcomes)
	}
	if err := v.compare(ctx, r, a); err != nil {
		v.fail("%s: %w", r.name, err)
	}
	if a.stored() && !contains(v.known, r) {
		v.known = append(v.known, r)
	}
	return a
}

// readFails makes a read that must return an error.
func (v *visit) readFails(ctx context.Context, r read, want error) {
	if v.over() {
		return
	}
	a := v.ask(ctx, r)
	if v.over() {
		return
	}
	v.report.readFails(r.name, a)
	if !errors.Is(a.err, want) {
		v.fail("%s: %v, want %v", r.name, a.err, want)
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

	var again []repeated
	var kept []answer
	for _, r := range v.known {
		if v.over() {
			return
		}
		a := v.ask(ctx, r)
		if v.over() {
			return
		}
		switch affected := contains(stale, r); {
		case affected && a.hit():
			v.fail("%s: %s was not made stale", name, r.name)
		case !affected && !a.hit():
			v.fail("%s: %s was made stale for nothing", name, r.name)
		case affected:
			again = append(again, repeated{r.name, a})
		default:
			kept = append(kept, a)
		}
		if err := v.compare(ctx, r, a); err != nil {
			v.fail("%s after %s: %w", r.name, name, err)
		}
	}
	if !v.over() {
		v.report.again(again)
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
	if a.events = trace.Events(); len(a.events) == 0 {
		v.fail("%s: nothing in its trace", r.name)
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
