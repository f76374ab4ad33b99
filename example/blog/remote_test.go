package blog_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cachegen/cachegen/example/blog"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

var errDown = errors.New("the database is down")

// remote is a database that can be down, and whose answers can be held at the
// point that has the name of the call.
type remote struct {
	points *cachetest.Points
	down   atomic.Bool

	mu    sync.Mutex
	asked [][]int64 // of each call with several IDs, the IDs
}

// answer is called when the database has given an answer.
func (r *remote) answer(ctx context.Context, call string) error {
	if r.down.Load() {
		return errDown
	}
	return r.points.Reach(ctx, call)
}

func (r *remote) ask(ids []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, ids)
}

// calls returns the IDs of the calls since it was called last.
func (r *remote) calls() [][]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked = nil
	return asked
}

// remotely returns repositories whose answers come from a remote database, behind
// a cache, and the same ones that are not.
func remotely(t *testing.T, opts ...cacheruntime.Option) (far *remote, blog, direct repositories) {
	t.Helper()
	direct = database(t)
	far = &remote{points: cachetest.NewPoints(t)}
	behind := repositories{
		remotePosts{direct.posts, far}, remoteAuthors{direct.authors, far},
		remoteComments{direct.comments, far}, remoteReports{direct.reports, far},
	}
	return far, wrapped(behind, cachetest.New(t, opts...)), direct
}

type remotePosts struct {
	blog.PostRepository
	*remote
}

func (r remotePosts) ByID(ctx context.Context, id int64) (*blog.Post, error) {
	p, err := r.PostRepository.ByID(ctx, id)
	return p, errors.Join(r.answer(ctx, "ByID"), err)
}

func (r remotePosts) ByIDs(ctx context.Context, ids []int64) ([]*blog.Post, error) {
	r.ask(ids)
	posts, err := r.PostRepository.ByIDs(ctx, ids)
	return posts, errors.Join(r.answer(ctx, "ByIDs"), err)
}

func (r remotePosts) List(ctx context.Context, filter blog.Filter, page blog.Page) ([]blog.Headline, error) {
	list, err := r.PostRepository.List(ctx, filter, page)
	return list, errors.Join(r.answer(ctx, "List"), err)
}

func (r remotePosts) Search(ctx context.Context, query string, page blog.Page, traceID string) ([]blog.Headline, error) {
	list, err := r.PostRepository.Search(ctx, query, page, traceID)
	return list, errors.Join(r.answer(ctx, "Search"), err)
}

func (r remotePosts) Featured(ctx context.Context) (*blog.Feature, error) {
	feature, err := r.PostRepository.Featured(ctx)
	return feature, errors.Join(r.answer(ctx, "Featured"), err)
}

type remoteAuthors struct {
	blog.AuthorRepository
	*remote
}

func (r remoteAuthors) ByIDs(ctx context.Context, ids []int64) (map[int64]blog.Author, error) {
	r.ask(ids)
	authors, err := r.AuthorRepository.ByIDs(ctx, ids)
	return authors, errors.Join(r.answer(ctx, "ByIDs"), err)
}

type remoteComments struct {
	blog.CommentRepository
	*remote
}

func (r remoteComments) ByPost(ctx context.Context, post int64, page blog.Page) ([]blog.Comment, error) {
	comments, err := r.CommentRepository.ByPost(ctx, post, page)
	return comments, errors.Join(r.answer(ctx, "ByPost"), err)
}

type remoteReports struct {
	blog.ReportRepository
	*remote
}

func (r remoteReports) Totals(ctx context.Context) (blog.Totals, error) {
	totals, err := r.ReportRepository.Totals(ctx)
	return totals, errors.Join(r.answer(ctx, "Totals"), err)
}

// traced makes a call, and returns what it returned and what the cache did.
func traced[V any](ctx context.Context, call func(context.Context) (V, error)) (*cacheruntime.Trace, V, error) {
	ctx, trace := cacheruntime.WithTrace(ctx)
	v, err := call(ctx)
	return trace, v, err
}
