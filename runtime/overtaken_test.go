package cacheruntime

import (
	"context"
	"testing"
	"testing/synctest"
)

// slowLoad makes the next load of a repository stop between reading its row and
// returning it, and later ones run through. It returns a channel that is closed
// once the load has read, and a function that lets it return.
func slowLoad(r *posts) (read <-chan struct{}, release func()) {
	reached, released := make(chan struct{}), make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leave = func(context.Context, int64) {
		r.mu.Lock()
		r.leave = nil
		r.mu.Unlock()
		close(reached)
		<-released
	}
	return reached, func() { close(released) }
}

// A load reads, a write changes the row and returns, then the load returns what
// it had read: from the moment the write has returned nobody who asks gets that,
// neither while the load still runs nor after it has ended.
func TestOvertakenLoadIsNotServed(t *testing.T) {
	for _, test := range []struct {
		name       string
		configure  func(*ReadConfig[*post])
		prepare    func(*posts)
		before     *post // nil: the row does not exist
		invalidate Tag
		after      post
		old        string
	}{
		{
			name:       "tag from the arguments",
			prepare:    func(r *posts) { r.depends = func(id int64) []Tag { return []Tag{postTag(id)} } },
			before:     &post{ID: 7, Title: "old"},
			invalidate: postTag(7),
			after:      post{ID: 7, Title: "new"},
			old:        "old",
		},
		{
			name:       "all of a tag",
			prepare:    func(r *posts) { r.depends = func(id int64) []Tag { return []Tag{postTag(id)} } },
			before:     &post{ID: 7, Title: "old"},
			invalidate: allPostTag(),
			after:      post{ID: 7, Title: "new"},
			old:        "old",
		},
		{
			name:       "one of a tag depended on as a whole",
			prepare:    func(r *posts) { r.depends = func(int64) []Tag { return []Tag{allPostTag()} } },
			before:     &post{ID: 7, Title: "old"},
			invalidate: postTag(12),
			after:      post{ID: 7, Title: "new"},
			old:        "old",
		},
		{
			name:       "tag from the result",
			prepare:    func(r *posts) { r.dependsResult = func(p *post) []Tag { return []Tag{authorTag(p.Author)} } },
			before:     &post{ID: 7, Author: 3, Title: "old"},
			invalidate: authorTag(3),
			after:      post{ID: 7, Author: 4, Title: "new"},
			old:        "old",
		},
		{
			name:       "method target",
			before:     &post{ID: 7, Title: "old"},
			invalidate: postEntry(7),
			after:      post{ID: 7, Title: "new"},
			old:        "old",
		},
		{
			name:       "all entries of a method",
			before:     &post{ID: 7, Title: "old"},
			invalidate: AllTag(postRepository + ".Post"),
			after:      post{ID: 7, Title: "new"},
			old:        "old",
		},
		{
			name:       "negative entry",
			prepare:    func(r *posts) { r.depends = func(id int64) []Tag { return []Tag{postTag(id)} } },
			invalidate: postTag(7),
			after:      post{ID: 7, Title: "new"},
			old:        "error: post not found",
		},
		{
			name:      "shared value",
			configure: func(cfg *ReadConfig[*post]) { cfg.Share = true },
			prepare:   func(r *posts) { r.depends = func(id int64) []Tag { return []Tag{postTag(id)} } },
			before:    &post{ID: 7, Title: "old"}, invalidate: postTag(7),
			after: post{ID: 7, Title: "new"},
			old:   "old",
		},
		{
			name:       "infallible",
			configure:  func(cfg *ReadConfig[*post]) { cfg.Infallible = true },
			prepare:    func(r *posts) { r.depends = func(id int64) []Tag { return []Tag{postTag(id)} } },
			before:     &post{ID: 7, Title: "old"},
			invalidate: postTag(7),
			after:      post{ID: 7, Title: "new"},
			old:        "old",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newPosts(t, test.configure)
				if test.prepare != nil {
					test.prepare(r)
				}
				if test.before != nil {
					r.set(*test.before)
				}
				ctx := t.Context()
				ask := func() <-chan string {
					answer := make(chan string, 1)
					go func() { answer <- r.title(ctx, 7) }()
					synctest.Wait()
					return answer
				}

				read, release := slowLoad(r)
				starter := ask()
				<-read
				early := ask() // joins, and may get either
				r.put(ctx, test.after, test.invalidate)
				late := ask() // joins, and must not get the old value
				release()

				if got := <-starter; got != test.old {
					t.Errorf("the call that started the load got %q, want %q", got, test.old)
				}
				if got := <-early; got != test.old && got != test.after.Title {
					t.Errorf("a call that joined before the write got %q", got)
				}
				if got := <-late; got != test.after.Title {
					t.Errorf("a call that joined after the write got %q, want %q", got, test.after.Title)
				}
				for range 2 {
					r.expectTitle(t, ctx, 7, test.after.Title)
				}
				r.expectLoads(t, 2)
				if stats := r.cache.Stats(); stats.Overtaken != 1 || stats.Hits+stats.Misses+stats.Joined != 5 {
					t.Errorf("stats: %+v", stats.Counts)
				}
			})
		})
	}
}

// Clear reaches loads in flight as well.
func TestOvertakenByClear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPosts(t, nil)
		r.set(post{ID: 7, Title: "old"})
		read, release := slowLoad(r)
		answer := make(chan string)
		go func() { answer <- r.title(t.Context(), 7) }()
		<-read
		r.set(post{ID: 7, Title: "new"})
		if err := r.cache.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		release()
		if got := <-answer; got != "old" {
			t.Errorf("the load returned %q", got)
		}
		r.expectTitle(t, t.Context(), 7, "new")
	})
}

// An entry that is stored although an invalidation came between the last check
// and the store is not served either: the check on a hit is what counts.
func TestStoredAfterInvalidation(t *testing.T) {
	store := &slowStore{memoryStore: newMemoryStore()}
	r := newPosts(t, nil, WithStore(store))
	r.set(post{ID: 7, Title: "old"})
	store.beforeSet = func() {
		store.beforeSet = nil
		r.put(t.Context(), post{ID: 7, Title: "new"}, postEntry(7))
	}
	r.expectTitle(t, t.Context(), 7, "old")
	r.expectTitle(t, t.Context(), 7, "new")
	r.expectTitle(t, t.Context(), 7, "new")
	r.expectLoads(t, 2)
}

type slowStore struct {
	*memoryStore
	beforeSet func()
}

func (s *slowStore) Set(key string, entry []byte) error {
	if s.beforeSet != nil {
		s.beforeSet()
	}
	return s.memoryStore.Set(key, entry)
}
