package redis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// ErrTimeout is the error, wrapped, of a command that Redis has not answered in time.
// It may still be carried out.
var ErrTimeout = errors.New("no answer in time")

// A Tier is what caches share, in Redis. All methods are safe for concurrent use, but
// for Close, which is called when no other is running.
type Tier struct {
	options Options
	scripts scripts
	keys    []string // of the log, as its scripts take them: the stream, the table, the marks

	clients atomic.Pointer[clients] // nil until it is connected
	ctx     context.Context         // ends when the tier is closed, and with it attempts to connect
	stop    context.CancelFunc
	mu      sync.Mutex
	attempt *attempt // the last one, if any
	closed  bool

	calls sync.WaitGroup // of the client, also those that nobody waits for any more
	taken atomic.Bool    // it belongs to a cache, or is closed
}

var _ cacheruntime.Shared = (*Tier)(nil)

// Open connects to Redis, and checks that it can keep what the log promises: it refuses
// servers that are too old or may evict the log, a namespace in which the log has another
// format or size, and a user who may not do what is needed.
//
// It also fails if no server can be reached, unless [Options.RetryOnFailedConnect] is set. Set
// it where a process has to start in an outage too; then it is seen in what the cache logs, and
// in its Stats().Shared, that it goes without Redis, be it for a wrong address. A process must
// not go on without a tier if any other process uses the same data through one: those would
// not be told of its writes.
//
// Open waits no longer than the context allows. A deadline that passes means that no
// server could be reached; if the context is cancelled Open fails in any case. The context may
// end once Open has returned.
//
// The tier is closed by the cache that it is given to, or by [Tier.Close] if there is none.
func Open(ctx context.Context, options Options) (*Tier, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	t := &Tier{options: options, scripts: logScripts(format, cacheruntime.SharedTableSize)}
	key := "{" + options.Namespace + "}:"
	t.keys = []string{key + "log", key + "table", key + "marks"}
	t.ctx, t.stop = context.WithCancel(context.Background())
	_, err := t.connected(ctx, math.MaxInt64)
	if err == nil || options.RetryOnFailedConnect && unreachable(err, options.sentinels()) {
		return t, nil
	}
	return nil, errors.Join(err, t.Close())
}

// Claim makes the tier a cache's own. It fails if the tier is nil or closed, or if it has
// been claimed before: a tier is closed by its cache, so that two cannot have it.
func (t *Tier) Claim() error {
	if t == nil {
		return errors.New("redis: there is no tier: was the error of Open ignored?")
	}
	if t.taken.Swap(true) {
		return errors.New("redis: the tier is closed, or belongs to another cache already: open one for each cache")
	}
	return nil
}

// Close closes the clients, unless they are the application's own, and waits for calls that
// are still on their way. An attempt to connect is given up.
func (t *Tier) Close() error {
	t.taken.Store(true)
	t.mu.Lock()
	t.closed = true // from now on nothing connects
	t.mu.Unlock()
	if c := t.clients.Load(); c != nil {
		c.close()
	}
	t.stop()
	t.calls.Wait()
	return nil
}

// errGaveUp is the error, wrapped, of a call whose caller did not wait for its end.
var errGaveUp = errors.New("the caller gave up")

// call makes a call of the client on a goroutine of its own, and waits for it until the
// limit is over or the context ends, whatever the client waits for then: a connection
// that is being made, a full queue. The client is not told of deadlines, as it closes a
// connection on which one is missed, with all that others wait for.
func call[T any](ctx context.Context, t *Tier, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("%w: %w", errGaveUp, err)
	}
	detached, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	done := make(chan outcome, 1)
	t.calls.Go(func() {
		value, err := f(detached)
		done <- outcome{value, err}
	})
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case o := <-done:
		var late net.Error
		if errors.As(o.err, &late) && late.Timeout() {
			// Not the caller's, which f is not told of, so that it is not wrapped: the client
			// limits how long a connection is made, and waited for.
			return o.value, fmt.Errorf("%w: %v", ErrTimeout, o.err)
		}
		return o.value, o.err
	case <-timer.C:
		return none, fmt.Errorf("%w (%v)", ErrTimeout, limit)
	case <-ctx.Done():
		return none, fmt.Errorf("%w: %w", errGaveUp, ctx.Err())
	}
}

// explain says what an error of Redis means, and what was being done.
func (t *Tier) explain(doing string, err error) error {
	reply, ok := rueidis.IsRedisErr(err)
	if !ok {
		var wrong *net.AddrError
		switch {
		case strings.Contains(err.Error(), "unknown message type"):
			err = fmt.Errorf("%w: is this a Redis, and one that does not want TLS?", err)
		case errors.As(err, &wrong):
			err = fmt.Errorf("%w: an address is host:port", err)
		}
		return fmt.Errorf("redis: %s: %w", doing, err)
	}
	text := reply.Error()
	code, rest, _ := strings.Cut(text, " ")
	switch {
	case code == "CGMALFORMED":
		return fmt.Errorf("redis: %s: %s: %w", doing, rest, cacheruntime.ErrMalformed)
	case code == "CGFORMAT":
		return fmt.Errorf("redis: %s: the log of namespace %q is of another format or size (%s; this program's is %d, %d): "+
			"use another namespace", doing, t.options.Namespace, scriptText(rest), format, cacheruntime.SharedTableSize)
	case code == "NOAUTH" && t.options.ClientOption.Sentinel.MasterSet != "":
		return fmt.Errorf("redis: %s: a sentinel or a server wants a password (NOAUTH): "+
			"set ClientOption.Sentinel.Password for sentinels, Options.Password for servers", doing)
	case code == "NOAUTH":
		return fmt.Errorf("redis: %s: the server wants a password (NOAUTH): set Options.Password", doing)
	case code == "WRONGPASS" && t.options.ClientOption.Sentinel.MasterSet != "":
		return fmt.Errorf("redis: %s: %w: check ClientOption.Sentinel for sentinels, Options.Username and Options.Password for servers",
			doing, err)
	case code == "WRONGPASS" && t.options.Client == nil:
		return fmt.Errorf("redis: %s: %w: check Options.Username and Options.Password", doing, err)
	case strings.Contains(text, "DB index is out of range"):
		return fmt.Errorf("redis: %s: %w: check Options.SelectDB", doing, err)
	case strings.Contains(text, "cluster support disabled"):
		return fmt.Errorf("redis: %s: %w: several addresses are those of a cluster, or of sentinels if ClientOption.Sentinel says so; "+
			"of a single server give one", doing, err)
	case code == "CGREPLICA" || code == "READONLY":
		return fmt.Errorf("redis: %s: commands of the log go to a replica, which cannot prove anything; "+
			"connect to the primary, and send none but read-only commands to replicas: %w", doing, err)
	case refused(err):
		return fmt.Errorf("redis: %s: %w (what a user needs is in the documentation of package redis, under Permissions)", doing, err)
	}
	return fmt.Errorf("redis: %s: %w", doing, err)
}

// scriptText cuts off what Redis adds to the error of a script.
func scriptText(s string) string {
	s, _, _ = strings.Cut(s, " script:")
	return s
}

// outOfMemory reports whether Redis has refused to store more, which is no reason to
// leave alone what is there.
func outOfMemory(err error) bool {
	var reply *rueidis.RedisError
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "OOM")
}
