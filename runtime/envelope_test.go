package cacheruntime

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func someEntry() *entry {
	return &entry{
		flags:    flagLong,
		negative: 2,
		soft:     1,
		hard:     never,
		took:     3 * time.Nanosecond,
		epoch:    4,
		asOf:     5,
		slots:    appendSlots(nil, []uint32{6, 7}),
		key:      []byte("key"),
		payload:  []byte("payload"),
	}
}

func TestEnvelopeGolden(t *testing.T) {
	const want = "01040200" + "02000000" + "03000000" +
		"0100000000000000" + "ffffffffffffff7f" + "0300000000000000" + "0400000000000000" + "0500000000000000" +
		"06000000" + "07000000" + "6b6579" + "7061796c6f6164"
	e := someEntry()
	data := appendEntry(nil, e)
	if got := hex.EncodeToString(data); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if len(data) != e.size() {
		t.Errorf("size is %d, want %d", e.size(), len(data))
	}
	var got entry
	if !got.parse(data) {
		t.Fatal("not parsed")
	}
	if diff := cmp.Diff(e, &got, cmp.AllowUnexported(entry{})); diff != "" {
		t.Error(diff)
	}
	for n := range entryHeaderSize + len(e.slots) + len(e.key) {
		if got.parse(data[:n]) {
			t.Errorf("%d of %d bytes are parsed", n, len(data))
		}
	}
	data[0]++
	if got.parse(data) {
		t.Error("another version is parsed")
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add(appendEntry(nil, someEntry()))
	f.Add(appendEntry(nil, &entry{}))
	f.Add([]byte{entryVersion})
	f.Fuzz(func(t *testing.T, data []byte) {
		var e entry
		if !e.parse(data) {
			return
		}
		if again := appendEntry(nil, &e); !bytes.Equal(again, data) {
			t.Fatalf("%x is written again as %x", data, again)
		}
		e.hitTest(&table{words: fuzzWords})
	})
}

var fuzzWords = newTable().words
