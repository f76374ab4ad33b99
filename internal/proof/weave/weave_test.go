package weave

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the expected files, and fail")

const module = "../../.."

// overlay returns the files that stand in for others, by the names of those.
func overlay(t *testing.T, o Options) (path string, files map[string]string) {
	t.Helper()
	o.Dir = t.TempDir()
	path, err := Overlay(o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var content struct{ Replace map[string]string }
	if err := json.Unmarshal(text, &content); err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for original, copied := range content.Replace {
		if _, err := os.Stat(original); err != nil {
			t.Error(err)
		}
		files[filepath.Base(original)] = copied
	}
	return path, files
}

func TestExample(t *testing.T) {
	_, files := overlay(t, Options{
		Root:    "testdata/example",
		Files:   []string{"example.go"},
		Patches: []Patch{SmallTableOf("example.go")},
	})
	if len(files) != 1 {
		t.Fatalf("replaced files: %v", files)
	}
	got, err := os.ReadFile(files["example.go"])
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/example.golden"
	want, err := os.ReadFile(golden)
	if err != nil && !*update {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("woven file (-want +got):\n%s", diff)
		if *update {
			if err := os.WriteFile(golden, got, 0o666); err != nil {
				t.Error(err)
			}
		}
	}
}

// SmallTableOf is the patch for another file.
func SmallTableOf(file string) Patch {
	p := SmallTable
	p.File = file
	return p
}

func TestNamesAndLinesStay(t *testing.T) {
	_, files := overlay(t, Options{Root: module})
	if files["woven.go"] == "" {
		t.Error("the flag that tells of the hooks is not set")
	}
	delete(files, "woven.go")
	for name, copied := range files {
		got, err := os.ReadFile(copied)
		if err != nil {
			t.Fatal(err)
		}
		original, err := os.ReadFile(filepath.Join(module, "runtime", name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := format.Source(got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		a, b := bytes.Split(original, []byte("\n")), bytes.Split(got, []byte("\n"))
		for i := range a {
			if !hasWords(a[i], b[i]) {
				t.Errorf("%s:%d: %s\nwoven: %s", name, i+1, a[i], b[i])
			}
		}
	}
}

// A case of a select, which is one of a switch then.
var aCase = regexp.MustCompile(`^\s*case (<-.*|\d+):`)

var words = regexp.MustCompile(`\w+`)

// hasWords reports whether a line has all words of the original. Those that calls
// stand in for may be gone.
func hasWords(original, line []byte) bool {
	if aCase.Match(original) && aCase.Match(line) {
		return true
	}
	for _, word := range words.FindAll(original, -1) {
		switch string(word) {
		case "go", "close", "time", "select":
			continue
		}
		if !bytes.Contains(line, word) {
			return false
		}
	}
	return true
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		name  string
		o     Options
		wants []string
	}{
		{"a patch that does not fit", Options{Patches: []Patch{{"example.go", "nowhere", ""}}}, []string{"example.go", `"nowhere"`, "0 times"}},
		{"a patch that fits twice", Options{Patches: []Patch{{"example.go", "c.ended.Load", "c.ended.Load"}, {"example.go", "func", ""}}}, []string{"example.go", `"func"`, "exactly once"}},
		{"a patch of no file", Options{Patches: []Patch{{"other.go", "", ""}}}, []string{"other.go"}},
		{"no file", Options{Files: []string{"other.go"}}, []string{"other.go"}},
		{"what does not compile", Options{Patches: []Patch{{"example.go", "c.words[i].Add(1)", "c.words"}}}, []string{"example.go:31", "compile"}},
		{"what does not parse", Options{Patches: []Patch{{"plain.go", "= 1", "= ("}}}, []string{"plain.go:3"}},
		{"try", Options{Patches: []Patch{{"example.go", "c.mu.Lock()", "c.mu.TryLock()"}}}, []string{"example.go:21", "c.mu.TryLock"}},
		{"a function value", Options{Patches: []Patch{{"example.go", "c.ended.Swap(true)", "c.ended.Swap != nil"}}}, []string{"example.go:31", "c.ended.Swap"}},
		{"a constant argument", Options{Patches: []Patch{{"example.go", "go func() {\n", "go print(1)\n\tfunc() {\n"}}}, []string{"example.go:38", "go statement"}},
		{"a wait group", Options{Patches: []Patch{{"example.go", "<-time.After(time.Second)\n\tif", "new(sync.WaitGroup).Wait()\n\tif"}}}, []string{"example.go:68", "Wait"}},
		{"no module", Options{Root: os.DevNull}, []string{"go list", "null"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.o.Root == "" {
				test.o.Root = "testdata/example"
			}
			if test.o.Files == nil {
				test.o.Files = []string{"example.go"}
			}
			test.o.Dir = t.TempDir()
			path, err := Overlay(test.o)
			if err == nil {
				t.Fatal("no error, but", path)
			}
			for _, want := range test.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %s", err, want)
				}
			}
		})
	}
}

// What is woven passes the tests of the runtime, as hooks do nothing outside of a
// run. With a patch that breaks it they fail, and the stack names the line of the
// source.
func TestWovenRuntime(t *testing.T) {
	test := func(patches ...Patch) (string, error) {
		path, _ := overlay(t, Options{Root: module, Patches: append([]Patch{SmallTable}, patches...)})
		cmd := exec.Command("go", "test", "-vet=off", "-count=1", "-failfast", "-timeout=100s", "-overlay="+path, "./runtime",
			"-run=Stampede|Guarded|Ambiguous|RandomSchedules|ReadSchedules", "-seeds=3")
		cmd.Dir = module
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := test(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	broken := Patch{"clock.go", "return word&^clockMask | max(word&clockMask, clock)", "panic(`broken`)"}
	out, err := test(broken)
	if err == nil {
		t.Fatalf("a patch made no difference:\n%s", out)
	}
	source, err := os.ReadFile(module + "/runtime/clock.go")
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(source), broken.Old)
	if line := strings.Count(before, "\n") + 1; !strings.Contains(out, filepath.Join("runtime", "clock.go:")+strconv.Itoa(line)) {
		t.Errorf("the stack does not name line %d of clock.go:\n%.3000s", line, out)
	}
}
