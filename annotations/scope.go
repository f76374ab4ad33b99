package annotations

import (
	"go/token"
	"go/types"
	"maps"
	"slices"
)

// A unit is a package whose directives take part in a check: the package
// itself, or one that it refers to.
type unit struct {
	path    string
	types   *types.Package
	source  *Source
	own     bool
	imports map[string]*directiveImport // by name; own and foreign ones are valid in the whole package
	tags    map[string]*Tag
	order   []*Tag // in source order
	// broken and brokenImports are the names of tags and imports whose
	// declaration has a problem, which is reported there and not where they are
	// used.
	broken        map[string]bool
	brokenImports map[string]bool
	probes        map[*SourceFile]*probe
	keys          *planner // plans for keys, with the package's own access to fields
}

// A directiveImport is a package that an import directive brings into scope.
type directiveImport struct {
	name piece
	path piece
	pkg  *types.Package // nil if it cannot be found

	// outOfSight is set until it is reported that a package which is used may
	// exist but cannot be looked into.
	outOfSight bool
}

// A probe is a package made for checking expressions: it has the path, and thus
// the access rights, of a real package, and its scope holds everything an
// expression in one file of that package may mention. The real package's scopes
// are never touched: they may be shared with others.
//
// [types.CheckExpr] finds the scope of an expression through a position, so
// every scope below gets a range of positions that nothing else uses.
type probe struct {
	unit *unit
	file *SourceFile
	pkg  *types.Package
	next token.Pos
}

// unit returns the package with the given path, nil if nothing is known of it.
func (c *checker) unit(path string) *unit {
	if u, ok := c.units[path]; ok {
		return u
	}
	c.units[path] = nil
	var src *Source
	if c.in.Lookup != nil {
		_, src = c.in.Lookup(path)
	}
	pkg := c.packageTypes(path)
	if pkg == nil {
		return nil
	}
	if src == nil {
		src = &Source{Path: path, Name: pkg.Name()}
	}
	u := newUnit(pkg, src)
	c.units[path] = u
	c.addDependencies(pkg)
	c.declare(u)
	return u
}

func newUnit(pkg *types.Package, src *Source) *unit {
	return &unit{
		path:    pkg.Path(),
		types:   pkg,
		source:  src,
		imports: map[string]*directiveImport{},
		tags:    map[string]*Tag{},
		broken:  map[string]bool{},

		brokenImports: map[string]bool{},
		probes:        map[*SourceFile]*probe{},
		keys:          newPlanner(pkg.Path(), true),
	}
}

// addDependencies notes the packages that a package depends on.
func (c *checker) addDependencies(pkg *types.Package) {
	queue := slices.Clone(pkg.Imports())
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		if c.deps[p.Path()] == nil {
			c.deps[p.Path()] = p
			queue = append(queue, p.Imports()...)
		}
	}
}

// packageTypes returns the types of a package, nil if they are not known.
func (c *checker) packageTypes(path string) *types.Package {
	switch path {
	case "unsafe":
		return types.Unsafe
	case c.in.Types.Path():
		return c.in.Types
	}
	// Prefer the package as this one sees it, since types of two loads differ.
	// But of a package it does not import itself it may see a few names only.
	seen := c.deps[path]
	if seen != nil && seen.Complete() || c.in.Lookup == nil {
		return seen
	}
	if pkg, _ := c.in.Lookup(path); pkg != nil {
		return pkg
	}
	return seen
}

// probe returns the probe of a file. The import directives of its unit must
// have been declared.
func (c *checker) probe(u *unit, file *SourceFile) *probe {
	if p, ok := u.probes[file]; ok {
		return p
	}
	p := &probe{unit: u, file: file, pkg: types.NewPackage(u.path, u.types.Name()), next: 1}
	u.probes[file] = p
	scope := u.types.Scope()
	for _, name := range scope.Names() {
		if obj := scope.Lookup(name); !u.own || !c.generated(obj) {
			p.pkg.Scope().Insert(obj)
		}
	}
	for _, imp := range file.Imports {
		pkg := c.packageTypes(imp.Path)
		switch {
		case pkg == nil || imp.Name == "_":
		case imp.Name == ".":
			for _, name := range pkg.Scope().Names() {
				if token.IsExported(name) {
					p.pkg.Scope().Insert(pkg.Scope().Lookup(name))
				}
			}
		default:
			p.addImport(imp.Name, pkg)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(u.imports)) {
		if imp := u.imports[name]; imp.pkg != nil {
			p.addImport(name, imp.pkg)
		}
	}
	return p
}

func (p *probe) addImport(name string, pkg *types.Package) {
	if name == "" {
		name = pkg.Name()
	}
	p.pkg.Scope().Insert(types.NewPkgName(token.NoPos, p.pkg, name, pkg))
}

// scope makes an empty scope in the file.
func (p *probe) scope() *scope {
	pos := p.next
	p.next++
	return &scope{
		probe: p,
		scope: types.NewScope(p.pkg.Scope(), pos, p.next, ""),
		pos:   pos,
		refs:  map[types.Object]ref{},
	}
}

// A scope is where expressions are checked: that of a method in a file, or of
// an item with loops.
type scope struct {
	*probe
	scope *types.Scope
	pos   token.Pos // the one position in the scope
	refs  map[types.Object]ref
}

// A ref is what an object in a scope stands for.
type ref struct {
	kind    PartKind
	index   int
	problem func(Pos) Diagnostic // set if it must not be used
}

// clone makes a scope with the same objects, to which others can be added.
func (s *scope) clone() *scope {
	c := s.probe.scope()
	for _, name := range s.scope.Names() {
		c.scope.Insert(s.scope.Lookup(name))
	}
	maps.Copy(c.refs, s.refs)
	return c
}

// declare adds an object; blank and unnamed ones cannot be mentioned.
func (s *scope) declare(obj types.Object, r ref) {
	if obj.Name() == "" || obj.Name() == "_" {
		return
	}
	s.scope.Insert(obj)
	s.refs[obj] = r
}
