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

	"github.com/redis/rueidis"

	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/redis"
)

func TestMain(m *testing.M) {
	// Tests mostly wait, so that more of them can run at a time than there are cores. The
	// command line can say otherwise.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	redistest.Main(m, map[string]func(*redistest.ChildIO){"process": runProcess})
}

// settings are those of a process. What is zero is left to its default, but for Bound, and
// for Doubt, which is 600 ms then.
type settings struct {
	Number    int // of the process
	Redis     []string
	MasterSet string // what sentinels call it, if Redis is their addresses
	Database  string
	Bound     time.Duration // D
	Guard     time.Duration // lease of guarded writes
	Doubt     time.Duration // lease of writes in doubt
	Flights   time.Duration // WithSharedFlights
	LogLength int
	Timeout   time.Duration // of the log and of entries

	// LosesData says that the test makes Redis lose what it has, and with it marks that no
	// living process knows of. Writes that have returned must be seen all the same.
	LosesData bool
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
	next := &databaseClient{db: db}
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
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	var client rueidis.ClientOption
	client.Sentinel.MasterSet = s.MasterSet
	for {
		tier, err := redis.Open(ctx, redis.Options{
			InitAddress: s.Redis, Namespace: namespace, LogLength: s.LogLength, Timeout: s.Timeout, LogTimeout: s.Timeout,
			ClientOption: client,
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
	next  *databaseClient
	rows  *CachedRows
	cache *cacheruntime.Cache
}

// A ReadCall is a call of a read.
type ReadCall struct {
	Method string
	IDs    []int
}

// A ReadResult is what a call of a read returned.
type ReadResult struct {
	Rows    []Row // with version 0 if there is none; of All, those that are there
	Outcome string
	Err     string
}

func (p *Process) Read(r ReadCall, s *ReadResult) error {
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

// A WriteCall is a call that writes.
type WriteCall struct {
	Write int    // its number
	How   string // update, insert, transaction, or outside: past the wrapper
	IDs   []int
}

// A WriteResult is what a call that writes returned.
type WriteResult struct {
	Err     string
	Refused bool // it was not begun
	Queued  bool // other processes are yet to be told
}

func (p *Process) Write(w WriteCall, reply *WriteResult) error {
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
	reply.Queued = p.cache.Stats().Shared.Queued > 0
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

// Counts are some of the statistics.
type Counts struct {
	Hits, SharedHits, Loads uint64
	Shared                  cacheruntime.SharedStats
}

// Stats returns what the cache did so far.
func (p *Process) Stats(_ struct{}, n *Counts) error {
	s := p.cache.Stats()
	*n = Counts{s.Hits, s.SharedHits, s.Loads, s.Shared}
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
	// waitLimit is how long anything may take that a test waits for, on a machine that is
	// busy with other things.
	waitLimit = time.Minute
	// shortTimeout is how long commands of Redis are waited for in tests in which it does
	// not answer: recovering from a connection that has lost something takes three of it.
	shortTimeout = 500 * time.Millisecond
	// longTimeout is the same in tests that say what happens while Redis answers, so that
	// it counts as answering on a machine that is busy, too.
	longTimeout = 5 * time.Second
)

// newWorld makes a database of some rows, and no process.
func newWorld(t *testing.T, rows int, defaults settings) *world {
	if defaults.Doubt == 0 {
		defaults.Doubt = 600 * time.Millisecond
	}
	w := &world{t: t, defaults: defaults}
	w.db = &database{oracle: newOracle(defaults.Bound, defaults.Guard > 0 && !defaults.LosesData, rows), plans: map[int]*plan{}}
	w.db.serve(t)
	return w
}

// A process is a child, as the test sees it. Its calls can be made from any goroutine.
type process struct {
	*redistest.ChildProcess
	world  *world
	number int
	calls  *rpc.Client

	killed      chan struct{} // closed when it is about to be killed
	mu          sync.Mutex
	undelivered []int // writes of which others are yet to be told
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
	p := &process{ChildProcess: redistest.Child(w.t, "process", string(text)), world: w, number: s.Number, killed: make(chan struct{})}
	if p.calls, err = rpc.Dial("tcp", p.Receive()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { p.calls.Close() })
	w.processes = append(w.processes, p)
	return p
}

// kill kills the process. Whatever calls there are may fail from now on.
func (p *process) kill() {
	close(p.killed)
	p.Kill()
}

func (p *process) isKilled() bool {
	select {
	case <-p.killed:
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
	case <-time.After(waitLimit):
		return fmt.Errorf("process %d has not returned from %s within %v", p.number, method, waitLimit)
	}
}

// tryRead makes a read, which may fail, and has the oracle judge what it returned.
func (p *process) tryRead(method string, ids ...int) (ReadResult, error) {
	o := p.world.db.oracle
	began := o.now()
	var s ReadResult
	if err := p.call("Read", ReadCall{method, ids}, &s); err != nil {
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
func (p *process) tryWrite(number int, how string, ids ...int) (WriteResult, error) {
	var w WriteResult
	if err := p.call("Write", WriteCall{number, how, ids}, &w); err != nil {
		return w, err // it has not returned
	}
	p.world.db.returned(number, !w.Queued)
	if w.Queued {
		p.mu.Lock()
		p.undelivered = append(p.undelivered, number)
		p.mu.Unlock()
	}
	if w.Err != "" {
		return w, errors.New(w.Err)
	}
	return w, nil
}

// write makes a call that writes, which must not fail. It reports whether other
// processes are yet to be told.
func (p *process) write(how string, ids ...int) (queued bool) {
	p.world.t.Helper()
	w, err := p.tryWrite(p.begin(how), how, ids...)
	if err != nil {
		p.world.t.Errorf("process %d: %s %v: %v", p.number, how, ids, err)
	}
	return w.Queued
}

func (p *process) hasUndelivered() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.undelivered) > 0
}

// checkDelivered looks whether what was not delivered at once has been by now, and tells
// the oracle. It reports whether all has. Only one goroutine may call it at a time.
func (p *process) checkDelivered() bool {
	p.mu.Lock()
	checked := slices.Clone(p.undelivered)
	p.mu.Unlock()
	if n, err := p.stats(); err != nil || n.Shared.Queued > 0 {
		return false
	}
	p.world.db.delivered(checked...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.undelivered = p.undelivered[len(checked):]
	return len(p.undelivered) == 0
}

func (p *process) stats() (n Counts, err error) {
	err = p.call("Stats", struct{}{}, &n)
	return n, err
}
