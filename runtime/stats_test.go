package cacheruntime

import (
	"context"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// times is a histogram of durations.
func times(all ...time.Duration) Histogram {
	var h Histogram
	for _, d := range all {
		h.Sum += d
		h.Buckets[histogramBucket(d)]++
	}
	return h
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil, WithMaxBytes(minMaxBytes))
		authors := newPostsOn(r.cache, func(cfg *ReadConfig[*post]) {
			cfg.Repository = "example.com/blog.AuthorRepository"
			cfg.Method = "Author"
		})
		r.enter = func(context.Context, int64) { advance(1500 * time.Microsecond) }
		r.set(post{ID: 7})
		ctx := t.Context()
		for range 3 {
			r.title(ctx, 7)
			authors.title(ctx, 1)
		}
		r.title(Bypass(ctx), 7)
		r.read.Skip(ctx)
		r.put(ctx, post{ID: 7}, postEntry(7))
		r.cache.Invalidate(ctx, postEntry(8))

		stats := r.cache.Stats()
		posts := Counts{Hits: 2, Misses: 1, Skipped: 1, Bypassed: 1, Loads: 1, LoadTime: 1500 * time.Microsecond, LoadTimes: times(1500 * time.Microsecond)}
		author := Counts{NegativeHits: 2, Misses: 1, Loads: 1, LoadTimes: times(0)}
		total := Counts{Hits: 2, NegativeHits: 2, Misses: 2, Skipped: 1, Bypassed: 1, Loads: 2, LoadTime: 1500 * time.Microsecond, LoadTimes: times(1500*time.Microsecond, 0), Invalidations: Invalidations{Writes: 1, ByHand: 1}}
		want := Stats{
			Counts: total,
			Methods: []MethodStats{
				{"example.com/blog.AuthorRepository", "Author", author},
				{postRepository, "Post", posts},
				{postRepository, "Update", Counts{Invalidations: Invalidations{Writes: 1}}},
			},
			Store: StoreStats{Entries: 2, Bytes: stats.Store.Bytes},
		}
		if diff := cmp.Diff(want, stats); diff != "" {
			t.Error(diff)
		}
		if got := stats.HitRatio(); got != 4.0/6 {
			t.Errorf("hit ratio %v", got)
		}
		if got := (Counts{}).HitRatio(); got != 0 {
			t.Errorf("hit ratio of nothing %v", got)
		}
		stats.Store.Bytes = 4096
		stats.Unencodable = 3
		const table = `  hits  negative  misses  ratio  loads     p50     p99  skipped  bypassed  invalidations  method
     -         2       1  66.7%      1   500ns   990ns        -         -              -  blog.AuthorRepository.Author
     2         -       1  66.7%      1  1.54ms  2.04ms        1         1              -  blog.PostRepository.Post
     -         -       -      -      -       -       -        -         -              1  blog.PostRepository.Update
     2         2       2  66.7%      2     1µs  2.03ms        1         1              2  total
store: 2 entries, 4096 bytes
invalidations: 1 by writes, 1 by hand
problems: 3 unencodable
`
		if diff := cmp.Diff(table, stats.String()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestStatsOfAStoreThatDoesNotReport(t *testing.T) {
	r := newPosts(t, nil, WithStore(newMemoryStore()))
	r.title(t.Context(), 7)
	if got := r.cache.Stats().Store; got != (StoreStats{}) {
		t.Errorf("%+v", got)
	}
}

func TestCountersAreComplete(t *testing.T) {
	stats := newMethodStats(methodName{}, nil)
	for what := range countsLen {
		stats.add(uint32(what), what, uint64(what)+1) // each on another stripe, if there are several
	}
	for i := range histogramBuckets {
		stats.loadTimes[i].Store(100 + uint64(i))
	}
	got := stats.counts()
	var sum Counts
	sum.add(got)
	sum.add(got)

	// Every number has a field of its own, in the order in which they are declared.
	next := uint64(0)
	var check func(name string, got, sum reflect.Value)
	check = func(name string, got, sum reflect.Value) {
		if got.Kind() == reflect.Struct {
			for i := range got.NumField() {
				check(name+"."+got.Type().Field(i).Name, got.Field(i), sum.Field(i))
			}
			return
		}
		number := func(v reflect.Value) uint64 { return v.Convert(reflect.TypeFor[uint64]()).Uint() }
		next++
		if number(got) != next || number(sum) != 2*next {
			t.Errorf("%s is %d, and doubled %d, want %d", name, number(got), number(sum), next)
		}
	}
	times, doubled := got.LoadTimes, sum.LoadTimes
	value, valueSum := reflect.ValueOf(got), reflect.ValueOf(sum)
	for i := range value.NumField() {
		if field := value.Type().Field(i); field.Type != reflect.TypeFor[Histogram]() {
			check(field.Name, value.Field(i), valueSum.Field(i))
		}
	}
	if next != uint64(countsLen) {
		t.Errorf("%d fields, %d counters", next, countsLen)
	}
	if times.Sum != got.LoadTime || doubled.Sum != 2*got.LoadTime {
		t.Errorf("sum of load times %d, and doubled %d, want %d", times.Sum, doubled.Sum, got.LoadTime)
	}
	for i, n := range times.Buckets {
		if n != 100+uint64(i) || doubled.Buckets[i] != 2*n {
			t.Errorf("bucket %d is %d, and doubled %d", i, n, doubled.Buckets[i])
		}
	}

	for outcome, what := range map[Outcome]count{
		Hit: countHits, NegativeHit: countNegativeHits, Miss: countMisses,
		Stale: countStale, Joined: countJoined, Reloaded: countReloads, Skipped: countSkipped, Bypassed: countBypassed,
	} {
		if outcomeCount(outcome) != what {
			t.Errorf("%s is counted as %d", outcome, outcomeCount(outcome))
		}
	}
}

// TestStatsString shows every line there can be.
func TestStatsString(t *testing.T) {
	post := Counts{Hits: 120345, NegativeHits: 310, Stale: 2, Misses: 1290, Joined: 45, Skipped: 7, Bypassed: 1, Reloads: 1, Loads: 1301, Refreshes: 11, LoadErrors: 3, Overtaken: 4, Evictions: 900, Undecodable: 2}
	post.LoadTimes.Buckets[histogramBucket(time.Millisecond)] = 1290
	post.LoadTimes.Buckets[histogramBucket(time.Second)] = 11
	update := Counts{Marks: 2, Invalidations: Invalidations{Writes: 250, Failed: 3, Ambiguous: 1, Leases: 1}}
	stats := Stats{
		Methods:      []MethodStats{{postRepository, "Post", post}, {postRepository, "Update", update}},
		Store:        StoreStats{Entries: 300, Bytes: 1 << 20, Evictions: 900},
		LoadsRunning: 2,
	}
	stats.Counts.add(post)
	stats.Counts.add(update)
	stats.Invalidations.ByHand = 5
	const want = `    hits  negative  stale  misses  joined  ratio  loads  errors    p50     p99  overtaken  evicted  skipped  bypassed  invalidations  method
  120345       310      2    1290      45  98.9%   1301       3  770µs  1.02ms          4      900        7         1              -  blog.PostRepository.Post
       -         -      -       -       -      -      -       -      -       -          -        -        -         -            255  blog.PostRepository.Update
  120345       310      2    1290      45  98.9%   1301       3  770µs  1.02ms          4      900        7         1            260  total
store: 300 entries, 1048576 bytes, 900 evictions
loads: 2 running, 11 early refreshes, 1 after writes
invalidations: 250 by writes, 3 by failed writes, 1 by ambiguous writes, 1 by leases, 5 by hand
marks: 2 for writes in progress or in doubt
problems: 2 undecodable
`
	if diff := cmp.Diff(want, stats.String()); diff != "" {
		t.Error(diff)
	}
}

func TestStatsStringOfOne(t *testing.T) {
	stats := Stats{
		Counts: Counts{Refreshes: 1, StoreErrors: 1},
		Store:  StoreStats{Entries: 1, Bytes: 1, Evictions: 1},
	}
	const want = `  method
  total
store: 1 entry, 1 byte, 1 eviction
loads: 1 early refresh
problems: 1 store error
`
	if diff := cmp.Diff(want, stats.String()); diff != "" {
		t.Error(diff)
	}
}
