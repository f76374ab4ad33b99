// Package editorial is what the editors of the blog do in several steps, of which
// all are done or none: each is a transaction of the database.
package editorial

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/cachegen/cachegen/example/blog"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/sqltx"
)

// A Desk is where editors work. Its methods may be called concurrently.
type Desk struct {
	db      *sql.DB
	cache   *cacheruntime.Cache
	posts   blog.PostRepository
	authors blog.AuthorRepository
}

// NewDesk returns a desk for a database. The repositories are those in front of
// which the cache is; behind it they keep their data in the database, and find
// the transaction in the context.
func NewDesk(db *sql.DB, cache *cacheruntime.Cache, posts blog.PostRepository, authors blog.AuthorRepository) *Desk {
	return &Desk{db, cache, posts, authors}
}

// Launch publishes a draft and puts it on the front page, until a certain time.
// There is no moment at which a visitor could see one and not the other. It
// returns blog.ErrNotFound if there is no such draft.
func (d *Desk) Launch(ctx context.Context, draft int64, at, until time.Time) error {
	return d.transact(ctx, func(ctx context.Context) error {
		if _, err := d.posts.Publish(ctx, draft, at); err != nil {
			return err
		}
		return d.posts.Feature(ctx, draft, until)
	})
}

// Leave deletes an author, all of whose posts, drafts included, go to an heir. It
// returns blog.ErrNotFound if there is no such author.
func (d *Desk) Leave(ctx context.Context, author, heir int64) error {
	if author == heir {
		return fmt.Errorf("author %d cannot inherit from themselves", author)
	}
	return d.transact(ctx, func(ctx context.Context) error {
		// What has been moved is no longer on the author's first page: inside
		// the transaction, reads see what it has written.
		first, editor := blog.Page{Number: 1, Size: 100}, blog.WithEditor(ctx)
		for {
			posts, err := d.posts.ByAuthor(editor, author, first)
			if err != nil {
				return err
			}
			if len(posts) == 0 {
				return d.authors.Delete(ctx, author)
			}
			for _, post := range posts {
				if _, err := d.posts.Move(ctx, post.ID, heir); err != nil {
					return err
				}
			}
		}
	})
}

// transact runs f in a transaction. What f writes becomes stale in the cache when
// that has ended: until then others read, and the cache has, what was there
// before.
func (d *Desk) transact(ctx context.Context, f func(context.Context) error) error {
	return sqltx.Run(ctx, d.db, d.cache, nil, func(ctx context.Context, _ *sql.Tx) error { return f(ctx) })
}
