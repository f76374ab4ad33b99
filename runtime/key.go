package cacheruntime

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The encoding of keys: every value begins with one of these bytes. It is
// prefix-free and canonical, so a sequence of values of given types has one
// encoding, and different sequences have different ones. Keys are compared
// across processes and versions: the numbers must never change.
const (
	kindNil        = 1
	kindFalse      = 2
	kindTrue       = 3
	kindInt        = 4  // zigzag varint
	kindUint       = 5  // varint
	kindFloat32    = 6  // 4 bytes, little endian
	kindFloat64    = 7  // 8 bytes, little endian
	kindComplex64  = 8  // two float32
	kindComplex128 = 9  // two float64
	kindString     = 10 // length, bytes
	kindBytes      = 11 // length, bytes
	kindTime       = 12 // seconds since 1970 as zigzag varint, nanoseconds as varint
	kindSome       = 13 // a pointer that is not nil; its value follows
	kindList       = 14 // length; the elements follow
	kindStruct     = 15 // number of fields; the fields follow
	kindMap        = 16 // length; keys and values follow, sorted
	kindBinary     = 17 // length, bytes of a binary marshaler
	kindText       = 18 // length, bytes of a text marshaler
	kindInterface  = 19 // length, name of the dynamic type; the value follows
	kindAny        = 20 // an argument of a tag that is *
)

// maxDepth bounds the nesting of values in keys and results, so that data that
// contains itself is refused before it exhausts the stack.
const maxDepth = 10000

// A Key is the identity of one call of a read, or of one instance of a tag,
// while it is being put together: generated code appends the arguments one by
// one. Equal arguments make equal bytes and different arguments different ones,
// on every machine and in every version.
//
// Keys are pooled. A Key belongs to one goroutine, from [NewKey] or [Read.Key]
// to [Key.Release] or to the method that makes a [Tag] of it.
type Key struct {
	buf    []byte
	args   int // where the arguments begin: before are the method's id and the vary parts
	failed bool
	depth  int

	parts int    // arguments ended by Next or Any
	ends  [4]int // where the first four end in buf
	any   uint8  // which of the first four are *
	wild  bool   // whether any at all is

	entries []keyEntry // of the maps being written, innermost last
	scratch []byte

	// What a call of a read needs besides the key, pooled together with it.
	stripe  uint32
	digest  [32]byte
	decoder Decoder
	control *control
	began   time.Time // of the call; set only if it is traced or observed
	since   uint64    // as in sharedLog.testCurrent, for all ids of a batch
	reason  Reason    // why Lookup found nothing
	held    *entry    // what it found nevertheless
	early   bool      // which is valid, and to be loaded again before it expires

	overtaken Reason // why what was loaded then is not stored
}

// keyEntry is where an entry of a map lies in the buffer.
type keyEntry struct{ start, end int }

var (
	keyPool    = sync.Pool{New: func() any { return &Key{stripe: keyStripes.Add(1)} }}
	keyStripes atomic.Uint32
)

// maxPooled is the largest buffer, in bytes, that is kept for the next call.
const maxPooled = 64 << 10

// NewKey returns an empty key, to make a [Tag] of.
func NewKey() *Key {
	return keyPool.Get().(*Key)
}

// Release gives the key back. It must not be used afterwards.
func (k *Key) Release() {
	if cap(k.buf) > maxPooled {
		k.buf = nil
	}
	if cap(k.scratch) > maxPooled {
		k.scratch = nil
	}
	k.buf = k.buf[:0]
	k.args = 0
	k.failed = false
	k.depth = 0
	k.parts = 0
	k.any = 0
	k.wild = false
	k.entries = k.entries[:0]
	k.control = nil
	k.since = 0
	k.reason = ""
	k.overtaken = ""
	k.held = nil
	k.early = false
	k.decoder = Decoder{}
	keyPool.Put(k)
}

// hold keeps an entry for the rest of the call.
func (k *Key) hold(e entry) { k.held = &e }

// Args ends the parts by which the key varies without being arguments. The
// entry's own tag is made of what follows.
func (k *Key) Args() { k.args = len(k.buf) }

// Recover marks the key as one that cannot be computed if the surrounding
// function panics, and ends the panic. It is to be deferred. The call that the
// key stands for then goes straight through, and a [Tag] made of it stands for
// all of its name.
func (k *Key) Recover() {
	if recover() != nil {
		k.failed = true
	}
}

// Enter begins a value of a type that contains itself. It returns false, and the
// key has failed, if values are nested more than 10000 deep; the value is then
// to be left out. Otherwise Leave ends the value.
func (k *Key) Enter() bool {
	if k.failed || k.depth == maxDepth {
		k.failed = true
		return false
	}
	k.depth++
	return true
}

// Leave ends what Enter began.
func (k *Key) Leave() { k.depth-- }

// Next ends an argument of a key whose arguments are told apart: see
// [Key.PatternTag].
func (k *Key) Next() {
	if k.parts < len(k.ends) {
		k.ends[k.parts] = len(k.buf)
	}
	k.parts++
}

// Any is an argument that matches every value. It ends itself.
func (k *Key) Any() {
	if k.parts < len(k.ends) {
		k.any |= 1 << k.parts
	}
	k.wild = true
	k.buf = append(k.buf, kindAny)
	k.Next()
}

// Nil appends a nil pointer.
func (k *Key) Nil() { k.buf = append(k.buf, kindNil) }

// Some announces what a pointer that is not nil points to.
func (k *Key) Some() { k.buf = append(k.buf, kindSome) }

// Bool appends a boolean.
func (k *Key) Bool(v bool) {
	if v {
		k.buf = append(k.buf, kindTrue)
	} else {
		k.buf = append(k.buf, kindFalse)
	}
}

// Int appends a signed integer of any size.
func (k *Key) Int(v int64) {
	k.buf = binary.AppendVarint(append(k.buf, kindInt), v)
}

// Uint appends an unsigned integer of any size.
func (k *Key) Uint(v uint64) {
	k.buf = binary.AppendUvarint(append(k.buf, kindUint), v)
}

// Float32 appends a number. All NaNs are one value, and so are the two zeros.
func (k *Key) Float32(v float32) {
	k.buf = appendKeyFloat32(append(k.buf, kindFloat32), v)
}

// Float64 appends a number. All NaNs are one value, and so are the two zeros.
func (k *Key) Float64(v float64) {
	k.buf = appendKeyFloat64(append(k.buf, kindFloat64), v)
}

// Complex64 appends a number, part by part as [Key.Float32] does.
func (k *Key) Complex64(v complex64) {
	k.buf = appendKeyFloat32(append(k.buf, kindComplex64), real(v))
	k.buf = appendKeyFloat32(k.buf, imag(v))
}

// Complex128 appends a number, part by part as [Key.Float64] does.
func (k *Key) Complex128(v complex128) {
	k.buf = appendKeyFloat64(append(k.buf, kindComplex128), real(v))
	k.buf = appendKeyFloat64(k.buf, imag(v))
}

// Bits that stand for every NaN.
const (
	keyNaN32 = 0x7fc00000
	keyNaN64 = 0x7ff8000000000000
)

func appendKeyFloat32(buf []byte, v float32) []byte {
	bits := math.Float32bits(v)
	switch {
	case v != v:
		bits = keyNaN32
	case v == 0:
		bits = 0
	}
	return binary.LittleEndian.AppendUint32(buf, bits)
}

func appendKeyFloat64(buf []byte, v float64) []byte {
	bits := math.Float64bits(v)
	switch {
	case v != v:
		bits = keyNaN64
	case v == 0:
		bits = 0
	}
	return binary.LittleEndian.AppendUint64(buf, bits)
}

// String appends a string.
func (k *Key) String(v string) {
	k.buf = binary.AppendUvarint(append(k.buf, kindString), uint64(len(v)))
	k.buf = append(k.buf, v...)
}

// Bytes appends a slice of bytes. Nil and empty are different values.
func (k *Key) Bytes(v []byte) {
	if v == nil {
		k.buf = append(k.buf, kindNil)
		return
	}
	k.bytes(kindBytes, v)
}

func (k *Key) bytes(kind byte, v []byte) {
	k.buf = binary.AppendUvarint(append(k.buf, kind), uint64(len(v)))
	k.buf = append(k.buf, v...)
}

// Time appends an instant. Times in different zones that are the same instant
// are one value; the monotonic reading does not count.
func (k *Key) Time(v time.Time) {
	k.buf = binary.AppendVarint(append(k.buf, kindTime), v.Unix())
	k.buf = binary.AppendUvarint(k.buf, uint64(v.Nanosecond()))
}

// List begins a slice or array of n elements, which are to be appended next. A
// negative n is a nil slice.
func (k *Key) List(n int) {
	if n < 0 {
		k.buf = append(k.buf, kindNil)
		return
	}
	k.buf = binary.AppendUvarint(append(k.buf, kindList), uint64(n))
}

// Struct begins a struct of n fields, which are to be appended next.
func (k *Key) Struct(n int) {
	k.buf = binary.AppendUvarint(append(k.buf, kindStruct), uint64(n))
}

// Map begins a map of n entries. Each is announced by [KeyMap.Entry] and
// appended as key, then value, in any order of entries; [KeyMap.End] sorts them.
//
//	entries := key.Map(len(m), m == nil)
//	for k, v := range m {
//		entries.Entry()
//		key.String(k)
//		key.Int(int64(v))
//	}
//	entries.End()
//
// Maps may be nested.
func (k *Key) Map(n int, isNil bool) KeyMap {
	if isNil {
		k.buf = append(k.buf, kindNil)
	} else {
		k.buf = binary.AppendUvarint(append(k.buf, kindMap), uint64(n))
	}
	return KeyMap{key: k, base: len(k.entries)}
}

// A KeyMap is a map being appended to a [Key]: see [Key.Map].
type KeyMap struct {
	key  *Key
	base int // its entries in key.entries
}

// Entry announces an entry.
func (m KeyMap) Entry() {
	k := m.key
	k.entries = append(k.entries, keyEntry{start: len(k.buf)})
}

// End ends the map.
func (m KeyMap) End() {
	k := m.key
	entries := k.entries[m.base:]
	k.entries = k.entries[:m.base]
	if len(entries) < 2 {
		return
	}
	for i := range entries[1:] {
		entries[i].end = entries[i+1].start
	}
	entries[len(entries)-1].end = len(k.buf)

	// No key is a prefix of another, so whole entries sort by their keys. Equal
	// keys are possible, as a map holds several NaNs: their values decide.
	start := entries[0].start
	slices.SortFunc(entries, func(a, b keyEntry) int {
		return bytes.Compare(k.buf[a.start:a.end], k.buf[b.start:b.end])
	})
	k.scratch = k.scratch[:0]
	for _, entry := range entries {
		k.scratch = append(k.scratch, k.buf[entry.start:entry.end]...)
	}
	copy(k.buf[start:], k.scratch)
}
