// Package weave copies the sources of the runtime and puts hooks into the copy:
// calls of package schedule before every step that another goroutine may see, and
// in place of what starts one. The copy stands in for the sources by way of go
// build's -overlay, so the sources themselves have no hooks, and what a proof runs
// is what users run but for the calls. A copy can be changed in other ways first:
// that is how deliberate faults are put in.
//
// The edits are made within lines, so that errors and stacks name the lines of the
// sources.
package weave

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Options say what to weave.
type Options struct {
	// Root is the folder of the module.
	Root string
	// Dir is a folder, made if it is not there, for the changed files and the
	// overlay. It must not be used by two calls at the same time.
	Dir string
	// Files are the names of the files of runtime that get hooks. Nil stands for
	// all in which goroutines meet: [DefaultFiles].
	Files []string
	// Patches are made before the hooks are put in, in that order.
	Patches []Patch
}

// wovenFile has the constant that tells whether there are hooks.
const wovenFile = "internal/proof/schedule/woven.go"

// A Patch is a change of the text of a file of runtime.
type Patch struct {
	File string // its name, "clock.go"
	Old  string // what is replaced; must be there exactly once
	New  string
}

// SmallTable makes the table of words small, for runs that make thousands of
// caches: most of the time of a new cache goes into its memory. Tags that share a
// word cost a load, so proofs choose their tags such that they do not.
var SmallTable = Patch{File: "clock.go", Old: "tableSize = 1 << 20", New: "tableSize = 1 << 12"}

// DefaultFiles returns the files of runtime in which goroutines meet. What the
// others share, counters, traces and pools of memory, decides nothing.
func DefaultFiles() []string {
	return []string{
		"backoff.go", "batch.go", "cache.go", "call.go", "clock.go", "control.go", "flight.go",
		"lease.go", "limit.go", "load.go", "read.go", "refresh.go", "time.go", "tx.go", "write.go",
	}
}

// Overlay writes the files, and returns the path of what the go command's -overlay
// flag takes. It is an error if a patch does not fit, if the patched runtime does
// not compile, or if a file that is to have hooks does something that there is no
// hook for. Calls may be concurrent if each has a Dir of its own.
func Overlay(o Options) (path string, err error) {
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return "", err
	}
	if o.Files == nil {
		o.Files = DefaultFiles()
	}
	listed, err := list(root)
	if err != nil {
		return "", err
	}
	sources, changed, err := listed.read(o.Patches)
	if err != nil {
		return "", err
	}
	woven, err := listed.weave(sources, o.Files)
	if err != nil {
		return "", err
	}
	for name, text := range woven {
		sources[name] = text
		changed[name] = true
	}

	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	var overlay struct{ Replace map[string]string }
	overlay.Replace = map[string]string{}
	for name := range changed {
		copied := filepath.Join(dir, name)
		if err := os.WriteFile(copied, sources[name], 0o666); err != nil {
			return "", err
		}
		overlay.Replace[filepath.Join(listed.Dir, name)] = copied
	}
	flag := filepath.Join(root, filepath.FromSlash(wovenFile))
	if source, err := os.ReadFile(flag); err == nil {
		copied := filepath.Join(dir, "woven-flag.go")
		if err := os.WriteFile(copied, bytes.Replace(source, []byte("Woven = false"), []byte("Woven = true"), 1), 0o666); err != nil {
			return "", err
		}
		overlay.Replace[flag] = copied
	}
	text, err := json.MarshalIndent(overlay, "", "\t")
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, text, 0o666)
}

// read reads the files of runtime, with the patches made, and tells which of them
// that has changed.
func (l *listing) read(patches []Patch) (sources map[string][]byte, changed map[string]bool, err error) {
	sources, changed = map[string][]byte{}, map[string]bool{}
	for _, name := range l.GoFiles {
		if sources[name], err = os.ReadFile(filepath.Join(l.Dir, name)); err != nil {
			return nil, nil, err
		}
	}
	for _, p := range patches {
		if !slices.Contains(l.GoFiles, p.File) {
			return nil, nil, fmt.Errorf("weave: a patch is for %s, which is no file of runtime", p.File)
		}
		text := string(sources[p.File])
		if n := strings.Count(text, p.Old); n != 1 {
			return nil, nil, fmt.Errorf("weave: a patch of %s must fit exactly once, and does %d times: %q", p.File, n, p.Old)
		}
		sources[p.File] = []byte(strings.Replace(text, p.Old, p.New, 1))
		changed[p.File] = true
	}
	return sources, changed, nil
}
