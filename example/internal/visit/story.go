package visit

import (
	"context"
	"database/sql"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/cachegen/cachegen/example/blog"
	"github.com/cachegen/cachegen/example/internal/sample"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/sqltx"
)

const (
	hit         = cacheruntime.Hit
	negativeHit = cacheruntime.NegativeHit
	miss        = cacheruntime.Miss
	skipped     = cacheruntime.Skipped
	bypassed    = cacheruntime.Bypassed
	stale       = cacheruntime.Stale
	joined      = cacheruntime.Joined
)

const (
	ada    = sample.Ada
	grace  = sample.Grace
	edsger = sample.Edsger
	draft  = sample.Draft
)

// The lists that the visitor looks at. After sample.Fill, the posts on them are:
var (
	page1    = list("all", blog.Filter{}, 1)                                  // 12 11 10 9 8
	page2    = list("all", blog.Filter{}, 2)                                  // 7 6 5 4 3
	machines = list("machines", blog.Filter{Topics: []string{"machines"}}, 1) // 11 9 7 5 3
	february = list("February", blog.Filter{From: first(2), To: first(3)}, 1) // 8 7 6 5
	adas     = byAuthor(ada, 1)                                               // 10 7
	graces1  = byAuthor(grace, 1)                                             // 11 8
	graces2  = byAuthor(grace, 2)                                             // 5 2
	related  = postsByIDs(1, 5, 9)
	lists    = []read{page1, page2, machines, february}
	figures  = []read{count("machines", blog.Filter{Topics: []string{"machines"}}), archive(), totals()}
	engine   = search("engine", "trace 1")
)

// first is the first day of a month.
func first(month time.Month) time.Time {
	return time.Date(2026, month, 1, 0, 0, 0, 0, time.UTC)
}

// feed is everything that depends on which posts there are.
func feed(more ...read) []read {
	return slices.Concat([]read{engine}, lists, figures, more)
}

// story is the visit, step by step.
func (v *visit) story(ctx context.Context) {
	v.chapter("The first read asks the database, the second one does not.")
	v.read(ctx, miss, postByID(1))
	v.read(ctx, hit, postByID(1))
	v.read(ctx, miss, authorByEmail("ada@example.com"))
	v.read(ctx, hit, authorByEmail("ADA@Example.com"))

	v.chapter("Lists, pages, filters and figures: each call with its arguments is an entry.")
	v.read(ctx, miss, page1)
	v.read(ctx, hit, page1)
	v.read(ctx, miss, page2)
	v.read(ctx, miss, machines)
	v.read(ctx, miss, february)
	v.read(ctx, miss, adas)
	v.read(ctx, miss, graces1)
	v.read(ctx, miss, graces2)
	v.read(ctx, miss, postByID(5))
	v.read(ctx, miss, engine)
	v.read(ctx, hit, search("engine", "trace 2"))
	for _, r := range figures {
		v.read(ctx, miss, r)
	}
	v.read(ctx, miss, allAuthors())
	v.read(ctx, miss, commentsByPost(1))
	v.read(ctx, miss, commentCounts(1, 2, 3))
	v.read(ctx, miss, latestComments())

	v.chapter("Many at once: a batch loads only what no one has read yet, in one statement.")
	v.read(ctx, partly, related)
	v.read(ctx, hit, postByID(9))
	v.read(ctx, miss, authorByID(ada))
	v.read(ctx, partly, authorsByIDs(ada, grace))

	v.chapter("The visitor's language is part of the key.")
	v.read(ctx, miss, in("de", postByID(1)))
	v.read(ctx, miss, in("fr", postByID(1)))
	v.read(ctx, hit, in("de", postByID(1)))

	v.chapter("Not everything is cached, and a caller can ask for the database.")
	v.read(ctx, skipped, search("it", "trace 3"))
	v.read(ctx, skipped, list("all", blog.Filter{}, 11))
	v.read(ctx, skipped, asEditor(postByID(1)))
	v.read(ctx, miss, search("nothing like it", "trace 4"))
	v.read(cacheruntime.Bypass(ctx), bypassed, postByID(1))
	v.read(cacheruntime.Refresh(ctx), miss, postByID(1))

	v.chapter("A title is corrected. Stale is what shows that post, and nothing else.")
	v.write(ctx, "posts.Edit(12)", func(ctx context.Context, s site) error {
		return s.posts.Edit(ctx, 12, "The shortest way", "It was found in a café.")
	}, page1, engine)
	v.write(ctx, "de: posts.Edit(1)", func(ctx context.Context, s site) error {
		return s.posts.Edit(blog.WithLocale(ctx, "de"), 1, "Notizen zur Maschine", "Ein neuer Text.")
	}, postByID(1), in("de", postByID(1)), in("fr", postByID(1)), engine)

	v.chapter("Comments come and go.")
	v.write(ctx, "comments.Add(post 2)", func(ctx context.Context, s site) error {
		return s.comments.Add(ctx, &blog.Comment{PostID: 2, Name: "Joan", Body: "A moth?", Written: first(4)})
	}, commentCounts(1, 2, 3), latestComments(), totals())
	v.write(ctx, "comments.Remove(1)", func(ctx context.Context, s site) error {
		_, err := s.comments.Remove(ctx, []int64{1})
		return err
	}, commentsByPost(1), commentCounts(1, 2, 3), latestComments(), totals())

	v.chapter("An author is renamed: another repository, but her name is on her posts.")
	v.write(ctx, "authors.Rename(2)", func(ctx context.Context, s site) error {
		return s.authors.Rename(ctx, grace, "Grace M. Hopper")
	}, page1, page2, machines, february, graces1, graces2, postByID(5), engine, authorsByIDs(ada, grace), allAuthors(), totals())

	v.chapter("A post moves from one author to another: every page of both is stale.")
	v.write(ctx, "posts.Move(11, to 1)", func(ctx context.Context, s site) error {
		_, err := s.posts.Move(ctx, 11, ada)
		return err
	}, feed(adas, graces1, graces2)...)

	v.chapter("What does not exist is remembered too, until it is created.")
	v.read(ctx, miss, authorByEmail("joan@example.com"))
	v.read(ctx, negativeHit, authorByEmail("joan@example.com"))
	v.write(ctx, "authors.Create(Joan)", func(ctx context.Context, s site) error {
		return s.authors.Create(ctx, &blog.Author{Name: "Joan", Email: "Joan@example.com", Joined: first(4)})
	}, authorByEmail("joan@example.com"), allAuthors(), engine, totals())
	v.read(ctx, hit, authorByEmail("joan@example.com"))

	v.chapter("A draft exists for editors only, until it is published.")
	v.read(ctx, miss, postByID(draft))
	v.read(ctx, negativeHit, postByID(draft))
	v.read(ctx, skipped, asEditor(postByID(draft)))
	v.write(ctx, "posts.Publish(13)", func(ctx context.Context, s site) error {
		_, err := s.posts.Publish(ctx, draft, first(4))
		return err
	}, feed(postByID(draft), adas)...)

	v.chapter("The front page: who changes it loads it again, so that no visitor waits.")
	v.read(ctx, miss, featured())
	v.read(ctx, negativeHit, featured())
	v.write(ctx, "posts.Feature(5)", func(ctx context.Context, s site) error {
		return s.posts.Feature(ctx, 5, time.Now().Add(2*time.Hour))
	})
	v.read(ctx, hit, featured())
	v.write(ctx, "posts.Edit(5)", func(ctx context.Context, s site) error {
		return s.posts.Edit(ctx, 5, "A compiler, at last", "It works.")
	}, featured(), postByID(5), page2, machines, february, graces1, engine)

	v.chapter("A write that fails may have changed anything it names: it invalidates as well.")
	v.write(ctx, "posts.Move(5, to nobody) fails", fails(func(ctx context.Context, s site) error {
		_, err := s.posts.Move(ctx, 5, 99)
		return err
	}), feed(featured(), postByID(5), adas, graces1, graces2)...)

	v.chapter("A transaction: others see what it changes after the commit, and not before.")
	v.transaction(ctx, "posts.Edit(9)", func(ctx context.Context, s site) error {
		return s.posts.Edit(ctx, 9, "The humble reader", "There are more of them.")
	}, postByID(9), page1, machines, engine, related)

	v.chapter("An author leaves: another one gets all the posts, or none if that fails.")
	v.write(ctx, "desk.Leave(3, to nobody) fails", fails(func(ctx context.Context, _ site) error {
		return v.desk.Leave(ctx, edsger, 99)
	}), feed(adas, graces1, graces2)...)
	v.write(ctx, "desk.Leave(3, to 1)", func(ctx context.Context, _ site) error {
		return v.desk.Leave(ctx, edsger, ada)
	}, feed(adas, allAuthors(), related)...)

	v.chapter("Posts are deleted, with their comments.")
	v.write(ctx, "posts.Delete(5, 13)", func(ctx context.Context, s site) error {
		_, err := s.posts.Delete(ctx, 5, draft)
		return err
	}, feed(featured(), postByID(5), postByID(draft), adas, graces1, graces2, latestComments())...)

	v.chapter("A script changes the database behind the cache, and then says so.")
	v.behind(ctx, "UPDATE texts SET title = 'Notes' WHERE post = 1 AND locale = 'en'", postByID(1))
	v.write(ctx, "cache.Invalidate(blog.PostTag(1))", func(ctx context.Context, _ site) error {
		return v.cache.Invalidate(ctx, blog.PostTag(1))
	}, postByID(1), in("de", postByID(1)), in("fr", postByID(1)), machines, engine)
	v.write(ctx, "posts.InvalidateByID(1)", func(ctx context.Context, _ site) error {
		return v.posts.InvalidateByID(ctx, 1)
	}, postByID(1), in("de", postByID(1)), in("fr", postByID(1)))

	v.outage(ctx)

	v.chapter("Everything is forgotten, and a hundred visitors ask for the first page at once.")
	v.stampede(ctx, 100, page1)
}

// chapter begins a part of the visit.
func (v *visit) chapter(title string) {
	if !v.over() {
		v.report.chapter(title)
	}
}

// transaction makes a write in a transaction, with a look at what it changes from
// inside and outside before the commit. The other reads are those it makes stale.
func (v *visit) transaction(ctx context.Context, name string, call func(context.Context, site) error, look read, stale ...read) {
	v.write(ctx, "commit", func(traced context.Context, s site) error {
		return sqltx.Run(traced, v.db.SQL(), v.cache, nil, func(inside context.Context, _ *sql.Tx) error {
			start := time.Now()
			if err := call(inside, s); err != nil {
				return err
			}
			v.report.inTransaction(name, time.Since(start))
			changed := v.read(inside, bypassed, as("inside", look))
			before := v.read(ctx, hit, as("outside", look))
			if !v.over() && reflect.DeepEqual(changed.value, before.value) {
				v.fail("%s: the same inside and outside of a transaction that changed it", look.name)
			}
			return v.err
		})
	}, stale...)
}

// outage lets entries expire while the database cannot be reached, or is slow.
// Afterwards the reads that are known may have expired, so there are no more.
func (v *visit) outage(ctx context.Context) {
	v.chapter("The database is down. What has expired is served if it is declared stale.")
	v.known = nil
	v.clock.line.down.Store(true)
	v.read(ctx, hit, page1)
	v.later("a quarter of an hour passes", 15*time.Minute)
	v.read(ctx, stale, page1)
	v.read(ctx, stale, page1)
	v.read(ctx, stale, postByID(1))
	v.readFails(ctx, commentsByPost(1), errDown)
	v.clock.line.down.Store(false)
	v.later("it is up again, and a minute passes", time.Minute)
	v.read(ctx, miss, page1)

	v.chapter("The database is slow. What has expired is served soon; the load goes on.")
	v.later("another quarter of an hour passes", 15*time.Minute)
	arrive := make(chan struct{})
	v.clock.line.slow.Store(&arrive)
	v.read(ctx, stale, page1)
	v.clock.line.slow.Store(nil)
	close(arrive)
	v.readEither(ctx, page1, hit, joined)
}

// later sets the clock of the cache ahead.
func (v *visit) later(what string, d time.Duration) {
	if !v.over() {
		v.clock.ahead.Add(int64(d))
		v.report.meanwhile(what)
	}
}

// behind changes the database behind the cache's back, and makes a read to
// which the cache now gives the outdated answer.
func (v *visit) behind(ctx context.Context, statement string, r read) {
	if v.over() {
		return
	}
	start := time.Now()
	if err := v.db.Exec(ctx, statement); err != nil {
		v.fail("%s: %w", statement, err)
		return
	}
	took := time.Since(start)
	a := v.ask(ctx, r)
	v.report.behind(statement, took, r.name, a)
	if v.compare(ctx, r, a) == nil {
		v.fail("%s: the cache has what %s changed", r.name, statement)
	}
}

// stampede clears the cache and makes a read many times at once, which must
// cost one load.
func (v *visit) stampede(ctx context.Context, callers int, r read) {
	if v.over() {
		return
	}
	traced, trace := cacheruntime.WithTrace(ctx)
	start := time.Now()
	if err := v.cache.Clear(traced); err != nil {
		v.fail("clear: %w", err)
		return
	}
	v.report.write("cache.Clear()", trace.Events(), time.Since(start))

	before := v.cache.Stats().Loads
	answers := make([]answer, callers)
	gate := make(chan struct{})
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() {
			<-gate
			answers[i].value, answers[i].err = r.call(ctx, v.cached)
		})
	}
	start = time.Now()
	close(gate)
	group.Wait()
	took := time.Since(start)
	loads := v.cache.Stats().Loads - before
	v.report.stampede(r.name, callers, loads, took)
	if loads != 1 {
		v.fail("%d callers of %s: %d loads, want one", callers, r.name, loads)
	}
	for _, a := range answers {
		if err := v.compare(ctx, r, a); err != nil {
			v.fail("%s: %w", r.name, err)
		}
	}
	if !v.over() {
		v.report.compared(callers)
	}
}
