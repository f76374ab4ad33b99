package annotations

import (
	"go/types"
	"time"
)

// A Package is what a package's directives say, checked: plain data from which
// code is emitted without asking any further question. Types are carried as
// opaque go/types values; nothing else of the type checker's or of the syntax
// is left in it.
type Package struct {
	Path string // import path
	Name string
	Dir  string // absolute folder of the package

	// Taken are the names the package declares outside its generated files.
	// The emitter names its own helpers around them.
	Taken []string

	Tags         []*Tag        // in source order
	Repositories []*Repository // in source order
}

// A Pos is a span on one line of a source file. Lines and columns count from 1,
// columns in bytes; EndCol is the column after the last byte.
type Pos struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Col    int    `json:"col"`
	EndCol int    `json:"endCol"`
}

// A Tag is a declared tag: a name, with typed parameters, for a part of the
// data that reads depend on and writes invalidate.
type Tag struct {
	Name     string
	Pos      Pos
	Pkg      string // import path of the declaring package
	Params   []*TagParam
	External bool

	ID      string // name at run time, "example.com/blog.post"
	Func    string // generated function for one instance, "postTag"
	AllFunc string // generated function for every instance, "allPostTag"; "" without parameters

	// Partial holds the argument sets, other than all and none, with which
	// this package uses the tag: bit i is set if argument i is given and clear
	// if it is *. Sorted, without duplicates.
	Partial []uint8
}

// A TagParam is a parameter of a tag.
type TagParam struct {
	Name string
	Type types.Type
	Key  *Codec
}

// A Repository is an annotated interface.
type Repository struct {
	Name        string // of the interface
	Pos         Pos
	Doc         string // doc comment without directives
	ID          string // "example.com/blog.PostRepository"
	Wrapper     string // "CachedPostRepository"
	Constructor string // "NewCachedPostRepository"
	Methods     []*Method
}

// A Role is what a method does to the cached data.
type Role int

// The roles.
const (
	RoleRead Role = iota + 1
	RoleWrite
	RoleBypass
)

// A Method is a method of an annotated interface.
type Method struct {
	Name    string
	Pos     Pos
	Doc     string // doc comment without directives
	Role    Role
	Params  []*Param
	Results []*Param
	Context int // index of the context parameter, -1 without one
	Result  int // index of the first result that is not an error, -1 without one
	Err     int // index of the error result (the last result of type error), -1 without one

	Read  *Read  // with RoleRead
	Write *Write // with RoleWrite
}

// A Param is a parameter or a result of a method.
type Param struct {
	Name     string // as declared: may be "" or "_"
	Type     types.Type
	Variadic bool          // Type is then the slice type
	Large    bool          // more than 128 bytes: capturing it in a closure would move it to the heap
	Ignored  bool          // left out of the key on purpose
	Copy     Copy          // how a load that outlives its caller keeps it
	Fields   []CopiedField // with CopyStruct
}

// A CopiedField is a field of a struct that a copy of the struct must not
// share.
type CopiedField struct {
	Path string // "Tags", "Range.Days"
	Copy Copy   // CopySlice or CopyMap
}

// Copy says how an argument is protected from a caller that changes it while a
// load it started goes on without it.
type Copy int

// The kinds of Copy.
const (
	CopyNone   Copy = iota // holds no reference to memory the caller can change
	CopySlice              // slices.Clone is enough
	CopyMap                // maps.Clone is enough
	CopyStruct             // a copy in which some fields are cloned
	CopyShared             // holds references of other kinds: the outcome counts only if the caller stayed
)

// A Read is the policy of a memoized method.
type Read struct {
	TTL     TTL
	Jitter  float64 // part of the lifetime, 0 to 1
	Stale   time.Duration
	Soft    time.Duration
	Hard    time.Duration
	Refresh float64 // beta of XFetch, 0 for off
	Share   bool

	// Encoding is "json" or "gob" where the user chose a library, else "" and
	// Codec is set.
	Encoding string
	Codec    *Codec
	// Pointer reports whether the result is a pointer, for which a nil result
	// is stored only with a negative directive.
	Pointer bool

	Vary []*KeyPart // of the repository, then of the method
	Key  []*KeyPart

	Depends  []*Target
	Negative []*Negative
	// When holds the conditions under which the result is cached: all must
	// hold. Those with Expr.UsesResult are decided after the load.
	When []*Condition

	Batch *Batch

	// Partial holds the sets of key parts, other than all and none, with which
	// writes name this read: bit i is set if key part i is given.
	Partial []uint8
	// Fingerprint identifies the read, the layout of its result and its list
	// of dependencies. Entries written under another fingerprint are not seen.
	Fingerprint uint64
	// InvalidatedBy names the writes of this package that make entries of this
	// read stale, for people: "PostRepository.Update".
	InvalidatedBy []string
}

// A TTL is the lifetime of an entry: forever, fixed, or computed.
type TTL struct {
	Forever  bool
	Duration time.Duration
	Expr     *Expr // of type time.Duration; may use the result
}

// A KeyPart is an expression that is part of a key.
type KeyPart struct {
	Expr  *Expr
	Codec *Codec
}

// A Negative is an outcome worth remembering: an error, or a nil pointer.
type Negative struct {
	Pos Pos
	Nil bool
	Err *Expr         // the sentinel, unless Nil
	TTL time.Duration // 0: the read's own lifetime
}

// A Condition is a when or, negated, an unless.
type Condition struct {
	Expr   *Expr
	Negate bool
}

// A Batch ties a multi-get to the single read it shares entries with.
type Batch struct {
	Pos  Pos
	Read string // name of the single read
	Arg  string // name of the parameter that holds the ids
	Args []int  // indexes of the parameters given for those of the single read, context and ignored ones left out
	By   string // field or method of an element that is its id; "" for a map result
	Size int    // ids per load, 0 for no limit

	ByMethod bool // By is a method

	Elem    types.Type // of the map or slice that the batch returns
	Convert Convert    // how an element becomes a result of the single read
}

// Convert says how an element of a batch becomes a result of the single read.
type Convert int

// The kinds of Convert.
const (
	ConvertNone        Convert = iota // they have the same type
	ConvertAddress                    // the result of the single read is a pointer to the element
	ConvertDereference                // the element is a pointer to the result of the single read
)

// A Write is what a changing method makes stale.
type Write struct {
	Invalidates []*Target
	Reload      []*Target
}

// A Target is one item of depends, invalidates or reload: a tag or a read, and
// arguments.
type Target struct {
	Pos  Pos
	Text string // as written

	Tag    *Tag    // the tag, or
	Read   *Method // the read of the same repository
	TagPkg string  // import path of the tag's package where it is another one

	Args   []*Expr // nil element: *. For a read: its parameters without context and ignored ones
	Spread bool    // the last argument is followed by ...
	Each   []*Each // loops around the item, outermost first

	// Fixed is the set of tag arguments (of a read: of key parts) that are
	// given, as far as it has bits for them: it matters only where some are
	// given and others not, and then there are at most 4. All reports that
	// none is given, though there are some.
	Fixed uint8
	All   bool

	UsesResult bool // known only after a successful call
	MayPanic   bool // evaluation, or writing an argument as bytes, can fail: it needs a guard
}

// Exprs returns the expressions of the target: its arguments but for *, and what its
// loops range over.
func (t *Target) Exprs() []*Expr {
	var list []*Expr
	for _, arg := range t.Args {
		if arg != nil {
			list = append(list, arg)
		}
	}
	for _, each := range t.Each {
		list = append(list, each.Base)
	}
	return list
}

// An Each is a loop over the elements of an expression followed by [*]. Its
// element is referred to by PartElem with its index in Target.Each.
type Each struct {
	Base *Expr
	Elem types.Type
}

// An Expr is a checked Go expression in pieces that can be put together again
// under other names.
type Expr struct {
	Pos        Pos
	Text       string // as written
	Type       types.Type
	Parts      []Part
	UsesResult bool
	UsesParams []int // indexes of the method's parameters it mentions, sorted
	MayPanic   bool  // dereferences, indexes, asserts, divides or calls
}

// A PartKind says what a Part stands for.
type PartKind int

// The kinds of Part.
const (
	PartText   PartKind = iota // Text, verbatim
	PartParam                  // parameter Index of the method
	PartResult                 // result Index of the method: by its name or as "result"
	PartElem                   // the element of loop Index of the target
	PartQual                   // Text, exported by the package with import path Pkg
)

// A Part is a piece of an expression.
type Part struct {
	Kind  PartKind
	Text  string
	Index int
	Pkg   string
}

// A Codec is a plan to write a type as bytes, and for results to read it back.
// Recursive types make cyclic plans.
type Codec struct {
	Kind   CodecKind
	Type   types.Type
	Elem   *Codec // CodecPointer, CodecSlice, CodecArray, CodecMap
	Key    *Codec // CodecMap
	Len    int64  // CodecArray
	Fields []CodecField

	// Marshal is the method pair of a CodecMarshaler.
	Marshal Marshal

	// Recursive reports whether the type contains itself; the emitted
	// functions then count their depth.
	Recursive bool
	// MinSize is the least number of bytes an encoded value takes. Only types
	// without any state take 0.
	MinSize int
}

// A CodecField is a field of a struct. Blank fields are left out.
type CodecField struct {
	Name  string
	Codec *Codec
}

// A CodecKind says how a type is written.
type CodecKind int

// The kinds of codec. Named types have the kind of their underlying type.
const (
	CodecBool CodecKind = iota + 1
	CodecInt            // every signed integer
	CodecUint           // every unsigned integer, uintptr included
	CodecFloat32
	CodecFloat64
	CodecComplex64
	CodecComplex128
	CodecString
	CodecBytes // slices of bytes
	CodecTime  // time.Time
	CodecPointer
	CodecSlice
	CodecArray
	CodecMap
	CodecStruct
	CodecMarshaler
	CodecInterface // keys only: a marshaler behind an interface, its dynamic type included
)

// A Marshal names the standard methods a CodecMarshaler goes through.
type Marshal int

// The method pairs, best first.
const (
	MarshalAppendBinary Marshal = iota + 1 // AppendBinary, UnmarshalBinary
	MarshalBinary                          // MarshalBinary, UnmarshalBinary
	MarshalAppendText                      // AppendText, UnmarshalText
	MarshalText                            // MarshalText, UnmarshalText
)
