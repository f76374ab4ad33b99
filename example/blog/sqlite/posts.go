package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cachegen/cachegen/example/blog"
)

type posts struct{ *DB }

// readable are the posts a visitor may read, each with its text in the
// visitor's language or else in the one it was written in. The arguments
// locale and drafts come from visitor.
const readable = `
	FROM posts p
	JOIN authors a      ON a.id = p.author
	JOIN texts o        ON o.post = p.id AND o.locale = p.locale
	LEFT JOIN texts t   ON t.post = p.id AND t.locale = :locale
	WHERE (p.published IS NOT NULL OR :drafts)`

const latestFirst = `
	ORDER BY p.published IS NULL DESC, p.published DESC, p.id DESC
	LIMIT :limit OFFSET :offset`

func visitor(ctx context.Context, args ...any) []any {
	return append(args, sql.Named("locale", blog.Locale(ctx)), sql.Named("drafts", blog.Editor(ctx)))
}

const postColumns = `
	SELECT p.id, p.author, a.name, p.slug, p.topics, p.published, p.updated,
		coalesce(t.locale, o.locale), coalesce(t.title, o.title), coalesce(t.body, o.body)`

// scanPost reads the postColumns of a row, and further ones.
func scanPost(r row, further ...any) (*blog.Post, error) {
	var p blog.Post
	var topics string
	var published, updated sql.NullInt64
	err := r.Scan(append([]any{&p.ID, &p.AuthorID, &p.AuthorName, &p.Slug, &topics, &published, &updated,
		&p.Locale, &p.Title, &p.Body}, further...)...)
	if err != nil {
		return nil, err
	}
	p.Published, p.Updated = moment(published), moment(updated)
	return &p, json.Unmarshal([]byte(topics), &p.Topics)
}

const headlineColumns = `
	SELECT p.id, p.author, a.name, p.slug, p.topics, p.published, coalesce(t.title, o.title)`

func scanHeadline(r row) (blog.Headline, error) {
	var h blog.Headline
	var topics string
	var published sql.NullInt64
	err := r.Scan(&h.ID, &h.AuthorID, &h.AuthorName, &h.Slug, &topics, &published, &h.Title)
	if err != nil {
		return blog.Headline{}, err
	}
	h.Published = moment(published)
	return h, json.Unmarshal([]byte(topics), &h.Topics)
}

func (r posts) ByID(ctx context.Context, id int64) (*blog.Post, error) {
	p, err := scanPost(r.in(ctx).QueryRowContext(ctx, postColumns+readable+` AND p.id = :id`,
		visitor(ctx, sql.Named("id", id))...))
	if err != nil {
		return nil, notFound(err, "post %d", id)
	}
	return p, nil
}

func (r posts) ByIDs(ctx context.Context, ids []int64) ([]*blog.Post, error) {
	scan := func(r row) (*blog.Post, error) { return scanPost(r) }
	found, err := collect(ctx, r.DB, scan, postColumns+readable+` AND p.id IN (SELECT value FROM json_each(:ids))`,
		visitor(ctx, sql.Named("ids", list(ids)))...)
	if err != nil {
		return nil, err
	}
	byID := make(map[int64]*blog.Post, len(found))
	for _, p := range found {
		byID[p.ID] = p
	}
	ordered := []*blog.Post{}
	for _, id := range ids {
		if p := byID[id]; p != nil {
			ordered = append(ordered, p)
		}
	}
	return ordered, nil
}

// filtered selects the posts of a blog.Filter, with the arguments of filtering.
const filtered = `
	AND (:topics = '[]' OR EXISTS (SELECT 1 FROM json_each(p.topics) WHERE value IN (SELECT value FROM json_each(:topics))))
	AND (:authors = '[]' OR p.author IN (SELECT value FROM json_each(:authors)))
	AND (:from IS NULL OR p.published >= :from)
	AND (:to IS NULL OR p.published < :to)`

func filtering(filter blog.Filter, args ...any) []any {
	return append(args,
		sql.Named("topics", list(filter.Topics)),
		sql.Named("authors", list(filter.Authors)),
		sql.Named("from", instant(filter.From)),
		sql.Named("to", instant(filter.To)))
}

func (r posts) List(ctx context.Context, filter blog.Filter, page blog.Page) ([]blog.Headline, error) {
	return collect(ctx, r.DB, scanHeadline, headlineColumns+readable+filtered+latestFirst,
		visitor(ctx, filtering(filter, paged(page)...)...)...)
}

func (r posts) ByAuthor(ctx context.Context, author int64, page blog.Page) ([]blog.Headline, error) {
	return collect(ctx, r.DB, scanHeadline, headlineColumns+readable+` AND p.author = :author`+latestFirst,
		visitor(ctx, append(paged(page), sql.Named("author", author))...)...)
}

func (r posts) Search(ctx context.Context, query string, page blog.Page, traceID string) ([]blog.Headline, error) {
	const matching = ` AND (
		instr(lower(coalesce(t.title, o.title)), lower(:query)) OR
		instr(lower(coalesce(t.body, o.body)), lower(:query)))`
	return collect(ctx, r.DB, scanHeadline, headlineColumns+readable+matching+latestFirst+fmt.Sprintf(" /* trace %x */", traceID),
		visitor(ctx, append(paged(page), sql.Named("query", query))...)...)
}

func (r posts) Featured(ctx context.Context) (*blog.Feature, error) {
	const (
		until    = `, (SELECT until FROM front_page)`
		featured = ` AND p.id = (SELECT post FROM front_page WHERE until > :now)`
	)
	var end sql.NullInt64
	p, err := scanPost(r.in(ctx).QueryRowContext(ctx, postColumns+until+readable+featured,
		visitor(ctx, sql.Named("now", instant(time.Now())))...), &end)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &blog.Feature{Post: p, Until: moment(end)}, nil
}

func (r posts) Create(ctx context.Context, p *blog.Post) error {
	return r.inTx(ctx, func(tx *sql.Tx) error {
		var id int64
		err := tx.QueryRowContext(ctx, `
			INSERT INTO posts (author, slug, locale, topics, published, updated)
			VALUES (?, ?, ?, ?, ?, ?) RETURNING id`,
			p.AuthorID, p.Slug, blog.Locale(ctx), list(p.Topics), instant(p.Published), instant(time.Now())).Scan(&id)
		if err != nil {
			return err
		}
		p.ID = id
		return write(ctx, tx, id, p.Title, p.Body)
	})
}

func (r posts) Edit(ctx context.Context, id int64, title, body string) error {
	return r.inTx(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `UPDATE posts SET updated = ? WHERE id = ? RETURNING id`,
			instant(time.Now()), id).Scan(new(int64))
		if err != nil {
			return notFound(err, "post %d", id)
		}
		return write(ctx, tx, id, title, body)
	})
}

func (r posts) Publish(ctx context.Context, id int64, at time.Time) (author int64, err error) {
	err = r.in(ctx).QueryRowContext(ctx, `
		UPDATE posts SET published = ?, updated = ? WHERE id = ? AND published IS NULL RETURNING author`,
		instant(at), instant(time.Now()), id).Scan(&author)
	return author, notFound(err, "draft %d", id)
}

func (r posts) Move(ctx context.Context, id, to int64) (from int64, err error) {
	err = r.inTx(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT author FROM posts WHERE id = ?`, id).Scan(&from)
		if err != nil {
			return notFound(err, "post %d", id)
		}
		_, err = tx.ExecContext(ctx, `UPDATE posts SET author = ?, updated = ? WHERE id = ?`, to, instant(time.Now()), id)
		return err
	})
	return from, err
}

func (r posts) Feature(ctx context.Context, id int64, until time.Time) error {
	err := r.in(ctx).QueryRowContext(ctx, `
		INSERT INTO front_page (one, post, until)
		SELECT 1, id, ? FROM posts WHERE id = ? AND published IS NOT NULL
		ON CONFLICT (one) DO UPDATE SET post = excluded.post, until = excluded.until
		RETURNING one`,
		instant(until), id).Scan(new(int64))
	return notFound(err, "published post %d", id)
}

func (r posts) Delete(ctx context.Context, ids ...int64) (authors []int64, err error) {
	authors, err = collect(ctx, r.DB, value[int64],
		`DELETE FROM posts WHERE id IN (SELECT value FROM json_each(?)) RETURNING author`, list(ids))
	slices.Sort(authors)
	return slices.Compact(authors), err
}

func (r posts) Export(ctx context.Context, yield func(*blog.Post) error) (err error) {
	rows, err := r.in(ctx).QueryContext(ctx, postColumns+readable+` AND p.published IS NOT NULL ORDER BY p.id`, visitor(ctx)...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		p, err := scanPost(rows)
		if err != nil {
			return err
		}
		if err := yield(p); err != nil {
			return err
		}
	}
	return rows.Err()
}

// write stores the text of a post in the language of the visitor.
func write(ctx context.Context, tx *sql.Tx, id int64, title, body string) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO texts (post, locale, title, body) VALUES (?, ?, ?, ?)
		ON CONFLICT (post, locale) DO UPDATE SET title = excluded.title, body = excluded.body`,
		id, blog.Locale(ctx), title, body)
	return err
}
