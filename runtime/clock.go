package cacheruntime

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
)

const (
	// A word holds a clock in its low bits. The bits above are kept for the number
	// of writes in progress that touch it: a word that is marked by any is larger
	// than every clock. Nothing marks words yet.
	clockBits = 48
	clockMask = 1<<clockBits - 1

	// tableSize is the number of words: 8 MiB of addresses, of which the
	// operating system backs the pages that are touched.
	tableSize = 1 << 20
)

// A table is the clock, and for every tag the time of its last invalidation.
type table struct {
	epoch   uint64 // tables of different epochs cannot be compared
	clock   atomic.Uint64
	cleared atomic.Uint64 // the word that every entry depends on
	words   []atomic.Uint64
}

func newTable() *table {
	// The clock begins anew with every table: a store that outlives its cache,
	// or serves two, must not pass off entries of another one.
	return &table{epoch: rand.Uint64(), words: make([]atomic.Uint64, tableSize)}
}

// now is the stamp of a load that begins now.
func (t *table) now() uint64 { return t.clock.Load() }

// invalidate makes everything stale that depends on one of the slots and was
// loaded as of before now. The clock moves before the words do: a load that
// takes the new clock as its stamp began after the write that is invalidating.
func (t *table) invalidate(slots []uint32) {
	clock := t.clock.Add(1)
	for _, slot := range slots {
		raise(&t.words[slot%tableSize], clock)
	}
}

// clear makes everything stale that was loaded as of before now.
func (t *table) clear() {
	raise(&t.cleared, t.clock.Add(1))
}

// raise lifts the clock of a word, never lowers it, and keeps its marks.
func raise(word *atomic.Uint64, clock uint64) {
	for {
		old := word.Load()
		if old&clockMask >= clock {
			return
		}
		if word.CompareAndSwap(old, old&^clockMask|clock) {
			return
		}
	}
}

// slotSize is the size of an encoded slot in bytes.
const slotSize = 4

func appendSlots(buf []byte, slots []uint32) []byte {
	for _, slot := range slots {
		buf = binary.LittleEndian.AppendUint32(buf, slot)
	}
	return buf
}

// test tells why something that was loaded as of then and depends on the encoded
// slots is stale, or "" if it is not.
func (t *table) test(epoch, asOf uint64, slots []byte) Reason {
	if epoch != t.epoch || t.cleared.Load() > asOf {
		return ReasonCleared
	}
	for ; len(slots) >= slotSize; slots = slots[slotSize:] {
		slot := binary.LittleEndian.Uint32(slots)
		if t.words[slot%tableSize].Load() > asOf {
			return ReasonInvalidated
		}
	}
	return ""
}
