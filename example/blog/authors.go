package blog

import "context"

// An AuthorRepository keeps the authors.
//
//cache:repository ttl=1h jitter=10%
//cache:import strings "strings"
//cache:tag Author(id int64)
type AuthorRepository interface {
	// ByID returns an author, or ErrNotFound.
	//
	//cache:read
	//cache:depends Author(id)
	//cache:negative ErrNotFound ttl=1m
	ByID(ctx context.Context, id int64) (*Author, error)

	// ByEmail returns the author with an address, or ErrNotFound. Addresses
	// that differ in case are the same address, and the same entry.
	//
	//cache:read
	//cache:key strings.ToLower(email)
	//cache:depends Author(result.ID)
	//cache:negative ErrNotFound ttl=1m
	ByEmail(ctx context.Context, email string) (*Author, error)

	// ByIDs returns those of the authors that exist, by ID. Each is an entry of
	// ByID: what one of the two has loaded, the other need not.
	//
	//cache:read
	//cache:batch ByID(ids)
	ByIDs(ctx context.Context, ids []int64) (map[int64]Author, error)

	// List returns all authors in the order of their names.
	//
	//cache:read
	//cache:depends Author(*)
	List(ctx context.Context) ([]Author, error)

	// Create stores a new author and fills in the ID.
	//
	//cache:write
	//cache:invalidates Author(a.ID), ByEmail(a.Email)
	Create(ctx context.Context, a *Author) error

	// Rename changes the name of an author, and with it the name under all of
	// the author's posts.
	//
	//cache:write
	//cache:invalidates Author(id)
	Rename(ctx context.Context, id int64, name string) error

	// ChangeEmail changes the address of an author and returns the old one.
	//
	//cache:write
	//cache:invalidates Author(id), ByEmail(old), ByEmail(email)
	ChangeEmail(ctx context.Context, id int64, email string) (old string, err error)

	// Delete deletes an author who has no posts.
	//
	//cache:write
	//cache:invalidates Author(id)
	Delete(ctx context.Context, id int64) error
}
