package tags // want package:"cache directives of tags"

import "context"

type Repository[K comparable, V any] interface {
	//cache:read
	//cache:depends Author(id)
	Get(ctx context.Context, id K) (*V, error)
}
