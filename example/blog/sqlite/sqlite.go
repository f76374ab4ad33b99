// Package sqlite keeps a blog in an SQLite database, embedded in the program.
//
// It knows nothing of a cache, but that the transaction in which a call is to be
// made comes with its context, as package sqltx hands it over. Every read is one
// statement, so it sees one state of the database.
package sqlite

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/cachegen/cachegen/example/blog"
	"github.com/cachegen/cachegen/runtime/sqltx"
)

//go:embed schema.sql
var schema string

// A DB is an open database. It is safe for concurrent use.
type DB struct {
	sql *sql.DB
}

// Open opens the database in the file at path, and creates it if there is
// none.
func Open(ctx context.Context, path string) (*DB, error) {
	// A write waits up to five seconds for another one. Transactions ask for
	// the write lock at once, since they cannot wait for it halfway through.
	db, err := sql.Open("sqlite", path+"?_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(fmt.Errorf("create the schema: %w", err), db.Close())
	}
	return &DB{sql: db}, nil
}

// Close closes the database.
func (db *DB) Close() error { return db.sql.Close() }

// SQL returns the database itself, to run transactions on.
func (db *DB) SQL() *sql.DB { return db.sql }

// Posts returns the repository of posts.
func (db *DB) Posts() blog.PostRepository { return posts{db} }

// Authors returns the repository of authors.
func (db *DB) Authors() blog.AuthorRepository { return authors{db} }

// Comments returns the repository of comments.
func (db *DB) Comments() blog.CommentRepository { return comments{db} }

// Reports returns the repository of reports.
func (db *DB) Reports() blog.ReportRepository { return reports{db} }

// Exec runs a statement of the caller's own, past the repositories. A cache
// in front of them does not hear of it.
func (db *DB) Exec(ctx context.Context, statement string, args ...any) error {
	_, err := db.sql.ExecContext(ctx, statement, args...)
	return err
}

// A querier runs statements: the database, or a transaction.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// in returns what runs the statements of a call: the transaction that its context
// carries, or else the database.
func (db *DB) in(ctx context.Context) querier {
	if tx, ok := sqltx.FromContext(ctx, db.sql); ok {
		return tx
	}
	return db.sql
}

// inTx runs f in a transaction. If that is not the caller's, which the caller
// ends, it is committed unless f fails.
func (db *DB) inTx(ctx context.Context, f func(*sql.Tx) error) error {
	if tx, ok := sqltx.FromContext(ctx, db.sql); ok {
		return f(tx)
	}
	tx, err := db.sql.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after the commit
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// collect runs a query and returns its rows as scan reads them, never nil.
func collect[T any](ctx context.Context, db *DB, scan func(row) (T, error), query string, args ...any) (items []T, err error) {
	rows, err := db.in(ctx).QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	items = []T{}
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, rows.Err()
}

// A row is one row of a result: *sql.Row or *sql.Rows.
type row interface {
	Scan(dest ...any) error
}

// value reads a row of one column.
func value[T any](r row) (v T, err error) {
	err = r.Scan(&v)
	return v, err
}

// notFound turns the absence of a row into blog.ErrNotFound, and says what is
// missing.
func notFound(err error, format string, args ...any) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf(format+": %w", append(args, blog.ErrNotFound)...)
	}
	return err
}

// instant is a time in the database: microseconds since 1970, NULL for the
// zero time.
func instant(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

// moment is the inverse of instant, in UTC.
func moment(v sql.NullInt64) time.Time {
	if !v.Valid {
		return time.Time{}
	}
	return time.UnixMicro(v.Int64).UTC()
}

// list is a list in the database, and as an argument: a JSON array.
func list[T int64 | string](items []T) string {
	if len(items) == 0 {
		return "[]"
	}
	data, err := json.Marshal(items)
	if err != nil {
		panic(err) // numbers and strings can always be marshaled
	}
	return string(data)
}

// paged returns the arguments that select a page.
func paged(page blog.Page) []any {
	return []any{
		sql.Named("limit", page.Size),
		sql.Named("offset", (max(page.Number, 1)-1)*page.Size),
	}
}
