package emit

import (
	"go/types"
	"strings"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// A method is a method of a wrapper in the making: the names of everything in
// its scope.
type method struct {
	*wrapper
	m *annotations.Method

	scope   scope
	recv    string
	params  []string // by parameter
	results []string // by result; "" where the signature leaves it unnamed
	ctx     string   // the context variable
	field   string   // the field of the wrapper that holds the read or write
}

// newMethod names the parameters and results of m: as the interface does, but
// for blank ones and those that would hide what generated code relies on.
func (w *wrapper) newMethod(m *annotations.Method) *method {
	g := &method{wrapper: w, m: m, scope: w.file.taken.inner(), recv: w.recv, field: w.fields[m.Name]}
	g.scope.add(w.recv)
	for i, p := range m.Params {
		want := p.Name
		switch {
		case want != "" && want != "_":
		case i == m.Context:
			want = "ctx"
		default:
			want = argName(p)
		}
		g.params = append(g.params, g.pickParam(want))
	}
	named := false
	for _, r := range m.Results {
		named = named || r.Name != ""
	}
	for _, r := range m.Results {
		switch {
		case !named:
			g.results = append(g.results, "")
		case r.Name == "_":
			g.results = append(g.results, "_")
		default:
			g.results = append(g.results, g.pickParam(r.Name))
		}
	}
	if m.Context >= 0 {
		g.ctx = g.params[m.Context]
	} else {
		g.ctx = g.scope.pick("ctx")
	}
	return g
}

// argName returns a name for a parameter that the interface leaves unnamed.
func argName(p *annotations.Param) string {
	if p.Variadic {
		return "args"
	}
	return "arg"
}

// pickParam takes a name for a parameter: the one wanted, or with Arg behind it
// where that would hide a name of the file.
func (g *method) pickParam(want string) string {
	if g.scope[want] || reserved(want) {
		want += "Arg"
	}
	return g.scope.pick(want)
}

// nameResults makes sure that every result has a name, so that a closure can
// refer to it.
func (g *method) nameResults() {
	for i, name := range g.results {
		if name != "" && name != "_" {
			continue
		}
		want := "result"
		if i == g.m.Err {
			want = "err"
		}
		g.results[i] = g.scope.pick(want)
	}
}

func (g *method) vars() vars {
	return vars{params: g.params, results: g.results}
}

// paramList returns the parameters of the method as its interface declares
// them.
func (g *method) paramList() []jen.Code {
	var list []jen.Code
	for i := 0; i < len(g.m.Params); i++ {
		names := []jen.Code{jen.Id(g.params[i])}
		for i+1 < len(g.m.Params) && sameType(g.m.Params[i], g.m.Params[i+1]) {
			i++
			names = append(names, jen.Id(g.params[i]))
		}
		if p := g.m.Params[i]; p.Variadic {
			list = append(list, param(g.params[i], p))
		} else {
			list = append(list, jen.List(names...).Add(typ(p.Type)))
		}
	}
	return list
}

// sameType reports whether two parameters can share the mention of their type.
func sameType(a, b *annotations.Param) bool {
	return !a.Variadic && !b.Variadic && types.Identical(a.Type, b.Type)
}

func param(name string, p *annotations.Param) jen.Code {
	if p.Variadic {
		return jen.Id(name).Op("...").Add(typ(sliceElem(p.Type)))
	}
	return jen.Id(name).Add(typ(p.Type))
}

// resultList returns the result part of the method's signature.
func (g *method) resultList() *jen.Statement {
	switch {
	case len(g.results) == 0:
		return jen.Empty()
	case len(g.results) == 1 && g.results[0] == "":
		return jen.Add(typ(g.m.Results[0].Type))
	}
	var list []jen.Code
	for i, r := range g.m.Results {
		s := jen.Empty()
		if g.results[i] != "" {
			s = jen.Id(g.results[i])
		}
		list = append(list, s.Add(typ(r.Type)))
	}
	return jen.Params(list...)
}

// args returns the arguments for the wrapped method, with the names of params.
func (g *method) args(params []string) []jen.Code {
	var list []jen.Code
	for i, p := range g.m.Params {
		s := jen.Id(params[i])
		if p.Variadic {
			s.Op("...")
		}
		list = append(list, s)
	}
	return list
}

// call returns the call of the wrapped method.
func (g *method) call(params []string) *jen.Statement {
	return jen.Id(g.recv).Dot(g.nextField).Dot(g.m.Name).Call(g.args(params)...)
}

// read or write returns c.field, the runtime's side of the method.
func (g *method) handle() *jen.Statement {
	return jen.Id(g.recv).Dot(g.field)
}

// declare writes a method of the wrapper behind its comment.
func (w *wrapper) declare(doc []string, name string, params []jen.Code, results jen.Code, body ...jen.Code) {
	out := w.file.out
	for _, line := range doc {
		out.Comment(line)
	}
	if results == nil {
		results = jen.Empty()
	}
	out.Func().Params(jen.Id(w.recv).Op("*").Id(w.repo.Wrapper)).Id(name).Params(params...).Add(results).Block(body...)
	out.Line()
}

// docOf returns the comment of a method: the user's own, then the policy, which
// is worded to follow the method's name.
func docOf(m *annotations.Method, policy string) []string {
	if m.Doc == "" {
		return commentLines(m.Name + " " + policy)
	}
	policy = upperFirst(strings.TrimPrefix(policy, "is "))
	return append(append(commentLines(m.Doc), "//"), commentLines(policy)...)
}

// oneLine returns a function body of one statement on one line.
func oneLine(stmt jen.Code) jen.Code {
	return jen.Custom(jen.Options{Open: "{", Close: "}"}, stmt)
}

// body returns the body of a function literal: on one line if it is a single
// statement.
func body(stmts ...jen.Code) jen.Code {
	if len(stmts) == 1 {
		return oneLine(stmts[0])
	}
	return jen.Block(stmts...)
}

func commentLines(text string) []string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		lines = append(lines, strings.TrimRight("// "+line, " \t"))
	}
	return lines
}
