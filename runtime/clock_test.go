package cacheruntime

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestRaise(t *testing.T) {
	const marks = 3 << clockBits
	var word atomic.Uint64
	for _, test := range []struct{ old, clock, want uint64 }{
		{0, 5, 5},
		{5, 4, 5},
		{5, 5, 5},
		{marks | 5, 4, marks | 5},
		{marks | 5, 6, marks | 6},
		{marks, clockMask, marks | clockMask},
	} {
		word.Store(test.old)
		raise(&word, test.clock)
		if got := word.Load(); got != test.want {
			t.Errorf("%#x raised to %#x is %#x, want %#x", test.old, test.clock, got, test.want)
		}
	}
}

func TestRaiseConcurrently(t *testing.T) {
	var word atomic.Uint64
	const marks = 1 << clockBits
	word.Store(marks)
	var wg sync.WaitGroup
	for offset := range uint64(4) {
		wg.Go(func() {
			for i := range uint64(1000) {
				raise(&word, i*4+offset)
			}
		})
	}
	wg.Wait()
	if got := word.Load(); got != marks|3999 {
		t.Errorf("word is %#x", got)
	}
}

func TestTableTest(t *testing.T) {
	table := newTable()
	slots := appendSlots(nil, []uint32{7, tableSize + 8})
	asOf := table.now()
	if reason := table.test(table.epoch, asOf, slots); reason != "" {
		t.Errorf("before anything: %s", reason)
	}
	table.invalidate([]uint32{9})
	if reason := table.test(table.epoch, asOf, slots); reason != "" {
		t.Errorf("after another slot: %s", reason)
	}
	table.invalidate([]uint32{1, 8})
	if reason := table.test(table.epoch, asOf, slots); reason != ReasonInvalidated {
		t.Errorf("after one of the slots: %q", reason)
	}
	asOf = table.now()
	if reason := table.test(table.epoch, asOf, slots); reason != "" {
		t.Errorf("loaded since: %s", reason)
	}
	if reason := table.test(table.epoch+1, asOf, slots); reason != ReasonCleared {
		t.Errorf("of another epoch: %q", reason)
	}
	table.clear()
	if reason := table.test(table.epoch, asOf, nil); reason != ReasonCleared {
		t.Errorf("after clear: %q", reason)
	}
	asOf = table.now()
	table.words[7].Add(1 << clockBits)
	if reason := table.test(table.epoch, asOf, slots); reason != ReasonMarked {
		t.Errorf("marked: %q", reason)
	}
}

// marksOf returns the number of marks of a word, and its clock.
func marksOf(t *table, i uint32) (marks, clock uint64) {
	t.full.Lock()
	defer t.full.Unlock()
	word := t.words[i].Load()
	return word>>clockBits + t.spilled[i], word & clockMask
}

func expectMarks(t *testing.T, table *table, i uint32, marks, clock uint64) {
	t.Helper()
	if m, c := marksOf(table, i); m != marks || c != clock {
		t.Errorf("word %d has %d marks and clock %d, want %d and %d", i, m, c, marks, clock)
	}
}

func TestMarks(t *testing.T) {
	table := newTable()
	slots := []uint32{7, 8, tableSize + 8} // two in one word
	table.mark(slots)
	expectMarks(t, table, 7, 1, 0)
	expectMarks(t, table, 8, 2, 0)
	table.invalidateAndMark(slots)
	expectMarks(t, table, 8, 4, 1)
	for _, asOf := range []uint64{0, 1, clockMask, 1<<64 - 1} {
		if reason := table.test(table.epoch, asOf, appendSlots(nil, []uint32{8})); reason != ReasonMarked {
			t.Errorf("marked, as of %#x: %q", asOf, reason)
		}
	}
	table.release(slots, []uint32{9})
	expectMarks(t, table, 7, 1, 2)
	expectMarks(t, table, 8, 2, 2)
	expectMarks(t, table, 9, 0, 2)
	table.release(slots, nil)
	expectMarks(t, table, 8, 0, 3)
	if reason := table.test(table.epoch, 2, appendSlots(nil, slots)); reason != ReasonInvalidated {
		t.Errorf("loaded under the mark: %q", reason)
	}
	if reason := table.test(table.epoch, 3, appendSlots(nil, slots)); reason != "" {
		t.Errorf("loaded since: %q", reason)
	}
	table.release(slots, nil) // nothing to release
	expectMarks(t, table, 8, 0, 4)
}

// What does not fit in a word is counted beside it.
func TestMarksSpill(t *testing.T) {
	table := newTable()
	slots := []uint32{7}
	const extra = 3
	for range fullMarks - 1 {
		table.mark(slots)
	}
	expectMarks(t, table, 7, fullMarks-1, 0)
	for i := range uint64(extra + 1) {
		table.invalidateAndMark(slots)
		expectMarks(t, table, 7, fullMarks+i, i+1)
	}
	expectMarks(t, table, 6, 0, 0)
	expectMarks(t, table, 8, 0, 0)
	clock := table.now()
	for i := range uint64(fullMarks + extra) {
		if reason := table.test(table.epoch, clockMask, appendSlots(nil, slots)); reason != ReasonMarked {
			t.Fatalf("after %d of %d releases: %q", i, fullMarks+extra, reason)
		}
		table.release(slots, nil)
	}
	expectMarks(t, table, 7, 0, clock+fullMarks+extra)
	if len(table.spilled) != 0 {
		t.Errorf("left over: %v", table.spilled)
	}
}

// Marks come and go about the number that a word can hold.
func TestMarksSpillConcurrently(t *testing.T) {
	table := newTable()
	slots := []uint32{7}
	table.words[7].Store((fullMarks - 2) << clockBits)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 2000 {
				if i%2 == 0 {
					table.mark(slots)
					table.invalidateAndMark(slots)
					table.release(slots, nil)
				} else {
					table.mark(slots)
					table.release(slots, slots)
				}
				if i%2 == 0 {
					table.release(slots, nil)
				}
			}
		})
	}
	wg.Wait()
	expectMarks(t, table, 7, fullMarks-2, table.now())
	if len(table.spilled) != 0 {
		t.Errorf("left over: %v", table.spilled)
	}
}
