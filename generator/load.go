package generator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/gcexportdata"
	"golang.org/x/tools/go/packages"

	"github.com/cachegen/cachegen/annotations"
	"github.com/cachegen/cachegen/generator/internal/emit"
)

// A Config says which packages to work on.
type Config struct {
	// Dir is the folder that patterns are relative to; "" is the current one.
	Dir string
	// Env is the environment of the go command; nil is the process's own.
	Env []string
	// Tags is a comma-separated list of build tags.
	Tags string
	// Patterns are package patterns as the go command takes them; none means ".".
	Patterns []string
}

// loaded is the packages of a run, type-checked without their generated files.
type loaded struct {
	fset    *token.FileSet
	module  string
	matched []*packages.Package          // what the patterns name, in the order of their paths
	byPath  map[string]*packages.Package // those and all that they depend on
	sources map[string]*annotations.Source
}

// load reads the packages in two steps. The first asks the go command only
// what there is: which packages the patterns name, and which others of the
// module have directives that theirs may refer to. The second type-checks
// those, from source; everything else comes as export data.
//
// Generated files are cut to their package clause on the way and function
// bodies are dropped, so that a generated file which is missing, stale or
// broken cannot keep a run from making a good one.
func load(ctx context.Context, cfg Config) (*loaded, error) {
	patterns := cfg.Patterns
	if len(patterns) == 0 {
		patterns = []string{"."}
	}
	base := packages.Config{Context: ctx, Dir: cfg.Dir, Env: cfg.Env}
	if cfg.Tags != "" {
		base.BuildFlags = []string{"-tags=" + cfg.Tags}
	}

	survey := base
	survey.Mode = packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedDeps | packages.NeedModule
	wanted, overlay, err := surveyPackages(&survey, patterns)
	if err != nil {
		return nil, err
	}

	full := base
	full.Mode = typesMode
	full.Fset = token.NewFileSet()
	full.ParseFile = parseFile
	full.Overlay = overlay
	roots, err := packages.Load(&full, slices.Concat(patterns, wanted.others)...)
	if err != nil {
		return nil, loadError(err)
	}

	l := &loaded{
		fset:    full.Fset,
		byPath:  map[string]*packages.Package{},
		sources: map[string]*annotations.Source{},
	}
	for _, pkg := range roots {
		if wanted.matched[pkg.PkgPath] {
			l.matched = append(l.matched, pkg)
		}
		if pkg.Module != nil && pkg.Module.Main && l.module == "" {
			l.module = pkg.Module.Path
		}
	}
	slices.SortFunc(l.matched, func(a, b *packages.Package) int { return strings.Compare(a.PkgPath, b.PkgPath) })
	packages.Visit(roots, nil, func(pkg *packages.Package) { l.byPath[pkg.PkgPath] = pkg })
	if err := l.complete(base, wanted.plain); err != nil {
		return nil, err
	}
	return l, nil
}

// typesMode asks for types and syntax of the named packages, and for the types
// of what they import from export data.
const typesMode = packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports |
	packages.NeedTypes | packages.NeedTypesSizes | packages.NeedSyntax | packages.NeedTypesInfo | packages.NeedModule

// complete reads all of what the given packages export. They are named by
// directives only: no Go file need import them, so that they may be missing, or
// known by those few of their names that others mention. To load them from
// source would load from source whatever depends on them.
func (l *loaded) complete(cfg packages.Config, paths []string) error {
	paths = slices.DeleteFunc(paths, func(path string) bool {
		pkg := l.byPath[path]
		return pkg != nil && len(pkg.Syntax) > 0
	})
	if len(paths) == 0 {
		return nil
	}
	cfg.Mode = packages.NeedName | packages.NeedImports | packages.NeedModule | packages.NeedExportFile
	pkgs, err := packages.Load(&cfg, paths...)
	if err != nil {
		return loadError(err)
	}
	view := map[string]*types.Package{}
	for path, pkg := range l.byPath {
		if pkg.Types != nil {
			view[path] = pkg.Types
		}
	}
	for _, pkg := range pkgs {
		if pkg.ExportFile == "" {
			continue // the checker reports that the package is unknown
		}
		if err := readExports(pkg, l.fset, view); err != nil {
			return fmt.Errorf("cannot read the export data of %s: %w", pkg.PkgPath, err)
		}
		if old := l.byPath[pkg.PkgPath]; old == nil {
			l.byPath[pkg.PkgPath] = pkg
		}
		l.byPath[pkg.PkgPath].Types = view[pkg.PkgPath]
	}
	return nil
}

// readExports adds what a package exports to the types in view, which it shares
// with all others there.
func readExports(pkg *packages.Package, fset *token.FileSet, view map[string]*types.Package) error {
	f, err := os.Open(pkg.ExportFile)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := gcexportdata.NewReader(f)
	if err != nil {
		return err
	}
	tpkg, err := gcexportdata.Read(r, fset, view, pkg.PkgPath)
	if err != nil {
		return err
	}
	view[pkg.PkgPath] = tpkg
	return nil
}

// A survey is what the first step of loading found.
type survey struct {
	matched map[string]bool // import paths that the patterns name
	others  []string        // import paths to be loaded from source as well
	plain   []string        // import paths that directives name, without directives of their own
}

// surveyPackages finds the packages to load from source. Its second result
// hides generated files that even the go command cannot read.
func surveyPackages(cfg *packages.Config, patterns []string) (*survey, map[string][]byte, error) {
	s := &survey{matched: map[string]bool{}}
	overlay := map[string][]byte{}
	seen := map[string]bool{}
	others := map[string]bool{}
	named := map[string]bool{} // by directives
	annotated := map[string]bool{}
	todo := patterns
	for round := 0; len(todo) > 0; round++ {
		roots, err := packages.Load(cfg, todo...)
		if err != nil {
			return nil, nil, loadError(err)
		}
		todo = nil
		if round == 0 {
			var problems []error
			for _, pkg := range roots {
				if len(pkg.GoFiles) == 0 && len(pkg.IgnoredFiles) == 0 && len(pkg.Errors) > 0 && generatedFile(pkg) == "" {
					problems = append(problems, listErrors(pkg))
				}
				s.matched[pkg.PkgPath] = true
			}
			if err := errors.Join(problems...); err != nil {
				return nil, nil, err
			}
		}
		packages.Visit(roots, nil, func(pkg *packages.Package) {
			// Directives count in the main module, and where directives there say so.
			isMain := pkg.Module != nil && pkg.Module.Main
			if seen[pkg.PkgPath] || !isMain && !named[pkg.PkgPath] {
				return
			}
			seen[pkg.PkgPath] = true
			if len(pkg.Errors) > 0 {
				hideGenerated(pkg, overlay)
			}
			imports, found := directiveImports(pkg.GoFiles)
			annotated[pkg.PkgPath] = found
			if found && isMain && !s.matched[pkg.PkgPath] {
				others[pkg.PkgPath] = true
			}
			for _, path := range imports {
				if !named[path] && !s.matched[path] {
					named[path] = true
					todo = append(todo, path)
				}
			}
		})
	}
	for path := range named {
		switch {
		case annotated[path] && !s.matched[path]:
			others[path] = true
		case !annotated[path]:
			s.plain = append(s.plain, path)
		}
	}
	slices.Sort(s.plain)
	s.others = slices.Sorted(maps.Keys(others))
	return s, overlay, nil
}

// directiveImports returns the paths of the //cache:import directives in files
// and whether there is any directive at all. It reads lines, not syntax: a
// line that only looks like a directive costs a package loaded for nothing.
func directiveImports(files []string) (paths []string, annotated bool) {
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(src, []byte("//cache:")) || isGenerated(src) {
			continue
		}
		annotated = true
		for line := range bytes.Lines(src) {
			rest, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("//cache:import "))
			if !ok {
				continue
			}
			if i := bytes.IndexAny(rest, "\"`"); i >= 0 {
				if quoted, err := strconv.QuotedPrefix(string(rest[i:])); err == nil {
					if path, err := strconv.Unquote(quoted); err == nil && validPath(path) {
						paths = append(paths, path)
					}
				}
			}
		}
	}
	return paths, annotated
}

// validPath reports whether a path can be handed to the go command as the name
// of one package.
func validPath(path string) bool {
	return path != "" && !strings.HasPrefix(path, "-") && !strings.Contains(path, "...") && !strings.ContainsAny(path, " \t*\\=@")
}

// isGenerated reports whether src is a file of ours: the header stands in a
// line of its own before the package clause.
func isGenerated(src []byte) bool {
	src = bytes.TrimPrefix(src, []byte("\ufeff")) // some editors put a byte order mark there
	for line := range bytes.Lines(src) {
		line = bytes.TrimSpace(line)
		if bytes.Equal(line, []byte(emit.Header)) {
			return true
		}
		if bytes.HasPrefix(line, []byte("package ")) {
			return false
		}
	}
	return false
}

// generatedFile returns our file in the folder of a package, "" if there is none.
// An empty one counts: it is what an interrupted write of another program leaves.
func generatedFile(pkg *packages.Package) string {
	dir := packageDir(pkg)
	if dir == "" {
		return ""
	}
	name := filepath.Join(dir, FileName)
	if src, err := os.ReadFile(name); err == nil && isOurs(src) {
		return name
	}
	return ""
}

// isOurs reports whether a file of our name may be overwritten.
func isOurs(src []byte) bool {
	if isGenerated(src) {
		return true
	}
	// What a crash may leave of a file of ours: nothing, zeros, or the beginning
	// of the header.
	rest := bytes.Trim(src, "\x00 \t\r\n")
	return bytes.HasPrefix([]byte(emit.Header), rest)
}

// hideGenerated puts an empty file in the place of a generated one that may be
// what the go command stumbles over.
func hideGenerated(pkg *packages.Package, overlay map[string][]byte) {
	name := generatedFile(pkg)
	if name == "" {
		return
	}
	if clause := packageClause(name); clause != "" {
		overlay[name] = []byte(emit.Header + "\n\npackage " + clause + "\n")
	}
}

// packageClause returns the package name that the other files beside name
// agree on.
func packageClause(name string) string {
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(name), "*.go"))
	for _, file := range files {
		if file == name || strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly)
		if err == nil {
			return f.Name.Name
		}
	}
	return ""
}

// parseFile is the loader's parser: generated files keep nothing but their
// package clause, others everything but function bodies.
func parseFile(fset *token.FileSet, filename string, src []byte) (*ast.File, error) {
	if isGenerated(src) {
		return parser.ParseFile(fset, filename, src, parser.PackageClauseOnly|parser.ParseComments)
	}
	f, err := parser.ParseFile(fset, filename, src, parser.ParseComments|parser.SkipObjectResolution|parser.AllErrors)
	if f == nil {
		return f, err
	}
	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Type.TypeParams == nil {
			fn.Body = nil
		}
	}
	return f, err
}

// lookup returns the types and directives of a package, nil if it is unknown
// or known by its export data alone.
func (l *loaded) lookup(path string) (*types.Package, *annotations.Source) {
	pkg := l.byPath[path]
	if pkg == nil {
		return nil, nil
	}
	return pkg.Types, l.source(pkg)
}

func (l *loaded) source(pkg *packages.Package) *annotations.Source {
	if len(pkg.Syntax) == 0 {
		return nil
	}
	src, ok := l.sources[pkg.PkgPath]
	if !ok {
		src = annotations.Scan(l.fset, pkg.PkgPath, pkg.Syntax)
		l.sources[pkg.PkgPath] = src
	}
	return src
}

// nameOf returns the name of a package by its import path.
func (l *loaded) nameOf(path string) string {
	if pkg := l.byPath[path]; pkg != nil && pkg.Name != "" {
		return pkg.Name
	}
	return path[strings.LastIndex(path, "/")+1:]
}

// listErrors returns what the go command says of a package it cannot find.
func listErrors(pkg *packages.Package) error {
	var errs []error
	for _, e := range pkg.Errors {
		errs = append(errs, loadError(e))
	}
	return errors.Join(errs...)
}

// loadError makes a failure of the go command readable: one line, without the
// loader's own prefix.
func loadError(err error) error {
	var e packages.Error
	if errors.As(err, &e) {
		if e.Pos != "" && e.Pos != "-" {
			return fmt.Errorf("%s: %s", e.Pos, e.Msg)
		}
		return errors.New(e.Msg)
	}
	// A failed go command is reported with its status before what it said.
	if _, said, ok := strings.Cut(err.Error(), "stderr: "); ok && strings.TrimSpace(said) != "" {
		return errors.New(strings.TrimSpace(said))
	}
	return fmt.Errorf("cannot load packages: %w", err)
}
