package cacheruntime

import (
	"bytes"
	"math"
	"testing"
	"time"

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
	Time   time.Time
	Pair   [2]string
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
	k.Time(a.Time)
	k.Struct(2)
	k.String(a.Pair[0])
	k.String(a.Pair[1])
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
	for range s.n(3) {
		a.Floats = append(a.Floats, floats[s.n(len(floats))])
	}
	zones := []*time.Location{time.UTC, time.FixedZone("x", 3600), time.Local}
	a.Time = time.Unix(int64(s.n(3)), int64(s.n(3))).In(zones[s.n(3)])
	return a
}

var sameArgument = cmp.Options{
	cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b }),
	cmp.Comparer(time.Time.Equal),
}

func FuzzKey(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add([]byte("\x01\x00\x02\x00\x01\x03abc"), []byte("\x01\x00\x02\x00\x01\x03abd"))
	f.Add(bytes.Repeat([]byte{3, 'a'}, 40), bytes.Repeat([]byte{3, 'a'}, 41))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		a, b := (*source)(&one).arguments(), (*source)(&two).arguments()
		keyA, keyB := encoded(a.write), encoded(b.write)
		equal := cmp.Equal(a, b, sameArgument)
		if same := bytes.Equal(keyA, keyB); same != equal {
			t.Fatalf("equal arguments: %v, equal keys: %v\n%+v\n%+v", equal, same, a, b)
		}
		if !equal && (bytes.HasPrefix(keyA, keyB) || bytes.HasPrefix(keyB, keyA)) {
			t.Fatalf("one key is a prefix of another\n%+v\n%+v", a, b)
		}
	})
}
