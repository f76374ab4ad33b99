package annotations

import "slices"

// A Directive is an entry of the reference of the directive language: what the
// parser accepts, and what the help and the README say about it.
type Directive struct {
	Verb    string // "depends"
	Syntax  string // "//cache:depends item, …"
	Place   Place  // where it may stand; with several places, any of them
	Role    Role   // role of the method it belongs to; 0 where it has none or is one itself
	Repeat  bool   // may stand several times in one place, and accumulates
	Meaning string // one or two sentences
	Example string // a complete directive
	Options []Option

	args argsKind
}

// An Option is an option of a directive: a word, or a word with a value.
type Option struct {
	Name    string // "ttl"
	Syntax  string // "ttl=10m"
	Meaning string

	value valueKind
}

// A Place is a kind of comment in which directives stand. Places are bits.
type Place uint8

// The places.
const (
	PlacePackage   Place = 1 << iota // the package comment
	PlaceInterface                   // the doc comment of an interface
	PlaceMethod                      // the doc comment of a method of an interface
)

// String lists the places in words: "the package comment or an interface".
func (p Place) String() string {
	s := ""
	for _, place := range []struct {
		bit  Place
		name string
	}{
		{PlacePackage, "the package comment"},
		{PlaceInterface, "the doc comment of an interface"},
		{PlaceMethod, "the doc comment of a method"},
	} {
		if p&place.bit != 0 {
			if s != "" {
				s += " or "
			}
			s += place.name
		}
	}
	return s
}

// String returns the verb that gives a method the role.
func (r Role) String() string {
	switch r {
	case RoleRead:
		return "read"
	case RoleWrite:
		return "write"
	case RoleBypass:
		return "bypass"
	}
	return "none"
}

// An argsKind is the form of a directive's arguments, apart from its options.
type argsKind int

const (
	argsNone        argsKind = iota
	argsTag                  // name(parameters) external
	argsImport               // name "path"
	argsExprs                // expression, …
	argsExpr                 // expression
	argsExprOptions          // expression options
	argsItems                // item, …
	argsItemOptions          // item options
	argsNames                // name, …
)

// A valueKind is the form of an option's value.
type valueKind int

const (
	valueNone     valueKind = iota // a flag
	valueName                      // an identifier
	valueDuration                  // a duration, 0s included
	valueLifetime                  // a duration above zero
	valueTTL                       // a lifetime, forever, or a parenthesized expression
	valuePercent                   // 0% to 100%
	valueBeta                      // a number above zero and up to maxBeta, or off
	valueCount                     // an integer above zero and up to maxCount
	valueLibrary                   // json or gob
)

// ttlOption and the options after it are accepted by a read, and by a
// repository as defaults for its reads.
var (
	ttlOption     = Option{"ttl", "ttl=10m", "Lifetime of an entry: a duration, `forever`, or `ttl=(expr)` of type time.Duration, which may use `result`. Required on the read or on its repository.", valueTTL}
	jitterOption  = Option{"jitter", "jitter=10%", "Shorten each lifetime by a random part of it, at most this much.", valuePercent}
	staleOption   = Option{"stale", "stale=1h", "Keep an expired value this much longer, to be served only if its load fails or outlasts `soft`. A value that was invalidated is never served. 0s switches a default off.", valueDuration}
	softOption    = Option{"soft", "soft=50ms", "How long a caller waits for a load before it gets the stale value, if there is one; the load goes on. Only with `stale`. 0s switches a default off.", valueDuration}
	hardOption    = Option{"hard", "hard=2s", "How long a caller waits for a load before it gets a `*cacheruntime.TimeoutError`, or the stale value if there is one; the load goes on. 0s switches a default off.", valueDuration}
	refreshOption = Option{"refresh", "refresh=1", "Load again in the background before the entry expires, with a probability that rises towards expiry and with the time that loads take (XFetch); the number is its beta, at most 1000000, and a larger one refreshes earlier. `off` is the default, and switches that of the repository off.", valueBeta}
)

var directives = []Directive{
	{
		Verb:    "repository",
		Syntax:  "//cache:repository [name=Ident] [ttl=…] [jitter=…] [stale=…] [soft=…] [hard=…] [refresh=…]",
		Place:   PlaceInterface,
		Meaning: "Generate a cached wrapper for this interface. Apart from `name` the options are defaults for its reads.",
		Example: "//cache:repository ttl=10m jitter=10%",
		Options: []Option{
			{"name", "name=PostCache", "Name of the wrapper's type; by default Cached and the interface's name.", valueName},
			ttlOption, jitterOption, staleOption, softOption, hardOption, refreshOption,
		},
	},
	{
		Verb:    "tag",
		Syntax:  "//cache:tag name(parameter type, …) [external]",
		Place:   PlacePackage | PlaceInterface,
		Repeat:  true,
		args:    argsTag,
		Meaning: "Declare a tag: a name with typed parameters for a part of the data. It is in scope in the directives of the whole package, and of other packages if its name is exported.",
		Example: "//cache:tag post(id int64)",
		Options: []Option{
			{"external", "external", "The tag is invalidated elsewhere: by hand, or by other packages.", valueNone},
		},
	},
	{
		Verb:    "import",
		Syntax:  `//cache:import name "path"`,
		Place:   PlacePackage | PlaceInterface,
		Repeat:  true,
		args:    argsImport,
		Meaning: "Bring a package into scope of the directives of this package, its exported tags and its exported Go names, without an import in the file.",
		Example: `//cache:import users "example.com/app/users"`,
	},
	{
		Verb:    "vary",
		Syntax:  "//cache:vary expression, …",
		Place:   PlaceInterface | PlaceMethod,
		Role:    RoleRead,
		args:    argsExprs,
		Meaning: "Make the values part of every key of the repository, or of one read: tenant, locale, role. Keys only: a tag that differs by tenant has a parameter for it.",
		Example: "//cache:vary tenant(ctx)",
	},
	{
		Verb:    "read",
		Syntax:  "//cache:read [ttl=…] [jitter=…] [stale=…] [soft=…] [hard=…] [refresh=…] [share] [codec=…]",
		Place:   PlaceMethod,
		Meaning: "Memoize the result of the method.",
		Example: "//cache:read ttl=10m",
		Options: []Option{
			ttlOption, jitterOption, staleOption, softOption, hardOption, refreshOption,
			{"share", "share", "Hand callers that wait for one load the same value without copying it; they promise not to modify it.", valueNone},
			{"codec", "codec=json", "Encode the result with that library, `json` or `gob`, instead of a generated codec.", valueLibrary},
		},
	},
	{
		Verb:    "write",
		Syntax:  "//cache:write",
		Place:   PlaceMethod,
		Meaning: "Call through, then invalidate what the write made stale.",
		Example: "//cache:write",
	},
	{
		Verb:    "bypass",
		Syntax:  "//cache:bypass",
		Place:   PlaceMethod,
		Meaning: "Call through, nothing else.",
		Example: "//cache:bypass",
	},
	{
		Verb:    "depends",
		Syntax:  "//cache:depends item, …",
		Place:   PlaceMethod,
		Role:    RoleRead,
		Repeat:  true,
		args:    argsItems,
		Meaning: "The tags that the entry depends on. `x[*]` means every element; `post(*)` means any post: every invalidation of post, of one or of all, makes the entry stale.",
		Example: "//cache:depends post(id), author(result[*].AuthorID)",
	},
	{
		Verb:    "key",
		Syntax:  "//cache:key expression, …",
		Place:   PlaceMethod,
		Role:    RoleRead,
		args:    argsExprs,
		Meaning: "The parts of the key. By default every parameter but the context and the ignored ones.",
		Example: "//cache:key id, strings.ToLower(email)",
	},
	{
		Verb:    "ignore",
		Syntax:  "//cache:ignore parameter, …",
		Place:   PlaceMethod,
		Role:    RoleRead,
		Repeat:  true,
		args:    argsNames,
		Meaning: "Leave a parameter out of the key, on purpose.",
		Example: "//cache:ignore traceID",
	},
	{
		Verb:    "when",
		Syntax:  "//cache:when expression",
		Place:   PlaceMethod,
		Role:    RoleRead,
		args:    argsExpr,
		Meaning: "Cache only if the condition holds. Without `result` it is decided before the call, and a call that is not cached goes straight through; with `result` after it, and the result is not stored.",
		Example: "//cache:when result.Published",
	},
	{
		Verb:    "unless",
		Syntax:  "//cache:unless expression",
		Place:   PlaceMethod,
		Role:    RoleRead,
		args:    argsExpr,
		Meaning: "Cache only if the condition does not hold. Together with `when` both must allow it.",
		Example: "//cache:unless user.Admin",
	},
	{
		Verb:    "negative",
		Syntax:  "//cache:negative error|nil [ttl=…]",
		Place:   PlaceMethod,
		Role:    RoleRead,
		Repeat:  true,
		args:    argsExprOptions,
		Meaning: "Remember this error, recognized with errors.Is; a hit returns the error named here, without wrapping. With `nil`: remember a nil pointer result, which is never stored otherwise.",
		Example: "//cache:negative ErrNotFound ttl=30s",
		Options: []Option{
			{"ttl", "ttl=30s", "Lifetime of the negative entry; by default that of the read.", valueLifetime},
		},
	},
	{
		Verb:    "batch",
		Syntax:  "//cache:batch Read(parameter, …) [by=ID] [size=100]",
		Place:   PlaceMethod,
		Role:    RoleRead,
		args:    argsItemOptions,
		Meaning: "A read of many that shares its entries with the read of one and loads only the missing ids in one call: for `[]K → map[K]V`, and with `by` for `[]K → []V`, with one element for each requested id that exists, in the order of the ids. Lifetime, tags and negatives are those of the read of one. An id that the batch does not return becomes the read's first negative entry, if it has any.",
		Example: "//cache:batch Post(ids) by=ID size=100",
		Options: []Option{
			{"by", "by=ID", "Field or method of an element that is its id, for a slice result.", valueName},
			{"size", "size=100", "Most ids of one load, 1 to 2147483647; without it there is no limit.", valueCount},
		},
	},
	{
		Verb:    "invalidates",
		Syntax:  "//cache:invalidates item, …",
		Place:   PlaceMethod,
		Role:    RoleWrite,
		Repeat:  true,
		args:    argsItems,
		Meaning: "The tags, or reads of the same repository with their parameters, that the write makes stale. `*` matches anything, `ids[*]` is every element.",
		Example: "//cache:invalidates post(p.ID), author(*), ByAuthor(p.AuthorID, *)",
	},
	{
		Verb:    "reload",
		Syntax:  "//cache:reload Read(argument, …), …",
		Place:   PlaceMethod,
		Role:    RoleWrite,
		args:    argsItems,
		Meaning: "After invalidating and before the write returns, load that read again; its error is logged, not returned. Only after a write that succeeded, and in a transaction after the commit, which is when the arguments are evaluated then. A read whose `when` or `unless` does not hold is only called. Parameters that the read ignores are zero.",
		Example: "//cache:reload Stats()",
	},
}

// Directives returns the reference of the directive language, in the order in
// which a reader meets it. The caller may keep and change the result.
func Directives() []Directive {
	list := slices.Clone(directives)
	for i := range list {
		list[i].Options = slices.Clone(list[i].Options)
	}
	return list
}

// directive returns the entry of a verb, nil if there is none.
func directive(verb string) *Directive {
	for i := range directives {
		if directives[i].Verb == verb {
			return &directives[i]
		}
	}
	return nil
}

// option returns the entry of an option of the directive, nil if there is none.
func (d *Directive) option(name string) *Option {
	for i := range d.Options {
		if d.Options[i].Name == name {
			return &d.Options[i]
		}
	}
	return nil
}

// roleOf returns the role a verb gives to a method, 0 for other verbs.
func roleOf(verb string) Role {
	for _, r := range []Role{RoleRead, RoleWrite, RoleBypass} {
		if r.String() == verb {
			return r
		}
	}
	return 0
}
