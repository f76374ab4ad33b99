// Package golden holds one case per file of the generator's contract.
//
// A case is a txtar archive NAME.txtar: a comment that says what it shows, the
// files of a package (or of several, in folders), and what the generator makes
// of them: either the expected cache_gen.go of each package, or an entry
// "diagnostics" with the expected messages. Test files in a case are run, with
// the race detector if these tests are; what they share is in testdata.
//
// All cases are generated in one run and compiled together. With -update the
// expectations are rewritten; the run still fails where they changed.
package golden

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/cachegen/cachegen/generator"
	// The cases' tests run on it, in another process: a change there must not
	// leave the result of these tests in the go command's cache.
	_ "github.com/cachegen/cachegen/runtime"
)

var update = flag.Bool("update", false, "rewrite the expectations of the cases")

// A goldenCase is one archive.
type goldenCase struct {
	name    string // also the folder of its packages
	archive *txtar.Archive
}

func readCases(t *testing.T) []*goldenCase {
	t.Helper()
	files, err := filepath.Glob("*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found (%v)", err)
	}
	var cases []*goldenCase
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(bytes.TrimSpace(archive.Comment)) == 0 {
			t.Errorf("%s does not say what it shows", file)
		}
		cases = append(cases, &goldenCase{name: strings.TrimSuffix(file, ".txtar"), archive: archive})
	}
	return cases
}

// wantsDiagnostics reports whether the case expects to be refused.
func (c *goldenCase) wantsDiagnostics() bool {
	return strings.HasPrefix(c.name, "err_") || slices.ContainsFunc(c.archive.Files, func(f txtar.File) bool { return f.Name == "diagnostics" })
}

// isWanted reports whether a file of the archive is an expectation.
func isWanted(name string) bool {
	return name == "diagnostics" || path.Base(name) == generator.FileName
}

// expected returns the expectations of a case by name.
func (c *goldenCase) expected() map[string]string {
	m := map[string]string{}
	for _, f := range c.archive.Files {
		if isWanted(f.Name) {
			m[f.Name] = string(f.Data)
		}
	}
	return m
}

// compare checks what the generator made of a case, or writes it into the
// archive.
func (c *goldenCase) compare(t *testing.T, got map[string]string) {
	t.Helper()
	want := c.expected()
	if maps.Equal(want, got) {
		return
	}
	if *update {
		files := slices.DeleteFunc(slices.Clone(c.archive.Files), func(f txtar.File) bool { return isWanted(f.Name) })
		for _, name := range slices.Sorted(maps.Keys(got)) {
			files = append(files, txtar.File{Name: name, Data: []byte(got[name])})
		}
		text := txtar.Format(&txtar.Archive{Comment: c.archive.Comment, Files: files})
		if err := os.WriteFile(c.name+".txtar", text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("the generator's answer differs from the expected (-want +got); accept it with go test ./golden -update:\n%s", cmp.Diff(want, got))
}

// writeModule puts the cases into a new module that uses this checkout, and
// returns its folder.
func writeModule(t *testing.T, cases []*goldenCase) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	_, requirements, _ := strings.Cut(string(gomod), "\n")
	write(t, filepath.Join(dir, "go.mod"), []byte(fmt.Sprintf(
		"module golden.test\n%s\nrequire github.com/cachegen/cachegen v0.0.0\n\nreplace github.com/cachegen/cachegen => %s\n", requirements, root)))
	gosum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "go.sum"), gosum)
	if err := os.CopyFS(dir, os.DirFS("testdata")); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		for _, f := range c.archive.Files {
			if !isWanted(f.Name) {
				write(t, filepath.Join(dir, c.name, filepath.FromSlash(f.Name)), f.Data)
			}
		}
	}
	return dir
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func generate(t *testing.T, dir string, patterns ...string) *generator.Result {
	t.Helper()
	res, err := generator.Generate(t.Context(), generator.Config{Dir: dir, Patterns: patterns})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestDiagnostics(t *testing.T) {
	cases := slices.DeleteFunc(readCases(t), func(c *goldenCase) bool { return !c.wantsDiagnostics() })
	dir := writeModule(t, cases)
	res := generate(t, dir, "./...")
	got := map[string]*strings.Builder{}
	for _, d := range res.Diagnostics {
		rel, err := filepath.Rel(dir, d.Pos.File)
		if err != nil {
			t.Fatal(err)
		}
		name, file, _ := strings.Cut(filepath.ToSlash(rel), "/")
		d.Pos.File = file
		if got[name] == nil {
			got[name] = &strings.Builder{}
		}
		fmt.Fprintln(got[name], d)
		for _, r := range d.Related {
			if rel, err := filepath.Rel(filepath.Join(dir, name), r.Pos.File); err == nil {
				r.Pos.File = filepath.ToSlash(rel)
			}
			fmt.Fprintf(got[name], "\t%s\n", r)
		}
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			text := ""
			if b := got[c.name]; b != nil {
				text = b.String()
			}
			c.compare(t, map[string]string{"diagnostics": text})
			if text == "" {
				t.Error("the case is not refused")
			}
		})
	}
	if len(res.Files) > 0 {
		t.Errorf("%d files would be written in spite of the diagnostics", len(res.Files))
	}
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == generator.FileName {
			t.Errorf("%s was written in spite of the diagnostics", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestGenerated(t *testing.T) {
	cases := slices.DeleteFunc(readCases(t), (*goldenCase).wantsDiagnostics)
	dir := writeModule(t, cases)
	first := generated(t, dir, generate(t, dir, "./..."))
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.compare(t, first[c.name]) })
	}

	t.Run("again in another place and order", func(t *testing.T) {
		dir := writeModule(t, cases)
		var patterns []string
		for _, c := range cases {
			patterns = append(patterns, "./"+c.name+"/...")
		}
		rand.Shuffle(len(patterns), func(i, j int) { patterns[i], patterns[j] = patterns[j], patterns[i] })
		if diff := cmp.Diff(first, generated(t, dir, generate(t, dir, patterns...))); diff != "" {
			t.Errorf("a second run gives other files (-first +second):\n%s", diff)
		}
	})

	t.Run("compiles and behaves", func(t *testing.T) {
		// Without the folder's name in it, what is built and what is found does
		// for the next run as well.
		test := []string{"test", "-trimpath", "./..."}
		if raceEnabled {
			test = slices.Insert(test, 1, "-race")
		}
		for _, args := range [][]string{{"vet", "-trimpath", "./..."}, test} {
			cmd := exec.CommandContext(t.Context(), "go", args...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("go %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
	})
}

// generated writes the files of a run and returns them by case and by name
// within the case.
func generated(t *testing.T, dir string, res *generator.Result) map[string]map[string]string {
	t.Helper()
	for _, d := range res.Diagnostics {
		t.Error(d)
	}
	if t.Failed() {
		t.FailNow()
	}
	files := map[string]map[string]string{}
	for _, f := range res.Files {
		rel, err := filepath.Rel(dir, f.Path)
		if err != nil {
			t.Fatal(err)
		}
		name, file, _ := strings.Cut(filepath.ToSlash(rel), "/")
		if files[name] == nil {
			files[name] = map[string]string{}
		}
		files[name][file] = string(f.New)
		checkImports(t, filepath.Join(dir, name), f)
		if err := f.Write(); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// ownImports are the packages that generated code may use for its own purposes.
// It may import others only because the files around it, whose signatures and
// directives it repeats, mention them.
var ownImports = []string{
	"bytes", "context", "encoding/gob", "encoding/json", "maps", "slices", "time",
	"github.com/cachegen/cachegen/runtime",
}

func checkImports(t *testing.T, caseDir string, f *generator.File) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), f.Path, f.New, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range parsed.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			t.Errorf("%s has an init function", f.Path)
		}
	}
	var around strings.Builder
	err = filepath.WalkDir(caseDir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".go" || filepath.Base(name) == generator.FileName || strings.HasSuffix(name, "_test.go") {
			return err
		}
		src, err := os.ReadFile(name)
		around.Write(src)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(ownImports, imported) && !strings.Contains(around.String(), spec.Path.Value) {
			t.Errorf("%s imports %s for a purpose of its own", f.Path, imported)
		}
	}
}
