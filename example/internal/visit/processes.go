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
	// processes is how many there are before one more is started.
	processes = 3
	// versions is how many writes the staleness is measured by.
	versions = 50
	// visitorsEach is how many visitors of each process ask for the same page at once.
	visitorsEach = 100
)

// RunProcesses makes a visit to a blog that several processes serve. They share a
// database in a temporary file and, by way of Redis, what they have cached. It writes
// what happens to w. The error says at which step the cache was not as it should be; it
// is [ErrInterrupted] if the context ended. That something is loaded again is none if a
// process was cut off from Redis, or too busy: w is told.
func RunProcesses(ctx context.Context, w io.Writer, o ProcessOptions) (err error) {
	p, err := startChildren(ctx, o, processes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	d := &demo{parent: p, report: &report{w: w}}
	d.report.introProcesses(processes)
	if err := d.story(ctx); err != nil {
		return interrupted(ctx, err)
	}
	return d.report.err
}

// A demo is a visit to several processes.
type demo struct {
	*parent
	report *report
}

func (d *demo) story(ctx context.Context) error {
	for _, chapter := range []struct {
		title string
		tell  func(context.Context) error
	}{
		{"What one process has loaded, the others find in Redis, and then keep.", d.share},
		{"A write in one process makes stale what the others have, and nothing else.", d.write},
		{"How long does a process serve what another one has changed?", d.measureStaleness},
		{"Hundreds of visitors, in all processes, ask for a page that nobody has.", d.stampede},
		{"One more process begins with an empty memory, and hardly needs the database.", d.startOneMore},
		{"A process loses Redis: it serves what it has until D is over, then asks the database.", d.loseRedis},
	} {
		d.report.chapter(chapter.title)
		if err := chapter.tell(ctx); err != nil {
			return err
		}
		if d.report.err != nil {
			return d.report.err
		}
	}
	d.report.printf("\n    What the processes counted\n\n")
	for _, c := range d.children {
		stats, err := call[ProcessStats](ctx, c, "Stats", 0)
		if err != nil {
			return err
		}
		d.report.processStats(c.name, stats)
		if stats.Disruption != "" {
			d.report.disrupted(c.name, stats.Disruption)
		}
	}
	return nil
}

// tooFew is the error that less came from the caches than should. There is none if
// anything was disrupted in a process before: what it has not shared, others lack later.
func (d *demo) tooFew(ctx context.Context, format string, args ...any) error {
	fault := fmt.Errorf(format, args...)
	var why []string
	for _, c := range d.children {
		stats, err := call[ProcessStats](ctx, c, "Stats", 0)
		if err != nil {
			return err
		}
		if stats.Disruption != "" {
			why = append(why, fmt.Sprintf("%s was %s", c.name, stats.Disruption))
		}
	}
	if len(why) == 0 {
		return fault
	}
	d.report.excused(fault, why)
	return nil
}

// share makes all reads in one process after the other. Entries go to Redis when who
// waits for them has been answered: the next process may be too early for some.
func (d *demo) share(ctx context.Context) error {
	for i, c := range d.children {
		if i == 0 {
			if err := d.readMostly(ctx, c, miss); err != nil {
				return err
			}
			continue
		}
		result, err := d.readAll(ctx, c)
		if err != nil {
			return err
		}
		if n := result.count(cacheruntime.SharedHit); 2*n <= len(result.Events) {
			d.report.excused(fmt.Errorf("%s: %d of %d are a %v", c.name, n, len(result.Events), cacheruntime.SharedHit),
				[]string{"the others may not have been in Redis yet"})
		}
	}
	return d.readMostly(ctx, d.children[0], hit)
}

// readMostly makes all reads in a process, most of which must have that outcome.
func (d *demo) readMostly(ctx context.Context, c *child, most cacheruntime.Outcome) error {
	result, err := d.readAll(ctx, c)
	if err != nil {
		return err
	}
	if n := result.count(most); 2*n <= len(result.Events) {
		return d.tooFew(ctx, "%s: %d of %d are a %v, want most", c.name, n, len(result.Events), most)
	}
	return nil
}

// readAll makes all reads in a process that is to see all that was written.
func (d *demo) readAll(ctx context.Context, c *child) (Result, error) {
	result, err := call[Result](ctx, c, "ReadAll", time.Time{})
	if err == nil {
		d.report.allReads(c.name, result)
	}
	return result, err
}

// readAfter makes all reads in a process after something was written: in the process that
// wrote it changed is zero, and it must see it at once; in another one within D.
func (d *demo) readAfter(ctx context.Context, c *child, changed time.Time) (Result, error) {
	result, err := call[Result](ctx, c, "ReadAll", changed)
	if err != nil {
		return result, err
	}
	d.report.allReads("  "+c.name, result)
	if !result.Outdated.IsZero() {
		d.report.outdatedUntil(result.Outdated.Sub(changed))
	}
	return result, nil
}

// change makes one of the changes in a process, and waits until others can know of it.
func (d *demo) change(ctx context.Context, writer *child, name string) (delivered time.Time, err error) {
	result, err := call[Result](ctx, writer, "Write", name)
	if err != nil {
		return delivered, err
	}
	d.report.write(writer.name+": "+name, result.events(), result.Took)
	if result.Delivered.IsZero() {
		return call[time.Time](ctx, writer, "AwaitDelivery", 0)
	}
	return result.Delivered, nil
}

// write makes a change in each process, and then all reads in all of them.
func (d *demo) write(ctx context.Context) error {
	for i, name := range []string{"posts.Edit(1)", "authors.Rename(2)", "comments.Add(post 1)", "desk.Leave(3, to 1)"} {
		i %= len(d.children)
		delivered, err := d.change(ctx, d.children[i], name)
		if err != nil {
			return err
		}
		changed := time.Time{}
		for _, c := range slices.Concat(d.children[i:], d.children[:i]) {
			result, err := d.readAfter(ctx, c, changed)
			if err != nil {
				return fmt.Errorf("after %s: %w", name, err)
			}
			changed = delivered
			if result.count(hit) == 0 {
				if err := d.tooFew(ctx, "%s: nothing is left after %s", c.name, name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// measureStaleness lets one process write and all others read what it writes.
func (d *demo) measureStaleness(ctx context.Context) error {
	writer, readers := d.children[0], d.children[1:]
	type outcome struct {
		seen VersionsSeen
		err  error
	}
	reading := make([]chan outcome, len(readers))
	for i, c := range readers {
		reading[i] = make(chan outcome, 1)
		go func() {
			seen, err := call[VersionsSeen](ctx, c, "ReadVersions", versions)
			reading[i] <- outcome{seen, err}
		}()
	}
	delivered, err := call[[]time.Time](ctx, writer, "WriteVersions", versions)
	if err == nil {
		d.report.row(fmt.Sprintf("%s: %d × posts.Edit(%d)", writer.name, versions, versionedPost), "reads its own writes at once", "")
	}
	for i, c := range readers {
		o := <-reading[i]
		if err = cmp.Or(err, o.err); err != nil {
			continue
		}
		behind := staleness(delivered, o.seen)
		d.report.staleness(c.name, o.seen.Reads, behind)
		if most := slices.Max(behind); most > maxStaleness {
			err = fmt.Errorf("%s was behind by %v, more than %v", c.name, most, maxStaleness)
		}
	}
	return err
}

// staleness is, for each version, for how long after it was delivered an older one was
// read: until the last such read began.
func staleness(delivered []time.Time, seen VersionsSeen) []time.Duration {
	behind := make([]time.Duration, len(delivered))
	for version, last := range seen.Last {
		for i := version; i < len(delivered); i++ { // delivered[i] is when version i+1 was
			behind[i] = max(behind[i], last.Sub(delivered[i]))
		}
	}
	return behind
}

// stampede makes the same read many times at once in all processes.
func (d *demo) stampede(ctx context.Context) error {
	type result struct {
		loads uint64
		err   error
	}
	results := make(chan result, len(d.children))
	start := time.Now()
	for _, c := range d.children {
		go func() {
			loads, err := call[uint64](ctx, c, "Stampede", visitorsEach)
			results <- result{loads, err}
		}()
	}
	var loads uint64
	var err error
	for range d.children {
		r := <-results
		loads += r.loads
		err = errors.Join(err, r.err)
	}
	if err != nil {
		return err
	}
	d.report.stampede(newPage.name, visitorsEach*len(d.children), loads, time.Since(start))
	// One, unless Redis was too slow to say that somebody is loading it.
	switch {
	case loads == 0:
		return fmt.Errorf("%s: no load, but nobody had it", newPage.name)
	case loads > uint64(len(d.children)):
		return d.tooFew(ctx, "%s: %d loads in %d processes", newPage.name, loads, len(d.children))
	}
	return nil
}

// startOneMore starts one more process.
func (d *demo) startOneMore(ctx context.Context) error {
	took, err := d.startChild(ctx)
	if err != nil {
		return err
	}
	started := d.children[len(d.children)-1]
	d.report.row(started.name+" opens the blog", "reads the table of the log", duration(took))
	if err := d.readMostly(ctx, started, cacheruntime.SharedHit); err != nil {
		return err
	}
	return d.readMostly(ctx, started, hit)
}

// loseRedis cuts a process off from Redis, and writes on both sides of the cut.
func (d *demo) loseRedis(ctx context.Context) error {
	connected, cutOff := d.children[0], d.children[1]
	if _, err := call[int](ctx, cutOff, "Disconnect", 0); err != nil {
		return err
	}
	d.report.meanwhile(cutOff.name + " is cut off from Redis")

	// It is not told of what others write, and knows that.
	delivered, err := d.change(ctx, connected, "posts.Edit(5)")
	if err != nil {
		return err
	}
	if _, err := d.readAfter(ctx, cutOff, delivered); err != nil {
		return err
	}

	// What it writes it sees itself. The others cannot know, and serve what they have.
	const name = "authors.Rename(1)"
	written, err := call[Result](ctx, cutOff, "Write", name)
	if err != nil {
		return err
	}
	if !written.Delivered.IsZero() {
		return fmt.Errorf("%s: %s was delivered to other processes without Redis", cutOff.name, name)
	}
	d.report.write(cutOff.name+": "+name, written.events(), written.Took)
	d.report.row("", "(yet to be delivered to the others)", "")
	if _, err := d.readAfter(ctx, cutOff, time.Time{}); err != nil {
		return err
	}
	outdated, err := call[int](ctx, connected, "CountOutdated", 0)
	if err != nil {
		return err
	}
	d.report.row(fmt.Sprintf("  %s: %d reads", connected.name, len(allReads)), fmt.Sprintf("%d outdated: it is not told", outdated), "")

	took, err := call[time.Duration](ctx, cutOff, "Reconnect", 0)
	if err != nil {
		return err
	}
	reconnected := time.Now()
	d.report.meanwhile(cutOff.name + " reaches Redis again")
	d.report.row(cutOff.name, "delivers, and is current again", duration(took))
	for _, c := range d.children {
		if _, err := d.readAfter(ctx, c, reconnected); err != nil {
			return err
		}
	}
	return d.readMostly(ctx, cutOff, hit)
}

// Live lets visitors read and write at random in several processes, and writes to w
// every second what those have counted, until the context ends.
func Live(ctx context.Context, w io.Writer, o ProcessOptions) (err error) {
	p, err := startChildren(ctx, o, processes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	report := &report{w: w}
	report.introLive(processes, visitorsEach)
	for _, c := range p.children {
		if _, err := call[int](ctx, c, "Traffic", visitorsEach); err != nil {
			return interrupted(ctx, err)
		}
	}
	failing := map[*child]bool{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for report.err == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, c := range p.children {
			stats, err := call[ProcessStats](ctx, c, "Stats", 0)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				return err
			}
			report.processStats(c.name, stats)
			if stats.Failure != "" && !failing[c] {
				failing[c] = true
				report.failure(stats.Failure)
			}
		}
		report.printf("\n")
	}
	return report.err
}
