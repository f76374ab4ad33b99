package cacheruntime

import (
	"context"
	"testing"
)

// A read whose load makes another cached read, on the same tag: what the inner one
// answers from the cache while a write is invalidating must not become the
// outer one's entry with a stamp from after the write.
func TestNestedReadDuringInvalidation(t *testing.T) {
	for name, invalidate := range map[string]func(r *posts, tags []Tag){
		"write": func(r *posts, tags []Tag) {
			_, w := r.update.BeginAnyway(context.Background(), func(all *Tags) { all.Add(tags...) })
			w.Returned(nil)
			w.End()
		},
		"by hand": func(r *posts, tags []Tag) { r.cache.Invalidate(context.Background(), tags...) },
		"transaction": func(r *posts, tags []Tag) {
			ctx, tx := r.cache.Begin(context.Background())
			_, w := r.update.BeginAnyway(ctx, func(all *Tags) { all.Add(tags...) })
			w.Returned(nil)
			w.End()
			tx.Commit(func() error { return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTagged(t)
			outer := newPostsOn(r.cache, func(cfg *ReadConfig[*post]) { cfg.Method = "Outer" })
			outer.depends = r.depends
			outer.enter = func(ctx context.Context, id int64) {
				p, err := r.get(ctx, id)
				if err != nil {
					t.Error(err)
				}
				outer.set(*p) // what it returns is made of what the inner read returns
			}
			// So that raising the words takes a moment. The order is that of the tags,
			// or of their slots in a transaction: post 7 is not among the first.
			var tags []Tag
			for i := range int64(200_000) {
				tags = append(tags, postTag(1000+i))
			}
			tags = append(tags, postTag(7))
			r.set(post{ID: 7, Title: "new"}) // the write has been made, and is about to return
			before := r.cache.view().now()
			done := make(chan struct{})
			go func() {
				defer close(done)
				invalidate(r, tags)
			}()
			for r.cache.view().now() == before {
			}
			outer.title(t.Context(), 7) // concurrent with the write: may be old
			select {
			case <-done:
				t.Log("too late to show anything")
			default:
			}
			<-done
			outer.expectTitle(t, t.Context(), 7, "new")
		})
	}
}
