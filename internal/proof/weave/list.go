package weave

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"sync"
)

// A listing is what the go command knows of runtime.
type listing struct {
	ImportPath string
	Dir        string
	GoFiles    []string

	exports map[string]string // of all that it depends on: files with export data, by import path
}

var (
	listings   = map[string]*listing{} // by the module's folder
	listingsMu sync.Mutex
)

// list asks the go command, once for each module.
func list(root string) (*listing, error) {
	listingsMu.Lock()
	defer listingsMu.Unlock()
	if l := listings[root]; l != nil {
		return l, nil
	}
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,GoFiles,Export,DepOnly", "./runtime")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("weave: go list in %s: %w", root, err)
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
		return nil, err
	}
	exports := map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			listing
			Export  string
			DepOnly bool
		}
		switch err := d.Decode(&p); {
		case err == io.EOF:
			return nil, fmt.Errorf("weave: go list does not list runtime")
		case err != nil:
			return nil, err
		}
		exports[p.ImportPath] = p.Export
		if !p.DepOnly { // the last one
			p.exports = exports
			listings[root] = &p.listing
			return &p.listing, nil
		}
	}
}

// importer reads the export data of what runtime depends on.
func (l *listing) importer(fset *token.FileSet) types.Importer {
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		if l.exports[path] == "" {
			return nil, fmt.Errorf("weave: runtime does not depend on %q", path)
		}
		return os.Open(l.exports[path])
	})
}
