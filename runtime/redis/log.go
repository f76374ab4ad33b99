package redis

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

const (
	// waitFor is how long Wait waits for records: less than what proxies and
	// firewalls take for an idle connection.
	waitFor = 2 * time.Second
	// lateness is how much longer than that Wait waits at least, whatever LogTimeout is:
	// servers look every 100 ms for whom they have kept waiting for long enough, and busy
	// ones less often.
	lateness = time.Second
	// snapshotTimeouts is how many times LogTimeout a snapshot gets.
	snapshotTimeouts = 10
	// snapshotAttempts is how often it is tried, as others append meanwhile.
	snapshotAttempts = 20
)

// Append appends a record; see [cacheruntime.Shared]. If log, table and marks do not fit
// each other a new epoch begins first. A record or mark of more than 2048 slots becomes
// one of everything, as seen by the other processes; so does a mark with which all that are
// outstanding would have more than 262,144. If a record and the marks that it ends have
// more than 2048 slots, everything is invalidated for whoever reads the table later.
//
// It costs one round trip.
func (t *Tier) Append(ctx context.Context, from cacheruntime.LogPosition, record cacheruntime.LogRecord) (cacheruntime.LogReply, error) {
	if err := checkCondition(record); err != nil {
		return cacheruntime.LogReply{}, err
	}
	body, err := encodeBody(record)
	if err != nil {
		return cacheruntime.LogReply{}, err
	}
	c, err := t.connected(ctx, t.options.LogTimeout)
	if err != nil {
		return cacheruntime.LogReply{}, err
	}
	return t.reply(ctx, c, "appending to the log", t.scripts.append, from, append(candidate(),
		rueidis.BinaryString(appendPosition(nil, from)), strconv.Itoa(int(record.OnlyIf)),
		strconv.Itoa(t.options.LogLength), rueidis.BinaryString(body)))
}

func checkCondition(record cacheruntime.LogRecord) error {
	switch record.OnlyIf {
	case cacheruntime.Always:
		return nil
	case cacheruntime.IfOutstanding:
		if len(record.Release) == 1 {
			return nil
		}
	case cacheruntime.IfAbsent:
		if record.Mark.ID != (cacheruntime.LogID{}) {
			return nil
		}
	}
	return fmt.Errorf("redis: a record with condition %d, %d releases and mark %x", record.OnlyIf, len(record.Release), record.Mark.ID)
}

// Prove tells what the log has after from; see [cacheruntime.Shared]. It writes nothing:
// if log, table and marks do not fit each other, or are not there, the reply is zero.
//
// It costs one round trip.
func (t *Tier) Prove(ctx context.Context, from cacheruntime.LogPosition) (cacheruntime.LogReply, error) {
	c, err := t.connected(ctx, t.options.LogTimeout)
	if err != nil {
		return cacheruntime.LogReply{}, err
	}
	return t.prove(ctx, c, from)
}

func (t *Tier) prove(ctx context.Context, c *clients, from cacheruntime.LogPosition) (cacheruntime.LogReply, error) {
	return t.reply(ctx, c, "proving the log", t.scripts.prove, from,
		[]string{"", "", rueidis.BinaryString(appendPosition(nil, from))})
}

// Snapshot returns the state of the log; see [cacheruntime.Shared]. Marks that cannot be
// read are dropped, with a new epoch: at once, or once this one is condemned for them. If
// there are more than there can be, one of everything takes their place.
//
// It costs one round trip in which up to 8 MiB are sent, and on a cluster the making of a
// connection.
func (t *Tier) Snapshot(ctx context.Context, condemned uint64) (cacheruntime.LogSnapshot, error) {
	c, err := t.connected(ctx, t.options.LogTimeout)
	if err != nil {
		return cacheruntime.LogSnapshot{}, err
	}
	snapshot, err := call(ctx, t, snapshotTimeouts*t.options.LogTimeout, func(ctx context.Context) (cacheruntime.LogSnapshot, error) {
		for range snapshotAttempts {
			snapshot, ok, err := t.trySnapshot(ctx, c, condemned)
			if ok || err != nil {
				return snapshot, err
			}
		}
		return cacheruntime.LogSnapshot{}, fmt.Errorf("it changed during each of %d attempts", snapshotAttempts)
	})
	if err != nil {
		err = t.explain("taking a snapshot of the log", err)
	}
	return snapshot, err
}

// trySnapshot takes a snapshot, unless a record gets between the commands that it takes.
// Redis carries them out together if it receives them together, as it mostly does. A
// transaction would see to it, but is refused when the memory limit is reached.
func (t *Tier) trySnapshot(ctx context.Context, c *clients, condemned uint64) (snapshot cacheruntime.LogSnapshot, ok bool, err error) {
	do, b := c.log.DoMulti, c.log.B()
	if c.log.Mode() == rueidis.ClientModeCluster {
		// rueidis 1.0.79 panics where a node redirects several commands (ASK), one of which is
		// a blocking one. This follows no redirect: it fails, and the next snapshot is asked of
		// the right node. It is closed, as giving it back takes commands that may not be allowed, and
		// panics where the server refuses a PING.
		own, _ := c.log.Dedicate()
		defer own.Close()
		do = own.DoMulti
	}
	replies := do(ctx,
		// As a blocking command it gets a connection of its own, so that nothing else waits
		// behind the many bytes to come.
		b.Arbitrary("EVAL", t.scripts.snapshot, strconv.Itoa(len(t.keys))).Keys(t.keys...).
			Args(append(candidate(), string(little.AppendUint64(nil, condemned)))...).Blocking(),
		// Not marked as the read-only command that it is: it is not for replicas.
		b.Arbitrary("GETRANGE").Keys(t.keys[1]).Args("0", strconv.Itoa(headerSize+8*cacheruntime.SharedTableSize)).Build())
	state, err1 := replies[0].ToArray()
	table, err2 := replies[1].ToString()
	if err := cmp.Or(err1, err2); err != nil {
		return snapshot, false, err
	}
	return decodeSnapshot(state, table)
}

// Wait waits for records after from, for two seconds at most; see [cacheruntime.Shared].
func (t *Tier) Wait(ctx context.Context, from cacheruntime.LogPosition) error {
	c, err := t.connected(ctx, t.options.LogTimeout)
	if err != nil {
		return err
	}
	_, err = call(ctx, t, waitFor+max(t.options.LogTimeout, lateness), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.log.Do(ctx, c.log.B().Xread().Count(1).Block(waitFor.Milliseconds()).Streams().
			Key(t.keys[0]).Id(strconv.FormatUint(from.Number, 10)+"-0").Build().UnblockOnCancel()).Error()
	})
	if err == nil || rueidis.IsRedisNil(err) {
		return nil
	}
	return t.explain("waiting for records", err)
}

// candidate returns the first arguments of a script that may have to begin an epoch: its
// number and the ID of its first record.
func candidate() []string {
	var b [8 + idSize]byte
	rand.Read(b[:]) // never fails
	b[0] |= 1       // 0 is no epoch
	return []string{string(b[:8]), string(b[8:])}
}

// reply runs a script that tells what is new.
func (t *Tier) reply(ctx context.Context, c *clients, doing string, script *rueidis.Lua, from cacheruntime.LogPosition, args []string) (cacheruntime.LogReply, error) {
	reply, err := call(ctx, t, t.options.LogTimeout, func(ctx context.Context) ([]rueidis.RedisMessage, error) {
		return script.Exec(ctx, c.log, t.keys, args).ToArray()
	})
	if rueidis.IsRedisNil(err) {
		return cacheruntime.LogReply{}, nil
	}
	if err != nil {
		return cacheruntime.LogReply{}, t.explain(doing, err)
	}
	r, err := decodeReply(reply, from)
	if err != nil {
		return cacheruntime.LogReply{}, t.explain(doing, err)
	}
	return r, nil
}

// decodeReply decodes what the function reply of the scripts returns.
func decodeReply(reply []rueidis.RedisMessage, from cacheruntime.LogPosition) (cacheruntime.LogReply, error) {
	var none cacheruntime.LogReply
	if len(reply) != 6 {
		return none, malformed("a reply")
	}
	head, err := decodePosition(reply)
	if err != nil {
		return none, err
	}
	known, err1 := reply[3].ToInt64()
	appended, err2 := reply[4].ToInt64()
	records, err3 := reply[5].ToArray()
	if err1 != nil || err2 != nil || err3 != nil {
		return none, malformed("a reply")
	}
	r := cacheruntime.LogReply{Head: head, Known: known == 1, Appended: appended == 1}
	if len(records) > 0 {
		r.Records = make([]cacheruntime.LogRecord, 0, len(records))
	}
	previous, number := from.ID, from.Number
	for _, message := range records {
		s, err := message.ToString()
		if err != nil {
			return none, malformed("a record")
		}
		record, err := decodeRecord(s)
		if err != nil {
			return none, err
		}
		if record.Number != number+1 || record.Previous != previous {
			return none, malformed(fmt.Sprintf("record %d", number+1))
		}
		previous, number = record.ID, record.Number
		r.Records = append(r.Records, record)
	}
	return r, nil
}

// decodeSnapshot decodes what the script snapshot returns, and the table, if it is of the
// same position.
func decodeSnapshot(reply []rueidis.RedisMessage, table string) (snapshot cacheruntime.LogSnapshot, ok bool, err error) {
	var none cacheruntime.LogSnapshot
	if len(reply) != 5 {
		return none, false, malformed("a snapshot")
	}
	at, err := decodePosition(reply)
	if err != nil {
		return none, false, err
	}
	if len(table) < headerSize || table[positionOffset:positionOffset+positionSize] != string(appendPosition(nil, at)) {
		return none, false, nil
	}
	cleared, err1 := decodeUint64(&reply[3])
	marks, err2 := reply[4].AsStrSlice()
	if err1 != nil || err2 != nil || cleared > at.Number || len(marks)%2 != 0 {
		return none, false, malformed("a snapshot")
	}
	s := cacheruntime.LogSnapshot{At: at, Cleared: cleared, Server: table[serverOffset:headerSize]}
	if s.Words, err = decodeWords(table[headerSize:], at.Number); err != nil {
		return none, false, err
	}
	for i := 0; i < len(marks); i += 2 {
		mark, err := decodeMark(marks[i], marks[i+1])
		if err != nil {
			return none, false, err
		}
		s.Marks = append(s.Marks, mark)
	}
	return s, true, nil
}

// decodePosition decodes the first three elements of a reply.
func decodePosition(reply []rueidis.RedisMessage) (cacheruntime.LogPosition, error) {
	epoch, err1 := decodeUint64(&reply[0])
	number, err2 := decodeUint64(&reply[1])
	id, err3 := reply[2].ToString()
	if err1 != nil || err2 != nil || err3 != nil || epoch == 0 || number == 0 || number > maxNumber || len(id) != idSize {
		return cacheruntime.LogPosition{}, malformed("a position")
	}
	return cacheruntime.LogPosition{Epoch: epoch, Number: number, ID: cacheruntime.LogID([]byte(id))}, nil
}

func decodeUint64(m *rueidis.RedisMessage) (uint64, error) {
	s, err := m.ToString()
	if err != nil {
		return 0, err
	}
	if len(s) != 8 {
		return 0, malformed("a number")
	}
	return binary.LittleEndian.Uint64([]byte(s)), nil
}
