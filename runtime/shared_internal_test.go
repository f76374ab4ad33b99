package cacheruntime

import (
	"runtime"
	"testing"
	"time"
	"unsafe"
)

// elapse returns a time that is later than t by that much on each of its two clocks.
func elapse(t *testing.T, at time.Time, wall, monotonic time.Duration) time.Time {
	t.Helper()
	later := at.Add(wall)
	// The second word of a time.Time that has both is the monotonic clock.
	(*[2]int64)(unsafe.Pointer(&later))[1] += int64(monotonic - wall)
	if later.Sub(at) != monotonic || later.UnixNano()-at.UnixNano() != int64(wall) {
		t.Fatal("a time.Time is not laid out as this test takes it to be")
	}
	return later
}

// The bound holds on the clock that has moved further: one stands still while the machine
// is suspended, the other may be set back.
func TestBoundOnBothClocks(t *testing.T) {
	const bound = time.Second
	l := &sharedLog{bound: bound}
	proven := time.Now()
	for _, test := range []struct {
		name            string
		wall, monotonic time.Duration
		want            bool
	}{
		{"at once", 0, 0, true},
		{"at the bound", bound, bound, true},
		{"past it", bound + 1, bound + 1, false},
		{"suspended", bound + 1, 0, false},
		{"set back", -time.Hour, bound + 1, false},
	} {
		if got := l.isCurrent(&proof{sent: proven}, 0, elapse(t, proven, test.wall, test.monotonic)); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
	if l.isCurrent(nil, 0, proven) {
		t.Error("a table that was never proven is current")
	}
}

// Nobody sees the number of a record on the clock before its words are there: a load
// would be stamped with it that is served by what the record makes stale.
func TestWordsOfARecordBeforeTheClock(t *testing.T) {
	cache, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	l := newSharedLog(cache, nil, time.Second, 0)
	defer l.stop()
	l.lost = false
	table := l.table
	l.at = LogPosition{Epoch: table.epoch, Number: 1, ID: LogID{1}}
	table.clock.Store(1)

	// A mark that is to be taken from a full word waits for whoever holds that lock.
	const first, full = 5, 6
	for range fullMarks - 1 {
		table.mark([]uint32{full})
	}
	mark := LogMark{ID: LogID{9}, Slots: []uint32{full}, Lease: time.Hour}
	l.mu.Lock()
	l.addMark(mark)
	l.mu.Unlock()
	record := LogRecord{Number: 2, ID: LogID{2}, Previous: LogID{1}, Slots: []uint32{first}, Release: []LogRelease{{ID: mark.ID}}}
	head := LogPosition{Epoch: table.epoch, Number: 2, ID: record.ID}
	table.full.Lock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.take(l.question(), LogReply{Head: head, Known: true, Records: []LogRecord{record}})
	}()
	for deadline := time.Now().Add(10 * time.Second); table.words[first].Load() != record.Number; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the first word is not raised")
		}
	}
	if now := table.now(); now != 1 {
		t.Errorf("the clock is at %d before all words are", now)
	}
	table.full.Unlock()
	<-done
	if now := table.now(); now != record.Number {
		t.Errorf("the clock is at %d in the end", now)
	}
	if word := table.words[full].Load(); word != (fullMarks-1)*oneMark+record.Number {
		t.Errorf("the last word is %x", word)
	}
}
