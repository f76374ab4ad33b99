package sqltx_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"

	_ "modernc.org/sqlite"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/sqltx"
)

// accounts is a repository that joins the transaction of its caller.
type accounts struct{ db *sql.DB }

func (a *accounts) Add(ctx context.Context, id, amount int64) error {
	const query = "UPDATE accounts SET balance = balance + ? WHERE id = ?"
	if tx, ok := sqltx.FromContext(ctx, a.db); ok {
		_, err := tx.ExecContext(ctx, query, amount, id)
		return err
	}
	_, err := a.db.ExecContext(ctx, query, amount, id)
	return err
}

func Example() {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // each connection would have a memory of its own
	cache, err := cacheruntime.New()
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	ctx := context.Background()
	if _, err := db.Exec("CREATE TABLE accounts (id INTEGER, balance INTEGER); INSERT INTO accounts VALUES (1, 100), (2, 0)"); err != nil {
		log.Fatal(err)
	}
	repository := &accounts{db} // in real life: wrapped by NewCachedAccounts

	transfer := func(amount int64) error {
		return sqltx.Run(ctx, db, cache, nil, func(ctx context.Context, tx *sql.Tx) error {
			if err := repository.Add(ctx, 1, -amount); err != nil {
				return err
			}
			if err := repository.Add(ctx, 2, amount); err != nil {
				return err
			}
			var left int64
			if err := tx.QueryRowContext(ctx, "SELECT balance FROM accounts WHERE id = 1").Scan(&left); err != nil {
				return err
			}
			if left < 0 {
				return errors.New("not enough money")
			}
			return nil
		})
	}
	fmt.Println(transfer(30))
	fmt.Println(transfer(300))
	var balance int64
	if err := db.QueryRow("SELECT balance FROM accounts WHERE id = 2").Scan(&balance); err != nil {
		log.Fatal(err)
	}
	fmt.Println(balance)
	// Output:
	// <nil>
	// not enough money
	// 30
}
