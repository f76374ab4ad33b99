package emit

import (
	"go/types"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// reload returns the function that makes a read again after a write has
// succeeded: only then are its arguments evaluated. Of several reads one that
// fails does not keep the others from being made.
func (g *method) reload(t *annotations.Target) *jen.Statement {
	var errResult []string
	if g.m.Err >= 0 {
		errResult = g.results[g.m.Err : g.m.Err+1] // which no expression mentions
	}
	inner := g.scope.without(errResult)
	ctx := jen.Qual("context", "Context")
	if t.Read.Context >= 0 {
		ctx = jen.Id(g.ctx).Add(ctx)
	}
	if len(t.Each) == 0 {
		var body []jen.Code
		call := g.readCall(t, g.vars())
		if t.Read.Err < 0 {
			body = []jen.Code{call, jen.Return(jen.Nil())}
		} else {
			err := inner.pick("err")
			body = []jen.Code{jen.List(jen.Id("_"), jen.Id(err)).Op(":=").Add(call), jen.Return(jen.Id(err))}
		}
		return jen.Func().Params(ctx).Error().Block(body...)
	}
	if t.Read.Err < 0 {
		body := loops(t.Each, g.vars(), inner, func(v vars, _ scope) []jen.Code { return []jen.Code{g.readCall(t, v)} })
		return jen.Func().Params(ctx).Error().Block(append(body, jen.Return(jen.Nil()))...)
	}
	err := inner.pick("err")
	body := loops(t.Each, g.vars(), inner, func(v vars, names scope) []jen.Code {
		failed := names.pick("failed")
		return []jen.Code{jen.If(
			jen.List(jen.Id("_"), jen.Id(failed)).Op(":=").Add(g.readCall(t, v)),
			jen.Id(failed).Op("!=").Nil(),
		).Block(jen.Id(err).Op("=").Id(failed))}
	})
	return jen.Func().Params(ctx).Params(jen.Id(err).Error()).Block(append(body, jen.Return(jen.Id(err)))...)
}

// readCall returns the call of the read that a target names. Its ignored
// parameters, which tell nothing apart, have their zero values.
func (g *method) readCall(t *annotations.Target, v vars) *jen.Statement {
	var args []jen.Code
	pos := 0 // in t.Args, which has neither the context nor ignored parameters
	for i, p := range t.Read.Params {
		switch {
		case i == t.Read.Context:
			args = append(args, jen.Id(g.ctx))
			continue
		case p.Ignored && p.Variadic:
			continue
		case p.Ignored:
			args = append(args, zero(p.Type))
			continue
		case p.Variadic && !t.Spread:
			for _, arg := range t.Args[pos:] {
				args = append(args, v.expr(arg))
			}
		case p.Variadic:
			args = append(args, v.expr(t.Args[pos]).Op("..."))
		default:
			args = append(args, v.expr(t.Args[pos]))
		}
		pos++
	}
	return jen.Id(g.recv).Dot(t.Read.Name).Call(args...)
}

// zero returns the zero value of a type as an argument.
func zero(t types.Type) *jen.Statement {
	switch u := t.Underlying().(type) {
	case *types.Basic:
		switch {
		case u.Info()&types.IsBoolean != 0:
			return jen.False()
		case u.Info()&types.IsString != 0:
			return jen.Lit("")
		case u.Info()&types.IsNumeric != 0:
			return jen.Lit(0)
		}
	case *types.Struct, *types.Array:
		return typ(t).Values()
	}
	return jen.Nil()
}
