package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/rueidis"

	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

func TestOptionsThatMakeNoSense(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no namespace":        {func(o *Options) { o.Namespace = "" }, "Namespace is missing"},
		"a long namespace":    {func(o *Options) { o.Namespace = strings.Repeat("x", 65) }, "65 bytes"},
		"braces":              {func(o *Options) { o.Namespace = "a{b}" }, "braces"},
		"a blank":             {func(o *Options) { o.Namespace = "a b" }, "visible"},
		"a control character": {func(o *Options) { o.Namespace = "a\x00" }, "visible"},
		"not UTF-8":           {func(o *Options) { o.Namespace = "a\xff" }, "UTF-8"},
		"no address":          {func(o *Options) { o.InitAddress = nil }, "InitAddress is missing"},
		"an empty address":    {func(o *Options) { o.InitAddress = []string{""} }, "InitAddress has an address that is empty"},
		"Timeout":             {func(o *Options) { o.Timeout = -1 }, "Timeout is -1ns"},
		"a tiny Timeout":      {func(o *Options) { o.Timeout = 1 }, "at least 1ms, or 0 for 100ms"},
		"LogTimeout":          {func(o *Options) { o.LogTimeout = -1 }, "LogTimeout is -1ns"},
		"LogLength":           {func(o *Options) { o.LogLength = 99 }, "LogLength is 99; it must be at least 100, or 0 for 100000"},
		"MaxEntryBytes":       {func(o *Options) { o.MaxEntryBytes = 1 << 30 }, "MaxEntryBytes is 1073741824; it must be at most 268435456"},
		"MaxTTL":              {func(o *Options) { o.MaxTTL = -time.Hour }, "MaxTTL is -1h"},
		"CompressAbove":       {func(o *Options) { o.CompressAbove = -1 }, "CompressAbove is -1"},
		"address twice":       {func(o *Options) { o.ClientOption.InitAddress = []string{"b"} }, "ClientOption has InitAddress"},
		"user twice":          {func(o *Options) { o.ClientOption.Username = "b" }, "ClientOption has Username"},
		"password twice":      {func(o *Options) { o.ClientOption.Password = "b" }, "ClientOption has Password"},
		"TLS twice":           {func(o *Options) { o.ClientOption.TLSConfig = new(tls.Config) }, "ClientOption has TLSConfig"},
		"database twice":      {func(o *Options) { o.ClientOption.SelectDB = 1 }, "ClientOption has SelectDB"},
		"replicas only":       {func(o *Options) { o.ClientOption.ReplicaOnly = true }, "ReplicaOnly"},
		"a pool of one":       {func(o *Options) { o.ClientOption.BlockingPoolSize = 1 }, "BlockingPoolSize is 1; it must be at least 2"},
		"retries": {func(o *Options) {
			o.ClientOption.RetryDelay = func(int, rueidis.Completed, error) time.Duration { return 0 }
		}, "ClientOption.RetryDelay"},
		"a client and more":    {func(o *Options) { o.Client = noClient{} }, "Client cannot be combined"},
		"a client and options": {func(o *Options) { o.InitAddress, o.Client, o.ClientOption.ClientName = nil, noClient{}, "c" }, "Client cannot be combined"},
	} {
		t.Run(name, func(t *testing.T) {
			options := Options{InitAddress: []string{"127.0.0.1:1"}, Namespace: "test"}
			test.change(&options)
			tier, err := Open(t.Context(), options)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if tier != nil {
				t.Error("there is a tier")
			}
		})
	}
}

type noClient struct{ rueidis.Client }

func TestOptionsReachTheClient(t *testing.T) {
	asked := func(rueidis.Completed) bool { return true }
	config := new(tls.Config)
	o := Options{
		InitAddress: []string{"a", "b"}, Username: "u", Password: "p", TLSConfig: config, SelectDB: 3, Namespace: "n", LogTimeout: time.Minute,
		ClientOption: rueidis.ClientOption{ClientName: "c", SendToReplicas: asked},
	}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	c := o.ClientOption
	if !slices.Equal(c.InitAddress, o.InitAddress) || c.Username != "u" || c.Password != "p" || c.TLSConfig != config || c.SelectDB != 3 ||
		c.ClientName != "c" || !c.DisableCache || !c.DisableRetry || c.Dialer.Timeout != 2*time.Minute || c.ConnWriteTimeout != 3*time.Minute ||
		c.ClusterOption.MaxMovedRedirections != 16 {
		t.Errorf("%+v", c)
	}
}

// The client does not give up what is waited for longer than the log.
func TestOptionsOfALongTimeout(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{
		time.Minute:                   time.Minute,
		math.MaxInt64:                 math.MaxInt64 / 3,
		math.MaxInt64 / 3:             math.MaxInt64 / 3,
		time.Second - time.Nanosecond: time.Second,
	} {
		o := Options{InitAddress: []string{"a"}, Namespace: "n", Timeout: timeout, LogTimeout: time.Second}
		if err := o.check(); err != nil {
			t.Fatal(err)
		}
		if c := o.ClientOption; c.Dialer.Timeout != 2*want || c.ConnWriteTimeout != 3*want {
			t.Errorf("%v: %v for connecting, %v for an answer", timeout, c.Dialer.Timeout, c.ConnWriteTimeout)
		}
	}
}

// Addresses are named in errors, but not with a password.
func TestPasswordInAnAddress(t *testing.T) {
	dial := func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) { return nil, io.EOF }
	for _, address := range []string{"redis://:hunter2@127.0.0.1:1", "rediss://127.0.0.1:1/hunter2", "user:hunter2@127.0.0.1:1"} {
		for _, option := range []rueidis.ClientOption{{}, {DialCtxFn: dial}} {
			_, err := Open(t.Context(), Options{InitAddress: []string{"127.0.0.1:1", address}, Namespace: "test", ClientOption: option})
			if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "InitAddress[1]") ||
				strings.Contains(err.Error(), "InitAddress[0]") || !strings.Contains(err.Error(), "give host:port") {
				t.Errorf("%s: %v", address, err)
			}
		}
	}
}

// Sentinels are waited for no longer than servers, and asked now and then.
func TestOptionsOfSentinels(t *testing.T) {
	of := func(option rueidis.ClientOption) rueidis.SentinelOption {
		t.Helper()
		o := Options{InitAddress: []string{"a"}, Namespace: "n", LogTimeout: time.Minute, ClientOption: option}
		if err := o.check(); err != nil {
			t.Fatal(err)
		}
		return o.ClientOption.Sentinel
	}
	var option rueidis.ClientOption
	if got := of(option); got.Dialer.Timeout != 0 || got.TopologyRefreshInterval != 0 {
		t.Errorf("without sentinels: %+v", got)
	}
	option.Sentinel.MasterSet = "s"
	if got := of(option); got.Dialer.Timeout != 2*time.Minute || got.Dialer.KeepAlive != time.Second || got.TopologyRefreshInterval != 5*time.Second {
		t.Errorf("by default: %+v", got)
	}
	option.Dialer.Timeout, option.Dialer.KeepAlive = 1, 2
	if got := of(option); got.Dialer.Timeout != 1 || got.Dialer.KeepAlive != 2 {
		t.Errorf("as the servers: %+v", got)
	}
	option.Sentinel.Dialer.Timeout, option.Sentinel.Dialer.KeepAlive, option.Sentinel.TopologyRefreshInterval = 3, 4, 5
	if got := of(option); got.Dialer.Timeout != 3 || got.Dialer.KeepAlive != 4 || got.TopologyRefreshInterval != 5 {
		t.Errorf("as told: %+v", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"allkeys-lru", "allkeys-lfu", "allkeys-random"} {
		s := redistest.Start(t, "--maxmemory-policy", policy)
		_, err := Open(t.Context(), Options{InitAddress: []string{s.Addr()}, Namespace: "test"})
		if err == nil || !strings.Contains(err.Error(), policy) || !strings.Contains(err.Error(), "set maxmemory-policy to") ||
			!strings.Contains(err.Error(), s.Addr()) {
			t.Errorf("%s: %v", policy, err)
		}
	}
	for _, policy := range []string{"volatile-lru", "volatile-ttl", "noeviction"} {
		open(t, redistest.Start(t, "--maxmemory-policy", policy))
	}

	_, err := Open(t.Context(), Options{InitAddress: []string{"127.0.0.1:1"}, Namespace: "test"})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("with no server: %v", err)
	}
}

func TestClaim(t *testing.T) {
	t.Parallel()
	if err := (*Tier)(nil).Claim(); err == nil || !strings.Contains(err.Error(), "error of Open") {
		t.Errorf("no tier: %v", err)
	}
	s := redistest.Start(t)
	tier := open(t, s)
	var claimed atomic.Int32
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			err := tier.Claim()
			if err == nil {
				claimed.Add(1)
			} else if !strings.Contains(err.Error(), "one for each cache") {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := claimed.Load(); n != 1 {
		t.Errorf("claimed %d times", n)
	}
	closed, err := Open(t.Context(), Options{InitAddress: []string{s.Addr()}, Namespace: "test", LogTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Error(err)
	}
	if err := closed.Claim(); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed tier: %v", err)
	}
}

// What is not there, or not what it should be, is told apart.
func TestOpenTellsWhatItHasFound(t *testing.T) {
	t.Parallel()
	locked := redistest.Start(t)
	locked.Do("CONFIG", "SET", "requirepass", "secret")
	for name, test := range map[string]struct {
		addresses []string
		want      string // after the address
		tls       *tls.Config
	}{
		"silence":         {[]string{listen(t, nil)}, "no answer in time (2s)", nil},
		"no TLS":          {[]string{listen(t, nil)}, "no answer in time (2s): does the server take TLS?", new(tls.Config)},
		"another service": {[]string{listen(t, []byte("HTTP/1.1 400 Bad Request\r\n\r\n"))}, "received unknown message type: 72: is this a Redis, and one that does not want TLS?", nil},
		"a password":      {[]string{locked.Addr()}, "the server wants a password (NOAUTH): set Options.Password", nil},
		"two servers": {[]string{redistest.Start(t).Addr(), redistest.Start(t).Addr()}, "This instance has cluster support disabled: " +
			"several addresses are those of a cluster, or of sentinels if ClientOption.Sentinel says so; of a single server give one", nil},
		"no port": {[]string{"127.0.0.1"}, "dial tcp: address 127.0.0.1: missing port in address: an address is host:port", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Open(t.Context(), Options{InitAddress: test.addresses, TLSConfig: test.tls, Namespace: "test"})
			if want := "redis: connecting to " + strings.Join(test.addresses, ", ") + ": " + test.want; err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
}

// A password that is missing or wrong may be that of the server or of a sentinel.
func TestOpenTellsWhichPassword(t *testing.T) {
	t.Parallel()
	locked := redistest.Start(t)
	locked.Do("CONFIG", "SET", "requirepass", "secret")
	sentinels := func(o *Options) { o.ClientOption.Sentinel.MasterSet = masterSet }
	for name, test := range map[string]struct {
		set  func(*Options)
		want []string
	}{
		"none":             {func(*Options) {}, []string{"NOAUTH", "Options.Password"}},
		"wrong":            {func(o *Options) { o.Password = "other" }, []string{"WRONGPASS", "Options.Username and Options.Password"}},
		"sentinel, none":   {func(o *Options) { sentinels(o); o.Password = "secret" }, []string{"NOAUTH", "ClientOption.Sentinel.Password"}},
		"sentinel, wrong":  {func(o *Options) { sentinels(o); o.ClientOption.Sentinel.Password = "other" }, []string{"WRONGPASS", "ClientOption.Sentinel"}},
		"wrong, of a user": {func(o *Options) { o.Username, o.Password = "somebody", "secret" }, []string{"WRONGPASS", "Options.Username and Options.Password"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{InitAddress: []string{locked.Addr()}, Namespace: "test"}
			test.set(&o)
			_, err := Open(t.Context(), o)
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %s", err, want)
				}
			}
		})
	}
}

// listen accepts connections, answers what comes first, if there is an answer, and leaves
// the rest without one.
func listen(t *testing.T, answer []byte) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				b := make([]byte, 1000)
				if n, _ := conn.Read(b); n > 0 && answer != nil {
					conn.Write(answer)
				}
				io.Copy(io.Discard, conn) // until the other side hangs up
			})
		}
	})
	return listener.Addr().String()
}

// Nothing is left open, whether Open succeeds or not.
func TestConnectionsAreClosed(t *testing.T) {
	s := redistest.Start(t)
	closed := func(what string) {
		redistest.Until(t, "there is no connection after "+what, func() bool { return s.Info("connected_clients") == "1" })
	}
	tier, err := Open(t.Context(), Options{InitAddress: []string{s.Addr()}, Namespace: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := tier.Close(); err != nil {
		t.Error(err)
	}
	closed("Close")
	s.Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	if _, err := Open(t.Context(), Options{InitAddress: []string{s.Addr()}, Namespace: "test"}); err == nil {
		t.Error("opened")
	}
	closed("a failed Open")
}

func TestOpenHeedsItsContext(t *testing.T) {
	s := redistest.Start(t)
	s.Pause()
	defer s.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := Open(ctx, Options{InitAddress: []string{s.Addr()}, Namespace: "test"})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func TestCheckInfo(t *testing.T) {
	for info, want := range map[string]string{
		"# Server\r\nredis_version:7.0.0\r\nmaxmemory_policy:noeviction\r\n":    "",
		"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n": "",
		"redis_version:10.1.0\r\nmaxmemory_policy:volatile-ttl\r\n":             "",
		"redis_version:6.2.14\r\nmaxmemory_policy:noeviction\r\n":               `version "6.2.14"; version 7.0`,
		"":                    `version ""`,
		"redis_version:x\r\n": `version "x"`,
		"redis_version:7.4.1\r\nmaxmemory_policy:allkeys-lfu\r\n": "a:1 has maxmemory-policy allkeys-lfu",
	} {
		err := checkInfo("a:1", info)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", info, err, want)
		}
	}
}

// TestCluster has what depends on it.
func TestInCluster(t *testing.T) {
	for info, want := range map[string]bool{
		"redis_version:7.0.15\r\nredis_mode:cluster\r\n":                            true,
		"redis_version:7.0.15\r\nredis_mode:standalone\r\n":                         false,
		"redis_version:7.2.4\r\nvalkey_version:8.1.1\r\nserver_mode:cluster\r\n":    true,
		"redis_version:7.2.4\r\nvalkey_version:8.1.1\r\nserver_mode:standalone\r\n": false,
		"": false,
	} {
		if got := inCluster(info); got != want {
			t.Errorf("%q: %t", info, got)
		}
	}
}

// exercise uses everything that a tier has.
func exercise(t *testing.T, tier *Tier) {
	t.Helper()
	at := mustSnapshot(t, tier, 0).At
	r := record(1)
	r.Mark = mark(2)
	mustAppend(t, tier, at, r)
	m := r.Mark
	r = record(3)
	r.Mark, r.OnlyIf = m, cacheruntime.IfAbsent
	if reply := mustAppend(t, tier, at, r); reply.Appended {
		t.Error("a mark was appended again")
	}
	r = record(4)
	r.Release, r.OnlyIf = []cacheruntime.LogRelease{{ID: m.ID, Generation: m.Generation}}, cacheruntime.IfOutstanding
	if reply := mustAppend(t, tier, at, r); !reply.Appended || len(reply.Records) != 2 {
		t.Errorf("%+v", reply)
	}
	if reply := mustProve(t, tier, at); !reply.Known || len(reply.Records) != 2 {
		t.Errorf("%+v", reply)
	}
	mustSnapshot(t, tier, at.Epoch)
	if err := tier.Wait(t.Context(), cacheruntime.LogPosition{}); err != nil {
		t.Error(err)
	}
	var entries []cacheruntime.SharedEntry
	var keys []string
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		entries = append(entries, cacheruntime.SharedEntry{Key: key, Entry: []byte(key), TTL: time.Minute})
		keys = append(keys, key)
	}
	mustSet(t, tier, entries...)
	for i, entry := range mustGet(t, tier, keys...) {
		if string(entry) != keys[i] {
			t.Errorf("%s: %q", keys[i], entry)
		}
	}
	if ok, err := tier.Lock(t.Context(), "k", "me", time.Minute); !ok || err != nil {
		t.Errorf("lock: %v", err)
	}
	if err := tier.Unlock(t.Context(), "k", "me"); err != nil {
		t.Error(err)
	}
	if ok, err := tier.Lock(t.Context(), "k", "you", time.Minute); !ok || err != nil {
		t.Errorf("lock: %v", err)
	}
}

// A client of the application's own stays open.
func TestOwnClient(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	tier, err := Open(t.Context(), Options{Client: client, Namespace: "test"})
	if err != nil {
		t.Fatal(err)
	}
	exercise(t, tier)
	if err := tier.Close(); err != nil {
		t.Error(err)
	}
	if err := client.Do(t.Context(), client.B().Ping().Build()).Error(); err != nil {
		t.Errorf("the client was closed: %v", err)
	}
}

// Whatever the client is told to send to replicas, the log stays on the primary.
func TestReplicasAreAskedForEntriesAlone(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	all := func(rueidis.Completed) bool { return true }
	tier := open(t, primary, func(o *Options) {
		o.ClientOption.SendToReplicas = all
		o.ClientOption.Standalone.ReplicaAddress = []string{replica.Addr()}
	})
	replica.Do("CONFIG", "RESETSTAT") // Open asks every server what it is
	at := mustSnapshot(t, tier, 0).At
	r := record(1)
	mustAppend(t, tier, at, r)
	if reply := mustProve(t, tier, at); !reply.Known || reply.Head != after(at, r) {
		t.Errorf("%+v", reply)
	}
	mustSet(t, tier, cacheruntime.SharedEntry{Key: "k", Entry: []byte("v"), TTL: time.Minute})
	redistest.Until(t, "the entry is on the replica", func() bool { return string(mustGet(t, tier, "k")[0]) == "v" })
	if reads, scripts := replica.Info("cmdstat_getrange"), replica.Info("cmdstat_eval")+replica.Info("cmdstat_evalsha"); reads == "" || scripts != "" {
		t.Errorf("the replica was asked for entries: %q, for scripts: %q", reads, scripts)
	}

	// The application's own client is told nothing, so it has to do without a log.
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{primary.Addr()}, DisableCache: true, SendToReplicas: all,
		Standalone: rueidis.StandaloneOption{ReplicaAddress: []string{replica.Addr()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := Open(t.Context(), Options{Client: client, Namespace: "test"}); err == nil || !strings.Contains(err.Error(), "replica") {
		t.Errorf("a client that asks replicas: %v", err)
	}
}

func TestDatabases(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	first := open(t, s)
	second := open(t, s, func(o *Options) { o.SelectDB = 1 })
	if a, b := mustSnapshot(t, first, 0).At, mustSnapshot(t, second, 0).At; cmp.Equal(a, b) {
		t.Errorf("two databases have one log: %+v", a)
	}
}

func TestNamespaces(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for _, name := range []string{"blog", "blog:e", "ブログ", strings.Repeat("x", 64), `"'\?*[]`} {
		exercise(t, open(t, s, func(o *Options) { o.Namespace = name }))
	}
	if keys := s.Do("KEYS", "*:table").([]any); len(keys) != 5 {
		t.Errorf("%q", keys)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.StartCluster(t, 3).Nodes
	tier := open(t, nodes[0])
	exercise(t, tier)
	used := 0
	for _, node := range nodes {
		if len(contents(node)) > 0 {
			used++
		}
	}
	if used < 2 {
		t.Errorf("entries are on %d of %d nodes", used, len(nodes))
	}

	// The documented permissions are enough, on each node.
	for _, node := range nodes {
		node.Do(setUser(permissionsInDoc(t)...)...)
	}
	narrow := func(o *Options) { o.Username, o.Password = "narrow", "secret" }
	exercise(t, open(t, nodes[0], narrow, func(o *Options) { o.Namespace = "other" }))
	for _, lacks := range []string{"+cluster|slots", "+cluster|shards", "+asking", "+xadd"} {
		nodes[1].Do(setUser("-" + lacks[1:])...)
		_, err := Open(t.Context(), Options{InitAddress: []string{nodes[0].Addr()}, Username: "narrow", Password: "secret", Namespace: "other"})
		if err == nil || !strings.Contains(err.Error(), nodes[1].Addr()+": allow it by ACL SETUSER narrow "+lacks) {
			t.Errorf("without %s: %v", lacks, err)
		}
		nodes[1].Do(setUser(lacks)...)
	}

	// Each node is checked.
	nodes[2].Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	if _, err := Open(t.Context(), Options{InitAddress: []string{nodes[0].Addr()}, Namespace: "test"}); err == nil ||
		!strings.Contains(err.Error(), nodes[2].Addr()) {
		t.Errorf("with one node that evicts: %v", err)
	}
}
