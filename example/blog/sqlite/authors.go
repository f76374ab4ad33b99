package sqlite

import (
	"context"
	"database/sql"
	"strings"

	"github.com/cachegen/cachegen/example/blog"
)

type authors struct{ *DB }

const authorColumns = `SELECT id, name, email, joined FROM authors`

func scanAuthor(r row) (blog.Author, error) {
	var a blog.Author
	var joined sql.NullInt64
	err := r.Scan(&a.ID, &a.Name, &a.Email, &joined)
	a.Joined = moment(joined)
	return a, err
}

func (r authors) ByID(ctx context.Context, id int64) (*blog.Author, error) {
	a, err := scanAuthor(r.in(ctx).QueryRowContext(ctx, authorColumns+` WHERE id = ?`, id))
	if err != nil {
		return nil, notFound(err, "author %d", id)
	}
	return &a, nil
}

func (r authors) ByEmail(ctx context.Context, email string) (*blog.Author, error) {
	a, err := scanAuthor(r.in(ctx).QueryRowContext(ctx, authorColumns+` WHERE address = ?`, strings.ToLower(email)))
	if err != nil {
		return nil, notFound(err, "author with address %s", email)
	}
	return &a, nil
}

func (r authors) ByIDs(ctx context.Context, ids []int64) (map[int64]blog.Author, error) {
	found, err := collect(ctx, r.DB, scanAuthor, authorColumns+` WHERE id IN (SELECT value FROM json_each(?))`, list(ids))
	if err != nil {
		return nil, err
	}
	byID := make(map[int64]blog.Author, len(found))
	for _, a := range found {
		byID[a.ID] = a
	}
	return byID, nil
}

func (r authors) List(ctx context.Context) ([]blog.Author, error) {
	return collect(ctx, r.DB, scanAuthor, authorColumns+` ORDER BY name, id`)
}

func (r authors) Create(ctx context.Context, a *blog.Author) error {
	return r.in(ctx).QueryRowContext(ctx, `INSERT INTO authors (name, email, address, joined) VALUES (?, ?, ?, ?) RETURNING id`,
		a.Name, a.Email, strings.ToLower(a.Email), a.Joined.UnixMicro()).Scan(&a.ID)
}

func (r authors) Rename(ctx context.Context, id int64, name string) error {
	err := r.in(ctx).QueryRowContext(ctx, `UPDATE authors SET name = ? WHERE id = ? RETURNING id`, name, id).Scan(new(int64))
	return notFound(err, "author %d", id)
}

func (r authors) ChangeEmail(ctx context.Context, id int64, email string) (old string, err error) {
	err = r.inTx(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT email FROM authors WHERE id = ?`, id).Scan(&old)
		if err != nil {
			return notFound(err, "author %d", id)
		}
		_, err = tx.ExecContext(ctx, `UPDATE authors SET email = ?, address = ? WHERE id = ?`, email, strings.ToLower(email), id)
		return err
	})
	return old, err
}

func (r authors) Delete(ctx context.Context, id int64) error {
	err := r.in(ctx).QueryRowContext(ctx, `DELETE FROM authors WHERE id = ? RETURNING id`, id).Scan(new(int64))
	return notFound(err, "author %d", id)
}
