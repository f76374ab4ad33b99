package cacheruntime

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"math/big"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// everything is a value of every kind, written and read back by hand as
// generated code does.
type everything struct {
	Bool  bool
	Ints  []int64
	Small int8
	Uint  uint64
	Byte  uint8
	F32   float32
	F64   float64
	C64   complex64
	C128  complex128
	Text  string
	Data  []byte
	Time  time.Time
	Addr  netip.Addr
	Big   *big.Int
	Unit  []struct{}
	Next  *everything
}

func (v *everything) encode(e *Encoder) {
	if !e.Enter() {
		return
	}
	defer e.Leave()
	e.Bool(v.Bool)
	e.Len(len(v.Ints), v.Ints == nil)
	for _, n := range v.Ints {
		e.Int(n)
	}
	e.Int(int64(v.Small))
	e.Uint(v.Uint)
	e.Uint(uint64(v.Byte))
	e.Float32(v.F32)
	e.Float64(v.F64)
	e.Complex64(v.C64)
	e.Complex128(v.C128)
	e.String(v.Text)
	e.Bytes(v.Data)
	e.Time(v.Time)
	e.AppendBinary(v.Addr)
	if !e.Nil(v.Big == nil) {
		e.AppendText(v.Big)
	}
	e.Len(len(v.Unit), v.Unit == nil)
	if !e.Nil(v.Next == nil) {
		v.Next.encode(e)
	}
}

func (v *everything) decode(d *Decoder) {
	if !d.Enter() {
		return
	}
	defer d.Leave()
	v.Bool = d.Bool()
	if n, isNil := d.Len(1); !isNil {
		v.Ints = make([]int64, n)
		for i := range v.Ints {
			v.Ints[i] = d.Int()
		}
	}
	v.Small = int8(d.IntN(8))
	v.Uint = d.Uint()
	v.Byte = uint8(d.UintN(8))
	v.F32 = d.Float32()
	v.F64 = d.Float64()
	v.C64 = d.Complex64()
	v.C128 = d.Complex128()
	v.Text = d.String()
	v.Data = d.Bytes()
	v.Time = d.Time()
	d.UnmarshalBinary(&v.Addr)
	if d.Some() {
		v.Big = new(big.Int)
		d.UnmarshalText(v.Big)
	}
	if n, isNil := d.Len(0); !isNil {
		v.Unit = make([]struct{}, n)
	}
	if d.Some() {
		v.Next = new(everything)
		v.Next.decode(d)
	}
}

func someOfEverything() *everything {
	return &everything{
		Bool:  true,
		Ints:  []int64{0, -1, 63, 64, -65, math.MinInt64, math.MaxInt64},
		Small: math.MinInt8,
		Uint:  math.MaxUint64,
		Byte:  255,
		F32:   -0.5,
		F64:   math.Inf(-1),
		C64:   1 + 2i,
		C128:  -1i,
		Text:  "grüße",
		Data:  []byte{},
		Time:  time.Date(2024, 2, 29, 23, 59, 59, 999, time.FixedZone("", -3*3600-1)),
		Addr:  netip.MustParseAddr("fe80::1%eth0"),
		Big:   big.NewInt(-12345678901234567),
		Unit:  make([]struct{}, 3),
		Next:  &everything{Ints: []int64{}},
	}
}

var exactly = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b *big.Int) bool { return (a == nil) == (b == nil) && (a == nil || a.Cmp(b) == 0) }),
	cmp.Comparer(func(a, b time.Time) bool {
		_, zoneA := a.Zone()
		_, zoneB := b.Zone()
		return a.Equal(b) && zoneA == zoneB && (a.Location() == time.UTC) == (b.Location() == time.UTC)
	}),
}

func TestCodecRoundTrip(t *testing.T) {
	for _, v := range []*everything{{}, someOfEverything()} {
		var e Encoder
		v.encode(&e)
		data, err := e.Encoded()
		if err != nil {
			t.Fatal(err)
		}
		var got everything
		d := NewDecoder(data)
		got.decode(d)
		if err := d.Finish(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(v, &got, exactly); diff != "" {
			t.Error(diff)
		}
		// Every part of it is missed, and so is anything more.
		for n := range data {
			d := NewDecoder(data[:n])
			new(everything).decode(d)
			if d.Finish() == nil {
				t.Errorf("%d of %d bytes are decoded", n, len(data))
			}
		}
		d = NewDecoder(append(data, 0))
		new(everything).decode(d)
		if d.Finish() == nil {
			t.Error("a byte too many is decoded")
		}
	}
}

func TestTimeRoundTrip(t *testing.T) {
	local := time.Now()
	_, offset := local.Zone()
	for _, v := range []time.Time{
		{},
		local,
		local.UTC(),
		time.Unix(0, 0),
		local.In(time.FixedZone("name", offset+3599)),
		local.In(time.FixedZone("west", -11*3600-17)),
		time.Unix(math.MaxInt64/4, 999999999).UTC(),
		time.Unix(math.MinInt64/4, 1).UTC(),
	} {
		var e Encoder
		e.Time(v)
		d := NewDecoder(e.buf)
		got := d.Time()
		if err := d.Finish(); err != nil {
			t.Errorf("%v: %v", v, err)
		}
		if !cmp.Equal(v, got, exactly) {
			t.Errorf("%v comes back as %v", v, got)
		}
		if v.Location() == time.Local && got.Location() != time.Local {
			t.Errorf("%v comes back in %v", v, got.Location())
		}
	}
	if d := NewDecoder(nil); d.Time() != (time.Time{}) {
		t.Error("a time of no bytes is not the zero time")
	}
	for _, data := range []string{"000080" + "8080808001", "0080a8d6b90700"} { // offset, nanoseconds out of range
		raw, _ := hex.DecodeString(data)
		if d := NewDecoder(raw); !d.Time().IsZero() || d.Finish() == nil {
			t.Errorf("%s is decoded", data)
		}
	}
}

func TestDecoderRanges(t *testing.T) {
	for _, bits := range []int{8, 16, 32, 64} {
		var e Encoder
		low, high := int64(-1)<<(bits-1), int64(1)<<(bits-1)-1
		e.Int(low)
		e.Int(high)
		e.Uint(1<<bits - 1)
		d := NewDecoder(e.buf)
		if a, b, c := d.IntN(bits), d.IntN(bits), d.UintN(bits); a != low || b != high || c != 1<<bits-1 || d.Finish() != nil {
			t.Errorf("%d bits: %d %d %d, %v", bits, a, b, c, d.Finish())
		}
		if bits == 64 {
			continue
		}
		for _, write := range []func(*Encoder){
			func(e *Encoder) { e.Int(low - 1) },
			func(e *Encoder) { e.Int(high + 1) },
		} {
			var e Encoder
			write(&e)
			if d := NewDecoder(e.buf); d.IntN(bits) != 0 || d.Finish() == nil {
				t.Errorf("%x fits into %d bits", e.buf, bits)
			}
		}
		e = Encoder{}
		e.Uint(1 << bits)
		if d := NewDecoder(e.buf); d.UintN(bits) != 0 || d.Finish() == nil {
			t.Errorf("%x fits into %d bits", e.buf, bits)
		}
	}
}

func TestDecoderLengths(t *testing.T) {
	length := func(n uint64, rest int) []byte {
		var e Encoder
		e.Uint(n)
		return append(e.buf, make([]byte, rest)...)
	}
	for _, test := range []struct {
		data    []byte
		minSize int
		n       int
		isNil   bool
		ok      bool
	}{
		{length(0, 0), 1, 0, true, true},
		{length(1, 0), 1, 0, false, true},
		{length(5, 4), 1, 4, false, true},
		{length(6, 4), 1, 0, false, false},
		{length(3, 16), 8, 2, false, true},
		{length(4, 23), 8, 0, false, false},
		{length(math.MaxUint64, 8), 1, 0, false, false},
		{length(maxStateless+1, 0), 0, maxStateless, false, true},
		{length(maxStateless+2, 0), 0, 0, false, false},
		{nil, 1, 0, false, false},
	} {
		d := NewDecoder(test.data)
		n, isNil := d.Len(test.minSize)
		if n != test.n || isNil != test.isNil || (d.err == nil) != test.ok {
			t.Errorf("%x, elements of %d bytes: %d, nil %v, %v", test.data, test.minSize, n, isNil, d.err)
		}
	}
	// The bound on elements without bytes is one for all lists together.
	d := NewDecoder(append(length(maxStateless+1, 0), 2))
	d.Len(0)
	if n, _ := d.Len(0); n != 0 || d.err == nil {
		t.Error("elements without bytes are not bounded")
	}
}

func TestCodecFailuresStick(t *testing.T) {
	sentinel := errors.New("sentinel")
	var e Encoder
	e.Raw([]byte("x"), sentinel)
	e.Fail(errors.New("later"))
	if _, err := e.Encoded(); err != sentinel {
		t.Errorf("encoder: %v", err)
	}
	d := NewDecoder([]byte{1, 1, 1})
	d.Fail(nil)
	d.Fail(sentinel)
	if d.Bool() || d.Int() != 0 || d.String() != "" || d.Bytes() != nil || d.Enter() || len(d.Rest()) != 0 {
		t.Error("a decoder that has failed still decodes")
	}
	if err := d.Finish(); err != sentinel {
		t.Errorf("decoder: %v", err)
	}

	e = Encoder{}
	e.MarshalText(failing{"panic"})
	if _, err := e.Encoded(); err == nil {
		t.Error("a marshaler that panics does not fail")
	}
	e = Encoder{}
	e.MarshalBinary(nil)
	if _, err := e.Encoded(); err == nil {
		t.Error("a nil marshaler does not fail")
	}
	d = NewDecoder([]byte{1, 'x'})
	d.UnmarshalText(panicking{})
	if err := d.Finish(); !errors.Is(err, errPanicking) {
		t.Errorf("an unmarshaler that panics: %v", err)
	}
}

var errPanicking = errors.New("unmarshaler")

type panicking struct{}

func (panicking) UnmarshalText([]byte) error { panic(errPanicking) }

func TestCodecDepth(t *testing.T) {
	nested := func(depth int) *everything {
		var v *everything
		for range depth {
			v = &everything{Next: v}
		}
		return v
	}
	var e Encoder
	nested(maxDepth).encode(&e)
	data, err := e.Encoded()
	if err != nil {
		t.Fatal(err)
	}
	d := NewDecoder(data)
	new(everything).decode(d)
	if err := d.Finish(); err != nil {
		t.Error(err)
	}

	e = Encoder{}
	cycle := &everything{}
	cycle.Next = cycle
	cycle.encode(&e)
	if _, err := e.Encoded(); err != errDepth {
		t.Errorf("a value that contains itself: %v", err)
	}
	var one Encoder
	new(everything).encode(&one)
	level := bytes.TrimSuffix(one.buf, []byte{0})
	d = NewDecoder(bytes.Repeat(append(level, 1), maxDepth+1))
	new(everything).decode(d)
	if err := d.Finish(); err != errDepth {
		t.Errorf("data that is nested too deep: %v", err)
	}
}

func TestDecodedMemory(t *testing.T) {
	var e Encoder
	e.Bytes([]byte("bytes"))
	e.String("string")
	e.Raw([]byte("rest"), nil)
	data := e.buf
	d := NewDecoder(data)
	b, s, rest := d.Bytes(), d.String(), d.Rest()
	if d.Finish() != nil || string(b) != "bytes" || s != "string" || string(rest) != "rest" {
		t.Fatalf("%s %s %s %v", b, s, rest, d.Finish())
	}
	b[0], rest[0] = 'X', 'X'
	d = NewDecoder(data)
	if b, _, rest := d.Bytes(), d.String(), d.Rest(); string(b) != "bytes" || string(rest) != "rest" {
		t.Error("a decoded slice shares the memory of its entry")
	}
	small := NewDecoder([]byte("\x06string"))
	if n := testing.AllocsPerRun(100, func() { d := *small; s = d.String() }); n != 0 {
		t.Errorf("decoding a string allocates %v times", n)
	}
}

// Arbitrary bytes of a given number may not make a decoding allocate more than this
// many for each, and somewhat for what an error and the garbage collector take.
const (
	allocatedPerByte = 64
	allocatedAnyway  = 64 << 10
)

// allocated is how many bytes f allocates. Whatever else runs meanwhile counts too.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzDecoder decodes arbitrary bytes: that does not panic and allocates in proportion
// to their number, and what comes out can be encoded and decoded again, to the bit.
func FuzzDecoder(f *testing.F) {
	var e Encoder
	someOfEverything().encode(&e)
	f.Add(e.buf)
	e = Encoder{}
	new(everything).encode(&e)
	f.Add(e.buf)
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	options := append(exactly[:len(exactly):len(exactly)], cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
		cmp.Comparer(func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }),
		cmp.Comparer(func(a, b complex64) bool { return bits64(a) == bits64(b) }),
		cmp.Comparer(func(a, b complex128) bool { return bits128(a) == bits128(b) }))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v, again everything
		var d *Decoder
		spent := allocated(func() {
			d = NewDecoder(data)
			v.decode(d)
		})
		if most := uint64(allocatedPerByte*len(data) + allocatedAnyway); spent > most {
			t.Fatalf("decoding %d bytes allocates %d: %x", len(data), spent, data)
		}
		if d.Finish() != nil {
			return
		}
		var e Encoder
		v.encode(&e)
		d = NewDecoder(e.buf)
		again.decode(d)
		if err := d.Finish(); err != nil {
			t.Fatalf("what was decoded cannot be decoded again: %v", err)
		}
		if diff := cmp.Diff(&v, &again, options); diff != "" {
			t.Fatal(diff)
		}
		// There is one encoding of what has been decoded from one.
		var twice Encoder
		again.encode(&twice)
		if !bytes.Equal(e.buf, twice.buf) {
			t.Fatalf("encoded as %x, then as %x", e.buf, twice.buf)
		}
	})
}

func bits64(v complex64) [2]uint32 {
	return [2]uint32{math.Float32bits(real(v)), math.Float32bits(imag(v))}
}

func bits128(v complex128) [2]uint64 {
	return [2]uint64{math.Float64bits(real(v)), math.Float64bits(imag(v))}
}

// FuzzCodecValues encodes and decodes values of every kind, exactly, from a decoder
// that has other values before and after.
func FuzzCodecValues(f *testing.F) {
	f.Add(int64(-1), uint64(1), uint64(0x7ff8000000012345), "text", []byte{0}, int64(1e9), uint32(999_999_999), int32(-11*3600-17), uint8(0xff))
	f.Add(int64(math.MinInt64), uint64(math.MaxUint64), uint64(1)<<63, "", []byte{}, int64(-62135596800), uint32(0), int32(0), uint8(0))
	f.Fuzz(func(t *testing.T, i int64, u, bits uint64, text string, data []byte, sec int64, nsec uint32, offset int32, shape uint8) {
		at := time.Unix(sec, int64(nsec%1e9)).UTC()
		if shape&1 != 0 {
			at = at.In(time.FixedZone("zone", int(offset)))
		}
		if shape&2 != 0 {
			data = nil
		}
		float, c128 := math.Float64frombits(bits), complex(math.Float64frombits(bits), math.Float64frombits(u))
		f32, c64 := math.Float32frombits(uint32(bits)), complex(math.Float32frombits(uint32(bits)), math.Float32frombits(uint32(u)))
		var e Encoder
		e.Bool(shape&4 != 0)
		e.Int(i)
		e.Int(int64(int8(i)))
		e.Uint(u)
		e.Uint(uint64(uint16(u)))
		e.Float64(float)
		e.Float32(f32)
		e.Complex128(c128)
		e.Complex64(c64)
		e.String(text)
		e.Bytes(data)
		e.Len(len(data), data == nil)
		e.Array(data)
		e.Time(at)
		e.AppendText(big.NewInt(i))
		e.Raw([]byte(text), nil)
		encoded, err := e.Encoded()
		if err != nil {
			t.Fatal(err)
		}
		d := NewDecoder(encoded)
		want := func(what string, ok bool) {
			if !ok {
				t.Errorf("%s differs", what)
			}
		}
		want("bool", d.Bool() == (shape&4 != 0))
		want("int", d.Int() == i)
		want("int8", d.IntN(8) == int64(int8(i)))
		want("uint", d.Uint() == u)
		want("uint16", d.UintN(16) == uint64(uint16(u)))
		want("float64", math.Float64bits(d.Float64()) == bits)
		want("float32", math.Float32bits(d.Float32()) == uint32(bits))
		want("complex128", bits128(d.Complex128()) == bits128(c128))
		want("complex64", bits64(d.Complex64()) == bits64(c64))
		want("string", d.String() == text)
		got := d.Bytes()
		want("bytes", bytes.Equal(got, data) && (got == nil) == (data == nil))
		n, isNil := d.Len(1)
		want("length", n == len(data) && isNil == (data == nil))
		array := make([]byte, n)
		d.Array(array)
		want("array", bytes.Equal(array, data))
		back := d.Time()
		_, zone := back.Zone()
		_, wanted := at.Zone()
		want("time", back.Equal(at) && zone == wanted && (back.Location() == time.UTC) == (at.Location() == time.UTC))
		var number big.Int
		d.UnmarshalText(&number)
		want("marshaler", number.IsInt64() && number.Int64() == i)
		want("rest", string(d.Rest()) == text)
		if err := d.Finish(); err != nil {
			t.Error(err)
		}
	})
}

func TestArray(t *testing.T) {
	var e Encoder
	e.Array([]byte{1, 2, 255})
	e.Array(nil)
	data, err := e.Encoded()
	if err != nil || len(data) != 3 {
		t.Fatalf("encoded as %x, %v", data, err)
	}
	var array [3]byte
	d := NewDecoder(data)
	d.Array(array[:])
	if err := d.Finish(); err != nil || array != [3]byte{1, 2, 255} {
		t.Errorf("decoded as %v, %v", array, err)
	}
	d = NewDecoder(data[:2])
	d.Array(array[:])
	if d.Finish() == nil {
		t.Error("2 bytes were decoded as an array of 3")
	}
}
