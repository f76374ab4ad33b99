// Woven builds the tests of package interleave with hooks woven into the runtime, and
// runs them with the flags that it is given, so that a schedule that failed can be seen
// again:
//
//	go run ./internal/proof/woven -test.run 'TestScenarios/join$' -schedule 'reader1*3 …'
//
// Run it in the root of the module.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/cachegen/cachegen/internal/proof/weave"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	dir, err := os.MkdirTemp("", "woven")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	overlay, err := weave.Overlay(weave.Options{Root: ".", Dir: dir, Patches: []weave.Patch{weave.SmallTable}})
	if err != nil {
		return err
	}
	binary := filepath.Join(dir, "interleave.test")
	if err := do("go", "test", "-c", "-overlay", overlay, "-o", binary, "./internal/proof/interleave"); err != nil {
		return err
	}
	return do(binary, args...)
}

func do(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return nil
}
