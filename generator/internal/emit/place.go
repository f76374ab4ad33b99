package emit

import (
	"strings"

	"github.com/dave/jennifer/jen"
)

// A place is a variable in generated code: an expression, or what is found from
// it by following pointers.
type place struct {
	expr  *jen.Statement
	stars int // how many pointers to follow from expr
}

func variable(name string) place { return place{expr: jen.Id(name)} }

// follow writes the expression with n stars in front.
func (p place) follow(n int) *jen.Statement {
	if n == 0 {
		return p.expr.Clone()
	}
	return jen.Op(strings.Repeat("*", n)).Add(p.expr.Clone())
}

// value returns the variable.
func (p place) value() *jen.Statement { return p.follow(p.stars) }

// addr returns a pointer to the variable.
func (p place) addr() *jen.Statement {
	if p.stars > 0 {
		return p.follow(p.stars - 1)
	}
	return jen.Op("&").Add(p.expr.Clone())
}

// target returns the place that the variable, a pointer, points to.
func (p place) target() place { return place{expr: p.expr, stars: p.stars + 1} }

// field returns a field of the variable, a struct.
func (p place) field(name string) place {
	if p.stars <= 1 { // a selector follows one pointer by itself
		return place{expr: p.expr.Clone().Dot(name)}
	}
	return place{expr: jen.Parens(p.follow(p.stars - 1)).Dot(name)}
}

// index returns an element of the variable, a slice or array.
func (p place) index(i string) place { return place{expr: p.atKey(i)} }

// atKey returns the expression for an element of the variable, a map as well.
func (p place) atKey(key string) *jen.Statement {
	if p.stars == 0 {
		return p.expr.Clone().Index(jen.Id(key))
	}
	return jen.Parens(p.value()).Index(jen.Id(key))
}

// slice returns the variable, an array, as a slice.
func (p place) slice() *jen.Statement {
	if p.stars <= 1 { // slicing follows one pointer by itself
		return p.expr.Clone().Index(jen.Empty(), jen.Empty())
	}
	return jen.Parens(p.follow(p.stars-1)).Index(jen.Empty(), jen.Empty())
}
