package cacheruntime

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Rendered keys are for people: they are cut where they get long.
const (
	maxRendered      = 200 // bytes, about
	maxRenderedBytes = 64  // of one string
	maxRenderedDepth = 8
)

// renderValues writes encoded values as people would write the arguments of a
// call: 7, "en", [1 2]. Where they are cut short there is one "…", as there is
// at the end if more has been cut off before.
func renderValues(b *strings.Builder, data []byte, cut bool) {
	r := renderer{b: b, data: data, limit: b.Len() + maxRendered}
	for i := 0; len(r.data) > 0; i++ {
		if i > 0 {
			b.WriteString(", ")
		}
		if !r.value(0) {
			cut = true
			break
		}
	}
	if cut {
		r.cut()
	}
}

type renderer struct {
	b     *strings.Builder
	data  []byte // still to be rendered
	limit int    // length of b at which it is enough
	done  bool   // there is a "…"
}

// cut writes that something is left out, once.
func (r *renderer) cut() {
	if !r.done {
		r.b.WriteString("…")
		r.done = true
	}
}

// value renders one value. It reports whether it got to the end of it.
func (r *renderer) value(depth int) bool {
	if len(r.data) == 0 || depth > maxRenderedDepth || r.b.Len() > r.limit {
		return false
	}
	kind := r.data[0]
	r.data = r.data[1:]
	switch kind {
	case kindNil:
		r.b.WriteString("nil")
		return true
	case kindFalse:
		r.b.WriteString("false")
		return true
	case kindTrue:
		r.b.WriteString("true")
		return true
	case kindAny:
		r.b.WriteByte('*')
		return true
	case kindInt:
		v, n := binary.Varint(r.data)
		return r.write(strconv.FormatInt(v, 10), n)
	case kindUint:
		v, n := binary.Uvarint(r.data)
		return r.write(strconv.FormatUint(v, 10), n)
	case kindFloat32:
		return r.float(4)
	case kindFloat64:
		return r.float(8)
	case kindComplex64:
		return r.complex(4)
	case kindComplex128:
		return r.complex(8)
	case kindString, kindText:
		return r.text()
	case kindBytes, kindBinary:
		return r.bytes()
	case kindTime:
		return r.time()
	case kindSome:
		return r.value(depth)
	case kindList:
		return r.group("[", "]", false, depth)
	case kindStruct:
		return r.group("{", "}", false, depth)
	case kindMap:
		return r.group("map[", "]", true, depth)
	case kindInterface:
		data, ok := r.prefixed()
		name := bytes.TrimLeft(data, "*")
		r.b.WriteString(strings.Repeat("*", min(len(data)-len(name), maxRenderedDepth)))
		short := shortName(string(name))
		if len(short) > maxRenderedBytes {
			short = short[:maxRenderedBytes] + "…"
		}
		r.b.WriteString(strings.ToValidUTF8(short, "")) // it may be cut in the middle of a character
		if !ok {
			return false
		}
		r.b.WriteByte('(')
		if ok = r.value(depth + 1); !ok {
			r.cut()
		}
		r.b.WriteByte(')')
		return ok
	}
	return false
}

// write writes a number that took n bytes, unless it was cut short.
func (r *renderer) write(text string, n int) bool {
	if n <= 0 {
		return false
	}
	r.b.WriteString(text)
	r.data = r.data[n:]
	return true
}

func (r *renderer) float(size int) bool {
	v, ok := r.number(size)
	if ok {
		r.b.WriteString(strconv.FormatFloat(v, 'g', -1, size*8))
	}
	return ok
}

func (r *renderer) complex(size int) bool {
	re, _ := r.number(size)
	im, ok := r.number(size)
	if ok {
		r.b.WriteString(strconv.FormatComplex(complex(re, im), 'g', -1, size*16))
	}
	return ok
}

func (r *renderer) number(size int) (float64, bool) {
	if len(r.data) < size {
		r.data = nil
		return 0, false
	}
	data := r.data[:size]
	r.data = r.data[size:]
	if size == 4 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(data))), true
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(data)), true
}

// prefixed takes a length and that many bytes, or as many as there are.
func (r *renderer) prefixed() ([]byte, bool) {
	length, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.data = nil
		return nil, false
	}
	data := r.data[n:]
	if length > uint64(len(data)) {
		r.data = nil
		return data, false
	}
	r.data = data[length:]
	return data[:length], true
}

func (r *renderer) text() bool {
	text, whole := r.prefixed()
	cut := !whole
	if len(text) > maxRenderedBytes {
		text, cut = text[:maxRenderedBytes], true
	}
	if cut { // not in the middle of a character
		for n := 0; n < utf8.UTFMax-1 && len(text) > 0; n++ {
			if last, size := utf8.DecodeLastRune(text); last != utf8.RuneError || size != 1 {
				break
			}
			text = text[:len(text)-1]
		}
	}
	quoted := strconv.Quote(string(text))
	if cut {
		quoted = quoted[:len(quoted)-1] + `…"`
	}
	r.b.WriteString(quoted)
	r.done = r.done || !whole
	return whole
}

func (r *renderer) bytes() bool {
	data, whole := r.prefixed()
	cut := !whole
	if len(data) > maxRenderedBytes/2 {
		data, cut = data[:maxRenderedBytes/2], true
	}
	r.b.WriteString("0x")
	r.b.WriteString(hex.EncodeToString(data))
	if cut {
		r.b.WriteString("…")
	}
	r.done = r.done || !whole
	return whole
}

func (r *renderer) time() bool {
	seconds, n := binary.Varint(r.data)
	if n <= 0 {
		return false
	}
	nanoseconds, m := binary.Uvarint(r.data[n:])
	if m <= 0 {
		return false
	}
	r.data = r.data[n+m:]
	r.b.WriteString(time.Unix(seconds, int64(nanoseconds)).UTC().Format(time.RFC3339Nano))
	return true
}

// group renders a length and that many values, or pairs of values.
func (r *renderer) group(open, end string, pairs bool, depth int) bool {
	length, n := binary.Uvarint(r.data)
	if n <= 0 {
		return false
	}
	r.data = r.data[n:]
	r.b.WriteString(open)
	for i := range length {
		if i > 0 {
			r.b.WriteByte(' ')
		}
		ok := r.value(depth + 1)
		if ok && pairs {
			r.b.WriteByte(':')
			ok = r.value(depth + 1)
		}
		if !ok {
			r.cut()
			r.b.WriteString(end)
			return false
		}
	}
	r.b.WriteString(end)
	return true
}

// shortName leaves the folders out of a name that begins with an import path:
// "example.com/blog.post" is "blog.post". What a generic type is an instance of
// stays as it is.
func shortName(name string) string {
	path, _, _ := strings.Cut(name, "[")
	return name[strings.LastIndexByte(path, '/')+1:]
}
