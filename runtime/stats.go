package cacheruntime

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// Counts is what happened, as numbers since the cache was made. Every call of a
// read is one of Hits, SharedHits, NegativeHits, Stale, Misses, Joined, Reloads, Skipped and
// Bypassed; of a batch, every id is.
type Counts struct {
	Hits          uint64        // answered from the cache
	SharedHits    uint64        // answered from the tier that processes share
	NegativeHits  uint64        // answered from the cache with an error or a nil pointer
	Stale         uint64        // answered with an expired value, because the load failed or took too long
	Misses        uint64        // loaded
	Joined        uint64        // answered by a load that another call started
	Reloads       uint64        // loaded after a write, for those to come; no part of the hit ratio
	Skipped       uint64        // not cached: a condition, a key that failed and the like
	Bypassed      uint64        // see Bypass; also calls after Close
	Loads         uint64        // calls of the repository to fill the cache, those that are under way included
	Refreshes     uint64        // loads in the background, before the entry expired
	LoadErrors    uint64        // loads that panicked or returned an error, other than a negative one
	LoadTime      time.Duration // of all loads together that have ended; the Sum of LoadTimes
	LoadTimes     Histogram     // of the loads that have ended
	Overtaken     uint64        // results not stored because of an invalidation during their load
	StoreErrors   uint64        // failures of the store
	SharedMisses  uint64        // entries that the tier which processes share did not have, or not valid
	SharedErrors  uint64        // failures of that tier, its log left out
	Undecodable   uint64        // entries that were damaged
	Unencodable   uint64        // results that could not be encoded
	Undecided     uint64        // results whose tags, lifetime or condition could not be evaluated
	Refused       uint64        // guarded writes and commits that were not begun: see [ErrRefused]
	Marks         uint64        // times that tags were marked: writes in progress or in doubt
	Evictions     uint64        // entries that the embedded store gave up for lack of space: see [WithMaxBytes]
	Invalidations Invalidations // steps in which tags were invalidated
}

// Invalidations are numbers of steps in which tags were invalidated, by cause.
type Invalidations struct {
	Writes       uint64 // a write that succeeded
	Failed       uint64 // a write that returned an error and certainly changed nothing any more
	Ambiguous    uint64 // a write, or the commit of a transaction, that may still change something
	Transactions uint64 // the end of a transaction
	Leases       uint64 // the end of a lease on tags that a write had marked
	ByHand       uint64 // Cache.Invalidate, generated or not
	Clears       uint64 // Cache.Clear
}

// Total is the number of all of them.
func (i Invalidations) Total() uint64 {
	return i.Writes + i.Failed + i.Ambiguous + i.Transactions + i.Leases + i.ByHand + i.Clears
}

// HitRatio is the part of cached calls that was answered from the cache: 0 to 1,
// and 0 without any call.
func (c Counts) HitRatio() float64 {
	hits := c.Hits + c.SharedHits + c.NegativeHits
	all := hits + c.Stale + c.Misses + c.Joined
	if all == 0 {
		return 0
	}
	return float64(hits) / float64(all)
}

func (c *Counts) add(d Counts) {
	c.Hits += d.Hits
	c.SharedHits += d.SharedHits
	c.NegativeHits += d.NegativeHits
	c.Stale += d.Stale
	c.Misses += d.Misses
	c.Joined += d.Joined
	c.Reloads += d.Reloads
	c.Skipped += d.Skipped
	c.Bypassed += d.Bypassed
	c.Loads += d.Loads
	c.Refreshes += d.Refreshes
	c.LoadErrors += d.LoadErrors
	c.LoadTime += d.LoadTime
	c.LoadTimes.add(d.LoadTimes)
	c.Overtaken += d.Overtaken
	c.StoreErrors += d.StoreErrors
	c.SharedMisses += d.SharedMisses
	c.SharedErrors += d.SharedErrors
	c.Undecodable += d.Undecodable
	c.Unencodable += d.Unencodable
	c.Undecided += d.Undecided
	c.Refused += d.Refused
	c.Marks += d.Marks
	c.Evictions += d.Evictions
	c.Invalidations.add(d.Invalidations)
}

func (i *Invalidations) add(j Invalidations) {
	i.Writes += j.Writes
	i.Failed += j.Failed
	i.Ambiguous += j.Ambiguous
	i.Transactions += j.Transactions
	i.Leases += j.Leases
	i.ByHand += j.ByHand
	i.Clears += j.Clears
}

// Stats is what a cache did since it was made. Numbers of calls that are under
// way may be there in part.
type Stats struct {
	Counts                // of all methods, and of what belongs to none
	Methods []MethodStats // sorted by repository and method
	Store   StoreStats    // zero if the store does not report it
	Shared  SharedStats   // zero without [WithShared]

	LoadsRunning int // now
	LoadsWaiting int // now, for loads that are running: see [WithMaxLoads]
}

// MethodStats is what happened in one method.
type MethodStats struct {
	Repository string // "example.com/blog.PostRepository"
	Method     string
	Counts
}

// Stats returns what the cache did so far.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	methods := make([]*methodStats, 0, len(c.methods))
	for _, m := range c.methods {
		methods = append(methods, m)
	}
	c.mu.Unlock()

	stats := Stats{Counts: c.byHand.counts()}
	for _, m := range methods {
		counts := m.counts()
		stats.Counts.add(counts)
		stats.Methods = append(stats.Methods, MethodStats{m.repository, m.method, counts})
	}
	slices.SortFunc(stats.Methods, func(a, b MethodStats) int {
		return cmp.Or(strings.Compare(a.Repository, b.Repository), strings.Compare(a.Method, b.Method))
	})
	if reporter, ok := c.store.(StoreReporter); ok {
		stats.Store = reporter.StoreStats()
	}
	if c.log != nil {
		stats.Shared = c.log.stats()
	}
	stats.LoadsRunning = int(c.loadsRunning.Load())
	stats.LoadsWaiting = int(c.loadsWaiting.Load())
	return stats
}

// A column is one of the table for people.
type column struct {
	title string
	cell  func(Counts) string
}

// numbers is a column of a count, which is left out if there is none at all.
func numbers(title string, n func(Counts) uint64) column {
	return column{title, func(c Counts) string {
		if n := n(c); n > 0 {
			return strconv.FormatUint(n, 10)
		}
		return ""
	}}
}

// quantiles is a column of the times that loads took.
func quantiles(title string, q float64) column {
	return column{title, func(c Counts) string {
		if c.LoadTimes.Count() == 0 {
			return ""
		}
		return roundTime(c.LoadTimes.Quantile(q)).String()
	}}
}

var columns = []column{
	numbers("hits", func(c Counts) uint64 { return c.Hits }),
	numbers("shared", func(c Counts) uint64 { return c.SharedHits }),
	numbers("negative", func(c Counts) uint64 { return c.NegativeHits }),
	numbers("stale", func(c Counts) uint64 { return c.Stale }),
	numbers("misses", func(c Counts) uint64 { return c.Misses }),
	numbers("joined", func(c Counts) uint64 { return c.Joined }),
	{"ratio", func(c Counts) string {
		if c.Hits+c.SharedHits+c.NegativeHits+c.Stale+c.Misses+c.Joined == 0 {
			return ""
		}
		return fmt.Sprintf("%.1f%%", 100*c.HitRatio())
	}},
	numbers("loads", func(c Counts) uint64 { return c.Loads }),
	numbers("errors", func(c Counts) uint64 { return c.LoadErrors }),
	quantiles("p50", 0.5),
	quantiles("p99", 0.99),
	numbers("overtaken", func(c Counts) uint64 { return c.Overtaken }),
	numbers("evicted", func(c Counts) uint64 { return c.Evictions }),
	numbers("skipped", func(c Counts) uint64 { return c.Skipped }),
	numbers("bypassed", func(c Counts) uint64 { return c.Bypassed }),
	numbers("invalidations", func(c Counts) uint64 { return c.Invalidations.Total() }),
}

// String renders the stats as a table for people. What is 0 in all methods is left
// out.
func (s Stats) String() string {
	shown := slices.DeleteFunc(slices.Clone(columns), func(c column) bool { return c.cell(s.Counts) == "" })
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, cell func(column) string) {
		for _, c := range shown {
			fmt.Fprint(w, cell(c), "\t")
		}
		fmt.Fprintln(w, "  "+name)
	}
	row("method", func(c column) string { return c.title })
	for _, m := range s.Methods {
		row(shortName(m.Repository)+"."+m.Method, func(c column) string { return cmp.Or(c.cell(m.Counts), "-") })
	}
	row("total", func(c column) string { return c.cell(s.Counts) })
	w.Flush()
	writeNumbers(&b, "store", []number{
		{s.Store.Entries, plural(s.Store.Entries, "entry", "entries")},
		{s.Store.Bytes, plural(s.Store.Bytes, "byte", "bytes")},
		{s.Store.Evictions, plural(s.Store.Evictions, "eviction", "evictions")},
	})
	i := s.Invalidations
	writeNumbers(&b, "loads", []number{
		{uint64(s.LoadsRunning), "running"}, {uint64(s.LoadsWaiting), "waiting"}, {s.Refreshes, plural(s.Refreshes, "early refresh", "early refreshes")}, {s.Reloads, "after writes"},
	})
	writeNumbers(&b, "invalidations", []number{
		{i.Writes, "by writes"}, {i.Failed, "by failed writes"}, {i.Ambiguous, "by ambiguous writes"},
		{i.Transactions, "by transactions"}, {i.Leases, "by leases"}, {i.ByHand, "by hand"}, {i.Clears, "of everything"},
	})
	writeNumbers(&b, "marks", []number{{s.Marks, "for writes in progress or in doubt"}})
	if s.Shared != (SharedStats{}) {
		state := "current"
		if !s.Shared.Current {
			state = "cut off"
			if s.Shared.Behind > 0 {
				state += " for " + roundTime(s.Shared.Behind).String()
			}
		}
		fmt.Fprintf(&b, "shared: %s at position %d, %d appended, %d applied", state, s.Shared.Position, s.Shared.Appended, s.Shared.Applied)
		for _, n := range []number{
			{s.Shared.Epochs, plural(s.Shared.Epochs, "epoch", "epochs")}, {uint64(s.Shared.Queued), "queued"},
			{s.Shared.Undelivered, "not delivered at once"}, {s.Shared.Failures, plural(s.Shared.Failures, "failure", "failures")},
		} {
			if n.n > 0 {
				fmt.Fprintf(&b, ", %d %s", n.n, n.what)
			}
		}
		b.WriteByte('\n')
	}
	writeNumbers(&b, "problems", []number{
		{s.Refused, plural(s.Refused, "refused write", "refused writes")},
		{s.SharedErrors, plural(s.SharedErrors, "shared tier error", "shared tier errors")},
		{s.StoreErrors, plural(s.StoreErrors, "store error", "store errors")}, {s.Undecodable, "undecodable"}, {s.Unencodable, "unencodable"}, {s.Undecided, "undecided"},
	})
	return b.String()
}

type number struct {
	n    uint64
	what string
}

// plural is the word for n of something.
func plural(n uint64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// writeNumbers writes a line of those numbers that are not 0, if there are any.
func writeNumbers(b *strings.Builder, title string, numbers []number) {
	separator := title + ": "
	for _, n := range numbers {
		if n.n > 0 {
			fmt.Fprintf(b, "%s%d %s", separator, n.n, n.what)
			separator = ", "
		}
	}
	if separator == ", " {
		b.WriteByte('\n')
	}
}

// A count is one of the numbers in Counts.
type count int

const (
	countHits count = iota
	countSharedHits
	countNegativeHits
	countStale
	countMisses
	countJoined
	countReloads
	countSkipped
	countBypassed
	countLoads
	countRefreshes
	countLoadErrors
	countLoadTime
	countOvertaken
	countStoreErrors
	countSharedMisses
	countSharedErrors
	countUndecodable
	countUnencodable
	countUndecided
	countRefused
	countMarks
	countEvictions
	countWriteInvalidations
	countFailedInvalidations
	countAmbiguousInvalidations
	countTransactionInvalidations
	countLeaseInvalidations
	countByHandInvalidations
	countClears
	countsLen
)

// methodStats counts for one method. The numbers are spread over stripes, so
// that cores which count at the same time do not share a cache line.
type methodStats struct {
	methodName
	observer  *observers // nil if there is none
	stripes   []stripe   // a power of two of them
	loadTimes histogramCounters
}

type stripe struct {
	n [countsLen]atomic.Uint64
	_ [256 - 8*countsLen]byte
}

const maxStripes = 64

func newMethodStats(name methodName, observer *observers) *methodStats {
	n := min(maxStripes, 1<<bits.Len(uint(runtime.GOMAXPROCS(0)-1)))
	return &methodStats{methodName: name, observer: observer, stripes: make([]stripe, n)}
}

// add counts on one of the stripes: any number will do, best one that is
// different on every core.
func (m *methodStats) add(on uint32, what count, n uint64) {
	m.stripes[on&uint32(len(m.stripes)-1)].n[what].Add(n)
}

// note counts something on one of the stripes and tells the observers.
func (m *methodStats) note(ctx context.Context, on uint32, what count, e Event) {
	m.add(on, what, 1)
	m.tell(ctx, e)
}

// tell tells the observers, if there are any.
func (m *methodStats) tell(ctx context.Context, e Event) {
	if m.observer == nil {
		return
	}
	e.Repository, e.Method = m.repository, m.method
	m.observer.tell(ctx, e)
}

// loaded counts the end of a load, and tells the observers. The error is nil for a
// negative outcome.
func (m *methodStats) loaded(ctx context.Context, took time.Duration, err error) {
	m.add(0, countLoadTime, uint64(took))
	m.loadTimes.observe(took)
	if err != nil {
		m.add(0, countLoadErrors, 1)
	}
	m.tell(ctx, Event{Outcome: Loaded, Duration: took, Err: err})
}

func (m *methodStats) sum(what count) uint64 {
	var n uint64
	for i := range m.stripes {
		n += m.stripes[i].n[what].Load()
	}
	return n
}

func (m *methodStats) counts() Counts {
	loadTime := time.Duration(m.sum(countLoadTime))
	return Counts{
		Hits:         m.sum(countHits),
		SharedHits:   m.sum(countSharedHits),
		NegativeHits: m.sum(countNegativeHits),
		Stale:        m.sum(countStale),
		Misses:       m.sum(countMisses),
		Joined:       m.sum(countJoined),
		Reloads:      m.sum(countReloads),
		Skipped:      m.sum(countSkipped),
		Bypassed:     m.sum(countBypassed),
		Loads:        m.sum(countLoads),
		Refreshes:    m.sum(countRefreshes),
		LoadErrors:   m.sum(countLoadErrors),
		LoadTime:     loadTime,
		LoadTimes:    m.loadTimes.histogram(loadTime),
		Overtaken:    m.sum(countOvertaken),
		StoreErrors:  m.sum(countStoreErrors),
		SharedMisses: m.sum(countSharedMisses),
		SharedErrors: m.sum(countSharedErrors),
		Undecodable:  m.sum(countUndecodable),
		Unencodable:  m.sum(countUnencodable),
		Undecided:    m.sum(countUndecided),
		Refused:      m.sum(countRefused),
		Marks:        m.sum(countMarks),
		Evictions:    m.sum(countEvictions),
		Invalidations: Invalidations{
			Writes:       m.sum(countWriteInvalidations),
			Failed:       m.sum(countFailedInvalidations),
			Ambiguous:    m.sum(countAmbiguousInvalidations),
			Transactions: m.sum(countTransactionInvalidations),
			Leases:       m.sum(countLeaseInvalidations),
			ByHand:       m.sum(countByHandInvalidations),
			Clears:       m.sum(countClears),
		},
	}
}
