package emit

import (
	"fmt"
	"slices"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// A shared method of a wrapper says something of a read that its batches have to
// know as well. It takes what the expressions in it mention.
type shared struct {
	context bool
	params  []int // without the context
}

// equal reports whether two shared methods take the same.
func (s shared) equal(other shared) bool {
	return s.context == other.context && slices.Equal(s.params, other.params)
}

// uses finds out what some expressions of a read mention.
func (g *method) uses(exprs []*annotations.Expr) shared {
	var s shared
	for _, e := range exprs {
		s.params = append(s.params, e.UsesParams...)
	}
	slices.Sort(s.params)
	s.params = slices.Compact(s.params)
	if i := slices.Index(s.params, g.m.Context); i >= 0 {
		s.context = true
		s.params = slices.Delete(s.params, i, i+1)
	}
	return s
}

// mentionsContext reports whether the tags of targets are made with the context
// though no expression mentions it: the keys of the reads that they name do.
func (g *method) mentionsContext(targets []*annotations.Target) bool {
	for _, t := range targets {
		if t.Read == nil || t.All {
			continue
		}
		_, used := g.entryOf(t)
		if slices.Contains(used, t.Read.Context) {
			return true
		}
	}
	return false
}

// policyUses is what the method that says what is known of an entry takes.
func (g *method) policyUses() shared {
	r := g.m.Read
	var exprs []*annotations.Expr
	for _, t := range r.Depends {
		exprs = append(exprs, t.Exprs()...)
	}
	for _, cond := range r.When {
		if cond.Expr.UsesResult {
			exprs = append(exprs, cond.Expr)
		}
	}
	if r.TTL.Expr != nil {
		exprs = append(exprs, r.TTL.Expr)
	}
	s := g.uses(exprs)
	s.context = s.context || g.mentionsContext(r.Depends)
	return s
}

// conditionUses is what the method that says whether a call is cached takes.
func (g *method) conditionUses() shared {
	var exprs []*annotations.Expr
	for _, cond := range g.before() {
		exprs = append(exprs, cond.Expr)
	}
	return g.uses(exprs)
}

// args returns the arguments for a shared method: the context, and what stands
// for the parameters of the read.
func (s shared) args(ctx string, params []string) []jen.Code {
	var args []jen.Code
	if s.context {
		args = append(args, jen.Id(ctx))
	}
	for _, i := range s.params {
		args = append(args, jen.Id(params[i]))
	}
	return args
}

// sharedParams returns the parameters of a shared method.
func (g *method) sharedParams(s shared) []jen.Code {
	var params []jen.Code
	if s.context {
		params = append(params, jen.Id(g.ctx).Qual("context", "Context"))
	}
	var list paramList
	for _, i := range s.params {
		list.addPlain(g.params[i], g.m.Params[i])
	}
	return append(params, list.code()...)
}

// sharedMethods writes what a read shares with its batches, so that they cannot
// drift apart.
func (g *method) sharedMethods(names *readNames) {
	if names.cached != "" {
		conds := g.before()
		allowed := g.vars().conditions(conds)
		if mayPanic(conds) {
			allowed = jen.Qual(runtimePath, "Holds").Call(jen.Func().Params().Bool().Add(oneLine(jen.Return(allowed))))
		}
		g.declare(prose(fmt.Sprintf("%s reports whether a call of %s may use the cache.", names.cached, g.m.Name)),
			names.cached, g.sharedParams(g.conditionUses()), jen.Bool(), jen.Return(allowed))
	}
	if names.policy != "" {
		g.declare(prose(fmt.Sprintf("%s says what is known of an entry of %s.", names.policy, g.m.Name)),
			names.policy, g.sharedParams(g.policyUses()), g.loaderType(),
			jen.Return(g.loaderType().Add(lines(g.known(g.params, g.namesAround())))))
	}
}

// namesAround returns the scope of a method that goes with this one and has its
// parameters.
func (g *method) namesAround() scope {
	scope := g.file.used.inner()
	scope.add(g.recv)
	scope.add(g.ctx)
	for _, p := range g.params {
		scope.add(p)
	}
	return scope
}
