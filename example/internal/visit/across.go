package visit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

const (
	// processes is how many there are before one more joins them.
	processes = 3
	// versions is how many writes the staleness is measured by.
	versions = 50
	// crowd is how many visitors of each process ask for the same page at once.
	crowd = 100
)

// RunProcesses makes a visit to a blog that several processes serve. They share a
// database in a temporary file and, by way of Redis, what they have cached. It writes
// what happens to w. The error says at which step the cache was not as it should be; it
// is [ErrInterrupted] if the context ended. That something is loaded again is none if a
// process was cut off from Redis, or too busy: w is told.
func RunProcesses(ctx context.Context, w io.Writer, p Processes) (err error) {
	f, err := launch(ctx, p, processes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	v := &voyage{fleet: f, report: &report{w: w}}
	v.report.introProcesses(processes)
	if err := v.story(ctx); err != nil {
		return interrupted(ctx, err)
	}
	return v.report.err
}

// A voyage is a visit to several processes.
type voyage struct {
	*fleet
	report *report
}

func (v *voyage) story(ctx context.Context) error {
	for _, chapter := range []struct {
		title string
		tell  func(context.Context) error
	}{
		{"What one process has loaded, the others find in Redis, and then keep.", v.sharing},
		{"A write in one process makes stale what the others have, and nothing else.", v.writing},
		{"How long does a process serve what another one has changed?", v.measuring},
		{"Hundreds of visitors, in all processes, ask for a page that nobody has.", v.crowding},
		{"One more process begins with an empty memory, and hardly needs the database.", v.joining},
	} {
		v.report.chapter(chapter.title)
		if err := chapter.tell(ctx); err != nil {
			return err
		}
		if v.report.err != nil {
			return v.report.err
		}
	}
	v.report.printf("\n    What the processes counted\n\n")
	for _, r := range v.ships {
		f, err := call[Figures](ctx, r, "Stats", 0)
		if err != nil {
			return err
		}
		v.report.figures(r.name, f)
		if f.Hindrance != "" {
			v.report.hindered(r.name, f.Hindrance)
		}
	}
	return nil
}

// short is the error that less came from the caches than should. There is none if a
// process was hindered at any time: what it has not shared, others lack later on.
func (v *voyage) short(ctx context.Context, format string, args ...any) error {
	fault := fmt.Errorf(format, args...)
	var why []string
	for _, r := range v.ships {
		f, err := call[Figures](ctx, r, "Stats", 0)
		if err != nil {
			return err
		}
		if f.Hindrance != "" {
			why = append(why, fmt.Sprintf("%s was %s", r.name, f.Hindrance))
		}
	}
	if len(why) == 0 {
		return fault
	}
	v.report.excused(fault, why)
	return nil
}

// sharing makes the tour in one process after the other. Entries go to Redis when who
// waits for them has been answered: the next process may be too early for some.
func (v *voyage) sharing(ctx context.Context) error {
	for i, r := range v.ships {
		if i == 0 {
			if err := v.tour(ctx, r, miss); err != nil {
				return err
			}
			continue
		}
		a, err := v.makeTour(ctx, r)
		if err != nil {
			return err
		}
		if n := a.count(cacheruntime.SharedHit); 2*n <= len(a.Events) {
			v.report.excused(fmt.Errorf("%s: %d of %d are a %v", r.name, n, len(a.Events), cacheruntime.SharedHit),
				[]string{"the others may not have been in Redis yet"})
		}
	}
	return v.tour(ctx, v.ships[0], hit)
}

// tour makes the tour in a process, most of which must be answered in that way.
func (v *voyage) tour(ctx context.Context, r *remote, most cacheruntime.Outcome) error {
	a, err := v.makeTour(ctx, r)
	if err != nil {
		return err
	}
	if n := a.count(most); 2*n <= len(a.Events) {
		return v.short(ctx, "%s: %d of %d are a %v, want most", r.name, n, len(a.Events), most)
	}
	return nil
}

// makeTour makes the tour in a process that is to have all that was written.
func (v *voyage) makeTour(ctx context.Context, r *remote) (Answer, error) {
	a, err := call[Answer](ctx, r, "Tour", time.Time{})
	if err == nil {
		v.report.tour(r.name, a)
	}
	return a, err
}

// writing makes changes in one process each, and the tour in all.
func (v *voyage) writing(ctx context.Context) error {
	for i, name := range []string{"posts.Edit(1)", "authors.Rename(2)", "comments.Add(post 1)", "desk.Leave(3, to 1)"} {
		writer := v.ships[i%len(v.ships)]
		written, err := call[Answer](ctx, writer, "Write", name)
		if err != nil {
			return err
		}
		v.report.write(writer.name+": "+name, written.events(), written.Took)
		order := slices.Concat(v.ships[i%len(v.ships):], v.ships[:i%len(v.ships)])
		for _, r := range order {
			// The writer must have the new at once, the others within the bound.
			since := written.Returned
			if r == writer {
				since = time.Time{}
			}
			a, err := call[Answer](ctx, r, "Tour", since)
			if err != nil {
				return fmt.Errorf("after %s: %w", name, err)
			}
			v.report.tour("  "+r.name, a)
			if !a.Returned.IsZero() {
				v.report.behindBy(a.Returned.Sub(since))
			}
			if a.count(hit) == 0 {
				if err := v.short(ctx, "%s: nothing is left after %s", r.name, name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// measuring lets one process write and all others read what it writes.
func (v *voyage) measuring(ctx context.Context) error {
	writer, readers := v.ships[0], v.ships[1:]
	type outcome struct {
		seen Sightings
		err  error
	}
	watching := make([]chan outcome, len(readers))
	for i, r := range readers {
		watching[i] = make(chan outcome, 1)
		go func() {
			seen, err := call[Sightings](ctx, r, "Watch", versions)
			watching[i] <- outcome{seen, err}
		}()
	}
	returned, err := call[[]time.Time](ctx, writer, "Versions", versions)
	if err == nil {
		v.report.row(fmt.Sprintf("%s: %d × posts.Edit(%d)", writer.name, versions, watched), "reads its own writes at once", "")
	}
	for i, r := range readers {
		w := <-watching[i]
		if err = cmp.Or(err, w.err); err != nil {
			continue
		}
		behind := staleness(returned, w.seen)
		v.report.staleness(r.name, w.seen.Reads, behind)
		if most := slices.Max(behind); most > bound {
			err = fmt.Errorf("%s was behind by %v, more than %v", r.name, most, bound)
		}
	}
	return err
}

// staleness is, for each version, for how long after it was written an older one was
// read: until the last such read began.
func staleness(returned []time.Time, seen Sightings) []time.Duration {
	behind := make([]time.Duration, len(returned))
	for version, last := range seen.Last {
		for i := version; i < len(returned); i++ { // returned[i] is when version i+1 was there
			behind[i] = max(behind[i], last.Sub(returned[i]))
		}
	}
	return behind
}

// crowding makes the same read many times at once in all processes.
func (v *voyage) crowding(ctx context.Context) error {
	type result struct {
		loads uint64
		err   error
	}
	results := make(chan result, len(v.ships))
	start := time.Now()
	for _, r := range v.ships {
		go func() {
			loads, err := call[uint64](ctx, r, "Stampede", crowd)
			results <- result{loads, err}
		}()
	}
	var loads uint64
	var err error
	for range v.ships {
		r := <-results
		loads += r.loads
		err = errors.Join(err, r.err)
	}
	if err != nil {
		return err
	}
	v.report.stampede(unread.name, crowd*len(v.ships), loads, time.Since(start))
	// One, unless Redis was too slow to say that somebody is loading it.
	switch {
	case loads == 0:
		return fmt.Errorf("%s: no load, but nobody had it", unread.name)
	case loads > uint64(len(v.ships)):
		return v.short(ctx, "%s: %d loads in %d processes", unread.name, loads, len(v.ships))
	}
	return nil
}

// joining starts one more process.
func (v *voyage) joining(ctx context.Context) error {
	took, err := v.add(ctx)
	if err != nil {
		return err
	}
	joined := v.ships[len(v.ships)-1]
	v.report.row(joined.name+" opens the blog", "reads the table of the log", duration(took))
	if err := v.tour(ctx, joined, cacheruntime.SharedHit); err != nil {
		return err
	}
	return v.tour(ctx, joined, hit)
}

// Live lets visitors read and write at random in several processes, and writes to w
// every second what those have counted, until the context ends.
func Live(ctx context.Context, w io.Writer, p Processes) (err error) {
	f, err := launch(ctx, p, processes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	report := &report{w: w}
	report.introLive(processes, crowd)
	for _, r := range f.ships {
		if _, err := call[int](ctx, r, "Traffic", crowd); err != nil {
			return interrupted(ctx, err)
		}
	}
	failing := map[*remote]bool{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for report.err == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, r := range f.ships {
			f, err := call[Figures](ctx, r, "Stats", 0)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				return err
			}
			report.figures(r.name, f)
			if f.Failure != "" && !failing[r] {
				failing[r] = true
				report.failure(f.Failure)
			}
		}
		report.printf("\n")
	}
	return report.err
}
