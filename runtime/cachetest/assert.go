package cachetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// readOutcomes are those that a call of a read can have.
var readOutcomes = []cacheruntime.Outcome{
	cacheruntime.Hit, cacheruntime.SharedHit, cacheruntime.NegativeHit, cacheruntime.Stale, cacheruntime.Miss,
	cacheruntime.Joined, cacheruntime.Reloaded, cacheruntime.Skipped, cacheruntime.Bypassed,
}

// Hit asserts that reads were answered from the cache with a value.
//
// Like all assertions on outcomes in this package it looks at the reads in the
// trace, and at no writes: there must be at least one, and every one must have
// the outcome. If calls are given, it looks at them alone, and each of them must
// be in the trace: a call is named as the trace shows it, "ByID(7)", with the
// repository in front or without, or by its method, "ByID", which means all calls of
// that method. An id in a batch goes by the names of both methods: it is shown as
// that of the read of one. Naming calls is needed where loads make cached reads
// themselves, which are in the trace as well.
//
// If an assertion does not hold, the test fails with the whole trace, in which
// the calls that are not as they should be are pointed at, and goes on.
func Hit(t testing.TB, trace *cacheruntime.Trace, calls ...string) {
	t.Helper()
	outcome(t, trace, cacheruntime.Hit, calls)
}

// SharedHit asserts that reads were answered with a value that another process had
// loaded, from what processes share: see [Shared]. See [Hit] for which.
func SharedHit(t testing.TB, trace *cacheruntime.Trace, calls ...string) {
	t.Helper()
	outcome(t, trace, cacheruntime.SharedHit, calls)
}

// NegativeHit asserts that reads were answered from the cache with an error or a
// nil pointer. See [Hit] for which.
func NegativeHit(t testing.TB, trace *cacheruntime.Trace, calls ...string) {
	t.Helper()
	outcome(t, trace, cacheruntime.NegativeHit, calls)
}

// Stale asserts that reads were answered with an expired value. See [Hit] for
// which.
func Stale(t testing.TB, trace *cacheruntime.Trace, calls ...string) {
	t.Helper()
	outcome(t, trace, cacheruntime.Stale, calls)
}

// Miss asserts that reads loaded. See [Hit] for which, and [Reason] for why.
func Miss(t testing.TB, trace *cacheruntime.Trace, calls ...string) {
	t.Helper()
	outcome(t, trace, cacheruntime.Miss, calls)
}

// Joined asserts that reads were answered by a load that another call started.
// See [Hit] for which.
func Joined(t testing.TB, trace *cacheruntime.Trace, calls ...string) {
	t.Helper()
	outcome(t, trace, cacheruntime.Joined, calls)
}

// Skipped asserts that reads called the repository because they are not cached:
// a condition did not hold, or a key could not be computed. See [Hit] for which.
func Skipped(t testing.TB, trace *cacheruntime.Trace, calls ...string) {
	t.Helper()
	outcome(t, trace, cacheruntime.Skipped, calls)
}

// Bypassed asserts that reads called the repository because they were asked not
// to use the cache. See [Hit] for which.
func Bypassed(t testing.TB, trace *cacheruntime.Trace, calls ...string) {
	t.Helper()
	outcome(t, trace, cacheruntime.Bypassed, calls)
}

// Reason asserts why reads were no hits. See [Hit] for which.
func Reason(t testing.TB, trace *cacheruntime.Trace, want cacheruntime.Reason, calls ...string) {
	t.Helper()
	reads(t, trace, fmt.Sprintf("reason %q", want), calls, func(event cacheruntime.Event) bool {
		return event.Reason == want
	})
}

// Outcomes asserts the outcomes of all calls in the trace, those of writes
// included, in the order in which the calls ended. A load's own cached reads end
// before the read that loads.
func Outcomes(t testing.TB, trace *cacheruntime.Trace, want ...cacheruntime.Outcome) {
	t.Helper()
	events := trace.Events()
	var got []cacheruntime.Outcome
	for _, event := range events {
		got = append(got, event.Outcome)
	}
	if !slices.Equal(got, want) {
		wrong := func(i int) bool { return i >= len(want) || got[i] != want[i] }
		t.Errorf("outcomes %q, want %q\n%s", got, want, render(events, wrong))
	}
}

// Invalidated asserts that each of the tags was invalidated by the calls in the
// trace, or, if none is given, that anything was. Other tags may have been as
// well. Tags are compared as they are shown in the trace: an invalidation of
// author(*) is not one of author(7), and long arguments, which are shown in part,
// are compared in part.
//
// A write in a transaction invalidates nothing yet: that is in the trace of the context
// from which the transaction was begun, once it has ended.
func Invalidated(t testing.TB, trace *cacheruntime.Trace, tags ...cacheruntime.Tag) {
	t.Helper()
	events := trace.Events()
	var got []string
	for _, event := range events {
		if event.Outcome == cacheruntime.Invalidated {
			got = append(got, event.Tags...)
		}
	}
	none := func(int) bool { return false }
	if len(tags) == 0 && len(got) == 0 {
		t.Errorf("nothing was invalidated\n%s", render(events, none))
		return
	}
	var missing []string
	for _, tag := range tags {
		if !slices.Contains(got, tag.String()) {
			missing = append(missing, tag.String())
		}
	}
	if missing != nil {
		t.Errorf("not invalidated: %s\n%s", strings.Join(missing, ", "), render(events, none))
	}
}

// outcome asserts the outcome of reads.
func outcome(t testing.TB, trace *cacheruntime.Trace, want cacheruntime.Outcome, calls []string) {
	t.Helper()
	reads(t, trace, fmt.Sprintf("outcome %q", want), calls, func(event cacheruntime.Event) bool {
		return event.Outcome == want
	})
}

// reads asserts that there are reads, or of each of the calls one, and that all
// of them are right.
func reads(t testing.TB, trace *cacheruntime.Trace, want string, calls []string, right func(cacheruntime.Event) bool) {
	t.Helper()
	events := trace.Events()
	seen := map[string]bool{}
	total := 0
	var wrong []int
	for i, event := range events {
		if !slices.Contains(readOutcomes, event.Outcome) {
			continue
		}
		names := namesOf(event)
		for _, name := range names {
			seen[name] = true
		}
		if len(calls) > 0 && !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(calls, name) }) {
			continue
		}
		total++
		if !right(event) {
			wrong = append(wrong, i)
		}
	}
	isWrong := func(i int) bool { return slices.Contains(wrong, i) }
	var missing []string
	for _, call := range calls {
		if !seen[call] {
			missing = append(missing, call)
		}
	}
	switch {
	case missing != nil:
		t.Errorf("no read of %s, want %s\n%s", strings.Join(missing, ", "), want, render(events, isWrong))
	case total == 0:
		t.Errorf("no read, want %s\n%s", want, render(events, isWrong))
	case wrong != nil:
		t.Errorf("%d of %d reads not as wanted: %s\n%s", len(wrong), total, want, render(events, isWrong))
	}
}

// namesOf returns the names by which a call of a read goes: its method, of a batch
// that of the batch; what the trace shows, "PostRepository.ByID(7)"; and that
// without the repository, or without the arguments, or both.
func namesOf(event cacheruntime.Event) []string {
	repository := event.Repository[strings.LastIndexByte(event.Repository, '.')+1:]
	names := []string{event.Method, repository + "." + event.Method}
	if event.Key != "" {
		read := event.Key[:strings.IndexAny(event.Key+"(", "[(")]
		names = append(names, event.Key, repository+"."+event.Key, read, repository+"."+read)
	}
	return names
}

// render writes events for people, one a line, and points at those that are
// wrong.
func render(events []cacheruntime.Event, wrong func(i int) bool) string {
	if len(events) == 0 {
		return "\tthe trace is empty: were the calls made with its context?"
	}
	var b strings.Builder
	for i, event := range events {
		pointer := "  "
		if wrong(i) {
			pointer = "> "
		}
		fmt.Fprintf(&b, "\t%s%s\n", pointer, event)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
