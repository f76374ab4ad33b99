package annotations

import (
	"go/types"
	"testing"
)

// planTypes declares the types of the tests below.
const planTypes = `
-- other/other.go --
package other

type inner struct{ A int }

type Exposes struct{ In inner }

type number int

type ExposesNumber struct{ N number }

type Blank struct {
	_ func()
	A int
}
-- plan/plan.go --
package plan

import (
	"encoding"
	"sync/atomic"
	"time"
	"unsafe"

	"example.com/app/other"
)

type (
	Promoted struct {
		time.Time
		n atomic.Int64
	}
	WrongSignature struct{ f func() }
	OneWay         struct{ f func() }
	TwoWays        struct{ f func() }
	FallsBack      struct {
		Up   *FallsBack
		Down *Child
		f    func()
	}
	Child struct {
		Up *FallsBack
	}
	Fails struct {
		Children []FailsChild
		c        chan int
	}
	FailsChild struct{ Up *Fails }
	Outer      struct{ Fails *FailsChild }
	Unsafe     struct{ p unsafe.Pointer }
	Foreign    struct{ X other.Exposes }
	Number     struct{ X other.ExposesNumber }
	Blank      struct{ X other.Blank }
	Iface      struct{ I encoding.TextMarshaler }
	Any        struct{ I any }
	MapKey     map[Any]int
	Inline     struct{ A struct{ B func() } }
	Mutual     struct{ M map[string][]*Other }
	Other      struct{ A [4]Mutual2 }
	Mutual2    struct{ M *Mutual; S string }
	Pad        struct{ _ [1024]byte }
	Padded     struct{ Pads []Pad }
	PadInside  struct{ E [2]struct{}; _ int }
	Empty      struct{ _ struct{}; _ [0]int; E [3]struct{} }
)

func (WrongSignature) MarshalBinary() []byte        { return nil }
func (WrongSignature) UnmarshalBinary([]byte) error { return nil }

func (OneWay) MarshalText() ([]byte, error) { return nil, nil }

func (*TwoWays) MarshalText() ([]byte, error)       { return nil, nil }
func (*TwoWays) UnmarshalText([]byte) error         { return nil }
func (*TwoWays) AppendBinary([]byte) ([]byte, error) { return nil, nil }

func (FallsBack) MarshalBinary() ([]byte, error)  { return nil, nil }
func (*FallsBack) UnmarshalBinary(b []byte) error { return nil }
`

func TestPlanFailures(t *testing.T) {
	w := newWorld(t, planTypes)
	pkg := w.types[module+"/plan"]
	for _, c := range []struct {
		name        string
		result, key string // what is wrong; "" for nothing
	}{
		{name: "Promoted", result: "Promoted.n: sync/atomic.Int64", key: "Promoted.n: sync/atomic.Int64"},
		{name: "WrongSignature", result: "WrongSignature.f: func()", key: "WrongSignature.f: func()"},
		{name: "OneWay", result: "OneWay.f: func()"},
		{name: "TwoWays"},
		{name: "FallsBack"},
		{name: "Child"},
		{name: "Fails", result: "Fails.c: chan int", key: "Fails.c: chan int"},
		{name: "FailsChild", result: "FailsChild.Up.c: chan int", key: "FailsChild.Up.c: chan int"},
		{name: "Outer", result: "Outer.Fails.Up.c: chan int", key: "Outer.Fails.Up.c: chan int"},
		{name: "Unsafe", result: "Unsafe.p: unsafe.Pointer", key: "Unsafe.p: unsafe.Pointer"},
		{name: "Foreign", result: "Foreign.X.In: example.com/app/other.inner", key: "Foreign.X.In: example.com/app/other.inner"},
		{name: "Number", result: "Number.X.N: example.com/app/other.number", key: "Number.X.N: example.com/app/other.number"},
		{name: "Blank"},
		{name: "Iface", result: "Iface.I: encoding.TextMarshaler"},
		{name: "Any", result: "Any.I: any", key: "Any.I: any"},
		{name: "MapKey", result: "MapKey.I: any", key: "MapKey.I: any"},
		{name: "Inline", result: "Inline.A.B: func()", key: "Inline.A.B: func()"},
		{name: "Mutual"},
		{name: "Pad", result: "example.com/app/plan.Pad"},
		{name: "Padded", result: "Padded.Pads[]: example.com/app/plan.Pad"},
		{name: "PadInside", result: "example.com/app/plan.PadInside"},
		{name: "Empty"},
	} {
		typ := pkg.Scope().Lookup(c.name).Type()
		for _, kind := range []struct {
			keys bool
			want string
		}{{false, c.result}, {true, c.key}} {
			// A planner that has seen the other types first must come to the
			// same end as a new one.
			used := newPlanner(pkg.Path(), kind.keys)
			for _, other := range pkg.Scope().Names() {
				used.plan(pkg.Scope().Lookup(other).Type(), "")
			}
			for _, p := range []*planner{newPlanner(pkg.Path(), kind.keys), used} {
				codec, err := p.plan(typ, "")
				got := ""
				if err != nil {
					got = err.describe(nil)
				}
				if got != kind.want || (codec == nil) != (err != nil) {
					t.Errorf("%s (keys: %v): got %q, want %q", c.name, kind.keys, got, kind.want)
				}
			}
		}
	}
}

func TestPlanShares(t *testing.T) {
	w := newWorld(t, planTypes)
	pkg := w.types[module+"/plan"]
	lookup := func(name string) types.Type { return pkg.Scope().Lookup(name).Type() }
	p := newPlanner(pkg.Path(), false)

	child, err := p.plan(lookup("Child"), "")
	if err != nil {
		t.Fatal(err)
	}
	again, _ := p.plan(types.NewPointer(lookup("Child")), "")
	if again.Elem != child {
		t.Error("identical types have different plans")
	}
	up := child.Fields[0].Codec.Elem
	if up.Kind != CodecMarshaler || up.Marshal != MarshalBinary || up.Recursive {
		t.Errorf("FallsBack is planned as %v by %v", up.Kind, up.Marshal)
	}

	mutual, err := p.plan(lookup("Mutual"), "")
	if err != nil {
		t.Fatal(err)
	}
	other := mutual.Fields[0].Codec.Elem.Elem.Elem
	array := other.Fields[0].Codec
	if !mutual.Recursive || !other.Recursive || !array.Elem.Recursive || array.Recursive {
		t.Errorf("recursive: Mutual %v, Other %v, Mutual2 %v, the array %v; want true but for the array",
			mutual.Recursive, other.Recursive, array.Elem.Recursive, array.Recursive)
	}
	// A Mutual2 is a pointer and a string, an Other four of them, and it is
	// planned while a Mutual is in progress.
	if array.Elem.MinSize != 2 || other.MinSize != 8 || mutual.MinSize != 1 {
		t.Errorf("least sizes: Mutual2 %d, Other %d, Mutual %d; want 2, 8, 1", array.Elem.MinSize, other.MinSize, mutual.MinSize)
	}
}

func TestPlanPrefersBinary(t *testing.T) {
	w := newWorld(t, planTypes)
	pkg := w.types[module+"/plan"]
	typ := pkg.Scope().Lookup("TwoWays").Type()
	for _, c := range []struct {
		keys bool
		want Marshal
	}{
		{false, MarshalText},        // AppendBinary has no way back
		{true, MarshalAppendBinary}, // which a key does not need
	} {
		codec, err := newPlanner(pkg.Path(), c.keys).plan(typ, "")
		if err != nil || codec.Kind != CodecMarshaler || codec.Marshal != c.want {
			t.Errorf("keys %v: %v, %v; want %v", c.keys, codec, err, c.want)
		}
	}
}

func TestMarshalAndKindNames(t *testing.T) {
	for k := CodecBool; k <= CodecInterface; k++ {
		if k.String() == "" {
			t.Errorf("kind %d has no name", int(k))
		}
	}
	if got := CodecKind(99).String(); got != "CodecKind(99)" {
		t.Errorf("unknown kind: %s", got)
	}
	if got := Marshal(0).String(); got != "Marshal(0)" {
		t.Errorf("unknown methods: %s", got)
	}
}
