package annotations

import "testing"

func TestFirst(t *testing.T) {
	p := checkOne(t, `// Package blog.
package blog

import ("context"; "time"; "errors")

var ErrNotFound = errors.New("x")

type Post struct { ID, AuthorID int64; Title string; tags []string; At time.Time; Parent *Post }

// PostRepository is posts.
//
//cache:repository ttl=10m jitter=10%
//cache:tag post(id int64)
//cache:tag author(id int64)
//cache:tag feed
//cache:import str "strings"
type PostRepository interface {
	// Post returns.
	//
	//cache:read
	//cache:depends post(id), author(result.AuthorID)
	//cache:negative ErrNotFound ttl=30s
	Post(ctx context.Context, id int64) (*Post, error)

	//cache:read ttl=(time.Duration(limit)*time.Minute) share
	//cache:depends author(author), post(result[*].ID), post(result[*].Parent.ID)
	//cache:key author, str.ToLower(lang), limit
	//cache:unless limit > 100
	ByAuthor(ctx context.Context, author int64, lang string, limit int) (posts []*Post, err error)

	//cache:write
	//cache:invalidates post(p.ID), author(*), ByAuthor(p.AuthorID, *, *), feed, post(ids[*])
	Update(ctx context.Context, p *Post, ids ...int64) error

	//cache:read
	//cache:depends feed
	Count(ctx context.Context) (int, error)

	//cache:bypass
	Ping() error
}
`)
	t.Log("\n" + p.String())
}
