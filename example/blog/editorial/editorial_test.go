package editorial_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cachegen/cachegen/example/blog"
	"github.com/cachegen/cachegen/example/blog/editorial"
	"github.com/cachegen/cachegen/example/blog/sqlite"
	"github.com/cachegen/cachegen/example/internal/sample"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

// An office is a blog with an editors' desk.
type office struct {
	desk    *editorial.Desk
	db      *sqlite.DB
	posts   blog.PostRepository // cached
	authors blog.AuthorRepository
	points  *cachetest.Points // of the steps of what is done at the desk
	trouble func() error      // before an author is deleted; nil if there is none
}

func open(t *testing.T) *office {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "blog.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := sample.Fill(t.Context(), db.Posts(), db.Authors(), db.Comments()); err != nil {
		t.Fatal(err)
	}
	cache := cachetest.New(t, cacheruntime.WithClock(cachetest.NewClock()))
	o := &office{db: db, points: cachetest.NewPoints(t)}
	o.posts = blog.NewCachedPostRepository(postsOf{db.Posts(), o}, cache)
	o.authors = blog.NewCachedAuthorRepository(authorsOf{db.Authors(), o}, cache)
	o.desk = editorial.NewDesk(db.SQL(), cache, o.posts, o.authors)
	return o
}

type postsOf struct {
	blog.PostRepository
	office *office
}

func (r postsOf) Feature(ctx context.Context, id int64, until time.Time) error {
	if err := r.office.points.Reach(ctx, "feature"); err != nil {
		return err
	}
	return r.PostRepository.Feature(ctx, id, until)
}

type authorsOf struct {
	blog.AuthorRepository
	office *office
}

func (r authorsOf) Delete(ctx context.Context, id int64) error {
	if err := r.office.points.Reach(ctx, "delete"); err != nil {
		return err
	}
	if r.office.trouble != nil {
		if err := r.office.trouble(); err != nil {
			return err
		}
	}
	return r.AuthorRepository.Delete(ctx, id)
}

// A view is what visitors see of what is done at the desk.
type view struct {
	Draft    *blog.Post
	Featured *blog.Feature
	Latest   []blog.Headline
	Edsger   *blog.Author
	Edsgers  []blog.Headline
	Adas     []blog.Headline
}

// look reads a view. What does not exist is nil in it.
func look(ctx context.Context, posts blog.PostRepository, authors blog.AuthorRepository) (v view, err error) {
	var errs [6]error
	page := blog.Page{Number: 1, Size: 100}
	v.Draft, errs[0] = posts.ByID(ctx, sample.Draft)
	v.Featured, errs[1] = posts.Featured(ctx)
	v.Latest, errs[2] = posts.List(ctx, blog.Filter{}, page)
	v.Edsger, errs[3] = authors.ByID(ctx, sample.Edsger)
	v.Edsgers, errs[4] = posts.ByAuthor(ctx, sample.Edsger, page)
	v.Adas, errs[5] = posts.ByAuthor(ctx, sample.Ada, page)
	for i, err := range errs {
		if errors.Is(err, blog.ErrNotFound) {
			errs[i] = nil
		}
	}
	return v, errors.Join(errs[:]...)
}

// see looks at the blog through the cache.
func (o *office) see(t *testing.T) (view, *cacheruntime.Trace) {
	t.Helper()
	ctx, trace := cacheruntime.WithTrace(t.Context())
	v, err := look(ctx, o.posts, o.authors)
	if err != nil {
		t.Fatal(err)
	}
	return v, trace
}

// stored is what the database has.
func (o *office) stored(t *testing.T) view {
	t.Helper()
	v, err := look(t.Context(), o.db.Posts(), o.db.Authors())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func expect(t *testing.T, what string, got, want view) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

var april = time.Date(2026, time.April, 1, 0, 0, 0, 0, time.UTC)

// Visitors see all that is done at the desk, or nothing: the old, from the cache,
// until the commit, and the new from then on.
func TestCommit(t *testing.T) {
	for _, test := range []struct {
		name, held string // the last step
		work       func(*office, context.Context) error
	}{
		{"Launch", "feature", func(o *office, ctx context.Context) error {
			return o.desk.Launch(ctx, sample.Draft, april, time.Now().Add(time.Hour))
		}},
		{"Leave", "delete", func(o *office, ctx context.Context) error {
			return o.desk.Leave(ctx, sample.Edsger, sample.Ada)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := open(t)
			before, _ := o.see(t)
			o.points.Hold(test.held)
			done := make(chan error, 1)
			go func() { done <- test.work(o, t.Context()) }()
			o.points.Wait(test.held)

			during, trace := o.see(t)
			expect(t, "during the transaction", during, before)
			for _, event := range trace.Events() {
				if event.Outcome != cacheruntime.Hit && event.Outcome != cacheruntime.NegativeHit {
					t.Errorf("during the transaction: %v", event)
				}
			}

			o.points.Release(test.held)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			after, _ := o.see(t)
			expect(t, "after the commit", after, o.stored(t))
			if cmp.Equal(after, before) {
				t.Error("nothing has changed")
			}
		})
	}
}

func TestLaunch(t *testing.T) {
	o := open(t)
	if err := o.desk.Launch(t.Context(), sample.Draft, april, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	// The front page has been loaded again, after the commit.
	ctx, trace := cacheruntime.WithTrace(t.Context())
	feature, err := o.posts.Featured(ctx)
	cachetest.Hit(t, trace)
	if err != nil || feature.Post.ID != sample.Draft || !feature.Post.Published.Equal(april) {
		t.Errorf("%+v, %v", feature, err)
	}
	if err := o.desk.Launch(t.Context(), sample.Draft, april, time.Now().Add(time.Hour)); !errors.Is(err, blog.ErrNotFound) {
		t.Errorf("Launch of what is no draft any more: %v", err)
	}
}

func TestLeave(t *testing.T) {
	o := open(t)
	if err := o.desk.Leave(t.Context(), sample.Ada, sample.Grace); err != nil {
		t.Fatal(err)
	}
	draft, err := o.posts.ByID(blog.WithEditor(t.Context()), sample.Draft)
	if err != nil || draft.AuthorID != sample.Grace {
		t.Errorf("the draft: %+v, %v", draft, err)
	}
	if ada, err := o.authors.ByID(t.Context(), sample.Ada); !errors.Is(err, blog.ErrNotFound) {
		t.Errorf("%+v, %v", ada, err)
	}
	if err := o.desk.Leave(t.Context(), sample.Grace, sample.Grace); err == nil {
		t.Error("an author inherited from herself")
	}
}

var errTrouble = errors.New("trouble")

// If the last step fails, or panics, the database is what it was, and so is what
// visitors see. The next one at the desk can work.
func TestRollback(t *testing.T) {
	leave := func(o *office, t *testing.T, heir int64) (err error) {
		defer func() {
			if value := recover(); value != nil {
				err = value.(error)
			}
		}()
		return o.desk.Leave(t.Context(), sample.Edsger, heir)
	}
	for _, test := range []struct {
		name    string
		trouble func() error
	}{
		{"error", func() error { return errTrouble }},
		{"panic", func() error { panic(errTrouble) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := open(t)
			before, _ := o.see(t)
			o.trouble = test.trouble
			if err := leave(o, t, sample.Ada); !errors.Is(err, errTrouble) {
				t.Fatalf("Leave: %v, want %v", err, errTrouble)
			}
			expect(t, "the database after the rollback", o.stored(t), before)
			after, trace := o.see(t)
			expect(t, "after the rollback", after, before)
			cachetest.Reason(t, trace, cacheruntime.ReasonInvalidated, "ByAuthor")

			o.trouble = nil
			if err := leave(o, t, sample.Ada); err != nil {
				t.Fatalf("Leave after the rollback: %v", err)
			}
			after, _ = o.see(t)
			expect(t, "after the commit", after, o.stored(t))
		})
	}
	t.Run("no heir", func(t *testing.T) {
		o := open(t)
		before, _ := o.see(t)
		if err := leave(o, t, 99); err == nil {
			t.Fatal("nobody has inherited")
		}
		expect(t, "the database after the rollback", o.stored(t), before)
	})
}
