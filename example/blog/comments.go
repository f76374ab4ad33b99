package blog

import "context"

// A CommentRepository keeps the comments. A page is readable without them, so
// nobody waits for them longer than a second.
//
//cache:repository ttl=5m hard=1s
//cache:tag Discussion(post int64)
type CommentRepository interface {
	// ByPost returns a page of the comments on a post, the oldest first.
	//
	//cache:read
	//cache:depends Discussion(post)
	ByPost(ctx context.Context, post int64, page Page) ([]Comment, error)

	// Counts returns how many comments each of the posts has. Posts without
	// one are left out.
	//
	//cache:read
	//cache:depends Discussion(posts[*])
	Counts(ctx context.Context, posts []int64) (map[int64]int, error)

	// Latest returns the latest comments on any post, the latest first. They
	// are on the front page, which is not to have a hole in it because the
	// database is down or slow.
	//
	//cache:read stale=1h soft=100ms
	//cache:depends Discussion(*)
	Latest(ctx context.Context, limit int) ([]Comment, error)

	// Add stores a new comment and fills in its ID.
	//
	//cache:write
	//cache:invalidates Discussion(c.PostID)
	Add(ctx context.Context, c *Comment) error

	// Remove deletes comments with the replies to them, and returns the posts
	// they were on. Comments that do not exist are passed over.
	//
	//cache:write
	//cache:invalidates Discussion(posts[*])
	Remove(ctx context.Context, ids []int64) (posts []int64, err error)
}
