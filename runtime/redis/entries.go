package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/s2"
	"github.com/redis/rueidis"
	"github.com/sony/gobreaker/v2"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// The first byte of what is stored for an entry.
const (
	frameRaw = 0
	frameS2  = 1
)

// Get returns entries; see [cacheruntime.Shared]. They are asked for 64 at a time. It waits
// for no longer than [Options.Timeout], and returns [ErrLeftAlone] at once after repeated
// failures.
func (t *Tier) Get(ctx context.Context, keys []string) ([][]byte, error) {
	entries := make([][]byte, len(keys))
	if len(keys) == 0 {
		return entries, nil
	}
	c, err := t.connected(ctx, t.options.Timeout)
	if err != nil {
		return entries, err
	}
	replies, err := forEntries(ctx, t, "reading entries", func(ctx context.Context) ([]rueidis.RedisResult, error) {
		gets := make([]rueidis.Completed, len(keys))
		for i, key := range keys {
			// One byte more than there can be shows that there is too much.
			gets[i] = c.entries.B().Getrange().Key(t.key("entry", key)).Start(0).End(int64(t.options.MaxEntryBytes) + 1).Build()
		}
		return t.send(ctx, c, gets)
	})
	for i := range replies {
		if framed, err := replies[i].AsBytes(); err == nil {
			entries[i] = t.unframe(framed)
		}
	}
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
	_, err = forEntries(ctx, t, "storing entries", func(ctx context.Context) (struct{}, error) {
		_, err := t.send(ctx, c, sets)
		return struct{}{}, err
	})
	return err
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
	return forEntries(ctx, t, "taking a lock", func(ctx context.Context) (bool, error) {
		if err := t.admit(ctx, 1); err != nil {
			return false, err
		}
		defer t.entries.Release(1)
		err := c.entries.Do(context.WithoutCancel(ctx), c.entries.B().Set().Key(t.key("lock", key)).Value(token).Nx().
			PxMilliseconds(milliseconds(ttl)).Build()).Error()
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
	_, err = forEntries(ctx, t, "giving a lock back", func(ctx context.Context) (struct{}, error) {
		if err := t.admit(ctx, 1); err != nil {
			return struct{}{}, err
		}
		defer t.entries.Release(1)
		return struct{}{}, unlock.Exec(context.WithoutCancel(ctx), c.entries, []string{t.key("lock", key)}, []string{token}).Error()
	})
	return err
}

// forEntries makes a call for entries or their locks, if those are not left alone.
func forEntries[T any](ctx context.Context, t *Tier, doing string, f func(context.Context) (T, error)) (T, error) {
	var none T
	report, err := t.breaker.Allow()
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
// their number back to t.entries when they are answered, even if nobody waits for that any
// more: until then they stand in the client's queue. So the client must not learn that
// the caller has left.
func (t *Tier) admit(ctx context.Context, commands int64) error {
	if err := t.entries.Acquire(ctx, commands); err != nil {
		return err
	}
	if t.breaker.State() == gobreaker.StateOpen {
		t.entries.Release(commands)
		return ErrLeftAlone // by now: those that were waited for have failed
	}
	return nil
}

// send sends commands for entries, one chunk after the other until nobody waits for them
// any more. It returns as many replies as it has got, and the first error.
func (t *Tier) send(ctx context.Context, c *clients, commands []rueidis.Completed) (replies []rueidis.RedisResult, first error) {
	for some := range slices.Chunk(commands, chunk) {
		if err := t.admit(ctx, int64(len(some))); err != nil {
			return replies, err
		}
		got := c.entries.DoMulti(context.WithoutCancel(ctx), some...) // see admit
		t.entries.Release(int64(len(some)))
		replies = append(replies, got...)
		first = cmp.Or(first, firstError(got))
	}
	return replies, first
}

// firstError returns the first error among replies. That a key is of another type is
// none: there is no entry, and storing one replaces it.
func firstError(replies []rueidis.RedisResult) error {
	for i := range replies {
		err := replies[i].Error()
		var refused *rueidis.RedisError
		if err != nil && !(errors.As(err, &refused) && strings.HasPrefix(refused.Error(), "WRONGTYPE")) {
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
