package annotations

import (
	"go/types"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/types/typeutil"
)

// A planner makes the plans by which values are written as bytes, for results
// or for keys. Identical types share a plan.
type planner struct {
	pkg  string // import path of the package whose code will do the writing
	keys bool
	done typeutil.Map // type → *Codec, those in progress included
	// added are the types in done, in order, so that what was planned inside of
	// a type that turns out to have no plan can be taken back.
	added []types.Type
	depth int
}

func newPlanner(pkg string, keys bool) *planner { return &planner{pkg: pkg, keys: keys} }

// A planError says why a type has no plan.
type planError struct {
	path   string // to the part that is to blame: "Post.Author.conn"
	typ    types.Type
	reason string
}

// blankFields is the reason for a struct that takes memory but no bytes.
const blankFields = "has only blank fields"

// maxDepth bounds the nesting of types that are not recursive.
const maxDepth = 500

// plan makes the plan of a type. name stands for the value in an error; without
// one it is the first named type on the way to the part to blame.
func (p *planner) plan(t types.Type, name string) (*Codec, *planError) {
	c, err := p.node(t, name)
	if err != nil {
		return nil, err
	}
	markRecursive(c)
	sizes := map[*Codec]int{}
	c.walk(func(c *Codec) { c.MinSize = c.minSize(sizes) })
	return c, nil
}

// node makes the plan of a part of a type.
func (p *planner) node(t types.Type, path string) (*Codec, *planError) {
	if c, ok := p.done.At(t).(*Codec); ok {
		return c, nil
	}
	if p.depth++; p.depth > maxDepth {
		p.depth--
		return nil, &planError{path, t, "is nested too deeply"}
	}
	defer func() { p.depth-- }()

	c := &Codec{Type: t}
	mark := len(p.added)
	p.done.Set(t, c)
	p.added = append(p.added, t)
	// A complete structure is preferred: marshalers may leave things out, and
	// cost more.
	err := p.structure(c, t, path)
	if err == nil {
		return c, nil
	}
	for _, inner := range p.added[mark+1:] {
		p.done.Delete(inner)
	}
	p.added = p.added[:mark+1]
	if m := p.marshal(t); m != 0 {
		*c = Codec{Kind: CodecMarshaler, Type: t, Marshal: m}
		return c, nil
	}
	p.done.Delete(t)
	p.added = p.added[:mark]
	return nil, err
}

// structure fills in the plan of a type by its structure.
func (p *planner) structure(c *Codec, t types.Type, path string) (err *planError) {
	if named, ok := types.Unalias(t).(*types.Named); ok && path == "" {
		path = named.Obj().Name()
	}
	if !p.nameable(t) {
		return &planError{path, t, "cannot be named outside of its package"}
	}
	if isTime(t) {
		c.Kind = CodecTime
		return nil
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		if c.Kind = basicKind(u); c.Kind == 0 {
			return &planError{path, t, ""}
		}
	case *types.Pointer:
		c.Kind = CodecPointer
		c.Elem, err = p.node(u.Elem(), path)
	case *types.Slice:
		c.Kind = CodecSlice
		if types.Identical(u.Elem(), types.Typ[types.Byte]) {
			c.Kind = CodecBytes
			return nil
		}
		c.Elem, err = p.node(u.Elem(), elemPath(path))
	case *types.Array:
		c.Kind, c.Len = CodecArray, u.Len()
		c.Elem, err = p.node(u.Elem(), elemPath(path))
	case *types.Map:
		c.Kind = CodecMap
		if c.Key, err = p.node(u.Key(), path); err == nil {
			c.Elem, err = p.node(u.Elem(), elemPath(path))
		}
	case *types.Struct:
		c.Kind = CodecStruct
		for f := range u.Fields() {
			if f.Name() == "_" {
				continue
			}
			if !f.Exported() && f.Pkg().Path() != p.pkg {
				return &planError{path, t, "has fields that package " + f.Pkg().Name() + " does not export"}
			}
			field, err := p.node(f.Type(), strings.TrimPrefix(path+"."+f.Name(), "."))
			if err != nil {
				return err
			}
			c.Fields = append(c.Fields, CodecField{f.Name(), field})
		}
		if !p.keys && sizes.Sizeof(u) != 0 && c.minSize(map[*Codec]int{}) == 0 {
			// It takes memory but no bytes, so that no length of a list of
			// them, read from a damaged entry, would be too long.
			return &planError{path, t, blankFields}
		}
	case *types.Interface:
		if !p.keys || p.marshal(t) == 0 {
			return &planError{path, t, ""}
		}
		c.Kind = CodecInterface
	default:
		return &planError{path, t, ""}
	}
	return err
}

// elemPath is the path to the elements of a collection.
func elemPath(path string) string {
	if path == "" {
		return ""
	}
	return path + "[]"
}

func basicKind(b *types.Basic) CodecKind {
	switch info := b.Info(); {
	case info&types.IsBoolean != 0:
		return CodecBool
	case info&types.IsInteger != 0 && info&types.IsUnsigned != 0:
		return CodecUint
	case info&types.IsInteger != 0:
		return CodecInt
	case info&types.IsString != 0:
		return CodecString
	}
	switch b.Kind() {
	case types.Float32:
		return CodecFloat32
	case types.Float64:
		return CodecFloat64
	case types.Complex64:
		return CodecComplex64
	case types.Complex128:
		return CodecComplex128
	}
	return 0 // unsafe.Pointer
}

// minSize returns the least number of bytes of a value. done holds what is
// known already; values do not contain themselves but behind a pointer, a slice
// or a map, whose own size does not depend on what they hold.
func (c *Codec) minSize(done map[*Codec]int) int {
	if n, ok := done[c]; ok {
		return n
	}
	n := int64(1)
	switch c.Kind {
	case CodecTime:
		n = 2
	case CodecFloat32:
		n = 4
	case CodecFloat64, CodecComplex64:
		n = 8
	case CodecComplex128:
		n = 16
	case CodecArray:
		n = int64(c.Elem.minSize(done))
		if n > 0 && c.Len > math.MaxInt32/n {
			n = math.MaxInt32
		} else {
			n *= c.Len
		}
	case CodecStruct:
		n = 0
		for _, f := range c.Fields {
			n = min(n+int64(f.Codec.minSize(done)), math.MaxInt32)
		}
	}
	done[c] = int(n)
	return int(n)
}

// isTime reports whether a type is time.Time or defined from it.
func isTime(t types.Type) bool {
	if isNamed(t, "time", "Time") {
		return true
	}
	u, ok := t.Underlying().(*types.Struct)
	if !ok || u.NumFields() == 0 || u.Field(0).Pkg() == nil || u.Field(0).Pkg().Path() != "time" {
		return false
	}
	obj, ok := u.Field(0).Pkg().Scope().Lookup("Time").(*types.TypeName)
	return ok && types.Identical(u, obj.Type().Underlying())
}

// nameable reports whether the package can write the type down.
func (p *planner) nameable(t types.Type) bool {
	var (
		obj  *types.TypeName
		args *types.TypeList
	)
	switch t := t.(type) {
	case *types.Alias:
		obj, args = t.Obj(), t.TypeArgs()
	case *types.Named:
		obj, args = t.Obj(), t.TypeArgs()
	default:
		return true // made of parts that are looked at in turn
	}
	if pkg := obj.Pkg(); pkg != nil && pkg.Path() != p.pkg && (!obj.Exported() || !importable(p.pkg, pkg)) {
		return false
	}
	for arg := range args.Types() {
		if !p.nameable(arg) {
			return false
		}
	}
	return true
}

// marshal returns the best standard methods by which a type can be written,
// and for results read back; 0 if it has none. Methods promoted from an
// embedded field do not count: they know nothing of the other fields.
func (p *planner) marshal(t types.Type) Marshal {
	if !p.nameable(t) {
		return 0
	}
	bytes := types.NewSlice(types.Typ[types.Byte])
	fail := types.Universe.Lookup("error").Type()
	has := func(name string, params, results []types.Type) bool {
		if _, ok := t.Underlying().(*types.Pointer); ok {
			return false // its element's plan has them
		}
		obj, index, _ := types.LookupFieldOrMethod(t, true, nil, name)
		fn, ok := obj.(*types.Func)
		return ok && (len(index) == 1 || types.IsInterface(t)) &&
			sameTypes(fn.Signature().Params(), params) && sameTypes(fn.Signature().Results(), results)
	}
	appends := func(name string) bool { return has(name, []types.Type{bytes}, []types.Type{bytes, fail}) }
	marshals := func(name string) bool { return has(name, nil, []types.Type{bytes, fail}) }
	unmarshals := func(name string) bool { return p.keys || has(name, []types.Type{bytes}, []types.Type{fail}) }
	switch {
	case appends("AppendBinary") && unmarshals("UnmarshalBinary"):
		return MarshalAppendBinary
	case marshals("MarshalBinary") && unmarshals("UnmarshalBinary"):
		return MarshalBinary
	case appends("AppendText") && unmarshals("UnmarshalText"):
		return MarshalAppendText
	case marshals("MarshalText") && unmarshals("UnmarshalText"):
		return MarshalText
	}
	return 0
}

func sameTypes(tuple *types.Tuple, list []types.Type) bool {
	if tuple.Len() != len(list) {
		return false
	}
	for i, t := range list {
		if !types.Identical(tuple.At(i).Type(), t) {
			return false
		}
	}
	return true
}

// children calls f for the plans a plan refers to.
func (c *Codec) children(f func(*Codec)) {
	for _, child := range []*Codec{c.Key, c.Elem} {
		if child != nil {
			f(child)
		}
	}
	for _, field := range c.Fields {
		f(field.Codec)
	}
}

// walk calls f for every plan that can be reached, each once.
func (c *Codec) walk(f func(*Codec)) {
	seen := map[*Codec]bool{}
	var visit func(*Codec)
	visit = func(c *Codec) {
		if !seen[c] {
			seen[c] = true
			f(c)
			c.children(visit)
		}
	}
	visit(c)
}

// markRecursive marks the named types that contain themselves.
func markRecursive(root *Codec) {
	root.walk(func(c *Codec) {
		if _, ok := types.Unalias(c.Type).(*types.Named); !ok {
			return
		}
		c.children(func(child *Codec) {
			child.walk(func(inner *Codec) { c.Recursive = c.Recursive || inner == c })
		})
	})
}

// mayFail reports whether writing a value can fail: in a marshaler, or because
// it is nested too deeply.
func (c *Codec) mayFail() bool {
	if c == nil {
		return false
	}
	failing := false
	c.walk(func(c *Codec) {
		failing = failing || c.Recursive || c.Kind == CodecMarshaler || c.Kind == CodecInterface
	})
	return failing
}

// describe says in words what is wrong with a part of a type.
func (e *planError) describe(qualifier types.Qualifier) string {
	typ := types.TypeString(e.typ, qualifier)
	switch named, ok := types.Unalias(e.typ).(*types.Named); {
	case e.path == "":
		return "type " + typ
	case e.path == typ || ok && e.path == named.Obj().Name():
		return typ
	}
	return e.path + ": " + typ
}

// String returns the name of the kind: "int", "marshaler".
func (k CodecKind) String() string {
	names := []string{
		CodecBool: "bool", CodecInt: "int", CodecUint: "uint", CodecFloat32: "float32", CodecFloat64: "float64",
		CodecComplex64: "complex64", CodecComplex128: "complex128", CodecString: "string", CodecBytes: "bytes",
		CodecTime: "time", CodecPointer: "pointer", CodecSlice: "slice", CodecArray: "array", CodecMap: "map",
		CodecStruct: "struct", CodecMarshaler: "marshaler", CodecInterface: "interface",
	}
	if k > 0 && int(k) < len(names) {
		return names[k]
	}
	return "CodecKind(" + strconv.Itoa(int(k)) + ")"
}

// String returns the name of the method that writes: "AppendBinary".
func (m Marshal) String() string {
	names := []string{
		MarshalAppendBinary: "AppendBinary", MarshalBinary: "MarshalBinary",
		MarshalAppendText: "AppendText", MarshalText: "MarshalText",
	}
	if m > 0 && int(m) < len(names) {
		return names[m]
	}
	return "Marshal(" + strconv.Itoa(int(m)) + ")"
}

// invalidType reports whether the type checker could not make sense of a part
// of a type. It looks at what is written in place, not into named types.
func invalidType(t types.Type) bool {
	switch t := t.(type) {
	case nil:
		return true
	case *types.Basic:
		return t.Kind() == types.Invalid
	case *types.Alias:
		return invalidType(types.Unalias(t))
	case *types.Named:
		for arg := range t.TypeArgs().Types() {
			if invalidType(arg) {
				return true
			}
		}
		return t.Underlying() == types.Typ[types.Invalid]
	case *types.Pointer:
		return invalidType(t.Elem())
	case *types.Slice:
		return invalidType(t.Elem())
	case *types.Array:
		return invalidType(t.Elem())
	case *types.Chan:
		return invalidType(t.Elem())
	case *types.Map:
		return invalidType(t.Key()) || invalidType(t.Elem())
	case *types.Signature:
		return invalidTuple(t.Params()) || invalidTuple(t.Results())
	case *types.Struct:
		return slices.ContainsFunc(slices.Collect(t.Fields()), func(f *types.Var) bool { return invalidType(f.Type()) })
	}
	return false
}

func invalidTuple(t *types.Tuple) bool {
	return slices.ContainsFunc(slices.Collect(t.Variables()), func(v *types.Var) bool { return invalidType(v.Type()) })
}
