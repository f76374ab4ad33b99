package annotations

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
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

// parts are the grammatical parts of a directive that is in order, without their
// places.
func (p *parsed) parts() []string {
	parts := []string{p.Verb}
	add := func(kind string, pieces ...piece) {
		for _, x := range pieces {
			parts = append(parts, kind+" "+x.text)
		}
	}
	if p.name.text != "" {
		add("name", p.name)
		add("parameters", p.params)
		add("path", p.path)
	}
	add("expression", p.exprs...)
	for _, it := range p.items {
		add("item", it.qual, it.name)
		for _, arg := range it.args {
			add(fmt.Sprintf("argument, * is %v", arg.any), arg.piece)
		}
		parts = append(parts, fmt.Sprint("parentheses ", it.parens, ", spread ", it.spread))
	}
	for _, o := range p.options {
		add("option", o.name, o.value)
	}
	return parts
}

// printed writes a directive that is in order as its parts say.
func (p *parsed) printed() string {
	var elements []string
	for _, e := range p.exprs {
		elements = append(elements, e.text)
	}
	for _, it := range p.items {
		text := it.head().text
		if it.parens {
			var args []string
			for _, arg := range it.args {
				args = append(args, arg.text)
			}
			text += "(" + strings.Join(args, ", ")
			if it.spread {
				text += "..."
			}
			text += ")"
		}
		elements = append(elements, text)
	}
	words := []string{prefix + p.Verb}
	if p.name.text != "" {
		words = append(words, p.name.text+p.params.text)
	}
	if p.path.text != "" {
		words = append(words, strconv.Quote(p.path.text))
	}
	if len(elements) > 0 {
		words = append(words, strings.Join(elements, ", "))
	}
	for _, o := range p.options {
		word := o.name.text
		if o.value.text != "" {
			word += "=" + o.value.text
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// inOrder fails the test unless the pieces stand in the line one behind the other.
func inOrder(t *testing.T, line string, pieces []piece) {
	t.Helper()
	for i, x := range pieces[min(1, len(pieces)):] {
		if x.pos.Col < pieces[i].pos.EndCol {
			t.Fatalf("%q and %q of %q overlap", pieces[i].text, x.text, line)
		}
	}
}

// FuzzParse checks that the parser accepts or reports any text, that all places it
// speaks of are in the line and hold what it says, in order, and that what it
// accepts, written anew from its parts, has the same parts.
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
				if x == (piece{}) {
					return // there is none
				}
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
			at("name", p.name)
			at("parameters", p.params)
			if p.path.text != "" {
				inLine("path", p.path.pos)
				if path, err := strconv.Unquote(line[p.path.pos.Col-1 : p.path.pos.EndCol-1]); path != p.path.text {
					t.Fatalf("path of %q is %q, and its place holds %q, %v", line, p.path.text, path, err)
				}
			}
			for _, e := range p.exprs {
				at("expression", e)
			}
			inOrder(t, line, p.exprs)
			items := []piece{}
			for _, o := range p.options {
				at("option", o.name)
				if o.value.text != "" {
					at("value", o.value)
				}
			}
			for _, it := range p.items {
				at("item", it.piece)
				at("name", it.name)
				at("package", it.qual)
				inside := []piece{it.head()}
				for _, arg := range it.args {
					at("argument", arg.piece)
					inside = append(inside, arg.piece)
				}
				inOrder(t, line, inside)
				items = append(items, it.piece)
			}
			inOrder(t, line, items)
			if p.bad {
				continue
			}
			again := statement(p.printed(), place)
			if again == nil {
				t.Fatalf("%q, printed as %q, is no directive", line, p.printed())
			}
			q := parse(again, func(d Diagnostic) { t.Errorf("%q, printed as %q: %s", line, p.printed(), d.Message) })
			if diff := cmp.Diff(p.parts(), q.parts()); diff != "" {
				t.Fatalf("%q, printed as %q (-before +after):\n%s", line, p.printed(), diff)
			}
		}
	})
}

// FuzzCheck puts any directive on a method and checks the package: there is a model, or
// there are problems, in order, each on one line and at a place in the file, and always
// the same.
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
		lines := strings.Split(src, "\n")
		for i, d := range diags {
			if d.Line < 1 || d.Line > len(lines) || d.Col < 1 || d.EndCol < d.Col || d.EndCol > len(lines[d.Line-1])+2 || d.Message == "" || d.Code == "" {
				t.Fatalf("%q: %+v", line, d)
			}
			if strings.ContainsAny(d.Message, "\n\r") {
				t.Fatalf("%q: the message has several lines: %q", line, d.Message)
			}
			if i > 0 && (d.Line < diags[i-1].Line || d.Line == diags[i-1].Line && d.Col < diags[i-1].Col) {
				t.Fatalf("%q: %v comes after %v", line, d, diags[i-1])
			}
		}
		again, diagsAgain := Check(Input{Fset: fset, Files: files, Types: pkg})
		if diff := cmp.Diff(diags, diagsAgain); diff != "" {
			t.Fatalf("%q has other problems when it is checked again:\n%s", line, diff)
		}
		if p != nil && p.String() != again.String() {
			t.Fatalf("%q makes two models:\n%s", line, cmp.Diff(p.String(), again.String()))
		}
	})
}
