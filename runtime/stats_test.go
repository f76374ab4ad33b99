package cacheruntime

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

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
		posts := Counts{Hits: 2, Misses: 1, Skipped: 1, Bypassed: 1, Loads: 1, LoadTime: 1500 * time.Microsecond}
		author := Counts{NegativeHits: 2, Misses: 1, Loads: 1}
		total := Counts{Hits: 2, NegativeHits: 2, Misses: 2, Skipped: 1, Bypassed: 1, Loads: 2, LoadTime: 1500 * time.Microsecond, Invalidations: Invalidations{Writes: 1, ByHand: 1}}
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
		const table = `  hits  negative  misses  joined  ratio  loads  errors  mean load  skipped  bypassed  overtaken  invalidations  method
     0         2       1       0  66.7%      1       0         0s        0         0          0              0  blog.AuthorRepository.Author
     2         0       1       0  66.7%      1       0      1.5ms        1         1          0              0  blog.PostRepository.Post
     0         0       0       0      -      0       0          -        0         0          0              1  blog.PostRepository.Update
     2         2       2       0  66.7%      2       0      750µs        1         1          0              2  total
store: 2 entries, 4096 bytes, 0 evictions, 0 errors, 0 undecodable, 3 unencodable, 0 undecided
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
	want := Counts{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, Invalidations{18, 19, 20, 21, 22, 23, 24}}
	got := stats.counts()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var sum Counts
	sum.add(got)
	if diff := cmp.Diff(want, sum); diff != "" {
		t.Error(diff)
	}
	for outcome, what := range map[Outcome]count{
		Hit: countHits, NegativeHit: countNegativeHits, Miss: countMisses,
		Stale: countStale, Joined: countJoined, Skipped: countSkipped, Bypassed: countBypassed,
	} {
		if outcomeCount(outcome) != what {
			t.Errorf("%s is counted as %d", outcome, outcomeCount(outcome))
		}
	}
}
