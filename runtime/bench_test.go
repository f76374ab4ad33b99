package cacheruntime

import (
	"context"
	"sync/atomic"
	"testing"
)

func benchPosts(b *testing.B, opts ...Option) *posts {
	r := newPosts(b, nil, opts...)
	r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	r.dependsResult = func(p *post) []Tag { return []Tag{authorTag(p.Author)} }
	r.set(post{ID: 7, Author: 3, Title: "On caching what changes"})
	if _, err := r.get(b.Context(), 7); err != nil {
		b.Fatal(err)
	}
	return r
}

// BenchmarkHit is a hit of a small struct behind a pointer; BenchmarkBareGet is
// the store's own look-up of the same entry.
func BenchmarkHit(b *testing.B) {
	r := benchPosts(b)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if p, err := r.get(ctx, 7); err != nil || p.ID != 7 {
			b.Fatal(p, err)
		}
	}
}

func BenchmarkHitParallel(b *testing.B) {
	r := benchPosts(b)
	ctx := context.Background()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if p, err := r.get(ctx, 7); err != nil || p.ID != 7 {
				b.Error(p, err)
				return
			}
		}
	})
}

// BenchmarkHitObserved is a hit of which an observer is told that counts.
func BenchmarkHitObserved(b *testing.B) {
	var told atomic.Uint64
	r := benchPosts(b, WithObserver(observerFunc(func(context.Context, Event) { told.Add(1) })))
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if p, err := r.get(ctx, 7); err != nil || p.ID != 7 {
			b.Fatal(p, err)
		}
	}
	if told.Load() < uint64(b.N) {
		b.Errorf("told %d times of %d hits", told.Load(), b.N)
	}
}

// BenchmarkCount is what counting adds to a hit; in parallel the cores must not
// slow each other down.
func BenchmarkCount(b *testing.B) {
	m := newMethodStats(methodName{}, nil)
	b.RunParallel(func(pb *testing.PB) {
		stripe := keyStripes.Add(1)
		for pb.Next() {
			m.add(stripe, countHits, 1)
		}
	})
}

func BenchmarkBareGet(b *testing.B) {
	r := benchPosts(b)
	key := r.read.Key(b.Context())
	defer key.Release()
	key.Int(7)
	name := string(key.buf)
	bare := r.cache.store.(*bigcacheStore).cache.Load()
	b.ReportAllocs()
	for b.Loop() {
		if entry, err := bare.Get(name); err != nil || len(entry) == 0 {
			b.Fatal(entry, err)
		}
	}
}

func BenchmarkMiss(b *testing.B) {
	r := benchPosts(b)
	ctx := Refresh(context.Background())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.get(ctx, 7); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	r := benchPosts(b)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		_, call := r.update.BeginAnyway(ctx, func(tags *Tags) { tags.Add(postTag(7)) })
		call.Returned(nil)
		call.End()
	}
}

func BenchmarkTag(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		postTag(7)
	}
}

// BenchmarkBatchHits is a batch of ten hits.
func BenchmarkBatchHits(b *testing.B) {
	m := newManyPosts(b, nil, BatchConfig{})
	ids := []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	if _, err := m.getAll(b.Context(), ids...); err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if found, err := m.getAll(ctx, ids...); err != nil || len(found) != len(ids) {
			b.Fatal(found, err)
		}
	}
}
