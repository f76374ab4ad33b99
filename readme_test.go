package cachegen_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/cachegen/cachegen/annotations"
)

var update = flag.Bool("update", false, "rewrite the generated parts of README.md")

// TestREADME compares the parts of README.md that are made from something else
// with what they are made from: the directive table and the list of diagnostics
// from the checker's own tables, the code from a golden case.
func TestREADME(t *testing.T) {
	old, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(old)
	for _, part := range []struct {
		name string
		want string
	}{
		{"directives", directiveTable()},
		{"options", optionTable()},
		{"diagnostics", diagnosticTable()},
		{"interface", codeOf(t, "blog.go", "// Posts keeps", "")},
		{"generated", codeOf(t, "cache_gen.go", "// Post returns", "\n}\n")},
		{"generated write", codeOf(t, "cache_gen.go", "// Update changes", "\n}\n")},
	} {
		text = replacePart(t, text, part.name, part.want)
	}
	if text == string(old) {
		return
	}
	if *update {
		if err := os.WriteFile("README.md", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("README.md is out of date (-README +want); rewrite it with go test . -update:\n%s", cmp.Diff(string(old), text))
}

// replacePart replaces what stands between the two marks of a part.
func replacePart(t *testing.T, text, name, want string) string {
	t.Helper()
	begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("README.md has no part marked %q", name)
	}
	return before + begin + "\n" + want + "\n" + end + after
}

func directiveTable() string {
	var b strings.Builder
	fmt.Fprintln(&b, "| directive | where | meaning |\n|---|---|---|")
	for _, d := range annotations.Directives() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", cell(d.Syntax), cell(d.Place.String()), cell(d.Meaning))
	}
	return b.String()
}

func optionTable() string {
	var b strings.Builder
	fmt.Fprintln(&b, "| option | of | meaning |\n|---|---|---|")
	var names []string
	of := map[string][]string{}
	options := map[string]annotations.Option{}
	for _, d := range annotations.Directives() {
		for _, o := range d.Options {
			// The same option of two directives is one row, unless it means
			// something else there.
			id := o.Syntax + o.Meaning
			if _, ok := options[id]; !ok {
				names = append(names, id)
				options[id] = o
			}
			of[id] = append(of[id], "`"+d.Verb+"`")
		}
	}
	for _, id := range names {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", cell(options[id].Syntax), strings.Join(of[id], ", "), cell(options[id].Meaning))
	}
	return b.String()
}

func diagnosticTable() string {
	var b strings.Builder
	fmt.Fprintln(&b, "| code | what is wrong |\n|---|---|")
	for _, c := range annotations.Codes() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", c.Code, cell(c.Meaning))
	}
	return b.String()
}

func cell(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "|", "\\|"), "\n", " ")
}

// codeOf returns a piece of a file of the golden case for the README, from the
// line that begins with from to the end or to and with the text to.
func codeOf(t *testing.T, file, from, to string) string {
	t.Helper()
	archive, err := txtar.ParseFile("golden/readme.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		if f.Name != file {
			continue
		}
		i := bytes.Index(f.Data, []byte("\n"+from))
		if i < 0 {
			t.Fatalf("golden/readme.txtar: %s has no line that begins with %q", file, from)
		}
		code := string(f.Data[i+1:])
		if to != "" {
			code, _, _ = strings.Cut(code, to)
			code += to
		}
		return "```go\n" + strings.TrimSpace(code) + "\n```\n"
	}
	t.Fatalf("golden/readme.txtar has no %s", file)
	return ""
}
