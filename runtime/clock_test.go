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
