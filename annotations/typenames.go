package annotations

import "go/types"

// TypeNames calls f for every named type that the source of a type mentions.
func TypeNames(t types.Type, f func(*types.TypeName)) {
	list := func(types *types.TypeList) {
		for t := range types.Types() {
			TypeNames(t, f)
		}
	}
	tuple := func(vars *types.Tuple) {
		for v := range vars.Variables() {
			TypeNames(v.Type(), f)
		}
	}
	switch t := t.(type) {
	case *types.Basic:
		if obj, ok := types.Unsafe.Scope().Lookup("Pointer").(*types.TypeName); ok && t.Kind() == types.UnsafePointer {
			f(obj)
		}
	case *types.Named:
		f(t.Obj())
		list(t.TypeArgs())
	case *types.Alias:
		f(t.Obj())
		list(t.TypeArgs())
	case *types.Pointer:
		TypeNames(t.Elem(), f)
	case *types.Slice:
		TypeNames(t.Elem(), f)
	case *types.Array:
		TypeNames(t.Elem(), f)
	case *types.Chan:
		TypeNames(t.Elem(), f)
	case *types.Map:
		TypeNames(t.Key(), f)
		TypeNames(t.Elem(), f)
	case *types.Signature:
		tuple(t.Params())
		tuple(t.Results())
	case *types.Struct:
		for field := range t.Fields() {
			TypeNames(field.Type(), f)
		}
	case *types.Interface:
		for m := range t.ExplicitMethods() {
			TypeNames(m.Signature(), f)
		}
		for embedded := range t.EmbeddedTypes() {
			TypeNames(embedded, f)
		}
	}
}
