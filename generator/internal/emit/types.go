package emit

import (
	"fmt"
	"go/types"
	"strconv"
	"strings"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// typ returns the source of a type as seen from the generated file. It is
// total: every type that go/types can build has a form.
func typ(t types.Type) *jen.Statement {
	switch t := t.(type) {
	case *types.Basic:
		if t.Kind() == types.UnsafePointer {
			return jen.Qual("unsafe", "Pointer")
		}
		return jen.Id(t.Name())
	case *types.Named:
		return typeName(t.Obj(), t.TypeArgs())
	case *types.Alias:
		return typeName(t.Obj(), t.TypeArgs())
	case *types.TypeParam:
		return jen.Id(t.Obj().Name())
	case *types.Pointer:
		return jen.Op("*").Add(typ(t.Elem()))
	case *types.Slice:
		return jen.Index().Add(typ(t.Elem()))
	case *types.Array:
		return jen.Index(jen.Id(strconv.FormatInt(t.Len(), 10))).Add(typ(t.Elem()))
	case *types.Map:
		return jen.Map(typ(t.Key())).Add(typ(t.Elem()))
	case *types.Chan:
		switch t.Dir() {
		case types.SendOnly:
			return jen.Chan().Op("<-").Add(typ(t.Elem()))
		case types.RecvOnly:
			return jen.Op("<-").Chan().Add(typ(t.Elem()))
		}
		if elem, ok := t.Elem().(*types.Chan); ok && elem.Dir() == types.RecvOnly {
			return jen.Chan().Parens(typ(elem))
		}
		return jen.Chan().Add(typ(t.Elem()))
	case *types.Signature:
		return jen.Func().Add(signature(t))
	case *types.Struct:
		return structType(t)
	case *types.Interface:
		return interfaceType(t)
	case *types.Union:
		var terms []jen.Code
		for term := range t.Terms() {
			s := jen.Empty()
			if term.Tilde() {
				s = jen.Op("~")
			}
			terms = append(terms, s.Add(typ(term.Type())))
		}
		return join(terms, "|")
	case *types.Tuple:
		return jen.Add(tuple(t, false))
	}
	return jen.Id(t.String())
}

func typeName(obj *types.TypeName, args *types.TypeList) *jen.Statement {
	s := jen.Id(obj.Name())
	if obj.Pkg() != nil {
		s = jen.Qual(obj.Pkg().Path(), obj.Name())
	}
	if args.Len() == 0 {
		return s
	}
	var list []jen.Code
	for arg := range args.Types() {
		list = append(list, typ(arg))
	}
	return s.Index(jen.List(list...))
}

func signature(t *types.Signature) *jen.Statement {
	s := jen.Add(tuple(t.Params(), t.Variadic()))
	switch t.Results().Len() {
	case 0:
		return s
	case 1:
		if t.Results().At(0).Name() == "" {
			return s.Add(typ(t.Results().At(0).Type()))
		}
	}
	return s.Add(tuple(t.Results(), false))
}

func tuple(t *types.Tuple, variadic bool) *jen.Statement {
	var list []jen.Code
	for i := range t.Len() {
		v := t.At(i)
		s := jen.Empty()
		if v.Name() != "" {
			s = jen.Id(v.Name())
		}
		if slice, ok := v.Type().(*types.Slice); ok && variadic && i == t.Len()-1 {
			s.Op("...").Add(typ(slice.Elem()))
		} else {
			s.Add(typ(v.Type()))
		}
		list = append(list, s)
	}
	return jen.Params(list...)
}

func structType(t *types.Struct) *jen.Statement {
	if t.NumFields() == 0 {
		return jen.Struct()
	}
	var fields []jen.Code
	for i := 0; i < t.NumFields(); i++ {
		field, tag := t.Field(i), t.Tag(i)
		s := jen.Empty()
		if !field.Embedded() {
			names := []jen.Code{jen.Id(field.Name())}
			for i+1 < t.NumFields() && sameField(t, i, i+1) {
				i++
				names = append(names, jen.Id(t.Field(i).Name()))
			}
			s = jen.List(names...)
		}
		s.Add(typ(field.Type()))
		switch {
		case tag == "":
		case strconv.CanBackquote(tag):
			s.Op("`" + tag + "`")
		default:
			s.Op(strconv.Quote(tag))
		}
		fields = append(fields, s)
	}
	return jen.Struct(fields...)
}

// sameField reports whether two fields can share the mention of their type.
func sameField(t *types.Struct, i, j int) bool {
	return !t.Field(j).Embedded() && t.Tag(i) == t.Tag(j) && types.Identical(t.Field(i).Type(), t.Field(j).Type())
}

func interfaceType(t *types.Interface) *jen.Statement {
	if t.NumExplicitMethods() == 0 && t.NumEmbeddeds() == 0 {
		if t.String() == "any" {
			return jen.Any()
		}
		return jen.Interface()
	}
	var list []jen.Code
	for m := range t.ExplicitMethods() {
		list = append(list, jen.Id(m.Name()).Add(signature(m.Signature())))
	}
	for e := range t.EmbeddedTypes() {
		list = append(list, typ(e))
	}
	return jen.Interface(list...)
}

func join(list []jen.Code, op string) *jen.Statement {
	s := jen.Empty()
	for i, code := range list {
		if i > 0 {
			s.Op(op)
		}
		s.Add(code)
	}
	return s
}

// describe returns a name for a type that can be part of a function's name:
// []*Post → PostPtrSlice.
func describe(t types.Type) string {
	switch t := types.Unalias(t).(type) {
	case *types.Basic:
		return annotations.UpperFirst(strings.ReplaceAll(t.Name(), ".", ""))
	case *types.Named:
		name := annotations.UpperFirst(t.Obj().Name())
		for arg := range t.TypeArgs().Types() {
			name += "Of" + describe(arg)
		}
		return name
	case *types.Pointer:
		return describe(t.Elem()) + "Ptr"
	case *types.Slice:
		return describe(t.Elem()) + "Slice"
	case *types.Array:
		return fmt.Sprintf("%sArray%d", describe(t.Elem()), t.Len())
	case *types.Map:
		return describe(t.Key()) + "To" + describe(t.Elem()) + "Map"
	case *types.Struct:
		return "Struct"
	}
	return "Value"
}
