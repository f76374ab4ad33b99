package visit

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// A report is what the visitor is shown: three columns, for the call, what the
// cache did, and how long the caller waited.
type report struct {
	w        io.Writer
	err      error // the first of w
	chapters int
}

const (
	callWidth = 38
	didWidth  = 40
	tookWidth = 9
)

func (r *report) printf(format string, args ...any) {
	if r.err == nil {
		_, r.err = fmt.Fprintf(r.w, format, args...)
	}
}

func (r *report) row(call, did, took string) {
	r.printf("%s\n", strings.TrimRight(fmt.Sprintf("    %-*s  %-*s  %*s", callWidth, call, didWidth, did, tookWidth, took), " "))
}

// intro says what follows.
func (r *report) intro() {
	r.printf("A visit to a blog on SQLite: what was called, what the cache did, and how long\n" +
		"the caller waited, the tracing of every call included.\n")
}

// introProcesses says what follows if there are so many processes.
func (r *report) introProcesses(n int) {
	r.printf("A visit to a blog on SQLite that %d processes serve: what was called, what their caches\n"+
		"did, and how long the caller waited. All answers are compared with the database.\n\n"+
		"Each process has a cache in its own memory (hit), and all share one in Redis (shared\n"+
		"hit); what neither has is loaded from the database (miss). Of a read of several ids,\n"+
		"each counts. A write is seen at once in the process that made it, and in the others\n"+
		"after D = %v at most (WithMaxStaleness).\n", n, maxStaleness)
}

// introLive says what the figures are of.
func (r *report) introLive(processes, visitors int) {
	r.printf("A blog on SQLite, served by %d processes, each with %d visitors; one call in a thousand is\n"+
		"a write. What each process has counted, every second until it is interrupted:\n\n", processes, visitors)
}

// chapter begins a part of the visit.
func (r *report) chapter(title string) {
	r.chapters++
	r.printf("\n%2d  %s\n\n", r.chapters, title)
}

// read shows one read.
func (r *report) read(name string, a answer) {
	r.row(name, did(a.events), duration(a.took))
}

// readFails shows a read that returned an error.
func (r *report) readFails(name string, a answer) {
	r.row(name, "fails: "+a.err.Error(), duration(a.took))
}

// write shows a write, the tags it invalidated, and what it loaded again.
func (r *report) write(name string, events []cacheruntime.Event, took time.Duration) {
	var tags []string
	var reloads []string
	for _, event := range events {
		switch {
		case event.Outcome == cacheruntime.Invalidated:
			for _, tag := range event.Tags {
				tags = append(tags, short(tag))
			}
		case event.Reason == cacheruntime.ReasonRefresh:
			reloads = append(reloads, event.Method)
		}
	}
	lines := wrap("invalidates ", tags)
	if len(reloads) > 0 {
		lines = append(lines, wrap("reloads     ", reloads)...)
	}
	for i, line := range lines {
		if i > 0 {
			name, took = "", 0
		}
		r.row(name, line, duration(took))
	}
}

// A repeated read is one that a write made stale.
type repeated struct {
	name string
	answer
}

// fewReads is how many repeated reads are shown one by one.
const fewReads = 5

// again shows the reads that a write made stale: if there are many, those of one
// method together.
func (r *report) again(reads []repeated) {
	if len(reads) <= fewReads {
		for _, read := range reads {
			r.row("  "+read.name, did(read.events), duration(read.took))
		}
		return
	}
	var methods []string
	calls := map[string][]repeated{}
	for _, read := range reads {
		method, _, _ := strings.Cut(read.name, "(")
		if calls[method] == nil {
			methods = append(methods, method)
		}
		calls[method] = append(calls[method], read)
	}
	for _, method := range methods {
		of := calls[method]
		name := "  " + of[0].name
		var took time.Duration
		var events []cacheruntime.Event
		for _, read := range of {
			took += read.took
			events = append(events, read.events...)
		}
		if len(of) > 1 {
			name = fmt.Sprintf("  %d × %s, on average", len(of), method)
		}
		r.row(name, did(events), duration(took/time.Duration(len(of))))
	}
}

// kept sums up the reads that are still answered from the cache.
func (r *report) kept(answers []answer) {
	if len(answers) == 0 {
		return
	}
	var took time.Duration
	for _, a := range answers {
		took += a.took
	}
	r.row(fmt.Sprintf("  %d more, on average", len(answers)), "hit", duration(took/time.Duration(len(answers))))
}

// compared says that so many reads agree with the database.
func (r *report) compared(reads int) {
	r.row(fmt.Sprintf("  all %d compared with the database", reads), "equal", "")
}

// allReads shows what a process did for all reads: of the reasons only that it was cut
// off.
func (r *report) allReads(process string, result Result) {
	var outcomes []cacheruntime.Event
	for _, e := range result.Events {
		outcome := cacheruntime.Event{Outcome: e.Outcome, Stored: true}
		if e.Reason == cacheruntime.ReasonCutOff {
			outcome.Reason = e.Reason
		}
		outcomes = append(outcomes, outcome)
	}
	r.row(fmt.Sprintf("%s: %d reads", process, len(allReads)), did(outcomes), duration(result.Took))
}

// outdatedUntil shows for how long a process has served what was changed in another one.
func (r *report) outdatedUntil(d time.Duration) {
	r.row("", "was outdated for", duration(max(d, 0)))
}

// staleness shows how long a process has read older versions, for each version.
func (r *report) staleness(process string, reads int, behind []time.Duration) {
	sorted := slices.Sorted(slices.Values(behind))
	r.row(fmt.Sprintf("%s: %d reads", process, reads), "outdated for, median", duration(sorted[len(sorted)/2]))
	r.row("", fmt.Sprintf("outdated for, at most (D is %v)", maxStaleness), duration(sorted[len(sorted)-1]))
}

// processStats shows what a process has counted.
func (r *report) processStats(process string, p ProcessStats) {
	r.printf("    %s  %6d hits  %5d shared hits  %5d misses  %5d loads  %4d records applied, %d of its own",
		process, p.Hits+p.NegativeHits, p.SharedHits, p.Misses, p.Loads, p.Shared.Applied, p.Shared.Appended)
	if !p.Shared.Current {
		r.printf("  cut off")
	}
	if n := p.Shared.Queued; n > 0 {
		r.printf("  %d to be delivered", n)
	}
	switch n := p.Failed; n {
	case 0:
	case 1:
		r.printf("  1 call failed")
	default:
		r.printf("  %d calls failed", n)
	}
	r.printf("\n")
}

// failure shows the error of the first call that failed in a process.
func (r *report) failure(text string) {
	r.printf("    the first error there: %s\n", text)
}

// disrupted says what a process was at some time, so that less came from its cache.
func (r *report) disrupted(process, what string) {
	r.printf("    %s was %s\n", process, what)
}

// excused shows that something was not as it should be, and why that is no fault of
// the cache.
func (r *report) excused(fault error, why []string) {
	r.printf("    (%v; but %s)\n", fault, strings.Join(why, ", "))
}

// behind shows a change that the cache is not told of, and a read after it.
func (r *report) behind(statement string, took time.Duration, name string, a answer) {
	verb, _, _ := strings.Cut(statement, " ")
	r.row("an "+verb+" of its own", "the cache is not told", duration(took))
	r.row(name, did(a.events)+", outdated", duration(a.took))
}

// inTransaction shows a write that is not yet committed.
func (r *report) inTransaction(name string, took time.Duration) {
	r.row(name, "left to the transaction", duration(took))
}

// meanwhile shows what happens without a call.
func (r *report) meanwhile(what string) {
	r.row("("+what+")", "", "")
}

// stampede shows many callers of one read.
func (r *report) stampede(name string, callers int, loads uint64, took time.Duration) {
	r.row(fmt.Sprintf("%d × %s", callers, name), fmt.Sprintf("loads: %d", loads), duration(took))
}

// stats shows the table of the cache.
func (r *report) stats(stats cacheruntime.Stats) {
	r.printf("\n    What the cache counted\n\n")
	for line := range strings.Lines(stats.String()) {
		r.printf("    %s", line)
	}
}

// did says what the cache did in a read, or in several, or for the IDs of a batch:
// if that is not the same for all, how often it did what.
func did(events []cacheruntime.Event) string {
	var texts []string
	times := map[string]int{}
	for _, event := range events {
		text := didOnce(event)
		if times[text] == 0 {
			texts = append(texts, text)
		}
		times[text]++
	}
	if len(texts) == 1 {
		return texts[0]
	}
	for i, text := range texts {
		texts[i] = fmt.Sprintf("%d × %s", times[text], text)
	}
	return strings.Join(texts, ", ")
}

func didOnce(event cacheruntime.Event) string {
	text := string(event.Outcome)
	if event.Reason != "" && event.Reason != cacheruntime.ReasonBypass {
		text += ": " + string(event.Reason)
	}
	if event.Outcome == cacheruntime.Miss && !event.Stored {
		text += ", not stored"
	}
	return text
}

// short is a tag as the directives write it, without its package or repository.
func short(tag string) string {
	name, _, _ := strings.Cut(tag, "(")
	return tag[strings.LastIndexByte(name, '.')+1:]
}

// wrap joins the items with commas, in lines that fit the column.
func wrap(first string, items []string) []string {
	line := first
	var lines []string
	for i, item := range items {
		if i < len(items)-1 {
			item += ", "
		}
		if line != first && utf8.RuneCountInString(line+item) > didWidth {
			lines = append(lines, strings.TrimRight(line, " "))
			line = strings.Repeat(" ", utf8.RuneCountInString(first))
		}
		line += item
	}
	return append(lines, line)
}

// duration renders a duration in a unit that suits it, nothing for 0.
func duration(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < time.Millisecond:
		return fmt.Sprintf("%.1f µs", float64(d)/float64(time.Microsecond))
	default:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
}
