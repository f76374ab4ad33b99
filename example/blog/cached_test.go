package blog_test

import (
	"path/filepath"
	"testing"

	"github.com/cachegen/cachegen/example/blog"
	"github.com/cachegen/cachegen/example/blog/sqlite"
	"github.com/cachegen/cachegen/example/internal/sample"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

// repositories are those of a blog.
type repositories struct {
	posts    blog.PostRepository
	authors  blog.AuthorRepository
	comments blog.CommentRepository
	reports  blog.ReportRepository
}

// database returns the repositories of a database with the sample blog.
func database(tb testing.TB) repositories {
	tb.Helper()
	db, err := sqlite.Open(tb.Context(), filepath.Join(tb.TempDir(), "blog.db"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	if err := sample.Fill(tb.Context(), db.Posts(), db.Authors(), db.Comments()); err != nil {
		tb.Fatal(err)
	}
	return repositories{db.Posts(), db.Authors(), db.Comments(), db.Reports()}
}

// cached puts a new cache in front of the repositories.
func cached(tb testing.TB, next repositories, opts ...cacheruntime.Option) repositories {
	tb.Helper()
	cache, err := cacheruntime.New(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := cache.Close(); err != nil {
			tb.Error(err)
		}
	})
	return wrapped(next, cache)
}

// wrapped returns the repositories behind a cache.
func wrapped(next repositories, cache *cacheruntime.Cache) repositories {
	return repositories{
		blog.NewCachedPostRepository(next.posts, cache),
		blog.NewCachedAuthorRepository(next.authors, cache),
		blog.NewCachedCommentRepository(next.comments, cache),
		blog.NewCachedReportRepository(next.reports, cache),
	}
}

// standing makes the time stand still, so that a machine that is busy costs nobody
// their patience.
func standing() cacheruntime.Option { return cacheruntime.WithClock(cachetest.NewClock()) }
