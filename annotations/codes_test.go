package annotations

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// TestCodes checks that the reference of codes is in order, and that every code
// is exercised by a case in testdata or by a function below.
func TestCodes(t *testing.T) {
	exercised := map[string]bool{}
	names, err := filepath.Glob("testdata/diagnostics/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`(?m) \[([a-z-]+)\]$`)
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			if f.Name == "want" {
				for _, m := range code.FindAllStringSubmatch(string(f.Data), -1) {
					exercised[m[1]] = true
				}
			}
		}
	}
	exercised[Stale("cache_gen.go", false, false).Code] = true

	var documented []string
	for _, c := range Codes() {
		documented = append(documented, c.Code)
		if c.Meaning == "" || !strings.HasSuffix(c.Meaning, ".") || strings.Contains(c.Meaning, "\n") {
			t.Errorf("code %s: meaning %q is not a line with a full stop", c.Code, c.Meaning)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(exercised)), documented); diff != "" {
		t.Errorf("codes (-exercised +documented):\n%s", diff)
	}
}

func TestMessages(t *testing.T) {
	names, _ := filepath.Glob("testdata/diagnostics/*.txtar")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, want, _ := strings.Cut(string(data), "-- want --\n")
		for line := range strings.Lines(want) {
			if strings.Contains(line, "out of range") {
				t.Errorf("%s: the span is not on the line: %s", name, line)
			}
			message, _, _ := strings.Cut(line, " [")
			if strings.HasSuffix(message, ".") {
				t.Errorf("%s: full stop: %s", name, line)
			}
		}
	}
}
