package visit

import (
	"context"
	"fmt"

	"github.com/cachegen/cachegen/example/blog"
)

// A read is a call that reads from the blog, with its arguments.
type read struct {
	name string // as shown, and unique to the arguments
	call func(context.Context, site) (any, error)
}

// pageSize is how much the visitor sees of most lists.
const pageSize = 5

func postByID(id int64) read {
	return read{fmt.Sprintf("posts.ByID(%d)", id), func(ctx context.Context, s site) (any, error) {
		return s.posts.ByID(ctx, id)
	}}
}

func postsByIDs(ids ...int64) read {
	return read{fmt.Sprintf("posts.ByIDs(%d)", ids), func(ctx context.Context, s site) (any, error) {
		return s.posts.ByIDs(ctx, ids)
	}}
}

func list(what string, filter blog.Filter, page int) read {
	return read{fmt.Sprintf("posts.List(%s, page %d)", what, page), func(ctx context.Context, s site) (any, error) {
		return s.posts.List(ctx, filter, blog.Page{Number: page, Size: pageSize})
	}}
}

func byAuthor(author int64, page int) read {
	return read{fmt.Sprintf("posts.ByAuthor(%d, page %d)", author, page), func(ctx context.Context, s site) (any, error) {
		return s.posts.ByAuthor(ctx, author, blog.Page{Number: page, Size: 2})
	}}
}

func search(query, traceID string) read {
	return read{fmt.Sprintf("posts.Search(%q)", query), func(ctx context.Context, s site) (any, error) {
		return s.posts.Search(ctx, query, blog.Page{Number: 1, Size: pageSize}, traceID)
	}}
}

func featured() read {
	return read{"posts.Featured()", func(ctx context.Context, s site) (any, error) {
		return s.posts.Featured(ctx)
	}}
}

func authorByID(id int64) read {
	return read{fmt.Sprintf("authors.ByID(%d)", id), func(ctx context.Context, s site) (any, error) {
		return s.authors.ByID(ctx, id)
	}}
}

func authorByEmail(email string) read {
	return read{fmt.Sprintf("authors.ByEmail(%q)", email), func(ctx context.Context, s site) (any, error) {
		return s.authors.ByEmail(ctx, email)
	}}
}

func authorsByIDs(ids ...int64) read {
	return read{fmt.Sprintf("authors.ByIDs(%d)", ids), func(ctx context.Context, s site) (any, error) {
		return s.authors.ByIDs(ctx, ids)
	}}
}

func allAuthors() read {
	return read{"authors.List()", func(ctx context.Context, s site) (any, error) {
		return s.authors.List(ctx)
	}}
}

func commentsByPost(post int64) read {
	return read{fmt.Sprintf("comments.ByPost(%d)", post), func(ctx context.Context, s site) (any, error) {
		return s.comments.ByPost(ctx, post, blog.Page{Number: 1, Size: pageSize})
	}}
}

func commentCounts(posts ...int64) read {
	return read{fmt.Sprintf("comments.Counts(%d)", posts), func(ctx context.Context, s site) (any, error) {
		return s.comments.Counts(ctx, posts)
	}}
}

func latestComments() read {
	return read{"comments.Latest()", func(ctx context.Context, s site) (any, error) {
		return s.comments.Latest(ctx, pageSize)
	}}
}

func totals() read {
	return read{"reports.Totals()", func(ctx context.Context, s site) (any, error) {
		return s.reports.Totals(ctx)
	}}
}

func count(what string, filter blog.Filter) read {
	return read{fmt.Sprintf("reports.Count(%s)", what), func(ctx context.Context, s site) (any, error) {
		return s.reports.Count(ctx, filter)
	}}
}

func archive() read {
	return read{"reports.Archive()", func(ctx context.Context, s site) (any, error) {
		return s.reports.Archive(ctx)
	}}
}

// as is the same read, said to be made by somebody or somewhere.
func as(who string, r read) read {
	return read{who + ": " + r.name, r.call}
}

// in is the same read by a visitor with that language.
func in(locale string, r read) read {
	return read{locale + ": " + r.name, func(ctx context.Context, s site) (any, error) {
		return r.call(blog.WithLocale(ctx, locale), s)
	}}
}

// asEditor is the same read by an editor.
func asEditor(r read) read {
	return read{"editor: " + r.name, func(ctx context.Context, s site) (any, error) {
		return r.call(blog.WithEditor(ctx), s)
	}}
}
