package blog

import "context"

// A ReportRepository answers questions about the blog as a whole. It writes
// nothing: what it reads is made stale by the writes of the other repositories.
// Nothing here depends on the language of the visitor.
//
// Each of its answers takes a look at all posts, and the more there are the
// longer it takes. So it is loaded again in the background before it expires,
// the earlier the longer it takes, and a figure of yesterday will do for those
// who would have to wait for it.
//
//cache:repository ttl=1h stale=24h soft=50ms refresh=1
type ReportRepository interface {
	// Totals returns the figures of the whole blog.
	//
	//cache:read
	//cache:depends Feed, Author(*), Discussion(*)
	Totals(ctx context.Context) (Totals, error)

	// Count returns how many published posts the filter selects.
	//
	//cache:read
	//cache:depends Feed
	Count(ctx context.Context, filter Filter) (int, error)

	// Archive returns how many posts were published in each month. Callers
	// only read the map, so those who wait for one load may share it.
	//
	//cache:read share
	//cache:depends Feed
	Archive(ctx context.Context) (map[Month]int, error)
}
