package sqltx_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/sqltx"
)

var errFailed = errors.New("failed")

func TestRunCommits(t *testing.T) {
	d := newDatabase(t, "old")
	r := newTexts(t, d)
	ctx := t.Context()
	r.expect(t, ctx, "old")
	if _, ok := sqltx.FromContext(ctx, d.DB); ok {
		t.Error("a transaction where there is none")
	}
	var inside context.Context
	err := sqltx.Run(ctx, d.DB, r.cache, &sql.TxOptions{ReadOnly: true}, func(ctx context.Context, tx *sql.Tx) error {
		inside = ctx
		if got, ok := sqltx.FromContext(ctx, d.DB); !ok || got != tx {
			t.Error("the context does not carry the transaction")
		}
		if err := r.put(ctx, "new"); err != nil {
			return err
		}
		r.expect(t, ctx, "new")
		r.expect(t, t.Context(), "old") // others see what is committed
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.expect(t, ctx, "new")
	d.expectCalls(t, "begin", "commit")
	if len(d.opts) != 1 || !d.opts[0].ReadOnly {
		t.Errorf("options %v", d.opts)
	}
	if got := r.cache.Stats().Invalidations; got != (cacheruntime.Invalidations{Transactions: 1}) {
		t.Errorf("%+v", got)
	}

	// The context of a transaction that has ended is like any other.
	if _, ok := sqltx.FromContext(inside, d.DB); ok {
		t.Error("the transaction has ended")
	}
	if err := r.put(inside, "newer"); err != nil {
		t.Fatal(err)
	}
	r.expect(t, ctx, "newer")
	if err := sqltx.Run(inside, d.DB, r.cache, nil, func(ctx context.Context, tx *sql.Tx) error { return r.put(ctx, "newest") }); err != nil {
		t.Fatal(err)
	}
	r.expect(t, ctx, "newest")
	d.expectCalls(t, "begin", "commit", "begin", "commit")
}

// However fn fails, the rollback comes before the cache's side ends, and what was
// written is invalidated.
func TestRunRollsBack(t *testing.T) {
	for name, test := range map[string]struct {
		fail     func() error
		rollback error
		want     []error
		panics   bool
	}{
		"error":              {fail: func() error { return errFailed }, want: []error{errFailed}},
		"error and rollback": {fail: func() error { return errFailed }, rollback: driver.ErrBadConn, want: []error{errFailed, driver.ErrBadConn}},
		"already ended":      {fail: func() error { return errFailed }, rollback: sql.ErrTxDone, want: []error{errFailed}},
		"panic":              {fail: func() error { panic("fn") }, panics: true},
		"goexit":             {fail: func() error { runtime.Goexit(); return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t, "old")
			r := newTexts(t, d)
			r.expect(t, t.Context(), "old")
			d.rollback = func() error {
				if got := r.cache.Stats().Invalidations.Total(); got != 0 {
					t.Errorf("%d invalidations before the rollback", got)
				}
				return test.rollback
			}
			var err error
			var panicked any
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { panicked = recover() }()
				err = sqltx.Run(t.Context(), d.DB, r.cache, nil, func(ctx context.Context, tx *sql.Tx) error {
					r.put(ctx, "new")
					return test.fail()
				})
			}()
			<-done
			if (panicked != nil) != test.panics || (err != nil) != (test.want != nil) {
				t.Errorf("error %v, panic %v", err, panicked)
			}
			for _, want := range test.want {
				if !errors.Is(err, want) {
					t.Errorf("error %v, want %v in it", err, want)
				}
			}
			if len(test.want) == 1 && err != test.want[0] {
				t.Errorf("%v is not the error of fn alone", err)
			}
			d.expectCalls(t, "begin", "rollback")
			if got := r.cache.Stats().Invalidations; got != (cacheruntime.Invalidations{Transactions: 1}) {
				t.Errorf("%+v", got)
			}
			r.expect(t, t.Context(), "old")
			if got := r.cache.Stats().Loads; got != 2 {
				t.Errorf("%d loads", got)
			}
		})
	}
}

func TestRunDoesNotBegin(t *testing.T) {
	d := newDatabase(t, "old")
	r := newTexts(t, d)
	d.beginErr = errFailed
	err := sqltx.Run(t.Context(), d.DB, r.cache, nil, func(context.Context, *sql.Tx) error {
		t.Error("there is no transaction to run in")
		return nil
	})
	if err != errFailed {
		t.Errorf("error %v", err)
	}
	if got := r.cache.Stats().Invalidations.Total(); got != 0 {
		t.Errorf("%d invalidations", got)
	}
}

// A commit that says no is invalidated once; one that does not tell is in doubt.
func TestRunCommitFails(t *testing.T) {
	for name, test := range map[string]struct {
		commit func(apply func()) error
		panics bool
		want   cacheruntime.Invalidations
	}{
		"refused":   {func(func()) error { return errFailed }, false, cacheruntime.Invalidations{Transactions: 1}},
		"ambiguous": {func(func()) error { return driver.ErrBadConn }, false, cacheruntime.Invalidations{Ambiguous: 1, Leases: 1}},
		"panic":     {func(func()) error { panic("commit") }, true, cacheruntime.Invalidations{Ambiguous: 1, Leases: 1}},
		"goexit":    {func(func()) error { runtime.Goexit(); return nil }, false, cacheruntime.Invalidations{Ambiguous: 1, Leases: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDatabase(t, "old")
				r := newTexts(t, d)
				d.commit = test.commit
				done := make(chan struct{})
				var panicked any
				go func() {
					defer close(done)
					defer func() { panicked = recover() }()
					err := sqltx.Run(t.Context(), d.DB, r.cache, nil, func(ctx context.Context, tx *sql.Tx) error { return r.put(ctx, "new") })
					if want := test.commit(nil); err != want {
						t.Errorf("error %v, want %v", err, want)
					}
				}()
				<-done
				if (panicked != nil) != test.panics {
					t.Errorf("panic %v", panicked)
				}
				<-time.After(6 * time.Second)
				synctest.Wait()
				if got := r.cache.Stats().Invalidations; got != test.want {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// A commit returns an ambiguous error, and the database makes the change later.
func TestRunCommitLandsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase(t, "old")
		r := newTexts(t, d, cacheruntime.WithAmbiguousWrites(time.Minute, nil))
		ctx := t.Context()
		r.expect(t, ctx, "old")
		d.commit = func(apply func()) error {
			time.AfterFunc(30*time.Second, apply)
			return driver.ErrBadConn
		}
		err := sqltx.Run(ctx, d.DB, r.cache, nil, func(ctx context.Context, tx *sql.Tx) error { return r.put(ctx, "new") })
		if !errors.Is(err, driver.ErrBadConn) {
			t.Fatal(err)
		}
		r.expect(t, ctx, "old")
		<-time.After(31 * time.Second)
		r.expect(t, ctx, "new")
		<-time.After(30 * time.Second)
		synctest.Wait()
		r.expect(t, ctx, "new")
		loads := r.cache.Stats().Loads
		r.expect(t, ctx, "new")
		if got := r.cache.Stats().Loads; got != loads {
			t.Error("the lease has ended, and the read does not hit")
		}
	})
}

// Whichever comes first, the commit in the database or a read of another caller:
// when Run has returned, nobody reads the old value.
func TestRunAndConcurrentRead(t *testing.T) {
	for name, readFirst := range map[string]bool{"read, then commit": true, "commit, then read": false} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t, "old")
			r := newTexts(t, d)
			d.commit = func(apply func()) error {
				if readFirst {
					r.expect(t, t.Context(), "old")
					apply()
				} else {
					r.expect(t, t.Context(), "old")
					apply()
					r.expect(t, t.Context(), "old") // a hit: Run has not returned
				}
				return nil
			}
			if err := sqltx.Run(t.Context(), d.DB, r.cache, nil, func(ctx context.Context, tx *sql.Tx) error { return r.put(ctx, "new") }); err != nil {
				t.Fatal(err)
			}
			r.expect(t, t.Context(), "new")
		})
	}
}

func TestRunJoins(t *testing.T) {
	d := newDatabase(t, "old")
	r := newTexts(t, d)
	other := newTexts(t, d) // the same data through another cache
	ctx := t.Context()
	r.expect(t, ctx, "old")
	other.expect(t, ctx, "old")
	err := sqltx.Run(ctx, d.DB, r.cache, nil, func(ctx context.Context, tx *sql.Tx) error {
		err := sqltx.Run(ctx, d.DB, r.cache, &sql.TxOptions{ReadOnly: true}, func(ctx context.Context, inner *sql.Tx) error {
			if inner != tx {
				t.Error("it is another transaction")
			}
			return r.put(ctx, "new")
		})
		if err != nil {
			return err
		}
		err = sqltx.Run(ctx, d.DB, other.cache, nil, func(ctx context.Context, inner *sql.Tx) error {
			other.expect(t, ctx, "new")
			return other.put(ctx, "newer")
		})
		d.expectCalls(t, "begin")
		r.expect(t, t.Context(), "old")
		other.expect(t, t.Context(), "old")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	d.expectCalls(t, "begin", "commit")
	r.expect(t, ctx, "newer")
	other.expect(t, ctx, "newer")
}

// If a Run that joined fails, nothing is committed, whatever the outer one makes
// of it.
func TestRunJoinedFails(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errFailed },
		"panic": func() error { panic("inner") },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t, "old")
			r := newTexts(t, d)
			err := sqltx.Run(t.Context(), d.DB, r.cache, nil, func(ctx context.Context, tx *sql.Tx) error {
				defer func() { recover() }()
				sqltx.Run(ctx, d.DB, r.cache, nil, func(ctx context.Context, tx *sql.Tx) error {
					r.put(ctx, "new")
					return fail()
				})
				return nil
			})
			if err == nil || !strings.Contains(err.Error(), "joined") || name == "error" && !errors.Is(err, errFailed) {
				t.Errorf("error %v", err)
			}
			d.expectCalls(t, "begin", "rollback")
			r.expect(t, t.Context(), "old")
		})
	}
}

func TestRunOnAnotherDatabase(t *testing.T) {
	first, second := newDatabase(t, "first"), newDatabase(t, "second")
	r, s := newTexts(t, first), newTexts(t, second)
	err := sqltx.Run(t.Context(), first.DB, r.cache, nil, func(ctx context.Context, outer *sql.Tx) error {
		return sqltx.Run(ctx, second.DB, s.cache, nil, func(ctx context.Context, inner *sql.Tx) error {
			if got, _ := sqltx.FromContext(ctx, second.DB); inner == outer || got != inner {
				t.Error("not the transaction of the second database")
			}
			if got, _ := sqltx.FromContext(ctx, first.DB); got != outer {
				t.Error("not the transaction of the first database")
			}
			return sqltx.Run(ctx, first.DB, r.cache, nil, func(ctx context.Context, tx *sql.Tx) error {
				if got, _ := sqltx.FromContext(ctx, first.DB); tx != outer || got != outer {
					t.Error("not the transaction of its database")
				}
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	first.expectCalls(t, "begin", "commit")
	second.expectCalls(t, "begin", "commit")
}
