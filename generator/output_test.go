package generator

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWriteFails checks that a file which cannot take its place leaves nothing
// behind.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	f := &File{Path: path, New: []byte("package a\n")}
	if err := f.Write(); err == nil {
		t.Error("a folder was replaced by a file")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("%d entries in the folder, want that in the way alone", len(entries))
	}
}

// TestWriteOverLeftover checks that what a crash left behind does not block the
// next run.
func TestWriteOverLeftover(t *testing.T) {
	f := &File{Path: filepath.Join(t.TempDir(), FileName), New: []byte("package a\n")}
	tmp, err := f.createBeside()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tmp.WriteString("much longer than what will be written"); err != nil {
		t.Fatal(err)
	}
	if err := tmp.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.Path)
	if err != nil || string(got) != "package a\n" {
		t.Errorf("read %q, %v", got, err)
	}
}
