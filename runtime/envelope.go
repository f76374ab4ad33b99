package cacheruntime

import (
	"encoding/binary"
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
type entry struct {
	flags    uint8
	negative uint8 // index in ReadConfig.Negative, with flagError
	soft     int64 // from then on a load is wanted; equal to hard unless stale values are kept
	hard     int64 // from then on it is not served; never for no expiry
	took     time.Duration
	epoch    uint64
	asOf     uint64 // clock before the load began
	slots    []byte // of the tags it depends on, encoded
	key      []byte // the whole key, if the entry is stored under its digest
	payload  []byte // the encoded value
}

const (
	entryVersion    = 1
	entryHeaderSize = 52

	flagError = 1 << 0 // a negative error instead of a value
	flagNil   = 1 << 1 // a nil pointer instead of a value
	flagLong  = 1 << 2 // stored under a digest of its key

	never = math.MaxInt64
)

func appendEntry(buf []byte, e *entry) []byte {
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
	return append(buf, e.payload...)
}

func (e *entry) size() int {
	return entryHeaderSize + len(e.slots) + len(e.key) + len(e.payload)
}

// parse sets the entry to what data holds, which it shares. It reports whether
// data is an entry of this version.
func (e *entry) parse(data []byte) bool {
	if len(data) < entryHeaderSize || data[0] != entryVersion || data[3] != 0 {
		return false
	}
	slots := uint64(binary.LittleEndian.Uint32(data[4:])) * slotSize
	key := uint64(binary.LittleEndian.Uint32(data[8:]))
	if slots+key > uint64(len(data)-entryHeaderSize) {
		return false
	}
	e.flags = data[1]
	e.negative = data[2]
	e.soft = int64(binary.LittleEndian.Uint64(data[12:]))
	e.hard = int64(binary.LittleEndian.Uint64(data[20:]))
	e.took = time.Duration(binary.LittleEndian.Uint64(data[28:]))
	e.epoch = binary.LittleEndian.Uint64(data[36:])
	e.asOf = binary.LittleEndian.Uint64(data[44:])
	data = data[entryHeaderSize:]
	e.slots = data[:slots:slots]
	e.key = data[slots : slots+key : slots+key]
	e.payload = data[slots+key:]
	return true
}

// hitTest tells why the entry must not be served, or "" if it may be.
func (e *entry) hitTest(t *table) Reason {
	if e.hard != never && time.Now().UnixNano() >= e.hard {
		return ReasonExpired
	}
	return t.test(e.epoch, e.asOf, e.slots)
}

// outcome is that of a call which is answered with the entry.
func (e *entry) outcome() Outcome {
	if e.flags&(flagError|flagNil) != 0 {
		return NegativeHit
	}
	return Hit
}
