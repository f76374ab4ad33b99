package cacheruntime

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

var errNotFound = errors.New("post not found")

// post is what the repository of these tests holds.
type post struct {
	ID     int64
	Author int64
	Title  string
	Tags   []string
}

func encodePost(e *Encoder, p *post) {
	if e.Nil(p == nil) {
		return
	}
	e.Int(p.ID)
	e.Int(p.Author)
	e.String(p.Title)
	e.Len(len(p.Tags), p.Tags == nil)
	for _, tag := range p.Tags {
		e.String(tag)
	}
}

func decodePost(d *Decoder) *post {
	if !d.Some() {
		return nil
	}
	p := &post{ID: d.Int(), Author: d.Int(), Title: d.String()}
	if n, isNil := d.Len(1); !isNil {
		p.Tags = make([]string, n)
		for i := range p.Tags {
			p.Tags[i] = d.String()
		}
	}
	return p
}

// posts is a repository: rows in memory, and a wrapper as it is generated.
type posts struct {
	cache  *Cache
	read   *Read[*post]
	update *Write

	mu    sync.Mutex
	rows  map[int64]post
	loads int
	// enter and leave, where set, are called in a load before and after it
	// looks at the rows.
	enter, leave func(ctx context.Context, id int64)
	failure      error // of every load, where set

	depends       func(id int64) []Tag
	dependsResult func(*post) []Tag
	store         func(*post) bool
	ttl           func(*post) time.Duration
}

const postRepository = "example.com/blog.PostRepository"

// newPosts makes a repository in which every read loads post id, once configure
// has changed the defaults.
func newPosts(t testing.TB, configure func(*ReadConfig[*post]), opts ...Option) *posts {
	t.Helper()
	opts = append([]Option{WithLogger(slog.New(slog.DiscardHandler))}, opts...)
	cache, err := New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	return newPostsOn(cache, configure)
}

func newPostsOn(cache *Cache, configure func(*ReadConfig[*post])) *posts {
	cfg := ReadConfig[*post]{
		Repository: postRepository,
		Method:     "Post",
		TTL:        time.Hour,
		IsNil:      func(p *post) bool { return p == nil },
		Negative:   []Negative{{Err: errNotFound}},
		Encode:     encodePost,
		Decode:     decodePost,
	}
	if configure != nil {
		configure(&cfg)
	}
	return &posts{
		cache:  cache,
		read:   NewRead(cache, cfg),
		update: NewWrite(cache, postRepository, "Update"),
		rows:   map[int64]post{},
	}
}

func postTag(id int64) Tag {
	key := NewKey()
	key.Int(id)
	return key.Tag("example.com/blog.post")
}

func allPostTag() Tag { return AllTag("example.com/blog.post") }

func authorTag(id int64) Tag {
	key := NewKey()
	key.Int(id)
	return key.Tag("example.com/blog.author")
}

func feedTag() Tag { return NewKey().Tag("example.com/blog.feed") }

func postEntry(id int64) Tag {
	key := NewKey()
	key.Int(id)
	return key.Tag(postRepository + ".Post")
}

// get is the generated method of the read.
func (r *posts) get(ctx context.Context, id int64) (*post, error) {
	key := r.read.Key(ctx)
	defer key.Release()
	key.Int(id)
	if result, err, ok := r.read.Lookup(ctx, key); ok {
		return result, err
	}
	loader := Loader[*post]{
		Call:  func(ctx context.Context) (*post, error) { return r.load(ctx, id) },
		Store: r.store,
		TTL:   r.ttl,
	}
	if r.depends != nil {
		loader.Depends = func(tags *Tags) {
			for _, tag := range r.depends(id) {
				tags.Add(tag)
			}
		}
	}
	if r.dependsResult != nil {
		loader.DependsResult = func(tags *Tags, p *post) {
			for _, tag := range r.dependsResult(p) {
				tags.Add(tag)
			}
		}
	}
	return r.read.Load(ctx, key, loader)
}

// load is the uncached method.
func (r *posts) load(ctx context.Context, id int64) (*post, error) {
	r.mu.Lock()
	r.loads++
	enter, leave, failure := r.enter, r.leave, r.failure
	r.mu.Unlock()
	if enter != nil {
		enter(ctx, id)
	}
	r.mu.Lock()
	p, ok := r.rows[id]
	r.mu.Unlock()
	if leave != nil {
		leave(ctx, id)
	}
	switch {
	case failure != nil:
		return nil, failure
	case !ok:
		return nil, errNotFound
	}
	return &p, nil
}

// fail makes every load from now on return the error; nil ends that.
func (r *posts) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = err
}

// put is the generated method of the write: it changes a row and invalidates.
func (r *posts) put(ctx context.Context, p post, invalidates ...Tag) {
	_, call := r.update.BeginAnyway(ctx, func(tags *Tags) {
		for _, tag := range invalidates {
			tags.Add(tag)
		}
	})
	defer call.End()
	r.set(p)
	call.Returned(nil)
}

// write is the generated method of a write that does something: call is what it
// does to the rows.
func (r *posts) write(ctx context.Context, call func(ctx context.Context) error, invalidates ...Tag) error {
	ctx, write, err := r.update.Begin(ctx, func(tags *Tags) { tags.Add(invalidates...) })
	if err != nil {
		return err
	}
	defer write.End()
	return write.Returned(call(ctx))
}

// set changes a row behind the cache's back.
func (r *posts) set(p post) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows[p.ID] = p
}

func (r *posts) loadCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loads
}

// title reads a post and returns its title, or what went wrong.
func (r *posts) title(ctx context.Context, id int64) string {
	p, err := r.get(ctx, id)
	switch {
	case err != nil:
		return "error: " + err.Error()
	case p == nil:
		return "nil"
	}
	return p.Title
}

// expectTitle fails the test unless a read returns the title.
func (r *posts) expectTitle(t *testing.T, ctx context.Context, id int64, want string) {
	t.Helper()
	if got := r.title(ctx, id); got != want {
		t.Errorf("read post %d: %q, want %q", id, got, want)
	}
}

func (r *posts) expectLoads(t *testing.T, want int) {
	t.Helper()
	if got := r.loadCount(); got != want {
		t.Errorf("%d loads, want %d", got, want)
	}
}

// memoryStore is a store whose entries a test can see and damage, and that fails
// on demand.
type memoryStore struct {
	mu              sync.Mutex
	entries         map[string][]byte
	getErr, setErr  error
	resetErr        error
	closed, dropped int
}

func newMemoryStore() *memoryStore { return &memoryStore{entries: map[string][]byte{}} }

func (s *memoryStore) Get(key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entry, ok := s.entries[key]
	return entry, ok, s.getErr
}

func (s *memoryStore) Set(key string, entry []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.setErr != nil {
		return s.setErr
	}
	s.entries[key] = entry
	return nil
}

func (s *memoryStore) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped++
	return s.resetErr
}

func (s *memoryStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed++
	return nil
}

// testLogger keeps what is logged.
type testLogger struct {
	*slog.Logger
	mu  sync.Mutex
	out strings.Builder
}

func newTestLogger() *testLogger {
	l := &testLogger{}
	l.Logger = slog.New(slog.NewTextHandler(l, nil))
	return l
}

func (l *testLogger) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

func (l *testLogger) messages() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(l.out.String(), "\n"), "\n")
}

// advance lets time pass in a synctest bubble.
func advance(d time.Duration) { <-time.After(d) }
