// Package stress runs a generated wrapper hard: many goroutines read and write at
// random, on real time and real cores, while loads and stores fail and are slow,
// writes are in doubt and memory is short; and every answer is judged.
//
// The repository here uses most of the directive language. What is in front of it is
// the wrapper that the generator writes, and behind it, in the tests, a database
// that numbers its commits.
package stress

import (
	"context"
	"errors"
)

//go:generate go run github.com/cachegen/cachegen/cmd/cachegen

// ErrNotFound says that there is no such post.
var ErrNotFound = errors.New("no such post")

// A Post is a row, with the number of the commit that made it so.
type Post struct {
	ID      int64
	Author  int64
	Version int64
	Body    string
	Words   []string
	Locale  string // of a translation
	List    int64  // of a post in the list of its author: the version of the list
	From    int64  // of a post that is moved: its author before
}

// A Tally is how many posts an author has, with the version of the list of them.
type Tally struct {
	Author  int64
	Posts   int
	Version int64
}

// Posts keeps posts and what is derived from them.
//
//cache:repository ttl=150ms jitter=20%
//cache:tag post(id int64)
//cache:tag author(id int64)
type Posts interface {
	// Post returns one post, refreshed before it expires.
	//
	//cache:read ttl=40ms refresh=1
	//cache:depends post(id)
	//cache:negative ErrNotFound ttl=20ms
	Post(ctx context.Context, id int64) (Post, error)

	// Find returns a post or nil, and an expired one if the database is slow.
	//
	//cache:read ttl=15ms stale=1h soft=500us hard=20ms
	//cache:depends post(id)
	//cache:negative nil
	Find(ctx context.Context, id int64) (*Post, error)

	// Digest returns what Post says: its load reads through the cache.
	//
	//cache:read
	//cache:depends post(id)
	//cache:negative ErrNotFound
	Digest(ctx context.Context, id int64) (Post, error)

	// Translated returns a post or nil in the locale of the context.
	//
	//cache:read share ttl=forever
	//cache:vary locale(ctx)
	//cache:depends post(id)
	Translated(ctx context.Context, id int64) (*Post, error)

	// Plain returns a post or nil. It is not cached if it is to be fresh, and odd
	// versions are not stored.
	//
	//cache:read
	//cache:depends post(id)
	//cache:unless fresh
	//cache:when result.Version%2 == 0
	Plain(ctx context.Context, id int64, fresh bool) (*Post, error)

	// ByAuthor lists the posts of an author.
	//
	//cache:read stale=1h soft=1ms
	//cache:depends author(authorID), post(result[*].ID)
	ByAuthor(ctx context.Context, authorID int64) ([]Post, error)

	// All lists all posts.
	//
	//cache:read refresh=2
	//cache:depends post(*)
	All(ctx context.Context) ([]*Post, error)

	// Tally counts the posts of an author. Writes invalidate it by its name.
	//
	//cache:read
	Tally(ctx context.Context, authorID int64) (Tally, error)

	// Posts returns those of the posts that exist.
	//
	//cache:read
	//cache:batch Post(ids) size=3
	Posts(ctx context.Context, ids []int64) (map[int64]Post, error)

	// FindAll returns those of the posts that exist, in the order of the ids.
	//
	//cache:read hard=30ms
	//cache:batch Find(ids) by=ID
	FindAll(ctx context.Context, ids []int64) ([]*Post, error)

	// Insert makes a post and fills in its ID.
	//
	//cache:write
	//cache:invalidates post(p.ID), author(p.Author), Tally(p.Author)
	Insert(ctx context.Context, p *Post) error

	// Update changes a post, and returns what it has become.
	//
	//cache:write
	//cache:invalidates post(id), Tally(result.Author)
	//cache:reload Tally(result.Author)
	Update(ctx context.Context, id int64) (*Post, error)

	// Move gives a post to p.Author, and fills in p.From.
	//
	//cache:write
	//cache:invalidates post(p.ID), author(p.Author), Tally(p.Author), Tally(p.From)
	Move(ctx context.Context, p *Post) error

	// Touch changes all of those posts that exist.
	//
	//cache:write
	//cache:invalidates post(ids[*]), Tally(*)
	Touch(ctx context.Context, ids []int64) error

	// Delete removes a post, and returns what it was.
	//
	//cache:write
	//cache:invalidates post(id), Tally(result.Author)
	Delete(ctx context.Context, id int64) (Post, error)

	// Ping asks for nothing.
	//
	//cache:bypass
	Ping(ctx context.Context) error
}

type localeKey struct{}

// withLocale returns a context in which posts are translated.
func withLocale(ctx context.Context, locale string) context.Context {
	return context.WithValue(ctx, localeKey{}, locale)
}

func locale(ctx context.Context) string {
	s, _ := ctx.Value(localeKey{}).(string)
	return s
}
