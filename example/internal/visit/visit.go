// Package visit is a scripted visit to the blog. It shows what the cache does
// at every step, and checks that it never differs from the database.
package visit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cachegen/cachegen/example/blog"
	"github.com/cachegen/cachegen/example/blog/sqlite"
	"github.com/cachegen/cachegen/example/internal/sample"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// A site is what a program knows of the blog: its repositories, with a cache in
// front of them or not.
type site struct {
	posts    blog.PostRepository
	authors  blog.AuthorRepository
	comments blog.CommentRepository
	reports  blog.ReportRepository
}

// A visit is under way. After the first failure its remaining
// steps do nothing.
type visit struct {
	db     *sqlite.DB
	cache  *cacheruntime.Cache
	posts  *blog.CachedPostRepository
	cached site
	direct site // the same repositories without the cache

	report *report
	known  []read // every read so far of which there is an entry
	err    error
}

// Run makes the visit on a database of its own in a temporary file, and writes
// what happens to w. The error says at which step the cache was not as it
// should be.
func Run(ctx context.Context, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "cachegen-example-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	db, err := sqlite.Open(ctx, filepath.Join(dir, "blog.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	cache, err := cacheruntime.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cache.Close()) }()

	v := begin(db, cache, w)
	if err := sample.Fill(ctx, v.direct.posts, v.direct.authors, v.direct.comments); err != nil {
		return fmt.Errorf("fill the database: %w", err)
	}
	v.report.intro()
	v.story(ctx)
	if v.err == nil {
		v.report.stats(cache.Stats())
	}
	return errors.Join(v.err, v.report.err)
}

// begin puts the cache in front of the database. This is all it takes.
func begin(db *sqlite.DB, cache *cacheruntime.Cache, w io.Writer) *visit {
	posts := blog.NewCachedPostRepository(db.Posts(), cache)
	authors := blog.NewCachedAuthorRepository(db.Authors(), cache)
	comments := blog.NewCachedCommentRepository(db.Comments(), cache)
	reports := blog.NewCachedReportRepository(db.Reports(), cache)
	return &visit{
		db:     db,
		cache:  cache,
		posts:  posts,
		cached: site{posts, authors, comments, reports},
		direct: site{posts.Unwrap(), authors.Unwrap(), comments.Unwrap(), reports.Unwrap()},
		report: &report{w: w},
	}
}
