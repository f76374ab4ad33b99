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
	if r.Stale > 0 {
		values = append(values, field("Stale", duration(r.Stale)))
	}
	values = append(values, g.waits()...)
	if r.Refresh > 0 {
		values = append(values, field("Refresh", jen.Lit(r.Refresh)))
	}
	if r.Share {
		values = append(values, field("Share", jen.True()))
	}
	values = append(values, g.promises()...)
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

// waits returns the fields of a configuration that say how long callers wait.
func (g *method) waits() []jen.Code {
	var values []jen.Code
	if soft := g.m.Read.Soft; soft > 0 {
		values = append(values, field("Soft", duration(soft)))
	}
	if hard := g.m.Read.Hard; hard > 0 {
		values = append(values, field("Hard", duration(hard)))
	}
	return values
}

// promises returns the fields of a configuration that say what the signature
// does not allow the runtime to do.
func (g *method) promises() []jen.Code {
	var values []jen.Code
	if g.m.Err < 0 {
		values = append(values, field("Infallible", jen.True()))
	}
	if slices.ContainsFunc(g.m.Params, func(p *annotations.Param) bool { return p.Copy == annotations.CopyShared }) {
		values = append(values, field("SharedArgs", jen.True()))
	}
	return values
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
	stmts = append(stmts, g.skip()...)
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

	copies, params := g.copies(-1)
	stmts = append(stmts, copies...)
	var loader jen.Code
	if names.policy != "" {
		policy := g.scope.pickOf("policy", "loader")
		loader = jen.Id(policy)
		stmts = append(stmts,
			jen.Id(policy).Op(":=").Id(g.recv).Dot(names.policy).Call(g.policyUses().args(g.ctx, params)...),
			jen.Id(policy).Dot("Call").Op("=").Add(g.loadFunc(params)),
		)
	} else {
		values := append([]jen.Code{field("Call", g.loadFunc(params))}, g.known(params, g.scope)...)
		loader = g.loaderType().Add(lines(values))
	}
	load := g.handle().Dot("Load").Call(jen.Id(g.ctx), jen.Id(key), loader)
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

	g.sharedMethods(names)
	g.keyMethods(names)
	g.invalidateMethods(names)
}

// before returns the conditions that are decided before the call.
func (g *method) before() []*annotations.Condition {
	var list []*annotations.Condition
	for _, cond := range g.m.Read.When {
		if !cond.Expr.UsesResult {
			list = append(list, cond)
		}
	}
	return list
}

// skip returns the statements that send a call past the cache if a condition
// that is known before the call does not allow it.
func (g *method) skip() []jen.Code {
	conds := g.before()
	if len(conds) == 0 {
		return nil
	}
	var stmts []jen.Code
	var forbidden *jen.Statement
	switch cached := g.names[g.m.Name].cached; {
	case cached != "":
		forbidden = jen.Op("!").Id(g.recv).Dot(cached).Call(g.conditionUses().args(g.ctx, g.params)...)
	case mayPanic(conds), slices.ContainsFunc(conds, hasBrace):
		cacheable := g.scope.pickOf("cacheable", "allowed")
		stmts = append(stmts, jen.Id(cacheable).Op(":=").Func().Params().Bool().Add(oneLine(
			jen.Return(g.vars().conditions(conds)))))
		forbidden = jen.Op("!").Qual(runtimePath, "Holds").Call(jen.Id(cacheable))
	default:
		forbidden = g.forbidden(conds)
	}
	return append(stmts, jen.If(forbidden).Block(
		g.handle().Dot("Skip").Call(jen.Id(g.ctx)),
		jen.Return(g.call(g.params)),
	))
}

// hasBrace reports whether a condition has the brace of a composite literal, which must not
// stand in the header of a statement, where it would begin the block.
func hasBrace(c *annotations.Condition) bool { return outside(c.Expr, "{") }

func mayPanic(conds []*annotations.Condition) bool {
	return slices.ContainsFunc(conds, func(c *annotations.Condition) bool { return c.Expr.MayPanic })
}

// forbidden returns the expression, for the header of an if, that one of the
// conditions does not hold.
func (g *method) forbidden(conds []*annotations.Condition) *jen.Statement {
	var alternatives []jen.Code
	for _, cond := range conds {
		negated := *cond
		negated.Negate = !cond.Negate
		alternatives = append(alternatives, g.vars().condition(&negated))
	}
	return join(alternatives, "||")
}

// copies returns the statements that keep a load's arguments from changing
// after its caller has left, and the names under which the load knows its
// parameters. A large parameter is copied too: captured by the closures below,
// it would move to the heap on a hit as well. The parameter at index but, if
// any, is left alone.
func (g *method) copies(but int) ([]jen.Code, []string) {
	var stmts []jen.Code
	params := slices.Clone(g.params)
	for i, p := range g.m.Params {
		var value *jen.Statement
		switch {
		case i == but:
			continue
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

// loaderType returns the type of what the runtime is told about a load.
func (g *method) loaderType() *jen.Statement {
	return jen.Qual(runtimePath, "Loader").Index(typ(g.m.Results[g.m.Result].Type))
}

// loadFunc returns the function that calls the repository.
func (g *method) loadFunc(params []string) *jen.Statement {
	ctxParam := jen.Qual("context", "Context")
	if g.m.Context >= 0 {
		ctxParam = jen.Id(g.ctx).Add(ctxParam)
	}
	call := jen.Return(g.call(params))
	if g.m.Err < 0 {
		call = jen.Return(g.call(params), jen.Nil())
	}
	result := typ(g.m.Results[g.m.Result].Type)
	return jen.Func().Params(ctxParam).Params(result, jen.Error()).Add(body(call))
}

// hasPolicy reports whether there is anything to tell about the read's entries.
func (g *method) hasPolicy() bool {
	r := g.m.Read
	return len(r.Depends) > 0 || r.TTL.Expr != nil || len(r.When) > len(g.before())
}

// known returns the fields of a Loader that say what is known of an entry, under
// the names of params. outer are the names in use around it.
func (g *method) known(params []string, outer scope) []jen.Code {
	r := g.m.Read
	result := typ(g.m.Results[g.m.Result].Type)

	// Every closure has its own parameters, chosen against everything around.
	inner := outer.without(g.results)
	resultName, tags := inner.pickOf("result", "value"), inner.pickOf("tags", "cacheTags")
	v := vars{params: params, results: make([]string, len(g.m.Results))}
	for i := range v.results {
		v.results[i] = "error(nil)" // the only other result of a read; not nil, it would not be here
	}
	v.results[g.m.Result] = resultName

	var values []jen.Code
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
