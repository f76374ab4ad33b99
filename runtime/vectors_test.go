package cacheruntime

import (
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.txt; the run fails nevertheless where it changes")

// vectors are lines of a name and of bytes that must never change, or only together
// with what the comment in the file says.
type vectors struct{ strings.Builder }

func (v *vectors) comment(text string) { fmt.Fprintf(v, "\n# %s\n", text) }

func (v *vectors) add(name string, data []byte) { fmt.Fprintf(v, "%s: %x\n", name, data) }

// Keys and slots are compared across processes and versions, and what has been
// stored is read by other binaries: the bytes must be the same on every machine and
// in every version.
func TestVectors(t *testing.T) {
	var v vectors
	v.WriteString("# Bytes that other machines and other versions rely on: see vectors_test.go.\n")
	v.comment("Keys. They must never change.")
	for _, key := range vectorKeys {
		data := encoded(key.write)
		if data == nil {
			t.Errorf("%s: the key fails", key.name)
		}
		v.add(key.name, data)
	}
	v.comment("Keys of reads: the id of the method, what it varies by, the arguments. They must never change.")
	id := methodID("example.com/blog.PostRepository", "Post", 0x1f2e3d4c5b6a7988)
	v.add("method id", id[:])
	id = methodID("", "", 0)
	v.add("empty method id", id[:])
	r := newPosts(t, func(cfg *ReadConfig[*post]) { cfg.Fingerprint = 42 })
	key := r.read.Key(t.Context())
	key.String("tenant")
	key.Args()
	key.Int(7)
	v.add("read", key.buf)
	key.Release()
	digest := [32]byte{}
	v.add("digest of a long key", []byte(storeKey(strings.Repeat("k", maxStoreKey+1), &digest)))

	v.comment("Slots of tags, depended on and invalidated. They must never change.")
	for _, tag := range vectorTags {
		v.add(tag.name+" depended on", appendSlots(nil, tag.tag.appendDependency(nil)))
		v.add(tag.name+" invalidated", appendSlots(nil, tag.tag.appendInvalidation(nil)))
	}

	v.comment("Envelopes. They change only together with entryVersion.")
	v.add("entry", appendEntry(nil, someEntry()))
	v.add("empty entry", appendEntry(nil, &entry{}))
	v.add("error that never expires", appendEntry(nil, &entry{flags: flagError, negative: 1, soft: never, hard: never}))
	v.add("extremes", appendEntry(nil, &entry{
		flags: 0xff, negative: 0xff, soft: math.MinInt64, hard: -1, took: math.MaxInt64, epoch: math.MaxUint64, asOf: clockMask,
	}))

	v.comment("Encoded results. They change only together with entryVersion.")
	for _, payload := range vectorPayloads {
		var e Encoder
		payload.write(&e)
		data, err := e.Encoded()
		if err != nil {
			t.Errorf("%s: %v", payload.name, err)
		}
		v.add(payload.name, data)
	}

	const name = "testdata/vectors.txt"
	want, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(v.String(), "\n"))
	if diff == "" {
		return
	}
	t.Errorf("%s (-want +got):\n%s", name, diff)
	if *update {
		if err := os.WriteFile(name, []byte(v.String()), 0o666); err != nil {
			t.Error(err)
		}
	}
}

// The vectors are read back too: an entry of another machine is not only written as
// here.
func TestVectorsAreRead(t *testing.T) {
	data, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string][]byte{}
	for line := range strings.Lines(string(data)) {
		if name, text, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && name[0] != '#' {
			if lines[name], err = hex.DecodeString(text); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	var e entry
	if !e.open(lines["entry"]) {
		t.Fatal("the entry is not opened")
	}
	if diff := cmp.Diff(someEntry(), &e, cmp.AllowUnexported(entry{})); diff != "" {
		t.Error(diff)
	}
	var v everything
	d := NewDecoder(lines["everything"])
	v.decode(d)
	if err := d.Finish(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(someOfEverything(), &v, exactly); diff != "" {
		t.Error(diff)
	}
}

var vectorKeys = []struct {
	name  string
	write func(*Key)
}{
	{"no arguments", func(*Key) {}},
	{"nil", (*Key).Nil},
	{"some", func(k *Key) { k.Some(); k.Bool(true) }},
	{"some nil", func(k *Key) { k.Some(); k.Nil() }},
	{"bool", func(k *Key) { k.Bool(false); k.Bool(true) }},
	{"int", func(k *Key) {
		k.Int(0)
		k.Int(7)
		k.Int(-7)
		k.Int(63)
		k.Int(64)
		k.Int(-65)
	}},
	{"int extremes", func(k *Key) { k.Int(math.MinInt64); k.Int(math.MaxInt64) }},
	{"uint", func(k *Key) { k.Uint(0); k.Uint(127); k.Uint(128); k.Uint(300); k.Uint(math.MaxUint64) }},
	{"float32", func(k *Key) { k.Float32(1.5); k.Float32(float32(math.Inf(-1))); k.Float32(math.SmallestNonzeroFloat32) }},
	{"float32 NaN", func(k *Key) { k.Float32(math.Float32frombits(0x7fc12345)); k.Float32(math.Float32frombits(0xffffffff)) }},
	{"float32 zeros", func(k *Key) { k.Float32(0); k.Float32(float32(math.Copysign(0, -1))) }},
	{"float64", func(k *Key) { k.Float64(1.5); k.Float64(math.Inf(1)); k.Float64(math.MaxFloat64) }},
	{"float64 NaN", func(k *Key) { k.Float64(math.NaN()); k.Float64(math.Float64frombits(math.MaxUint64)) }},
	{"float64 zeros", func(k *Key) { k.Float64(0); k.Float64(math.Copysign(0, -1)) }},
	{"complex64", func(k *Key) {
		k.Complex64(complex(1, math.Float32frombits(0x7fc12345)))
		k.Complex64(complex(float32(math.Copysign(0, -1)), 2))
	}},
	{"complex128", func(k *Key) { k.Complex128(1i); k.Complex128(complex(math.NaN(), math.Copysign(0, -1))) }},
	{"string", func(k *Key) { k.String("en"); k.String(""); k.String("grüße\x00\xff") }},
	{"string of 128 bytes", func(k *Key) { k.String(strings.Repeat("s", 128)) }},
	{"bytes", func(k *Key) { k.Bytes([]byte{1}); k.Bytes([]byte{}); k.Bytes(nil) }},
	{"time", func(k *Key) { k.Time(time.Unix(-1, 5).UTC()); k.Time(time.Time{}) }},
	{"time in a zone", func(k *Key) { k.Time(time.Date(2024, 2, 29, 12, 0, 0, 1, time.FixedZone("", 5400))) }},
	{"list", func(k *Key) { k.List(2); k.Int(0); k.Int(1) }},
	{"nil list and empty list", func(k *Key) { k.List(-1); k.List(0) }},
	{"list of lists", func(k *Key) { k.List(3); k.List(1); k.Int(1); k.List(0); k.List(-1) }},
	{"struct", func(k *Key) { k.Struct(2); k.Int(1); k.Struct(0) }},
	{"map", func(k *Key) { intMap(k, map[int]string{1: "b", 0: "a", -1: "c"}) }},
	{"nil map and empty map", func(k *Key) { intMap(k, nil); intMap(k, map[int]string{}) }},
	{"map of maps", func(k *Key) {
		entries := k.Map(2, false)
		entries.Entry()
		k.String("b")
		intMap(k, map[int]string{2: "", 1: ""})
		entries.Entry()
		k.String("a")
		intMap(k, nil)
		entries.End()
	}},
	{"append binary", func(k *Key) { k.AppendBinary(netip.MustParseAddr("1.2.3.4")) }},
	{"marshal binary", func(k *Key) { k.MarshalBinary(&url.URL{Scheme: "go", Path: "/x"}) }},
	{"append text", func(k *Key) { k.AppendText(big.NewInt(-42)) }},
	{"marshal text", func(k *Key) { k.MarshalText(big.NewInt(42)) }},
	{"interface", func(k *Key) { k.Interface(netip.MustParseAddr("1.2.3.4")) }},
	{"interface of a pointer", func(k *Key) { k.Interface(big.NewInt(42)) }},
	{"nil interface", func(k *Key) { k.Interface(nil) }},
	{"any", func(k *Key) { k.Any(); k.Int(1); k.Next() }},
}

var vectorTags = []struct {
	name string
	tag  Tag
}{
	{"post(7)", postTag(7)},
	{"post(*)", allPostTag()},
	{"feed", feedTag()},
	{"listing(7, *)", pattern(2, 1, []int{7, 0}, 1)},
	{"listing(7, 8)", pattern(2, 3, []int{7, 8}, 1)},
	{"listing(7, 8) without partial use", pattern(2, 3, []int{7, 8})},
	{"listing(7, *, 9, *)", pattern(4, 5, []int{7, 0, 9, 0}, 5, 10)},
	{"listing(7, 8, 9, 10)", pattern(4, 15, []int{7, 8, 9, 10}, 5, 10)},
	{"listing(*, *) with partial use", pattern(2, 0, []int{0, 0}, 1)},
	{"listing of five", pattern(5, 31, []int{1, 2, 3, 4, 5})},
	{"listing of five, one *", pattern(5, 30, []int{1, 2, 3, 4, 5})},
	{"entry Post(7)", postEntry(7)},
}

var vectorPayloads = []struct {
	name  string
	write func(*Encoder)
}{
	{"encoded nil and some", func(e *Encoder) { e.Nil(true); e.Nil(false) }},
	{"encoded lengths", func(e *Encoder) { e.Len(0, true); e.Len(0, false); e.Len(1, false); e.Len(300, false) }},
	{"encoded bools", func(e *Encoder) { e.Bool(false); e.Bool(true) }},
	{"encoded ints", func(e *Encoder) { e.Int(0); e.Int(-1); e.Int(64); e.Int(math.MinInt64); e.Int(math.MaxInt64) }},
	{"encoded uints", func(e *Encoder) { e.Uint(0); e.Uint(128); e.Uint(math.MaxUint64) }},
	{"encoded float32", func(e *Encoder) {
		e.Float32(1.5)
		e.Float32(math.Float32frombits(0x7fc12345))
		e.Float32(float32(math.Copysign(0, -1)))
	}},
	{"encoded float64", func(e *Encoder) {
		e.Float64(1.5)
		e.Float64(math.Float64frombits(0x7ff8000000012345))
		e.Float64(math.Copysign(0, -1))
	}},
	{"encoded complex", func(e *Encoder) { e.Complex64(1 + 2i); e.Complex128(-1i) }},
	{"encoded strings", func(e *Encoder) { e.String(""); e.String("grüße\x00\xff") }},
	{"encoded bytes", func(e *Encoder) { e.Bytes(nil); e.Bytes([]byte{}); e.Bytes([]byte{0, 255}) }},
	{"encoded array", func(e *Encoder) { e.Array([]byte{1, 2, 3}) }},
	{"encoded times", func(e *Encoder) {
		e.Time(time.Time{})
		e.Time(time.Unix(-1, 999999999).UTC())
		e.Time(time.Unix(1e9, 1).In(time.FixedZone("west", -11*3600-17)))
		e.Time(time.Unix(1e9, 1).In(time.FixedZone("zero", 0)))
	}},
	{"encoded marshalers", func(e *Encoder) {
		e.AppendBinary(netip.MustParseAddr("fe80::1%eth0"))
		e.MarshalBinary(&url.URL{Scheme: "go", Path: "/x"})
		e.AppendText(big.NewInt(42))
		e.MarshalText(big.NewInt(-42))
	}},
	{"encoded to the end", func(e *Encoder) { e.Raw([]byte(`{"ID":7}`), nil) }},
	{"everything", func(e *Encoder) { someOfEverything().encode(e) }},
	{"zero of everything", func(e *Encoder) { new(everything).encode(e) }},
}
