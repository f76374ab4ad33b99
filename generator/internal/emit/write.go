package emit

import (
	"slices"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// write writes a changing method: it evaluates the tags before and after the
// call and invalidates both, whatever the call did.
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

	var body []jen.Code
	var ctx, callCtx jen.Code = jen.Id(g.ctx), jen.Id(g.ctx)
	if m.Context < 0 {
		ctx, callCtx = jen.Qual("context", "Background").Call(), jen.Id("_") // the call takes none
	}
	body = append(body,
		jen.List(callCtx, jen.Id(write)).Op(":=").Add(g.handle()).Dot("Begin").Call(
			ctx,
			jen.Func().Params(jen.Id(tags).Op("*").Qual(runtimePath, "Tags")).Block(g.invalidations(tags)...),
		),
		jen.Defer().Id(write).Dot("End").Call(),
	)
	for _, t := range m.Write.Reload {
		body = append(body, jen.Id(write).Dot("Reload").Call(g.reload(t)))
	}

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
		if slices.Contains(results, "") || slices.Contains(results, "_") {
			op = ":="
			results = nil
			inner := g.scope.inner()
			for i := range m.Results {
				want := "result"
				if i == m.Err {
					want = "err"
				}
				results = append(results, inner.pick(want))
			}
		}
		var list []jen.Code
		for _, name := range results {
			list = append(list, jen.Id(name))
		}
		var err jen.Code = jen.Nil()
		if m.Err >= 0 {
			err = jen.Id(results[m.Err])
		}
		body = append(body,
			jen.List(list...).Op(op).Add(call),
			returned(err),
			jen.Return(list...),
		)
	}
	g.declare(docOf(m, writePolicy(m)), m.Name, g.paramList(), g.resultList(), body...)
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
