package cacheruntime

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
	"unsafe"
)

var errMalformed = errors.New("cacheruntime: malformed encoding")

// maxStateless bounds how many elements that take no bytes at all (such as
// struct{}) one decoding makes.
const maxStateless = 1 << 24

// A Decoder reads back what an [Encoder] wrote. Whatever the bytes are, it does
// not panic, and what it allocates is in proportion to their number.
//
// A failure sticks: from then on every method returns a zero value, and lengths
// are zero. A Decoder belongs to one goroutine.
type Decoder struct {
	data      []byte
	off       int // data[off:] is still to be read
	depth     int
	stateless int
	err       error
}

// NewDecoder returns a decoder for data, which must not be modified as long as
// decoded strings are in use.
func NewDecoder(data []byte) *Decoder { return &Decoder{data: data} }

// Finish returns the first failure, or an error if something is left to read.
func (d *Decoder) Finish() error {
	if d.err == nil && d.off != len(d.data) {
		return errMalformed
	}
	return d.err
}

// Fail makes the decoding fail. The first error counts; nil does nothing.
func (d *Decoder) Fail(err error) {
	if d.err == nil && err != nil {
		d.err = err
		d.data = nil
		d.off = 0
	}
}

// Enter begins a value of a type that contains itself. It returns false, and the
// decoding has failed, if values are nested more than 10000 deep. Otherwise
// Leave ends the value.
func (d *Decoder) Enter() bool {
	if d.depth == maxDepth {
		d.Fail(errDepth)
	}
	if d.err != nil {
		return false
	}
	d.depth++
	return true
}

// Leave ends what Enter began.
func (d *Decoder) Leave() { d.depth-- }

// Some reads whether a pointer points to something, which is to be read next.
func (d *Decoder) Some() bool { return d.Bool() }

// Len reads the length of a slice or map. The elements, of which each takes at
// least minSize bytes, are to be read next: lengths that cannot be true fail.
func (d *Decoder) Len(minSize int) (n int, isNil bool) {
	length := d.Uint()
	if length == 0 {
		return 0, d.err == nil
	}
	length--
	if minSize == 0 {
		if length > uint64(maxStateless-d.stateless) {
			d.Fail(errMalformed)
			return 0, false
		}
		d.stateless += int(length)
		return int(length), false
	}
	if length > uint64((len(d.data)-d.off)/minSize) {
		d.Fail(errMalformed)
		return 0, false
	}
	return int(length), false
}

// Bool reads a boolean.
func (d *Decoder) Bool() bool {
	if d.off < len(d.data) {
		if b := d.data[d.off]; b <= 1 {
			d.off++
			return b == 1
		}
	}
	d.Fail(errMalformed)
	return false
}

// Int reads a signed integer of 64 bits.
func (d *Decoder) Int() int64 { return unzigzag(d.Uint()) }

// Uint reads an unsigned integer of 64 bits.
func (d *Decoder) Uint() uint64 {
	if d.off < len(d.data) {
		if b := d.data[d.off]; b < 0x80 {
			d.off++
			return uint64(b)
		}
	}
	return d.longUint()
}

func (d *Decoder) longUint() uint64 {
	v, n := binary.Uvarint(d.data[d.off:])
	if n <= 0 {
		d.Fail(errMalformed)
		return 0
	}
	d.off += n
	return v
}

// IntN reads a signed integer that has the given number of bits; one that needs
// more fails.
func (d *Decoder) IntN(bits int) int64 {
	v := d.Int()
	if v<<(64-bits)>>(64-bits) != v {
		d.Fail(errMalformed)
		return 0
	}
	return v
}

// UintN reads an unsigned integer that has the given number of bits; one that
// needs more fails.
func (d *Decoder) UintN(bits int) uint64 {
	v := d.Uint()
	if v<<(64-bits)>>(64-bits) != v {
		d.Fail(errMalformed)
		return 0
	}
	return v
}

// take returns the next n bytes, or nil if there are fewer.
func (d *Decoder) take(n uint64) []byte {
	if n > uint64(len(d.data)-d.off) {
		d.Fail(errMalformed)
		return nil
	}
	start := d.off
	d.off += int(n)
	return d.data[start:d.off:d.off]
}

// Float32 reads a number.
func (d *Decoder) Float32() float32 {
	data := d.take(4)
	if data == nil {
		return 0
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(data))
}

// Float64 reads a number.
func (d *Decoder) Float64() float64 {
	data := d.take(8)
	if data == nil {
		return 0
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(data))
}

// Complex64 reads a number.
func (d *Decoder) Complex64() complex64 {
	re := d.Float32()
	return complex(re, d.Float32())
}

// Complex128 reads a number.
func (d *Decoder) Complex128() complex128 {
	re := d.Float64()
	return complex(re, d.Float64())
}

// String reads a string. It shares the memory of the decoder's data, which a
// store hands out as a private copy: a string that is kept keeps the bytes of
// its whole entry.
func (d *Decoder) String() string {
	data := d.take(d.Uint())
	return unsafe.String(unsafe.SliceData(data), len(data))
}

// Bytes reads a slice of bytes, into memory of its own.
func (d *Decoder) Bytes() []byte {
	n, isNil := d.Len(1)
	if isNil || d.err != nil {
		return nil
	}
	data := make([]byte, n)
	copy(data, d.take(uint64(n)))
	return data
}

// Array reads as many bytes as v has, into v.
func (d *Decoder) Array(v []byte) { copy(v, d.take(uint64(len(v)))) }

// Time reads an instant and its offset. Its location is UTC if it was that
// before, else Local if that has the same offset at the instant, else one
// without a name.
func (d *Decoder) Time() time.Time {
	seconds := d.Int()
	nanoseconds := d.Uint()
	zone := d.Uint()
	if nanoseconds >= 1e9 {
		d.Fail(errMalformed)
	}
	offset := int64(0)
	if zone > 0 {
		offset = unzigzag(zone - 1)
	}
	if offset != int64(int32(offset)) {
		d.Fail(errMalformed)
	}
	if d.err != nil {
		return time.Time{}
	}
	t := time.Unix(seconds, int64(nanoseconds))
	if zone == 0 {
		return t.UTC()
	}
	if _, local := t.Zone(); int64(local) == offset {
		return t
	}
	return t.In(time.FixedZone("", int(offset)))
}

// UnmarshalBinary hands what a marshaler wrote to the value, which may keep it.
// An error or a panic of it fails the decoding.
func (d *Decoder) UnmarshalBinary(v encoding.BinaryUnmarshaler) {
	defer d.recover()
	if data := bytes.Clone(d.take(d.Uint())); d.err == nil {
		d.Fail(v.UnmarshalBinary(data))
	}
}

// UnmarshalText hands what a marshaler wrote to the value, which may keep it. An
// error or a panic of it fails the decoding.
func (d *Decoder) UnmarshalText(v encoding.TextUnmarshaler) {
	defer d.recover()
	if data := bytes.Clone(d.take(d.Uint())); d.err == nil {
		d.Fail(v.UnmarshalText(data))
	}
}

// Rest reads everything that is left, into memory of its own.
func (d *Decoder) Rest() []byte {
	return bytes.Clone(d.take(uint64(len(d.data) - d.off)))
}

// recover makes the decoding fail if the surrounding function panics, and ends
// the panic. It is to be deferred.
func (d *Decoder) recover() {
	if value := recover(); value != nil {
		d.Fail(fmt.Errorf("unmarshal: %w", panicked(value)))
	}
}
