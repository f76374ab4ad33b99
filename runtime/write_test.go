package cacheruntime

import (
	"errors"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// invalidated returns the tags that a write invalidates, as its trace has them,
// when its call does this to the post.
func invalidated(t *testing.T, call func(r *posts, write *WriteCall, p *post)) []string {
	r := newPosts(t, nil)
	ctx, trace := WithTrace(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() { recover() }()
		p := &post{ID: 1, Author: 10}
		_, write := r.update.BeginAnyway(ctx, func(tags *Tags) {
			tags.Add(feedTag())
			tags.Try(AllTag("example.com/blog.author"), func() { tags.Add(authorTag(p.Author)) })
			tags.Result(allPostTag(), func() { tags.Add(postTag(p.ID)) })
		})
		defer write.End()
		call(r, write, p)
	}()
	<-ended
	events := trace.Events()
	if len(events) != 1 || events[0].Outcome != Invalidated || events[0].Method != "Update" || events[0].Repository != postRepository {
		t.Errorf("%v", events)
	}
	if got := r.cache.Stats(); got.Invalidations.Total() != 1 || got.Methods[1].Invalidations.Total() != 1 {
		t.Errorf("%+v", got)
	}
	return events[0].Tags
}

func TestWriteTags(t *testing.T) {
	failure := errors.New("failure")
	for name, test := range map[string]struct {
		call func(*posts, *WriteCall, *post)
		want []string
	}{
		"success": {
			func(_ *posts, w *WriteCall, p *post) { w.Returned(nil) },
			[]string{"blog.author(10)", "blog.feed", "blog.post(1)"},
		},
		"changed by the call": {
			func(_ *posts, w *WriteCall, p *post) {
				*p = post{ID: 2, Author: 20}
				if w.Returned(nil) != nil {
					t.Error("Returned changes its argument")
				}
			},
			[]string{"blog.author(10)", "blog.author(20)", "blog.feed", "blog.post(2)"},
		},
		"error": {
			func(_ *posts, w *WriteCall, p *post) {
				if w.Returned(failure) != failure {
					t.Error("Returned changes its argument")
				}
			},
			[]string{"blog.author(10)", "blog.feed", "blog.post(*)"},
		},
		"panic": {
			func(*posts, *WriteCall, *post) { panic("write") },
			[]string{"blog.author(10)", "blog.feed", "blog.post(*)"},
		},
		"goexit": {
			func(*posts, *WriteCall, *post) { runtime.Goexit() },
			[]string{"blog.author(10)", "blog.feed", "blog.post(*)"},
		},
	} {
		if diff := cmp.Diff(test.want, invalidated(t, test.call)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// What was collected before the call is invalidated even if collecting again
// panics.
func TestWriteTagsPanicAfterwards(t *testing.T) {
	r := newPosts(t, nil)
	r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	r.set(post{ID: 7, Title: "old"})
	r.expectTitle(t, t.Context(), 7, "old")
	runs := 0
	func() {
		defer func() {
			if recover() != "tags" {
				t.Error("the panic is lost")
			}
		}()
		_, write := r.update.BeginAnyway(t.Context(), func(tags *Tags) {
			if runs++; runs == 2 {
				panic("tags")
			}
			tags.Add(postTag(7))
		})
		defer write.End()
		r.set(post{ID: 7, Title: "new"})
		write.Returned(nil)
	}()
	r.expectTitle(t, t.Context(), 7, "new")
}

// The clock moves after the call, not before it: what is loaded during the call
// is stale when it has returned.
func TestWriteInvalidatesAfterTheCall(t *testing.T) {
	r := newPosts(t, nil)
	r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	r.set(post{ID: 7, Title: "old"})
	_, write := r.update.BeginAnyway(t.Context(), func(tags *Tags) { tags.Add(postTag(7)) })
	r.expectTitle(t, t.Context(), 7, "old")
	r.set(post{ID: 7, Title: "new"})
	r.expectTitle(t, t.Context(), 7, "old") // the write has not returned
	write.Returned(nil)
	write.End()
	r.expectTitle(t, t.Context(), 7, "new")
}

func TestInvalidateByHand(t *testing.T) {
	r := newPosts(t, nil)
	r.depends = func(id int64) []Tag { return []Tag{postTag(id), feedTag()} }
	for id := range int64(3) {
		r.set(post{ID: id, Title: "old"})
		r.title(t.Context(), id)
		r.set(post{ID: id, Title: "new"})
	}
	ctx, trace := WithTrace(t.Context())
	if err := r.cache.Invalidate(ctx); err != nil {
		t.Fatal(err)
	}
	if len(trace.Events()) != 0 || r.cache.view().now() != 0 {
		t.Error("invalidating nothing does something")
	}
	if err := r.cache.Invalidate(ctx, postTag(0), postTag(1)); err != nil {
		t.Fatal(err)
	}
	if got := r.cache.view().now(); got != 1 {
		t.Errorf("one step moves the clock to %d", got)
	}
	if got := trace.String(); got != "invalidated  by hand  blog.post(0), blog.post(1)  "+trace.Events()[0].Duration.String()+"\n" {
		t.Errorf("%q", got)
	}
	r.expectTitle(t, t.Context(), 0, "new")
	r.expectTitle(t, t.Context(), 1, "new")
	r.expectTitle(t, t.Context(), 2, "old")
	r.cache.Invalidate(t.Context(), feedTag())
	r.expectTitle(t, t.Context(), 2, "new")
	r.set(post{ID: 2, Title: "newer"})
	if err := r.cache.Clear(ctx); err != nil {
		t.Fatal(err)
	}
	r.expectTitle(t, t.Context(), 2, "newer")
	if got := r.cache.Stats(); got.Invalidations.Total() != 3 || len(trace.Events()) != 2 {
		t.Errorf("%+v", got.Counts)
	}
}
