package annotations

import "go/types"

// largeSize is the size above which a captured parameter moves to the heap.
const largeSize = 128

var sizes = types.SizesFor("gc", "amd64") // fixed, so that output does not depend on the machine

// large reports whether capturing a value of the type in a closure would move
// it to the heap.
func large(t types.Type) bool {
	return !invalidType(t) && sizes.Sizeof(t) > largeSize
}

// copyOf says how a load that outlives its caller keeps an argument of the
// type, for code in the package with the import path own.
func copyOf(t types.Type, own string) Copy {
	if immutable(t, own) {
		return CopyNone
	}
	switch u := t.Underlying().(type) {
	case *types.Slice:
		if immutable(u.Elem(), own) {
			return CopySlice
		}
	case *types.Map:
		if immutable(u.Key(), own) && immutable(u.Elem(), own) {
			return CopyMap
		}
	}
	return CopyShared
}

// immutable reports whether a copy of a value shares no memory that its owner
// could change.
func immutable(t types.Type, own string) bool {
	if isTime(t) || isNamed(t, "context", "Context") {
		return true
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		return u.Kind() != types.UnsafePointer
	case *types.Array:
		return immutable(u.Elem(), own)
	case *types.Struct:
		if opaqueValue(t, own) {
			return true
		}
		for f := range u.Fields() {
			if !immutable(f.Type(), own) {
				return false
			}
		}
		return true
	}
	return false
}

// opaqueValue reports whether a struct type of another package keeps its fields
// to itself and offers standard marshalers: a value such as a netip.Addr or a
// decimal.
func opaqueValue(t types.Type, own string) bool {
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || named.Obj().Pkg() == nil || named.Obj().Pkg().Path() == own {
		return false
	}
	u := t.Underlying().(*types.Struct)
	for f := range u.Fields() {
		if f.Exported() {
			return false
		}
	}
	return newPlanner(named.Obj().Pkg().Path(), true).marshal(t) != 0
}
