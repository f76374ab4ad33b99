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
	methods    []*method // in the order of the interface
}

// readNames are the methods that go with a read.
type readNames struct {
	key, vary, entry          string
	invalidate, invalidateAll string
	// policy and cached are what a read shares with its batches: what is known
	// of an entry, and whether a call is cached. "" if there is nothing to share.
	policy, cached string
	// partial are the entry methods for some of the key's parts, by set.
	partial map[uint8]string
}

func (f *file) repository(repo *annotations.Repository) {
	w := f.newWrapper(repo)
	w.typeDecl()
	w.constructor()
	for _, g := range w.methods {
		switch {
		case isBatch(g.m):
			g.batch()
		case g.m.Role == annotations.RoleRead:
			g.read()
		case g.m.Role == annotations.RoleWrite:
			g.write()
		case g.m.Role == annotations.RoleBypass:
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
		if m.Role == annotations.RoleRead && !isBatch(m) {
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
		switch {
		case isBatch(m):
			w.fields[m.Name] = w.members.pickMember(lowerFirst(m.Name), "Batch")
		case m.Role == annotations.RoleRead:
			w.fields[m.Name] = w.members.pickMember(lowerFirst(m.Name), "Read")
		case m.Role == annotations.RoleWrite:
			w.fields[m.Name] = w.members.pickMember(lowerFirst(m.Name), "Write")
		}
	}
	for _, m := range repo.Methods {
		g := w.newMethod(m)
		w.methods = append(w.methods, g)
		if m.Role != annotations.RoleRead || isBatch(m) {
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
		for _, fixed := range m.Read.Partial {
			var given []string
			for _, i := range usedBy(m.Read.Key, &fixed) {
				given = append(given, g.params[i])
			}
			w.names[m.Name].partial[fixed] = w.members.pickMember(name+"Entry"+withWords(given), "")
		}
		if w.hasBatch(m) {
			if g.hasPolicy() {
				w.names[m.Name].policy = w.members.pickMember(name+"Policy", "")
			}
			if len(g.before()) > 0 {
				w.names[m.Name].cached = w.members.pickMember(name+"Cached", "")
			}
		}
	}
	return w
}

// isBatch reports whether a method reads many at once.
func isBatch(m *annotations.Method) bool { return m.Read != nil && m.Read.Batch != nil }

// hasBatch reports whether a read shares its entries with a batch.
func (w *wrapper) hasBatch(read *annotations.Method) bool {
	return slices.ContainsFunc(w.repo.Methods, func(m *annotations.Method) bool {
		return isBatch(m) && m.Read.Batch.Read == read.Name
	})
}

// method returns the method of that name.
func (w *wrapper) method(name string) *method {
	i := slices.IndexFunc(w.methods, func(g *method) bool { return g.m.Name == name })
	return w.methods[i]
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
		switch {
		case isBatch(m):
			fields = append(fields, jen.Id(w.fields[m.Name]).Op("*").Add(w.method(m.Name).batchType()))
		case m.Role == annotations.RoleRead:
			fields = append(fields, jen.Id(w.fields[m.Name]).Op("*").Qual(runtimePath, "Read").Index(typ(m.Results[m.Result].Type)))
		case m.Role == annotations.RoleWrite:
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
	for _, g := range w.methods {
		switch m := g.m; {
		case isBatch(m):
			fmt.Fprintf(tab, "%s\tbatch\t%s\n", m.Name, g.batchSummary())
		case m.Role == annotations.RoleRead:
			fmt.Fprintf(tab, "%s\tread\t%s\n", m.Name, readSummary(m, g.params))
		case m.Role == annotations.RoleWrite:
			fmt.Fprintf(tab, "%s\twrite\t%s\n", m.Name, writeSummary(m))
		case m.Role == annotations.RoleBypass:
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
	var batches []*method
	for _, g := range w.methods {
		switch {
		case isBatch(g.m):
			batches = append(batches, g) // made from the reads of one
		case g.m.Role == annotations.RoleRead:
			values = append(values, set(g.field, g.newRead(cache)))
		case g.m.Role == annotations.RoleWrite:
			values = append(values, set(g.field, jen.Qual(runtimePath, "NewWrite").Call(
				jen.Id(cache), jen.Lit(w.repo.ID), jen.Lit(g.m.Name))))
		}
	}
	literal := jen.Op("&").Id(w.repo.Wrapper).Add(lines(values))
	body := []jen.Code{jen.Return(literal)}
	if len(batches) > 0 {
		made := scope.pickOf("c", "cached")
		body = []jen.Code{jen.Id(made).Op(":=").Add(literal)}
		for _, g := range batches {
			body = append(body, jen.Id(made).Dot(g.field).Op("=").Add(g.newBatch(made)))
		}
		body = append(body, jen.Return(jen.Id(made)))
	}
	comment(out, prose(w.repo.Constructor+" returns next behind cache. Wrappers that share a cache share their entries: "+
		"one cache serves one source of data."))
	out.Func().Id(w.repo.Constructor).Params(
		jen.Id(next).Id(w.repo.Name),
		jen.Id(cache).Op("*").Qual(runtimePath, "Cache"),
	).Op("*").Id(w.repo.Wrapper).Block(body...)
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
