package visit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/rpc"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cachegen/cachegen/example/blog"
	"github.com/cachegen/cachegen/example/blog/sqlite"
	"github.com/cachegen/cachegen/example/internal/sample"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/redis"
)

const (
	// namespace is that of the example in Redis. Every visit has a database of its
	// own, but clears the cache first: of the one before nothing is left.
	namespace = "cachegen-example"

	// maxStaleness is for how long a process may serve what another one has changed.
	// The shorter it is, the more often Redis is asked.
	maxStaleness = time.Second

	// lockWait is how long a process waits for an entry that another one is loading.
	lockWait = time.Second

	// callTimeout is how long a call of a process may take at most.
	callTimeout = 2 * time.Minute
)

// Serve is the main function of a process that [RunProcesses] or [Live] has started:
// it does what it is told through in, and answers through out, until in ends.
func Serve(in io.ReadCloser, out io.Writer, opts ...cacheruntime.Option) error {
	s := &server{opts: opts}
	calls := rpc.NewServer()
	if err := calls.RegisterName(service, s); err != nil {
		return err
	}
	calls.ServeConn(struct {
		io.Reader
		io.Writer
		io.Closer
	}{in, out, in})
	return s.close()
}

// service is the name of a server for its parent, which calls it.
const service = "Server"

// A server is what runs in a child process: it serves the blog, beside others that serve
// the same. Its exported methods are called by its parent, by way of net/rpc.
type server struct {
	opts    []cacheruntime.Option
	closers []func() error
	*visit
	redis   link
	stop    context.CancelFunc // of the traffic
	traffic sync.WaitGroup
	errors  atomic.Uint64         // of it
	failure atomic.Pointer[error] // the first of them

	mu         sync.Mutex
	disruption string // the first that was noticed
}

// OpenArgs say where a process finds the blog.
type OpenArgs struct {
	Database string // its file
	Redis    string // host:port
	Clear    bool   // everything that is cached is of another database
}

// A Result is what the cache did in a call, or in several, and when.
type Result struct {
	Events    []Event
	Took      time.Duration
	Delivered time.Time // of a write: other processes could know of it by then; zero if they cannot yet
	Outdated  time.Time // of reads: when the last one began that was answered with what had been changed
}

// An Event is what is shown of a [cacheruntime.Event].
type Event struct {
	Outcome cacheruntime.Outcome
	Method  string
	Reason  cacheruntime.Reason
	Stored  bool
	Tags    []string
}

// Open opens the blog, and returns how long that took.
func (s *server) Open(args OpenArgs, took *time.Duration) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	db, err := sqlite.Open(ctx, args.Database)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, db.Close)
	options := redis.Options{
		InitAddress: []string{args.Redis},
		Namespace:   namespace,
		Timeout:     lockWait, // longer than most would wait: the demo shows what is in Redis
	}
	options.ClientOption.DialCtxFn = s.redis.dial // so that it can be cut off; nobody else needs this
	tier, err := redis.Open(ctx, options)
	if err != nil {
		return err
	}
	cache, err := cacheruntime.New(append(s.opts,
		cacheruntime.WithShared(tier),
		cacheruntime.WithMaxStaleness(maxStaleness),
		cacheruntime.WithSharedFlights(lockWait))...)
	if err != nil {
		return errors.Join(err, tier.Close())
	}
	s.closers = append(s.closers, cache.Close)
	s.visit = begin(db, cache, &clock{line: &line{}}, io.Discard)
	if args.Clear {
		if err = cache.Clear(ctx); errors.Is(err, cacheruntime.ErrUndelivered) {
			err = s.awaitDelivery(ctx) // the next process must not find what is of another database
		}
	}
	*took = time.Since(start)
	return err
}

func (s *server) close() error {
	if s.stop != nil {
		s.stop()
		s.traffic.Wait()
	}
	var errs []error
	for _, end := range slices.Backward(s.closers) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// allReads are what the visitors of all processes read.
var allReads = slices.Concat([]read{
	postByID(1), in("de", postByID(1)), postByID(5), page1, page2, machines, february, adas, graces1, graces2, related, engine,
	authorByEmail("ada@example.com"), authorByID(ada), authorsByIDs(ada, grace), allAuthors(),
	commentsByPost(1), commentCounts(1, 2, 3), latestComments(),
}, figures)

// newPage is not among them.
var newPage = list("languages", blog.Filter{Topics: []string{"languages"}}, 1)

// changes are the writes of processes, by what they are called.
var changes = map[string]func(context.Context, *visit) error{
	"posts.Edit(1)": func(ctx context.Context, v *visit) error {
		return v.cached.posts.Edit(ctx, 1, "Notes on the engines", "There is more than one.")
	},
	"authors.Rename(2)": func(ctx context.Context, v *visit) error {
		return v.cached.authors.Rename(ctx, grace, "Grace M. Hopper")
	},
	"comments.Add(post 1)": func(ctx context.Context, v *visit) error {
		return v.cached.comments.Add(ctx, &blog.Comment{PostID: 1, Name: "Joan", Body: "A moth?", Written: first(4)})
	},
	"posts.Edit(5)": func(ctx context.Context, v *visit) error {
		return v.cached.posts.Edit(ctx, 5, "The first compiler", "It was not the last one.")
	},
	"authors.Rename(1)": func(ctx context.Context, v *visit) error {
		return v.cached.authors.Rename(ctx, ada, "Ada King")
	},
	"desk.Leave(3, to 1)": func(ctx context.Context, v *visit) error {
		return v.desk.Leave(ctx, edsger, ada)
	},
}

// ReadAll makes every one of the reads, and compares the answers with the database. If
// another process has changed that, by the time changed, an outdated answer is none to
// complain of for as long as maxStaleness: the read is made again until its answer is
// that of the database.
func (s *server) ReadAll(changed time.Time, result *Result) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	defer s.watch()()
	start := time.Now()
	for _, r := range allReads {
		for {
			asked := time.Now()
			answer := s.ask(ctx, r)
			if s.err != nil {
				return s.err
			}
			err := s.compare(ctx, r, answer)
			if err == nil {
				result.add(answer.events)
				break
			}
			if changed.IsZero() || asked.Sub(changed) > maxStaleness {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			result.Outdated = asked
			pause()
		}
	}
	result.Took = time.Since(start)
	return nil
}

// CountOutdated makes every one of the reads, and returns how many of the answers are
// not those of the database.
func (s *server) CountOutdated(_ int, n *int) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	for _, r := range allReads {
		answer := s.ask(ctx, r)
		if s.err != nil {
			return s.err
		}
		if s.compare(ctx, r, answer) != nil {
			*n++
		}
	}
	return nil
}

// pause is for a moment in which others can do something.
func pause() { time.Sleep(100 * time.Microsecond) }

// watch begins to look for what can keep the cache from doing what it usually does.
// The returned function ends that.
func (s *server) watch() (end func()) {
	before, began := s.cache.Stats(), time.Now()
	s.remember(before, before.Shared.Behind)
	return func() { s.remember(s.cache.Stats(), before.Shared.Behind+time.Since(began)) }
}

func (s *server) remember(stats cacheruntime.Stats, unasked time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disruption = cmp.Or(s.disruption, disruption(stats, unasked))
}

// disruption says what may have kept a process from serving what is cached, or from
// sharing it, if anything did since it was started. It may not have asked the log for
// as long as unasked.
func disruption(stats cacheruntime.Stats, unasked time.Duration) string {
	switch log := stats.Shared; {
	case !log.Current || log.Failures > 0:
		return "cut off from the log"
	case log.Epochs > 1:
		return "told that the log began anew"
	case stats.SharedErrors > 0:
		return "not answered by Redis in time"
	case unasked > maxStaleness:
		return "too busy to ask the log in time"
	}
	return ""
}

// awaitDelivery waits until other processes can know of all writes so far: from then on
// maxStaleness counts.
func (s *server) awaitDelivery(ctx context.Context) error {
	for s.cache.Stats().Shared.Queued > 0 {
		if ctx.Err() != nil {
			return fmt.Errorf("what was written cannot be told to other processes: %w", ctx.Err())
		}
		pause()
	}
	return nil
}

// Write makes one of the changes. If its invalidation could not be delivered to other
// processes, it does not wait until it is: AwaitDelivery does.
func (s *server) Write(name string, result *Result) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	traced, trace := cacheruntime.WithTrace(ctx)
	start := time.Now()
	if err := changes[name](traced, s.visit); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	result.Took = time.Since(start)
	result.add(trace.Events())
	if s.cache.Stats().Shared.Queued == 0 {
		result.Delivered = time.Now()
	}
	return nil
}

// AwaitDelivery waits until all invalidations so far have been delivered, and returns
// when they had been.
func (s *server) AwaitDelivery(_ int, at *time.Time) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	err := s.awaitDelivery(ctx)
	*at = time.Now()
	return err
}

// Disconnect cuts the process off from Redis.
func (s *server) Disconnect(_ int, _ *int) error {
	s.redis.disconnect()
	return nil
}

// Reconnect lets the process reach Redis again, and returns how long it took until it had
// delivered what was queued, and served from its cache again.
func (s *server) Reconnect(_ int, took *time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	start := time.Now()
	s.redis.reconnect()
	err := s.awaitDelivery(ctx)
	for err == nil && !s.cache.Stats().Shared.Current {
		err = ctx.Err()
		pause()
	}
	*took = time.Since(start)
	return err
}

func (r *Result) add(events []cacheruntime.Event) {
	for _, e := range events {
		r.Events = append(r.Events, Event{e.Outcome, e.Method, e.Reason, e.Stored, e.Tags})
	}
}

// WriteVersions writes the versions 1 to n of a text, and returns when each write had
// returned and others could know of it. Every one is read again at once: the process
// that writes is never behind.
func (s *server) WriteVersions(n int, returned *[]time.Time) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	for version := 1; version <= n; version++ {
		if err := s.cached.posts.Edit(ctx, versionedPost, strconv.Itoa(version), ""); err != nil {
			return err
		}
		written := time.Now()
		seen, err := s.version(ctx)
		if err == nil && seen != version {
			err = fmt.Errorf("version %d is read after version %d was written", seen, version)
		}
		if err == nil && s.cache.Stats().Shared.Queued > 0 {
			err = s.awaitDelivery(ctx)
			written = time.Now()
		}
		if err != nil {
			return err
		}
		*returned = append(*returned, written)
		time.Sleep(time.Duration(rand.Int64N(int64(10 * time.Millisecond))))
	}
	return nil
}

// versionedPost is the post whose versions are written and read.
const versionedPost = 7

func (s *server) version(ctx context.Context) (int, error) {
	post, err := s.cached.posts.ByID(ctx, versionedPost)
	if err != nil {
		return 0, err
	}
	version, err := strconv.Atoi(post.Title)
	if err != nil {
		return 0, nil // its title from before
	}
	return version, nil
}

// VersionsSeen is what was seen of versions that another process writes.
type VersionsSeen struct {
	Reads int
	Last  map[int]time.Time // by version, when the last read began that saw it
}

// ReadVersions reads until it sees version n.
func (s *server) ReadVersions(n int, seen *VersionsSeen) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	seen.Last = map[int]time.Time{}
	for {
		began := time.Now()
		version, err := s.version(ctx)
		if err != nil {
			return err
		}
		seen.Reads++
		seen.Last[version] = began
		if version == n {
			return nil
		}
		pause()
	}
}

// Stampede lets so many callers make a read at once that nobody has made, and returns
// how many of them called the database.
func (s *server) Stampede(callers int, loads *uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	defer s.watch()()
	before := s.cache.Stats().Loads
	errs := make([]error, callers)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() {
			value, err := newPage.call(ctx, s.cached)
			errs[i] = s.compare(ctx, newPage, answer{value: value, err: err})
		})
	}
	group.Wait()
	*loads = s.cache.Stats().Loads - before
	return errors.Join(errs...)
}

// ProcessStats is what a process has counted.
type ProcessStats struct {
	cacheruntime.Counts
	Shared     cacheruntime.SharedStats
	Disruption string // what has kept the process from serving what is cached; "" if nothing was noticed
	Failed     uint64 // calls of visitors
	Failure    string // the error of the first of them
}

// Stats returns what the process has counted so far.
func (s *server) Stats(_ int, p *ProcessStats) error {
	s.watch()()
	stats := s.cache.Stats()
	*p = ProcessStats{Counts: stats.Counts, Shared: stats.Shared, Failed: s.errors.Load()}
	if err := s.failure.Load(); err != nil {
		p.Failure = (*err).Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Disruption = s.disruption
	return nil
}

// Traffic lets so many visitors read at random, and now and then write, until the
// process ends.
func (s *server) Traffic(visitors int, _ *int) error {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	for range visitors {
		s.traffic.Go(func() {
			for ctx.Err() == nil {
				// A call that has begun is not given up: what a write may have changed would
				// not be cached until a lease is over, in whatever is run next.
				s.randomCall(context.WithoutCancel(ctx))
				select {
				case <-time.After(time.Duration(rand.Int64N(int64(2 * time.Millisecond)))):
				case <-ctx.Done():
				}
			}
		})
	}
	return nil
}

// randomCall is a call at random: one in a thousand is a write.
func (s *server) randomCall(ctx context.Context) {
	var err error
	if rand.IntN(1000) == 0 {
		err = s.cached.posts.Edit(ctx, rand.Int64N(sample.Posts)+1, "Edited at "+time.Now().Format(time.TimeOnly), "")
	} else {
		_, err = allReads[rand.IntN(len(allReads))].call(ctx, s.cached)
	}
	if unexpected(err) != nil {
		s.failure.CompareAndSwap(nil, &err)
		s.errors.Add(1)
	}
}

// events are those of an answer as a report shows them.
func (r *Result) events() []cacheruntime.Event {
	var events []cacheruntime.Event
	for _, e := range r.Events {
		events = append(events, cacheruntime.Event{Outcome: e.Outcome, Method: e.Method, Reason: e.Reason, Stored: e.Stored, Tags: e.Tags})
	}
	return events
}

// count is how many of the events have the outcome.
func (r *Result) count(outcome cacheruntime.Outcome) (n int) {
	for _, e := range r.Events {
		if e.Outcome == outcome {
			n++
		}
	}
	return n
}
