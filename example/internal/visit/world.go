package visit

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cachegen/cachegen/example/blog"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// A clock is that of the system, set ahead as far as the story has it. Visitors
// run out of patience only where the story makes them wait: the story is the same
// on a machine that is busy.
type clock struct {
	ahead atomic.Int64
	line  *line
}

func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) AfterFunc(d time.Duration, f func()) cacheruntime.Timer {
	return time.AfterFunc(d, func() {
		if c.line.slow.Load() != nil {
			f()
		}
	})
}

var errDown = errors.New("the database is down")

// A line leads to the database. The story cuts it, and slows it down.
type line struct {
	down atomic.Bool
	slow atomic.Pointer[chan struct{}] // while it is slow, answers arrive when this is closed
}

// pass waits for as long as the line takes, and fails if it is cut.
func (l *line) pass(ctx context.Context) error {
	if l.down.Load() {
		return errDown
	}
	if arrive := l.slow.Load(); arrive != nil {
		select {
		case <-*arrive:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// These repositories are at the end of a line, as far as the story makes it felt.
type (
	distantPosts struct {
		blog.PostRepository
		*line
	}
	distantComments struct {
		blog.CommentRepository
		*line
	}
)

func (r distantPosts) List(ctx context.Context, filter blog.Filter, page blog.Page) ([]blog.Headline, error) {
	if err := r.pass(ctx); err != nil {
		return nil, err
	}
	return r.PostRepository.List(ctx, filter, page)
}

func (r distantPosts) ByID(ctx context.Context, id int64) (*blog.Post, error) {
	if err := r.pass(ctx); err != nil {
		return nil, err
	}
	return r.PostRepository.ByID(ctx, id)
}

func (r distantComments) ByPost(ctx context.Context, post int64, page blog.Page) ([]blog.Comment, error) {
	if err := r.pass(ctx); err != nil {
		return nil, err
	}
	return r.CommentRepository.ByPost(ctx, post, page)
}
