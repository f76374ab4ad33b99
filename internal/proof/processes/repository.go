// Package processes runs a generated wrapper in several processes on real Redis servers,
// with a database whose commits are numbered, and does to processes, servers and what
// is between them whatever can happen to them: they are killed, stopped, emptied, set
// back, cut off. What every read returns is judged as it returns.
//
// The tests run themselves again as those processes.
package processes

import (
	"context"
	"errors"
)

//go:generate go run ../../../cmd/cachegen

// A Row is one of the database's, as of some version.
type Row struct {
	ID      int
	Version int64
}

// ErrNotFound says that there is no such row.
var ErrNotFound = errors.New("no such row")

// Rows is a repository that has one of each kind of method.
//
//cache:repository ttl=1h
//cache:tag Item(id int)
type Rows interface {
	// Get returns a row.
	//
	//cache:read
	//cache:depends Item(id)
	//cache:negative ErrNotFound
	Get(ctx context.Context, id int) (*Row, error)

	// Some returns those of the rows that exist.
	//
	//cache:read
	//cache:batch Get(ids)
	Some(ctx context.Context, ids []int) (map[int]*Row, error)

	// Page returns a row that it reads through the cache.
	//
	//cache:read
	//cache:depends Item(id)
	//cache:negative ErrNotFound
	Page(ctx context.Context, id int) (*Row, error)

	// All lists the rows.
	//
	//cache:read
	//cache:depends Item(*)
	All(ctx context.Context) ([]Row, error)

	// Brief returns a row that is not kept for long.
	//
	//cache:read ttl=1500ms
	//cache:depends Item(id)
	//cache:negative ErrNotFound
	Brief(ctx context.Context, id int) (*Row, error)

	// Update changes rows.
	//
	//cache:write
	//cache:invalidates Item(ids[*])
	Update(ctx context.Context, ids ...int) error

	// Insert adds a row and fills in its ID.
	//
	//cache:write
	//cache:invalidates Item(row.ID)
	Insert(ctx context.Context, row *Row) error
}
