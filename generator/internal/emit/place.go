package emit

import "github.com/dave/jennifer/jen"

// A place is a variable in generated code, known by its name or by a pointer
// to it.
type place struct {
	expr    *jen.Statement
	pointer bool // expr is a pointer to the variable
}

func variable(name string) place { return place{expr: jen.Id(name)} }

// value returns the variable as an operand.
func (p place) value() *jen.Statement {
	if p.pointer {
		return jen.Parens(jen.Op("*").Add(p.expr.Clone()))
	}
	return p.expr.Clone()
}

// addr returns a pointer to the variable.
func (p place) addr() *jen.Statement {
	if p.pointer {
		return p.expr.Clone()
	}
	return jen.Op("&").Add(p.expr.Clone())
}

// target returns the place that the variable, a pointer, points to.
func (p place) target() place { return place{expr: p.value(), pointer: true} }

// field returns a field of the variable, a struct.
func (p place) field(name string) place {
	return place{expr: p.expr.Clone().Dot(name)}
}

// index returns an element of the variable, a slice or array.
func (p place) index(i string) place {
	return place{expr: p.value().Index(jen.Id(i))}
}
