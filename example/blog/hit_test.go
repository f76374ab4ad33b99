package blog_test

import (
	"context"
	"testing"
	"time"

	"github.com/allegro/bigcache/v3"

	"github.com/cachegen/cachegen/example/blog"
	"github.com/cachegen/cachegen/example/internal/sample"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// mainReads are the reads that are measured, and how many allocations the
// result of each takes, whoever makes it.
var mainReads = []struct {
	name   string
	allocs float64
	call   func(context.Context, repositories) error
}{
	{"posts.ByID", 2, func(ctx context.Context, r repositories) error { // the post, its topics
		_, err := r.posts.ByID(ctx, 1)
		return err
	}},
	{"posts.List", 6, func(ctx context.Context, r repositories) error { // the list, topics of five
		_, err := r.posts.List(ctx, history, blog.Page{Number: 1, Size: 5})
		return err
	}},
	{"posts.ByAuthor", 5, func(ctx context.Context, r repositories) error { // the list, topics of four
		_, err := r.posts.ByAuthor(ctx, sample.Ada, blog.Page{Number: 1, Size: 5})
		return err
	}},
	{"authors.ByEmail", 1, func(ctx context.Context, r repositories) error { // the author
		_, err := r.authors.ByEmail(ctx, "ada@example.com")
		return err
	}},
	{"comments.ByPost", 2, func(ctx context.Context, r repositories) error { // the list, the reply's ReplyTo
		_, err := r.comments.ByPost(ctx, 1, blog.Page{Number: 1, Size: 5})
		return err
	}},
	{"reports.Totals", 0, func(ctx context.Context, r repositories) error {
		_, err := r.reports.Totals(ctx)
		return err
	}},
	{"reports.Count", 0, func(ctx context.Context, r repositories) error {
		_, err := r.reports.Count(ctx, graces)
		return err
	}},
}

var (
	january = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	history = blog.Filter{Topics: []string{"history"}, From: january}
	graces  = blog.Filter{Authors: []int64{sample.Grace}}
)

// BenchmarkHit measures reads that are answered from the cache, each beside the
// bare store with the very same entry, and beside the database.
func BenchmarkHit(b *testing.B) {
	direct := database(b)
	hot := cached(b, direct)
	for _, read := range mainReads {
		b.Run(read.name+"/cached", func(b *testing.B) {
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				if err := read.call(ctx, hot); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(read.name+"/bigcache", func(b *testing.B) {
			bare, key := bareStore(b, direct, read.call)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bare.Get(key); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(read.name+"/database", func(b *testing.B) {
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				if err := read.call(ctx, direct); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// bareStore returns a bigcache that holds the entry of a read, and its key.
func bareStore(tb testing.TB, direct repositories, read func(context.Context, repositories) error) (*bigcache.BigCache, string) {
	tb.Helper()
	spy := &spyStore{}
	if err := read(tb.Context(), cached(tb, direct, cacheruntime.WithStore(spy))); err != nil {
		tb.Fatal(err)
	}
	if spy.entry == nil {
		tb.Fatal("nothing was stored")
	}
	config := bigcache.DefaultConfig(time.Hour)
	config.CleanWindow = 0 // no goroutine that removes what has expired
	config.MaxEntriesInWindow = 1024
	bare, err := bigcache.New(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { bare.Close() })
	if err := bare.Set(spy.key, spy.entry); err != nil {
		tb.Fatal(err)
	}
	return bare, spy.key
}

// A spyStore keeps nothing, but remembers the last entry it was given.
type spyStore struct {
	key   string
	entry []byte
}

func (s *spyStore) Get(string) ([]byte, bool, error) { return nil, false, nil }

func (s *spyStore) Set(key string, entry []byte) error {
	s.key, s.entry = key, entry
	return nil
}

func (s *spyStore) Reset() error { return nil }
func (s *spyStore) Close() error { return nil }
