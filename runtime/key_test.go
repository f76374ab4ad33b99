package cacheruntime

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"math/big"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

// encoded returns the bytes that append writes, or nil if the key failed.
func encoded(write func(*Key)) []byte {
	key := NewKey()
	defer key.Release()
	write(key)
	if key.failed {
		return nil
	}
	return append([]byte{}, key.buf...) // not nil, even of a key that has never held anything
}

func intMap(key *Key, m map[int]string) {
	entries := key.Map(len(m), m == nil)
	for k, v := range m {
		entries.Entry()
		key.Int(int64(k))
		key.String(v)
	}
	entries.End()
}

func TestKeyTimeIsTheInstant(t *testing.T) {
	now := time.Now()
	same := encoded(func(k *Key) { k.Time(now) })
	for _, other := range []time.Time{now.UTC(), now.Round(0), now.In(time.FixedZone("x", 3600))} {
		if !bytes.Equal(same, encoded(func(k *Key) { k.Time(other) })) {
			t.Errorf("%v and %v have different keys", now, other)
		}
	}
	if bytes.Equal(same, encoded(func(k *Key) { k.Time(now.Add(1)) })) {
		t.Error("a nanosecond later has the same key")
	}
}

func TestKeyMapsAreSorted(t *testing.T) {
	m := map[int]string{}
	for i := range 100 {
		m[i*i] = strings.Repeat("x", i%7)
	}
	want := encoded(func(k *Key) { intMap(k, m) })
	for range 20 {
		if !bytes.Equal(want, encoded(func(k *Key) { intMap(k, maps.Clone(m)) })) {
			t.Fatal("one map has two keys")
		}
	}

	// A map inside a map, and a map that holds several NaNs.
	nested := func(k *Key, m map[string]map[int]string) {
		entries := k.Map(len(m), m == nil)
		for name, inner := range m {
			entries.Entry()
			k.String(name)
			intMap(k, inner)
		}
		entries.End()
	}
	mm := map[string]map[int]string{"a": m, "b": {}, "c": nil, "d": {3: "x", 1: "y"}}
	want = encoded(func(k *Key) { nested(k, mm) })
	for range 20 {
		if !bytes.Equal(want, encoded(func(k *Key) { nested(k, maps.Clone(mm)) })) {
			t.Fatal("one nested map has two keys")
		}
	}
	floats := func(values ...string) []byte {
		return encoded(func(k *Key) {
			entries := k.Map(len(values), false)
			for _, value := range values {
				entries.Entry()
				k.Float64(math.NaN())
				k.String(value)
			}
			entries.End()
		})
	}
	if !bytes.Equal(floats("a", "b"), floats("b", "a")) {
		t.Error("the order of NaN keys counts")
	}
}

// Arguments that would run together if anything were left out of the encoding: no
// two of a group have one key, or one that is the beginning of the other's.
func TestKeysDoNotRunTogether(t *testing.T) {
	texts := func(k *Key, values ...string) {
		for _, v := range values {
			k.String(v)
		}
	}
	pairs := func(k *Key, values ...string) {
		entries := k.Map(len(values)/2, false)
		for i := 0; i < len(values); i += 2 {
			entries.Entry()
			texts(k, values[i:i+2]...)
		}
		entries.End()
	}
	for name, group := range map[string][]func(*Key){
		"strings": {
			func(k *Key) { texts(k, "ab", "c") }, func(k *Key) { texts(k, "a", "bc") }, func(k *Key) { texts(k, "", "abc") },
			func(k *Key) { texts(k, "a\x0a", "c") }, func(k *Key) { texts(k, "a", "\x0ac") }, func(k *Key) { texts(k, "a\x0a\x01", "") },
		},
		"bytes": {
			func(k *Key) { k.Bytes([]byte{1, 0x0b}); k.Bytes(nil) }, func(k *Key) { k.Bytes([]byte{1}); k.Bytes([]byte{1}) },
			func(k *Key) { k.Bytes(nil); k.Bytes([]byte{1}) }, func(k *Key) { k.Bytes([]byte{}); k.Bytes([]byte{1}) },
		},
		"lists": {
			func(k *Key) { k.List(1); texts(k, "a", "b") }, func(k *Key) { k.List(2); texts(k, "a", "b") },
			func(k *Key) { k.List(0); texts(k, "a", "b") }, func(k *Key) { k.List(-1); texts(k, "a", "b") },
		},
		"lists of lists": {
			func(k *Key) { k.List(2); k.List(1); texts(k, "a"); k.List(0) }, func(k *Key) { k.List(2); k.List(0); k.List(1); texts(k, "a") },
			func(k *Key) { k.List(1); k.List(1); texts(k, "a"); k.List(0) }, func(k *Key) { k.List(2); k.List(-1); k.List(1); texts(k, "a") },
		},
		"maps": {
			func(k *Key) { pairs(k, "a", "b"); texts(k, "c", "d") }, func(k *Key) { pairs(k, "a", "b", "c", "d") },
			func(k *Key) { pairs(k); texts(k, "a", "b", "c", "d") }, func(k *Key) { pairs(k, "c", "d"); texts(k, "a", "b") },
			func(k *Key) { pairs(k, "a", "d", "c", "b") }, func(k *Key) { k.Map(0, true).End(); texts(k, "a", "b", "c", "d") },
		},
		"pointers": {
			func(k *Key) { k.Nil() }, func(k *Key) { k.Some(); k.Nil() }, func(k *Key) { k.Some(); k.Some(); k.Nil() },
			func(k *Key) { k.Some(); k.List(0) },
		},
		"structs": {
			func(k *Key) { k.Struct(1); texts(k, "a", "b") }, func(k *Key) { k.Struct(2); texts(k, "a", "b") }, func(k *Key) { texts(k, "a", "b") },
		},
		"kinds": {
			func(k *Key) { k.Int(1) }, func(k *Key) { k.Uint(1) }, func(k *Key) { k.Uint(2) }, func(k *Key) { k.Bool(true) },
			func(k *Key) { k.String("1") }, func(k *Key) { k.Bytes([]byte("1")) }, func(k *Key) { k.bytes(kindText, []byte("1")) },
			func(k *Key) { k.bytes(kindBinary, []byte("1")) }, func(k *Key) { k.Float32(1) }, func(k *Key) { k.Float64(1) },
			func(k *Key) { k.Complex64(1) }, func(k *Key) { k.Complex128(1) }, func(k *Key) { k.Any() }, func(k *Key) { k.Nil() },
			func(k *Key) { k.List(1) }, func(k *Key) { k.Struct(1) }, func(k *Key) { pairs(k, "1", "1") }, func(k *Key) { k.Time(time.Unix(1, 0)) },
		},
	} {
		for i, write := range group {
			for j, other := range group {
				if i != j && bytes.HasPrefix(encoded(write), encoded(other)) {
					t.Errorf("%s: %x begins with %x", name, encoded(write), encoded(other))
				}
			}
		}
	}
}

type failing struct{ how string }

func (f failing) MarshalText() ([]byte, error) {
	if f.how == "panic" {
		panic("marshaler")
	}
	return nil, errors.New("marshaler")
}

func TestKeyInterface(t *testing.T) {
	addr := netip.MustParseAddr("1.2.3.4")
	values := []any{
		nil,
		addr,
		&addr,
		netip.AddrPortFrom(addr, 80),
		big.NewInt(42),
		&url.URL{Path: "/"},
		time.Unix(0, 0).UTC(),
	}
	seen := map[string]int{}
	for i, value := range values {
		key := encoded(func(k *Key) { k.Interface(value) })
		if key == nil {
			t.Errorf("%T fails", value)
			continue
		}
		if j, ok := seen[string(key)]; ok {
			t.Errorf("%T has the key of %T", value, values[j])
		}
		seen[string(key)] = i
	}
	for _, value := range []any{(*netip.Addr)(nil), (*big.Int)(nil), 7, "text", struct{ netip.Addr }{addr}, []int{1}, failing{"error"}, failing{"panic"}} {
		if encoded(func(k *Key) { k.Interface(value) }) != nil {
			t.Errorf("%T %v does not fail", value, value)
		}
	}
}

func TestKeyFails(t *testing.T) {
	for name, write := range map[string]func(*Key){
		"marshaler error":    func(k *Key) { k.MarshalText(failing{"error"}) },
		"marshaler panic":    func(k *Key) { k.MarshalText(failing{"panic"}) },
		"nil marshaler":      func(k *Key) { k.MarshalBinary(nil) },
		"nil appender":       func(k *Key) { k.AppendBinary(nil) },
		"nil text marshaler": func(k *Key) { k.MarshalText(nil) },
		"nil text appender":  func(k *Key) { k.AppendText(nil) },
		"recovered panic": func(k *Key) {
			defer k.Recover()
			var p *post
			k.String(p.Title)
		},
		"too deep": func(k *Key) {
			for k.Enter() {
			}
		},
	} {
		if encoded(write) != nil {
			t.Errorf("%s: the key has not failed", name)
		}
		key := NewKey()
		write(key)
		if got, want := key.Tag("example.com/blog.post"), AllTag("example.com/blog.post"); got != want {
			t.Errorf("%s: a tag of the key is %v, not %v", name, got, want)
		}
	}
	fine := func(k *Key) {
		defer k.Recover()
		for range maxDepth {
			if !k.Enter() {
				return
			}
		}
		for range maxDepth {
			k.Leave()
		}
		k.Enter()
		k.Int(1)
		k.Leave()
	}
	if encoded(fine) == nil {
		t.Error("a key that is as deep as allowed has failed")
	}
}

func TestReleasedKeyIsEmpty(t *testing.T) {
	key := NewKey()
	key.Int(1)
	key.Args()
	key.Next()
	key.Any()
	key.Map(1, false).Entry()
	key.Enter()
	key.failed = true
	key.reason = ReasonAbsent
	key.Release()
	if len(key.buf) != 0 || key.args != 0 || key.parts != 0 || key.any != 0 || key.wild || len(key.entries) != 0 ||
		key.depth != 0 || key.failed || key.reason != "" || key.control != nil {
		t.Errorf("a released key keeps %+v", key)
	}
}

// named is a type whose name holds that of another package.
type named[T any] struct{}

func (named[T]) MarshalText() ([]byte, error) { return nil, nil }

func TestRenderValues(t *testing.T) {
	for _, test := range []struct {
		write func(*Key)
		want  string
	}{
		{func(k *Key) { k.Int(7); k.String("en") }, `7, "en"`},
		{func(k *Key) { k.Uint(7); k.Bool(true); k.Bool(false); k.Nil(); k.Any() }, `7, true, false, nil, *`},
		{func(k *Key) { k.Float32(0.1); k.Float64(0.1); k.Complex64(1i); k.Complex128(2) }, `0.1, 0.1, (0+1i), (2+0i)`},
		{func(k *Key) { k.Bytes([]byte{1, 255}); k.Time(time.Unix(0, 1)) }, `0x01ff, 1970-01-01T00:00:00.000000001Z`},
		{func(k *Key) { k.List(2); k.Int(1); k.Int(2); k.List(0) }, `[1 2], []`},
		{func(k *Key) { k.Some(); k.Struct(2); k.Int(1); k.String("a\n") }, `{1 "a\n"}`},
		{func(k *Key) { intMap(k, map[int]string{2: "b", 1: "a"}) }, `map[1:"a" 2:"b"]`},
		{func(k *Key) { a := netip.MustParseAddr("::1"); k.Interface(&a); k.Interface(big.NewInt(3)) }, `*netip.Addr(0x00000000000000000000000000000001), *big.Int("3")`},
		{func(k *Key) { k.Interface(&time.Time{}); k.Interface(named[netip.Addr]{}) }, `*time.Time(0x01000000000000000000000000ffff), runtime.named[net/netip.Addr]("")`},
		{func(k *Key) { k.String(strings.Repeat("ä", 100)) }, `"` + strings.Repeat("ä", 32) + `…"`},
		{func(k *Key) { k.Bytes(make([]byte, 100)) }, `0x` + strings.Repeat("00", 32) + `…`},
		{func(k *Key) {
			for range 20 {
				k.List(1)
			}
			k.Int(1)
		}, `[[[[[[[[[…]]]]]]]]]`},
	} {
		var b strings.Builder
		renderValues(&b, encoded(test.write), false)
		if b.String() != test.want {
			t.Errorf("%s, want %s", b.String(), test.want)
		}
	}
	// Whatever the bytes are, it ends.
	for kind := range 256 {
		for _, rest := range []string{"", "\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "\x05abc"} {
			var b strings.Builder
			renderValues(&b, append([]byte{byte(kind)}, rest...), false)
		}
	}
}
