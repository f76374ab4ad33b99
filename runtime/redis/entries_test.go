package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

func mustGet(t testing.TB, tier *Tier, keys ...string) [][]byte {
	t.Helper()
	entries, err := tier.Get(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(keys) {
		t.Fatalf("%d entries for %d keys", len(entries), len(keys))
	}
	return entries
}

func mustSet(t testing.TB, tier *Tier, entries ...cacheruntime.SharedEntry) {
	t.Helper()
	if err := tier.Set(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
}

func TestEntries(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier, other := open(t, s), open(t, s, func(o *Options) { o.Namespace = "other" })
	keys := []string{"a", "", "{", "}{", "{}", "{a}b", "\x00\r\n\xff", strings.Repeat("k", 1<<16)}
	var entries []cacheruntime.SharedEntry
	for i, key := range keys {
		entries = append(entries, cacheruntime.SharedEntry{Key: key, Entry: []byte{byte(i), 0, '\n'}, TTL: time.Minute})
	}
	mustSet(t, tier, entries...)
	got := mustGet(t, tier, append(keys, "missing")...)
	for i := range keys {
		if !bytes.Equal(got[i], entries[i].Entry) {
			t.Errorf("%.20q: %q, want %q", keys[i], got[i], entries[i].Entry)
		}
	}
	if got[len(keys)] != nil {
		t.Errorf("a missing entry is %q", got[len(keys)])
	}
	for i, entry := range mustGet(t, other, keys...) {
		if entry != nil {
			t.Errorf("%.20q: %q in another namespace", keys[i], entry)
		}
	}
	mustSet(t, tier, cacheruntime.SharedEntry{Key: "a", Entry: []byte("new"), TTL: time.Minute})
	if got := mustGet(t, tier, "a")[0]; string(got) != "new" {
		t.Errorf("%q after it was replaced", got)
	}
	if got := mustGet(t, tier); len(got) != 0 {
		t.Errorf("%q for no keys", got)
	}
	mustSet(t, tier)
}

// What is in braces in a key does not put all such keys into one slot of a cluster.
func TestKeysChooseNoSlot(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--cluster-enabled", "yes")
	tier := &Tier{options: Options{Namespace: "test"}}
	slots := make(map[any]bool)
	for i := range 20 {
		slots[s.Do("CLUSTER", "KEYSLOT", tier.key("entry", fmt.Sprintf("{tenant}%d", i)))] = true
	}
	if len(slots) < 15 {
		t.Errorf("20 keys are in %d slots", len(slots))
	}
}

func TestTTL(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s, func(o *Options) { o.MaxTTL = time.Hour })
	for ttl, want := range map[time.Duration]time.Duration{
		time.Minute:          time.Minute,
		time.Hour + 1:        time.Hour,
		cacheruntime.Forever: time.Hour,
	} {
		mustSet(t, tier, cacheruntime.SharedEntry{Key: "k", Entry: []byte("v"), TTL: ttl})
		ms := s.Do("PTTL", tier.key("entry", "k")).(int64)
		if got := time.Duration(ms) * time.Millisecond; got > want || got < want-20*time.Second {
			t.Errorf("with a TTL of %v it has %v, want %v", ttl, got, want)
		}
	}
	for _, ttl := range []time.Duration{0, -1} {
		mustSet(t, tier, cacheruntime.SharedEntry{Key: "late", Entry: []byte("v"), TTL: ttl})
		if got := mustGet(t, tier, "late")[0]; got != nil {
			t.Errorf("with a TTL of %v it is stored", ttl)
		}
	}
	mustSet(t, tier, cacheruntime.SharedEntry{Key: "short", Entry: []byte("v"), TTL: time.Nanosecond})
	redistest.Until(t, "a short TTL is over", func() bool { return mustGet(t, tier, "short")[0] == nil })
}

func TestSizesAndCompression(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s, func(o *Options) { o.MaxEntryBytes, o.CompressAbove = 10_000, 100 })
	noise := make([]byte, 10_001)
	for i := range noise {
		noise[i] = byte(mathrand.Uint32())
	}
	text := bytes.Repeat([]byte("text"), 2500)
	for name, test := range map[string]struct {
		entry  []byte
		stored int64 // at most
		none   bool
	}{
		"small":      {entry: text[:100], stored: 101},
		"compressed": {entry: text[:101], stored: 60},
		"large":      {entry: text, stored: 200},
		"noise":      {entry: noise[:10_000], stored: 10_001},
		"too large":  {entry: noise, none: true},
	} {
		mustSet(t, tier, cacheruntime.SharedEntry{Key: name, Entry: test.entry, TTL: time.Minute})
		got := mustGet(t, tier, name)[0]
		if test.none {
			if n := s.Do("EXISTS", tier.key("entry", name)).(int64); got != nil || n != 0 {
				t.Errorf("%s: %d bytes are stored", name, len(got))
			}
			continue
		}
		if !bytes.Equal(got, test.entry) {
			t.Errorf("%s: %q became %q", name, test.entry, got)
		}
		if n := s.Do("STRLEN", tier.key("entry", name)).(int64); n > test.stored || n < 2 {
			t.Errorf("%s: %d bytes are stored as %d, want at most %d", name, len(test.entry), n, test.stored)
		}
	}

	plain := open(t, s, func(o *Options) { o.MaxEntryBytes = 9_999 })
	if got := mustGet(t, plain, "compressed")[0]; !bytes.Equal(got, text[:101]) {
		t.Errorf("who does not compress reads %q", got)
	}
	for _, name := range []string{"large", "noise"} {
		if got := mustGet(t, plain, name)[0]; got != nil {
			t.Errorf("%s: who wants no such large entries reads %d bytes", name, len(got))
		}
	}
}

func TestForgedEntries(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s, func(o *Options) { o.MaxEntryBytes = 1000 })
	for name, value := range map[string]string{
		"empty":              "",
		"only a frame":       "\x00",
		"another frame":      "\x07abc",
		"garbage compressed": "\x01abc",
		"a bomb":             "\x01" + string(s2.Encode(nil, make([]byte, 1001))),
		"a claim":            "\x01\xff\xff\xff\xff\x0f",
		"compressed nothing": "\x01" + string(s2.Encode(nil, nil)),
		"too long":           "\x00" + strings.Repeat("x", 1001),
		"much too long":      "\x00" + strings.Repeat("x", 1<<20),
	} {
		s.Do("SET", tier.key("entry", "k"), value)
		if got := mustGet(t, tier, "k")[0]; got != nil {
			t.Errorf("%s is an entry of %d bytes", name, len(got))
		}
	}
	s.Do("DEL", tier.key("entry", "k"))
	s.Do("RPUSH", tier.key("entry", "k"), "x")
	mustSet(t, tier, cacheruntime.SharedEntry{Key: "l", Entry: []byte("v"), TTL: time.Minute})
	for range 2 * failuresToLeaveAlone {
		if got := mustGet(t, tier, "k", "l"); got[0] != nil || string(got[1]) != "v" {
			t.Errorf("a list and an entry are %q", got)
		}
	}
	mustSet(t, tier, cacheruntime.SharedEntry{Key: "k", Entry: []byte("v"), TTL: time.Minute})
	if got := mustGet(t, tier, "k")[0]; string(got) != "v" {
		t.Errorf("%q in place of a list", got)
	}
}

func FuzzUnframe(f *testing.F) {
	tier := &Tier{options: Options{MaxEntryBytes: 1000, CompressAbove: 1}}
	f.Add(tier.frame([]byte("x")))
	f.Add(tier.frame(bytes.Repeat([]byte("x"), 1000)))
	f.Add([]byte("\x01\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := tier.unframe(b); len(got) > 1000 || got != nil && len(got) == 0 {
			t.Errorf("%d bytes", len(got))
		}
		if len(b) > 0 && len(b) <= 1000 {
			if got := tier.unframe(tier.frame(b)); !bytes.Equal(got, b) {
				t.Errorf("%q became %q", b, got)
			}
		}
	})
}

func TestLocks(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s)
	lock := func(token string, ttl time.Duration, want bool) {
		t.Helper()
		if got, err := tier.Lock(t.Context(), "k", token, ttl); got != want || err != nil {
			t.Errorf("lock by %s: %v, %v, want %v", token, got, err, want)
		}
	}
	unlock := func(token string) {
		t.Helper()
		if err := tier.Unlock(t.Context(), "k", token); err != nil {
			t.Errorf("unlock by %s: %v", token, err)
		}
	}
	lock("a", time.Minute, true)
	lock("b", time.Minute, false)
	lock("a", time.Minute, false)
	unlock("b")
	lock("b", time.Minute, false)
	unlock("a")
	lock("b", time.Millisecond, true)
	redistest.Until(t, "a lock is over", func() bool {
		got, err := tier.Lock(t.Context(), "k", "c", time.Minute)
		return got && err == nil
	})
	unlock("b") // who was late has no lock to give back
	lock("d", time.Minute, false)
	if got, err := tier.Lock(t.Context(), "k", "a", 0); got || err == nil {
		t.Errorf("a lock for no time: %v, %v", got, err)
	}
	s.Do("DEL", tier.key("lock", "k"))
	s.Do("RPUSH", tier.key("lock", "k"), "x")
	unlock("a")
}

// A lock that could not be given back is not taken for one that was.
func TestUnlockThatIsRefused(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Do("ACL", "SETUSER", "narrow", "on", ">secret", "~*", "+@all")
	tier := open(t, s, func(o *Options) { o.Username, o.Password = "narrow", "secret" })
	if ok, err := tier.Lock(t.Context(), "k", "me", time.Minute); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for _, command := range []string{"get", "del"} {
		s.Do("ACL", "SETUSER", "narrow", "-"+command)
		if err := tier.Unlock(t.Context(), "k", "me"); err == nil || !strings.Contains(err.Error(), "NOPERM "+strings.ToUpper(command)) {
			t.Errorf("without %s: %v", command, err)
		}
		s.Do("ACL", "SETUSER", "narrow", "+"+command)
	}
	if err := tier.Unlock(t.Context(), "k", "me"); err != nil {
		t.Error(err)
	}
	if n := s.Do("EXISTS", tier.key("lock", "k")); n != int64(0) {
		t.Error("the lock was not given back")
	}
}

// A server that hangs is waited for no longer than the timeout, by however many callers,
// then left alone, and used again when it answers.
func TestServerThatHangs(t *testing.T) {
	const timeout = 200 * time.Millisecond
	s := redistest.Start(t)
	tier := open(t, s, func(o *Options) { o.ClientOption.ConnWriteTimeout = 3 * timeout })
	tier.options.Timeout, tier.options.LogTimeout = timeout, timeout // which would be short for Open
	at := mustSnapshot(t, tier, 0).At
	redistest.Until(t, "entries are stored and read", func() bool {
		return tier.Set(t.Context(), []cacheruntime.SharedEntry{{Key: "k", Entry: []byte("v"), TTL: time.Minute}}) == nil
	})

	s.Pause()
	defer s.Resume()
	const callers = 5000 // more than fit into the client's queue
	var late, left, timedOut sync.Map
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			start := time.Now()
			_, err := tier.Get(t.Context(), []string{"k"})
			if d := time.Since(start); d > timeout+2*time.Second {
				late.Store(i, d)
			}
			switch {
			case errors.Is(err, ErrTimeout):
				timedOut.Store(i, true)
			case errors.Is(err, ErrLeftAlone):
				left.Store(i, true)
			default:
				t.Errorf("a server that hangs: %v", err)
			}
		})
	}
	all.Wait()
	late.Range(func(i, d any) bool {
		t.Errorf("caller %d waited %v", i, d)
		return true
	})
	start := time.Now()
	for range 100 {
		if _, err := tier.Get(t.Context(), []string{"k"}); !errors.Is(err, ErrLeftAlone) && !errors.Is(err, ErrTimeout) {
			t.Errorf("after %d failures: %v", callers, err)
		}
	}
	if d := time.Since(start); d > 20*timeout {
		t.Errorf("100 calls took %v", d)
	}
	// The log is tried nevertheless.
	if _, err := tier.Prove(t.Context(), at); !errors.Is(err, ErrTimeout) {
		t.Errorf("proof: %v", err)
	}

	s.Resume()
	redistest.Until(t, "entries are stored and read", func() bool {
		entries, err := tier.Get(t.Context(), []string{"k"})
		return err == nil && string(entries[0]) == "v"
	})
	redistest.Until(t, "the log is proven", func() bool {
		reply, err := tier.Prove(t.Context(), at)
		return err == nil && reply.Known
	})
}

// The client's queue for a connection does not fill up with calls that nobody waits for
// any more: they would stay until the connection is given up, and commands of the log
// behind them.
func TestCallsOfAServerThatHangsAreBounded(t *testing.T) {
	s := redistest.Start(t)
	tier := open(t, s, func(o *Options) { o.Timeout = 500 * time.Millisecond }) // while LogTimeout is long
	redistest.Until(t, "there is an answer", func() bool {
		_, err := tier.Get(t.Context(), []string{"k"})
		return err == nil
	})
	s.Pause()
	defer s.Resume()
	const callers = 5000
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			if _, err := tier.Get(t.Context(), []string{"k"}); err == nil {
				t.Error("an answer from a server that hangs")
			}
		})
	}
	all.Wait()
	redistest.Until(t, "calls that nobody waits for are over", func() bool { return runtime.NumGoroutine() < maxCommands+500 })
}

// That callers give up is no failure of Redis.
func TestCallersThatGiveUp(t *testing.T) {
	s := redistest.Start(t)
	tier := open(t, s)
	mustSet(t, tier, cacheruntime.SharedEntry{Key: "k", Entry: []byte("v"), TTL: time.Minute})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 * failuresToLeaveAlone {
		if _, err := tier.Get(gone, []string{"k"}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
	s.Pause()
	defer s.Resume()
	for range 3 * failuresToLeaveAlone {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := tier.Get(ctx, []string{"k"}); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrTimeout) {
			t.Errorf("%v", err)
		}
		cancel()
	}
	s.Resume()
	if got := mustGet(t, tier, "k")[0]; string(got) != "v" {
		t.Errorf("%q", got)
	}
}

// A server that is gone is left alone too, and closing does not wait for it.
func TestServerThatIsGone(t *testing.T) {
	s := redistest.Start(t)
	tier, err := Open(t.Context(), Options{InitAddress: []string{s.Addr()}, Namespace: "test"})
	if err != nil {
		t.Fatal(err)
	}
	s.Kill()
	redistest.Until(t, "it is left alone", func() bool {
		_, err := tier.Get(t.Context(), []string{"k"})
		if err == nil {
			t.Fatal("an answer from nowhere")
		}
		return errors.Is(err, ErrLeftAlone)
	})
	if _, err := tier.Append(t.Context(), cacheruntime.LogPosition{}, record(1)); err == nil {
		t.Error("a record was appended nowhere")
	}
	start := time.Now()
	if err := tier.Close(); err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("closing took %v: %v", time.Since(start), err)
	}
}

// The number of keys in one call has no bound of its own.
func TestManyEntries(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s)
	var entries []cacheruntime.SharedEntry
	var keys []string
	for i := range 5000 {
		key := fmt.Sprint(i)
		keys = append(keys, key)
		entries = append(entries, cacheruntime.SharedEntry{Key: key, Entry: []byte(key), TTL: time.Minute})
	}
	mustSet(t, tier, entries...)
	for i, entry := range mustGet(t, tier, keys...) {
		if string(entry) != keys[i] {
			t.Fatalf("%s: %q", keys[i], entry)
		}
	}
}

// oneConnection makes all pipelined commands of a client share a connection.
func oneConnection(o *Options) { o.ClientOption.PipelineMultiplex = -1 }

// What a batch has on its way is bounded, and so is what all have together, by commands:
// a large one keeps neither the others waiting nor the server busy when nobody waits.
func TestBatchesAreSentInChunks(t *testing.T) {
	for _, test := range []struct{ batches, least, most int }{
		{1, chunk, chunk},
		{20, chunk + 1, maxCommands},
	} {
		t.Run(fmt.Sprint(test.batches), func(t *testing.T) {
			s := redistest.Start(t)
			tier := open(t, s, oneConnection, func(o *Options) { o.Timeout = 500 * time.Millisecond })
			keys := make([]string, 1000)
			for i := range keys {
				keys[i] = fmt.Sprint(i)
			}
			s.Do("CONFIG", "RESETSTAT")
			s.Pause()
			defer s.Resume()
			var all sync.WaitGroup
			for range test.batches {
				all.Go(func() {
					if _, err := tier.Get(t.Context(), keys); err == nil {
						t.Error("an answer from a server that hangs")
					}
				})
			}
			all.Wait()
			s.Resume()
			redistest.Until(t, "an answer behind all that was sent", func() bool {
				return tier.Set(t.Context(), []cacheruntime.SharedEntry{{Key: "k", Entry: []byte("v"), TTL: time.Minute}}) == nil
			})
			_, stats, _ := strings.Cut(s.Do("INFO", "commandstats").(string), "cmdstat_getrange:calls=")
			stats, _, _ = strings.Cut(stats, ",")
			if n, err := strconv.Atoi(stats); err != nil || n < test.least || n > test.most {
				t.Errorf("%q commands were sent (%v), want %d to %d", stats, err, test.least, test.most)
			}
		})
	}
}

// Whatever holds up entries does not hold up the log.
func TestTheLogDoesNotWaitForEntries(t *testing.T) {
	s := redistest.Start(t)
	tier := open(t, s, oneConnection, func(o *Options) { o.Timeout = 100 * time.Millisecond })
	at := mustSnapshot(t, tier, 0).At

	// A command that blocks, but is pipelined: all behind it wait.
	blocked := make(chan error, 1)
	go func() {
		blocked <- tier.clients.Load().entries.Do(context.Background(), tier.clients.Load().entries.B().Arbitrary("BLPOP").Keys("list").Args("0").Build()).Error()
	}()
	redistest.Until(t, "a connection that is blocked", func() bool {
		return strings.Contains(s.Do("INFO", "clients").(string), "blocked_clients:1\r")
	})
	defer func() {
		s.Do("RPUSH", "list", "x")
		if err := <-blocked; err != nil {
			t.Error(err)
		}
	}()
	if _, err := tier.Get(t.Context(), []string{"k"}); !errors.Is(err, ErrTimeout) {
		t.Fatalf("entries do not wait: %v", err)
	}
	r := record(1)
	r.Mark = mark(2)
	reply := mustAppend(t, tier, at, r)
	if got := mustProve(t, tier, at); !got.Known || got.Head != reply.Head {
		t.Errorf("%+v", got)
	}
	if got := mustSnapshot(t, tier, 0); got.At != reply.Head || len(got.Marks) != 1 {
		t.Errorf("%+v", got.At)
	}
}

// Whoever waits longer than the client does is told the same as if they had not.
func TestClientThatWaitsShorter(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tier := open(t, s, func(o *Options) {
		o.Timeout, o.LogTimeout = time.Hour, time.Hour
		o.ClientOption.ConnWriteTimeout = time.Second
	})
	at := mustSnapshot(t, tier, 0).At
	s.Pause()
	defer s.Resume()
	_, reading := tier.Get(t.Context(), []string{"k"})
	_, proving := tier.Prove(t.Context(), at)
	for _, err := range []error{reading, proving} {
		if !errors.Is(err, ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || !unreachable(err, false) {
			t.Error(err)
		}
	}
}

// Commands that a server which hangs has not answered do not keep a tier from being closed.
func TestCloseOfATierWhoseServerHangs(t *testing.T) {
	s := redistest.Start(t)
	tier, err := Open(t.Context(), Options{InitAddress: []string{s.Addr()}, Namespace: "test", LogTimeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s.Pause()
	defer s.Resume()
	if _, err := tier.Get(t.Context(), []string{"k"}); !errors.Is(err, ErrTimeout) {
		t.Error(err)
	}
	start := time.Now()
	if err := tier.Close(); err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("closing took %v: %v", time.Since(start), err)
	}
}

// Nodes that each say that the other has an entry are not asked in turn for ever.
func TestNodesThatNameEachOther(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	tier := open(t, cluster.Nodes[0])
	const key = "k"
	stored := tier.key("entry", key)
	from, to := cluster.Owner(stored), cluster.Nodes[0]
	if to == from {
		to = cluster.Nodes[1]
	}
	from.Do("CLUSTER", "SETSLOT", fmt.Sprint(from.Do("CLUSTER", "KEYSLOT", stored)), "NODE", to.Do("CLUSTER", "MYID").(string))
	from.Do("CONFIG", "RESETSTAT")
	to.Do("CONFIG", "RESETSTAT")
	if _, err := tier.Get(t.Context(), []string{key}); err == nil || !strings.Contains(err.Error(), "MOVED") {
		t.Error(err)
	}
	total := 0
	for _, node := range []*redistest.Server{from, to} {
		n, err := strconv.Atoi(node.Info("total_error_replies"))
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	if total < 2 || total > 2*defaultRedirections {
		t.Errorf("%d redirections", total)
	}
}

// A node of a cluster that hangs does not keep anybody from the entries of others, and is left
// alone although those can be read.
func TestNodeThatHangs(t *testing.T) {
	cluster := redistest.StartCluster(t, 3)
	tier := open(t, cluster.Nodes[0])
	hung := cluster.Nodes[0]
	if hung == cluster.Owner(tier.keys[0]) {
		hung = cluster.Nodes[1]
	}
	var bad, good []string // keys
	for i := range 100 {
		key := fmt.Sprint(i)
		mustSet(t, tier, cacheruntime.SharedEntry{Key: key, Entry: []byte(key), TTL: time.Minute})
		c := tier.clients.Load()
		g := c.groupOf(c.entries.B().Get().Key(tier.key("entry", key)).Build())
		if third := len(c.groups) / 3; g == &c.groups[third] || g == &c.groups[2*third] {
			continue // two nodes have slots of it
		}
		if cluster.Owner(tier.key("entry", key)) == hung {
			bad = append(bad, key)
		} else {
			good = append(good, key)
		}
	}
	tier.options.Timeout = 300 * time.Millisecond
	hung.Pause()
	defer hung.Resume()

	// It has more to do than may be on its way to all.
	var all sync.WaitGroup
	for i := range 2 * maxCommands {
		all.Go(func() {
			if _, err := tier.Get(t.Context(), []string{bad[i%len(bad)]}); err == nil {
				t.Error("an answer from a node that hangs")
			}
		})
	}
	all.Wait()
	var left error
	for key := range 2 {
		redistest.Until(t, "it is left alone, and others are not", func() bool {
			_, left = tier.Get(t.Context(), []string{bad[key]})
			redistest.Until(t, "an entry of another node is read", func() bool {
				entries, err := tier.Get(t.Context(), []string{good[0]})
				return err == nil && string(entries[0]) == good[0]
			})
			return errors.Is(left, ErrLeftAlone)
		})
	}
	redistest.Until(t, "a batch gets what others have", func() bool {
		entries, err := tier.Get(t.Context(), append([]string{bad[0]}, good...))
		if err == nil {
			t.Fatal("no error")
		}
		for i, key := range good {
			if string(entries[i+1]) != key {
				return false
			}
		}
		return entries[0] == nil
	})

	hung.Resume()
	redistest.Until(t, "all entries are read", func() bool {
		entries, err := tier.Get(t.Context(), append(bad, good...))
		return err == nil && !slices.ContainsFunc(entries, func(e []byte) bool { return e == nil })
	})
}
