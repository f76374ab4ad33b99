package cacheruntime

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	// A word holds a clock in its low bits, and above them the number of marks: of
	// writes that touch it and are in progress or in doubt. A word that has any is
	// larger than every clock.
	clockBits = 48
	clockMask = 1<<clockBits - 1
	oneMark   = 1 << clockBits

	// fullMarks is the largest number of marks that a word can hold. Those beyond
	// it are counted in table.spilled.
	fullMarks = 1<<(64-clockBits) - 1

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

	// full guards every change of a word's marks to and from fullMarks, so that
	// a word and what is spilled of it change together.
	full    sync.Mutex
	spilled map[uint32]uint64 // marks of full words, beyond fullMarks, by index

	// proven is the last proof that the table is current, of one that follows a log; nil
	// for none. It is set when the words are.
	proven atomic.Pointer[proof]
}

func newTable() *table {
	// The clock begins anew with every table: a store that outlives its cache,
	// or serves two, must not pass off entries of another one.
	return &table{epoch: rand.Uint64(), words: make([]atomic.Uint64, tableSize)}
}

// now is the stamp of a load that begins now.
func (t *table) now() uint64 { return t.clock.Load() }

// invalidate makes everything stale that depends on one of the slots and was
// loaded as of before now. The clock moves before the words are set to it: a load
// that takes the new clock as its stamp began after the write that is invalidating.
//
// The words are marked before the clock moves. Otherwise such a load could make
// another cached read, be answered with what a word that is yet to be set makes
// stale, and pass that off under its own, new stamp.
func (t *table) invalidate(slots []uint32) { t.release(nil, slots) }

// mark adds a mark to the word of every slot. What depends on it fails the test
// until the mark is released. The same slots are to be released, each as often as
// it is there.
func (t *table) mark(slots []uint32) {
	for _, slot := range slots {
		t.addMark(slot % tableSize)
	}
}

// invalidateAndMark invalidates, and marks from the first moment.
func (t *table) invalidateAndMark(slots []uint32) {
	t.mark(slots)
	clock := t.clock.Add(1)
	for _, slot := range slots {
		raise(&t.words[slot%tableSize], clock)
	}
}

// release removes a mark from the word of every marked slot, and invalidates
// those slots and the others at the same clock. In one atomic step a word, the new
// clock goes in as the mark goes out: what was loaded under the mark may be
// older than the write, and must not pass the test once the mark is gone. The
// other slots are marked meanwhile, see invalidate, and go first: as long as any
// mark is there nobody is served what the write has changed and then, from another
// word, what it had replaced.
func (t *table) release(marked, others []uint32) {
	t.mark(others)
	clock := t.clock.Add(1)
	for _, slot := range others {
		t.removeMark(slot%tableSize, clock)
	}
	for _, slot := range marked {
		t.removeMark(slot%tableSize, clock)
	}
}

// addMark adds a mark to a word.
func (t *table) addMark(i uint32) {
	word := &t.words[i]
	for {
		old := word.Load()
		if old>>clockBits >= fullMarks-1 {
			break
		}
		if word.CompareAndSwap(old, old+oneMark) {
			return
		}
	}
	t.full.Lock()
	defer t.full.Unlock()
	for {
		old := word.Load()
		next := old
		spill := old>>clockBits == fullMarks
		if !spill {
			next += oneMark
		}
		if !word.CompareAndSwap(old, next) {
			continue
		}
		if spill {
			if t.spilled == nil {
				t.spilled = map[uint32]uint64{}
			}
			t.spilled[i]++
		}
		return
	}
}

// removeMark raises the clock of a word and removes a mark. A word without marks
// keeps none.
func (t *table) removeMark(i uint32, clock uint64) {
	word := &t.words[i]
	for {
		old := word.Load()
		marks := old >> clockBits
		if marks == fullMarks {
			break
		}
		next := raised(old, clock)
		if marks > 0 {
			next -= oneMark
		}
		if word.CompareAndSwap(old, next) {
			return
		}
	}
	t.full.Lock()
	defer t.full.Unlock()
	for {
		old := word.Load()
		next := raised(old, clock)
		spilled := t.spilled[i] > 0
		if !spilled {
			next -= oneMark // others may have left the word less than full, but not without this mark
		}
		if !word.CompareAndSwap(old, next) {
			continue
		}
		if spilled {
			if t.spilled[i]--; t.spilled[i] == 0 {
				delete(t.spilled, i)
			}
		}
		return
	}
}

// distinct sorts slots and removes those that are there twice.
func distinct(slots []uint32) []uint32 {
	slices.Sort(slots)
	return slices.Compact(slots)
}

// clear makes everything stale that was loaded as of before now, in the same way
// as invalidate.
func (t *table) clear() {
	t.markAll()
	t.releaseAll()
}

// markAll adds a mark on everything. There is no room for more than fullMarks, which
// is as many as there are transactions being committed, or in doubt, that have
// cleared the cache.
func (t *table) markAll() { t.cleared.Add(oneMark) }

// releaseAll removes a mark from everything, and clears.
func (t *table) releaseAll() { t.unmarkAll(t.clock.Add(1)) }

// unmarkAll removes a mark from everything, and clears as of that clock.
func (t *table) unmarkAll(clock uint64) {
	for {
		old := t.cleared.Load()
		if t.cleared.CompareAndSwap(old, raised(old, clock)-oneMark) {
			return
		}
	}
}

// unmark removes marks, and invalidates what they are on as of that clock.
func (t *table) unmark(m marks, clock uint64) {
	for _, slot := range m.slots {
		t.removeMark(slot%tableSize, clock)
	}
	if m.all {
		t.unmarkAll(clock)
	}
}

// remark replaces some marks by others, of which what both have keeps its marks.
// What the marks were on is as it was, but for them.
func (t *table) remark(old, next marks) {
	t.mark(without(next.slots, old.slots))
	if next.all && !old.all {
		t.markAll()
	}
	t.unmark(marks{slots: without(old.slots, next.slots), all: old.all && !next.all}, 0)
}

// without returns those slots that are not among others. Both are distinct and sorted.
func without(slots, others []uint32) (rest []uint32) {
	for _, slot := range slots {
		for len(others) > 0 && others[0] < slot {
			others = others[1:]
		}
		if len(others) == 0 || others[0] != slot {
			rest = append(rest, slot)
		}
	}
	return rest
}

// raise lifts the clock of a word, never lowers it, and keeps its marks.
func raise(word *atomic.Uint64, clock uint64) {
	for {
		old := word.Load()
		next := raised(old, clock)
		if next == old || word.CompareAndSwap(old, next) {
			return
		}
	}
}

// raised is a word with its clock lifted.
func raised(word, clock uint64) uint64 {
	return word&^clockMask | max(word&clockMask, clock)
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
	asOf &= clockMask // a marked word is larger, whatever a damaged entry says
	if epoch != t.epoch || t.cleared.Load() > asOf {
		return ReasonCleared
	}
	for ; len(slots) >= slotSize; slots = slots[slotSize:] {
		slot := binary.LittleEndian.Uint32(slots)
		if word := t.words[slot%tableSize].Load(); word > asOf {
			if word >= oneMark {
				return ReasonMarked
			}
			return ReasonInvalidated
		}
	}
	return ""
}
