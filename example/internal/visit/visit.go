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
	"github.com/cachegen/cachegen/example/blog/editorial"
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
	clock  *clock // of the cache, which knows the line between cache and database
	posts  *blog.CachedPostRepository
	desk   *editorial.Desk
	cached site
	direct site // the same repositories without the cache, and without the line

	report *report
	known  []read // every read so far of which there is an entry
	err    error
}

// Run makes the visit on a database of its own in a temporary file, with a cache
// that has those options, and writes what happens to w. The error says at which
// step the cache was not as it should be; it is [ErrInterrupted] if the context ended.
func Run(ctx context.Context, w io.Writer, opts ...cacheruntime.Option) (err error) {
	dir, err := os.MkdirTemp("", "cachegen-example-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	db, err := sqlite.Open(ctx, filepath.Join(dir, "blog.db"))
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	clock := &clock{line: &line{}}
	cache, err := cacheruntime.New(append(opts, cacheruntime.WithClock(clock))...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cache.Close()) }()

	v := begin(db, cache, clock, w)
	if err := sample.Fill(ctx, v.direct.posts, v.direct.authors, v.direct.comments); err != nil {
		return interrupted(ctx, fmt.Errorf("fill the database: %w", err))
	}
	v.report.intro()
	v.story(ctx)
	if v.err == nil {
		v.report.stats(cache.Stats())
	}
	return errors.Join(interrupted(ctx, v.err), v.report.err)
}

// ErrInterrupted is the error of a visit whose context ended before it did.
var ErrInterrupted = errors.New("interrupted")

// interrupted is the error of what ended with err, which says nothing about the cache if
// the context had ended.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ErrInterrupted
	}
	return err
}

// begin puts the cache in front of the database. The wrappers are all it takes.
func begin(db *sqlite.DB, cache *cacheruntime.Cache, clock *clock, w io.Writer) *visit {
	line := clock.line
	posts := blog.NewCachedPostRepository(distantPosts{db.Posts(), line}, cache)
	authors := blog.NewCachedAuthorRepository(db.Authors(), cache)
	comments := blog.NewCachedCommentRepository(distantComments{db.Comments(), line}, cache)
	reports := blog.NewCachedReportRepository(db.Reports(), cache)
	return &visit{
		db:     db,
		cache:  cache,
		clock:  clock,
		posts:  posts,
		desk:   editorial.NewDesk(db.SQL(), cache, posts, authors),
		cached: site{posts, authors, comments, reports},
		direct: site{db.Posts(), db.Authors(), db.Comments(), db.Reports()},
		report: &report{w: w},
	}
}
