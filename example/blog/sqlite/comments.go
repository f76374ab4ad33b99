package sqlite

import (
	"context"
	"database/sql"
	"slices"

	"github.com/cachegen/cachegen/example/blog"
)

type comments struct{ *DB }

const commentColumns = `SELECT id, post, reply_to, name, body, written FROM comments`

func scanComment(r row) (blog.Comment, error) {
	var c blog.Comment
	var written sql.NullInt64
	err := r.Scan(&c.ID, &c.PostID, &c.ReplyTo, &c.Name, &c.Body, &written)
	c.Written = moment(written)
	return c, err
}

func (r comments) ByPost(ctx context.Context, post int64, page blog.Page) ([]blog.Comment, error) {
	return collect(ctx, r.DB, scanComment, commentColumns+` WHERE post = :post ORDER BY id LIMIT :limit OFFSET :offset`,
		append(paged(page), sql.Named("post", post))...)
}

func (r comments) Counts(ctx context.Context, posts []int64) (counts map[int64]int, err error) {
	type count struct {
		post     int64
		comments int
	}
	scan := func(r row) (c count, err error) {
		err = r.Scan(&c.post, &c.comments)
		return c, err
	}
	found, err := collect(ctx, r.DB, scan,
		`SELECT post, count(*) FROM comments WHERE post IN (SELECT value FROM json_each(?)) GROUP BY post`, list(posts))
	if err != nil {
		return nil, err
	}
	counts = make(map[int64]int, len(found))
	for _, c := range found {
		counts[c.post] = c.comments
	}
	return counts, nil
}

func (r comments) Latest(ctx context.Context, limit int) ([]blog.Comment, error) {
	return collect(ctx, r.DB, scanComment, commentColumns+` ORDER BY id DESC LIMIT ?`, limit)
}

func (r comments) Add(ctx context.Context, c *blog.Comment) error {
	return r.in(ctx).QueryRowContext(ctx, `INSERT INTO comments (post, reply_to, name, body, written) VALUES (?, ?, ?, ?, ?) RETURNING id`,
		c.PostID, c.ReplyTo, c.Name, c.Body, c.Written.UnixMicro()).Scan(&c.ID)
}

func (r comments) Remove(ctx context.Context, ids []int64) (posts []int64, err error) {
	posts, err = collect(ctx, r.DB, value[int64],
		`DELETE FROM comments WHERE id IN (SELECT value FROM json_each(?)) RETURNING post`, list(ids))
	slices.Sort(posts)
	return slices.Compact(posts), err
}
