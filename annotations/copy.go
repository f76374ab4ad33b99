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
// type.
func copyOf(t types.Type) Copy {
	if immutable(t) {
		return CopyNone
	}
	switch u := t.Underlying().(type) {
	case *types.Slice:
		if immutable(u.Elem()) {
			return CopySlice
		}
	case *types.Map:
		if immutable(u.Key()) && immutable(u.Elem()) {
			return CopyMap
		}
	}
	return CopyShared
}

// immutable reports whether a copy of a value shares no memory that its owner
// could change.
func immutable(t types.Type) bool {
	// A netip.Addr points to memory that nobody changes, like a time.Time.
	if isTime(t) || isNamed(t, "net/netip", "Addr") || isNamed(t, "context", "Context") {
		return true
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		return u.Kind() != types.UnsafePointer
	case *types.Array:
		return immutable(u.Elem())
	case *types.Struct:
		for f := range u.Fields() {
			if !immutable(f.Type()) {
				return false
			}
		}
		return true
	}
	return false
}
