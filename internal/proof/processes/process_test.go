package processes

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/rpc"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/redis"
)

func TestMain(m *testing.M) {
	// Mostly they wait. The command line says otherwise.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	redistest.Main(m, map[string]func(*redistest.ChildIO){"process": runProcess})
}

// settings are those of a process. What is zero is left to its default, but for Bound; that
// of Doubt is 600 ms.
type settings struct {
	Number    int // of the process
	Redis     []string
	Database  string
	Bound     time.Duration // D
	Guard     time.Duration // lease of guarded writes
	Doubt     time.Duration // lease of writes in doubt
	Flights   time.Duration // WithSharedFlights
	LogLength int
	Timeout   time.Duration // of the log and of entries

	// Forgetful says that what Redis has is lost on the way, and with it marks that no
	// living process knows of. Writes that have returned are seen all the same.
	Forgetful bool
}

// namespace has a server to itself.
const namespace = "proof"

// runProcess is the main of a process: it answers calls until there are no more lines.
func runProcess(io *redistest.ChildIO) {
	var s settings
	if err := json.Unmarshal([]byte(io.Args[0]), &s); err != nil {
		panic(err)
	}
	db, err := rpc.Dial("tcp", s.Database)
	if err != nil {
		panic(err)
	}
	defer db.Close()
	tier := openTier(s)
	options := []cacheruntime.Option{
		cacheruntime.WithShared(tier),
		cacheruntime.WithMaxStaleness(s.Bound),
		cacheruntime.WithMaxBytes(1 << 20),
		cacheruntime.WithAmbiguousWrites(s.Doubt, nil),
		cacheruntime.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))),
	}
	if s.Guard > 0 {
		options = append(options, cacheruntime.WithGuardedWrites(s.Guard))
	}
	if s.Flights > 0 {
		options = append(options, cacheruntime.WithSharedFlights(s.Flights))
	}
	cache, err := cacheruntime.New(options...)
	if err != nil {
		panic(err)
	}
	next := &remote{db: db}
	rows := NewCachedRows(next, cache)
	next.cached = rows
	server := rpc.NewServer()
	if err := server.Register(&Process{next, rows, cache}); err != nil {
		panic(err)
	}
	addr, stop, err := listen(server)
	if err != nil {
		panic(err)
	}
	io.Send("%s", addr)
	for range io.Lines() {
	}
	stop()
	if err := cache.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// openTier opens the tier. Timeouts are short, and the machine may be busy.
func openTier(s settings) *redis.Tier {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		tier, err := redis.Open(ctx, redis.Options{
			InitAddress: s.Redis, Namespace: namespace, LogLength: s.LogLength, Timeout: s.Timeout, LogTimeout: s.Timeout,
		})
		if err == nil {
			return tier
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			panic(err)
		}
	}
}

// Process is what a process answers.
type Process struct {
	next  *remote
	rows  *CachedRows
	cache *cacheruntime.Cache
}

// A Reading is a call of a read.
type Reading struct {
	Method string
	IDs    []int
}

// A Sight is what a call of a read returned.
type Sight struct {
	Rows    []Row // with version 0 if there is none; of All, those that are there
	Outcome string
	Err     string
}

func (p *Process) Read(r Reading, s *Sight) error {
	ctx, trace := cacheruntime.WithTrace(context.Background())
	var err error
	one := func(row *Row, failed error) {
		switch {
		case errors.Is(failed, ErrNotFound):
			s.Rows = []Row{{ID: r.IDs[0]}}
		case failed != nil:
			err = failed
		default:
			s.Rows = []Row{*row}
		}
	}
	switch r.Method {
	case "Get":
		one(p.rows.Get(ctx, r.IDs[0]))
	case "Page":
		one(p.rows.Page(ctx, r.IDs[0]))
	case "Brief":
		one(p.rows.Brief(ctx, r.IDs[0]))
	case "All":
		s.Rows, err = p.rows.All(ctx)
	case "Some":
		var rows map[int]*Row
		if rows, err = p.rows.Some(ctx, r.IDs); err == nil {
			for _, id := range r.IDs {
				row := rows[id]
				if row == nil {
					row = &Row{ID: id}
				}
				s.Rows = append(s.Rows, *row)
			}
		}
	default:
		return fmt.Errorf("no read is called %q", r.Method)
	}
	if err != nil {
		s.Err = err.Error()
	}
	if events := trace.Events(); len(events) > 0 {
		s.Outcome = string(events[len(events)-1].Outcome)
	}
	return nil
}

// A Writing is a call that writes.
type Writing struct {
	Write int    // its number
	How   string // update, insert, transaction, or outside: past the wrapper
	IDs   []int
}

// A Written is what a call that writes returned.
type Written struct {
	Err     string
	Refused bool // it was not begun
	Late    bool // others are yet to be told
}

func (p *Process) Write(w Writing, reply *Written) error {
	ctx := context.WithValue(context.Background(), writeKey{}, w.Write)
	var err error
	switch w.How {
	case "update":
		err = p.rows.Update(ctx, w.IDs...)
	case "insert":
		err = p.rows.Insert(ctx, new(Row))
	case "transaction":
		err = p.transact(ctx, w.IDs)
	case "outside":
		if err = p.next.Update(ctx, w.IDs...); err == nil {
			var tags []cacheruntime.Tag
			for _, id := range w.IDs {
				tags = append(tags, ItemTag(id))
			}
			err = p.cache.Invalidate(ctx, tags...)
		}
	default:
		return fmt.Errorf("no write is called %q", w.How)
	}
	if err != nil {
		reply.Err = err.Error()
	}
	reply.Refused = errors.Is(err, cacheruntime.ErrRefused)
	reply.Late = p.cache.Stats().Shared.Queued > 0
	return nil
}

func (p *Process) transact(ctx context.Context, ids []int) error {
	outside := ctx
	var t transaction
	ctx, tx := p.cache.Begin(context.WithValue(ctx, transactionKey{}, &t))
	defer tx.End()
	for _, id := range ids {
		if err := p.rows.Update(ctx, id); err != nil {
			return err
		}
	}
	return tx.Commit(func() error {
		_, err := p.next.write(outside, Change{IDs: t.ids})
		return err
	})
}

// Numbers are some of the statistics.
type Numbers struct {
	Hits, SharedHits, Loads uint64
	Shared                  cacheruntime.SharedStats
}

// Stats returns what the cache did so far.
func (p *Process) Stats(_ struct{}, n *Numbers) error {
	s := p.cache.Stats()
	*n = Numbers{s.Hits, s.SharedHits, s.Loads, s.Shared}
	return nil
}

// Close closes the cache, and returns what that returns.
func (p *Process) Close(_ struct{}, said *string) error {
	if err := p.cache.Close(); err != nil {
		*said = err.Error()
	}
	return nil
}

// A world is a database and the processes before it.
type world struct {
	t         *testing.T
	db        *database
	processes []*process
	defaults  settings
}

const (
	// patience is how long anything may take on a machine that is busy with other things.
	patience = time.Minute
	// timeout is that of Redis where it is to be short: recovering from a connection that
	// has lost something takes three of it.
	timeout = 500 * time.Millisecond
	// patient is that where a test says what happens while Redis answers.
	patient = 5 * time.Second
)

// newWorld makes a database of some rows, and no process.
func newWorld(t *testing.T, rows int, defaults settings) *world {
	if defaults.Doubt == 0 {
		defaults.Doubt = 600 * time.Millisecond
	}
	w := &world{t: t, defaults: defaults}
	w.db = &database{oracle: newOracle(defaults.Bound, defaults.Guard > 0 && !defaults.Forgetful, rows), plans: map[int]*plan{}}
	w.db.serve(t)
	return w
}

// A process is a child, as the test sees it. Its calls can be made from any goroutine.
type process struct {
	*redistest.Process
	world  *world
	number int
	calls  *rpc.Client

	dismissed chan struct{} // closed when it is about to be killed
	mu        sync.Mutex
	late      []int // writes of which others are yet to be told
}

// start starts a process whose Redis is at those addresses.
func (w *world) start(redis ...string) *process {
	w.t.Helper()
	s := w.defaults
	s.Number, s.Redis, s.Database = len(w.processes), redis, w.db.addr
	text, err := json.Marshal(s)
	if err != nil {
		w.t.Fatal(err)
	}
	p := &process{Process: redistest.Child(w.t, "process", string(text)), world: w, number: s.Number, dismissed: make(chan struct{})}
	if p.calls, err = rpc.Dial("tcp", p.Receive()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { p.calls.Close() })
	w.processes = append(w.processes, p)
	return p
}

// kill kills the process. Whatever calls there are may fail from now on.
func (p *process) kill() {
	close(p.dismissed)
	p.Kill()
}

func (p *process) isDismissed() bool {
	select {
	case <-p.dismissed:
		return true
	default:
		return false
	}
}

func (p *process) call(method string, args, reply any) error {
	call := p.calls.Go("Process."+method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		return call.Error
	case <-time.After(patience):
		return fmt.Errorf("process %d has not returned from %s within %v", p.number, method, patience)
	}
}

// tryRead makes a read, which may fail, and has what it saw judged.
func (p *process) tryRead(method string, ids ...int) (Sight, error) {
	o := p.world.db.oracle
	began := o.now()
	var s Sight
	if err := p.call("Read", Reading{method, ids}, &s); err != nil {
		return s, err
	}
	if s.Err != "" {
		return s, errors.New(s.Err)
	}
	if method == "All" {
		s.Rows = withAbsent(s.Rows, o.ids())
	}
	for _, row := range s.Rows {
		if err := o.judge(p.number, began, row.ID, row.Version); err != nil {
			p.world.t.Errorf("%s %v (%s): %v", method, ids, s.Outcome, err)
		}
	}
	return s, nil
}

// withAbsent adds those of the ids that are not among the rows.
func withAbsent(rows []Row, ids []int) []Row {
	there := map[int]bool{}
	for _, row := range rows {
		there[row.ID] = true
	}
	for _, id := range ids {
		if !there[id] {
			rows = append(rows, Row{ID: id})
		}
	}
	return rows
}

// read makes a read, which must not fail, and returns how it ended.
func (p *process) read(method string, ids ...int) cacheruntime.Outcome {
	p.world.t.Helper()
	s, err := p.tryRead(method, ids...)
	if err != nil {
		p.world.t.Errorf("process %d: %s %v: %v", p.number, method, ids, err)
	}
	return cacheruntime.Outcome(s.Outcome)
}

// begin gives a write its number.
func (p *process) begin(how string) (number int) {
	return p.world.db.begin(p.number, how == "outside")
}

// tryWrite makes a call that writes, which may fail.
func (p *process) tryWrite(number int, how string, ids ...int) (Written, error) {
	var w Written
	if err := p.call("Write", Writing{number, how, ids}, &w); err != nil {
		return w, err // it has not returned
	}
	p.world.db.returned(number, !w.Late)
	if w.Late {
		p.mu.Lock()
		p.late = append(p.late, number)
		p.mu.Unlock()
	}
	if w.Err != "" {
		return w, errors.New(w.Err)
	}
	return w, nil
}

// write makes a call that writes, which must not fail. It reports whether other
// processes are yet to be told.
func (p *process) write(how string, ids ...int) (late bool) {
	p.world.t.Helper()
	w, err := p.tryWrite(p.begin(how), how, ids...)
	if err != nil {
		p.world.t.Errorf("process %d: %s %v: %v", p.number, how, ids, err)
	}
	return w.Late
}

func (p *process) isLate() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.late) > 0
}

// settle looks whether what was late has been delivered. Only one goroutine may do so.
func (p *process) settle() (settled bool) {
	p.mu.Lock()
	late := slices.Clone(p.late)
	p.mu.Unlock()
	if n, err := p.stats(); err != nil || n.Shared.Queued > 0 {
		return false
	}
	p.world.db.delivered(late...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late = p.late[len(late):]
	return len(p.late) == 0
}

func (p *process) stats() (n Numbers, err error) {
	err = p.call("Stats", struct{}{}, &n)
	return n, err
}
