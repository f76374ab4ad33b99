package cacheruntime_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/cachegen/cachegen/internal/proof/history"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

var errNotDone = errors.New("not done")

// A change is what a write does to the database.
type change struct {
	process *process
	call    *history.Call
	rnd     *random
	ids     []int64
	began   time.Time
	done    map[int64]int64 // versions that were committed
	late    bool            // they will be
	over    chan struct{}   // closed when the call has returned
	crash   bool
}

// make makes the change, or not, and returns what the database does.
func (c *change) make(ctx context.Context) error {
	p, rnd := c.process, c.rnd
	for range rnd.n(3) {
		rnd.pause(30 * time.Millisecond)
	}
	guarded := p.kind.guarded
	if ctx.Err() != nil || guarded && time.Since(c.began) > lease/2 {
		return errors.Join(errNotDone, ctx.Err())
	}
	how := rnd.n(10)
	switch {
	case how == 0:
		return errNotDone
	case how == 1:
		// It lands before the lease is over that began before the call, or with the
		// one that begins when it returns.
		left := lease - time.Since(c.began)
		if !guarded {
			left = lease
		}
		c.late = true
		after := time.Duration(rnd.n(int(left - time.Millisecond)))
		p.late.Go(func() {
			<-time.After(after)
			c.commit()
			<-c.over
			p.landed(c)
		})
		return driver.ErrBadConn
	}
	c.commit()
	if guarded && !p.kind.lossy && how == 2 && rnd.n(4) == 0 {
		c.crash = true
		return nil
	}
	for range rnd.n(4) { // the change can be seen, and the write has not returned
		rnd.pause(20 * time.Millisecond)
	}
	if how == 3 {
		panic(errNotDone)
	}
	return nil
}

func (c *change) commit() {
	w := c.process.world
	w.mu.Lock()
	defer w.mu.Unlock()
	c.done = map[int64]int64{}
	for _, id := range c.ids {
		w.version[id]++
		c.call.Wrote(int(id), w.version[id])
		c.done[id] = w.version[id]
	}
}

// update makes a write or a transaction, invalidates by hand, or clears the cache.
func (p *process) update(client string, rnd *random) {
	if rnd.n(30) == 0 {
		call := p.begin(client, "Clear")
		if err := p.cache.Clear(p.t.Context()); err != nil && !errors.Is(err, cacheruntime.ErrUndelivered) {
			p.fail("%s: clear: %v", client, err)
		}
		call.Return()
		return
	}
	if rnd.n(8) == 0 {
		p.invalidate(client, rnd)
		return
	}
	c := &change{process: p, rnd: rnd, ids: []int64{int64(rnd.n(rows))}, over: make(chan struct{})}
	refused := error(nil)
	func() {
		defer func() {
			if v := recover(); v != nil && v != error(errNotDone) {
				panic(v)
			}
		}()
		if rnd.n(4) == 0 {
			if id := int64(rnd.n(rows)); id != c.ids[0] {
				c.ids = append(c.ids, id)
			}
			c.call = p.begin(client, "Update(%v) in a transaction", c.ids)
			ctx, tx := p.cache.Begin(p.t.Context())
			defer tx.End()
			for _, id := range c.ids {
				if _, w, err := p.write.Begin(ctx, p.stale(id)); err != nil {
					p.fail("%s: refused in a transaction: %v", client, err)
				} else {
					w.Returned(nil)
					w.End()
				}
				rnd.pause(10 * time.Millisecond)
			}
			c.began = time.Now()
			err := tx.Commit(func() error {
				err := c.make(ctx)
				c.crash = false // the commit is the end of the call here
				return err
			})
			if errors.Is(err, cacheruntime.ErrRefused) {
				refused = err
			}
			return
		}
		c.call = p.begin(client, "Update(%v)", c.ids)
		c.began = time.Now()
		ctx, w, err := p.write.Begin(p.t.Context(), p.stale(c.ids[0]))
		if refused = err; err != nil {
			return
		}
		defer func() {
			if !c.crash {
				w.End()
			}
		}()
		w.Returned(c.make(ctx))
	}()
	close(c.over)
	switch {
	case refused != nil:
		c.call.Fail()
		if !p.kind.guarded || !errors.Is(refused, cacheruntime.ErrRefused) {
			p.fail("%s: refused: %v", client, refused)
		}
	case c.crash:
		c.call.Fail()
		p.crash()
	case !c.late:
		p.returned(c)
	}
}

// invalidate changes a row behind the back of the cache, and invalidates it by hand.
// Where writes are guarded it changes nothing: others must be told before.
func (p *process) invalidate(client string, rnd *random) {
	id := int64(rnd.n(rows))
	c := &change{process: p, ids: []int64{id}, call: p.begin(client, "Invalidate(%d)", id)}
	if !p.kind.guarded {
		c.commit()
		rnd.pause(20 * time.Millisecond)
	}
	err := p.cache.Invalidate(p.t.Context(), tag("row", id), listTag)
	if err != nil && !errors.Is(err, cacheruntime.ErrUndelivered) {
		p.fail("%s: invalidate: %v", client, err)
	}
	p.returned(c)
}

// touch makes a plain write.
func (p *process) touch(ctx context.Context, id int64) {
	c := &change{process: p, ids: []int64{id}, call: p.begin(p.name, "Update(%d)", id)}
	_, w, err := p.write.Begin(ctx, p.stale(id))
	if err != nil {
		p.fail("afterwards, a write is refused: %v", err)
		return
	}
	c.commit()
	w.Returned(nil)
	w.End()
	c.call.Return()
}

func (p *process) stale(id int64) func(*cacheruntime.Tags) {
	return func(tags *cacheruntime.Tags) { tags.Add(tag("row", id), listTag) }
}
