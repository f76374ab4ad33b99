package blog_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cachegen/cachegen/example/blog"
	"github.com/cachegen/cachegen/example/internal/sample"
)

// slowPosts is a repository of posts whose first answer takes long to arrive:
// the database has given it, and is changed before the caller gets it.
type slowPosts struct {
	blog.PostRepository
	once    sync.Once
	read    chan struct{} // closed when the database has answered
	deliver chan struct{} // the answer arrives when this is closed
}

func (s *slowPosts) wait() {
	s.once.Do(func() {
		close(s.read)
		<-s.deliver
	})
}

func (s *slowPosts) ByID(ctx context.Context, id int64) (*blog.Post, error) {
	defer s.wait()
	return s.PostRepository.ByID(ctx, id)
}

func (s *slowPosts) List(ctx context.Context, filter blog.Filter, page blog.Page) ([]blog.Headline, error) {
	defer s.wait()
	return s.PostRepository.List(ctx, filter, page)
}

func (s *slowPosts) ByAuthor(ctx context.Context, author int64, page blog.Page) ([]blog.Headline, error) {
	defer s.wait()
	return s.PostRepository.ByAuthor(ctx, author, page)
}

// A load that a write overtakes has old data. Nobody who asks after the write
// may get it: neither from the cache nor from the load.
func TestOvertakenLoad(t *testing.T) {
	edit := func(id int64) func(context.Context, blog.PostRepository) error {
		return func(ctx context.Context, posts blog.PostRepository) error {
			return posts.Edit(ctx, id, "Another title", "Another text.")
		}
	}
	page := blog.Page{Number: 1, Size: 5}
	for _, test := range []struct {
		name  string
		read  func(context.Context, blog.PostRepository) (any, error)
		write func(context.Context, blog.PostRepository) error
	}{
		{
			"tag from the arguments",
			func(ctx context.Context, posts blog.PostRepository) (any, error) { return posts.ByID(ctx, 5) },
			edit(5),
		},
		{
			"tag from the result",
			func(ctx context.Context, posts blog.PostRepository) (any, error) {
				return posts.List(ctx, blog.Filter{}, page)
			},
			edit(12),
		},
		{
			"method target",
			func(ctx context.Context, posts blog.PostRepository) (any, error) {
				return posts.ByAuthor(ctx, sample.Ada, page)
			},
			func(ctx context.Context, posts blog.PostRepository) error {
				_, err := posts.Move(ctx, 5, sample.Ada)
				return err
			},
		},
		{
			"negative",
			func(ctx context.Context, posts blog.PostRepository) (any, error) {
				return posts.ByID(ctx, sample.Draft)
			},
			func(ctx context.Context, posts blog.PostRepository) error {
				_, err := posts.Publish(ctx, sample.Draft, january)
				return err
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx := t.Context()
			direct := database(t)
			slow := &slowPosts{PostRepository: direct.posts, read: make(chan struct{}), deliver: make(chan struct{})}
			behind := direct
			behind.posts = slow
			posts := cached(t, behind, standing()).posts

			type answer struct {
				value any
				err   error
			}
			ask := func(posts blog.PostRepository) <-chan answer {
				answers := make(chan answer, 1)
				go func() {
					value, err := test.read(ctx, posts)
					answers <- answer{value, err}
				}()
				return answers
			}

			before := ask(posts)
			<-slow.read
			if err := test.write(ctx, posts); err != nil {
				t.Fatal(err)
			}
			during := ask(posts)
			close(slow.deliver)

			want := <-ask(direct.posts)
			if want.err != nil {
				t.Fatal(want.err)
			}
			if got := <-before; reflect.DeepEqual(got, want) {
				t.Fatal("the slow load was not overtaken")
			}
			for name, got := range map[string]answer{"while the load runs": <-during, "after the load": <-ask(posts)} {
				if !reflect.DeepEqual(got, want) {
					t.Errorf("asked %s: %+v, want %+v", name, got, want)
				}
			}
		})
	}
}

// Readers and writers at once: a read that begins after a write has returned
// never sees what was before it.
func TestNeverStale(t *testing.T) {
	const (
		writers = 4 // each writes to posts of its own
		readers = 8
		writes  = 50 // by each writer
	)
	direct := database(t)
	posts := cached(t, direct, standing()).posts
	ctx := t.Context()

	var written [sample.Posts + 1]atomic.Int64 // by post: the version that a write has returned for
	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			for version := int64(1); version <= writes; version++ {
				id := int64(w + 1 + writers*rand.IntN(sample.Posts/writers))
				if err := posts.Edit(ctx, id, fmt.Sprint(version), ""); err != nil {
					t.Error(err)
					return
				}
				written[id].Store(version)
			}
		})
	}
	check := func(read string, id, atLeast int64, title string) {
		var version int64
		fmt.Sscan(title, &version) // 0 for the first title, which is no number
		if version < atLeast {
			t.Errorf("%s: post %d has version %d, and version %d was written before", read, id, version, atLeast)
		}
	}
	for range readers {
		reading.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				var before [sample.Posts + 1]int64
				for id := range before {
					before[id] = written[id].Load()
				}
				id := 1 + rand.Int64N(sample.Posts)
				post, err1 := posts.ByID(ctx, id)
				list, err2 := posts.List(ctx, blog.Filter{}, blog.Page{Number: 1 + rand.IntN(3), Size: 5})
				if err := errors.Join(err1, err2); err != nil {
					t.Error(err)
					return
				}
				check("ByID", id, before[id], post.Title)
				for _, headline := range list {
					check("List", headline.ID, before[headline.ID], headline.Title)
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
}
