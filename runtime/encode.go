package cacheruntime

import (
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

var errDepth = fmt.Errorf("cacheruntime: values nested more than %d deep", maxDepth)

// An Encoder turns a result into bytes. What it writes does not describe itself:
// a [Decoder] must read the same values in the same order. Its zero value is
// ready to use.
//
// A failure sticks: the result is then not stored. An Encoder belongs to one
// goroutine.
type Encoder struct {
	buf   []byte
	err   error
	depth int
}

// Encoded returns what was written, or the first failure. The slice is the
// caller's once nothing more is written.
func (e *Encoder) Encoded() ([]byte, error) {
	if e.err != nil {
		return nil, e.err
	}
	return e.buf, nil
}

// Fail makes the encoding fail. The first error counts; nil does nothing.
func (e *Encoder) Fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// Enter begins a value of a type that contains itself. It returns false, and the
// encoding has failed, if values are nested more than 10000 deep; the value is
// then to be left out. Otherwise Leave ends the value.
func (e *Encoder) Enter() bool {
	if e.depth == maxDepth {
		e.Fail(errDepth)
	}
	if e.err != nil {
		return false
	}
	e.depth++
	return true
}

// Leave ends what Enter began.
func (e *Encoder) Leave() { e.depth-- }

// Nil writes whether a pointer is nil, and returns it. What a pointer that is
// not nil points to is to be written next.
func (e *Encoder) Nil(isNil bool) bool {
	e.Bool(!isNil)
	return isNil
}

// Len begins a slice or map of n elements, which are to be written next.
func (e *Encoder) Len(n int, isNil bool) {
	if isNil {
		e.buf = append(e.buf, 0)
		return
	}
	e.buf = binary.AppendUvarint(e.buf, uint64(n)+1)
}

// Bool writes a boolean.
func (e *Encoder) Bool(v bool) {
	if v {
		e.buf = append(e.buf, 1)
	} else {
		e.buf = append(e.buf, 0)
	}
}

// Int writes a signed integer of any size.
func (e *Encoder) Int(v int64) { e.buf = binary.AppendVarint(e.buf, v) }

// Uint writes an unsigned integer of any size.
func (e *Encoder) Uint(v uint64) { e.buf = binary.AppendUvarint(e.buf, v) }

// Float32 writes a number, bit for bit.
func (e *Encoder) Float32(v float32) {
	e.buf = binary.LittleEndian.AppendUint32(e.buf, math.Float32bits(v))
}

// Float64 writes a number, bit for bit.
func (e *Encoder) Float64(v float64) {
	e.buf = binary.LittleEndian.AppendUint64(e.buf, math.Float64bits(v))
}

// Complex64 writes a number, bit for bit.
func (e *Encoder) Complex64(v complex64) {
	e.Float32(real(v))
	e.Float32(imag(v))
}

// Complex128 writes a number, bit for bit.
func (e *Encoder) Complex128(v complex128) {
	e.Float64(real(v))
	e.Float64(imag(v))
}

// String writes a string.
func (e *Encoder) String(v string) {
	e.buf = binary.AppendUvarint(e.buf, uint64(len(v)))
	e.buf = append(e.buf, v...)
}

// Bytes writes a slice of bytes. Nil and empty are told apart.
func (e *Encoder) Bytes(v []byte) {
	e.Len(len(v), v == nil)
	e.buf = append(e.buf, v...)
}

// Array writes the bytes of an array. Their number is not written.
func (e *Encoder) Array(v []byte) { e.buf = append(e.buf, v...) }

// Time writes an instant and its offset from UTC, to the second. The name of
// the zone and the monotonic reading are not kept.
func (e *Encoder) Time(v time.Time) {
	e.Int(v.Unix())
	e.Uint(uint64(v.Nanosecond()))
	if v.Location() == time.UTC {
		e.buf = append(e.buf, 0)
		return
	}
	_, offset := v.Zone()
	e.Uint(1 + zigzag(int64(offset)))
}

func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// AppendBinary writes what the value's AppendBinary writes. An error or a panic
// of it fails the encoding.
func (e *Encoder) AppendBinary(v encoding.BinaryAppender) {
	defer e.recover()
	data, err := v.AppendBinary(nil)
	e.marshaled(data, err)
}

// MarshalBinary writes what the value's MarshalBinary returns. An error or a
// panic of it fails the encoding.
func (e *Encoder) MarshalBinary(v encoding.BinaryMarshaler) {
	defer e.recover()
	data, err := v.MarshalBinary()
	e.marshaled(data, err)
}

// AppendText writes what the value's AppendText writes. An error or a panic of
// it fails the encoding.
func (e *Encoder) AppendText(v encoding.TextAppender) {
	defer e.recover()
	data, err := v.AppendText(nil)
	e.marshaled(data, err)
}

// MarshalText writes what the value's MarshalText returns. An error or a panic
// of it fails the encoding.
func (e *Encoder) MarshalText(v encoding.TextMarshaler) {
	defer e.recover()
	data, err := v.MarshalText()
	e.marshaled(data, err)
}

func (e *Encoder) marshaled(data []byte, err error) {
	e.Fail(err)
	e.buf = binary.AppendUvarint(e.buf, uint64(len(data)))
	e.buf = append(e.buf, data...)
}

// Raw writes data that runs to the end of the encoding: nothing may be written
// after it. An error fails the encoding.
func (e *Encoder) Raw(data []byte, err error) {
	e.Fail(err)
	e.buf = append(e.buf, data...)
}

// recover turns a panic into a failure. It is to be deferred.
func (e *Encoder) recover() {
	if value := recover(); value != nil {
		e.Fail(panicked(value))
	}
}

// panicked is the error for a panic that is treated like one.
func panicked(value any) error {
	if err, ok := value.(error); ok {
		return fmt.Errorf("panic: %w", err)
	}
	return errors.New("panic: " + fmt.Sprint(value))
}
