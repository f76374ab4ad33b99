package golden

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cachegen/cachegen/annotations"
)

// elsewhere are the codes that no case here can have.
var elsewhere = map[string]string{
	"stale-file": "reported by cachegen check alone; tested in cmd/cachegen/testdata/files.txtar",
}

// TestCodes checks that every kind of problem occurs in the expectations of a
// case, and no other.
func TestCodes(t *testing.T) {
	code := regexp.MustCompile(`(?m) \[([a-z-]+)\]$`)
	occurring := map[string]bool{}
	for _, c := range readCases(t) {
		for _, text := range c.expected() {
			if !c.wantsDiagnostics() {
				continue
			}
			for _, m := range code.FindAllStringSubmatch(text, -1) {
				occurring[m[1]] = true
			}
		}
	}
	var want []string
	for _, c := range annotations.Codes() {
		if elsewhere[c.Code] == "" {
			want = append(want, c.Code)
		}
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(occurring))); diff != "" {
		t.Errorf("codes in the cases (-documented +occurring):\n%s", diff)
	}
}

// TestPositions checks that every expected diagnostic points into a line of its
// file, behind the white space with which it begins.
func TestPositions(t *testing.T) {
	place := regexp.MustCompile(`(?m)^\t?([^\s:]+):(\d+):(\d+): `)
	for _, c := range readCases(t) {
		if !c.wantsDiagnostics() {
			continue
		}
		lines := map[string][][]byte{}
		for _, f := range c.archive.Files {
			lines[f.Name] = bytes.Split(f.Data, []byte("\n"))
		}
		for _, m := range place.FindAllStringSubmatch(c.expected()["diagnostics"], -1) {
			file, line, col := m[1], number(t, m[2]), number(t, m[3])
			if line > len(lines[file]) || col > len(lines[file][line-1]) {
				t.Errorf("%s: %s is outside of the file", c.name, m[0])
			} else if b := lines[file][line-1][col-1]; b == ' ' || b == '\t' {
				t.Errorf("%s: %s is a space", c.name, m[0])
			}
		}
	}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
