package annotations

import (
	"slices"
	"testing"
)

func TestCopyOf(t *testing.T) {
	w := newWorld(t, `
-- other/other.go --
package other

type Decimal struct{ mantissa [2]uint64; exponent int32 }

type List struct{ items []int }

func (Decimal) MarshalText() ([]byte, error) { return nil, nil }
func (List) MarshalText() ([]byte, error)    { return nil, nil }
-- own/own.go --
package own

import (
	"math/big"
	"net/netip"
	"time"

	"example.com/app/other"
)

type (
	Decimal  other.Decimal
	Decimals []other.Decimal
	List     struct{ L other.List }
	Lists    []other.List
	Int      struct{ I big.Int }
	Addr     struct{ A netip.Addr; P netip.Prefix; AP netip.AddrPort }
	Addrs    map[netip.Addr]netip.Prefix
	Time     struct{ T time.Time }
	Zone     struct{ Z time.Location }
	Pointer  struct{ P *int }
)
`)
	scope := w.types[module+"/own"].Scope()
	for name, want := range map[string]Copy{
		"Decimal":  CopyNone,
		"Decimals": CopySlice,
		"List":     CopyShared,
		"Lists":    CopyShared,
		"Int":      CopyShared,
		"Addr":     CopyNone,
		"Addrs":    CopyMap,
		"Time":     CopyNone,
		"Zone":     CopyShared,
		"Pointer":  CopyShared,
	} {
		if got := copyOf(scope.Lookup(name).Type()); got != want {
			t.Errorf("%s: copy %d, want %d", name, got, want)
		}
	}
}

func TestCopiedFields(t *testing.T) {
	w := newWorld(t, `
-- other/other.go --
package other

type Open struct{ Tags []string }

type Closed struct{ tags []string }
-- own/own.go --
package own

import (
	"time"

	"example.com/app/other"
)

type (
	Range  struct{ From, To time.Time; days map[int]bool }
	Filter struct{ Name string; Tags []string; Range Range; Open other.Open }
	Closed struct{ C other.Closed }
	Nested struct{ Lists [][]string }
	Blank  struct{ _ []string }
)
`)
	own := w.types[module+"/own"]
	for name, want := range map[string][]CopiedField{
		"Filter": {{"Tags", CopySlice}, {"Range.days", CopyMap}, {"Open.Tags", CopySlice}},
		"Closed": nil,
		"Nested": nil,
		"Blank":  nil,
	} {
		got, ok := copiedFields(own.Scope().Lookup(name).Type(), own)
		if ok != (want != nil) || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", name, got, ok, want)
		}
	}
}
