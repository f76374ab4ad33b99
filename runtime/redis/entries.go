package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/s2"
	"github.com/redis/rueidis"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// ErrLeftAlone is the error of reading and storing entries while they are not tried:
// after five failures in a row for a second, and then until one succeeds. On a cluster that
// is so for each 64th of the hash slots, as one of its nodes may fail alone.
var ErrLeftAlone = errors.New("redis: entries are left alone for a while, as the last commands have failed")

// What is on its way to Redis, and when nothing is to be.
const (
	failuresToLeaveAlone = 5
	leaveAloneFor        = time.Second

	// maxCommands is how many commands for entries can be on their way. It is less than
	// what fits into the client's queue for one connection, where callers would wait
	// without regard to their contexts.
	maxCommands = 512
	// chunk is how many commands of a batch are sent together, so that one batch does not
	// keep all others waiting.
	chunk = 64
)

// The first byte of what is stored for an entry.
const (
	frameRaw = 0
	frameS2  = 1
)

// Get returns entries; see [cacheruntime.Shared]. They are asked for 64 at a time, on a
// cluster 16 of each 64th of the hash slots. It waits for no longer than
// [Options.Timeout], and returns [ErrLeftAlone] at once after repeated failures, on a cluster
// with what other nodes have.
func (t *Tier) Get(ctx context.Context, keys []string) ([][]byte, error) {
	entries := make([][]byte, len(keys))
	if len(keys) == 0 {
		return entries, nil
	}
	c, err := t.connected(ctx, t.options.Timeout)
	if err != nil {
		return entries, err
	}
	gets := make([]rueidis.Completed, len(keys))
	for i, key := range keys {
		// One byte more than there can be shows that there is too much.
		gets[i] = c.entries.B().Getrange().Key(t.key("entry", key)).Start(0).End(int64(t.options.MaxEntryBytes) + 1).Build()
	}
	err = t.send(ctx, c, "reading entries", gets, func(i int, reply rueidis.RedisResult) {
		if framed, err := reply.AsBytes(); err == nil {
			entries[i] = t.unframe(framed)
		}
	})
	return entries, err
}

// Set stores entries; see [cacheruntime.Shared]. Those that are larger than
// [Options.MaxEntryBytes] are not stored, which is no error. It waits for no longer than
// [Options.Timeout], and returns [ErrLeftAlone] at once after repeated failures.
func (t *Tier) Set(ctx context.Context, entries []cacheruntime.SharedEntry) error {
	c, err := t.connected(ctx, t.options.Timeout)
	if err != nil {
		return err
	}
	var sets []rueidis.Completed
	for _, e := range entries {
		if len(e.Entry) > t.options.MaxEntryBytes || e.TTL <= 0 {
			continue
		}
		sets = append(sets, c.entries.B().Set().Key(t.key("entry", e.Key)).Value(rueidis.BinaryString(t.frame(e.Entry))).
			PxMilliseconds(milliseconds(min(e.TTL, t.options.MaxTTL))).Build())
	}
	if len(sets) == 0 {
		return nil
	}
	return t.send(ctx, c, "storing entries", sets, func(int, rueidis.RedisResult) {})
}

// Lock takes a lock; see [cacheruntime.Shared]. It is left alone together with entries.
func (t *Tier) Lock(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	if ttl <= 0 {
		return false, fmt.Errorf("redis: a lock for %v", ttl)
	}
	c, err := t.connected(ctx, t.options.Timeout)
	if err != nil {
		return false, err
	}
	set := c.entries.B().Set().Key(t.key("lock", key)).Value(token).Nx().PxMilliseconds(milliseconds(ttl)).Build()
	g := c.groupOf(set)
	return forEntries(ctx, t, g, "taking a lock", func(ctx context.Context) (bool, error) {
		if err := g.admit(ctx, 1); err != nil {
			return false, err
		}
		defer g.sent.Release(1)
		ctx, sent := c.sending(ctx)
		defer sent()
		err := c.entries.Do(ctx, set).Error()
		if rueidis.IsRedisNil(err) {
			return false, nil
		}
		return err == nil, err
	})
}

// Unlock gives a lock back; see [cacheruntime.Shared]. It is left alone together with
// entries.
func (t *Tier) Unlock(ctx context.Context, key, token string) error {
	c, err := t.connected(ctx, t.options.Timeout)
	if err != nil {
		return err
	}
	lock := t.key("lock", key)
	g := c.groupOf(c.entries.B().Get().Key(lock).Build())
	_, err = forEntries(ctx, t, g, "giving a lock back", func(ctx context.Context) (struct{}, error) {
		if err := g.admit(ctx, 1); err != nil {
			return struct{}{}, err
		}
		defer g.sent.Release(1)
		ctx, sent := c.sending(ctx)
		defer sent()
		return struct{}{}, unlock.Exec(ctx, c.entries, []string{lock}, []string{token}).Error()
	})
	return err
}

// A group is of hash slots, entries of which are left alone together: of all where there is
// one server. In a cluster there are more, as one of its nodes may fail while others do not. A
// node mostly has slots that follow each other; the client does not tell which.
type group struct {
	most    int                 // commands that can be on their way
	sent    *semaphore.Weighted // of them
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
}

// In a cluster.
const (
	clusterGroups = 64
	groupCommands = 16 // for each of them, in place of maxCommands
)

// newGroups returns the groups of a client's servers.
func newGroups(mode rueidis.ClientMode) []group {
	groups, most := make([]group, 1), maxCommands
	if mode == rueidis.ClientModeCluster {
		groups, most = make([]group, clusterGroups), groupCommands
	}
	for i := range groups {
		groups[i] = group{
			most: most,
			sent: semaphore.NewWeighted(int64(most)),
			breaker: gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
				Timeout:      leaveAloneFor,
				ReadyToTrip:  func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= failuresToLeaveAlone },
				IsSuccessful: func(err error) bool { return err == nil || outOfMemory(err) },
				IsExcluded:   func(err error) bool { return errors.Is(err, errGaveUp) || err == ErrLeftAlone },
			}),
		}
	}
	return groups
}

// groupOf returns the group that the key of a command is in.
func (c *clients) groupOf(command rueidis.Completed) *group {
	const slots = 1 << 14
	return &c.groups[int(command.Slot()%slots)*len(c.groups)/slots]
}

// forEntries makes a call for entries of a group or their locks, if those are not left alone.
func forEntries[T any](ctx context.Context, t *Tier, g *group, doing string, f func(context.Context) (T, error)) (T, error) {
	var none T
	report, err := g.breaker.Allow()
	if err != nil {
		return none, ErrLeftAlone
	}
	value, err := call(ctx, t, t.options.Timeout, f)
	report(err)
	if err == ErrLeftAlone {
		return none, err
	}
	if err != nil {
		err = t.explain(doing, err)
	}
	return value, err
}

// admit waits until as many commands for entries may be sent. Whoever sends them gives
// their number back to g.sent when they are answered, even if nobody waits for that any
// more: until then they stand in the client's queue. So the client must not learn that
// the caller has left.
func (g *group) admit(ctx context.Context, commands int64) error {
	if err := g.sent.Acquire(ctx, commands); err != nil {
		return err
	}
	if g.breaker.State() == gobreaker.StateOpen {
		g.sent.Release(commands)
		return ErrLeftAlone // by now: those that were waited for have failed
	}
	return nil
}

// send sends commands for entries, those of different groups at the same time, and hands
// over as many replies as it has got. It returns an error if there was one.
func (t *Tier) send(ctx context.Context, c *clients, doing string, commands []rueidis.Completed, reply func(int, rueidis.RedisResult)) error {
	sendTo := func(g *group, commands []rueidis.Completed) ([]rueidis.RedisResult, error) {
		return forEntries(ctx, t, g, doing, func(ctx context.Context) ([]rueidis.RedisResult, error) { return c.sendTo(ctx, g, commands) })
	}
	if len(c.groups) == 1 || len(commands) == 1 {
		replies, err := sendTo(c.groupOf(commands[0]), commands)
		for i, r := range replies {
			reply(i, r)
		}
		return err
	}

	type part struct {
		commands []rueidis.Completed
		at       []int // their places
		replies  []rueidis.RedisResult
		err      error
	}
	parts := map[*group]*part{}
	for i, command := range commands {
		g := c.groupOf(command)
		p := parts[g]
		if p == nil {
			p = new(part)
			parts[g] = p
		}
		p.commands, p.at = append(p.commands, command), append(p.at, i)
	}
	var sending sync.WaitGroup
	for g, p := range parts {
		sending.Go(func() { p.replies, p.err = sendTo(g, p.commands) })
	}
	sending.Wait()
	var first error
	for _, p := range parts {
		for i, r := range p.replies {
			reply(p.at[i], r)
		}
		first = cmp.Or(first, p.err)
	}
	return first
}

// sendTo sends commands of a group, one chunk after the other until nobody waits for them
// any more. It returns as many replies as it has got, and the first error.
func (c *clients) sendTo(ctx context.Context, g *group, commands []rueidis.Completed) (replies []rueidis.RedisResult, first error) {
	for some := range slices.Chunk(commands, min(chunk, g.most)) {
		if err := g.admit(ctx, int64(len(some))); err != nil {
			return replies, err
		}
		sending, sent := c.sending(ctx)
		got := c.entries.DoMulti(sending, some...)
		sent()
		g.sent.Release(int64(len(some)))
		replies = append(replies, got...)
		first = cmp.Or(first, firstError(got))
	}
	return replies, first
}

// sending returns the context of commands that have been admitted, and what to call when they
// are answered. The client does not learn by it that the caller has left; see admit. But the
// application's own may send a command again until there is a server, and is not closed with
// the tier: there the context ends with it.
func (c *clients) sending(ctx context.Context) (context.Context, func()) {
	ctx = context.WithoutCancel(ctx)
	if c.owned {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// firstError returns the first error among replies. That a key is of another type is
// none: there is no entry, and storing one replaces it.
func firstError(replies []rueidis.RedisResult) error {
	for i := range replies {
		err := replies[i].Error()
		var reply *rueidis.RedisError
		if err != nil && !(errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "WRONGTYPE")) {
			return err
		}
	}
	return nil
}

// key returns the key in Redis for an entry or a lock. What is in braces chooses the hash
// slot, so that the braces of the key itself do not.
func (t *Tier) key(kind, key string) string {
	const digits = "0123456789abcdef"
	var tag [16]byte
	hash := xxhash.Sum64String(key)
	for i := range tag {
		tag[i] = digits[hash>>(60-4*i)&15]
	}
	return t.options.Namespace + ":" + kind + ":{" + string(tag[:]) + "}" + key
}

// frame returns what is stored for an entry.
func (t *Tier) frame(entry []byte) []byte {
	if above := t.options.CompressAbove; above > 0 && len(entry) > above {
		framed := make([]byte, 1, 1+s2.MaxEncodedLen(len(entry)))
		framed[0] = frameS2
		if compressed := s2.Encode(framed[1:cap(framed)], entry); len(compressed) < len(entry) {
			return framed[:1+len(compressed)]
		}
	}
	framed := make([]byte, 1+len(entry))
	framed[0] = frameRaw
	copy(framed[1:], entry)
	return framed
}

// unframe returns the entry in what is stored, which anybody may have written; nil if
// there is none.
func (t *Tier) unframe(framed []byte) []byte {
	if len(framed) < 2 || len(framed)-1 > t.options.MaxEntryBytes {
		return nil
	}
	switch stored := framed[1:]; framed[0] {
	case frameRaw:
		return stored
	case frameS2:
		if n, err := s2.DecodedLen(stored); err != nil || n == 0 || n > t.options.MaxEntryBytes {
			return nil
		}
		if entry, err := s2.Decode(nil, stored); err == nil {
			return entry
		}
	}
	return nil
}

// milliseconds returns a TTL as Redis takes it, of 1 at least.
func milliseconds(d time.Duration) int64 {
	return max(1, d.Milliseconds())
}
