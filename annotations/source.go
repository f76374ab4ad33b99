package annotations

// A Source is what the files of a package say to cachegen, unchecked: its
// directives with their places, and the shape of its interfaces. It is plain
// data that can be encoded with gob; the go/analysis pass keeps it as the fact
// of a package.
type Source struct {
	Path  string // import path of the package
	Name  string
	Files []*SourceFile

	// Imports are the packages that import directives bring into scope, in
	// source order; directives that are not well formed are left out. A loader
	// has to load them for [Check].
	Imports []SourceImport

	// Problems are the directives that stand where none may stand, or are not
	// quite written as such.
	Problems []Diagnostic

	// Strays are those directives as far as they can be made out, so that what
	// they were to declare is not missed a second time.
	Strays []*Statement
}

// A SourceFile is a file of a Source.
type SourceFile struct {
	Name       string // as in the file set
	Imports    []SourceImport
	Directives []*Statement // of the package comment
	Interfaces []*Interface // in source order
}

// A SourceImport is an import declaration or an import directive.
type SourceImport struct {
	Name string // "" for the package's own name
	Path string
	Pos  Pos // of the declaration, or of the directive's path
}

// An Interface is a declared interface, or an interface literal embedded in one.
type Interface struct {
	Name       string // "" for a literal
	Pos        Pos    // of the name
	Doc        string // doc comment without directives
	Generic    bool
	Doubtful   bool // one of Problems was probably meant for it
	Directives []*Statement
	Members    []*Member // in source order
}

// A Member is a method of an interface, or an embedded type.
type Member struct {
	Method     string // "" for an embedded type
	Pos        Pos    // of the method's name, or of the embedded type
	Doc        string // doc comment without directives
	Doubtful   bool   // one of Problems was probably meant for it
	Directives []*Statement
	Params     []SourceParam
	Results    []SourceParam

	Embed   string     // the embedded type as written
	Literal *Interface // an embedded interface literal
}

// A SourceParam is the place of a parameter or a result.
type SourceParam struct {
	Name string
	Pos  Pos // of the name, or of the type of an unnamed one
	Type string
	At   Pos // of the type
}

// A Statement is one directive as it stands in the source.
type Statement struct {
	Place Place
	Verb  string
	Pos   Pos    // of the verb
	Args  string // without surrounding space and without a trailing // comment
	At    Pos    // of Args
}

// HasDirectives reports whether the package contains any directive, misplaced
// ones included.
func (s *Source) HasDirectives() bool {
	if len(s.Problems) > 0 {
		return true
	}
	found := false
	s.statements(func(*Statement) { found = true })
	return found
}

// statements calls f for every directive in source order.
func (s *Source) statements(f func(*Statement)) {
	each := func(list []*Statement) {
		for _, st := range list {
			f(st)
		}
	}
	var members func(i *Interface)
	members = func(i *Interface) {
		each(i.Directives)
		for _, m := range i.Members {
			each(m.Directives)
			if m.Literal != nil {
				members(m.Literal)
			}
		}
	}
	for _, file := range s.Files {
		each(file.Directives)
		for _, i := range file.Interfaces {
			members(i)
		}
	}
}

// find returns a declared interface and its file, or nil.
func (s *Source) find(name string) (*Interface, *SourceFile) {
	for _, file := range s.Files {
		for _, i := range file.Interfaces {
			if i.Name == name {
				return i, file
			}
		}
	}
	return nil, nil
}

// AFact marks the Source of a package as a fact of the go/analysis pass.
func (s *Source) AFact() {}

// String names the package the source belongs to.
func (s *Source) String() string { return "cache directives of " + s.Path }

// sub returns the part of a span that begins at the given byte and has the
// given length.
func (p Pos) sub(off, n int) Pos {
	p.Col += off
	p.EndCol = p.Col + n
	return p
}

// valid reports whether the position is known.
func (p Pos) valid() bool { return p.Line > 0 }

// before reports whether p comes first. Positions of different files are
// ordered by file name.
func (p Pos) before(q Pos) bool { return p.compare(q) < 0 }
