package sqlite

import (
	"context"
	"database/sql"

	"github.com/cachegen/cachegen/example/blog"
)

type reports struct{ *DB }

func (r reports) Totals(ctx context.Context) (totals blog.Totals, err error) {
	var latest sql.NullInt64
	err = r.in(ctx).QueryRowContext(ctx, `
		SELECT (SELECT count(*) FROM authors), (SELECT count(*) FROM comments), count(*), max(published)
		FROM posts WHERE published IS NOT NULL`).Scan(&totals.Authors, &totals.Comments, &totals.Posts, &latest)
	totals.Latest = moment(latest)
	return totals, err
}

func (r reports) Count(ctx context.Context, filter blog.Filter) (count int, err error) {
	err = r.in(ctx).QueryRowContext(ctx, `SELECT count(*) FROM posts p WHERE p.published IS NOT NULL`+filtered,
		filtering(filter)...).Scan(&count)
	return count, err
}

func (r reports) Archive(ctx context.Context) (map[blog.Month]int, error) {
	times, err := collect(ctx, r.DB, value[sql.NullInt64], `SELECT published FROM posts WHERE published IS NOT NULL`)
	if err != nil {
		return nil, err
	}
	archive := make(map[blog.Month]int)
	for _, published := range times {
		year, month, _ := moment(published).Date()
		archive[blog.Month{Year: year, Month: month}]++
	}
	return archive, nil
}
