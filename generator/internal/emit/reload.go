package emit

import (
	"go/types"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// reload returns the function that makes a read again after a write has
// succeeded: only then are its arguments evaluated. Of several reads one that
// fails does not keep the others from being made.
//
// The context makes a read load whatever is cached; an entry of a read that takes
// none is invalidated for that.
func (g *method) reload(t *annotations.Target) *jen.Statement {
	var errResult []string
	if g.m.Err >= 0 {
		errResult = g.results[g.m.Err : g.m.Err+1] // which no expression mentions
	}
	inner := g.scope.without(errResult)
	err := inner.pick("err")
	fn := jen.Func().Params(jen.Id(g.ctx).Qual("context", "Context"))
	if len(t.Each) == 0 {
		return fn.Error().Block(g.reloadOne(t, err)...)
	}
	loop := loops(t.Each, g.vars(), inner, func(v vars, names scope) []jen.Code {
		return g.reloadElement(t, v, err, names.pick("failed"))
	})
	return fn.Params(jen.Id(err).Error()).Block(append(loop, jen.Return(jen.Id(err)))...)
}

// reloadOne returns the statements that make a read again and return its error,
// under the name err.
func (g *method) reloadOne(t *annotations.Target, err string) []jen.Code {
	var stmts []jen.Code
	if t.Read.Context < 0 {
		stmts = append(stmts, jen.If(
			jen.Id(err).Op(":=").Add(g.invalidateCall(t, g.vars())),
			jen.Id(err).Op("!=").Nil(),
		).Block(jen.Return(jen.Id(err))))
	}
	call := g.readCall(t, g.vars())
	if t.Read.Err < 0 {
		return append(stmts, call, jen.Return(jen.Nil()))
	}
	return append(stmts, jen.List(jen.Id("_"), jen.Id(err)).Op(":=").Add(call), jen.Return(jen.Id(err)))
}

// reloadElement returns the statements that make a read again for an element of a
// list. What failed is left in the variable err: one error is enough for the log.
func (g *method) reloadElement(t *annotations.Target, v vars, err, failed string) []jen.Code {
	var stmts []jen.Code
	try := func(results []jen.Code, call *jen.Statement) {
		stmts = append(stmts, jen.If(
			jen.List(results...).Op(":=").Add(call),
			jen.Id(failed).Op("!=").Nil(),
		).Block(jen.Id(err).Op("=").Id(failed).Comment("// try the rest nevertheless")))
	}
	if t.Read.Context < 0 {
		try([]jen.Code{jen.Id(failed)}, g.invalidateCall(t, v))
	}
	call := g.readCall(t, v)
	if t.Read.Err < 0 {
		return append(stmts, call)
	}
	try([]jen.Code{jen.Id("_"), jen.Id(failed)}, call)
	return stmts
}

// invalidateCall returns the call that invalidates the entry of the read that a
// target names.
func (g *method) invalidateCall(t *annotations.Target, v vars) *jen.Statement {
	args := []jen.Code{jen.Id(g.ctx)}
	for _, arg := range t.Args {
		args = append(args, v.expr(arg))
	}
	if t.Spread {
		args[len(args)-1] = v.expr(t.Args[len(t.Args)-1]).Op("...")
	}
	return jen.Id(g.recv).Dot(g.names[t.Read.Name].invalidate).Call(args...)
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

// zero returns the zero value of a type, as an argument or a result.
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
