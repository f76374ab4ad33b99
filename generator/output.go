package generator

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/diff"
)

// FileName is the name of the generated file of a package.
const FileName = "cache_gen.go"

// A File is a generated file: what is on disk and what should be.
type File struct {
	Path string // absolute
	Old  []byte // nil if there is no such file
	New  []byte // nil if there should be none
}

// newFile compares the text of a package's generated file with what is on
// disk. A file of that name which is not ours is an error: it would be lost.
func newFile(dir string, text []byte) (*File, error) {
	f := &File{Path: filepath.Join(dir, FileName), New: text}
	old, err := os.ReadFile(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case !isOurs(old):
		return nil, fmt.Errorf("%s was not written by cachegen: move it away, cachegen needs the name", f.Path)
	default:
		f.Old = old
	}
	return f, nil
}

// Stale reports whether the file on disk is not what it should be.
func (f *File) Stale() bool {
	return (f.Old == nil) != (f.New == nil) || !bytes.Equal(f.Old, f.New)
}

// Diff returns what Write would change as a unified diff with the given name,
// nil if nothing.
func (f *File) Diff(name string) []byte {
	oldName, newName := name, name
	if f.Old == nil {
		oldName = os.DevNull
	}
	if f.New == nil {
		newName = os.DevNull
	}
	return diff.Diff(oldName, f.Old, newName, f.New)
}

// Write brings the file on disk up to date. A file that is up to date is not
// touched; another is replaced in one step, so that no reader sees half of it,
// and keeps its permissions.
func (f *File) Write() error {
	switch {
	case !f.Stale():
		return nil
	case f.New == nil:
		return os.Remove(f.Path)
	}
	tmp, err := f.createBeside()
	if err != nil {
		return err
	}
	_, err = tmp.Write(f.New)
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), f.Path)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

// createBeside creates the file that will take the place of f. Its name begins
// with a dot, so that the go command passes over one that a crash leaves behind.
func (f *File) createBeside() (*os.File, error) {
	name := filepath.Join(filepath.Dir(f.Path), fmt.Sprintf(".%s.%d", FileName, os.Getpid()))
	tmp, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	if old, err := os.Stat(f.Path); err == nil {
		if err := tmp.Chmod(old.Mode().Perm()); err != nil {
			tmp.Close()
			os.Remove(name)
			return nil, err
		}
	}
	return tmp, nil
}
