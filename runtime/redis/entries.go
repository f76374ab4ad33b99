package redis

import (
	"context"
	"errors"
	"fmt"
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

// Get returns entries; see [cacheruntime.Shared]. All are asked for at once. It waits for
// no longer than [Options.Timeout], and returns [ErrLeftAlone] at once after repeated
// failures.
func (t *Tier) Get(ctx context.Context, keys []string) ([][]byte, error) {
	entries := make([][]byte, len(keys))
	if len(keys) == 0 {
		return entries, nil
	}
	replies, err := forEntries(ctx, t, "reading entries", func(ctx context.Context) ([]rueidis.RedisResult, error) {
		gets := make([]rueidis.Completed, len(keys))
		for i, key := range keys {
			// One byte more than there can be shows that there is too much.
			gets[i] = t.client.B().Getrange().Key(t.key("entry", key)).Start(0).End(int64(t.options.MaxEntryBytes) + 1).Build()
		}
		replies := t.client.DoMulti(ctx, gets...)
		return replies, firstError(replies)
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
	var sets []rueidis.Completed
	for _, e := range entries {
		if len(e.Entry) > t.options.MaxEntryBytes || e.TTL <= 0 {
			continue
		}
		sets = append(sets, t.client.B().Set().Key(t.key("entry", e.Key)).Value(rueidis.BinaryString(t.frame(e.Entry))).
			PxMilliseconds(milliseconds(min(e.TTL, t.options.MaxTTL))).Build())
	}
	if len(sets) == 0 {
		return nil
	}
	_, err := forEntries(ctx, t, "storing entries", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, firstError(t.client.DoMulti(ctx, sets...))
	})
	return err
}

// Lock takes a lock; see [cacheruntime.Shared]. It is left alone together with entries.
func (t *Tier) Lock(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	if ttl <= 0 {
		return false, fmt.Errorf("redis: a lock for %v", ttl)
	}
	return forEntries(ctx, t, "taking a lock", func(ctx context.Context) (bool, error) {
		err := t.client.Do(ctx, t.client.B().Set().Key(t.key("lock", key)).Value(token).Nx().
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
	_, err := forEntries(ctx, t, "giving a lock back", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, unlock.Exec(ctx, t.client, []string{t.key("lock", key)}, []string{token}).Error()
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
	value, err := call(ctx, t, t.options.Timeout, func(ctx context.Context) (T, error) {
		select {
		case t.entries <- struct{}{}:
		case <-ctx.Done():
			return none, ctx.Err()
		}
		defer func() { <-t.entries }()
		if t.breaker.State() == gobreaker.StateOpen {
			return none, ErrLeftAlone // by now: those that were waited for have failed
		}
		return f(ctx)
	})
	report(err)
	if err == ErrLeftAlone {
		return none, err
	}
	if err != nil {
		err = t.explain(doing, err)
	}
	return value, err
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
