package stress

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/cachegen/cachegen/internal/proof/history"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// A worker does one thing after the other, at random.
type worker struct {
	*run
	name string
	rnd  *rand.Rand
}

// oneIn is true once in n times.
func (w *worker) oneIn(n int) bool { return w.rnd.IntN(n) == 0 }

// id returns that of a post, of some more often than of others.
func (w *worker) id() int64 { return 1 + w.rnd.Int64N(1+w.rnd.Int64N(posts)) }

func (w *worker) author() int64 { return 1 + w.rnd.Int64N(authors) }

// ids returns some, in any order, none twice.
func (w *worker) ids() []int64 {
	ids := make([]int64, 0, 5)
	for range 1 + w.rnd.IntN(5) {
		if id := w.id(); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// context returns one for a read, mostly an ordinary one.
func (w *worker) context() (context.Context, context.CancelFunc) {
	ctx := withLocale(w.ctx, []string{"de", "en", "fr"}[w.rnd.IntN(3)])
	switch w.rnd.IntN(60) {
	case 0:
		return cacheruntime.Bypass(ctx), func() {}
	case 1:
		return cacheruntime.Refresh(ctx), func() {}
	case 2, 3:
		return context.WithTimeout(ctx, time.Duration(w.rnd.IntN(800))*time.Microsecond)
	}
	return ctx, func() {}
}

// read makes one read and records what it saw.
func (w *worker) read(ctx context.Context) {
	id, author, ids := w.id(), w.author(), []int64(nil)
	kind := readKinds[w.rnd.IntN(len(readKinds))]
	what := fmt.Sprintf("%s(%d)", kind, id)
	switch kind {
	case "ByAuthor", "Tally":
		what = fmt.Sprintf("%s(%d)", kind, author)
	case "Posts", "FindAll":
		ids = w.ids()
		what = fmt.Sprintf("%s(%v)", kind, ids)
	case "All":
		what = "All()"
	}
	call := w.history.Begin(w.name, what)
	answer, err := w.ask(ctx, kind, id, author, ids)
	switch {
	case errors.Is(err, ErrNotFound) && (kind == "Post" || kind == "Digest"):
		call.Missed(int(id))
	case err != nil:
		if !expectedOfRead(err) {
			w.t.Errorf("%s of %s: %v", what, w.name, err)
		}
		call.Fail()
		return
	default:
		w.record(call, what, locale(ctx), answer)
	}
	call.Return()
}

// readKinds are the reads, some more often than others.
var readKinds = []string{
	"Post", "Post", "Post", "Post", "Find", "Find", "Find", "Find", "Digest", "Translated", "Plain",
	"ByAuthor", "ByAuthor", "All", "Tally", "Tally", "Posts", "FindAll",
}

// An answer is what a read returned about some of the rows.
type answer struct {
	asked []int64 // posts; those that are not among the posts do not exist
	posts []*Post
	list  int64 // whose posts they are; 0 if it is not such a list
	tally *Tally
	keep  bool // the answer is shared and not to be modified
}

// ask makes a read. A panic of the database, which the runtime hands on to whoever
// waits for the load, is its error.
func (w *worker) ask(ctx context.Context, kind string, id, author int64, ids []int64) (a answer, err error) {
	defer recoverAs(&err)
	one := func(p *Post, err error) (answer, error) {
		if p == nil {
			return answer{asked: []int64{id}}, err
		}
		return answer{asked: []int64{id}, posts: []*Post{p}}, err
	}
	switch kind {
	case "Post":
		p, err := w.cached.Post(ctx, id)
		return one(&p, err)
	case "Digest":
		p, err := w.cached.Digest(ctx, id)
		return one(&p, err)
	case "Find":
		return one(w.cached.Find(ctx, id))
	case "Plain":
		return one(w.cached.Plain(ctx, id, w.oneIn(4)))
	case "Translated":
		a, err := one(w.cached.Translated(ctx, id))
		a.keep = true
		return a, err
	case "ByAuthor":
		all, err := w.cached.ByAuthor(ctx, author)
		a.list = author
		for i := range all {
			a.posts = append(a.posts, &all[i])
		}
		return a, err
	case "Tally":
		tally, err := w.cached.Tally(ctx, author)
		return answer{tally: &tally}, err
	case "All":
		for id := range int64(posts) {
			ids = append(ids, id+1)
		}
		all, err := w.cached.All(ctx)
		return answer{asked: ids, posts: all}, err
	case "Posts":
		all, err := w.cached.Posts(ctx, ids)
		a.asked = ids
		for id, p := range all {
			if id != p.ID {
				return a, fmt.Errorf("post %d is said to be %d", p.ID, id)
			}
			a.posts = append(a.posts, &p)
		}
		return a, err
	default:
		all, err := w.cached.FindAll(ctx, ids)
		left := ids
		for _, p := range all { // in the order of the ids
			i := slices.Index(left, p.ID)
			if i < 0 {
				return a, fmt.Errorf("post %d is not asked for, or out of order", p.ID)
			}
			left = left[i+1:]
		}
		return answer{asked: ids, posts: all}, err
	}
}

// recoverAs turns a panic of the database into an error.
func recoverAs(err *error) {
	if value := recover(); value != nil {
		if !strings.Contains(fmt.Sprint(value), panicked) {
			panic(value)
		}
		*err = errPanicked
	}
}

var errPanicked = errors.New(panicked)

// expectedOfRead reports whether an error says nothing but that there is no answer.
func expectedOfRead(err error) bool {
	var late *cacheruntime.TimeoutError
	return errors.Is(err, errLoad) || errors.Is(err, errPanicked) || errors.As(err, &late) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// record checks that an answer is whole, and records it.
func (w *worker) record(call *history.Call, what, locale string, a answer) {
	if a.tally != nil {
		call.Saw(tallyRow+int(a.tally.Author), w.db.seenList(a.tally.Author, a.tally.Version))
		return
	}
	missing := slices.Clone(a.asked)
	for i, p := range a.posts {
		switch {
		case a.list == 0 && !slices.Contains(a.asked, p.ID):
			w.t.Errorf("%s: post %d is not asked for", what, p.ID)
		case a.list != 0 && (p.Author != a.list || p.List != a.posts[0].List):
			w.t.Errorf("%s: post %d of author %d, list %d beside %d", what, p.ID, p.Author, p.List, a.posts[0].List)
		case a.keep && p.Locale != locale:
			w.t.Errorf("%s: locale %q, want %q", what, p.Locale, locale)
		case p.Body != bodyOf(p.Version) || !slices.Equal(p.Words, wordsOf(p.ID, p.Version)):
			w.t.Errorf("%s: post %d, version %d, is damaged: %.20q %q", what, p.ID, p.Version, p.Body, p.Words)
		}
		if a.list != 0 && i == 0 {
			call.Saw(listRow+int(a.list), w.db.seenList(a.list, p.List))
		}
		call.Saw(int(p.ID), w.db.seenPost(p.ID, p.Version))
		missing = slices.DeleteFunc(missing, func(id int64) bool { return id == p.ID })
		if !a.keep {
			p.Words[0], p.Version = "scribbled", -1 // it is the caller's own
		}
	}
	if a.list != 0 && len(a.posts) == 0 {
		call.Missed(listRow + int(a.list))
	}
	for _, id := range missing {
		call.Missed(int(id))
	}
}

// write makes one write.
func (w *worker) write() {
	ctx, cancel := w.ctx, context.CancelFunc(func() {})
	if w.oneIn(100) {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(w.rnd.IntN(2000))*time.Microsecond)
	}
	defer cancel()
	a := &attempt{call: w.history.Begin(w.name, "write")}
	defer a.end()
	w.change(withAttempt(ctx, a))
}

// change calls one of the methods that write.
func (w *worker) change(ctx context.Context) {
	var err error
	defer func() {
		if !expectedOfWrite(err) {
			w.t.Errorf("write of %s: %v", w.name, err)
		}
	}()
	defer recoverAs(&err)
	switch w.rnd.IntN(8) {
	case 0:
		err = w.cached.Insert(ctx, &Post{Author: w.author()})
	case 1:
		_, err = w.cached.Delete(ctx, w.id())
	case 2:
		err = w.cached.Move(ctx, &Post{ID: w.id(), Author: w.author()})
	case 3:
		err = w.cached.Touch(ctx, w.ids())
	default:
		_, err = w.cached.Update(ctx, w.id())
	}
}

func expectedOfWrite(err error) bool {
	for _, expected := range []error{errRefused, errPanicked, errFull, ErrNotFound, driver.ErrBadConn, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, expected) {
			return true
		}
	}
	return err == nil
}

// transact reads and writes in a transaction.
func (w *worker) transact() {
	a := &attempt{call: w.history.Begin(w.name, "transaction")}
	defer a.end()
	var err error
	defer recoverAs(&err)
	ctx, tx := w.cache.Begin(withAttempt(w.ctx, a))
	defer tx.End()
	ctx, dbTx, err := w.db.begin(ctx)
	if err != nil {
		w.t.Errorf("transaction of %s: %v", w.name, err)
		return
	}
	defer dbTx.rollback()
	for range 1 + w.rnd.IntN(3) {
		switch w.rnd.IntN(4) {
		case 0:
			w.read(ctx)
		case 1:
			ctx, inner := w.cache.Begin(ctx)
			w.change(ctx)
			if w.oneIn(2) {
				inner.Commit(func() error { return nil })
			}
			inner.End()
		default:
			w.change(ctx)
		}
	}
	if w.oneIn(5) {
		return
	}
	if err := tx.Commit(dbTx.commit); !expectedOfWrite(err) {
		w.t.Errorf("commit of %s: %v", w.name, err)
	}
	w.read(ctx) // outside of it again, and the cache can be used
}

// meddle does to the cache what may be done to it at any time, one after the other.
func (w *worker) meddle() {
	var err error
	w.meddled++
	switch w.meddled % 8 {
	case 0:
		err = w.cache.Invalidate(w.ctx, postTag(w.id()), allAuthorTag())
	case 1:
		err = w.cached.InvalidateTranslated(w.ctx, w.id())
	case 2:
		err = w.cached.InvalidateAllFind(w.ctx)
	case 3:
		if w.oneIn(10) {
			err = w.cache.Clear(w.ctx)
		}
	case 4:
		err = w.cached.Ping(w.ctx)
	default:
		if w.store != nil {
			w.meddleWithStore()
		}
	}
	if err != nil {
		w.t.Errorf("%s: %v", w.name, err)
	}
}

var errStore = errors.New("injected: the store failed")

func (w *worker) meddleWithStore() {
	w.meddledWithStore++
	switch w.meddledWithStore % 12 {
	case 0:
		w.store.FailGets(errStore)
	case 1:
		w.store.FailSets(errStore)
	case 2:
		w.store.Damage()
	default:
		w.store.Forget(1 + w.rnd.IntN(10))
	}
	<-time.After(time.Duration(w.rnd.IntN(1000)) * time.Microsecond)
	w.store.Heal()
}
