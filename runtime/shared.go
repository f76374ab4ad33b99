package cacheruntime

import (
	"context"
	"errors"
	"time"
)

// A Shared is what the caches of several processes share: a log of invalidations,
// which they follow, and entries. The package runtime/redis has one on Redis and
// Valkey, runtime/cachetest one for tests; [WithShared] makes a cache use it.
//
// The log has an epoch, and in it positions that are numbered 1, 2, 3, … with a
// record at each. With the log goes the state that its records add up to: for every
// slot of a table of [SharedTableSize] the number of the last record that invalidated
// it, the number of the last one that invalidated everything, and the marks that are
// outstanding. Log and state change together. If they do not fit each other, or are
// not there, or may be older than what was read before (a restart, a failover), the
// log begins a new epoch: of none of the entries of the one before it is known whether
// they are current.
//
// Its methods are called concurrently, and must come back within a time of their own
// if the context has no deadline. Nothing that they return is trusted: a cache
// checks that records follow each other, and entries as those of any [Store].
//
// If it has a method Claim() error as well, [New] calls that before any other, and fails
// if it does. A Shared is closed by its cache, so it can use this to belong to one only.
type Shared interface {
	// Append appends a record in one step with the change of the state, at the
	// position after the head. If there is no log, or it does not fit its state, a new
	// epoch begins first. It assigns Number and Previous. The reply tells what
	// the log then has after from, its last record the appended one. If the record's
	// condition does not hold nothing is appended, and LogReply.Appended is false. From may
	// be zero, which is in no log: then the reply has no records.
	//
	// An error does not mean that nothing was appended.
	Append(ctx context.Context, from LogPosition, record LogRecord) (LogReply, error)

	// Prove tells what the log has after from. It must be answered by what processes
	// append to, never by a replica: a reply proves what was in the log at some time
	// after Prove was called. If there is no log, or it does not fit its state, the
	// reply is zero. If there are records after a known position, it has one at least.
	// From may be zero, as in Append.
	Prove(ctx context.Context, from LogPosition) (LogReply, error)

	// Snapshot returns the state as of one position. If the epoch is condemned, or
	// there is none, a new one begins first, with the marks of the old as far as they
	// are there. No epoch is condemned if condemned is 0.
	Snapshot(ctx context.Context, condemned uint64) (LogSnapshot, error)

	// Wait returns when there may be records after from, when the context ends, or
	// when it likes. It only wakes up: what it returns proves nothing.
	Wait(ctx context.Context, from LogPosition) error

	// Get returns the entries of keys, nil for one that is not there. Those that it
	// could not look up count as not there if it returns an error.
	Get(ctx context.Context, keys []string) ([][]byte, error)

	// Set keeps entries. It may refuse any of them, if it is too large for example,
	// which is no error.
	Set(ctx context.Context, entries []SharedEntry) error

	// Lock takes the lock of a key, if nobody has it, for ttl at most. The token
	// tells who has it.
	Lock(ctx context.Context, key, token string, ttl time.Duration) (bool, error)

	// Unlock gives the lock of a key back, if it is that of the token.
	Unlock(ctx context.Context, key, token string) error

	// Close is called once, by Cache.Close, when no other method is running.
	Close() error
}

// SharedTableSize is the number of slots of the table that goes with a log. Slots
// are numbers below it.
const SharedTableSize = tableSize

// What a cache appends is bounded, so that a Shared can bound what it takes and trusts.
const (
	// MaxLogSlots is how many slots a record or a mark names at most. One of more is of
	// everything. A record that invalidates more, with the marks that it ends, may be one
	// of everything in the state.
	MaxLogSlots = 1 << 11
	// MaxLogReleases is how many marks a record ends at most. Those beyond end with their
	// leases.
	MaxLogReleases = 1 << 8
	// MaxLogNumber is the last number of a position.
	MaxLogNumber = clockMask
)

// A LogPosition is a place in a log: the record of that number. The zero LogPosition is none.
type LogPosition struct {
	Epoch  uint64 // not 0
	Number uint64 // from 1 to MaxLogNumber
	ID     LogID  // of the record
}

// A LogID identifies a record or a mark, or is zero for none. It is random: no two are
// the same, whoever makes them.
type LogID [16]byte

// A LogRecord is one step of invalidation.
type LogRecord struct {
	Number   uint64 // its position
	ID       LogID
	Previous LogID // of the record before it; zero for the first of an epoch

	Slots   []uint32     // invalidated: distinct and sorted, up to MaxLogSlots
	All     bool         // everything is invalidated
	Mark    LogMark      // a mark that begins, or is renewed; none if its ID is zero
	Release []LogRelease // marks that end, up to MaxLogReleases. What was marked is invalidated

	// OnlyIf is a condition on which the record is appended. In the log it is Always.
	OnlyIf LogCondition
}

// A LogMark says that a write is in progress or in doubt. Until it is released,
// nothing that depends on what it marks may be served.
type LogMark struct {
	ID         LogID
	Generation uint64        // counts renewals
	Slots      []uint32      // distinct and sorted, up to MaxLogSlots
	All        bool          // it marks everything
	Lease      time.Duration // positive; whoever notices that it is over appends the release
}

// A LogRelease is the end of a mark.
type LogRelease struct {
	ID         LogID
	Generation uint64 // for the condition IfOutstanding
}

// A LogCondition is one on which a record is appended.
type LogCondition uint8

// The conditions.
const (
	Always        LogCondition = iota
	IfOutstanding              // its only Release is of a mark that is outstanding in that generation
	IfAbsent                   // its Mark is not outstanding
)

// A LogReply is what a log tells of itself.
type LogReply struct {
	Head     LogPosition // the last record: of Append, the one that it has appended
	Known    bool        // from is in the log, in the same epoch and under the same ID
	Records  []LogRecord // if it is: those after it, without a gap; maybe not all of them
	Appended bool        // of Append
}

// A LogSnapshot is the state that a log adds up to.
type LogSnapshot struct {
	At      LogPosition
	Words   []uint64  // by slot, the number of the last record that invalidated it; shorter if the rest is 0
	Cleared uint64    // the same for everything
	Marks   []LogMark // outstanding

	// Server names the server that has answered, in its role: one that was restarted or
	// promoted has another name. A cache that comes to another epoch under another name, or
	// under an empty one, appends once that everything is stale, as the server before may
	// have taken invalidations that this one has never seen.
	Server string
}

// A SharedEntry is an entry to be kept.
type SharedEntry struct {
	Key   string
	Entry []byte
	TTL   time.Duration // after which it is of no use; Forever for never
}

// ErrMalformed is what a Shared returns, wrapped, if what it has found in its log is
// none of its own: it was overwritten, cut or forged. The cache then begins a new
// epoch.
var ErrMalformed = errors.New("malformed")

// ErrUndelivered is the error, wrapped, of an invalidation that has not reached the
// log that processes share. It has taken effect in this process; for the others it is
// tried again until it is delivered or the cache is closed. [Cache.Invalidate] and
// [Cache.Clear] return it. A write through a wrapper and [Tx.Commit] do not, as the data has
// been changed: there it is logged, and told to observers by an [Event] with the outcome
// [Undelivered]. [Cache.Close] returns it if some are left.
var ErrUndelivered = errors.New("cacheruntime: an invalidation has not been delivered to other processes yet")

// ErrRefused is the error, wrapped, of a write that was not begun: with
// [WithGuardedWrites] it has to be marked in the log that processes share, and could
// not be.
var ErrRefused = errors.New("cacheruntime: a guarded write was refused, as it could not be marked for other processes")
