package redistest

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// A Direction is one way through a [Proxy], or both.
type Direction uint8

// The directions.
const (
	ToServer Direction = 1 << iota
	ToClient
	Both = ToServer | ToClient
)

// A Proxy passes bytes between clients and a server, on TCP, until it is told otherwise.
// What a direction is told last counts, for all connections, those to come as well, and
// for all that the proxy receives from then on. It goes for the end of a connection, too:
// who cannot be reached does not hear that the other side has hung up.
type Proxy struct {
	t    testing.TB
	port int

	mu      sync.Mutex
	target  string
	faults  map[Direction]fault // by single directions; none is the zero fault
	changed chan struct{}       // closed when they change
	open    *opening            // nil while the proxy is cut
}

// A fault is what happens to bytes of one direction.
type fault struct {
	kind  faultKind
	delay time.Duration
}

type faultKind uint8

const (
	passing faultKind = iota
	delaying
	blocking
	dropping
)

// An opening is what goes on between two cuts.
type opening struct {
	listener net.Listener
	ctx      context.Context // of all connections
	close    context.CancelFunc
	wg       sync.WaitGroup
}

// StartProxy starts a proxy on a free port in front of the server at target. The server
// need not run: a connection that cannot be passed on is reset.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p := &Proxy{t: t, target: target, faults: make(map[Direction]fault), changed: make(chan struct{})}
	var err error
	for range 10 {
		if p.port, err = freePort(); err != nil {
			break
		}
		if err = p.listen(); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Cut)
	return p
}

// Addr returns the proxy's address, host and port. It stays the same.
func (p *Proxy) Addr() string { return address(p.port) }

// Cut closes all connections and refuses others until [Proxy.Heal]. It can be called from
// any goroutine.
func (p *Proxy) Cut() {
	p.mu.Lock()
	o := p.open
	p.open = nil
	p.mu.Unlock()
	if o == nil {
		return
	}
	o.close()
	// Its address is refused, or it was closed before: nothing can be done about either.
	_ = o.listener.Close()
	o.wg.Wait()
}

// Block holds back what goes in a direction. Nothing is lost: it goes on with
// [Proxy.Heal]. It can be called from any goroutine.
func (p *Proxy) Block(d Direction) { p.fail(d, fault{kind: blocking}) }

// Delay lets everything that goes in a direction arrive later, in order. It can be called
// from any goroutine.
func (p *Proxy) Delay(d Direction, by time.Duration) { p.fail(d, fault{kind: delaying, delay: by}) }

// Drop loses what goes in a direction. A connection that has lost something is dead in
// that direction, even after [Proxy.Heal]: its ends have to find out. It can be called from
// any goroutine.
func (p *Proxy) Drop(d Direction) { p.fail(d, fault{kind: dropping}) }

// Retarget makes the proxy pass on new connections to the server at target, as a name does
// that stands for another server after a failover. Those that are open stay: Cut closes
// them. It can be called from any goroutine.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Heal ends all that was done to the proxy: new connections are accepted, what was
// blocked or delayed goes on.
func (p *Proxy) Heal() {
	p.t.Helper()
	p.fail(Both, fault{})
	p.mu.Lock()
	open := p.open != nil
	p.mu.Unlock()
	if open {
		return
	}
	// A connection of others may have the port for a moment.
	Until(p.t, "the proxy's port is free again", func() bool { return p.listen() == nil })
}

func (p *Proxy) fail(d Direction, f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range []Direction{ToServer, ToClient} {
		if d&one != 0 {
			p.faults[one] = f
		}
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) listen() error {
	listener, err := net.Listen("tcp", p.Addr())
	if err != nil {
		return err
	}
	o := &opening{listener: listener}
	o.ctx, o.close = context.WithCancel(context.Background())
	o.wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // Cut has closed it.
			}
			o.wg.Go(func() { p.connect(o.ctx, client) })
		}
	})
	p.mu.Lock()
	p.open = o
	p.mu.Unlock()
	return nil
}

// connect passes on what client and server say, until both are done or the context ends.
func (p *Proxy) connect(ctx context.Context, client net.Conn) {
	defer client.Close()
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		// With no time to linger the end is a reset.
		_ = client.(*net.TCPConn).SetLinger(0)
		return
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() {
		client.Close()
		server.Close()
	})()

	var wg sync.WaitGroup
	wg.Go(func() { p.pass(ctx, ToServer, server.(*net.TCPConn), client) })
	wg.Go(func() { p.pass(ctx, ToClient, client.(*net.TCPConn), server) })
	wg.Wait()
}

// A chunk is what was received at once.
type chunk struct {
	bytes []byte
	at    time.Time
	last  bool // nothing follows
}

// pass passes on what one side says to the other.
func (p *Proxy) pass(ctx context.Context, d Direction, to *net.TCPConn, from net.Conn) {
	// What is delayed must not delay what follows, so it waits here and not in from. The
	// bound is for a direction that is blocked.
	chunks := make(chan chunk, 1024)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		buf := make([]byte, 16<<10)
		for {
			n, err := from.Read(buf)
			c := chunk{bytes: append([]byte(nil), buf[:n]...), at: time.Now(), last: err != nil}
			select {
			case chunks <- c:
			case <-ctx.Done():
				return
			}
			if c.last {
				return
			}
		}
	})

	dead := false
	for {
		var c chunk
		select {
		case c = <-chunks:
		case <-ctx.Done():
			return
		}
		dead = dead || !p.admit(ctx, d, c.at)
		if !dead && len(c.bytes) > 0 {
			// Who does not take it has hung up, which the other direction tells.
			_, err := to.Write(c.bytes)
			dead = err != nil
		}
		if !c.last {
			continue
		}
		if !dead {
			// Fails if the other side has hung up as well.
			_ = to.CloseWrite()
		}
		return
	}
}

// admit waits until what was received at a time may be passed on, and reports whether it
// may. If not it is lost.
func (p *Proxy) admit(ctx context.Context, d Direction, at time.Time) bool {
	for {
		p.mu.Lock()
		f, changed := p.faults[d], p.changed
		p.mu.Unlock()
		var due <-chan time.Time // never, unless it is delayed
		switch f.kind {
		case passing:
			return true
		case dropping:
			return false
		case delaying:
			left := time.Until(at.Add(f.delay))
			if left <= 0 {
				return true
			}
			due = time.After(left)
		}
		select {
		case <-due:
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
