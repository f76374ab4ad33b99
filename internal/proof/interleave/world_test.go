package interleave

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cachegen/cachegen/internal/proof/history"
	"github.com/cachegen/cachegen/internal/proof/schedule"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// lease is that of writes in doubt, and of guarded ones.
const lease = 10 * time.Second

// A world is what the calls of one run share: a database, a cache before it, and the
// history.
type world struct {
	plan    *schedule.Plan
	history *history.History
	db      *database
	store   *store
	cache   *cacheruntime.Cache
	rows    *CachedRows
	guarded bool
	small   bool // enough for porcupine

	mu      sync.Mutex
	problem error // found by a client
}

// maxID is that of the last row that can be inserted.
const maxID = 20

// newWorld makes a world whose database has rows 1 and 2, in group 0.
func newWorld(plan *schedule.Plan, guarded bool) *world {
	w := &world{
		plan:    plan,
		history: history.New(),
		store:   &store{entries: map[string][]byte{}},
		guarded: guarded,
	}
	for id := 3; id <= maxID; id++ {
		w.history.Absent(id)
	}
	w.db = &database{world: w, rows: map[int]Row{1: {ID: 1}, 2: {ID: 2}}, last: 2}
	w.open()
	plan.Check(w.check)
	return w
}

// open puts a new cache before the database, on the same store.
func (w *world) open() {
	opts := []cacheruntime.Option{
		cacheruntime.WithStore(w.store),
		cacheruntime.WithLogger(slog.New(slog.DiscardHandler)),
		cacheruntime.WithAmbiguousWrites(lease, nil),
	}
	if w.guarded {
		opts = append(opts, cacheruntime.WithGuardedWrites(lease))
	}
	cache, err := cacheruntime.New(opts...)
	if err != nil {
		panic(err)
	}
	w.cache = cache
	w.rows = NewCachedRows(w.db, cache)
}

// judged counts what was judged, in all runs.
var judged struct{ reads, writes int }

// check judges the run, once all calls have returned.
func (w *world) check() error {
	judged.reads += w.history.Reads()
	judged.writes += w.history.Writes()
	if w.problem != nil {
		return w.problem
	}
	if err := w.history.Stale(); err != nil {
		return err
	}
	if w.guarded {
		if err := w.history.Unordered(); err != nil {
			return err
		}
		if w.small {
			// The word of an independent judge.
			if err := w.history.Linearizable(time.Minute); err != nil {
				return err
			}
		}
	}
	// A cache that serves nothing serves nothing stale: it is to come to rest.
	<-time.After(2 * lease)
	for range 2 {
		if _, err := w.rows.List(context.Background(), 0); err != nil {
			return fmt.Errorf("afterwards: %w", err)
		}
	}
	ctx, trace := cacheruntime.WithTrace(context.Background())
	w.rows.List(ctx, 0)
	if got := trace.Events()[0].Outcome; got != cacheruntime.Hit {
		return fmt.Errorf("afterwards, when nothing is written any more, a list that was just read is not cached: %s", trace)
	}
	return w.cache.Close()
}

// The beginnings and ends of calls are steps as well: what a read may return depends on
// what had returned before it began.
const returned = "what has returned"

// read makes one read of a client.
func (w *world) read(client, what string, ctx context.Context, read func(context.Context, *history.Call) error) {
	schedule.Touch(returned, false)
	call := w.history.Begin(client, what)
	err := read(ctx, call)
	if w.guarded {
		schedule.Touch(returned, true)
	}
	if err != nil {
		// The database has none to return, but time may have passed.
		if !errors.Is(err, context.DeadlineExceeded) {
			w.mu.Lock()
			w.problem = fmt.Errorf("%s of %s fails: %w", what, client, err)
			w.mu.Unlock()
		}
		call.Fail()
		return
	}
	call.Return()
}

func saw(call *history.Call, id int, row *Row, err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		call.Missed(id)
		return nil
	case err == nil:
		call.Saw(id, row.Version)
	}
	return err
}

func (w *world) get(client string, ctx context.Context, id int) {
	w.read(client, fmt.Sprintf("Get(%d)", id), ctx, func(ctx context.Context, call *history.Call) error {
		row, err := w.rows.Get(ctx, id)
		return saw(call, id, row, err)
	})
}

// own reads a row with the context of a transaction that has written a version of it.
func (w *world) own(ctx context.Context, id int, least int64) {
	schedule.Touch(returned, false)
	row, err := w.rows.Get(ctx, id)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil:
		w.problem = err
	case row.Version < least:
		w.problem = fmt.Errorf("a read with the context of a transaction that has written version %d of row %d sees version %d", least, id, row.Version)
	}
}

func (w *world) page(client string, ctx context.Context, id int) {
	w.read(client, fmt.Sprintf("Page(%d)", id), ctx, func(ctx context.Context, call *history.Call) error {
		row, err := w.rows.Page(ctx, id)
		return saw(call, id, row, err)
	})
}

func (w *world) old(client string, ctx context.Context, id int) {
	w.read(client, fmt.Sprintf("Old(%d)", id), ctx, func(ctx context.Context, call *history.Call) error {
		row, err := w.rows.Old(ctx, id)
		return saw(call, id, row, err)
	})
}

func (w *world) warm(client string, ctx context.Context, id int) {
	w.read(client, fmt.Sprintf("Warm(%d)", id), ctx, func(ctx context.Context, call *history.Call) error {
		row, err := w.rows.Warm(ctx, id)
		return saw(call, id, row, err)
	})
}

func (w *world) all(client string, ctx context.Context, ids ...int) {
	w.read(client, fmt.Sprintf("All(%v)", ids), ctx, func(ctx context.Context, call *history.Call) error {
		rows, err := w.rows.All(ctx, ids)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if row := rows[id]; row != nil {
				call.Saw(id, row.Version)
			} else {
				call.Missed(id)
			}
		}
		return nil
	})
}

// list reads a group. That a row is not in it says nothing of its versions, but for a
// row that is in no other.
func (w *world) list(client string, ctx context.Context, group int) {
	w.read(client, fmt.Sprintf("List(%d)", group), ctx, func(ctx context.Context, call *history.Call) error {
		rows, err := w.rows.List(ctx, group)
		for _, row := range rows {
			call.Saw(row.ID, row.Version)
		}
		if group == 0 && !w.db.moves && err == nil {
			for id := 1; id <= maxID; id++ {
				if !slices.ContainsFunc(rows, func(row Row) bool { return row.ID == id }) {
					call.Missed(id)
				}
			}
		}
		return err
	})
}

// An ending is how a write comes out.
type ending int

const (
	succeeds ending = iota
	fails           // with an error, and has changed the row all the same
	breaks          // its answer is lost: it has changed the row
	lands           // its answer is lost: it changes the row later, within the lease
	panics          // and has changed the row
	outlasts        // the lease of its guard, and is refused then
)

type outcome struct {
	call   *history.Call
	ending ending
	landed chan struct{}
}

type outcomeKey struct{}

// write makes one write of a client. What its ending leaves open is over when the
// lease has ended.
func (w *world) write(client, what string, ctx context.Context, how ending, write func(context.Context) error) {
	schedule.Now() // a guard's deadline counts from it
	call := w.history.Begin(client, what)
	o := &outcome{call: call, ending: how, landed: make(chan struct{})}
	func() {
		defer func() {
			if value := recover(); value != nil && value != errInjected {
				panic(value)
			}
		}()
		write(context.WithValue(ctx, outcomeKey{}, o))
	}()
	if how == lands {
		<-o.landed
		schedule.Elapse(lease)
		schedule.AwaitTimers()
	}
	schedule.Touch(returned, true)
	call.Return()
}

func (w *world) update(client string, ctx context.Context, how ending, ids ...int) {
	w.write(client, fmt.Sprintf("Update(%v)", ids), ctx, how, func(ctx context.Context) error { return w.rows.Update(ctx, ids...) })
}

func (w *world) insert(client string, ctx context.Context, how ending) {
	w.write(client, "Insert", ctx, how, func(ctx context.Context) error { return w.rows.Insert(ctx, &Row{}) })
}

func (w *world) move(client string, ctx context.Context, how ending, id, to int) {
	w.write(client, fmt.Sprintf("Move(%d, %d)", id, to), ctx, how, func(ctx context.Context) error {
		_, err := w.rows.Move(ctx, id, to)
		return err
	})
}

// A database is the repository behind the cache.
type database struct {
	world *world
	moves bool          // rows change their groups
	slow  time.Duration // how long Warm takes

	mu   sync.Mutex
	rows map[int]Row
	last int
}

// look is a step in which the database is read, and alter one in which it is changed: a
// commit, of however many rows.
func look()  { schedule.Touch("the database", false) }
func alter() { schedule.TouchNow("the database", true) }

// view is the rows as a call sees them: with what its transaction has written.
func (d *database) view(ctx context.Context) map[int]Row {
	look()
	d.mu.Lock()
	defer d.mu.Unlock()
	rows := maps.Clone(d.rows)
	if t := transactionOf(ctx); t != nil && !t.ended {
		for _, c := range t.changes {
			c.apply(rows)
		}
	}
	return rows
}

func (d *database) Get(ctx context.Context, id int) (*Row, error) {
	row, ok := d.view(ctx)[id]
	if !ok {
		return nil, ErrNotFound
	}
	return &row, nil
}

func (d *database) Old(ctx context.Context, id int) (*Row, error) { return d.Get(ctx, id) }

func (d *database) Warm(ctx context.Context, id int) (*Row, error) {
	if d.slow > 0 {
		<-time.After(d.slow)
	}
	return d.Get(ctx, id)
}

// Page reads through the cache.
func (d *database) Page(ctx context.Context, id int) (*Row, error) {
	return d.world.rows.Get(ctx, id)
}

func (d *database) All(ctx context.Context, ids []int) (map[int]*Row, error) {
	rows := map[int]*Row{}
	view := d.view(ctx)
	for _, id := range ids {
		if row, ok := view[id]; ok {
			rows[id] = &row
		}
	}
	return rows, nil
}

func (d *database) List(ctx context.Context, group int) ([]Row, error) {
	var rows []Row
	view := d.view(ctx)
	for _, id := range slices.Sorted(maps.Keys(view)) {
		if row := view[id]; row.Group == group {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

var errInjected = errors.New("injected")

// A change is that of some rows.
type change struct {
	ids []int
	do  func(*Row)
}

func (c change) apply(rows map[int]Row) {
	for _, id := range c.ids {
		row := rows[id]
		row.ID = id
		row.Version++
		c.do(&row)
		rows[id] = row
	}
}

// commit makes changes, in the step that has begun.
func (d *database) commit(call *history.Call, t *transaction) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t.ended = true
	for _, c := range t.changes {
		c.apply(d.rows)
		for _, id := range c.ids {
			if call != nil {
				call.Wrote(id, d.rows[id].Version)
			}
		}
	}
}

// write makes a change as the outcome of the call says, or leaves it to the
// transaction.
func (d *database) write(ctx context.Context, c change) error {
	if t := transactionOf(ctx); t != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		t.changes = append(t.changes, c)
		return nil
	}
	return d.conclude(ctx, &transaction{changes: []change{c}})
}

// conclude commits, now or later, and returns as the outcome of the call says.
func (d *database) conclude(ctx context.Context, t *transaction) error {
	o, _ := ctx.Value(outcomeKey{}).(*outcome)
	if o != nil && o.ending == outlasts {
		schedule.Elapse(lease)
	}
	alter()
	if o == nil {
		d.commit(nil, t)
		return nil
	}
	if ctx.Err() != nil { // or it might land after the lease of a guarded write
		close(o.landed)
		return ctx.Err()
	}
	if o.ending == lands {
		began := time.Now()
		schedule.Go(func() {
			alter()
			if time.Since(began) < lease {
				d.commit(o.call, t)
			}
			schedule.Close(o.landed)
		})
		return context.DeadlineExceeded
	}
	d.commit(o.call, t)
	switch o.ending {
	case fails:
		return errInjected
	case breaks:
		return context.DeadlineExceeded
	case panics:
		panic(errInjected)
	}
	return nil
}

// A transaction is the database's side of one.
type transaction struct {
	changes []change
	ended   bool // they are the database's now
}

type transactionKey struct{}

func transactionOf(ctx context.Context) *transaction {
	t, _ := ctx.Value(transactionKey{}).(*transaction)
	return t
}

// transact makes calls in a transaction and commits it, or rolls it back.
func (w *world) transact(client string, how ending, rollback bool, do func(ctx context.Context)) {
	if rollback {
		how = succeeds
	}
	w.write(client, "a transaction", context.Background(), how, func(ctx context.Context) error {
		ctx, tx := w.cache.Begin(ctx)
		defer tx.End()
		t := &transaction{}
		do(context.WithValue(ctx, transactionKey{}, t))
		if rollback {
			look()
			return nil
		}
		return tx.Commit(func() error {
			return w.db.conclude(ctx, t)
		})
	})
}

func (d *database) Update(ctx context.Context, ids ...int) error {
	return d.write(ctx, change{ids, func(*Row) {}})
}

func (d *database) Insert(ctx context.Context, row *Row) error {
	alter()
	d.mu.Lock()
	d.last++
	id := d.last
	d.mu.Unlock()
	err := d.write(ctx, change{[]int{id}, func(r *Row) { r.Group = row.Group }})
	if err == nil {
		row.ID = id
	}
	return err
}

func (d *database) Move(ctx context.Context, id, to int) (from int, err error) {
	d.moves = true
	look()
	d.mu.Lock()
	from = d.rows[id].Group
	d.mu.Unlock()
	return from, d.write(ctx, change{[]int{id}, func(r *Row) { r.Group = to }})
}

// A store is one whose entries can be evicted at any time.
type store struct {
	mu      sync.Mutex
	entries map[string][]byte
}

func (s *store) Get(key string) ([]byte, bool, error) {
	schedule.Touch("entry "+key, false)
	s.mu.Lock()
	defer s.mu.Unlock()
	entry, ok := s.entries[key]
	return entry, ok, nil
}

func (s *store) Set(key string, entry []byte) error {
	schedule.Touch("entry "+key, true)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[key] = entry
	return nil
}

func (s *store) Reset() error { s.evict(); return nil }

func (s *store) Close() error { return nil }

// evict gives up every entry.
func (s *store) evict() {
	s.mu.Lock()
	keys := make([]string, 0, len(s.entries))
	for key := range s.entries {
		keys = append(keys, key)
	}
	s.mu.Unlock()
	slices.Sort(keys)
	for _, key := range keys {
		schedule.Touch("entry "+key, true)
		s.mu.Lock()
		delete(s.entries, key)
		s.mu.Unlock()
	}
}
