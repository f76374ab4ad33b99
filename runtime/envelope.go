package cacheruntime

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"math"
	"time"
)

// An entry is what the store keeps under a key: a value, and all that is needed
// to decide whether it may still be served. It is one byte string, so that the
// two can never come apart. Numbers are little endian:
//
//	 0  format version
//	 1  flags
//	 2  index of the negative error
//	 3  0
//	 4  number of slots                      uint32
//	 8  length of the key kept whole         uint32
//	12  soft expiry, Unix time in ns         int64
//	20  hard expiry, Unix time in ns         int64
//	28  duration of the load in ns           int64
//	36  epoch                                uint64
//	44  asOf                                 uint64
//	52  slots, key, payload
//	    checksum: CRC-32C of all bytes before    uint32
//
// The checksum is for stores outside of the process: an entry that was written by
// halves, or changed on the way, is a miss. CRC-32C finds every change of up to
// three bits and all but one in four billion of the others, and processors compute
// it, so that a hit hardly takes longer. It keeps nobody out who means to forge an
// entry.
//
// An asOf that lies in the future of the clock is not refused, although no entry
// of a cache's own can have one. What damage can do to it the checksum finds, a
// table of another life has another epoch, and where processes share a clock, an
// entry of one that is ahead is right: whatever has been invalidated as far as this
// one knows, was so before that load began.
type entry struct {
	flags    uint8
	negative uint8 // index in ReadConfig.Negative, with flagError
	soft     int64 // expiry: from then on a load is wanted; never for no expiry
	hard     int64 // from then on it is of no use; later than soft if stale values are kept
	took     time.Duration
	epoch    uint64
	asOf     uint64 // clock before the load began
	slots    []byte // of the tags it depends on, encoded
	key      []byte // the whole key, if the entry is stored under its digest
	payload  []byte // the encoded value

	seen int64 // not encoded: when the hit test looked at the time; 0 if it need not
}

const (
	entryVersion    = 2
	entryHeaderSize = 52
	entrySumSize    = 4

	flagError = 1 << 0 // a negative error instead of a value
	flagNil   = 1 << 1 // a nil pointer instead of a value
	flagLong  = 1 << 2 // stored under a digest of its key

	never = math.MaxInt64
)

// appendEntry appends an encoded entry to buf.
func appendEntry(buf []byte, e *entry) []byte {
	start := len(buf)
	buf = append(buf, entryVersion, e.flags, e.negative, 0)
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(e.slots)/slotSize))
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(e.key)))
	buf = binary.LittleEndian.AppendUint64(buf, uint64(e.soft))
	buf = binary.LittleEndian.AppendUint64(buf, uint64(e.hard))
	buf = binary.LittleEndian.AppendUint64(buf, uint64(e.took))
	buf = binary.LittleEndian.AppendUint64(buf, e.epoch)
	buf = binary.LittleEndian.AppendUint64(buf, e.asOf)
	buf = append(buf, e.slots...)
	buf = append(buf, e.key...)
	buf = append(buf, e.payload...)
	return binary.LittleEndian.AppendUint32(buf, checksum(buf[start:]))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(data []byte) uint32 { return crc32.Checksum(data, castagnoli) }

func (e *entry) size() int {
	return entryHeaderSize + len(e.slots) + len(e.key) + len(e.payload) + entrySumSize
}

// open sets the entry to what data holds, which it shares. It reports whether
// data is an entry of this version, and undamaged.
func (e *entry) open(data []byte) bool {
	n := len(data) - entrySumSize
	return n >= 0 && binary.LittleEndian.Uint32(data[n:]) == checksum(data[:n]) && e.parse(data)
}

// parse is open without a look at the checksum, for data that has not left the
// process.
func (e *entry) parse(data []byte) bool {
	if len(data) < entryHeaderSize+entrySumSize || data[0] != entryVersion || data[3] != 0 {
		return false
	}
	slots := uint64(binary.LittleEndian.Uint32(data[4:])) * slotSize
	key := uint64(binary.LittleEndian.Uint32(data[8:]))
	if slots+key > uint64(len(data)-entryHeaderSize-entrySumSize) {
		return false
	}
	e.flags = data[1]
	e.negative = data[2]
	e.soft = int64(binary.LittleEndian.Uint64(data[12:]))
	e.hard = int64(binary.LittleEndian.Uint64(data[20:]))
	e.took = time.Duration(binary.LittleEndian.Uint64(data[28:]))
	e.epoch = binary.LittleEndian.Uint64(data[36:])
	e.asOf = binary.LittleEndian.Uint64(data[44:])
	data = data[entryHeaderSize : len(data)-entrySumSize]
	e.slots = data[:slots:slots]
	e.key = data[slots : slots+key : slots+key]
	e.payload = data[slots+key : len(data) : len(data)]
	return true
}

// hitTest tells why the entry must not be kept as current, or "" if it may be. An
// entry that has only expired is one that was not invalidated.
func (e *entry) hitTest(c *Cache) Reason {
	reason, _ := e.hitTestIn(c, c.view())
	return reason
}

// hitTestIn is hitTest in a table. It returns the time as well, if it had to look at it.
func (e *entry) hitTestIn(c *Cache, view *table) (reason Reason, now time.Time) {
	if reason = view.test(e.epoch, e.asOf, e.slots); reason == "" && e.soft != never {
		now = c.now()
		e.seen = now.UnixNano()
		if e.seen >= e.soft {
			reason = ReasonExpired
		}
	}
	return reason, now
}

// serveTest tells why the entry must not be served as current, or "" if it may be. Where
// processes share a log, what is known of it has to be current as well. With D = 0 it
// waits for that. For since see sharedLog.testCurrent.
func (e *entry) serveTest(ctx context.Context, c *Cache, since uint64) Reason {
	l := c.log
	switch {
	case l == nil:
		return e.hitTest(c)
	case l.bound == 0:
		return l.testCurrent(ctx, since, func(view *table) Reason {
			reason, _ := e.hitTestIn(c, view)
			return reason
		})
	}
	// As testCurrent does, but the time is looked at only once.
	view := c.view()
	proven := view.proven.Load()
	reason, now := e.hitTestIn(c, view)
	switch {
	case reason != "":
		return reason
	case now.IsZero() || c.clock != nil:
		now = time.Now()
	}
	if !l.isCurrent(proven, 0, now) {
		return ReasonCutOff
	}
	return ""
}

// staleTest reports whether the value of an entry that has expired may be served
// if there is no better one: it was not invalidated, and is not too old. For since see
// sharedLog.testCurrent.
func (e *entry) staleTest(ctx context.Context, c *Cache, since uint64) bool {
	reason := c.testCurrent(ctx, since, func(view *table) Reason { return view.test(e.epoch, e.asOf, e.slots) })
	return reason == "" && (e.hard == never || c.now().UnixNano() < e.hard)
}

// outcome is that of a call which is answered with the entry.
func (e *entry) outcome() Outcome {
	if e.flags&(flagError|flagNil) != 0 {
		return NegativeHit
	}
	return Hit
}
