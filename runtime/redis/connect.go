package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// clients are connected to servers that have passed the checks.
type clients struct {
	entries rueidis.Client
	log     rueidis.Client     // which need not wait for entries; the same if it is the application's
	owned   bool               // they are to be closed
	ctx     context.Context    // ends when they are closed, or would be
	stop    context.CancelFunc // ends it, and what they leave behind
	groups  []group            // of entries; one, or several that are of as many slots each
}

func (c *clients) close() {
	if c.owned {
		for _, client := range []rueidis.Client{c.entries, c.log} {
			if client != nil {
				client.Close()
			}
		}
	}
	c.stop()
}

// An attempt to connect is made for all who call meanwhile.
type attempt struct {
	done  chan struct{} // closed at its end
	ended time.Time
	err   error // complete, as it is for callers
}

// betweenAttempts is for how long after an attempt there is no other: until then calls fail
// as it did.
const betweenAttempts = 100 * time.Millisecond

// connected returns the clients. If there are none yet, it waits for an attempt to connect,
// no longer than the limit.
func (t *Tier) connected(ctx context.Context, limit time.Duration) (*clients, error) {
	if c := t.clients.Load(); c != nil {
		return c, nil
	}
	a := t.lastAttempt()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-a.done:
		return t.clients.Load(), a.err
	case <-timer.C:
		return nil, t.explain(t.connecting(), fmt.Errorf("%w (%v)", ErrTimeout, limit))
	case <-ctx.Done():
		return nil, t.explain(t.connecting(), fmt.Errorf("%w: %w", errGaveUp, ctx.Err()))
	}
}

// lastAttempt returns the attempt that is under way, or has just ended, or else begins one.
func (t *Tier) lastAttempt() *attempt {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		a := &attempt{done: make(chan struct{}), err: t.explain(t.connecting(), errClosed)}
		close(a.done)
		return a
	}
	if t.attempt != nil && !t.attempt.isOver() {
		return t.attempt
	}
	a := &attempt{done: make(chan struct{})}
	t.attempt = a
	t.calls.Go(func() {
		a.err = t.connect()
		a.ended = time.Now()
		close(a.done)
	})
	return a
}

// isOver reports whether it is time for another attempt.
func (a *attempt) isOver() bool {
	select {
	case <-a.done:
		return a.err != nil && time.Since(a.ended) >= betweenAttempts
	default:
		return false
	}
}

var errClosed = errors.New("the tier is closed")

// connect makes the clients of the tier, unless it is closed meanwhile.
func (t *Tier) connect() error {
	c, err := t.makeClients()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		c.close()
		return t.explain(t.connecting(), errClosed)
	}
	t.clients.Store(c)
	return nil
}

// makeClients returns clients of servers that it has checked.
func (t *Tier) makeClients() (_ *clients, err error) {
	ctx, stop := context.WithCancel(t.ctx)
	c := &clients{entries: t.options.Client, log: t.options.Client, owned: t.options.Client == nil, ctx: ctx, stop: stop}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.owned {
		for _, client := range []*rueidis.Client{&c.entries, &c.log} {
			made, err := newClient(ctx, t.options.ClientOption)
			if err != nil {
				return nil, t.explain(t.connecting(), err)
			}
			*client = made
		}
	}
	c.groups = newGroups(c.entries.Mode())
	return c, t.checkServers(ctx, c)
}

// connecting says what an attempt does.
func (t *Tier) connecting() string {
	if t.options.Client != nil {
		return "checking the servers of Options.Client"
	}
	return "connecting to " + strings.Join(t.options.InitAddress, ", ")
}

// newClient connects, or gives up when the context ends. The client makes no connections
// after that.
func newClient(ctx context.Context, option rueidis.ClientOption) (rueidis.Client, error) {
	d := &dialer{ctx: ctx, option: option}
	option.DialCtxFn = d.dial
	client, err := rueidis.NewClient(option)
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			// Not ours: the client limits how long a connection is made.
			err = fmt.Errorf("%w (%v)", ErrTimeout, option.Dialer.Timeout)
		}
		return nil, d.explain(err)
	}
	d.keep()
	return client, nil
}

// A dialer makes the connections of a client. rueidis.NewClient takes no context: to give it
// up, the connections that it has made are closed when the context ends.
type dialer struct {
	ctx    context.Context
	option rueidis.ClientOption // as it was given

	mu    sync.Mutex
	kept  bool          // the client is there, and closes its connections itself
	stops []func() bool // each keeps a connection from being closed
	doubt string        // what to ask if the last connection ends before it was of use
}

// What a server may have against a connection. It mostly hangs up without a word, or waits
// for the rest of what it takes for a command.
const (
	wantsTLS         = "does the server want TLS?"
	takesTLS         = "does the server take TLS?"
	wantsCertificate = "does the server want a certificate of the client, or another one?"
)

// explain asks what may be the reason of an error.
func (d *dialer) explain(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var failed *net.OpError
	ended := errors.Is(err, io.EOF) || errors.As(err, &failed) && (failed.Op == "read" || failed.Op == "write")
	if d.doubt != "" && ended || d.doubt == takesTLS && errors.Is(err, ErrTimeout) {
		return fmt.Errorf("%w: %s", err, d.doubt)
	}
	return err
}

func (d *dialer) dial(ctx context.Context, address string, by *net.Dialer, config *tls.Config) (net.Conn, error) {
	if err := d.ctx.Err(); err != nil {
		return nil, err // AfterFunc cancels in a goroutine, which a connection may be faster than
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	conn, err := d.dialAs(ctx, address, by, config)
	d.mu.Lock()
	defer d.mu.Unlock()
	var failed *net.OpError
	switch {
	case err != nil && errors.As(err, &failed) && failed.Op == "dial", d.option.DialFn != nil, d.option.DialCtxFn != nil:
		d.doubt = ""
	case err != nil:
		d.doubt = takesTLS // the handshake has failed
	case config != nil:
		d.doubt = wantsCertificate
	default:
		d.doubt = wantsTLS
	}
	if err != nil {
		return nil, err
	}
	if !d.kept {
		d.stops = append(d.stops, context.AfterFunc(d.ctx, func() { conn.Close() }))
	}
	return conn, nil
}

// dialAs dials as the options say.
func (d *dialer) dialAs(ctx context.Context, address string, by *net.Dialer, config *tls.Config) (net.Conn, error) {
	switch {
	case d.option.DialCtxFn != nil:
		return d.option.DialCtxFn(ctx, address, by, config)
	case d.option.DialFn != nil:
		return d.option.DialFn(address, by, config)
	case config != nil:
		return (&tls.Dialer{NetDialer: by, Config: config}).DialContext(ctx, "tcp", address)
	}
	return by.DialContext(ctx, "tcp", address)
}

// keep leaves it to the client, which is there now, when its connections end.
func (d *dialer) keep() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kept = true
	for _, stop := range d.stops {
		stop()
	}
	d.stops = nil
}

// unreachable reports whether an error says that nobody has answered, or that who has is not
// ready, which both mend themselves; with sentinels, also whether it is of a primary that has
// been demoted. What else there is somebody has to mend.
func unreachable(err error, sentinels bool) bool {
	var reply *rueidis.RedisError
	if errors.As(err, &reply) {
		code, rest, _ := strings.Cut(reply.Error(), " ")
		return slices.Contains([]string{"LOADING", "BUSY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "NOREPLICAS", "MISCONF"}, code) ||
			strings.HasPrefix(rest, "max number of clients reached") ||
			sentinels && (code == "READONLY" || code == "CGREPLICA")
	}
	if sentinels && slices.Contains(notReady, cause(err).Error()) {
		return true
	}
	var wrong *net.AddrError
	var failed *net.OpError
	switch {
	case errors.As(err, &wrong):
		return false
	case errors.As(err, &failed): // but not what a server says about TLS
		return slices.Contains([]string{"dial", "read", "write"}, failed.Op)
	}
	for _, lost := range []error{ErrTimeout, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, rueidis.ErrClosing, rueidis.ErrNoSlot} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}

// notReady are what the client says of servers that sentinels have told it. It has no values
// for them.
var notReady = []string{"the redis role is not master", "the redis role is not slave", "not enough ready replicas"}

// cause returns what an error wraps, and that, and so on.
func cause(err error) error {
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return err
}

// checkServers checks what can be known of the servers before they are needed.
func (t *Tier) checkServers(ctx context.Context, c *clients) error {
	nodes := c.entries.Nodes()
	var down error
	asked := 0
	for _, address := range slices.Sorted(maps.Keys(nodes)) {
		node := nodes[address]
		info, err := call(ctx, t, t.options.LogTimeout, func(ctx context.Context) (string, error) {
			return node.Do(ctx, node.B().Info().Build()).ToString()
		})
		var replied *rueidis.RedisError
		switch {
		case err == nil:
			asked++
			if err := checkInfo(address, info); err != nil {
				return err
			}
			if err := t.checkPermissions(ctx, address, node, inCluster(info)); err != nil {
				return err
			}
		case refused(err):
			// Maybe not that alone.
			if err := t.checkPermissions(ctx, address, node, false); err != nil {
				return err
			}
			return t.explain("asking "+address+" for INFO", err)
		case errors.As(err, &replied):
			return t.explain("asking "+address+" for INFO", err)
		default:
			// A node that is down must not keep a process from starting, if it is not
			// the one with the log.
			down = t.explain("asking "+address+" for INFO", err)
		}
	}
	if asked == 0 && down != nil {
		return down
	}
	_, err := t.prove(ctx, c, cacheruntime.LogPosition{})
	return err
}

// checkInfo checks what a server says about itself.
func checkInfo(address, info string) error {
	version, policy := infoField(info, "redis_version"), infoField(info, "maxmemory_policy")
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < 7 {
		return fmt.Errorf("redis: the server at %s has version %q; version 7.0 or newer, or Valkey, is needed", address, version)
	}
	if strings.HasPrefix(policy, "allkeys-") {
		return fmt.Errorf("redis: the server at %s has maxmemory-policy %s, which may evict the log of invalidations: "+
			"set maxmemory-policy to volatile-lru or noeviction (entries have a TTL, the log has none)", address, policy)
	}
	return nil
}

// inCluster reports whether a server is a node of a cluster. Valkey has another name for the
// field since 8.0.
func inCluster(info string) bool {
	return cmp.Or(infoField(info, "redis_mode"), infoField(info, "server_mode")) == "cluster"
}

// infoField returns a field of the reply of INFO.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
