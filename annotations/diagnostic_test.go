package annotations

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata; the run fails nevertheless")

// TestDiagnostics checks the packages of each case and compares all problems,
// with the token they point at.
func TestDiagnostics(t *testing.T) {
	golden(t, "testdata/diagnostics/*.txtar", func(t *testing.T, archive *txtar.Archive) string {
		w := newWorld(t, string(txtar.Format(archive)))
		_, diags := w.check()
		return describe(archive, diags)
	})
}

// TestModels compares the models of packages that are in order.
func TestModels(t *testing.T) {
	golden(t, "testdata/models/*.txtar", func(t *testing.T, archive *txtar.Archive) string {
		w := newWorld(t, string(txtar.Format(archive)))
		models, diags := w.check()
		if len(diags) > 0 {
			t.Fatalf("problems:\n%s", describe(archive, diags))
		}
		var out strings.Builder
		for _, pkg := range slices.Sorted(maps.Keys(models)) {
			if models[pkg] != nil {
				out.WriteString(models[pkg].String())
			}
		}
		return out.String()
	})
}

// golden compares what a function makes of each archive with the section
// "want" of it.
func golden(t *testing.T, pattern string, f func(*testing.T, *txtar.Archive) string) {
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want" })
			if want < 0 {
				archive.Files = append(archive.Files, txtar.File{Name: "want"})
				want = len(archive.Files) - 1
			}
			got := f(t, archive)
			diff := cmp.Diff(string(archive.Files[want].Data), got)
			if diff == "" {
				return
			}
			t.Errorf("-want +got:\n%s", diff)
			if *update {
				archive.Files[want].Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(archive), 0o666); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// describe writes diagnostics with the text each of them points at.
func describe(archive *txtar.Archive, diags []Diagnostic) string {
	var out strings.Builder
	for _, d := range diags {
		fmt.Fprintf(&out, "%s %q: %s [%s]\n", d.Pos, pointed(archive, d.Pos), d.Message, d.Code)
		for _, r := range d.Related {
			fmt.Fprintf(&out, "\t%s %q: %s\n", r.Pos, pointed(archive, r.Pos), r.Message)
		}
	}
	return out.String()
}

func pointed(archive *txtar.Archive, p Pos) string {
	for _, f := range archive.Files {
		if f.Name != p.File {
			continue
		}
		lines := bytes.Split(f.Data, []byte("\n"))
		if p.Line <= len(lines) && p.Col-1 <= p.EndCol-1 && p.EndCol-1 <= len(lines[p.Line-1]) {
			return string(lines[p.Line-1][p.Col-1 : p.EndCol-1])
		}
	}
	return "out of range"
}
