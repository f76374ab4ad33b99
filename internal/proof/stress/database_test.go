package stress

import (
	"context"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cachegen/cachegen/internal/proof/history"
)

const (
	posts   = 12 // ids from 1 on
	authors = 3  // ids from 1 on

	// The rows of a history: posts by their ids, and for each author the list of its
	// posts, which there is if it is not empty, and the tally.
	listRow  = 100
	tallyRow = 200
)

// bodies are of a size that makes the entries more than the smallest store keeps.
var bodies = func() (all [26]string) {
	for i := range all {
		all[i] = strings.Repeat(string(rune('a'+i)), 8<<10)
	}
	return all
}()

func bodyOf(version int64) string { return bodies[version%int64(len(bodies))] }

func wordsOf(id, version int64) []string {
	return []string{"post " + strconv.FormatInt(id, 10), "version " + strconv.FormatInt(version, 10)}
}

// A database keeps posts in memory. It numbers the versions of each row in the order
// of its commits. Writers wait for each other, and readers for nobody. It is slow and
// fails as its faults say.
type database struct {
	cached  Posts // the wrapper, through which Digest reads
	faults  *faults
	dice    *dice
	lease   time.Duration // within which a write that is late is committed
	writing chan struct{} // holds whoever may write
	late    sync.WaitGroup
	doubt   atomic.Pointer[time.Time] // when the lease of the last write that is late ends, about

	mu      sync.Mutex
	posts   [posts + 1]row
	authors [authors + 1]list
}

// Versions count from the beginning of the run; those of a history, from its own.
type row struct {
	exists        bool
	author        int64
	version, base int64
}

type list struct {
	size          int
	version, base int64
}

var _ Posts = (*database)(nil)

func newDatabase(faults *faults, dice *dice, lease time.Duration) *database {
	d := &database{faults: faults, dice: dice, lease: lease, writing: make(chan struct{}, 1)}
	for id := range d.posts {
		if id > 0 && id%4 > 0 {
			author := int64(id%authors + 1)
			d.posts[id] = row{exists: true, author: author}
			d.authors[author].size++
		}
	}
	return d
}

// record makes what is there now the beginning of a history.
func (d *database) record(h *history.History) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.posts {
		p := &d.posts[id]
		p.base = p.version
		if !p.exists {
			h.Absent(id)
		}
	}
	for id := range d.authors {
		a := &d.authors[id]
		a.base = a.version
		if a.size == 0 {
			h.Absent(listRow + id)
		}
	}
}

// seen is what a history calls the version of a post, or of the list of an author.
func (d *database) seenPost(id, version int64) int64 { return version - d.posts[id].base }
func (d *database) seenList(id, version int64) int64 { return version - d.authors[id].base }

// post returns a row as it is. The mutex is locked.
func (d *database) post(id int64) Post {
	p := d.posts[id]
	return Post{ID: id, Author: p.author, Version: p.version, Body: bodyOf(p.version), Words: wordsOf(id, p.version)}
}

// read runs a query, at some moment of its own.
func (d *database) read(ctx context.Context, query func()) error {
	d.dice.pause()
	switch d.dice.n(400) {
	case 0, 1, 2, 3, 4, 5:
		return errLoad
	case 6:
		panic(panicked)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	query()
	d.mu.Unlock()
	d.dice.pause()
	d.outlastDoubt(ctx)
	return nil
}

// outlastDoubt makes some queries that were made shortly before the end of a lease
// return shortly after it: what they have read may be from before the late commit.
func (d *database) outlastDoubt(ctx context.Context) {
	end := d.doubt.Load()
	if end == nil || d.dice.n(2) > 0 {
		return
	}
	if left := time.Until(*end); left > 0 && left < 5*time.Millisecond {
		select {
		case <-time.After(left + 5*time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (d *database) Post(ctx context.Context, id int64) (Post, error) {
	p, err := d.Find(ctx, id)
	if err != nil {
		return Post{}, err
	}
	if p == nil {
		return Post{}, ErrNotFound
	}
	return *p, nil
}

func (d *database) Find(ctx context.Context, id int64) (p *Post, err error) {
	err = d.read(ctx, func() {
		if d.posts[id].exists {
			post := d.post(id)
			p = &post
		}
	})
	return p, err
}

func (d *database) Digest(ctx context.Context, id int64) (Post, error) {
	d.dice.pause()
	p, err := d.cached.Post(ctx, id)
	d.dice.pause()
	return p, err
}

func (d *database) Translated(ctx context.Context, id int64) (*Post, error) {
	p, err := d.Find(ctx, id)
	if p != nil {
		p.Locale = locale(ctx)
	}
	return p, err
}

func (d *database) Plain(ctx context.Context, id int64, _ bool) (*Post, error) {
	return d.Find(ctx, id)
}

func (d *database) ByAuthor(ctx context.Context, authorID int64) (all []Post, err error) {
	err = d.read(ctx, func() {
		for id := range d.posts {
			if d.posts[id].exists && d.posts[id].author == authorID {
				p := d.post(int64(id))
				p.List = d.authors[authorID].version
				all = append(all, p)
			}
		}
	})
	return all, err
}

func (d *database) All(ctx context.Context) (all []*Post, err error) {
	err = d.read(ctx, func() {
		for id := range d.posts {
			if d.posts[id].exists {
				p := d.post(int64(id))
				all = append(all, &p)
			}
		}
	})
	return all, err
}

func (d *database) Tally(ctx context.Context, authorID int64) (tally Tally, err error) {
	err = d.read(ctx, func() {
		a := d.authors[authorID]
		tally = Tally{Author: authorID, Posts: a.size, Version: a.version}
	})
	return tally, err
}

func (d *database) Posts(ctx context.Context, ids []int64) (map[int64]Post, error) {
	all := map[int64]Post{}
	err := d.read(ctx, func() {
		for _, id := range ids {
			if d.posts[id].exists {
				all[id] = d.post(id)
			}
		}
	})
	return all, err
}

func (d *database) FindAll(ctx context.Context, ids []int64) (all []*Post, err error) {
	err = d.read(ctx, func() {
		for _, id := range ids {
			if d.posts[id].exists {
				p := d.post(id)
				all = append(all, &p)
			}
		}
	})
	return all, err
}

func (d *database) Ping(context.Context) error { return nil }

// errFull is a no of the database, as is ErrNotFound.
var errFull = errors.New("there is no id left")

func (d *database) Insert(ctx context.Context, p *Post) error {
	author, made := p.Author, Post{}
	var reserved []int64 // by the transaction
	if tx := openTx(ctx); tx != nil {
		reserved = tx.inserted
	}
	err := d.write(ctx, func() (change, error) {
		for id := range d.posts {
			if taken := d.posts[id].exists || id == 0 || contains(reserved, int64(id)); !taken {
				made.ID = int64(id)
				if tx := openTx(ctx); tx != nil {
					tx.inserted = append(tx.inserted, made.ID)
				}
				return func(c *commit) {
					if !d.posts[made.ID].exists { // if it is late, somebody else may have it
						c.put(made.ID, author)
					}
				}, nil
			}
		}
		return nil, errFull
	})
	if err == nil {
		p.ID = made.ID
	}
	return err
}

func (d *database) Update(ctx context.Context, id int64) (*Post, error) {
	var author int64
	err := d.write(ctx, func() (change, error) {
		if !d.posts[id].exists {
			return nil, ErrNotFound
		}
		author = d.posts[id].author
		return func(c *commit) {
			if d.posts[id].exists {
				c.put(id, d.posts[id].author)
			}
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return &Post{ID: id, Author: author}, nil
}

func (d *database) Move(ctx context.Context, p *Post) error {
	id, to, from := p.ID, p.Author, int64(0)
	err := d.write(ctx, func() (change, error) {
		if !d.posts[id].exists {
			return nil, ErrNotFound
		}
		from = d.posts[id].author
		return func(c *commit) {
			if d.posts[id].exists {
				c.put(id, to)
			}
		}, nil
	})
	if err == nil {
		p.From = from
	}
	return err
}

func (d *database) Touch(ctx context.Context, ids []int64) error {
	return d.write(ctx, func() (change, error) {
		return func(c *commit) {
			for _, id := range ids {
				if d.posts[id].exists {
					c.put(id, d.posts[id].author)
				}
			}
		}, nil
	})
}

func (d *database) Delete(ctx context.Context, id int64) (Post, error) {
	var author int64
	err := d.write(ctx, func() (change, error) {
		if !d.posts[id].exists {
			return nil, ErrNotFound
		}
		author = d.posts[id].author
		return func(c *commit) {
			if d.posts[id].exists {
				c.remove(id)
			}
		}, nil
	})
	if err != nil {
		return Post{}, err
	}
	return Post{ID: id, Author: author}, nil
}

func contains(ids []int64, id int64) bool {
	for _, other := range ids {
		if other == id {
			return true
		}
	}
	return false
}

// A change is made when it is committed.
type change func(c *commit)

// A commit is changes that become visible together.
type commit struct {
	d     *database
	call  *history.Call
	lists [authors + 1]bool // that have changed
}

// commit makes changes. The mutex is locked.
func (d *database) commit(call *history.Call, changes ...change) {
	c := commit{d: d, call: call}
	for _, change := range changes {
		change(&c)
	}
	for id, changed := range c.lists {
		if !changed {
			continue
		}
		a := &d.authors[id]
		a.version++
		version := d.seenList(int64(id), a.version)
		if a.size > 0 {
			call.Wrote(listRow+id, version)
		} else {
			call.Removed(listRow+id, version)
		}
		call.Wrote(tallyRow+id, version)
	}
}

// put makes a new version of a post, which may be new or another author's.
func (c *commit) put(id, author int64) {
	p := &c.d.posts[id]
	if p.exists {
		c.d.authors[p.author].size--
		c.lists[p.author] = true
	}
	c.d.authors[author].size++
	c.lists[author] = true
	p.exists, p.author, p.version = true, author, p.version+1
	c.call.Wrote(int(id), c.d.seenPost(id, p.version))
}

func (c *commit) remove(id int64) {
	p := &c.d.posts[id]
	c.d.authors[p.author].size--
	c.lists[p.author] = true
	p.exists, p.version = false, p.version+1
	c.call.Removed(int(id), c.d.seenPost(id, p.version))
}

// write makes a change of its own, or adds it to the transaction of the context. What
// plan finds does not change before the commit, unless that is late.
func (d *database) write(ctx context.Context, plan func() (change, error)) error {
	if tx := openTx(ctx); tx != nil {
		d.dice.pause()
		d.mu.Lock()
		defer d.mu.Unlock()
		change, err := plan()
		if err == nil {
			tx.changes = append(tx.changes, change)
		}
		return err
	}
	d.dice.pause()
	select {
	case d.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	d.mu.Lock()
	change, err := plan()
	d.mu.Unlock()
	if err != nil {
		<-d.writing
		return err
	}
	return d.finish(ctx, attemptOf(ctx), false, change)
}

// finish commits changes, or not, and gives the right to write back: a transaction
// keeps it until then, but a single write that is late leaves it to others meanwhile.
func (d *database) finish(ctx context.Context, a *attempt, keep bool, changes ...change) error {
	fault := d.faults.ofWrite()
	if fault.late() {
		if !keep {
			<-d.writing
		}
		a.expect()
		began := time.Now() // the lease of the marks does later, when the call returns
		delay := time.Duration(d.dice.n(int(d.lease)))
		if d.dice.oneIn(2) {
			delay = d.lease - time.Duration(d.dice.n(3000))*time.Microsecond // only just in time
		}
		end := began.Add(d.lease)
		d.doubt.Store(&end)
		d.late.Go(func() {
			<-time.After(delay)
			d.mu.Lock()
			if in := time.Since(began) < d.lease; in {
				d.commit(a.call, changes...)
				a.land()
			}
			d.mu.Unlock()
			if keep {
				<-d.writing
			}
		})
		d.dice.pause()
		if fault.panics() {
			panic(panicked)
		}
		return driver.ErrBadConn
	}
	defer func() { <-d.writing }()
	switch fault {
	case faultRefused:
		return errRefused
	case faultPanic:
		panic(panicked)
	case faultLost:
		return driver.ErrBadConn
	}
	d.dice.pause()
	d.mu.Lock()
	// A guarded write is not committed past its deadline; whoever reads waits for
	// the mutex, so that it does not matter how long the commit takes from here.
	err := ctx.Err()
	if err == nil {
		d.commit(a.call, changes...)
		a.committed()
	}
	d.mu.Unlock()
	if err != nil {
		return err
	}
	for range 3 { // it is visible, and has not returned
		d.dice.pause()
	}
	switch fault {
	case faultReply:
		return driver.ErrBadConn
	case faultReplyDies:
		panic(panicked)
	}
	return nil
}

// A transaction collects changes, and is the only one to write meanwhile.
type transaction struct {
	d        *database
	ctx      context.Context
	attempt  *attempt
	changes  []change
	inserted []int64
	ended    bool
}

type txKey struct{}

// begin begins a transaction. The context is that of all it does.
func (d *database) begin(ctx context.Context) (context.Context, *transaction, error) {
	select {
	case d.writing <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	tx := &transaction{d: d, ctx: ctx, attempt: attemptOf(ctx)}
	return context.WithValue(ctx, txKey{}, tx), tx, nil
}

// openTx returns the transaction of a context that has not ended, or nil.
func openTx(ctx context.Context) *transaction {
	if tx, _ := ctx.Value(txKey{}).(*transaction); tx != nil && !tx.ended {
		return tx
	}
	return nil
}

func (tx *transaction) commit() error {
	tx.ended = true
	return tx.d.finish(tx.ctx, tx.attempt, true, tx.changes...)
}

func (tx *transaction) rollback() {
	if !tx.ended {
		tx.ended = true
		<-tx.d.writing
	}
}

// An attempt is a call that writes, of which the database knows what became. The call
// counts as returned when it has returned and is committed, whatever it returned: a
// write that fails is invalidated, too, and one that is late, marked.
type attempt struct {
	call *history.Call

	mu       sync.Mutex
	expected bool // late
	done     bool // committed
	returned bool
}

type attemptKey struct{}

func withAttempt(ctx context.Context, a *attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

func attemptOf(ctx context.Context) *attempt { return ctx.Value(attemptKey{}).(*attempt) }

// expect says that it is going to be committed later.
func (a *attempt) expect() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expected = true
}

func (a *attempt) committed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done = true
}

// land says that it was committed late.
func (a *attempt) land() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done = true
	if a.returned {
		a.call.Return()
	}
}

// end says that the call has returned.
func (a *attempt) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.returned = true
	switch {
	case a.done:
		a.call.Return()
	case !a.expected:
		a.call.Fail()
	}
}
