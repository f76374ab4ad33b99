package processes

import (
	"context"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"net"
	"net/rpc"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A database is the oracle's rows, as processes get at them.
type database struct {
	*oracle
	addr string
	slow atomic.Int64 // the most that a load takes, in nanoseconds

	mu    sync.Mutex
	plans map[int]*plan
	gate  chan struct{} // reads are not answered before it is closed, if there is one
	loads int           // reads that have come to it
}

// A plan is what becomes of a write.
type plan struct {
	come      chan struct{} // closed when it has come
	commit    chan struct{} // it is not committed before this is closed, if there is one
	committed chan struct{} // closed when it has been
	reply     chan struct{} // it is not answered before this is closed, if there is one
	lost      bool          // its connection breaks before it is answered
	late      time.Duration // so long after that it is committed
	within    time.Duration // if it is not committed by then, it never is
}

// Database is what it answers.
type Database struct{ db *database }

// A Query asks for rows.
type Query struct {
	IDs []int
	All bool
}

// A Change writes rows. Its number is that of the write.
type Change struct {
	Write    int
	IDs      []int
	Insert   bool
	Deadline int64 // in nanoseconds since 1970, 0 for none
}

const (
	errLost    = "the connection has broken"
	errTooLate = "the deadline has passed"
)

func (d *Database) Read(q Query, rows *[]Row) error {
	if q.All {
		q.IDs = d.db.ids()
	}
	*rows = d.db.current(q.IDs...)
	d.db.mu.Lock()
	d.db.loads++
	gate := d.db.gate
	d.db.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if slow := d.db.slow.Load(); slow > 0 {
		<-time.After(time.Duration(rand.Int64N(slow)))
	}
	return nil
}

func (d *Database) Write(c Change, rows *[]Row) error {
	began := time.Now()
	d.db.mu.Lock()
	p := d.db.plans[c.Write]
	d.db.mu.Unlock()
	commit := func() error {
		if c.Deadline != 0 && time.Now().UnixNano() >= c.Deadline {
			return errors.New(errTooLate)
		}
		if c.Insert {
			*rows = []Row{d.db.insert(c.Write)}
		} else {
			*rows = d.db.update(c.Write, c.IDs...)
		}
		return nil
	}
	switch {
	case p == nil:
		return commit()
	case p.late > 0:
		c.Deadline = began.Add(p.within).UnixNano()
		var none []Row
		rows = &none
		time.AfterFunc(p.late, func() {
			commit() // too late, if it fails
			close(p.committed)
		})
		return errors.New(errLost)
	}
	close(p.come)
	if p.commit != nil {
		<-p.commit
	}
	if err := commit(); err != nil {
		return err
	}
	close(p.committed)
	if p.reply != nil {
		<-p.reply
	}
	if p.lost {
		return errors.New(errLost)
	}
	return nil
}

// plan says what is to become of a write.
func (d *database) plan(write int, p plan) *plan {
	p.come, p.committed = make(chan struct{}), make(chan struct{})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.plans[write] = &p
	return &p
}

// close makes reads wait until open is called.
func (d *database) close() (open func()) {
	gate := make(chan struct{})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gate, d.loads = gate, 0
	return func() {
		d.mu.Lock()
		d.gate = nil
		d.mu.Unlock()
		close(gate)
	}
}

// loaded returns how many reads there were since close was called.
func (d *database) loaded() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.loads
}

// serve answers on the loopback interface until the test ends.
func (d *database) serve(t testing.TB) {
	server := rpc.NewServer()
	if err := server.Register(&Database{d}); err != nil {
		t.Fatal(err)
	}
	addr, stop, err := listen(server)
	if err != nil {
		t.Fatal(err)
	}
	d.addr = addr
	t.Cleanup(stop)
}

// listen answers calls on the loopback interface.
func listen(server *rpc.Server) (addr string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() { server.ServeConn(conn) })
		}
	})
	return listener.Addr().String(), func() {
		listener.Close()
		mu.Lock()
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	}, nil
}

// A databaseClient is the database as a process sees it.
type databaseClient struct {
	db     *rpc.Client
	cached *CachedRows // for loads that read through it
}

var _ Rows = (*databaseClient)(nil)

type (
	writeKey       struct{} // the number of the write
	transactionKey struct{} // the *transaction
)

// A transaction is what is to be written at its end.
type transaction struct{ ids []int }

func (r *databaseClient) call(ctx context.Context, method string, args, reply any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	call := r.db.Go(method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
	case <-ctx.Done():
		return ctx.Err()
	}
	switch err := call.Error; {
	case err == nil:
		return nil
	case err.Error() == errLost:
		return driver.ErrBadConn
	case err.Error() == errTooLate:
		return context.DeadlineExceeded
	default:
		return err
	}
}

func (r *databaseClient) read(ctx context.Context, q Query) ([]Row, error) {
	rows := new([]Row) // of its own: an answer that comes late is written there
	err := r.call(ctx, "Database.Read", q, rows)
	if err != nil {
		return nil, err
	}
	return *rows, nil
}

func (r *databaseClient) Get(ctx context.Context, id int) (*Row, error) {
	rows, err := r.read(ctx, Query{IDs: []int{id}})
	switch {
	case err != nil:
		return nil, err
	case len(rows) == 0:
		return nil, ErrNotFound
	}
	return &rows[0], nil
}

func (r *databaseClient) Some(ctx context.Context, ids []int) (map[int]*Row, error) {
	rows, err := r.read(ctx, Query{IDs: ids})
	if err != nil {
		return nil, err
	}
	some := map[int]*Row{}
	for i := range rows {
		some[rows[i].ID] = &rows[i]
	}
	return some, nil
}

func (r *databaseClient) Page(ctx context.Context, id int) (*Row, error) {
	return r.cached.Get(ctx, id)
}

func (r *databaseClient) All(ctx context.Context) ([]Row, error) {
	return r.read(ctx, Query{All: true})
}

func (r *databaseClient) Brief(ctx context.Context, id int) (*Row, error) { return r.Get(ctx, id) }

func (r *databaseClient) Update(ctx context.Context, ids ...int) error {
	if tx, ok := ctx.Value(transactionKey{}).(*transaction); ok {
		tx.ids = append(tx.ids, ids...)
		return nil
	}
	_, err := r.write(ctx, Change{IDs: ids})
	return err
}

func (r *databaseClient) Insert(ctx context.Context, row *Row) error {
	rows, err := r.write(ctx, Change{Insert: true})
	if err == nil {
		*row = rows[0]
	}
	return err
}

func (r *databaseClient) write(ctx context.Context, c Change) ([]Row, error) {
	c.Write, _ = ctx.Value(writeKey{}).(int)
	if deadline, ok := ctx.Deadline(); ok {
		c.Deadline = deadline.UnixNano()
	}
	rows := new([]Row)
	if err := r.call(ctx, "Database.Write", c, rows); err != nil {
		return nil, err
	}
	return *rows, nil
}
