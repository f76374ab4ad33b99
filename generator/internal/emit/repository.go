package emit

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// A wrapper is the generated type of one repository in the making.
type wrapper struct {
	file *file
	repo *annotations.Repository

	recv       string            // receiver of every method
	members    scope             // fields and methods of the type, which share one name space
	nextField  string            // the field that holds the uncached repository
	cacheField string            // the field that holds the cache
	fields     map[string]string // field of each read and write, by method
	names      map[string]*readNames
}

// readNames are the methods that go with a read.
type readNames struct {
	key, vary, entry          string
	invalidate, invalidateAll string
	// partial are the entry methods for some of the key's parts, by set.
	partial map[uint8]string
}

func (f *file) repository(repo *annotations.Repository) {
	w := f.newWrapper(repo)
	w.typeDecl()
	w.constructor()
	for _, m := range repo.Methods {
		g := w.newMethod(m)
		switch m.Role {
		case annotations.RoleRead:
			g.read()
		case annotations.RoleWrite:
			g.write()
		case annotations.RoleBypass:
			g.bypass()
		}
	}
	w.declare(prose("Unwrap returns the uncached "+repo.Name+"."),
		"Unwrap", nil, jen.Id(repo.Name),
		jen.Return(jen.Id(w.recv).Dot(w.nextField)))
}

func (f *file) newWrapper(repo *annotations.Repository) *wrapper {
	w := &wrapper{
		file:    f,
		repo:    repo,
		members: scope{},
		fields:  map[string]string{},
		names:   map[string]*readNames{},
	}
	w.members.add("Unwrap")
	params := f.used.inner()
	for _, m := range repo.Methods {
		w.members.add(m.Name)
		if m.Role == annotations.RoleRead {
			w.members.add(inExportOf(m.Name, "Invalidate", m.Name))
			w.members.add(inExportOf(m.Name, "InvalidateAll", m.Name))
		}
		for _, p := range append(append([]*annotations.Param(nil), m.Params...), m.Results...) {
			params.add(p.Name)
		}
	}
	w.recv = params.pickOf("c", "cached")
	w.nextField = w.members.pickMember("next", "Repository")
	w.cacheField = w.members.pickMember("cache", "Runtime")
	for _, m := range repo.Methods {
		switch m.Role {
		case annotations.RoleRead:
			w.fields[m.Name] = w.members.pickMember(lowerFirst(m.Name), "Read")
		case annotations.RoleWrite:
			w.fields[m.Name] = w.members.pickMember(lowerFirst(m.Name), "Write")
		}
	}
	for _, m := range repo.Methods {
		if m.Role != annotations.RoleRead {
			continue
		}
		name := lowerFirst(m.Name)
		w.names[m.Name] = &readNames{
			key:           w.members.pickMember(name+"Key", ""),
			vary:          w.members.pickMember(name+"Vary", ""),
			entry:         w.members.pickMember(name+"Entry", ""),
			invalidate:    inExportOf(m.Name, "Invalidate", m.Name),
			invalidateAll: inExportOf(m.Name, "InvalidateAll", m.Name),
			partial:       map[uint8]string{},
		}
		params := w.newMethod(m).params
		for _, fixed := range m.Read.Partial {
			var given []string
			for _, i := range usedBy(m.Read.Key, &fixed) {
				given = append(given, params[i])
			}
			w.names[m.Name].partial[fixed] = w.members.pickMember(name+"Entry"+withWords(given), "")
		}
	}
	return w
}

func (w *wrapper) typeDecl() {
	out := w.file.out
	comment(out, prose(fmt.Sprintf("%s %s. It is safe for concurrent use if the repository behind it is.", w.repo.Wrapper, w.purpose())))
	out.Comment("//")
	for _, line := range w.table() {
		out.Comment("//\t" + line)
	}
	fields := []jen.Code{
		jen.Id(w.nextField).Id(w.repo.Name),
		jen.Id(w.cacheField).Op("*").Qual(runtimePath, "Cache"),
	}
	for i, m := range w.repo.Methods {
		if i == 0 {
			fields = append(fields, jen.Line())
		}
		switch m.Role {
		case annotations.RoleRead:
			fields = append(fields, jen.Id(w.fields[m.Name]).Op("*").Qual(runtimePath, "Read").Index(typ(m.Results[m.Result].Type)))
		case annotations.RoleWrite:
			fields = append(fields, jen.Id(w.fields[m.Name]).Op("*").Qual(runtimePath, "Write"))
		}
	}
	out.Type().Id(w.repo.Wrapper).Struct(fields...)
	out.Line()
	out.Comment(fmt.Sprintf("// If this does not compile, %s has changed: run \"go generate\".", w.repo.Name))
	out.Var().Id("_").Id(w.repo.Name).Op("=").Parens(jen.Op("*").Id(w.repo.Wrapper)).Call(jen.Nil())
	out.Line()
}

// purpose says what the wrapper does for the methods it has.
func (w *wrapper) purpose() string {
	has := func(role annotations.Role) bool {
		return slices.ContainsFunc(w.repo.Methods, func(m *annotations.Method) bool { return m.Role == role })
	}
	switch {
	case has(annotations.RoleRead) && has(annotations.RoleWrite):
		return fmt.Sprintf("answers the reads of %s from a cache and, on each of its writes, invalidates what the write makes stale", w.repo.Name)
	case has(annotations.RoleRead):
		return fmt.Sprintf("answers the reads of %s from a cache", w.repo.Name)
	case has(annotations.RoleWrite):
		return fmt.Sprintf("invalidates, on each write of %s, what the write makes stale", w.repo.Name)
	}
	return fmt.Sprintf("passes all calls on to %s", w.repo.Name)
}

// table returns the policy of every method, a line each, in columns.
func (w *wrapper) table() []string {
	var buf bytes.Buffer
	tab := tabwriter.NewWriter(&buf, 0, 0, 2, ' ', 0)
	for _, m := range w.repo.Methods {
		switch m.Role {
		case annotations.RoleRead:
			fmt.Fprintf(tab, "%s\tread\t%s\n", m.Name, readSummary(m, w.newMethod(m).params))
		case annotations.RoleWrite:
			fmt.Fprintf(tab, "%s\twrite\tinvalidates %s\n", m.Name, targetTexts(m.Write.Invalidates))
		case annotations.RoleBypass:
			fmt.Fprintf(tab, "%s\tbypass\t\n", m.Name)
		}
	}
	tab.Flush()
	var lines []string
	for line := range strings.Lines(buf.String()) {
		lines = append(lines, strings.TrimRight(strings.ReplaceAll(line, unbroken, " "), " \n"))
	}
	return lines
}

func (w *wrapper) constructor() {
	out := w.file.out
	scope := w.file.used.inner()
	next, cache := scope.pickOf("next", "uncached"), scope.pickOf("cache", "c")

	// One field a line, with a trailing comma: jennifer's Values would put the
	// literal on one line.
	set := func(field string, value jen.Code) jen.Code {
		return jen.Id(field).Op(":").Add(value)
	}
	values := []jen.Code{
		set(w.nextField, jen.Id(next)),
		set(w.cacheField, jen.Id(cache)),
	}
	for _, m := range w.repo.Methods {
		switch m.Role {
		case annotations.RoleRead:
			values = append(values, set(w.fields[m.Name], w.newMethod(m).newRead(cache)))
		case annotations.RoleWrite:
			values = append(values, set(w.fields[m.Name], jen.Qual(runtimePath, "NewWrite").Call(
				jen.Id(cache), jen.Lit(w.repo.ID), jen.Lit(m.Name))))
		}
	}
	comment(out, prose(w.repo.Constructor+" returns next behind cache. Wrappers that share a cache share their entries: "+
		"one cache serves one source of data."))
	out.Func().Id(w.repo.Constructor).Params(
		jen.Id(next).Id(w.repo.Name),
		jen.Id(cache).Op("*").Qual(runtimePath, "Cache"),
	).Op("*").Id(w.repo.Wrapper).Block(
		jen.Return(jen.Op("&").Id(w.repo.Wrapper).Add(lines(values))),
	)
	out.Line()
}

// lines returns the body of a composite literal with one element a line.
func lines(values []jen.Code) *jen.Statement {
	return jen.Custom(jen.Options{Open: "{", Close: "}", Separator: ",", Multi: true}, values...)
}

func (g *method) bypass() {
	doc := docOf(g.m, "is not cached: the call goes straight through.")
	call := g.call(g.params)
	if len(g.m.Results) > 0 {
		call = jen.Return(call)
	}
	g.declare(doc, g.m.Name, g.paramList(), g.resultList(), call)
}
