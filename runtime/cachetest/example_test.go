package cachetest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/cachegen/cachegen/example/blog"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

// authors is a fake of the repository behind the cache. Methods that a test does
// not need are those of the nil interface.
type authors struct {
	blog.AuthorRepository
	points *cachetest.Points // may be nil

	mu    sync.Mutex
	names map[int64]string
}

func newAuthors(points *cachetest.Points) *authors {
	return &authors{points: points, names: map[int64]string{7: "Ada"}}
}

func (r *authors) ByID(ctx context.Context, id int64) (*blog.Author, error) {
	r.mu.Lock()
	name, ok := r.names[id]
	r.mu.Unlock()
	if r.points != nil {
		// The rows have been looked at, and the answer is on its way.
		if err := r.points.Reach(ctx, fmt.Sprint("loaded ", id)); err != nil {
			return nil, err
		}
	}
	if !ok {
		return nil, blog.ErrNotFound
	}
	return &blog.Author{ID: id, Name: name}, nil
}

func (r *authors) Rename(_ context.Context, id int64, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names[id] = name
	return nil
}

// t stands for the one that a test function gets.
var t testing.TB = exampleT{}

type exampleT struct{ testing.TB }

func (exampleT) Helper()                           {}
func (exampleT) Cleanup(func())                    {}
func (exampleT) Output() io.Writer                 { return io.Discard }
func (exampleT) Context() context.Context          { return context.Background() }
func (exampleT) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (exampleT) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }

func ExampleHit() {
	repo := blog.NewCachedAuthorRepository(newAuthors(nil), cachetest.New(t))

	ctx, trace := cacheruntime.WithTrace(t.Context())
	repo.ByID(ctx, 7)
	cachetest.Miss(t, trace)

	ctx, trace = cacheruntime.WithTrace(t.Context())
	author, err := repo.ByID(ctx, 7)
	cachetest.Hit(t, trace)
	fmt.Println(author.Name, err)

	// An author who does not exist is remembered as well.
	repo.ByID(t.Context(), 8)
	ctx, trace = cacheruntime.WithTrace(t.Context())
	_, err = repo.ByID(ctx, 8)
	cachetest.NegativeHit(t, trace)
	fmt.Println(err)
	// Output:
	// Ada <nil>
	// not found
}

func ExampleInvalidated() {
	repo := blog.NewCachedAuthorRepository(newAuthors(nil), cachetest.New(t))
	repo.ByID(t.Context(), 7)

	ctx, trace := cacheruntime.WithTrace(t.Context())
	repo.Rename(ctx, 7, "Ada Lovelace")
	cachetest.Invalidated(t, trace, blog.AuthorTag(7))

	ctx, trace = cacheruntime.WithTrace(t.Context())
	author, _ := repo.ByID(ctx, 7)
	cachetest.Reason(t, trace, cacheruntime.ReasonInvalidated)
	fmt.Println(author.Name)
	// Output: Ada Lovelace
}

func ExampleClock() {
	clock := cachetest.NewClock()
	cache := cachetest.New(t, cacheruntime.WithClock(clock))
	repo := blog.NewCachedAuthorRepository(newAuthors(nil), cache)

	// ByID has ttl=1h jitter=10%.
	repo.ByID(t.Context(), 7)
	clock.Advance(54*time.Minute - time.Nanosecond)
	ctx, trace := cacheruntime.WithTrace(t.Context())
	repo.ByID(ctx, 7)
	cachetest.Hit(t, trace)

	clock.Advance(6*time.Minute + time.Nanosecond)
	ctx, trace = cacheruntime.WithTrace(t.Context())
	repo.ByID(ctx, 7)
	cachetest.Miss(t, trace)
	cachetest.Reason(t, trace, cacheruntime.ReasonExpired)
	// Output:
}

// A write overtakes a load that has its answer already. Who asks after the write
// must not get that answer.
func ExamplePoints() {
	points := cachetest.NewPoints(t)
	repo := blog.NewCachedAuthorRepository(newAuthors(points), cachetest.New(t))

	points.Hold("loaded 7")
	slow := make(chan string)
	go func() {
		author, err := repo.ByID(t.Context(), 7)
		if err != nil {
			t.Errorf("slow read: %v", err)
		}
		slow <- author.Name
	}()
	points.Wait("loaded 7")
	repo.Rename(t.Context(), 7, "Ada Lovelace")
	points.Release("loaded 7")

	fmt.Println("asked before:", <-slow)
	ctx, trace := cacheruntime.WithTrace(t.Context())
	author, _ := repo.ByID(ctx, 7)
	fmt.Println("asked after:", author.Name)
	cachetest.Miss(t, trace)
	fmt.Println(points.Count("loaded 7"), "loads")
	// Output:
	// asked before: Ada
	// asked after: Ada Lovelace
	// 2 loads
}

// A store that fails costs loads, and nobody sees an error.
func ExampleStore() {
	store := cachetest.NewStore(t)
	cache := cachetest.New(t, cacheruntime.WithStore(store))
	repo := blog.NewCachedAuthorRepository(newAuthors(nil), cache)
	read := func() *cacheruntime.Trace {
		ctx, trace := cacheruntime.WithTrace(t.Context())
		if _, err := repo.ByID(ctx, 7); err != nil {
			t.Errorf("author 7: %v", err)
		}
		return trace
	}
	read()
	cachetest.Hit(t, read())

	store.FailGets(errors.New("connection refused"))
	cachetest.Reason(t, read(), cacheruntime.ReasonStoreError)
	store.Heal()
	cachetest.Hit(t, read())

	store.Damage()
	cachetest.Reason(t, read(), cacheruntime.ReasonUndecodable)
	cachetest.Hit(t, read())

	store.ForgetAll()
	cachetest.Reason(t, read(), cacheruntime.ReasonAbsent)
	fmt.Println(store.Len(), "entry")
	// Output: 1 entry
}

// Two processes share a log. What one has written the other sees, though it has an
// entry of its own; and when it is cut off it asks the repository.
func ExampleShared() {
	shared := cachetest.NewShared(t)
	authors := newAuthors(nil)
	tier := shared.Tier()
	open := func(tier *cachetest.Tier) *cacheruntime.Cache {
		return cachetest.New(t, cacheruntime.WithShared(tier), cacheruntime.WithMaxStaleness(0))
	}
	here, there := open(shared.Tier()), open(tier)
	defer here.Close() // with the t of a test, New sees to that
	defer there.Close()
	writer := blog.NewCachedAuthorRepository(authors, here)
	reader := blog.NewCachedAuthorRepository(authors, there)
	read := func() {
		ctx, trace := cacheruntime.WithTrace(t.Context())
		author, err := reader.ByID(ctx, 7)
		if err != nil {
			t.Errorf("author 7: %v", err)
		}
		fmt.Println(author.Name, trace.Events()[0].Outcome)
	}
	read()
	read()
	writer.Rename(t.Context(), 7, "Ada Lovelace")
	read()
	read()
	tier.Cut()
	read()
	// Output:
	// Ada miss
	// Ada hit
	// Ada Lovelace miss
	// Ada Lovelace hit
	// Ada Lovelace miss
}
