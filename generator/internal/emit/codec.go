package emit

import (
	"go/types"
	"slices"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// functions are generated functions of one purpose, one for each plan that
// needs one. They are named when first called for, and written at the end.
type functions struct {
	file   *file
	prefix string
	names  map[*annotations.Codec]string
	todo   []func()
}

func newFunctions(f *file, prefix string) *functions {
	return &functions{file: f, prefix: prefix, names: map[*annotations.Codec]string{}}
}

// name returns the function for a plan; define writes it, once.
func (fs *functions) name(c *annotations.Codec, define func(name string, c *annotations.Codec)) string {
	if name, ok := fs.names[c]; ok {
		return name
	}
	name := fs.file.name(fs.prefix + describe(c.Type))
	fs.names[c] = name
	fs.todo = append(fs.todo, func() { define(name, c) })
	return name
}

// write writes the next of the functions called for, which may call for others.
// It reports whether there was one.
func (fs *functions) write() bool {
	if len(fs.todo) == 0 {
		return false
	}
	define := fs.todo[0]
	fs.todo = fs.todo[1:]
	define()
	return true
}

// codecs writes the functions that encode and decode results and keys.
func (f *file) codecs() {
	f.results.write()
	for f.encoders.write() {
		f.decoders.write() // that of the same type: both are called for in the same order
	}
	for f.decoders.write() {
	}
	for f.keyers.write() {
	}
}

// named reports whether a plan is that of a type with a name.
func named(c *annotations.Codec) bool {
	switch types.Unalias(c.Type).(type) {
	case *types.Named:
		return true
	}
	return false
}

// resultEncoder returns the function that encodes the result of a read.
func (f *file) resultEncoder(m *annotations.Method) string {
	return f.result(m).encode
}

// resultDecoder returns the function that decodes the result of a read.
func (f *file) resultDecoder(m *annotations.Method) string {
	return f.result(m).decode
}

// A resultCodec is the pair of functions for a type of result.
type resultCodec struct {
	typ            types.Type
	encoding       string // "", "json" or "gob"
	encode, decode string
}

// resultCodecs are the pairs in use. Reads with the same type of result share
// them.
type resultCodecs struct {
	list []*resultCodec
	todo []func()
}

func (rs *resultCodecs) write() {
	for _, define := range rs.todo {
		define()
	}
}

func (f *file) result(m *annotations.Method) *resultCodec {
	t := m.Results[m.Result].Type
	for _, rc := range f.results.list {
		if rc.encoding == m.Read.Encoding && types.Identical(rc.typ, t) {
			return rc
		}
	}
	name := describe(t) + "Result"
	if m.Read.Encoding != "" {
		name += map[string]string{"json": "JSON", "gob": "Gob"}[m.Read.Encoding]
	}
	rc := &resultCodec{
		typ:      t,
		encoding: m.Read.Encoding,
		encode:   f.name("cacheEncode" + name),
		decode:   f.name("cacheDecode" + name),
	}
	f.results.list = append(f.results.list, rc)
	f.results.todo = append(f.results.todo, func() {
		switch rc.encoding {
		case "json":
			f.jsonResult(rc)
		case "gob":
			f.gobResult(rc)
		default:
			f.plannedResult(rc, m.Read.Codec)
		}
	})
	return rc
}

func (f *file) encodeFunc(rc *resultCodec, e, v string, body ...jen.Code) {
	f.out.Func().Id(rc.encode).Params(
		jen.Id(e).Op("*").Qual(runtimePath, "Encoder"), jen.Id(v).Add(typ(rc.typ)),
	).Block(body...)
	f.out.Line()
}

func (f *file) decodeFunc(rc *resultCodec, d, v string, body ...jen.Code) {
	body = append([]jen.Code{jen.Var().Id(v).Add(typ(rc.typ))}, body...)
	body = append(body, jen.Return(jen.Id(v)))
	f.out.Func().Id(rc.decode).Params(
		jen.Id(d).Op("*").Qual(runtimePath, "Decoder"),
	).Add(typ(rc.typ)).Block(body...)
	f.out.Line()
}

// plannedResult writes the pair of functions that follow a plan.
func (f *file) plannedResult(rc *resultCodec, c *annotations.Codec) {
	scope := f.used.inner()
	e, d, v := scope.pick("e"), scope.pick("d"), scope.pick("v")
	f.encodeFunc(rc, e, v, f.encodeStmts(e, c, variable(v), scope)...)
	if isScalar(c) {
		f.out.Func().Id(rc.decode).Params(
			jen.Id(d).Op("*").Qual(runtimePath, "Decoder"),
		).Add(typ(rc.typ)).Block(jen.Return(getScalar(d, c)))
		f.out.Line()
		return
	}
	f.decodeFunc(rc, d, v, f.decodeStmts(d, c, variable(v), scope)...)
}

func (f *file) jsonResult(rc *resultCodec) {
	scope := f.used.inner()
	e, d, v := scope.pick("e"), scope.pick("d"), scope.pick("v")
	f.encodeFunc(rc, e, v, jen.Id(e).Dot("Raw").Call(jen.Qual("encoding/json", "Marshal").Call(jen.Id(v))))
	f.decodeFunc(rc, d, v, jen.Id(d).Dot("Fail").Call(jen.Qual("encoding/json", "Unmarshal").Call(
		jen.Id(d).Dot("Rest").Call(), jen.Op("&").Id(v))))
}

func (f *file) gobResult(rc *resultCodec) {
	scope := f.used.inner()
	e, d, v, buf, err := scope.pick("e"), scope.pick("d"), scope.pick("v"), scope.pick("buf"), scope.pick("err")
	f.encodeFunc(rc, e, v,
		jen.Var().Id(buf).Qual("bytes", "Buffer"),
		jen.Id(err).Op(":=").Qual("encoding/gob", "NewEncoder").Call(jen.Op("&").Id(buf)).Dot("Encode").Call(jen.Op("&").Id(v)),
		jen.Id(e).Dot("Raw").Call(jen.Id(buf).Dot("Bytes").Call(), jen.Id(err)),
	)
	f.decodeFunc(rc, d, v, jen.Id(d).Dot("Fail").Call(jen.Qual("encoding/gob", "NewDecoder").Call(
		jen.Qual("bytes", "NewReader").Call(jen.Id(d).Dot("Rest").Call()),
	).Dot("Decode").Call(jen.Op("&").Id(v))))
}

// encodeStmts returns the statements that encode the variable v after plan c.
func (f *file) encodeStmts(e string, c *annotations.Codec, v place, scope scope) []jen.Code {
	put := func(method string, args ...jen.Code) *jen.Statement { return jen.Id(e).Dot(method).Call(args...) }
	switch {
	case isStateless(c):
		return nil
	case isByteArray(c):
		return []jen.Code{put("Array", v.slice())}
	case hasFunction(c):
		return []jen.Code{jen.Id(f.encoders.name(c, f.encodeFunction)).Call(jen.Id(e), v.addr())}
	}
	switch c.Kind {
	case annotations.CodecPointer:
		return []jen.Code{jen.If(jen.Op("!").Add(put("Nil", v.value().Op("==").Nil()))).Block(
			f.encodeStmts(e, c.Elem, v.target(), scope)...)}
	case annotations.CodecSlice, annotations.CodecArray:
		inner := scope.inner()
		i := inner.pickIndex()
		var stmts []jen.Code
		if c.Kind == annotations.CodecSlice {
			stmts = append(stmts, put("Len", jen.Len(v.value()), v.value().Op("==").Nil()))
		}
		// Elements without any state take no statement.
		if body := f.encodeStmts(e, c.Elem, v.index(i), inner); len(body) > 0 {
			stmts = append(stmts, forRange(i, "", v.value(), body))
		}
		return stmts
	case annotations.CodecMap:
		inner := scope.inner()
		key, elem := inner.pick("key"), inner.pick("elem")
		keyBody := f.encodeStmts(e, c.Key, variable(key), inner)
		if len(keyBody) == 0 {
			key = ""
		}
		elemBody := f.encodeStmts(e, c.Elem, variable(elem), inner)
		if len(elemBody) == 0 {
			elem = ""
		}
		stmts := []jen.Code{put("Len", jen.Len(v.value()), v.value().Op("==").Nil())}
		if body := append(keyBody, elemBody...); len(body) > 0 {
			stmts = append(stmts, forRange(key, elem, v.value(), body))
		}
		return stmts
	case annotations.CodecStruct:
		var stmts []jen.Code
		for _, field := range c.Fields {
			stmts = append(stmts, f.encodeStmts(e, field.Codec, v.field(field.Name), scope)...)
		}
		return stmts
	case annotations.CodecMarshaler:
		return []jen.Code{put(marshalMethod(c.Marshal), v.addr())}
	}
	return []jen.Code{putScalar(e, c, v.value())}
}

// decodeStmts returns the statements that decode into the variable v.
func (f *file) decodeStmts(d string, c *annotations.Codec, v place, scope scope) []jen.Code {
	get := func(method string, args ...jen.Code) *jen.Statement { return jen.Id(d).Dot(method).Call(args...) }
	switch {
	case isStateless(c):
		return nil
	case isByteArray(c):
		return []jen.Code{get("Array", v.slice())}
	case hasFunction(c):
		return []jen.Code{jen.Id(f.decoders.name(c, f.decodeFunction)).Call(jen.Id(d), v.addr())}
	}
	switch c.Kind {
	case annotations.CodecPointer:
		elem := f.decodeStmts(d, c.Elem, v.target(), scope)
		return []jen.Code{jen.If(get("Some")).Block(
			append([]jen.Code{v.value().Op("=").New(typ(pointerElem(c.Type)))}, elem...)...)}
	case annotations.CodecArray:
		inner := scope.inner()
		i := inner.pickIndex()
		if body := f.decodeStmts(d, c.Elem, v.index(i), inner); len(body) > 0 {
			return []jen.Code{forRange(i, "", v.value(), body)}
		}
		return nil
	case annotations.CodecSlice:
		inner := scope.inner()
		i := inner.pickIndex()
		body := f.decodeStmts(d, c.Elem, v.index(i), inner)
		n, isNil := inner.pick("n"), inner.pick("isNil")
		stmts := []jen.Code{v.value().Op("=").Make(typ(c.Type), jen.Id(n))}
		if len(body) > 0 {
			stmts = append(stmts, forRange(i, "", v.value(), body))
		}
		return []jen.Code{jen.If(
			jen.List(jen.Id(n), jen.Id(isNil)).Op(":=").Add(get("Len", jen.Lit(c.Elem.MinSize))),
			jen.Op("!").Id(isNil),
		).Block(stmts...)}
	case annotations.CodecMap:
		inner := scope.inner()
		key, elem := inner.pick("key"), inner.pick("elem")
		body := f.decodeNew(d, c.Key, key, inner)
		var value jen.Code = jen.Id(elem)
		switch {
		case isScalar(c.Elem):
			value = getScalar(d, c.Elem)
		case isStateless(c.Elem):
			value = typ(c.Elem.Type).Values()
		default:
			body = append(body, f.decodeNew(d, c.Elem, elem, inner)...)
		}
		body = append(body, v.atKey(key).Op("=").Add(value))
		n, isNil := inner.pick("n"), inner.pick("isNil")
		return []jen.Code{jen.If(
			jen.List(jen.Id(n), jen.Id(isNil)).Op(":=").Add(get("Len", jen.Lit(c.Key.MinSize+c.Elem.MinSize))),
			jen.Op("!").Id(isNil),
		).Block(
			v.value().Op("=").Make(typ(c.Type), jen.Id(n)),
			jen.For(jen.Range().Id(n)).Block(body...),
		)}
	case annotations.CodecStruct:
		var stmts []jen.Code
		for _, field := range c.Fields {
			stmts = append(stmts, f.decodeStmts(d, field.Codec, v.field(field.Name), scope)...)
		}
		return stmts
	case annotations.CodecMarshaler:
		method := "UnmarshalBinary"
		if c.Marshal == annotations.MarshalText || c.Marshal == annotations.MarshalAppendText {
			method = "UnmarshalText"
		}
		return []jen.Code{get(method, v.addr())}
	}
	return []jen.Code{v.value().Op("=").Add(getScalar(d, c))}
}

// forRange returns a loop over v. A variable that the body does not use is named
// "".
func forRange(key, elem string, v *jen.Statement, body []jen.Code) jen.Code {
	var vars *jen.Statement
	switch {
	case elem != "" && key != "":
		vars = jen.List(jen.Id(key), jen.Id(elem)).Op(":=")
	case elem != "":
		vars = jen.List(jen.Id("_"), jen.Id(elem)).Op(":=")
	case key != "":
		vars = jen.Id(key).Op(":=")
	default:
		vars = jen.Empty()
	}
	return jen.For(vars.Range().Add(v)).Block(body...)
}

// decodeNew returns the statements that declare a variable and decode into it.
func (f *file) decodeNew(d string, c *annotations.Codec, name string, scope scope) []jen.Code {
	if isScalar(c) && c.Kind != annotations.CodecBytes { // whose named types need their name
		return []jen.Code{jen.Id(name).Op(":=").Add(getScalar(d, c))}
	}
	return append([]jen.Code{jen.Var().Id(name).Add(typ(c.Type))}, f.decodeStmts(d, c, variable(name), scope)...)
}

// getScalar returns the expression for a value without parts, read from a
// decoder.
func getScalar(d string, c *annotations.Codec) *jen.Statement {
	method, t := scalar(c)
	value := jen.Id(d).Dot(method).Call()
	if c.Kind == annotations.CodecInt || c.Kind == annotations.CodecUint {
		if bits := intBits(c.Type); bits < 64 {
			value = jen.Id(d).Dot(method + "N").Call(jen.Lit(bits))
		}
	}
	switch {
	case c.Kind == annotations.CodecBytes: // assignable to every such type
		return value
	case c.Kind == annotations.CodecTime:
		if isTime(c.Type) {
			return value
		}
		return typ(c.Type).Parens(value)
	}
	return convert(value, t, c.Type)
}

// encodeFunction and decodeFunction write the functions for a named or
// recursive type. They take pointers: large values are not copied.
func (f *file) encodeFunction(name string, c *annotations.Codec) {
	f.codecFunction(name, c, "e", "Encoder", f.encodeStmts)
}

func (f *file) decodeFunction(name string, c *annotations.Codec) {
	f.codecFunction(name, c, "d", "Decoder", f.decodeStmts)
}

func (f *file) codecFunction(name string, c *annotations.Codec, coder, coderType string, stmts func(string, *annotations.Codec, place, scope) []jen.Code) {
	scope := f.used.inner()
	coder = scope.pick(coder)
	v := scope.pick("v")
	// The function's own body: the plan without what makes it a function.
	plain := *c
	plain.Recursive = false
	if plain.Kind == annotations.CodecStruct {
		plain.Type = c.Type.Underlying()
	}
	body := stmts(coder, &plain, variable(v).target(), scope)
	if c.Recursive {
		body = append([]jen.Code{jen.If(jen.Op("!").Id(coder).Dot("Enter").Call()).Block(jen.Return())}, body...)
		body = append(body, jen.Id(coder).Dot("Leave").Call())
	}
	f.out.Func().Id(name).Params(
		jen.Id(coder).Op("*").Qual(runtimePath, coderType),
		jen.Id(v).Op("*").Add(typ(c.Type)),
	).Block(body...)
	f.out.Line()
}

// scalarTypes are the types that the runtime reads and writes.
var scalarTypes = map[annotations.CodecKind]types.Type{
	annotations.CodecBool:       types.Typ[types.Bool],
	annotations.CodecInt:        types.Typ[types.Int64],
	annotations.CodecUint:       types.Typ[types.Uint64],
	annotations.CodecFloat32:    types.Typ[types.Float32],
	annotations.CodecFloat64:    types.Typ[types.Float64],
	annotations.CodecComplex64:  types.Typ[types.Complex64],
	annotations.CodecComplex128: types.Typ[types.Complex128],
	annotations.CodecString:     types.Typ[types.String],
}

// scalar returns the method that writes or reads a plan without parts, and the
// type it takes; nil if no conversion is ever needed.
func scalar(c *annotations.Codec) (method string, t types.Type) {
	switch c.Kind {
	case annotations.CodecBool:
		method = "Bool"
	case annotations.CodecInt:
		method = "Int"
	case annotations.CodecUint:
		method = "Uint"
	case annotations.CodecFloat32:
		method = "Float32"
	case annotations.CodecFloat64:
		method = "Float64"
	case annotations.CodecComplex64:
		method = "Complex64"
	case annotations.CodecComplex128:
		method = "Complex128"
	case annotations.CodecString:
		method = "String"
	case annotations.CodecBytes:
		method = "Bytes"
	case annotations.CodecTime:
		method = "Time"
	}
	return method, scalarTypes[c.Kind]
}

// isScalar reports whether a plan is one without parts.
func isScalar(c *annotations.Codec) bool {
	method, _ := scalar(c)
	return method != ""
}

// isStateless reports whether a plan is that of a struct without any state:
// there is nothing to encode.
func isStateless(c *annotations.Codec) bool {
	return c.Kind == annotations.CodecStruct &&
		!slices.ContainsFunc(c.Fields, func(f annotations.CodecField) bool { return !isStateless(f.Codec) })
}

// isByteArray reports whether a plan is that of an array that can be sliced as
// bytes.
func isByteArray(c *annotations.Codec) bool {
	return c.Kind == annotations.CodecArray && types.Identical(c.Elem.Type, types.Typ[types.Byte])
}

// hasFunction reports whether a plan is written as a function of its own.
func hasFunction(c *annotations.Codec) bool {
	return c.Recursive || c.Kind == annotations.CodecStruct && named(c) && !isStateless(c)
}

// putScalar returns the call that hands a value without parts to the runtime.
func putScalar(coder string, c *annotations.Codec, v *jen.Statement) jen.Code {
	method, t := scalar(c)
	if c.Kind == annotations.CodecTime && !isTime(c.Type) {
		v = jen.Qual("time", "Time").Parens(v)
	}
	return jen.Id(coder).Dot(method).Call(convert(v, c.Type, t))
}

// isTime reports whether t is time.Time itself, not a type declared after it.
func isTime(t types.Type) bool {
	return types.TypeString(t, nil) == "time.Time"
}

// convert returns v, of type from, as a value of type to.
func convert(v *jen.Statement, from, to types.Type) *jen.Statement {
	if to == nil || types.Identical(from, to) {
		return v
	}
	return typ(to).Parens(v)
}

func marshalMethod(m annotations.Marshal) string {
	switch m {
	case annotations.MarshalAppendBinary:
		return "AppendBinary"
	case annotations.MarshalBinary:
		return "MarshalBinary"
	case annotations.MarshalAppendText:
		return "AppendText"
	}
	return "MarshalText"
}

func pointerElem(t types.Type) types.Type {
	return t.Underlying().(*types.Pointer).Elem()
}

// intBits returns the number of bits of an integer type; 64 for those whose
// size depends on the machine.
func intBits(t types.Type) int {
	switch t.Underlying().(*types.Basic).Kind() {
	case types.Int8, types.Uint8:
		return 8
	case types.Int16, types.Uint16:
		return 16
	case types.Int32, types.Uint32:
		return 32
	}
	return 64
}
