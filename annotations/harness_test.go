package annotations

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"path"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/txtar"
)

// module is the path of the module that the files of a case make.
const module = "example.com/app"

// A world is the packages of a test case, checked from source in the order in
// which they import each other. Files are named folder/file.go.
type world struct {
	fset    *token.FileSet
	files   map[string][]*ast.File // by import path
	types   map[string]*types.Package
	sources map[string]*Source
}

// std imports the packages of the standard library, once for all tests.
var std = struct {
	sync.Mutex
	types.Importer
	fset *token.FileSet
}{}

func newWorld(t testing.TB, archive string) *world {
	t.Helper()
	std.Lock()
	defer std.Unlock()
	if std.Importer == nil {
		std.fset = token.NewFileSet()
		std.Importer = importer.ForCompiler(std.fset, "gc", nil)
	}
	w := &world{
		fset:    std.fset,
		files:   map[string][]*ast.File{},
		types:   map[string]*types.Package{},
		sources: map[string]*Source{},
	}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		if path.Ext(f.Name) != ".go" {
			continue
		}
		file, err := parser.ParseFile(w.fset, f.Name, f.Data, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		pkg := module + "/" + path.Dir(f.Name)
		w.files[pkg] = append(w.files[pkg], file)
	}
	for pkg := range w.files {
		if _, err := w.Import(pkg); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// Import type-checks a package of the case. Errors are left to the checker.
func (w *world) Import(pkg string) (*types.Package, error) {
	if p, ok := w.types[pkg]; ok {
		return p, nil
	}
	files, ok := w.files[pkg]
	if !ok {
		return std.Import(pkg)
	}
	conf := types.Config{Importer: w, Error: func(error) {}}
	p, _ := conf.Check(pkg, w.fset, files, nil)
	w.types[pkg] = p
	w.sources[pkg] = Scan(w.fset, pkg, files)
	return p, nil
}

func (w *world) input(pkg string) Input {
	return Input{
		Fset:   w.fset,
		Files:  w.files[pkg],
		Types:  w.types[pkg],
		Dir:    "/src/" + pkg,
		Module: module,
		Lookup: func(path string) (*types.Package, *Source) {
			if p, ok := w.types[path]; ok {
				return p, w.sources[path]
			}
			std.Lock()
			defer std.Unlock()
			p, err := std.Import(path)
			if err != nil {
				return nil, nil
			}
			return p, nil
		},
	}
}

// check checks every package of the case and returns the models by import path.
func (w *world) check() (map[string]*Package, []Diagnostic) {
	models := map[string]*Package{}
	var diags []Diagnostic
	for pkg := range w.files {
		model, problems := Check(w.input(pkg))
		models[pkg] = model
		diags = append(diags, problems...)
	}
	return models, Sort(diags)
}

// checkOne checks the only package of a case, which must be in order.
func checkOne(t testing.TB, source string) *Package {
	t.Helper()
	w := newWorld(t, "-- blog/blog.go --\n"+source)
	models, diags := w.check()
	for _, d := range diags {
		t.Error(d)
	}
	if len(diags) > 0 {
		t.FailNow()
	}
	return models[module+"/blog"]
}

// indented cuts the indentation of the first line off every line of a text.
func indented(text string) string {
	text = strings.Trim(text, "\n")
	tabs := len(text) - len(strings.TrimLeft(text, "\t"))
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, strings.Repeat("\t", tabs))
	}
	return strings.Join(lines, "\n")
}
