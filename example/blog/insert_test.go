package blog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cachegen/cachegen/example/blog"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

// inserts stores authors, and loses the answer of an insert: the row is there,
// Create returns an error, and the ID was never filled in.
type inserts struct {
	blog.AuthorRepository
	rows map[int64]*blog.Author
	ends error
	then func()
}

func (r *inserts) ByID(_ context.Context, id int64) (*blog.Author, error) {
	if a, ok := r.rows[id]; ok {
		return a, nil
	}
	return nil, blog.ErrNotFound
}

func (r *inserts) Create(_ context.Context, a *blog.Author) error {
	row := *a
	row.ID = 1
	r.rows[1] = &row
	if r.then != nil {
		r.then()
	}
	if r.ends == nil {
		a.ID = 1
	}
	return r.ends
}

func (r *inserts) List(context.Context) ([]blog.Author, error) {
	var all []blog.Author
	for _, a := range r.rows {
		all = append(all, *a)
	}
	return all, nil
}

// An insert of which the answer is lost has landed when Create returns. The
// README promises that no read that begins then sees what was before, whether
// the write succeeded or not. The ID that Create was to fill in is 0: what is
// invalidated, and marked, is Author(0), and the remembered "not found" of the
// new author is served for its whole lifetime.
func TestInsertWithoutAnswer(t *testing.T) {
	for name, ends := range map[string]error{
		"ambiguous": context.DeadlineExceeded,
		"failed":    errors.New("no LastInsertId"),
	} {
		t.Run(name, func(t *testing.T) {
			next := &inserts{rows: map[int64]*blog.Author{}, ends: ends}
			authors := blog.NewCachedAuthorRepository(next, cachetest.New(t))
			if _, err := authors.ByID(t.Context(), 1); !errors.Is(err, blog.ErrNotFound) {
				t.Fatal(err)
			}
			if err := authors.Create(t.Context(), &blog.Author{Name: "Ada"}); err == nil {
				t.Fatal("no error")
			}
			ctx, trace := cacheruntime.WithTrace(t.Context())
			if _, err := authors.ByID(ctx, 1); err != nil {
				t.Errorf("the author is in the database, and: %v\n%v", err, trace)
			}
		})
	}
}

// With guarded writes no reader sees new data and then old.
func TestGuardedInsert(t *testing.T) {
	next := &inserts{rows: map[int64]*blog.Author{}}
	authors := blog.NewCachedAuthorRepository(next, cachetest.New(t, cacheruntime.WithGuardedWrites(time.Minute)))
	if _, err := authors.ByID(t.Context(), 1); !errors.Is(err, blog.ErrNotFound) {
		t.Fatal(err)
	}
	next.then = func() { // committed, and not returned yet
		all, err := authors.List(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		ctx, trace := cacheruntime.WithTrace(t.Context())
		if _, err := authors.ByID(ctx, all[0].ID); err != nil {
			t.Errorf("the reader has seen author %d in the list, and then: %v\n%v", all[0].ID, err, trace)
		}
	}
	if err := authors.Create(t.Context(), &blog.Author{Name: "Ada"}); err != nil {
		t.Fatal(err)
	}
}
