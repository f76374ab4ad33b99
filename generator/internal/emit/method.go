package emit

import (
	"slices"

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
	g := &method{
		wrapper: w,
		m:       m,
		scope:   w.file.used.inner(),
		recv:    w.recv,
		params:  make([]string, len(m.Params)),
		results: make([]string, len(m.Results)),
		field:   w.fields[m.Name],
	}
	g.scope.add(w.recv)
	// Names that can stay first, so that no other takes them.
	for i, p := range m.Params {
		g.params[i] = g.scope.keep(p.Name)
	}
	for i, r := range m.Results {
		g.results[i] = g.scope.keep(r.Name)
	}
	for i, p := range m.Params {
		if g.params[i] != "" {
			continue
		}
		switch unnamed := p.Name == "" || p.Name == "_"; {
		case !unnamed:
			g.params[i] = g.scope.pick(p.Name + "Arg")
		case i == m.Context:
			g.params[i] = g.scope.pick("ctx")
		case p.Variadic:
			g.params[i] = g.scope.pick("args")
		default:
			g.params[i] = g.scope.pick("arg")
		}
	}
	for i, r := range m.Results {
		switch {
		case g.results[i] != "" || r.Name == "":
		case r.Name == "_":
			g.results[i] = "_"
		default:
			g.results[i] = g.scope.pick(r.Name + "Result")
		}
	}
	if m.Context >= 0 {
		g.ctx = g.params[m.Context]
	} else {
		g.ctx = g.scope.pick("ctx")
	}
	return g
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

// resultsNamed reports whether every result has a name.
func (g *method) resultsNamed() bool {
	return !slices.Contains(g.results, "") && !slices.Contains(g.results, "_")
}

func (g *method) vars() vars {
	return vars{params: g.params, results: g.results}
}

// paramList returns the parameters of the method as its interface declares
// them.
func (g *method) paramList() []jen.Code {
	var list paramList
	for i, p := range g.m.Params {
		list.add(g.params[i], p)
	}
	return list.code()
}

// resultList returns the result part of the method's signature.
func (g *method) resultList() *jen.Statement {
	switch {
	case len(g.results) == 0:
		return jen.Empty()
	case len(g.results) == 1 && g.results[0] == "":
		return jen.Add(typ(g.m.Results[0].Type))
	}
	if g.results[0] == "" {
		var list []jen.Code
		for _, r := range g.m.Results {
			list = append(list, typ(r.Type))
		}
		return jen.Params(list...)
	}
	var list paramList
	for i, r := range g.m.Results {
		list.add(g.results[i], r)
	}
	return jen.Params(list.code()...)
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

// handle returns c.field, the runtime's side of a read or write.
func (g *method) handle() *jen.Statement {
	return jen.Id(g.recv).Dot(g.field)
}

// declare writes a method of the wrapper behind its comment.
func (w *wrapper) declare(doc []string, name string, params []jen.Code, results jen.Code, body ...jen.Code) {
	out := w.file.out
	comment(out, doc)
	if results == nil {
		results = jen.Empty()
	}
	out.Func().Params(jen.Id(w.recv).Op("*").Id(w.repo.Wrapper)).Id(name).Params(params...).Add(results).Block(body...)
	out.Line()
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
