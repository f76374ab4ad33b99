package annotations

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/tools/txtar"
)

// statement makes a directive of a line as if it stood at line 1 of a file.
func statement(line string, place Place) *Statement {
	d, ok := ast.ParseDirective(1, line)
	if !ok || d.Tool != "cache" {
		return nil
	}
	pos := Pos{File: "x.go", Line: 1, Col: 1}
	args := withoutComment(d.Args)
	return &Statement{
		Place: place,
		Verb:  d.Name,
		Pos:   pos.sub(len(prefix), len(d.Name)),
		Args:  args,
		At:    pos.sub(int(d.ArgsPos)-1, len(args)),
	}
}

// seeds returns the directives of all test cases.
func seeds(f *testing.F) []string {
	var lines []string
	names, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(data).Files {
			for line := range strings.Lines(string(file.Data)) {
				if line = strings.TrimSpace(line); strings.HasPrefix(line, prefix) && file.Name != "want" {
					lines = append(lines, line)
				}
			}
		}
	}
	return append(lines,
		"//cache:depends post(\x00)", "//cache:depends post(((((((", "//cache:read ttl=(\"a)\")",
		"//cache:depends x[*", "//cache:depends \xff(\xfe)", "//cache:key `", "//cache:when '", "//cache:key /*",
		"//cache:batch Post(ids) by=ID size=10")
}

// FuzzParse checks that the parser accepts or reports any text, and that all
// places it speaks of are in the line.
func FuzzParse(f *testing.F) {
	for _, line := range seeds(f) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "\n") {
			return
		}
		for _, place := range []Place{PlacePackage, PlaceInterface, PlaceMethod} {
			st := statement(line, place)
			if st == nil {
				return
			}
			inLine := func(what string, p Pos) {
				if p.Line != 1 || p.Col < 1 || p.EndCol < p.Col || p.EndCol > len(line)+2 {
					t.Fatalf("%s of %q at %d to %d", what, line, p.Col, p.EndCol)
				}
			}
			at := func(what string, x piece) {
				inLine(what, x.pos)
				if x.text != "" && line[x.pos.Col-1:x.pos.EndCol-1] != x.text {
					t.Fatalf("%s of %q is %q, and its place holds %q", what, line, x.text, line[x.pos.Col-1:x.pos.EndCol-1])
				}
			}
			p := parse(st, func(d Diagnostic) {
				inLine(d.Message, d.Pos)
				if d.Message == "" || !utf8.ValidString(line) {
					return
				}
				if strings.ContainsAny(d.Message, "\n\r") {
					t.Fatalf("the message for %q has several lines: %q", line, d.Message)
				}
			})
			for _, e := range p.exprs {
				at("expression", e)
			}
			for _, o := range p.options {
				at("option", o.name)
				if o.value.text != "" {
					at("value", o.value)
				}
			}
			for _, it := range p.items {
				at("item", it.piece)
				at("name", it.name)
				for _, arg := range it.args {
					at("argument", arg.piece)
				}
			}
		}
	})
}

// FuzzCheck puts any directive on a method, checks the package, and looks at
// what comes out.
func FuzzCheck(f *testing.F) {
	for _, line := range seeds(f) {
		f.Add(line)
	}
	const before, after = `package blog

type Post struct {
	ID   int64
	Tags []string
	Next *Post
}

type Context interface{ Value(any) any }

var ErrGone error

var wrong Missing

//cache:repository ttl=1m
//cache:tag post(id int64)
type Posts interface {
	//cache:read
	`, `
	Post(ctx Context, id int64) (*Post, error)

	//cache:write
	//cache:invalidates post(p.ID), post(ids[*])
	` + "%\n" + `	Update(ctx Context, p *Post, ids ...int64) (n int64, err error)

	//cache:read
	` + "&\n" + `	Posts(ids []int64) ([]Post, error)
}
`
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\n\r") || !strings.HasPrefix(line, prefix) {
			return
		}
		src := before + line + strings.NewReplacer("%", line, "&", "//").Replace(after)
		if strings.HasPrefix(line, prefix+"batch") { // which fits none of these methods
			src = before + "//cache:ignore ctx\n\t//cache:depends post(id)" + strings.NewReplacer("%", "//", "&", line).Replace(after)
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, "blog.go", src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return
		}
		conf := types.Config{Error: func(error) {}}
		files := []*ast.File{file}
		pkg, _ := conf.Check("blog", fset, files, nil)
		p, diags := Check(Input{Fset: fset, Files: files, Types: pkg})
		if (p == nil) == (len(diags) == 0) {
			t.Fatalf("model %v, problems %v", p, diags)
		}
		for _, d := range diags {
			if d.Line < 1 || d.Col < 1 || d.EndCol < d.Col || d.Message == "" {
				t.Fatalf("%q: %+v", line, d)
			}
		}
		if p != nil {
			_ = p.String()
		}
	})
}
