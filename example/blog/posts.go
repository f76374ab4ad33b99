package blog

import (
	"context"
	"time"
)

// A PostRepository keeps the posts.
//
// Titles and bodies come in the language of the visitor (see Locale), so the
// language is part of every key. Drafts exist for editors only (see Editor),
// and what an editor reads is not cached.
//
// A blog whose database is down is still a blog: for an hour after an entry has
// expired it is served if its load fails. That is about failures only. An answer
// that happens to be an error, ErrNotFound, is declared negative, so that a post
// which has gone is never served in its place. And nobody stares at an empty page
// for more than two seconds.
//
//cache:repository ttl=10m jitter=10% stale=1h hard=2s
//cache:vary Locale(ctx)
//cache:tag Post(id int64)
//cache:tag Feed
type PostRepository interface {
	// ByID returns a post, or ErrNotFound.
	//
	//cache:read
	//cache:depends Post(id), Author(result.AuthorID)
	//cache:negative ErrNotFound ttl=5m
	//cache:unless Editor(ctx)
	ByID(ctx context.Context, id int64) (*Post, error)

	// ByIDs returns those of the posts that exist, in the order of the IDs: the
	// full texts of a feed, or what is related to a post. They are the entries
	// of ByID, so the feed costs only what nobody has read yet.
	//
	//cache:read
	//cache:batch ByID(ids) by=ID size=50
	ByIDs(ctx context.Context, ids []int64) ([]*Post, error)

	// List returns a page of the posts that the filter selects, the latest
	// first. Few visitors go beyond page 10, so those pages are not cached. The
	// front page is a list, and is there at once: where an expired one is at
	// hand, nobody waits more than a tenth of a second for a slow database.
	//
	//cache:read soft=100ms
	//cache:depends Feed, Post(result[*].ID), Author(result[*].AuthorID)
	//cache:when page.Number <= 10
	//cache:unless Editor(ctx)
	List(ctx context.Context, filter Filter, page Page) ([]Headline, error)

	// ByAuthor returns a page of an author's posts, the latest first.
	//
	//cache:read
	//cache:depends Author(author), Post(result[*].ID)
	//cache:unless Editor(ctx)
	ByAuthor(ctx context.Context, author int64, page Page) ([]Headline, error)

	// Search returns a page of the posts whose title or body contains the
	// query. The trace ID is for the database's log. A change to any post may
	// make it match, so the result depends on all of them; one or two letters,
	// and queries that find nothing, are not worth an entry. Nobody is served
	// what a search found an hour ago.
	//
	//cache:read ttl=1m stale=0s
	//cache:ignore traceID
	//cache:depends Post(*), Author(*)
	//cache:when len(query) >= 3 && !Editor(ctx)
	//cache:unless len(result) == 0
	Search(ctx context.Context, query string, page Page, traceID string) ([]Headline, error)

	// Featured returns the post on the front page, or nil if there is none.
	// It is cached for as long as it stays there, and stays a little longer if
	// the database is down or slow.
	//
	//cache:read ttl=(time.Until(result.Until)) soft=100ms
	//cache:depends Post(result.Post.ID), Author(result.Post.AuthorID)
	//cache:negative nil ttl=1m
	Featured(ctx context.Context) (*Feature, error)

	// Create stores a new post and fills in its ID. A post without a time of
	// publication is a draft.
	//
	//cache:write
	//cache:invalidates Post(p.ID), Feed, ByAuthor(p.AuthorID, *)
	Create(ctx context.Context, p *Post) error

	// Edit replaces the text of a post in the language of the visitor. The
	// post stays in the same lists at the same place.
	//
	//cache:write
	//cache:invalidates Post(id)
	Edit(ctx context.Context, id int64, title, body string) error

	// Publish publishes a draft and returns its author.
	//
	//cache:write
	//cache:invalidates Post(id), Feed, ByAuthor(author, *)
	Publish(ctx context.Context, id int64, at time.Time) (author int64, err error)

	// Move makes another author the author of a post and returns the former.
	//
	//cache:write
	//cache:invalidates Post(id), Feed, ByAuthor(from, *), ByAuthor(to, *)
	Move(ctx context.Context, id, to int64) (from int64, err error)

	// Feature puts a published post on the front page in place of the one
	// there. The front page asks for it all the time, so it is loaded again
	// before Feature returns (in the language of the caller), and no visitor
	// waits for that.
	//
	//cache:write
	//cache:invalidates Featured()
	//cache:reload Featured()
	Feature(ctx context.Context, id int64, until time.Time) error

	// Delete deletes posts with their comments, and returns their authors.
	// Posts that do not exist are passed over.
	//
	//cache:write
	//cache:invalidates Post(ids[*]), Discussion(ids[*]), Feed, ByAuthor(authors[*], *)
	Delete(ctx context.Context, ids ...int64) (authors []int64, err error)

	// Export calls yield with every published post, in the order of their IDs,
	// until it returns an error.
	//
	//cache:bypass
	Export(ctx context.Context, yield func(*Post) error) error
}
