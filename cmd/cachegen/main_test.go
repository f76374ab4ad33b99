package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	// Scripts build programs on the runtime: a change of it must not leave the
	// result of these tests in the go command's cache.
	_ "github.com/cachegen/cachegen/runtime"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cachegen": main})
}

// TestScripts runs the command as its users do. Each script starts in an empty
// folder; "module PATH" makes it a module that uses this checkout of cachegen.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			// The go command of a script uses the caches of this one: nothing is
			// downloaded or built twice.
			for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOTOOLCHAIN", "GOPROXY"} {
				out, err := exec.Command("go", "env", name).Output()
				if err != nil {
					return err
				}
				env.Setenv(name, strings.TrimSpace(string(out)))
			}
			// With the module cache for a proxy, "go get" asks nobody for a module of
			// our name.
			env.Setenv("PROXY", env.Getenv("GOPROXY"))
			env.Setenv("CACHEPROXY", "file://"+filepath.ToSlash(env.Getenv("GOMODCACHE"))+"/cache/download")
			env.Setenv("GONOSUMDB", "*")
			env.Setenv("CACHEGEN", root)
			env.Setenv("GOFLAGS", "")
			env.Setenv("GOWORK", "off")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"module": module,
		},
	})
}

// module writes a go.mod with the dependencies of this checkout, so that
// scripts need not resolve them.
func module(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: module PATH")
	}
	root := ts.Getenv("CACHEGEN")
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	ts.Check(err)
	_, requirements, _ := strings.Cut(string(gomod), "\n")
	ts.Check(os.WriteFile(ts.MkAbs("go.mod"), []byte("module "+args[0]+"\n"+requirements+
		"\nrequire github.com/cachegen/cachegen v0.0.0\n\nreplace github.com/cachegen/cachegen => "+root+"\n"), 0o644))
	gosum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("go.sum"), gosum, 0o644))
}
