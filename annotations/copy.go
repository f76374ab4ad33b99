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

// copiedFields returns the fields that must be cloned in a copy of a struct, and
// whether that is all there is to do. Code in the package own has to reach them.
func copiedFields(t types.Type, own *types.Package) (fields []CopiedField, ok bool) {
	u, isStruct := t.Underlying().(*types.Struct)
	if !isStruct {
		return nil, false
	}
	for f := range u.Fields() {
		if immutable(f.Type()) {
			continue
		}
		if f.Name() == "_" || !f.Exported() && f.Pkg() != own {
			return nil, false
		}
		if how := copyOf(f.Type()); how != CopyShared {
			fields = append(fields, CopiedField{f.Name(), how})
			continue
		}
		inner, ok := copiedFields(f.Type(), own)
		if !ok {
			return nil, false
		}
		for _, field := range inner {
			fields = append(fields, CopiedField{f.Name() + "." + field.Path, field.Copy})
		}
	}
	return fields, true
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
