package blog_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cachegen/cachegen/example/blog"
	"github.com/cachegen/cachegen/example/internal/sample"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

// feed reads posts as a batch, and checks that they are what the database says.
func feed(t *testing.T, ctx context.Context, cached, direct repositories, ids ...int64) *cacheruntime.Trace {
	t.Helper()
	trace, got, err := traced(ctx, func(ctx context.Context) ([]*blog.Post, error) { return cached.posts.ByIDs(ctx, ids) })
	if err != nil {
		t.Fatal(err)
	}
	want, err := direct.posts.ByIDs(ctx, ids)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("posts %d (-database +cache):\n%s", ids, diff)
	}
	return trace
}

// A feed asks the database for those posts only that nobody has read, and leaves
// them to those who read one.
func TestFeed(t *testing.T) {
	ctx := t.Context()
	far, cached, direct := remotely(t, standing())
	one := func(ctx context.Context, id int64) *cacheruntime.Trace {
		trace, _, _ := traced(ctx, func(ctx context.Context) (*blog.Post, error) { return cached.posts.ByID(ctx, id) })
		return trace
	}
	expect := func(step string, want ...[]int64) {
		t.Helper()
		if diff := cmp.Diff(want, far.calls()); diff != "" {
			t.Errorf("%s: IDs that the database was asked for (-want +got):\n%s", step, diff)
		}
	}

	cachetest.Miss(t, one(ctx, 5))
	trace := feed(t, ctx, cached, direct, 9, 5, 99, 1)
	cachetest.Hit(t, trace, `ByID["en"](5)`)
	cachetest.Miss(t, trace, `ByID["en"](9)`, `ByID["en"](99)`, `ByID["en"](1)`)
	expect("partly cached", []int64{9, 99, 1})

	cachetest.Hit(t, one(ctx, 9))
	cachetest.NegativeHit(t, one(ctx, 99))
	feed(t, ctx, cached, direct, 1, 99, 9)
	expect("all cached")

	if err := cached.posts.Edit(ctx, 9, "Another title", "Another text."); err != nil {
		t.Fatal(err)
	}
	feed(t, ctx, cached, direct, 1, 5, 9)
	expect("one edited", []int64{9})

	german := blog.WithLocale(ctx, "de")
	feed(t, german, cached, direct, 1, 5)
	expect("in German", []int64{1, 5})

	editor := blog.WithEditor(ctx)
	cachetest.Skipped(t, feed(t, editor, cached, direct, 1, sample.Draft))
	expect("as an editor", []int64{1, sample.Draft})
}

// A long feed is not one long statement.
func TestLongFeed(t *testing.T) {
	far, cached, direct := remotely(t, standing())
	var ids []int64
	for id := range int64(120) {
		ids = append(ids, id+1)
	}
	feed(t, t.Context(), cached, direct, ids...)
	var asked []int64
	for _, call := range far.calls() {
		if len(call) > 50 {
			t.Errorf("the database was asked for %d posts at once, want at most 50", len(call))
		}
		asked = append(asked, call...)
	}
	if slices.Sort(asked); !slices.Equal(asked, ids) {
		t.Errorf("the database was asked for %d, want each of 1 to 120 once", asked)
	}
}

func TestAuthorsByIDs(t *testing.T) {
	ctx := t.Context()
	far, cached, direct := remotely(t, standing())
	if _, err := cached.authors.ByID(ctx, sample.Grace); err != nil {
		t.Fatal(err)
	}
	ids := []int64{sample.Ada, sample.Grace, 99}
	want, err := direct.authors.ByIDs(ctx, ids)
	if err != nil {
		t.Fatal(err)
	}
	for _, asked := range [][][]int64{{{sample.Ada, 99}}, nil} {
		got, err := cached.authors.ByIDs(ctx, ids)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-database +cache):\n%s", err, diff)
		}
		if diff := cmp.Diff(asked, far.calls()); diff != "" {
			t.Errorf("IDs that the database was asked for (-want +got):\n%s", diff)
		}
	}
}
