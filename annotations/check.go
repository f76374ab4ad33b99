package annotations

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
)

// An Input is a package to check. Its types may be incomplete: function bodies
// may be missing, and errors that do not concern an annotated method or an
// expression in a directive do not matter.
type Input struct {
	Fset  *token.FileSet
	Files []*ast.File // with comments; files cachegen generated are ignored
	Types *types.Package
	Dir   string // absolute folder of the package

	// Module is the path of the main module, for messages; may be empty.
	Module string

	// Lookup returns another package by import path: its types, nil if it
	// cannot be found, and its source, nil if its directives are not to be
	// used. It is asked for packages named by import directives and for those
	// of embedded interfaces. A nil Lookup knows no package.
	Lookup func(path string) (*types.Package, *Source)

	// ImportsOnly says that Lookup knows no packages but those that the Go files
	// import, as under go vet: a package that directives alone name may exist.
	ImportsOnly bool

	// Imports returns the import paths a package depends on directly, through
	// its Go files or its import directives, to find cycles. If it is nil,
	// they are taken from the types and the sources that are known.
	Imports func(path string) []string
}

// A checker checks one package.
type checker struct {
	in     Input
	exprs  *token.FileSet // of the expressions in directives
	own    *unit
	units  map[string]*unit          // by path; nil for unknown ones
	deps   map[string]*types.Package // what the package and others here depend on
	parsed map[*Statement]*parsed
	diags  []Diagnostic

	generatedFiles map[string]bool
	results        *planner
	pkg            *Package
	repositories   []*repository
}

// Check checks the directives of a package. It returns the model, or all the
// problems, sorted; both are nil for a package without anything to generate.
//
// Nothing in the input is changed, so several goroutines may check packages
// that share types.
func Check(in Input) (*Package, []Diagnostic) {
	src := Scan(in.Fset, in.Types.Path(), in.Files)
	if !src.HasDirectives() {
		return nil, nil
	}
	c := &checker{
		in:             in,
		exprs:          token.NewFileSet(),
		units:          map[string]*unit{},
		deps:           map[string]*types.Package{},
		parsed:         map[*Statement]*parsed{},
		diags:          slices.Clone(src.Problems),
		generatedFiles: map[string]bool{},
		results:        newPlanner(in.Types.Path(), false),
	}
	for _, file := range in.Files {
		if isGenerated(file) {
			c.generatedFiles[in.Fset.File(file.Package).Name()] = true
		}
	}
	c.own = newUnit(in.Types, src)
	c.own.own = true
	c.units[c.own.path] = c.own
	c.addDependencies(in.Types)
	c.check()
	if len(c.diags) > 0 {
		return nil, Sort(c.diags)
	}
	if len(c.pkg.Tags) == 0 && len(c.pkg.Repositories) == 0 {
		return nil, nil
	}
	return c.pkg, nil
}

func (c *checker) report(d Diagnostic) { c.diags = append(c.diags, d) }

// generated reports whether an object is declared in a file that cachegen
// generated.
func (c *checker) generated(obj types.Object) bool {
	f := c.in.Fset.File(obj.Pos())
	return f != nil && c.generatedFiles[f.Name()]
}

// parse parses a directive once and reports its problems once.
func (c *checker) parse(st *Statement) *parsed {
	p, ok := c.parsed[st]
	if !ok {
		p = parse(st, c.report)
		c.parsed[st] = p
	}
	return p
}

func (c *checker) check() {
	c.pkg = &Package{
		Path:  c.own.path,
		Name:  c.own.types.Name(),
		Dir:   c.in.Dir,
		Taken: c.taken(),
	}
	c.own.source.statements(func(st *Statement) { c.parse(st) })
	c.declare(c.own)
	c.checkImportCycles()
	c.pkg.Tags = c.own.order

	for _, file := range c.own.source.Files {
		for _, i := range file.Interfaces {
			if r := c.repository(file, i); r != nil {
				c.repositories = append(c.repositories, r)
			}
		}
	}
	c.checkAnnotatedUnused()
	// Every method's role and key must be known before any item can name it.
	for _, r := range c.repositories {
		c.checkSignatures(r)
	}
	for _, r := range c.repositories {
		for _, m := range r.methods {
			c.checkMethod(m)
		}
	}
	for _, r := range c.repositories {
		for _, m := range r.methods {
			c.checkBatchMethod(m)
		}
	}
	c.checkNames()
	c.checkTags()
	c.checkReads()
	if len(c.diags) > 0 {
		return
	}
	c.finish()
}

// taken returns the names the package declares.
func (c *checker) taken() []string {
	scope := c.own.types.Scope()
	return slices.DeleteFunc(scope.Names(), func(name string) bool { return c.generated(scope.Lookup(name)) })
}

// importName returns the name an import has in its file, "" if it has none.
func (c *checker) importName(imp SourceImport) string {
	switch imp.Name {
	case "_", ".":
		return ""
	case "":
		if pkg := c.packageTypes(imp.Path); pkg != nil {
			return pkg.Name()
		}
		return ""
	}
	return imp.Name
}

// finish completes the model of a package without problems.
func (c *checker) finish() {
	for _, r := range c.repositories {
		c.pkg.Repositories = append(c.pkg.Repositories, r.model)
	}
	c.notePartial()
	c.noteWrites()
	for _, r := range c.repositories {
		for _, m := range r.methods {
			if m.model.Read != nil {
				m.model.Read.Fingerprint = fingerprint(m.model)
			}
		}
	}
}
