package annotations

import (
	"encoding/binary"
	"go/types"
	"hash"
	"hash/fnv"
	"strconv"

	"golang.org/x/tools/go/types/typeutil"
)

// fingerprint identifies a read, the layout of its keys and of its result, and
// its dependencies: FNV-1a, 64 bits, of a description in which every string is
// preceded by its length. It is the same on every machine.
func fingerprint(m *Method) uint64 {
	f := fingerprinter{Hash64: fnv.New64a(), seen: map[*Codec]int{}}
	for _, list := range [][]*Param{m.Params, m.Results} {
		f.number(len(list))
		for _, p := range list {
			f.typ(p.Type)
			f.number(boolInt(p.Variadic))
		}
	}
	read := m.Read
	for _, parts := range [][]*KeyPart{read.Vary, read.Key} {
		f.number(len(parts))
		for _, part := range parts {
			f.text(part.Expr.Text)
			f.codec(part.Codec)
		}
	}
	f.text(read.Encoding)
	if read.Codec != nil {
		f.codec(read.Codec)
	} else if m.Result >= 0 {
		f.layout(m.Results[m.Result].Type, new(typeutil.Map))
	}
	f.number(len(read.Depends))
	for _, t := range read.Depends {
		if t.Tag != nil {
			f.text(t.Tag.ID)
		} else {
			f.text("read " + t.Read.Name)
		}
		for _, arg := range t.Args {
			if arg == nil {
				f.text("*")
			} else {
				f.text("(" + arg.Text)
			}
		}
	}
	f.number(len(read.Negative))
	for _, n := range read.Negative {
		if n.Nil {
			f.text("nil")
			continue
		}
		f.text("(" + n.Err.Text)
	}
	return f.Sum64()
}

type fingerprinter struct {
	hash.Hash64
	seen map[*Codec]int
}

func (f fingerprinter) number(n int) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	f.Write(b[:])
}

func (f fingerprinter) text(s string) {
	f.number(len(s))
	f.Write([]byte(s))
}

func (f fingerprinter) typ(t types.Type) { f.text(types.TypeString(t, nil)) }

// codec describes a plan; one that was described before only by its number.
func (f fingerprinter) codec(c *Codec) {
	if n, ok := f.seen[c]; ok {
		f.text("seen")
		f.number(n)
		return
	}
	f.seen[c] = len(f.seen)
	f.text(c.Kind.String())
	f.typ(c.Type)
	f.number(int(c.Len))
	f.number(int(c.Marshal))
	for _, field := range c.Fields {
		f.text(field.Name)
	}
	f.number(len(c.Fields))
	c.children(f.codec)
}

// layout describes the structure of a type that a library encodes, tags of
// fields included.
func (f fingerprinter) layout(t types.Type, seen *typeutil.Map) {
	t = types.Unalias(t)
	f.typ(t)
	if seen.At(t) != nil {
		return
	}
	seen.Set(t, true)
	switch u := t.Underlying().(type) {
	case *types.Pointer:
		f.layout(u.Elem(), seen)
	case *types.Slice:
		f.layout(u.Elem(), seen)
	case *types.Array:
		f.text(strconv.FormatInt(u.Len(), 10))
		f.layout(u.Elem(), seen)
	case *types.Map:
		f.layout(u.Key(), seen)
		f.layout(u.Elem(), seen)
	case *types.Struct:
		f.number(u.NumFields())
		for i := range u.NumFields() {
			f.text(u.Field(i).Name())
			f.text(u.Tag(i))
			f.layout(u.Field(i).Type(), seen)
		}
	default:
		f.typ(u)
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
