package sqltx_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/sqltx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A database holds one text. It is a driver whose commits and rollbacks do what a
// test says.
type database struct {
	*sql.DB
	commit   func(apply func()) error // nil: apply, and return nil
	rollback func() error
	beginErr error

	mu    sync.Mutex
	text  string
	calls []string
	opts  []driver.TxOptions
}

func newDatabase(t *testing.T, text string) *database {
	d := &database{text: text}
	d.DB = sql.OpenDB(d)
	t.Cleanup(func() { d.DB.Close() })
	return d
}

func (d *database) Connect(context.Context) (driver.Conn, error) { return &conn{d: d}, nil }
func (d *database) Driver() driver.Driver                        { return nil }

func (d *database) called(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, what)
}

func (d *database) expectCalls(t *testing.T, want ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.calls, want) {
		t.Errorf("the database is called to %q, want %q", d.calls, want)
	}
}

func (d *database) set(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text = text
}

type conn struct {
	d  *database
	in *inside
}

// inside is a transaction.
type inside struct {
	c       *conn
	changed bool
	text    string
}

func (c *conn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not needed") }
func (c *conn) Begin() (driver.Tx, error)           { return nil, errors.New("not needed") }
func (c *conn) Close() error                        { return nil }

func (c *conn) BeginTx(_ context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.d.called("begin")
	if c.d.beginErr != nil {
		return nil, c.d.beginErr
	}
	c.d.opts = append(c.d.opts, opts)
	c.in = &inside{c: c}
	return c.in, nil
}

func (c *conn) ExecContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	if c.in == nil {
		c.d.set(query)
	} else {
		c.in.text, c.in.changed = query, true
	}
	return driver.RowsAffected(1), nil
}

func (c *conn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	if c.in != nil && c.in.changed {
		return &row{text: c.in.text}, nil
	}
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	return &row{text: c.d.text}, nil
}

func (in *inside) Commit() error {
	in.c.in = nil
	apply := func() {
		if in.changed {
			in.c.d.set(in.text)
		}
	}
	in.c.d.called("commit")
	if in.c.d.commit != nil {
		return in.c.d.commit(apply)
	}
	apply()
	return nil
}

func (in *inside) Rollback() error {
	in.c.in = nil
	in.c.d.called("rollback")
	if in.c.d.rollback != nil {
		return in.c.d.rollback()
	}
	return nil
}

// A row is the result of a query.
type row struct {
	text string
	done bool
}

func (r *row) Columns() []string { return []string{"text"} }
func (r *row) Close() error      { return nil }
func (r *row) Next(to []driver.Value) error {
	if r.done {
		return io.EOF
	}
	r.done = true
	to[0] = r.text
	return nil
}

// texts is a repository on a database with a wrapper as it is generated.
type texts struct {
	d     *database
	cache *cacheruntime.Cache
	read  *cacheruntime.Read[string]
	write *cacheruntime.Write
}

func newTexts(t *testing.T, d *database, opts ...cacheruntime.Option) *texts {
	cache, err := cacheruntime.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	return &texts{
		d:     d,
		cache: cache,
		read: cacheruntime.NewRead(cache, cacheruntime.ReadConfig[string]{
			Repository: "example.com/texts.Repository",
			Method:     "Text",
			TTL:        time.Hour,
			Encode:     func(e *cacheruntime.Encoder, s string) { e.String(s) },
			Decode:     func(d *cacheruntime.Decoder) string { return d.String() },
		}),
		write: cacheruntime.NewWrite(cache, "example.com/texts.Repository", "SetText"),
	}
}

func textTag() cacheruntime.Tag { return cacheruntime.NewKey().Tag("example.com/texts.text") }

func (r *texts) get(ctx context.Context) (string, error) {
	key := r.read.Key(ctx)
	defer key.Release()
	if text, err, ok := r.read.Lookup(ctx, key); ok {
		return text, err
	}
	return r.read.Load(ctx, key, cacheruntime.Loader[string]{
		Call: func(ctx context.Context) (text string, err error) {
			if tx, ok := sqltx.FromContext(ctx, r.d.DB); ok {
				err = tx.QueryRowContext(ctx, "").Scan(&text)
			} else {
				err = r.d.QueryRowContext(ctx, "").Scan(&text)
			}
			return text, err
		},
		Depends: func(tags *cacheruntime.Tags) { tags.Add(textTag()) },
	})
}

func (r *texts) put(ctx context.Context, text string) error {
	ctx, write, err := r.write.Begin(ctx, func(tags *cacheruntime.Tags) { tags.Add(textTag()) })
	if err != nil {
		return err
	}
	defer write.End()
	if tx, ok := sqltx.FromContext(ctx, r.d.DB); ok {
		_, err = tx.ExecContext(ctx, text)
	} else {
		_, err = r.d.ExecContext(ctx, text)
	}
	return write.Returned(err)
}

func (r *texts) expect(t *testing.T, ctx context.Context, want string) {
	t.Helper()
	got, err := r.get(ctx)
	if err != nil || got != want {
		t.Errorf("read %q, %v, want %q", got, err, want)
	}
}
