package cacheruntime

import (
	"bytes"
	"encoding/binary"
	"github.com/google/go-cmp/cmp"
	"slices"
	"testing"
	"time"
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

// sealed returns data with the checksum that it would have if it had been written so.
func sealed(data []byte) []byte {
	n := len(data) - entrySumSize
	return binary.LittleEndian.AppendUint32(slices.Clone(data[:n]), checksum(data[:n]))
}

func TestEnvelopeRoundTrip(t *testing.T) {
	for _, e := range []*entry{someEntry(), {slots: []byte{}, key: []byte{}, payload: []byte{}}} {
		prefix := []byte("buffers are appended to")
		data := appendEntry(slices.Clone(prefix), e)[len(prefix):]
		if len(data) != e.size() {
			t.Errorf("size is %d, want %d", e.size(), len(data))
		}
		var got entry
		if !got.open(data) {
			t.Fatal("not opened")
		}
		if diff := cmp.Diff(e, &got, cmp.AllowUnexported(entry{})); diff != "" {
			t.Error(diff)
		}
	}
}

// Any one bit that is not as it was written, any byte that is missing, and any that
// is too many, is found.
func TestEnvelopeIsIntact(t *testing.T) {
	data := appendEntry(nil, someEntry())
	var e entry
	for bit := range len(data) * 8 {
		flipped := slices.Clone(data)
		flipped[bit/8] ^= 1 << (bit % 8)
		if e.open(flipped) {
			t.Errorf("opened with bit %d flipped: %+v", bit, e)
		}
	}
	for bits := range len(data)*8 - 32 { // the same for whatever happens within four bytes
		burst := slices.Clone(data)
		for bit := bits; bit < bits+32; bit += 1 + bit%3 {
			burst[bit/8] ^= 1 << (bit % 8)
		}
		if e.open(burst) {
			t.Errorf("opened with a burst at bit %d", bits)
		}
	}
	for n := range data {
		if e.open(data[:n]) || e.open(data[n+1:]) {
			t.Errorf("opened without what is before or after byte %d", n)
		}
	}
	if e.open(append(data, 0)) {
		t.Error("opened with a byte too many")
	}
}

// What an entry says must hold together even where its checksum is right.
func TestEnvelopeMakesSense(t *testing.T) {
	data := appendEntry(nil, someEntry())
	var e entry
	for n := entrySumSize; n < len(data)-len(someEntry().payload); n++ {
		if e.open(sealed(data[:n])) {
			t.Errorf("%d of %d bytes are opened", n, len(data))
		}
	}
	for at, b := range map[int]byte{0: entryVersion + 1, 3: 1, 4: 0xff, 7: 0xff, 8: 0xff, 11: 0xff} {
		other := slices.Clone(data)
		other[at] = b
		if e.open(sealed(other)) {
			t.Errorf("opened with %#x at %d", b, at)
		}
	}
}

// Damaged entries in a store are misses, whichever bit it is.
func TestFlippedBits(t *testing.T) {
	store := newMemoryStore()
	r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Stale = time.Hour }, WithStore(store))
	r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	r.set(post{ID: 7, Title: "seven", Tags: []string{"odd"}})
	const gone = 8
	want := map[int64]string{7: "seven", gone: "error: " + errNotFound.Error()}
	for id, title := range want {
		clear(store.entries)
		r.expectTitle(t, t.Context(), id, title)
		if len(store.entries) != 1 {
			t.Fatalf("%d entries", len(store.entries))
		}
		for name, whole := range store.entries {
			for bit := range len(whole) * 8 {
				flipped := slices.Clone(whole)
				flipped[bit/8] ^= 1 << (bit % 8)
				store.entries[name] = flipped
				ctx, trace := WithTrace(t.Context())
				r.expectTitle(t, ctx, id, title)
				if got := trace.Events(); len(got) != 1 || got[0].Outcome != Miss || got[0].Reason != ReasonUndecodable {
					t.Fatalf("post %d, bit %d: %v", id, bit, got)
				}
			}
			break
		}
	}
}

// An entry from the clock's future is one of a process that is ahead: whatever this
// one knows to be invalidated was so before that load began.
func TestEntryFromTheFuture(t *testing.T) {
	store := newMemoryStore()
	r := newPosts(t, nil, WithStore(store))
	r.depends = func(id int64) []Tag { return []Tag{postTag(id)} }
	r.set(post{ID: 7, Title: "seven"})
	r.expectTitle(t, t.Context(), 7, "seven")
	for name, data := range store.entries {
		var e entry
		if !e.open(data) {
			t.Fatal("not opened")
		}
		e.asOf = r.cache.view().now() + 2
		store.entries[name] = appendEntry(nil, &e)
	}
	r.set(post{ID: 7, Title: "changed"})
	for range 2 {
		if err := r.cache.Invalidate(t.Context(), postTag(7)); err != nil {
			t.Fatal(err)
		}
		r.expectTitle(t, t.Context(), 7, "seven")
	}
	if err := r.cache.Invalidate(t.Context(), postTag(7)); err != nil {
		t.Fatal(err)
	}
	r.expectTitle(t, t.Context(), 7, "changed")
}

// FuzzEnvelope opens arbitrary bytes, with a checksum that is right: what is opened
// is written again as it was, and shares no byte of one part with another.
func FuzzEnvelope(f *testing.F) {
	f.Add(appendEntry(nil, someEntry()))
	f.Add(appendEntry(nil, &entry{}))
	f.Add([]byte{entryVersion})
	c := new(Cache)
	c.current.Store(newTable())
	f.Fuzz(func(t *testing.T, data []byte) {
		var e entry
		if e.open(data) && !bytes.Equal(data, sealed(data)) {
			t.Fatalf("%x is opened", data)
		}
		if len(data) < entrySumSize {
			return
		}
		data = sealed(data)
		if !e.open(data) {
			return
		}
		if again := appendEntry(nil, &e); !bytes.Equal(again, data) || e.size() != len(data) {
			t.Fatalf("%x is written again as %x", data, again)
		}
		if cap(e.slots) != len(e.slots) || cap(e.key) != len(e.key) || cap(e.payload) != len(e.payload) {
			t.Fatal("what is appended to a part overwrites the next")
		}
		e.hitTest(c)
		e.staleTest(t.Context(), c, 0)
	})
}
