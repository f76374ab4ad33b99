// Package interleave puts the runtime, as generated code uses it, through its
// schedules: small programs of a few calls each, on a database of a few rows that
// count their versions. Its tests run every schedule of the smallest programs, and
// many at random of larger ones, and judge what the calls returned.
//
// The hooks come from package weave: the tests build themselves again with them.
package interleave

import (
	"context"
	"errors"
)

//go:generate go run ../../../cmd/cachegen

// A Row is one of the database's, as of some version.
type Row struct {
	ID      int
	Group   int
	Version int64
}

// ErrNotFound says that there is no such row.
var ErrNotFound = errors.New("no such row")

// Rows is a repository that has one of each kind of method.
//
//cache:repository ttl=1h
//cache:tag Item(id int)
//cache:tag Group(id int)
type Rows interface {
	// Get returns a row.
	//
	//cache:read
	//cache:depends Item(id)
	//cache:negative ErrNotFound
	Get(ctx context.Context, id int) (*Row, error)

	// All returns rows.
	//
	//cache:read
	//cache:batch Get(ids)
	All(ctx context.Context, ids []int) (map[int]*Row, error)

	// List returns the rows of a group.
	//
	//cache:read
	//cache:depends Group(group), Item(result[*].ID)
	List(ctx context.Context, group int) ([]Row, error)

	// Page returns a row that it reads through the cache.
	//
	//cache:read
	//cache:depends Item(id), Group(0)
	Page(ctx context.Context, id int) (*Row, error)

	// Old returns a row, after its time as well, if there is no other.
	//
	//cache:read ttl=1m stale=1h soft=1ms
	//cache:depends Item(id)
	Old(ctx context.Context, id int) (*Row, error)

	// Warm returns a row that is loaded again before its time.
	//
	//cache:read ttl=1h refresh=1000000
	//cache:depends Item(id)
	Warm(ctx context.Context, id int) (*Row, error)

	// Update changes rows.
	//
	//cache:write
	//cache:invalidates Item(ids[*])
	Update(ctx context.Context, ids ...int) error

	// Insert adds a row and fills in its ID.
	//
	//cache:write
	//cache:invalidates Item(row.ID), Group(row.Group)
	Insert(ctx context.Context, row *Row) error

	// Move puts a row into another group and tells from which.
	//
	//cache:write
	//cache:invalidates Item(id), Group(from), Group(to)
	Move(ctx context.Context, id, to int) (from int, err error)
}
