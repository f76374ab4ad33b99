package emit

import (
	"slices"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// write writes a changing method: it evaluates the tags before and after the
// call and invalidates both, whatever the call did. If it can return an error, the
// runtime may refuse it before the call is made.
func (g *method) write() {
	m := g.m
	usesResult := false
	for _, t := range slices.Concat(m.Write.Invalidates, m.Write.Reload) {
		usesResult = usesResult || t.UsesResult
	}
	if usesResult {
		g.nameResults()
	}
	write, tags := g.scope.pickOf("write", "cacheWrite"), g.scope.pickOf("tags", "cacheTags")

	var reloads []jen.Code
	for _, t := range m.Write.Reload {
		reloads = append(reloads, jen.Id(write).Dot("Reload").Call(g.reload(t)))
	}
	var ctx, callCtx jen.Code = jen.Id(g.ctx), jen.Id(g.ctx)
	if m.Context < 0 {
		ctx, callCtx = jen.Qual("context", "Background").Call(), jen.Id("_") // the call takes none
	}
	begin := func(method string) *jen.Statement {
		return g.handle().Dot(method).Call(
			ctx,
			jen.Func().Params(jen.Id(tags).Op("*").Qual(runtimePath, "Tags")).Block(g.invalidations(tags)...),
		)
	}
	var body []jen.Code
	var err string
	if m.Err < 0 {
		body = append(body, jen.List(callCtx, jen.Id(write)).Op(":=").Add(begin("BeginAnyway")))
	} else {
		begun := begin("Begin")
		// The closures before it may use the name as well.
		if err = g.results[m.Err]; err == "" || err == "_" {
			err = g.scope.pick("err")
		}
		body = append(body,
			jen.List(callCtx, jen.Id(write), jen.Id(err)).Op(":=").Add(begun),
			jen.If(jen.Id(err).Op("!=").Nil()).Block(jen.Return(g.refused(err)...)),
		)
	}
	body = append(body, jen.Defer().Id(write).Dot("End").Call())
	body = append(body, reloads...)

	call := g.call(g.params)
	returned := func(err jen.Code) *jen.Statement { return jen.Id(write).Dot("Returned").Call(err) }
	switch {
	case len(m.Results) == 0:
		body = append(body, call, returned(jen.Nil()))
	case len(m.Results) == 1 && m.Err == 0 && !usesResult:
		body = append(body, jen.Return(returned(call)))
	default:
		op := "="
		results := g.results
		if !g.resultsNamed() {
			op = ":="
			results = nil
			inner := g.scope.inner()
			for i := range m.Results {
				if i == m.Err {
					results = append(results, err)
				} else {
					results = append(results, inner.pick("result"))
				}
			}
		}
		var list []jen.Code
		for _, name := range results {
			list = append(list, jen.Id(name))
		}
		var failed jen.Code = jen.Nil()
		if m.Err >= 0 {
			failed = jen.Id(err)
		}
		body = append(body,
			jen.List(list...).Op(op).Add(call),
			returned(failed),
			jen.Return(list...),
		)
	}
	g.declare(docOf(m, writePolicy(m)), m.Name, g.paramList(), g.resultList(), body...)
}

// refused returns the results of a write that is not made: the error of that name,
// and zero values.
func (g *method) refused(err string) []jen.Code {
	var list []jen.Code
	for i, r := range g.m.Results {
		switch {
		case i == g.m.Err:
			list = append(list, jen.Id(err))
		case g.resultsNamed():
			list = append(list, jen.Id(g.results[i])) // which nothing has been assigned to
		default:
			list = append(list, zero(r.Type))
		}
	}
	return list
}

// invalidations returns the statements that add a write's tags.
func (g *method) invalidations(tags string) []jen.Code {
	var stmts []jen.Code
	var plain []*annotations.Target
	flush := func() {
		stmts = append(stmts, g.addTagStmts(tags, plain, g.vars(), g.scope)...)
		plain = nil
	}
	for _, t := range g.m.Write.Invalidates {
		switch {
		case t.UsesResult, t.MayPanic:
			flush()
			method := "Try"
			if t.UsesResult {
				method = "Result"
			}
			stmts = append(stmts, jen.Id(tags).Dot(method).Call(
				g.allTag(t),
				jen.Func().Params().Add(g.addTags(tags, []*annotations.Target{t}, g.vars(), g.scope)),
			))
		default:
			plain = append(plain, t)
		}
	}
	flush()
	return stmts
}
