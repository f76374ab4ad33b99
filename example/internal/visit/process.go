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

	// bound is for how long a process may serve what another one has changed.
	bound = time.Second

	// flights is how long a process waits for what another one is loading.
	flights = time.Second

	// patience is how long a call of a process may take at most.
	patience = 30 * time.Second
)

// Serve is the main function of a process that [RunProcesses] or [Live] has started:
// it does what it is told through in, and answers through out, until in ends.
func Serve(in io.ReadCloser, out io.Writer, opts ...cacheruntime.Option) error {
	p := &process{opts: opts}
	server := rpc.NewServer()
	if err := server.RegisterName(service, p); err != nil {
		return err
	}
	server.ServeConn(struct {
		io.Reader
		io.Writer
		io.Closer
	}{in, out, in})
	return p.close()
}

// service is the name of a process for those who call it.
const service = "Process"

// A process is one of several that serve the same blog. Its exported methods are
// called by the program that started it, by way of net/rpc.
type process struct {
	opts    []cacheruntime.Option
	closers []func() error
	*visit
	stop    context.CancelFunc // of the traffic
	traffic sync.WaitGroup
	errors  atomic.Uint64         // of it
	failure atomic.Pointer[error] // the first of them

	mu        sync.Mutex
	hindrance string // the first that was noticed
}

// A Setup says where a process finds the blog.
type Setup struct {
	Database string // its file
	Redis    string // host:port
	Clear    bool   // everything that is cached is of another database
}

// An Answer is what a call of the cache did, and when.
type Answer struct {
	Events   []Event
	Took     time.Duration
	Returned time.Time // of a write: and other processes could know of it
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
func (p *process) Open(setup Setup, took *time.Duration) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	db, err := sqlite.Open(ctx, setup.Database)
	if err != nil {
		return err
	}
	p.closers = append(p.closers, db.Close)
	tier, err := redis.Open(ctx, redis.Options{
		InitAddress: []string{setup.Redis},
		Namespace:   namespace,
		Timeout:     flights, // longer than a server would wait: the visit shows what is in Redis
	})
	if err != nil {
		return err
	}
	cache, err := cacheruntime.New(append(p.opts,
		cacheruntime.WithShared(tier),
		cacheruntime.WithMaxStaleness(bound),
		cacheruntime.WithSharedFlights(flights))...)
	if err != nil {
		return errors.Join(err, tier.Close())
	}
	p.closers = append(p.closers, cache.Close)
	p.visit = begin(db, cache, &clock{line: &line{}}, io.Discard)
	if setup.Clear {
		if err = cache.Clear(ctx); errors.Is(err, cacheruntime.ErrUndelivered) {
			err = p.delivered(ctx) // the next process must not find what is of another database
		}
	}
	*took = time.Since(start)
	return err
}

func (p *process) close() error {
	if p.stop != nil {
		p.stop()
		p.traffic.Wait()
	}
	var errs []error
	for _, end := range slices.Backward(p.closers) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// tour is what the visitors of all processes read.
var tour = slices.Concat([]read{
	postByID(1), in("de", postByID(1)), postByID(5), page1, page2, machines, february, adas, graces1, graces2, related, engine,
	authorByEmail("ada@example.com"), authorByID(ada), authorsByIDs(ada, grace), allAuthors(),
	commentsByPost(1), commentCounts(1, 2, 3), latestComments(),
}, figures)

// unread is a page that is not on the tour.
var unread = list("languages", blog.Filter{Topics: []string{"languages"}}, 1)

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
	"desk.Leave(3, to 1)": func(ctx context.Context, v *visit) error {
		return v.desk.Leave(ctx, edsger, ada)
	},
}

// Tour makes every read of the tour once. Where an answer is not that of the database,
// which another process has changed at that time, it is asked for again until it is:
// Returned is when the last answer was asked for that was not, if there was one.
func (p *process) Tour(changed time.Time, a *Answer) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	defer p.notice()()
	start := time.Now()
	for _, r := range tour {
		for {
			asked := time.Now()
			answer := p.ask(ctx, r)
			if p.err != nil {
				return p.err
			}
			err := p.compare(ctx, r, answer)
			if err == nil {
				a.add(answer.events)
				break
			}
			if changed.IsZero() || asked.Sub(changed) > bound {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			if asked.After(a.Returned) {
				a.Returned = asked
			}
			pause()
		}
	}
	a.Took = time.Since(start)
	return nil
}

// pause is for a moment in which others can do something.
func pause() { time.Sleep(100 * time.Microsecond) }

// notice begins to watch for what can keep the cache from doing what it usually does.
// The returned function ends that.
func (p *process) notice() (end func()) {
	before, began := p.cache.Stats(), time.Now()
	p.remember(before, before.Shared.Behind)
	return func() { p.remember(p.cache.Stats(), before.Shared.Behind+time.Since(began)) }
}

func (p *process) remember(stats cacheruntime.Stats, unasked time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hindrance = cmp.Or(p.hindrance, hindrance(stats, unasked))
}

// hindrance says what may have kept a process from serving what is cached, or from
// sharing it, if anything did since it was started. It may not have asked the log for
// as long as unasked.
func hindrance(stats cacheruntime.Stats, unasked time.Duration) string {
	switch log := stats.Shared; {
	case !log.Current || log.Failures > 0:
		return "cut off from the log"
	case log.Epochs > 1:
		return "told that the log began anew"
	case stats.SharedErrors > 0:
		return "not answered by Redis in time"
	case unasked > bound:
		return "too busy to ask the log in time"
	}
	return ""
}

// delivered waits until other processes can know of all writes so far: from then on
// the bound counts.
func (p *process) delivered(ctx context.Context) error {
	for p.cache.Stats().Shared.Queued > 0 {
		if ctx.Err() != nil {
			return fmt.Errorf("what was written cannot be told to other processes: %w", ctx.Err())
		}
		pause()
	}
	return nil
}

// Write makes one of the changes.
func (p *process) Write(name string, a *Answer) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	traced, trace := cacheruntime.WithTrace(ctx)
	start := time.Now()
	if err := changes[name](traced, p.visit); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	a.Took = time.Since(start)
	a.add(trace.Events())
	err := p.delivered(ctx)
	a.Returned = time.Now()
	return err
}

func (a *Answer) add(events []cacheruntime.Event) {
	for _, e := range events {
		a.Events = append(a.Events, Event{e.Outcome, e.Method, e.Reason, e.Stored, e.Tags})
	}
}

// Versions writes the versions 1 to n of a text, and returns when each write had
// returned and others could know of it. Every one is read again at once: the process
// that writes is never behind.
func (p *process) Versions(n int, returned *[]time.Time) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for version := 1; version <= n; version++ {
		if err := p.cached.posts.Edit(ctx, watched, strconv.Itoa(version), ""); err != nil {
			return err
		}
		written := time.Now()
		seen, err := p.version(ctx)
		if err == nil && seen != version {
			err = fmt.Errorf("version %d is read after version %d was written", seen, version)
		}
		if err == nil && p.cache.Stats().Shared.Queued > 0 {
			err = p.delivered(ctx)
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

// watched is the post whose versions are written and read.
const watched = 7

func (p *process) version(ctx context.Context) (int, error) {
	post, err := p.cached.posts.ByID(ctx, watched)
	if err != nil {
		return 0, err
	}
	version, err := strconv.Atoi(post.Title)
	if err != nil {
		return 0, nil // its title from before
	}
	return version, nil
}

// Sightings are what was seen of versions that another process writes.
type Sightings struct {
	Reads int
	Last  map[int]time.Time // by version, when the last read began that saw it
}

// Watch reads until it sees version n.
func (p *process) Watch(n int, seen *Sightings) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	seen.Last = map[int]time.Time{}
	for {
		began := time.Now()
		version, err := p.version(ctx)
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
func (p *process) Stampede(callers int, loads *uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	defer p.notice()()
	before := p.cache.Stats().Loads
	errs := make([]error, callers)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() {
			value, err := unread.call(ctx, p.cached)
			errs[i] = p.compare(ctx, unread, answer{value: value, err: err})
		})
	}
	group.Wait()
	*loads = p.cache.Stats().Loads - before
	return errors.Join(errs...)
}

// Figures are what a process has counted.
type Figures struct {
	cacheruntime.Counts
	Shared    cacheruntime.SharedStats
	Hindrance string // what has kept the process from serving what is cached; "" if nothing was noticed
	Failed    uint64 // calls of visitors
	Failure   string // the error of the first of them
}

// Stats returns what the process has counted so far.
func (p *process) Stats(_ int, f *Figures) error {
	p.notice()()
	stats := p.cache.Stats()
	*f = Figures{Counts: stats.Counts, Shared: stats.Shared, Failed: p.errors.Load()}
	if err := p.failure.Load(); err != nil {
		f.Failure = (*err).Error()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f.Hindrance = p.hindrance
	return nil
}

// Traffic lets so many visitors read at random, and now and then write, until the
// process ends.
func (p *process) Traffic(visitors int, _ *int) error {
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	for range visitors {
		p.traffic.Go(func() {
			for ctx.Err() == nil {
				p.wander(ctx)
			}
		})
	}
	return nil
}

// wander is a call at random: one in a thousand is a write.
func (p *process) wander(ctx context.Context) {
	var err error
	if rand.IntN(1000) == 0 {
		err = p.cached.posts.Edit(ctx, rand.Int64N(sample.Posts)+1, "Edited at "+time.Now().Format(time.TimeOnly), "")
	} else {
		_, err = tour[rand.IntN(len(tour))].call(ctx, p.cached)
	}
	if unexpected(err) != nil && ctx.Err() == nil {
		p.failure.CompareAndSwap(nil, &err)
		p.errors.Add(1)
	}
	select {
	case <-time.After(time.Duration(rand.Int64N(int64(2 * time.Millisecond)))):
	case <-ctx.Done():
	}
}

// events are those of an answer as a report shows them.
func (a *Answer) events() []cacheruntime.Event {
	var events []cacheruntime.Event
	for _, e := range a.Events {
		events = append(events, cacheruntime.Event{Outcome: e.Outcome, Method: e.Method, Reason: e.Reason, Stored: e.Stored, Tags: e.Tags})
	}
	return events
}

// count is how many of the events have the outcome.
func (a *Answer) count(outcome cacheruntime.Outcome) (n int) {
	for _, e := range a.Events {
		if e.Outcome == outcome {
			n++
		}
	}
	return n
}
