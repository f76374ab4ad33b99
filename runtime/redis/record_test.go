package redis

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// stored returns a record as it stands in the stream.
func stored(t testing.TB, r cacheruntime.LogRecord) string {
	t.Helper()
	body, err := encodeBody(r)
	if err != nil {
		t.Fatal(err)
	}
	b := append([]byte{recordVersion}, little.AppendUint64(nil, r.Number)...)
	return string(append(append(b, r.Previous[:]...), body...))
}

func seeds(t testing.TB) []cacheruntime.LogRecord {
	full := cacheruntime.LogRecord{
		Number: maxNumber, ID: newID(), Previous: newID(), Slots: []uint32{0, 7, cacheruntime.SharedTableSize - 1}, All: true,
		Mark:    cacheruntime.LogMark{ID: newID(), Generation: 1 << 63, Slots: []uint32{1}, All: true, Lease: time.Hour},
		Release: []cacheruntime.LogRelease{{ID: newID(), Generation: 7}, {ID: newID()}},
	}
	plain := record(3)
	plain.Number = 2
	empty := record()
	empty.Number = 1
	return []cacheruntime.LogRecord{full, plain, empty}
}

func TestRecordsComeBack(t *testing.T) {
	for _, want := range seeds(t) {
		s := stored(t, want)
		got, err := decodeRecord(s)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for n := range len(s) {
			if r, err := decodeRecord(s[:n]); err == nil {
				t.Errorf("%d of %d bytes are %+v", n, len(s), r)
			}
		}
	}
}

func TestRecordsAreBounded(t *testing.T) {
	r := seeds(t)[2]
	r.Slots = make([]uint32, maxSlots)
	for i := range r.Slots {
		r.Slots[i] = uint32(i)
	}
	s := stored(t, r)
	if _, err := decodeRecord(s); err != nil {
		t.Error(err)
	}
	at := prefixSize + idSize + 1
	more := s[:at] + string(little.AppendUint32(nil, maxSlots+1)) + s[at+4:len(s)-4] + string(little.AppendUint32(nil, maxSlots)) + s[len(s)-4:]
	if r, err := decodeRecord(more); err == nil {
		t.Errorf("%d slots", len(r.Slots))
	}
}

// What can be decoded is what would have been encoded: nothing is read into garbage.
func FuzzRecord(f *testing.F) {
	for _, r := range seeds(f) {
		f.Add(stored(f, r))
	}
	f.Add("")
	f.Add("\x01" + strings.Repeat("\xff", 100))
	f.Fuzz(func(t *testing.T, s string) {
		r, err := decodeRecord(s)
		if err != nil {
			return
		}
		if again := stored(t, r); again != s {
			t.Errorf("%x came back as %x", s, again)
		}
	})
}

func FuzzMark(f *testing.F) {
	value, err := appendMark(nil, mark(1, 2))
	if err != nil {
		f.Fatal(err)
	}
	id := newID()
	f.Add(string(id[:]), string(value))
	f.Fuzz(func(t *testing.T, id, s string) {
		m, err := decodeMark(id, s)
		if err != nil {
			return
		}
		if again, err := appendMark(nil, m); err != nil || string(again) != s || string(m.ID[:]) != id {
			t.Errorf("%x came back as %x, %v", s, again, err)
		}
	})
}

func FuzzWords(f *testing.F) {
	f.Add("\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", uint64(1))
	f.Add("1234567", uint64(1))
	f.Fuzz(func(t *testing.T, s string, at uint64) {
		words, err := decodeWords(s, at)
		if err != nil {
			return
		}
		if len(words) > len(s)/8 {
			t.Errorf("%d words in %d bytes", len(words), len(s))
		}
		for _, word := range words {
			if word > at {
				t.Errorf("word %d at %d", word, at)
			}
		}
	})
}
