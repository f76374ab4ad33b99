// Package emit writes the generated file of a package from its checked model.
// It decides nothing about caching and it cannot fail for a reason of the
// user's: what it is given has been checked.
package emit

import (
	"bytes"
	"fmt"
	"path"
	"slices"

	"github.com/dave/jennifer/jen"
	"golang.org/x/tools/imports"

	"github.com/cachegen/cachegen/annotations"
)

// Header is the first line of every generated file. A file that does not
// begin with it is not ours and is never overwritten.
const Header = annotations.Header

const runtimePath = "github.com/cachegen/cachegen/runtime"

// File returns the text of the generated file of pkg. Equal models give equal
// bytes. names returns the name of the package with an import path.
func File(pkg *annotations.Package, names func(path string) string) ([]byte, error) {
	f := newFile(pkg, names)
	f.handshake()
	for _, repo := range pkg.Repositories {
		f.repository(repo)
	}
	f.tags()
	f.codecs()

	var buf bytes.Buffer
	if err := f.out.Render(&buf); err != nil {
		return nil, fmt.Errorf("the file generated for %s does not parse, please report it: %w", pkg.Path, err)
	}
	src, err := imports.Process("cache_gen.go", buf.Bytes(), &imports.Options{FormatOnly: true, Comments: true, TabIndent: true, TabWidth: 8})
	if err != nil {
		return nil, fmt.Errorf("the file generated for %s cannot be formatted, please report it: %w", pkg.Path, err)
	}
	return src, nil
}

// A file is a generated file in the making.
type file struct {
	pkg *annotations.Package
	out *jen.File

	imports  map[string]string                     // local names by import path
	taken    scope                                 // names that a new declaration or import cannot have
	used     scope                                 // names of package or file scope that generated code mentions: locals must not hide them
	partial  map[*annotations.Tag]map[uint8]string // functions of tags used in part, by set
	encoders *functions                            // codec functions by plan
	decoders *functions
	keyers   *functions
	results  *resultCodecs
}

func newFile(pkg *annotations.Package, names func(string) string) *file {
	f := &file{
		pkg:   pkg,
		out:   jen.NewFilePathName(pkg.Path, pkg.Name),
		taken: scope{},
		used:  scope{},
	}
	f.out.HeaderComment(Header)
	for _, name := range pkg.Taken {
		f.taken.add(name)
	}
	for _, tag := range pkg.Tags {
		f.declares(tag.Func)
		f.declares(tag.AllFunc)
	}
	for _, repo := range pkg.Repositories {
		f.used.add(repo.Name)
		f.declares(repo.Wrapper)
		f.declares(repo.Constructor)
	}
	f.nameImports(names)
	// What is named from now on is named around the parameters, which keep
	// their names if they can.
	for _, tag := range pkg.Tags {
		for _, p := range tag.Params {
			f.taken.add(p.Name)
		}
	}
	for _, repo := range pkg.Repositories {
		for _, m := range repo.Methods {
			for _, p := range slices.Concat(m.Params, m.Results) {
				f.taken.add(p.Name)
			}
		}
	}
	f.namePartialTags()
	f.encoders = newFunctions(f, "cacheEncode")
	f.decoders = newFunctions(f, "cacheDecode")
	f.keyers = newFunctions(f, "cacheKey")
	f.results = &resultCodecs{}
	return f
}

// declares notes the name of a declaration of the file.
func (f *file) declares(name string) {
	f.taken.add(name)
	f.used.add(name)
}

// name chooses the name of a function of the file.
func (f *file) name(want string) string {
	name := f.taken.pick(want)
	f.used.add(name)
	return name
}

// nameImports chooses, before anything is written, the local name of every
// package the file may mention, so that parameters and variables can be named
// around them. The file imports only those that it uses.
func (f *file) nameImports(names func(string) string) {
	f.imports = map[string]string{}
	f.taken.add("err") // jennifer does not use it for a package
	use := func(path, name string) {
		if path == "" || path == f.pkg.Path || f.imports[path] != "" {
			return
		}
		local := f.name(name)
		f.imports[path] = local
		if local == name && path != runtimePath {
			f.out.ImportName(path, local)
		} else {
			f.out.ImportAlias(path, local)
		}
	}
	use("context", "context")
	use(runtimePath, "cacheruntime")
	f.mentioned(func(path, name string) {
		if name == "" {
			name = names(path)
		}
		use(path, name)
	}, f.used.add)
	for _, lib := range f.libraries() {
		use(lib, path.Base(lib))
	}
}

func (f *file) handshake() {
	f.out.Comment("// The line below does not compile with a runtime older than this file: then")
	f.out.Comment("// run \"go get github.com/cachegen/cachegen@latest\".")
	f.out.Const().Id("_").Op("=").Qual(runtimePath, "GeneratedCodeVersion1")
	f.out.Line()
}
