// Package sqltx runs transactions of database/sql together with the cache's side
// of them, and ends the two in the right order.
//
//	err := sqltx.Run(ctx, db, cache, nil, func(ctx context.Context, tx *sql.Tx) error {
//		if err := posts.Create(ctx, p); err != nil { // a generated wrapper
//			return err
//		}
//		_, err := tx.ExecContext(ctx, "UPDATE authors SET posts = posts + 1 WHERE id = ?", p.AuthorID)
//		return err
//	})
//
// Repositories behind the wrappers find the transaction in the context:
//
//	func (r *sqlPosts) Create(ctx context.Context, p *Post) error {
//		var on interface {
//			ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
//		} = r.db
//		if tx, ok := sqltx.FromContext(ctx, r.db); ok {
//			on = tx
//		}
//		…
//
// Inside, cached reads go to the database, by way of the transaction if the
// repository does as above, and nothing that they see is stored. What was written
// is invalidated when the transaction has ended, whether it was committed, rolled
// back, or left in doubt by an ambiguous error: see [cacheruntime.Cache.Begin].
// Data that is changed past the wrappers, as by the UPDATE above, is for the
// caller to invalidate, with the same context.
//
// Where repositories of one database are behind wrappers on several caches, let a Run
// for each cache join ([Run]). A read on a cache that none is for is like any other:
// it is served from the cache, or loads what is to be stored there, which others
// will see. That load runs outside of the transaction: it does not see what is not
// committed yet, and if it has to wait for a connection or a lock that the transaction
// holds, it waits in vain until its deadline.
package sqltx

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// Run runs fn in a transaction of the database, and commits it if fn returns nil.
// If fn returns an error, panics or ends its goroutine, the transaction is rolled
// back. In every case the cache's side ends after that of the database.
//
// The error is, in this order: that of BeginTx; that of fn, joined with that of
// the rollback if it failed for another reason than that the transaction had
// ended; that of the commit. None of them is changed or wrapped otherwise. If a cache
// refuses the commit ([cacheruntime.ErrRefused]) the transaction is rolled back, and
// the error made up in the same way.
//
// The context that fn gets carries the transaction. A Run with it on the same
// database joins: its fn gets the same *sql.Tx, its opts are ignored even if they
// differ, and the outermost Run commits. If the fn of a Run that joined returns an
// error, panics or ends its goroutine, the outermost one rolls back, and returns
// an error that wraps the inner one if its own fn returns nil. There are no
// savepoints. A Run may join with another cache, whose side then ends with the
// transaction too. A Run whose context carries a transaction that has ended, or
// one of another database, begins a new one. So does a Run in the course of a load
// for a cache, which must not store what is not committed: see the package.
//
// The fn may commit or roll back neither tx nor the cache's side. It may use the
// context from several goroutines, as far as the driver allows that for tx; they
// have to be done when fn returns.
func Run(ctx context.Context, db *sql.DB, cache *cacheruntime.Cache, opts *sql.TxOptions, fn func(ctx context.Context, tx *sql.Tx) error) (err error) {
	if t := transactionOf(ctx, db); t != nil {
		return t.runInner(ctx, cache, fn)
	}
	return run(ctx, db, cache, opts, fn)
}

// FromContext returns the transaction of the database in which [Run] runs the
// function that was given the context, if there is one and it has not ended. There is
// none in a load for a cache that stores what it reads: see the package. A repository
// calls it with the database that it would use otherwise.
func FromContext(ctx context.Context, db *sql.DB) (tx *sql.Tx, ok bool) {
	if t := transactionOf(ctx, db); t != nil {
		return t.sql, true
	}
	return nil, false
}

// transactionOf returns the open transaction of the database that a context
// carries, or nil.
func transactionOf(ctx context.Context, db *sql.DB) *transaction {
	for in := scopeOf(ctx); in != nil; in = in.around {
		if in.tx.db == db && in.tx.isOpen() && !cacheruntime.LoadBetween(in.given, ctx) {
			return in.tx
		}
	}
	return nil
}

// A scope is what a context says: a transaction, and a cache whose side of it
// has begun there.
type scope struct {
	tx     *transaction
	cache  *cacheruntime.Cache
	given  context.Context // to Run
	around *scope
}

type scopeKey struct{}

func scopeOf(ctx context.Context) *scope {
	in, _ := ctx.Value(scopeKey{}).(*scope)
	return in
}

// A transaction is that of an outermost Run.
type transaction struct {
	db  *sql.DB
	sql *sql.Tx

	mu    sync.Mutex
	open  bool
	fault error              // of a Run that joined
	sides []*cacheruntime.Tx // of the caches; inner ones of the same cache do no harm
}

func run(ctx context.Context, db *sql.DB, cache *cacheruntime.Cache, opts *sql.TxOptions, fn func(ctx context.Context, tx *sql.Tx) error) (err error) {
	t := &transaction{db: db}
	// The cache's side begins first, so that there is no statement in the
	// database's transaction that it does not know of, and nothing to undo should
	// it fail. If the database's does not begin, the cache's ends empty, at no cost.
	inside, side := cache.Begin(ctx)
	t.sides = []*cacheruntime.Tx{side}
	defer t.end() // last, whatever happens

	t.sql, err = db.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	t.open = true
	inside = context.WithValue(inside, scopeKey{}, &scope{tx: t, cache: cache, given: ctx, around: scopeOf(ctx)})

	returned := false
	defer func() {
		if !returned { // a panic or Goexit, which goes on
			t.close()
			t.sql.Rollback()
		}
	}()
	err = fn(inside, t.sql)
	returned = true

	if fault := t.close(); err == nil && fault != nil {
		err = fmt.Errorf("sqltx: the transaction is rolled back because a Run that joined it failed: %w", fault)
	}
	if err == nil {
		// A commit that a cache refused has not been tried.
		if err = t.commit(); !errors.Is(err, cacheruntime.ErrRefused) {
			return err
		}
	}
	if rollback := t.sql.Rollback(); rollback != nil && !errors.Is(rollback, sql.ErrTxDone) {
		err = errors.Join(err, rollback)
	}
	return err
}

// commit commits the database's transaction, then the caches' sides, of which
// each judges the error.
func (t *transaction) commit() error {
	commit := t.sql.Commit
	for _, side := range t.begun() {
		inner := commit
		commit = func() error { return side.Commit(inner) }
	}
	return commit()
}

// end ends the sides that have not been committed, the innermost first, even if
// one of them panics.
func (t *transaction) end() {
	for _, side := range t.begun() {
		defer side.End()
	}
}

// begun returns the sides that have begun.
func (t *transaction) begun() []*cacheruntime.Tx {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.sides)
}

// isOpen reports whether a Run may join.
func (t *transaction) isOpen() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open
}

// close lets nobody join any more and returns what kept one who did from
// success.
func (t *transaction) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = false
	return t.fault
}

var errUnreturned = errors.New("it panicked or ended its goroutine")

// runInner runs a function in a transaction that is under way.
func (t *transaction) runInner(ctx context.Context, cache *cacheruntime.Cache, fn func(ctx context.Context, tx *sql.Tx) error) error {
	fault := errUnreturned
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.fault == nil {
			t.fault = fault
		}
	}()
	inside := ctx
	if !t.isIn(ctx, cache) {
		var side *cacheruntime.Tx
		inside, side = cache.Begin(ctx)
		t.mu.Lock()
		t.sides = append(t.sides, side)
		t.mu.Unlock()
	}
	// Between this Run and that which it joins may be one on another database.
	inside = context.WithValue(inside, scopeKey{}, &scope{tx: t, cache: cache, given: ctx, around: scopeOf(ctx)})
	fault = fn(inside, t.sql)
	return fault
}

// isIn reports whether a context is inside the cache's side of the transaction.
func (t *transaction) isIn(ctx context.Context, cache *cacheruntime.Cache) bool {
	for in := scopeOf(ctx); in != nil; in = in.around {
		if in.tx == t && in.cache == cache {
			return true
		}
	}
	return false
}
