package cacheruntime

import (
	"bytes"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// arguments stands for the parameters of a method, one of every kind.
type arguments struct {
	Int    int64
	Uint   uint64
	Bool   bool
	Text   string
	Data   []byte
	Ptr    *string
	List   []string
	Lists  [][]int64
	Map    map[string]int64
	Deep   map[int64][]string
	Floats []float64
	Float  float32
	C64    complex64
	C128   complex128
	NaNs   pairs
	Tree   map[string]map[string]int64
	Addr   netip.Addr
	Big    *big.Int
	Any    dynamic
	Inner  *inner
	Time   time.Time
	Pair   [2]string
}

// inner is a struct in a struct, which may hold itself.
type inner struct {
	Data []byte
	Next *inner
}

// dynamic is a value of an interface type, of which the dynamic type counts.
type dynamic struct{ value any }

// pairs is a map as a list, since several entries of a map may have the key NaN.
type pairs []pair

type pair struct {
	key   float64
	value string
}

func (a *arguments) write(k *Key) {
	k.Int(a.Int)
	k.Uint(a.Uint)
	k.Bool(a.Bool)
	k.String(a.Text)
	k.Bytes(a.Data)
	if a.Ptr == nil {
		k.Nil()
	} else {
		k.Some()
		k.String(*a.Ptr)
	}
	writeStrings(k, a.List)
	if a.Lists == nil {
		k.List(-1)
	} else {
		k.List(len(a.Lists))
		for _, list := range a.Lists {
			if list == nil {
				k.List(-1)
				continue
			}
			k.List(len(list))
			for _, v := range list {
				k.Int(v)
			}
		}
	}
	entries := k.Map(len(a.Map), a.Map == nil)
	for name, v := range a.Map {
		entries.Entry()
		k.String(name)
		k.Int(v)
	}
	entries.End()
	entries = k.Map(len(a.Deep), a.Deep == nil)
	for n, list := range a.Deep {
		entries.Entry()
		k.Int(n)
		writeStrings(k, list)
	}
	entries.End()
	k.List(len(a.Floats))
	for _, v := range a.Floats {
		k.Float64(v)
	}
	k.Float32(a.Float)
	k.Complex64(a.C64)
	k.Complex128(a.C128)
	entries = k.Map(len(a.NaNs), a.NaNs == nil)
	for _, pair := range a.NaNs {
		entries.Entry()
		k.Float64(pair.key)
		k.String(pair.value)
	}
	entries.End()
	entries = k.Map(len(a.Tree), a.Tree == nil)
	for name, branch := range a.Tree {
		entries.Entry()
		k.String(name)
		branches := k.Map(len(branch), branch == nil)
		for name, v := range branch {
			branches.Entry()
			k.String(name)
			k.Int(v)
		}
		branches.End()
	}
	entries.End()
	k.AppendBinary(a.Addr)
	if a.Big == nil {
		k.Nil()
	} else {
		k.Some()
		k.AppendText(a.Big)
	}
	k.Interface(a.Any.value)
	a.Inner.write(k)
	k.Time(a.Time)
	k.Struct(2)
	k.String(a.Pair[0])
	k.String(a.Pair[1])
}

func (in *inner) write(k *Key) {
	if !k.Enter() {
		return
	}
	defer k.Leave()
	if in == nil {
		k.Nil()
		return
	}
	k.Some()
	k.Struct(2)
	k.Bytes(in.Data)
	in.Next.write(k)
}

func writeStrings(k *Key, list []string) {
	if list == nil {
		k.List(-1)
		return
	}
	k.List(len(list))
	for _, s := range list {
		k.String(s)
	}
}

// source makes values of bytes. Domains are small, so that equal values and
// values that differ in a detail come up often.
type source []byte

func (s *source) n(n int) int {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return int(b) % n
}

func (s *source) text() string {
	n := min(s.n(4), len(*s))
	text := string((*s)[:n])
	*s = (*s)[n:]
	return text
}

func (s *source) strings() []string {
	n := s.n(4) - 1
	if n < 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = s.text()
	}
	return list
}

func (s *source) ints() []int64 {
	n := s.n(4) - 1
	if n < 0 {
		return nil
	}
	list := make([]int64, n)
	for i := range list {
		list[i] = int64(s.n(3)) - 1
	}
	return list
}

func (s *source) arguments() *arguments {
	a := &arguments{
		Int:  int64(s.n(256))<<(s.n(8)*8) - 1,
		Uint: uint64(s.n(256)) << (s.n(8) * 8),
		Bool: s.n(2) == 1,
		Text: s.text(),
		List: s.strings(),
		Pair: [2]string{s.text(), s.text()},
	}
	if n := s.n(3); n > 0 {
		a.Data = []byte(s.text())
	}
	if text := s.text(); text != "" {
		a.Ptr = &text
	}
	if n := s.n(4) - 1; n >= 0 {
		a.Lists = make([][]int64, n)
		for i := range a.Lists {
			a.Lists[i] = s.ints()
		}
	}
	if n := s.n(4) - 1; n >= 0 {
		a.Map = map[string]int64{}
		for range n {
			a.Map[s.text()] = int64(s.n(3))
		}
	}
	if n := s.n(4) - 1; n >= 0 {
		a.Deep = map[int64][]string{}
		for range n {
			a.Deep[int64(s.n(3))] = s.strings()
		}
	}
	floats := []float64{0, math.Copysign(0, -1), 1, math.NaN(), math.Float64frombits(math.Float64bits(math.NaN()) ^ 5), math.Inf(1)}
	float := func() float64 { return floats[s.n(len(floats))] }
	for range s.n(3) {
		a.Floats = append(a.Floats, float())
	}
	a.Float = float32(float())
	a.C64 = complex(float32(float()), float32(float()))
	a.C128 = complex(float(), float())
	if n := s.n(4) - 1; n >= 0 {
		a.NaNs = pairs{}
		for range n {
			if p := (pair{float(), s.text()}); p.key != p.key || !slices.ContainsFunc(a.NaNs, func(q pair) bool { return p.key == q.key }) {
				a.NaNs = append(a.NaNs, p)
			}
		}
	}
	if n := s.n(3) - 1; n >= 0 {
		a.Tree = map[string]map[string]int64{}
		for range n {
			a.Tree[s.text()] = nil
			a.Tree[s.text()] = map[string]int64{}
			a.Tree[s.text()] = map[string]int64{s.text(): int64(s.n(2)), s.text(): int64(s.n(2))}
		}
	}
	addrs := []netip.Addr{{}, netip.IPv4Unspecified(), netip.IPv6Unspecified(), netip.MustParseAddr("::ffff:0.0.0.0"), netip.IPv6Unspecified().WithZone("\x00")}
	a.Addr = addrs[s.n(len(addrs))]
	if n := s.n(4) - 1; n >= 0 {
		a.Big = new(big.Int).SetBytes([]byte(s.text()))
	}
	anything := []any{nil, addrs[0], &addrs[0], netip.AddrPort{}, big.NewInt(0), big.NewInt(7), new(big.Float), time.Time{}, &time.Time{}}
	a.Any.value = anything[s.n(len(anything))]
	for range s.n(4) {
		a.Inner = &inner{Next: a.Inner}
		if s.n(2) > 0 {
			a.Inner.Data = []byte(s.text())
		}
	}
	zones := []*time.Location{time.UTC, time.FixedZone("x", 3600), time.Local}
	a.Time = time.Unix(int64(s.n(3)), int64(s.n(3))).In(zones[s.n(3)])
	return a
}

func sameFloat(a, b float64) bool { return a == b || a != a && b != b }

func samePair(a, b pair) bool { return sameFloat(a.key, b.key) && a.value == b.value }

var sameArgument = cmp.Options{
	cmp.Comparer(sameFloat),
	cmp.Comparer(func(a, b float32) bool { return sameFloat(float64(a), float64(b)) }),
	cmp.Comparer(func(a, b complex64) bool {
		return sameFloat(float64(real(a)), float64(real(b))) && sameFloat(float64(imag(a)), float64(imag(b)))
	}),
	cmp.Comparer(func(a, b complex128) bool { return sameFloat(real(a), real(b)) && sameFloat(imag(a), imag(b)) }),
	cmp.Comparer(func(a, b pairs) bool { // as sets
		if len(a) != len(b) || (a == nil) != (b == nil) {
			return false
		}
		left := slices.Clone(b)
		for _, p := range a {
			i := slices.IndexFunc(left, func(q pair) bool { return samePair(p, q) })
			if i < 0 {
				return false
			}
			left = slices.Delete(left, i, i+1)
		}
		return true
	}),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b *big.Int) bool { return (a == nil) == (b == nil) && (a == nil || a.Cmp(b) == 0) }),
	cmp.Comparer(func(a, b dynamic) bool { return reflect.DeepEqual(a, b) }),
	cmp.Comparer(time.Time.Equal),
}

// FuzzKey checks that two tuples of arguments have one key if and only if they are
// equal. The second is that of other bytes, and also the first with one byte changed,
// which is where encodings that run together would show.
func FuzzKey(f *testing.F) {
	f.Add([]byte{}, []byte{}, uint16(0))
	f.Add([]byte("\x01\x00\x02\x00\x01\x03abc"), []byte("\x01\x00\x02\x00\x01\x03abd"), uint16(7))
	f.Add(bytes.Repeat([]byte{3, 'a'}, 40), bytes.Repeat([]byte{3, 'a'}, 41), uint16(30))
	f.Fuzz(func(t *testing.T, one, two []byte, at uint16) {
		if len(one) > 1<<10 || len(two) > 1<<10 {
			return // nothing but longer
		}
		pairs := [][2][]byte{{one, two}}
		if len(one) > 0 {
			near := slices.Clone(one)
			near[int(at)%len(near)] ^= byte(len(two) + 1)
			pairs = append(pairs, [2][]byte{one, near})
		}
		for _, p := range pairs {
			checkKeys(t, p[0], p[1])
		}
	})
}

// checkKeys fails the test unless the arguments made of two sources have one key if
// and only if they are equal, and otherwise none that is the beginning of the other.
func checkKeys(t *testing.T, one, two source) {
	t.Helper()
	a, b := one.arguments(), two.arguments()
	keyA, keyB := encoded(a.write), encoded(b.write)
	if keyA == nil || keyB == nil {
		t.Fatalf("a key fails\n%+v\n%+v", a, b)
	}
	if !bytes.Equal(keyA, encoded(a.write)) {
		t.Fatalf("one call has two keys\n%+v", a)
	}
	equal := cmp.Equal(a, b, sameArgument)
	if same := bytes.Equal(keyA, keyB); same != equal {
		t.Fatalf("equal arguments: %v, equal keys: %v\n%+v\n%+v", equal, same, a, b)
	}
	if !equal && (bytes.HasPrefix(keyA, keyB) || bytes.HasPrefix(keyB, keyA)) {
		t.Fatalf("one key is a prefix of another\n%+v\n%+v", a, b)
	}
}

// Arguments that differ in one choice, of which every one is tried.
func TestKeysOfNeighbours(t *testing.T) {
	for _, fill := range []byte{0, 1, 2, 3} {
		base := source(bytes.Repeat([]byte{fill}, 80))
		for at := range base {
			for b := range byte(12) {
				near := slices.Clone(base)
				near[at] = b
				checkKeys(t, base, near)
			}
		}
	}
}

// FuzzRender renders arbitrary bytes as a key and as a tag: it ends, what comes out
// is short, and it is text.
func FuzzRender(f *testing.F) {
	for _, key := range vectorKeys {
		f.Add(encoded(key.write))
	}
	f.Add(encoded(func(k *Key) { k.bytes(kindInterface, bytes.Repeat([]byte("long"), 200)) }))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, cut := range []bool{false, true} {
			var b strings.Builder
			renderValues(&b, data, cut)
			// One value may go over the limit, each of its bytes as \x00, and so do the
			// brackets around it.
			if most := maxRendered + 4*maxRenderedBytes + 64; b.Len() > most {
				t.Fatalf("%x takes %d bytes: %s", data, b.Len(), &b)
			}
			if !utf8.ValidString(b.String()) {
				t.Fatalf("%x is rendered as %q", data, &b)
			}
		}
		key := NewKey()
		key.buf = append(key.buf, data...)
		if tag := key.Tag("example.com/blog.post"); !strings.HasPrefix(tag.String(), "blog.post") {
			t.Fatalf("%x: %v", data, tag)
		}
	})
}
