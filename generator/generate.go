package generator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/tools/go/packages"

	"github.com/cachegen/cachegen/annotations"
	"github.com/cachegen/cachegen/generator/internal/emit"
)

// A Result is what a run found: either diagnostics, or a file for every
// annotated package.
type Result struct {
	Diagnostics []annotations.Diagnostic
	// Files holds the generated file of each annotated package, in the order
	// of import paths, and those to be removed because nothing is annotated
	// any more. It is empty if there are diagnostics.
	Files []*File
	// Models are the checked models the files were made from, in the order of
	// import paths.
	Models []*annotations.Package
}

// Generate loads and checks the packages and returns what their generated
// files must hold. An error means that the packages could not be loaded;
// problems with directives are in the result.
func Generate(ctx context.Context, cfg Config) (*Result, error) {
	l, err := load(ctx, cfg)
	if err != nil {
		return nil, err
	}
	res := &Result{}
	var orphans []*File
	for _, pkg := range l.matched {
		src := l.source(pkg)
		if src == nil || !src.HasDirectives() {
			if file := orphan(pkg); file != nil {
				// What does not parse may have had directives.
				res.Diagnostics = append(res.Diagnostics, syntaxErrors(pkg)...)
				orphans = append(orphans, file)
			}
			continue
		}
		if pkg.PkgPath == "command-line-arguments" {
			return nil, errors.New("name a package by its folder, like ./posts, not by its files")
		}
		if pkg.Module == nil || !pkg.Module.Main {
			return nil, fmt.Errorf("%s has //cache: directives but is not in the main module; run cachegen in its own module", pkg.PkgPath)
		}
		if syntax := syntaxErrors(pkg); len(syntax) > 0 {
			res.Diagnostics = append(res.Diagnostics, syntax...)
			continue
		}
		model, diags := annotations.Check(l.input(pkg))
		res.Diagnostics = append(res.Diagnostics, diags...)
		if model == nil {
			continue
		}
		res.Models = append(res.Models, model)
	}
	if len(res.Diagnostics) > 0 {
		res.Diagnostics = annotations.Sort(res.Diagnostics)
		res.Models = nil
		return res, nil
	}
	for _, model := range res.Models {
		text, err := emit.File(model, l.nameOf)
		if err != nil {
			return nil, err
		}
		file, err := newFile(model.Dir, text)
		if err != nil {
			return nil, err
		}
		res.Files = append(res.Files, file)
	}
	res.Files = append(res.Files, orphans...)
	return res, nil
}

func (l *loaded) input(pkg *packages.Package) annotations.Input {
	return annotations.Input{
		Fset:    l.fset,
		Files:   pkg.Syntax,
		Types:   pkg.Types,
		Dir:     packageDir(pkg),
		Lookup:  l.lookup,
		Imports: l.imports,
		Module:  l.module,
	}
}

// imports returns what a package imports without its generated file, and what
// its directives bring into scope, which the generated file will import.
func (l *loaded) imports(path string) []string {
	pkg := l.byPath[path]
	if pkg == nil {
		return nil
	}
	var paths []string
	if len(pkg.Syntax) == 0 {
		for _, imported := range pkg.Imports {
			paths = append(paths, imported.PkgPath)
		}
		return paths
	}
	for _, f := range pkg.Syntax {
		for _, spec := range f.Imports {
			if path, err := strconv.Unquote(spec.Path.Value); err == nil {
				paths = append(paths, path)
			}
		}
	}
	for _, imp := range l.source(pkg).Imports {
		paths = append(paths, imp.Path)
	}
	return paths
}

// syntaxErrors returns the parse errors of a package's files, but for those in
// its generated file.
func syntaxErrors(pkg *packages.Package) []annotations.Diagnostic {
	var diags []annotations.Diagnostic
	for _, e := range pkg.Errors {
		if e.Kind != packages.ParseError {
			continue
		}
		pos := parsePos(e.Pos)
		if filepath.Base(pos.File) == FileName {
			continue
		}
		diags = append(diags, annotations.SyntaxError(pos, e.Msg))
	}
	return diags
}

// parsePos reads a position in the form file:line:col.
func parsePos(s string) annotations.Pos {
	var pos annotations.Pos
	pos.File = s
	for _, field := range []*int{&pos.Col, &pos.Line} {
		i := strings.LastIndexByte(pos.File, ':')
		if i < 0 {
			break
		}
		n, err := strconv.Atoi(pos.File[i+1:])
		if err != nil {
			break
		}
		*field, pos.File = n, pos.File[:i]
	}
	pos.EndCol = pos.Col
	return pos
}

func packageDir(pkg *packages.Package) string {
	if pkg.Dir != "" {
		return pkg.Dir
	}
	if len(pkg.GoFiles) > 0 {
		return filepath.Dir(pkg.GoFiles[0])
	}
	return ""
}

// orphan returns the removal of a generated file that no directive asks for
// any more, nil if there is none.
func orphan(pkg *packages.Package) *File {
	if pkg.Module == nil || !pkg.Module.Main || packageDir(pkg) == "" {
		return nil
	}
	path := filepath.Join(packageDir(pkg), FileName)
	old, err := os.ReadFile(path)
	if err != nil || !isGenerated(old) {
		return nil
	}
	// Directives in files that this run's build tags leave out may need it.
	if _, annotated := directiveImports(pkg.IgnoredFiles); annotated {
		return nil
	}
	return &File{Path: path, Old: old}
}
