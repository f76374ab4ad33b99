package annotations

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"unicode"
	"unicode/utf8"
)

// declare brings the import directives and the tags of a package into scope.
func (c *checker) declare(u *unit) {
	if u.own {
		u.noteBroken()
	}
	c.declarations(u, "import", func(p *parsed, _ *SourceFile) { c.declareImport(u, p) })
	c.declarations(u, "tag", func(p *parsed, file *SourceFile) { c.declareTag(u, p, file) })
}

// noteBroken notes the names that directives would declare if they were
// understood: those in the wrong place and those with a misspelt verb.
func (u *unit) noteBroken() {
	names := map[string]map[string]bool{"tag": u.broken, "import": u.brokenImports}
	note := func(st *Statement) {
		set := names[meantVerb(st.Verb)]
		i := slices.IndexFunc(tokenize(st.Args).tokens, func(t tokenAt) bool { return t.tok == token.IDENT })
		if set != nil && i >= 0 {
			set[tokenize(st.Args).tokens[i].lit] = true
		}
	}
	for _, st := range u.source.Strays {
		note(st)
	}
	u.source.statements(func(st *Statement) {
		if d := directive(st.Verb); d == nil || d.Place&st.Place == 0 {
			note(st)
		}
	})
}

// declarations calls f for every directive of that verb in the package
// comments and on the interfaces of a package.
func (c *checker) declarations(u *unit, verb string, f func(*parsed, *SourceFile)) {
	for _, file := range u.source.Files {
		lists := [][]*Statement{file.Directives}
		for _, i := range file.Interfaces {
			lists = append(lists, i.Directives)
		}
		for _, list := range lists {
			for _, st := range list {
				if st.Verb == verb {
					if p := c.parse(st); p.name.text != "" {
						f(p, file)
					}
				}
			}
		}
	}
}

func (c *checker) declareImport(u *unit, p *parsed) {
	name := p.name.text
	if old := u.imports[name]; old != nil {
		c.report(duplicate(p.name.pos, "import "+name, old.name.pos))
		return
	}
	if obj := u.types.Scope().Lookup(name); obj != nil && !(u.own && c.generated(obj)) {
		c.report(importShadows(p.name.pos, name, "the package declares "+name))
		return
	}
	for _, file := range u.source.Files {
		for _, imp := range file.Imports {
			if imp.Path != p.path.text && c.importName(imp) == name {
				c.report(importShadows(p.name.pos, name, "a file of the package imports "+imp.Path+" under that name"))
				return
			}
		}
	}
	imp := &directiveImport{name: p.name, path: p.path, pkg: c.packageTypes(p.path.text)}
	u.imports[name] = imp
	if !u.own {
		return // another package's imports are reported with that package
	}
	switch {
	case p.path.text == u.path:
		c.report(importsItself(p.path.pos))
		imp.pkg = nil
	case imp.pkg == nil && c.in.ImportsOnly:
		imp.outOfSight = true
	case imp.pkg == nil:
		c.report(unknownPackage(p.path))
	case !importable(u.path, imp.pkg):
		c.report(notImportable(p.path.pos, p.path.text))
		imp.pkg = nil
	}
}

func (c *checker) declareTag(u *unit, p *parsed, file *SourceFile) {
	name := p.name.text
	if old := u.tags[name]; old != nil {
		c.report(duplicate(p.name.pos, "tag "+name, old.Pos))
		return
	}
	tag := &Tag{
		Name:     name,
		Pos:      p.name.pos,
		Pkg:      u.path,
		External: p.option("external") != nil,
		ID:       u.path + "." + name,
		Func:     name + "Tag",
	}
	u.tags[name] = tag
	u.order = append(u.order, tag)
	params, ok := c.tagParams(u, p, file)
	tag.Params = params
	u.broken[name] = p.bad || !ok
	if len(tag.Params) > 0 {
		if exported(name) {
			tag.AllFunc = "All" + name + "Tag"
		} else {
			tag.AllFunc = "all" + UpperFirst(name) + "Tag"
		}
	}
}

// tagParams checks the parameters of a tag as those of a function type, and
// reports whether all are in order.
func (c *checker) tagParams(u *unit, p *parsed, file *SourceFile) (params []*TagParam, ok bool) {
	if p.params.text == "" {
		return nil, true
	}
	const keyword = "func"
	text := p.params
	text.pos.Col -= len(keyword) // which keeps the columns of what follows
	text.text = keyword + text.text
	e, ok := c.parseExpr(text, nil)
	if !ok {
		return nil, false
	}
	if at := unnamedParam(e); at.valid() {
		c.report(unnamedTagParam(at))
		return nil, false
	}
	if !c.checkNode(c.probe(u, file).scope(), e, e.node) {
		return nil, false
	}
	sig, ok := e.typeOf(e.node).(*types.Signature)
	if !ok || sig.Results().Len() > 0 {
		c.report(syntaxError(p.params.pos, "a tag has parameters only"))
		return nil, false
	}
	places := paramPlaces(e)
	if len(places) != sig.Params().Len() {
		return nil, false
	}
	before := len(c.diags)
	for i := range sig.Params().Len() {
		v := sig.Params().At(i)
		switch {
		case sig.Variadic() && i == sig.Params().Len()-1:
			c.report(variadicTag(places[i]))
		case invalidType(v.Type()):
			c.report(invalidTypeAt(places[i], types.TypeString(v.Type(), types.RelativeTo(u.types))))
		default:
			codec, err := u.keys.plan(v.Type(), v.Name())
			if err != nil {
				c.report(notKeyable(places[i], err, c.qualify))
			}
			params = append(params, &TagParam{Name: v.Name(), Type: v.Type(), Key: codec})
		}
	}
	return params, len(c.diags) == before
}

// checkImportCycles reports import directives through which packages would come
// to import each other.
func (c *checker) checkImportCycles() {
	for _, name := range sortedImports(c.own.imports) {
		imp := c.own.imports[name]
		if imp.pkg == nil {
			continue
		}
		if path := c.importPath(imp.path.text, c.own.path); path != nil {
			c.report(importCycle(imp.path.pos, c.own.path, path))
		}
	}
}

func sortedImports(imports map[string]*directiveImport) []string {
	names := make([]string, 0, len(imports))
	for name := range imports {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// importPath returns the packages on a way from one package to another, both
// included, nil if there is none.
func (c *checker) importPath(from, to string) []string {
	came := map[string]string{from: ""}
	queue := []string{from}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		if path == to {
			var way []string
			for ; path != ""; path = came[path] {
				way = append(way, path)
			}
			slices.Reverse(way)
			return way
		}
		for _, next := range c.importsOf(path) {
			if _, ok := came[next]; !ok {
				came[next] = path
				queue = append(queue, next)
			}
		}
	}
	return nil
}

// importsOf returns the packages another package imports or will import.
func (c *checker) importsOf(path string) []string {
	if c.in.Imports != nil {
		return c.in.Imports(path)
	}
	var paths []string
	if pkg := c.packageTypes(path); pkg != nil {
		for _, p := range pkg.Imports() {
			paths = append(paths, p.Path())
		}
	}
	if c.in.Lookup != nil {
		if _, src := c.in.Lookup(path); src != nil {
			for _, imp := range src.Imports {
				paths = append(paths, imp.Path)
			}
		}
	}
	return paths
}

func exported(name string) bool {
	r, _ := utf8.DecodeRuneInString(name)
	return unicode.IsUpper(r)
}

// unnamedParam returns the place of the first parameter of a function type that
// cannot be mentioned, or that is a name without a type, which the grammar takes
// for a type without a name.
func unnamedParam(e *expr) Pos {
	typ, ok := e.node.(*ast.FuncType)
	if !ok {
		return Pos{}
	}
	for _, field := range typ.Params.List {
		if len(field.Names) == 0 {
			return e.at(field.Type)
		}
		for _, name := range field.Names {
			if name.Name == "_" {
				return e.at(name)
			}
		}
	}
	return Pos{}
}

// paramPlaces returns where the names of the parameters of a function type
// stand.
func paramPlaces(e *expr) []Pos {
	typ, ok := e.node.(*ast.FuncType)
	if !ok {
		return nil
	}
	var places []Pos
	for _, field := range typ.Params.List {
		for _, name := range field.Names {
			places = append(places, e.at(name))
		}
	}
	return places
}
