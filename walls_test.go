// Package cachegen_test keeps the walls of the house: which part may know
// which other, as ARCHITECTURE.md draws it.
package cachegen_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/cachegen/cachegen"

// A wall allows an import, or all imports below a path, to some places only: to
// a folder and all below it, or to a single file.
type wall struct {
	imported string
	only     []string
	why      string
}

var walls = []wall{
	{module + "/cmd", nil, "nothing is built on the command"},
	{module + "/generator", []string{"cmd", "golden"}, "only the command drives the generator"},
	{module + "/annotations", []string{"cmd", "generator"}, "the runtime and what users build know nothing of directives"},
	{module + "/runtime", []string{"runtime", "example", "internal/proof", "internal/sharedtest"}, "the generator writes about the runtime and does not run it"},
	{module + "/example", []string{"example"}, "nothing is built on the example"},
	{module + "/internal/proof", []string{"internal/proof"}, "what is proven does not know of its proof"},
	{module + "/internal/redistest", nil, "servers are started by tests alone"},
	{module + "/internal/sharedtest", nil, "promises are checked by tests alone"},
	{module + "/golden", []string{"golden"}, "nothing is built on the cases"},
	{"go/ast", []string{"annotations", "generator/load.go", "internal/proof/weave"}, "what a program says is read by the checker"},
	{"go/types", []string{"annotations", "generator", "internal/proof/weave"}, "users of generated code carry no type checker"},
	{"go/parser", []string{"annotations", "generator/load.go", "internal/proof/weave"}, "files are parsed in one place, expressions in the other"},
	{"reflect", []string{"runtime/key_marshal.go", "runtime/redis/options.go", "example/internal/visit", "internal/proof/schedule"}, "what users run needs it for the dynamic type of an interface in a key, and once for the options of another package, alone"},
	{"os/exec", []string{"example/main.go", "example/internal/visit", "internal/proof", "internal/redistest"}, "programs are run by tests, and by the example, which runs itself"},
	{"github.com/dave/jennifer", []string{"generator/internal/emit"}, "only the emitter knows how code is put together"},
	{"golang.org/x/tools/go/packages", []string{"generator/load.go", "generator/generate.go"}, "only the loader knows where packages come from"},
	{"github.com/allegro/bigcache", []string{"runtime/bigcache.go"}, "the store can be exchanged"},
	{"github.com/redis/rueidis", []string{"runtime/redis", "internal/redistest"}, "who needs no shared tier carries no client of it"},
}

// dependencies are the third-party packages that each part may import at all. A part
// that lies in another has a row of its own.
var dependencies = map[string][]string{
	"runtime": {"github.com/allegro/bigcache/v3", "github.com/cespare/xxhash/v2"},
	"runtime/redis": {
		"github.com/redis/rueidis", "github.com/sony/gobreaker/v2", "github.com/klauspost/compress/s2", "github.com/cespare/xxhash/v2",
		"golang.org/x/sync/semaphore",
	},
	"annotations": {"golang.org/x/tools/go/analysis", "golang.org/x/tools/go/ast/astutil", "golang.org/x/tools/go/types/typeutil"},
	"generator": {
		"golang.org/x/tools/go/packages", "golang.org/x/tools/go/gcexportdata", "golang.org/x/tools/imports",
		"github.com/dave/jennifer", "github.com/rogpeppe/go-internal/diff",
	},
	"cmd":      {"golang.org/x/tools/go/analysis/unitchecker"},
	"example":  {"modernc.org/sqlite"},
	"internal": {"github.com/anishathalye/porcupine", "github.com/google/go-cmp", "github.com/redis/rueidis", "go.uber.org/goleak"},
}

func TestWalls(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".") && name != "." || name == "bench") {
			return filepath.SkipDir
		}
		// Tests may reach over a wall.
		if filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		seen++
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			checkImport(t, filepath.ToSlash(name), imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Fatal("no files were looked at")
	}
}

func checkImport(t *testing.T, name, imported string) {
	t.Helper()
	part, _, _ := strings.Cut(name, "/")
	if _, ok := dependencies[path.Dir(name)]; ok {
		part = path.Dir(name)
	}
	for _, w := range walls {
		if !below(imported, w.imported) || below(module+"/"+path.Dir(name), w.imported) {
			continue
		}
		if !slices.ContainsFunc(w.only, func(place string) bool { return below(name, place) }) {
			t.Errorf("%s imports %s: %s", name, imported, w.why)
		}
	}
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") || below(imported, module) {
		return
	}
	if !slices.ContainsFunc(dependencies[part], func(dep string) bool { return below(imported, dep) }) {
		t.Errorf("%s imports %s, which %s is not meant to depend on", name, imported, part)
	}
}

// below reports whether a slash-separated path is the given one or lies in it.
func below(name, parent string) bool {
	return name == parent || strings.HasPrefix(name, parent+"/")
}
