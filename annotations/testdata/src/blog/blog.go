package blog // want package:"cache directives of blog"

import (
	"context"

	"tags"
)

type Post struct{ ID int64 }

//cache:repository ttl=10m
//cache:tag post(id int64)
//cache:import users "tags"
type Posts interface {
	//cache:read
	//cache:depends post(id), tags.Author(result.ID), users.Author(ids) // want `undefined: ids; did you mean "id"\? \[invalid-expression\]`
	Post(ctx context.Context, id int64) (*Post, error)

	//cache:write
	//cache:invalidates pots(p.ID) // want `unknown tag or read of Posts: pots; did you mean "post"\? \[unknown-target\]`
	Update(ctx context.Context, p *Post) error

	Delete(ctx context.Context, id int64) error // want `method Delete has no role`
}

//cache:repository ttl=1m
type Users interface {
	tags.Repository[int64, Post]
}

//cache:repository ttl=1m
type Names interface {
	tags.Repository[string, Post] // want `base.go:7:25: cannot use id \(variable of type string\) as int64 value in argument to tag Author \[invalid-expression\]`
}

// The names of the file that cachegen generated for an earlier interface.
var _ = PostTag
