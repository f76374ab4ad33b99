package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// retrying are options with which no server need be there.
func retrying(addresses ...string) Options {
	return Options{
		InitAddress: addresses, Namespace: "test", RetryOnFailedConnect: true,
		Timeout: 10 * time.Second, LogTimeout: 10 * time.Second,
	}
}

// openRetrying opens a tier that need not have a server.
func openRetrying(t *testing.T, options Options) *Tier {
	t.Helper()
	tier, err := Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tier.Close(); err != nil {
			t.Error(err)
		}
	})
	return tier
}

// everyMethod calls every method that needs a server, and returns their errors.
func everyMethod(ctx context.Context, tier *Tier) map[string]error {
	var at cacheruntime.LogPosition
	errs := map[string]error{}
	_, errs["Append"] = tier.Append(ctx, at, record(1))
	_, errs["Prove"] = tier.Prove(ctx, at)
	_, errs["Snapshot"] = tier.Snapshot(ctx, 0)
	errs["Wait"] = tier.Wait(ctx, at)
	_, errs["Get"] = tier.Get(ctx, []string{"k"})
	errs["Set"] = tier.Set(ctx, []cacheruntime.SharedEntry{{Key: "k", Entry: []byte("v"), TTL: time.Minute}})
	_, errs["Lock"] = tier.Lock(ctx, "k", "me", time.Minute)
	errs["Unlock"] = tier.Unlock(ctx, "k", "me")
	return errs
}

// works waits until the log can be asked.
func works(t *testing.T, tier *Tier) {
	t.Helper()
	redistest.Until(t, "the tier works", func() bool {
		_, err := tier.Prove(t.Context(), cacheruntime.LogPosition{})
		return err == nil
	})
}

// Until there is a server every method says why it fails. Then the tier is like any other.
func TestServerThatStartsLater(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Kill()
	tier := openRetrying(t, retrying(s.Addr()))
	for range 2 {
		for method, err := range everyMethod(t.Context(), tier) {
			if !errors.Is(err, syscall.ECONNREFUSED) || !strings.HasPrefix(err.Error(), "redis: connecting to "+s.Addr()+": ") {
				t.Errorf("%s: %v", method, err)
			}
		}
	}
	s.Restart()
	works(t, tier)
	exercise(t, tier)
}

// What a server has answered, or what is wrong with the options, is an error of Open.
func TestRetryingIsForServersThatCannotBeReached(t *testing.T) {
	t.Parallel()
	locked := redistest.Start(t)
	locked.Do("ACL", "SETUSER", "somebody", "on", ">secret", "+@all", "~*")
	evicting := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	other := redistest.Start(t)
	mustSnapshot(t, open(t, other), 0)
	other.Do("SETRANGE", "{test}:table", "8", "\xff")
	for name, test := range map[string]struct {
		address string
		change  func(*Options)
		want    string
	}{
		"options":         {locked.Addr(), func(o *Options) { o.Namespace = "" }, "Namespace is missing"},
		"client's":        {locked.Addr(), func(o *Options) { o.ClientOption.PipelineMultiplex = 100 }, "PipelineMultiplex"},
		"address":         {"127.0.0.1", nil, "missing port"},
		"password":        {locked.Addr(), func(o *Options) { o.Username, o.Password = "somebody", "else" }, "WRONGPASS"},
		"database":        {locked.Addr(), func(o *Options) { o.Username, o.Password, o.SelectDB = "somebody", "secret", 99 }, "check Options.SelectDB"},
		"policy":          {evicting.Addr(), nil, "allkeys-lru"},
		"format":          {other.Addr(), nil, "another format"},
		"another service": {listen(t, []byte("HTTP/1.1 400 Bad Request\r\n\r\n")), nil, "is this a Redis"},
	} {
		t.Run(name, func(t *testing.T) {
			options := retrying(test.address)
			if test.change != nil {
				test.change(&options)
			}
			tier, err := Open(t.Context(), options)
			if err == nil {
				tier.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, retrying(listen(t, nil))); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is cancelled: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, true},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}, true},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, true},
		{&net.OpError{Op: "dial", Err: &net.AddrError{Err: "missing port"}}, false},
		{&net.OpError{Op: "remote error", Err: tls.AlertError(42)}, false},
		{&tls.CertificateVerificationError{Err: errors.New("of another")}, false},
		{fmt.Errorf("%w (1s)", ErrTimeout), true},
		{context.DeadlineExceeded, true},
		{context.Canceled, false},
		{io.EOF, true},
		{rueidis.ErrNoSlot, true},
		{rueidis.ErrNoSendToReplicas, false},
		{errors.New("anything else"), false},
	} {
		for _, sentinels := range []bool{false, true} {
			if got := unreachable(fmt.Errorf("redis: connecting: %w", test.err), sentinels); got != test.want {
				t.Errorf("%v, sentinels %t: %t", test.err, sentinels, got)
			}
		}
	}
}

// A server that lacks replicas has answered, but is not ready.
func TestServerThatIsNotReady(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Do("CONFIG", "SET", "min-replicas-to-write", "1")
	if _, err := Open(t.Context(), Options{InitAddress: []string{s.Addr()}, Namespace: "test"}); err == nil || !strings.Contains(err.Error(), "NOREPLICAS") {
		t.Errorf("by default: %v", err)
	}
	tier := openRetrying(t, retrying(s.Addr()))
	for method, err := range everyMethod(t.Context(), tier) {
		if err == nil || !strings.Contains(err.Error(), "NOREPLICAS") {
			t.Errorf("%s: %v", method, err)
		}
	}
	s.Do("CONFIG", "SET", "min-replicas-to-write", "0")
	works(t, tier)
}

// Nor is one that cannot write to its disk: it refuses also to say what the log has.
func TestServerThatCannotSave(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--enable-protected-configs", "yes")
	failToSave(t, s)
	tier := openRetrying(t, retrying(s.Addr()))
	if _, err := tier.Prove(t.Context(), cacheruntime.LogPosition{}); err == nil || !strings.Contains(err.Error(), "MISCONF") {
		t.Errorf("proving: %v", err)
	}
	s.Do("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
	works(t, tier)
}

// It refuses a PING as well, which the client panics at where it sends one of its own.
func TestServersThatRefuseToPing(t *testing.T) {
	t.Parallel()
	refuses := func(t *testing.T, tier *Tier, refusal string) {
		for range 3 {
			if _, err := tier.Snapshot(t.Context(), 0); err == nil || !strings.Contains(err.Error(), refusal) {
				t.Errorf("a snapshot: %v", err)
			}
		}
	}
	t.Run("cannot save", func(t *testing.T) {
		s := redistest.Start(t, "--enable-protected-configs", "yes")
		tier := open(t, s)
		failToSave(t, s)
		refuses(t, tier, "MISCONF")
	})
	t.Run("cannot save, in a cluster", func(t *testing.T) {
		cluster := redistest.StartCluster(t, 3, "--enable-protected-configs", "yes")
		tier := open(t, cluster.Nodes[0])
		failToSave(t, cluster.Owner(tier.keys[0]))
		refuses(t, tier, "MISCONF")
	})
	t.Run("a replica without its primary", func(t *testing.T) {
		s := redistest.Start(t)
		tier := open(t, s)
		s.Do("CONFIG", "SET", "replica-serve-stale-data", "no")
		s.Do("REPLICAOF", "127.0.0.1", "1")
		refuses(t, tier, "READONLY")
	})
}

// failToSave has a server fail to write to its disk.
func failToSave(t *testing.T, s *redistest.Server) {
	t.Helper()
	s.Do("CONFIG", "SET", "save", "3600 1")
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.Do("CONFIG", "SET", "dir", dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	s.Do("BGSAVE")
	redistest.Until(t, "saving has failed", func() bool { return s.Info("rdb_last_bgsave_status") == "err" })
}

// Nor is a server that loads its data.
func TestServerThatLoads(t *testing.T) {
	t.Parallel()
	// It takes a second, and answers meanwhile.
	s := redistest.Start(t, "--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024")
	s.Do("EVAL", "for i = 1, 500 do redis.call('SET', 'k' .. i, string.rep('x', 2000)) end", "0")
	s.Do("SAVE")
	s.Kill()
	tier := openRetrying(t, retrying(s.Addr()))
	restarted := make(chan struct{})
	var waiting sync.WaitGroup
	var loading atomic.Bool
	waiting.Go(func() {
		for ctx := t.Context(); ; {
			select {
			case <-time.After(5 * time.Millisecond):
			case <-restarted:
				return
			}
			if _, err := tier.Prove(ctx, cacheruntime.LogPosition{}); err != nil && strings.Contains(err.Error(), "LOADING") {
				opened, err := Open(ctx, retrying(s.Addr()))
				if err != nil {
					t.Error(err)
					return
				}
				loading.Store(true)
				if err := opened.Close(); err != nil {
					t.Error(err)
				}
				return
			}
		}
	})
	s.Restart() // returns when it has loaded
	close(restarted)
	waiting.Wait()
	if !loading.Load() {
		t.Error("the server was not seen while it was loading")
	}
	works(t, tier)
}

// A server that fails the checks is asked again, as somebody may have mended it; nothing is
// left open meanwhile.
func TestServerThatIsMended(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	s.Kill()
	tier := openRetrying(t, retrying(s.Addr()))
	s.Restart()
	redistest.Until(t, "the policy is told", func() bool {
		_, err := tier.Prove(t.Context(), cacheruntime.LogPosition{})
		return err != nil && strings.Contains(err.Error(), "set maxmemory-policy to volatile-lru")
	})
	for method, err := range everyMethod(t.Context(), tier) {
		if err == nil || !strings.Contains(err.Error(), "set maxmemory-policy to volatile-lru") {
			t.Errorf("%s: %v", method, err)
		}
	}
	redistest.Until(t, "there is no connection", func() bool { return s.Info("connected_clients") == "1" })
	s.Do("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
	works(t, tier)
	exercise(t, tier)
}

// Calls wait for one attempt to connect, each as long as for an answer, or for its context.
// The attempt goes on, and ends with the tier.
func TestCallsShareAnAttempt(t *testing.T) {
	t.Parallel()
	var attempts atomic.Int32
	options := retrying("127.0.0.1:1")
	options.Timeout, options.LogTimeout = time.Millisecond, time.Millisecond
	options.ClientOption.Dialer.Timeout = time.Hour
	options.ClientOption.DialCtxFn = func(ctx context.Context, _ string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
		attempts.Add(1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	tier, err := Open(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for method, err := range everyMethod(t.Context(), tier) {
				if !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "connecting to 127.0.0.1:1") {
					t.Errorf("%s: %v", method, err)
				}
			}
		})
	}
	all.Wait()
	tier.options.Timeout, tier.options.LogTimeout = time.Hour, time.Hour
	for method, err := range everyMethod(ctx, tier) {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", method, err)
		}
	}
	if n := attempts.Load(); n != 1 {
		t.Errorf("%d attempts", n)
	}
	if err := tier.Close(); err != nil {
		t.Error(err)
	}
	for method, err := range everyMethod(t.Context(), tier) {
		if !errors.Is(err, errClosed) {
			t.Errorf("%s of a closed tier: %v", method, err)
		}
	}
	if n := attempts.Load(); n != 1 {
		t.Errorf("%d attempts after Close", n)
	}
}

// After an attempt has failed there is none for a while.
func TestAttemptsAreFewEnough(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Kill()
	tier := openRetrying(t, retrying(s.Addr()))
	setEnd := func(end time.Time) {
		tier.mu.Lock()
		defer tier.mu.Unlock()
		tier.attempt.ended = end
	}
	setEnd(time.Now().Add(time.Hour))
	s.Restart()
	if _, err := tier.Prove(t.Context(), cacheruntime.LogPosition{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("at once: %v", err)
	}
	setEnd(time.Now().Add(-betweenAttempts))
	mustProve(t, tier, cacheruntime.LogPosition{})
	exercise(t, tier)
}

// A tier can be closed whatever it waits for, and nothing is left of it.
func TestCloseWithoutServer(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{
		"refused": "127.0.0.1:1",
		"silent":  listen(t, nil), // whose end waits for that of its connections
	} {
		options := retrying(address)
		options.ClientOption.Dialer.Timeout, options.ClientOption.ConnWriteTimeout = time.Hour, time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		tier, err := Open(ctx, options)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for range 2 {
			if err := tier.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// The application's own client may have no server either.
func TestOwnClientWithoutServer(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s.Kill()
	options := retrying()
	options.Client, options.LogTimeout = client, 200*time.Millisecond
	tier := openRetrying(t, options)
	if _, err := tier.Prove(t.Context(), cacheruntime.LogPosition{}); err == nil {
		t.Error("no error")
	}
	tier.options.LogTimeout = 10 * time.Second
	s.Restart()
	works(t, tier)
	exercise(t, tier)
}

// What it still waits for, or sends again, is given up by a tier that is closed.
func TestCloseLeavesWhatAnOwnClientWaitsFor(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*redistest.Server){
		"gone": (*redistest.Server).Kill, // reading is tried again until there is a server
		"hung": (*redistest.Server).Pause,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr()}, ConnWriteTimeout: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			tier, err := Open(t.Context(), Options{Client: client, Namespace: "test", LogTimeout: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			stop(s)
			defer s.Kill() // so that the client can be closed
			_, reading := tier.Get(t.Context(), []string{"k"})
			storing := tier.Set(t.Context(), []cacheruntime.SharedEntry{{Key: "k", Entry: []byte("v"), TTL: time.Minute}})
			_, locking := tier.Lock(t.Context(), "k", "me", time.Minute)
			unlocking := tier.Unlock(t.Context(), "k", "me")
			for _, err := range []error{reading, storing, locking, unlocking} {
				if err == nil {
					t.Error("an answer from nowhere")
				}
			}
			closed := make(chan error, 1)
			go func() { closed <- tier.Close() }()
			redistest.Until(t, "the tier is closed", func() bool { return len(closed) == 1 })
			if err := <-closed; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestClusterThatStartsLater(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	for _, node := range cluster.Nodes {
		node.Kill()
	}
	tier := openRetrying(t, retrying(cluster.Addrs()...))
	if _, err := tier.Prove(t.Context(), cacheruntime.LogPosition{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	for _, node := range cluster.Nodes {
		node.Restart()
	}
	works(t, tier)
	for _, node := range cluster.Nodes {
		redistest.Until(t, "the cluster is up", func() bool {
			info, ok := node.Do("CLUSTER", "INFO").(string)
			return ok && strings.Contains(info, "cluster_state:ok")
		})
	}
	exercise(t, tier)
}

// Connections are made as the options say.
func TestDialer(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(nil)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	trust := server.Client().Transport.(*http.Transport).TLSClientConfig
	mine := errors.New("my own")
	for name, test := range map[string]struct {
		option rueidis.ClientOption
		config *tls.Config
		want   string // error
	}{
		"TCP":                    {},
		"TLS":                    {config: trust},
		"an unknown certificate": {config: &tls.Config{ServerName: "example.com"}, want: "x509"},
		"DialFn": {want: "my own", option: rueidis.ClientOption{
			DialFn: func(string, *net.Dialer, *tls.Config) (net.Conn, error) { return nil, mine }}},
		"DialCtxFn": {want: "my own", option: rueidis.ClientOption{
			DialCtxFn: func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) { return nil, mine }}},
	} {
		d := &dialer{ctx: t.Context(), option: test.option}
		conn, err := d.dial(t.Context(), server.Listener.Addr().String(), new(net.Dialer), test.config)
		if err != nil {
			if test.want == "" || !strings.Contains(err.Error(), test.want) || unreachable(err, false) {
				t.Errorf("%s: %v, want %q", name, err, test.want)
			}
			continue
		}
		if secure, ok := conn.(*tls.Conn); ok != (test.config != nil) || ok && !secure.ConnectionState().HandshakeComplete {
			t.Errorf("%s: a %T", name, conn)
		}
		if test.want != "" {
			t.Errorf("%s: no error", name)
		}
		conn.Close()
	}
}

// None is made once that has ended.
func TestDialerEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := &dialer{ctx: ctx, option: rueidis.ClientOption{
		DialCtxFn: func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
			t.Error("a connection is made")
			return nil, io.EOF
		}}}
	if _, err := d.dial(t.Context(), "127.0.0.1:1", new(net.Dialer), nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Once a client is there, its connections do not end with what made it.
func TestDialerKeeps(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	client, err := newClient(ctx, rueidis.ClientOption{InitAddress: []string{s.Addr()}, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	cancel()
	if err := client.Do(t.Context(), client.B().Ping().Build()).Error(); err != nil {
		t.Error(err)
	}
	s.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	redistest.Until(t, "it makes no other connection", func() bool {
		err := client.Do(t.Context(), client.B().Publish().Channel("c").Message("m").Build()).Error()
		return errors.Is(err, context.Canceled)
	})
}
