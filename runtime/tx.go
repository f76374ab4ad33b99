package cacheruntime

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// A Tx is the cache's side of a database transaction: see [Cache.Begin]. It is
// safe for concurrent use.
type Tx struct {
	cache   *Cache
	ctx     context.Context // given to Begin
	outside context.Context // given to Begin of the outermost one
	around  *Tx             // the next one that the context carries, maybe of another cache
	trace   *Trace

	// ended changes under mu, once what is pending is invalidated: what comes too
	// late for that finds it set, and is invalidated at once.
	ended atomic.Bool

	mu      sync.Mutex
	commits int  // that are running
	failed  bool // the last commit has, and may be tried again
	late    bool // something was added since
	ending  bool // End was called while a commit was running
	pending pending
}

// Begin begins the cache's side of a database transaction, which is to be used
// like this:
//
//	ctx, tx := cache.Begin(ctx)
//	defer tx.End()
//	sqlTx, err := db.BeginTx(ctx, nil)
//	…
//	defer sqlTx.Rollback()
//	… // calls with that ctx, which use sqlTx
//	return tx.Commit(sqlTx.Commit)
//
// (The package sqltx does that for database/sql.) The order matters: deferred
// calls are run last in, first out. A read with that ctx between End and Rollback
// would still be answered by sqlTx, and keep what is about to be rolled back.
//
// Reads made with the context that Begin returns call the repository and store
// nothing: what a transaction sees is not what others may see. Of writes made with
// it, and of [Cache.Invalidate], the tags are collected. When the transaction
// ends they are invalidated in one step, whether it was committed or not. Then the
// context is like any other: reads use the cache, and a write invalidates when it
// returns.
//
// What is written in a transaction within another one of the same cache is collected
// by both, and invalidated when the outer one ends. If the inner one is committed, or
// ends last, that invalidates it as well, as it may have been a transaction of its own.
//
// A transaction is that of one cache. If what it changes is read through several,
// begin one on each: the context carries them all.
func (c *Cache) Begin(ctx context.Context) (context.Context, *Tx) {
	caller := controlOf(ctx)
	tx := &Tx{cache: c, ctx: ctx, outside: ctx, trace: caller.tracer()}
	if outer := caller.transaction(c); outer != nil {
		tx.outside = outer.outside
	}
	ctx = withControl(ctx, func(c *control) {
		tx.around = c.tx
		c.tx = tx
	})
	return ctx, tx
}

// Commit runs commit, which commits the database's transaction, and ends this
// one: it invalidates what was collected. The error is that of commit. If it does
// not tell whether the database has committed (see [WithAmbiguousWrites]), or if
// commit panics, the tags are marked for a lease, and invalidated again when it
// ends.
//
// With [WithGuardedWrites] the tags are marked before commit is run, and released
// after it. A [Cache.Clear] in the transaction marks everything. With [WithShared] as
// well, Commit returns [ErrRefused], wrapped, without having run commit, if that cannot
// be told to other processes.
//
// When the outermost transaction has been committed, reads that its writes are to
// reload are loaded before Commit returns.
//
// Commit may be called again, say after a commit that failed: it does the same
// again. After a refusal ([ErrRefused]) the database's transaction is still open, as
// commit has not been run, and so is this one: call Commit again, or roll back.
func (t *Tx) Commit(commit func() error) error {
	reloads, err := t.commit(commit)
	t.cache.reload(t.outside, reloads)
	return err
}

func (t *Tx) commit(commit func() error) (reloads []reload, err error) {
	marked, err := t.beginCommit()
	if err != nil {
		event := Event{Outcome: Refused, Cause: CauseTransaction, Err: err}
		t.cache.byHand.note(t.ctx, 0, countRefused, event)
		if t.trace != nil {
			t.trace.add(event)
		}
		return nil, err
	}
	cause := CauseAmbiguous // if commit panics, or ends its goroutine
	defer func() { reloads = t.finish(cause, marked, true, err == nil && cause == CauseTransaction) }()
	if marked != nil {
		t.cache.byHand.note(t.ctx, 0, countMarks, Event{Outcome: Marked})
	}
	err = commit()
	if !t.cache.inDoubt(t.ctx, err) {
		cause = CauseTransaction
	}
	return nil, err
}

// beginCommit marks what the transaction has changed, if writes are guarded.
func (t *Tx) beginCommit() (marked *held, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cache.guardLease > 0 {
		t.pending.compact()
		if m := (marks{slices.Clone(t.pending.slots), t.pending.clear}); m.any() {
			if marked, err = t.cache.hold(m, t.cache.guardLease, true); err != nil {
				return nil, err
			}
		}
	}
	if t.commits == 0 {
		t.ending = false
	}
	t.commits++
	// What is written until the end of this commit may be part of it, whatever came
	// of those before.
	t.ended.Store(false)
	t.failed = false
	return marked, nil
}

// End ends the transaction, if [Tx.Commit] has not done so: it was rolled back,
// and what was collected is invalidated all the same. It is to be deferred, and to
// come after the rollback.
func (t *Tx) End() {
	t.mu.Lock()
	switch {
	case t.commits > 0:
		t.ending = true // Commit does it
	case t.failed && !t.late:
		t.ended.Store(true) // the commit that failed has invalidated all there is
	}
	done := t.ended.Load() || t.ending
	t.mu.Unlock()
	if !done {
		t.finish(CauseTransaction, nil, false, false)
	}
}

// finish ends the transaction and invalidates what is pending, after a commit was
// tried or without one. It returns what is to be reloaded now.
func (t *Tx) finish(cause Cause, marked *held, commit, committed bool) []reload {
	p, left, undelivered := t.end(&cause, marked, commit, committed)
	if commit || !left {
		t.cache.tellEnd(t.ctx, t.trace, p, cause, undelivered)
	}
	if left {
		return nil // to the outer one as well
	}
	return p.reloads
}

// end ends the transaction. What is pending is left to the outer one, if there is
// one, and invalidated unless that is enough. The outer one has collected the tags
// already, unless it was committed again meanwhile, but not the rest. It all stays, in
// case there is another commit, but for the reloads of one that succeeded.
func (t *Tx) end(cause *Cause, marked *held, commit, committed bool) (p pending, left bool, undelivered error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending.compact()
	p = t.pending
	p.slots = slices.Clone(p.slots)
	p.names = slices.Clone(p.names)
	if committed {
		t.pending.reloads = nil
	} else {
		p.reloads = nil
	}
	p.ambiguous = p.ambiguous || *cause == CauseAmbiguous
	for outer := t.around; outer != nil && !left; outer = outer.around {
		if outer.cache == t.cache {
			added, failed := outer.add(p)
			left = added && !failed
		}
	}
	if commit || !left {
		if p.ambiguous {
			*cause = CauseAmbiguous // of this one, or of one within it
		}
		undelivered = t.cache.apply(marks{p.slots, p.clear}, marked, *cause)
	}
	// Not before: from here on reads with the context of the transaction are
	// served from the cache, and may have seen its writes return.
	if commit {
		t.commits--
	}
	t.failed, t.late = commit && !committed, false
	if t.commits == 0 && (!t.failed || t.ending) {
		t.ended.Store(true)
	}
	return p, left, undelivered
}

// tellEnd tells of the end of a transaction, and of why others are not told yet.
func (c *Cache) tellEnd(ctx context.Context, trace *Trace, p pending, cause Cause, undelivered error) {
	if p.clear {
		c.byHand.note(ctx, 0, countClears, Event{Outcome: Invalidated, Cause: CauseClear})
		if cause == CauseAmbiguous && len(p.slots) == 0 {
			c.byHand.note(ctx, 0, countMarks, Event{Outcome: Marked})
		}
	}
	if len(p.slots) == 0 {
		return
	}
	c.tell(ctx, c.byHand, cause)
	if trace != nil {
		trace.add(Event{Outcome: Invalidated, Tags: p.names, Cause: cause, Err: undelivered})
	}
}

// add adds to what is pending, unless the transaction has ended. It reports
// whether it has, and whether that may be in vain, as a commit has failed: what
// is written then may be part of another one, or outside of the database's
// transaction.
func (t *Tx) add(p pending) (added, failed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended.Load() {
		return false, false
	}
	t.pending.add(p)
	t.late = t.failed
	return true, t.failed
}

// transaction returns the innermost transaction of a cache that a call is made
// in and that has not ended, or nil.
func (c *control) transaction(cache *Cache) *Tx {
	if c == nil {
		return nil
	}
	for tx := c.tx; tx != nil; tx = tx.around {
		if tx.cache == cache && !tx.ended.Load() {
			return tx
		}
	}
	return nil
}

// collect leaves something to every transaction of a cache that has not ended, as
// it is not known which of them are one in the database, nor which of them ends
// first; reloads are left to the innermost. It reports whether there is any, and
// whether the caller has to invalidate at once: if there is none, or if the innermost
// is around one that has ended, or has a commit behind it that failed, as the
// database may have been changed in no transaction at all.
func (c *control) collect(cache *Cache, p pending) (left, atOnce bool) {
	if c == nil {
		return false, true
	}
	for tx := c.tx; tx != nil; tx = tx.around {
		if tx.cache != cache {
			continue
		}
		added, failed := tx.add(p)
		if !left {
			atOnce = atOnce || !added || failed
		}
		if added {
			left = true
			p.reloads = nil
		}
	}
	return left, atOnce || !left
}

// pending is what is to be done when a transaction ends.
type pending struct {
	slots     []uint32
	names     []string // of the tags, if traced
	reloads   []reload
	clear     bool // the cache was cleared
	ambiguous bool // an inner transaction's commit

	distinct int // number of slots after the last compaction
}

// add adds what q holds, and keeps nothing of its memory. The slots take memory
// in proportion to the distinct ones, however long the transaction.
func (p *pending) add(q pending) {
	p.slots = append(p.slots, q.slots...)
	p.names = append(p.names, q.names...)
	p.reloads = append(p.reloads, q.reloads...)
	p.clear = p.clear || q.clear
	p.ambiguous = p.ambiguous || q.ambiguous
	if len(p.slots) > 2*max(p.distinct, 64) {
		p.compact()
	}
}

func (p *pending) compact() {
	p.slots = distinct(p.slots)
	p.distinct = len(p.slots)
	slices.Sort(p.names)
	p.names = slices.Compact(p.names)
}
