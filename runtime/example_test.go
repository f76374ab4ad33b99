package cacheruntime_test

import (
	"context"
	"fmt"
	"log"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// A database is one whose driver is not of database/sql.
type database struct{}

func (database) Begin(context.Context) (*databaseTx, error) {
	fmt.Println("BEGIN")
	return &databaseTx{}, nil
}

type databaseTx struct{ ended bool }

func (tx *databaseTx) Commit() error   { return tx.end("COMMIT") }
func (tx *databaseTx) Rollback() error { return tx.end("ROLLBACK") }

func (tx *databaseTx) end(how string) error {
	if !tx.ended {
		tx.ended = true
		fmt.Println(how)
	}
	return nil
}

// A printer prints what is invalidated.
type printer struct{}

func (printer) Observe(_ context.Context, event cacheruntime.Event) {
	if event.Outcome == cacheruntime.Invalidated {
		fmt.Println("invalidated:", event.Cause)
	}
}

// The cache's side begins before the transaction of the database, so that it ends
// after it, whichever way that goes.
func ExampleCache_Begin() {
	cache, err := cacheruntime.New(cacheruntime.WithObserver(printer{}))
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	var db database
	rename := cacheruntime.NewWrite(cache, "example.com/blog.AuthorRepository", "Rename") // in a generated wrapper

	inTransaction := func(ctx context.Context, f func(context.Context, *databaseTx) error) error {
		ctx, tx := cache.Begin(ctx)
		defer tx.End() // run last; does nothing after Commit
		dbTx, err := db.Begin(ctx)
		if err != nil {
			return err
		}
		defer dbTx.Rollback()
		if err := f(ctx, dbTx); err != nil {
			return err
		}
		return tx.Commit(dbTx.Commit)
	}
	for _, result := range []error{nil, fmt.Errorf("no such author")} {
		err := inTransaction(context.Background(), func(ctx context.Context, _ *databaseTx) error {
			_, call, err := rename.Begin(ctx, func(tags *cacheruntime.Tags) {
				tags.Add(cacheruntime.AllTag("example.com/blog.author"))
			})
			if err != nil {
				return err
			}
			defer call.End()
			fmt.Println("UPDATE")
			return call.Returned(result)
		})
		fmt.Println(err)
	}
	// Output:
	// BEGIN
	// UPDATE
	// COMMIT
	// invalidated: transaction
	// <nil>
	// BEGIN
	// UPDATE
	// ROLLBACK
	// invalidated: transaction
	// no such author
}
