package emit

import (
	"fmt"
	"slices"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// newRead returns the call that makes the runtime's side of a read.
func (g *method) newRead(cache string) *jen.Statement {
	m, r := g.m, g.m.Read
	result := typ(m.Results[m.Result].Type)
	values := []jen.Code{
		field("Repository", jen.Lit(g.repo.ID)),
		field("Method", jen.Lit(m.Name)),
		field("Fingerprint", jen.Op(fmt.Sprintf("0x%016x", r.Fingerprint))),
	}
	switch {
	case r.TTL.Forever:
		values = append(values, field("TTL", jen.Qual(runtimePath, "Forever")))
	case r.TTL.Expr == nil:
		values = append(values, field("TTL", duration(r.TTL.Duration)))
	}
	if r.Jitter > 0 {
		values = append(values, field("Jitter", jen.Lit(r.Jitter)))
	}
	if r.Share {
		values = append(values, field("Share", jen.True()))
	}
	if m.Err < 0 {
		values = append(values, field("Infallible", jen.True()))
	}
	if slices.ContainsFunc(m.Params, func(p *annotations.Param) bool { return p.Copy == annotations.CopyShared }) {
		values = append(values, field("SharedArgs", jen.True()))
	}
	if r.Pointer {
		values = append(values, field("IsNil", jen.Func().Params(jen.Id("result").Add(result)).Bool().Add(oneLine(
			jen.Return(jen.Id("result").Op("==").Nil())))))
	}
	if len(r.Negative) > 0 {
		values = append(values, field("Negative", g.negatives()))
	}
	if len(r.Partial) > 0 {
		values = append(values, field("Patterns", jen.Index().Uint8().Values(patterns(r.Partial)...)))
	}
	values = append(values,
		field("Encode", jen.Id(g.file.resultEncoder(m))),
		field("Decode", jen.Id(g.file.resultDecoder(m))),
	)
	return jen.Qual(runtimePath, "NewRead").Call(
		jen.Id(cache),
		jen.Qual(runtimePath, "ReadConfig").Index(result).Add(lines(values)),
	)
}

func field(name string, value jen.Code) jen.Code {
	return jen.Id(name).Op(":").Add(value)
}

func (g *method) negatives() *jen.Statement {
	var list []jen.Code
	for _, n := range g.m.Read.Negative {
		var values []jen.Code
		if n.Nil {
			values = append(values, field("Nil", jen.True()))
		} else {
			values = append(values, field("Err", g.vars().expr(n.Err)))
		}
		if n.TTL > 0 {
			values = append(values, field("TTL", duration(n.TTL)))
		}
		list = append(list, jen.Values(values...))
	}
	return jen.Index().Qual(runtimePath, "Negative").Values(list...)
}

// read writes the method and what goes with it.
func (g *method) read() {
	r, names := g.m.Read, g.names[g.m.Name]
	key := g.scope.pickOf("key", "cacheKey")
	var stmts []jen.Code
	if g.m.Context < 0 {
		stmts = append(stmts, jen.Id(g.ctx).Op(":=").Qual("context", "Background").Call())
	}
	if skip := g.skip(); skip != nil {
		stmts = append(stmts, skip)
	}
	stmts = append(stmts,
		jen.Id(key).Op(":=").Add(g.handle()).Dot("Key").Call(jen.Id(g.ctx)),
		jen.Defer().Id(key).Dot("Release").Call(),
	)
	if len(r.Vary) > 0 {
		stmts = append(stmts,
			jen.Id(g.recv).Dot(names.vary).Call(g.keyArgs(key, r.Vary)...),
			jen.Id(key).Dot("Args").Call(),
		)
	}
	if len(r.Key) > 0 {
		stmts = append(stmts, jen.Id(g.recv).Dot(names.key).Call(g.keyArgs(key, r.Key)...))
	}
	// The names of results are free again in the block of an if.
	inner := g.scope.without(g.results)
	result, err := inner.pickOf("result", "value"), "_"
	returned := []jen.Code{jen.Id(result)}
	if g.m.Err >= 0 {
		err = inner.pick("err")
		returned = append(returned, jen.Id(err))
	}
	ok := inner.pickOf("ok", "hit")
	stmts = append(stmts, jen.If(
		jen.List(jen.Id(result), jen.Id(err), jen.Id(ok)).Op(":=").Add(g.handle()).Dot("Lookup").Call(jen.Id(g.ctx), jen.Id(key)),
		jen.Id(ok),
	).Block(jen.Return(returned...)))

	copies, params := g.copies()
	stmts = append(stmts, copies...)
	load := g.handle().Dot("Load").Call(jen.Id(g.ctx), jen.Id(key),
		jen.Qual(runtimePath, "Loader").Index(typ(g.m.Results[g.m.Result].Type)).Add(lines(g.loader(params))))
	if g.m.Err >= 0 {
		stmts = append(stmts, jen.Return(load))
	} else {
		result := g.scope.pickOf("result", "value")
		stmts = append(stmts,
			jen.List(jen.Id(result), jen.Id("_")).Op(":=").Add(load),
			jen.Return(jen.Id(result)),
		)
	}
	g.declare(docOf(g.m, readPolicy(g.m, g.params)), g.m.Name, g.paramList(), g.resultList(), stmts...)

	g.keyMethods(names)
	g.invalidateMethods(names)
}

// skip returns the statement that sends a call past the cache if a condition
// that is known before the call does not allow it; nil if there is none.
func (g *method) skip() jen.Code {
	var alternatives []jen.Code
	for _, cond := range g.m.Read.When {
		if cond.Expr.UsesResult {
			continue
		}
		v := g.vars()
		switch {
		case cond.Expr.MayPanic:
			alternatives = append(alternatives, jen.Op("!").Qual(runtimePath, "Holds").Call(
				jen.Func().Params().Bool().Add(oneLine(jen.Return(v.condition(cond))))))
		case isNamedBool(cond.Expr) && cond.Negate:
			alternatives = append(alternatives, jen.Bool().Parens(v.expr(cond.Expr)))
		case isNamedBool(cond.Expr):
			alternatives = append(alternatives, jen.Op("!").Bool().Parens(v.expr(cond.Expr)))
		case cond.Negate:
			alternatives = append(alternatives, v.inHeader(cond.Expr))
		default:
			alternatives = append(alternatives, jen.Op("!").Add(v.operand(cond.Expr)))
		}
	}
	if len(alternatives) == 0 {
		return nil
	}
	return jen.If(join(alternatives, "||")).Block(
		g.handle().Dot("Skip").Call(jen.Id(g.ctx)),
		jen.Return(g.call(g.params)),
	)
}

// copies returns the statements that keep a load's arguments from changing
// after its caller has left, and the names under which the load knows its
// parameters. A large parameter is copied too: captured by the closures below,
// it would move to the heap on a hit as well.
func (g *method) copies() ([]jen.Code, []string) {
	var stmts []jen.Code
	params := slices.Clone(g.params)
	for i, p := range g.m.Params {
		var value *jen.Statement
		switch {
		case p.Copy == annotations.CopySlice, p.Copy == annotations.CopyMap:
			value = clone(p.Copy, jen.Id(g.params[i]))
		case p.Large, p.Copy == annotations.CopyStruct:
			value = jen.Id(g.params[i])
		default:
			continue
		}
		params[i] = g.scope.pick(g.params[i] + "Copy")
		stmts = append(stmts, jen.Id(params[i]).Op(":=").Add(value))
		for _, field := range p.Fields {
			stmts = append(stmts, jen.Id(params[i]).Dot(field.Path).Op("=").Add(clone(field.Copy, jen.Id(g.params[i]).Dot(field.Path))))
		}
	}
	if len(stmts) > 0 {
		stmts = append([]jen.Code{jen.Comment("// The load may outlive this call.")}, stmts...)
	}
	return stmts, params
}

// clone returns a copy of a slice or map.
func clone(how annotations.Copy, v *jen.Statement) *jen.Statement {
	if how == annotations.CopyMap {
		return jen.Qual("maps", "Clone").Call(v)
	}
	return jen.Qual("slices", "Clone").Call(v)
}

// copies reports whether a load's copy of a parameter is made in the given way,
// as a whole or in a field.
func copies(p *annotations.Param, how annotations.Copy) bool {
	return p.Copy == how || slices.ContainsFunc(p.Fields, func(f annotations.CopiedField) bool { return f.Copy == how })
}

// loader returns the fields of the Loader: how to load, and what follows from
// the loaded value.
func (g *method) loader(params []string) []jen.Code {
	r := g.m.Read
	result := typ(g.m.Results[g.m.Result].Type)

	// Every closure has its own parameters, chosen against everything around.
	inner := g.scope.without(g.results)
	resultName, tags := inner.pickOf("result", "value"), inner.pickOf("tags", "cacheTags")
	v := vars{params: params, results: make([]string, len(g.m.Results))}
	for i := range v.results {
		v.results[i] = "error(nil)" // the only other result of a read; not nil, it would not be here
	}
	v.results[g.m.Result] = resultName

	ctxParam := jen.Qual("context", "Context")
	if g.m.Context >= 0 {
		ctxParam = jen.Id(g.ctx).Add(ctxParam)
	}
	call := jen.Return(g.call(params))
	if g.m.Err < 0 {
		call = jen.Return(g.call(params), jen.Nil())
	}
	values := []jen.Code{
		field("Call", jen.Func().Params(ctxParam).Params(result.Clone(), jen.Error()).Add(body(call))),
	}

	tagsParam := jen.Id(tags).Op("*").Qual(runtimePath, "Tags")
	resultParam := jen.Id(resultName).Add(result.Clone())
	var before, after []*annotations.Target
	for _, t := range r.Depends {
		if t.UsesResult {
			after = append(after, t)
		} else {
			before = append(before, t)
		}
	}
	if len(before) > 0 {
		values = append(values, field("Depends", jen.Func().Params(tagsParam).Add(
			g.addTags(tags, before, v, inner))))
	}
	if len(after) > 0 {
		values = append(values, field("DependsResult", jen.Func().Params(tagsParam.Clone(), resultParam).Add(
			g.addTags(tags, after, v, inner))))
	}

	var store []*annotations.Condition
	for _, cond := range r.When {
		if cond.Expr.UsesResult {
			store = append(store, cond)
		}
	}
	if len(store) > 0 {
		values = append(values, field("Store", jen.Func().Params(resultParam.Clone()).Bool().Add(oneLine(
			jen.Return(v.conditions(store))))))
	}
	if r.TTL.Expr != nil {
		param := resultParam.Clone()
		if !r.TTL.Expr.UsesResult {
			param = result.Clone()
		}
		values = append(values, field("TTL", jen.Func().Params(param).Qual("time", "Duration").Add(oneLine(
			jen.Return(v.expr(r.TTL.Expr))))))
	}
	return values
}
