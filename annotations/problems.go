package annotations

import (
	"fmt"
	"go/types"
	"strings"
	"time"
)

// This file has one constructor for every diagnostic. A message is lower case,
// names one cause, and says what to do where that is not obvious.

func problem(pos Pos, code, format string, args ...any) Diagnostic {
	return Diagnostic{Pos: pos, Code: code, Message: fmt.Sprintf(format, args...)}
}

func (d Diagnostic) with(pos Pos, format string, args ...any) Diagnostic {
	d.Related = append(d.Related, Related{pos, fmt.Sprintf(format, args...)})
	return d
}

// hint is the end of a message that knows a likely name.
func hint(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", name)
}

func verbs() []string {
	var list []string
	for _, d := range directives {
		list = append(list, d.Verb)
	}
	return list
}

// short cuts a text that is too long for a message.
func short(text string) string {
	if r := []rune(text); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return text
}

// quote quotes a text so that quotation marks in it stay readable.
func quote(text string) string {
	if text = short(text); strings.Contains(text, `"`) {
		return fmt.Sprintf("%#q", text)
	}
	return fmt.Sprintf("%q", text)
}

// Where directives stand.

func notWritten(pos Pos, verb string) Diagnostic {
	verb = strings.ToLower(verb)
	if near := nearest(verb, verbs()); directive(verb) == nil && near != "" {
		verb = near
	}
	if verb == "" {
		verb = "verb"
	}
	return problem(pos, codeMalformed, "a directive is written %s%s, without a space or anything else in between", prefix, verb)
}

func trailing(pos Pos, verb string) Diagnostic {
	return problem(pos, codeTrailing, "cache:%s stands behind code; move it to the doc comment above", verb)
}

func detached(pos Pos, verb string) Diagnostic {
	return problem(pos, codeDetached, "cache:%s belongs to nothing; a directive stands directly above an interface, a method of one or the package clause, without a blank line", verb)
}

func misplacedOn(pos Pos, verb, what string) Diagnostic {
	return problem(pos, codeMisplaced, "cache:%s stands on %s; directives stand on interfaces, their methods or the package clause", verb, what)
}

func misplacedOnEmbedded(pos Pos, verb string) Diagnostic {
	return problem(pos, codeMisplaced, "cache:%s stands on an embedded interface; declare the methods that need it again", verb)
}

func misplaced(st *Statement, spec *Directive) Diagnostic {
	return problem(st.Pos, codeMisplaced, "cache:%s stands in %s, not in %s", st.Verb, spec.Place, st.Place)
}

// The form of directives.

func noSpaceBehindVerb(st *Statement, verb string) Diagnostic {
	return problem(st.Pos, codeMalformed, "a space is missing behind cache:%s", verb)
}

func unknownDirective(st *Statement) Diagnostic {
	return problem(st.Pos, codeUnknownDirective, "unknown directive cache:%s%s", st.Verb, hint(nearest(st.Verb, verbs())))
}

func unknownOption(name piece, spec *Directive) Diagnostic {
	var names []string
	for _, o := range spec.Options {
		names = append(names, o.Name)
	}
	h := hint(nearest(name.text, names))
	word, _ := cutVerb(name.text)
	_, notDuration := time.ParseDuration(name.text)
	switch {
	case h != "":
	case spec.option(word) != nil:
		h = "; it is written " + spec.option(word).Syntax
	case optionOf(name.text, spec) != nil:
		h = "; that belongs to cache:" + optionOf(name.text, spec).Verb
	case notDuration == nil && spec.option("ttl") != nil:
		h = hint("ttl=" + name.text)
	default:
		h = fmt.Sprintf("; it has %s", strings.Join(names, ", "))
	}
	return problem(name.pos, codeUnknownOption, "cache:%s has no option %q%s", spec.Verb, short(name.text), h)
}

// optionOf returns a directive that has an option of that name, if possible one
// that stands in the same place as the given one; nil if there is none.
func optionOf(name string, beside *Directive) *Directive {
	var found *Directive
	for i, d := range directives {
		if d.option(name) != nil && (found == nil || found.Place&beside.Place == 0) {
			found = &directives[i]
		}
	}
	return found
}

func duplicate(pos Pos, what string, first Pos) Diagnostic {
	return problem(pos, codeDuplicate, "%s is given twice", short(what)).with(first, "first given here")
}

func missingArguments(st *Statement, spec *Directive) Diagnostic {
	return problem(st.Pos, codeMissingArgument, "cache:%s needs an argument: %s", st.Verb, spec.Example)
}

func missingValue(pos Pos, spec *Option) Diagnostic {
	return problem(pos, codeMissingArgument, "%s needs a value, without space around the =: %s", spec.Name, spec.Syntax)
}

func flagWithValue(pos Pos, spec *Option) Diagnostic {
	return problem(pos, codeUnexpectedArgument, "%s takes no value", spec.Name)
}

func unexpectedText(text piece, spec *Directive) Diagnostic {
	return problem(text.pos, codeUnexpectedArgument, "unexpected %q; the directive is written %s", short(text.text), spec.Syntax)
}

func notAName(text piece, what string) Diagnostic {
	return problem(text.pos, codeBadName, "%s must be a Go identifier, not %q", what, short(text.text))
}

func badDuration(value piece, spec *Option, parsed bool) Diagnostic {
	why := "is not a duration; write it like 90s, 10m or 24h"
	if parsed {
		why = "must be above zero"
		if spec.value == valueDuration {
			why = "must not be negative"
		}
	} else if spec.value == valueTTL {
		why += ", forever, or a Go expression in parentheses"
	}
	return problem(value.pos, codeBadDuration, "%s: %q %s", spec.Name, short(value.text), why)
}

func notParenthesized(value piece) Diagnostic {
	if tokens := tokenize(value.text).tokens; closing(tokens, 0) < 0 {
		return problem(value.pos.sub(0, 1), codeSyntax, "this parenthesis is not closed")
	}
	return problem(value.pos, codeSyntax, "an expression in parentheses is needed here")
}

func quotedValue(value piece, spec *Option) Diagnostic {
	return problem(value.pos, codeBadValue, "the value of %s stands without quotes: %s", spec.Name, spec.Syntax)
}

func commaBehindOption(pos Pos) Diagnostic {
	return problem(pos, codeSyntax, "options are separated by spaces, not by commas")
}

func badPercent(value piece, spec *Option) Diagnostic {
	return problem(value.pos, codeBadPercent, "%s: %q is not a percentage between 0%% and 100%%", spec.Name, short(value.text))
}

func badValue(value piece, spec *Option, want string) Diagnostic {
	return problem(value.pos, codeBadValue, "%s: %q is not %s", spec.Name, short(value.text), want)
}

func syntaxError(pos Pos, msg string) Diagnostic {
	return problem(pos, codeSyntax, "%s", msg)
}

// notAnExpression puts a message of the Go parser, which takes the text for a
// file, into the words of someone who wrote one expression.
func notAnExpression(text piece, off int, msg string) Diagnostic {
	if off >= len(text.text) || strings.HasSuffix(msg, "found newline") {
		return syntaxError(text.tokenAt(max(len(text.text)-1, 0)), "the expression is not complete")
	}
	at := text.tokenAt(off)
	if !strings.HasPrefix(msg, "expected 'EOF'") {
		return syntaxError(at, msg)
	}
	rest, _, _ := strings.Cut(text.text[off:], " ")
	if strings.HasPrefix(rest, ",") {
		return syntaxError(at, "only one expression can stand here")
	}
	return syntaxError(at, fmt.Sprintf("unexpected %q behind the expression", short(rest)))
}

func notAnItem(text piece, verb string) Diagnostic {
	want := "a tag or a read with arguments, like post(id) or users.Author(*)"
	switch verb {
	case "batch":
		want = "a read with parameters, like Post(ids)"
	case "reload":
		want = "a read with arguments, like Post(id)"
	}
	return problem(text.pos, codeSyntax, "%s is not %s", quote(text.text), want)
}

func behindItem(pos Pos, text string) Diagnostic {
	return problem(pos, codeSyntax, "unexpected %q behind an item; items are separated by commas", short(text))
}

func notAnImport(text piece, spec *Directive) Diagnostic {
	return problem(text.pos, codeSyntax, "%s is not a name and a quoted import path; write it like %s", quote(text.text), spec.Example)
}

// Packages and tags.

func importShadows(pos Pos, name, why string) Diagnostic {
	return problem(pos, codeNameCollision, "the import cannot be called %s: %s", name, why)
}

func importsItself(pos Pos) Diagnostic {
	return problem(pos, codeImportCycle, "a package cannot import itself; its own tags are in scope")
}

func importCycle(pos Pos, own string, path []string) Diagnostic {
	return problem(pos, codeImportCycle, "import cycle: %s → %s; declare the tags that both sides use in a package of their own",
		own, strings.Join(path, " → "))
}

func outOfSight(path piece) Diagnostic {
	return problem(path.pos, codeUnknownPackage, "no Go file of the package imports %q yet, so that go vet cannot look into it; run cachegen first", path.text)
}

func unknownPackage(path piece) Diagnostic {
	return problem(path.pos, codeUnknownPackage, "package %q cannot be found", path.text)
}

func noTags(pos Pos, path, module string) Diagnostic {
	if module != "" && path != module && !strings.HasPrefix(path, module+"/") {
		return problem(pos, codeUnknownPackage, "package %s is not part of module %s, so its tags cannot be used", path, module)
	}
	return problem(pos, codeUnknownPackage, "package %s declares no tags", path)
}

func unknownQualifier(name piece, near string) Diagnostic {
	h := hint(near)
	if h == "" {
		h = fmt.Sprintf("; bring it into scope with //cache:import %s \"path\"", name.text)
	}
	return problem(name.pos, codeUnknownPackage, "unknown package %s%s", name.text, h)
}

func notExported(pos Pos, name, path string) Diagnostic {
	return problem(pos, codeNotExported, "%s is not exported by package %s", name, path)
}

func notImportable(pos Pos, path string) Diagnostic {
	return problem(pos, codeNotExported, "package %s cannot be imported here", path)
}

func unnamedTagParam(pos Pos) Diagnostic {
	return problem(pos, codeBadTag, "a parameter of a tag needs a name and a type: post(id int64)")
}

func variadicTag(pos Pos) Diagnostic {
	return problem(pos, codeBadTag, "a tag cannot be variadic; depend on each element instead: post(ids[*])")
}

func unusedTag(tag *Tag) Diagnostic {
	return problem(tag.Pos, codeUnusedTag, "tag %s is not used", tag.Name)
}

func neverInvalidated(tag *Tag) Diagnostic {
	return problem(tag.Pos, codeNeverInvalidated, "no write of this package invalidates tag %s; if others do, or you do it by hand, declare it external", tag.Name)
}

func nothingDepends(t *Target) Diagnostic {
	return problem(t.Pos, codeNeverRead, "no read of this package depends on tag %s, and other packages cannot see it", t.Tag.Name).
		with(t.Tag.Pos, "%s is declared here", t.Tag.Name)
}

func tagNamedLikeRead(pos Pos, what, other string, at Pos) Diagnostic {
	return problem(pos, codeTagNamedLikeRead, "%s has the name of a %s of this package, so an item could mean either", what, other).
		with(at, "the %s is declared here", other)
}

// Repositories and their methods.

func genericRepository(pos Pos, name string) Diagnostic {
	return problem(pos, codeGeneric, "%s is generic; annotate an interface that embeds an instance of it, like %s[int64, User]", name, name)
}

func constraintInterface(pos Pos, name string) Diagnostic {
	return problem(pos, codeConstraint, "%s is a type constraint, which cannot be a repository", name)
}

func noRepository(pos Pos, name string) Diagnostic {
	return problem(pos, codeNoRepository, "%s has no cache:repository, and no annotated interface of this package embeds it", name)
}

func noRole(m *method) Diagnostic {
	if !m.via.valid() {
		return problem(m.pos(), codeNoRole, "method %s has no role; annotate it with cache:read, cache:write or cache:bypass", m.fn.Name())
	}
	d := problem(m.pos(), codeNoRole, "embedded method %s has no role; declare it again in %s with cache:read, cache:write or cache:bypass",
		m.fn.Name(), m.repo.iface.Name)
	d.Related = m.related()
	return d
}

func severalRoles(st, first *Statement) Diagnostic {
	return problem(st.Pos, codeSeveralRoles, "a method is either read, write or bypass; this one is cache:%s already", first.Verb).
		with(first.Pos, "cache:%s stands here", first.Verb)
}

func wrongRole(st *Statement, spec *Directive, role *Statement) Diagnostic {
	return problem(st.Pos, codeWrongRole, "cache:%s stands with cache:%s, and this method is cache:%s", st.Verb, spec.Role, role.Verb).
		with(role.Pos, "cache:%s stands here", role.Verb)
}

func annotatedTwice(pos Pos, name, repository string, first, second Pos) Diagnostic {
	return problem(pos, codeSeveralRoles, "method %s is annotated in two embedded interfaces; declare it again in %s", name, repository).
		with(first, "annotated here").with(second, "and here")
}

func unexportedMethod(pos Pos, name, path string) Diagnostic {
	return problem(pos, codeUnexportedMethod, "method %s is not exported by package %s, so no wrapper can have it", name, path)
}

func unnameableType(pos Pos, method, name, path string) Diagnostic {
	return problem(pos, codeUnexportedMethod, "method %s has type %s of package %s in its signature, which cannot be named here, so no wrapper can have it", method, name, path)
}

func nameCollision(pos Pos, name, what, other string, at Pos) Diagnostic {
	return problem(pos, codeNameCollision, "%s: %s collides with %s", name, what, other).
		with(at, "%s is here", other)
}

func hidesPredeclared(pos Pos, name string) Diagnostic {
	return problem(pos, codeNameCollision, "this declaration hides the predeclared %s, which generated code needs; rename it", name)
}

func invalidTypeAt(pos Pos, typ string) Diagnostic {
	return problem(pos, codeInvalidType, "%s is not a valid type", short(typ))
}

func invalidSignature(d Diagnostic) Diagnostic {
	d.Code = codeInvalidType
	return d
}

func unknownParameter(name piece, method, near string) Diagnostic {
	return problem(name.pos, codeUnknownParameter, "%s has no parameter %s%s", method, short(name.text), hint(near))
}

// Expressions.

func invalidExpression(pos Pos, msg, near string) Diagnostic {
	return problem(pos, codeInvalidExpression, "%s%s", strings.ReplaceAll(msg, "\n\t", "; "), hint(near))
}

// undefinedPackage is the problem of a name that looks like that of a package.
// path is the import path if the name is a well-known one, else "".
func undefinedPackage(pos Pos, name, path string) Diagnostic {
	if path == "" {
		return problem(pos, codeInvalidExpression, "undefined: %s; if it is a package, bring it into scope with //cache:import %s \"path\"", name, name)
	}
	return problem(pos, codeInvalidExpression, "undefined: %s; bring the package into scope with //cache:import %s %q", name, name, path)
}

func functionLiteral(pos Pos) Diagnostic {
	return problem(pos, codeInvalidExpression, "a function literal cannot stand in a directive; declare a function and call it")
}

func notAValue(pos Pos, text, what string) Diagnostic {
	return problem(pos, codeInvalidExpression, "%s is %s, not a value", short(text), what)
}

func wrongType(text piece, got, want string) Diagnostic {
	return problem(text.pos, codeWrongType, "%s is %s; it must be %s", short(text.text), got, want)
}

func wildcardHere(pos Pos) Diagnostic {
	return problem(pos, codeWildcard, "[*] stands in the items of depends, invalidates and reload only")
}

func notACollection(pos Pos, text, typ string) Diagnostic {
	return problem(pos, codeNotCollection, "%s is %s, which has no elements; [*] follows a slice, an array or a map", short(text), typ)
}

func resultUnavailable(pos Pos, why string) Diagnostic {
	return problem(pos, codeResultUnavailable, "there is no result here: %s", why)
}

func notConstant(pos Pos, name string) Diagnostic {
	return problem(pos, codeResultUnavailable, "%s is not known here: the error is the same for every call", name)
}

func errorResult(pos Pos) Diagnostic {
	return problem(pos, codeErrorResult, "the error is always nil here: nothing is evaluated for a call that failed")
}

func shadowedResult(pos Pos, what string, at Pos) Diagnostic {
	return problem(pos, codeShadowedResult, "result means the result of the method, but %s has that name; rename it", what).
		with(at, "called result here")
}

func usesIgnored(pos Pos, name string, key bool) Diagnostic {
	if key {
		return problem(pos, codeIgnored, "%s is ignored, so it cannot be part of the key", name)
	}
	return problem(pos, codeIgnored, "%s is ignored, so an entry serves calls with any %s and cannot depend on it", name, name)
}

func ignoresContext(name piece) Diagnostic {
	return problem(name.pos, codeIgnored, "the context %s is never part of the key; no need to ignore it", name.text)
}

func typeParameter(pos Pos, name string) Diagnostic {
	return problem(pos, codeTypeParameter, "%s is a type parameter, which a directive cannot mention", name)
}

// Items.

func unknownTarget(name piece, repository string, other *method, verb, near string) Diagnostic {
	wanted, allowed := "tag or read", "tags and reads"
	if verb == "reload" {
		wanted, allowed = "read", "reads"
	}
	if other != nil {
		return problem(name.pos, codeUnknownTarget, "%s is a %s; only %s can stand here%s", name.text, other.model.Role, allowed, hint(near))
	}
	return problem(name.pos, codeUnknownTarget, "unknown %s of %s: %s%s", wanted, repository, name.text, hint(near))
}

func unknownTag(it item, near string) Diagnostic {
	return problem(it.name.pos, codeUnknownTarget, "package %s has no tag %s%s", it.qual.text, it.name.text, hint(near))
}

func batchTarget(name piece, batch *parsed) Diagnostic {
	single := ""
	if len(batch.items) > 0 {
		single = "; name " + batch.items[0].name.text
	}
	return problem(name.pos, codeUnknownTarget, "%s is a batch, whose entries are those of the read of one%s", name.text, single)
}

func argumentCount(it item, pos Pos, params []targetParam, what string, names types.Qualifier, reload bool) Diagnostic {
	var list []string
	for _, p := range params {
		typ := types.TypeString(p.typ, names)
		if p.variadic {
			typ = "..." + strings.TrimPrefix(typ, "[]")
		}
		list = append(list, strings.TrimSpace(p.name+" "+typ))
	}
	h := ""
	if !it.parens && !reload {
		h = "; for all of them write " + allOf(it.head().text, len(params))
	}
	word := "few"
	if len(it.args) > len(params) {
		word = "many"
	}
	return problem(pos, codeWrongCount, "too %s arguments for %s(%s)%s", word, what, strings.Join(list, ", "), h)
}

// orAll offers the item for every entry of a read that a target names, if there is
// such an item.
func (t *Target) orAll() string {
	n := len(t.params())
	if n == 0 {
		return ""
	}
	return ", or write " + allOf(t.Read.Name, n)
}

// allOf returns the item for every instance of a tag or every entry of a read, which
// has n parameters.
func allOf(name string, n int) string {
	return name + "(" + strings.Repeat("*, ", n-1) + "*)"
}

func contextGiven(pos Pos, name, what string) Diagnostic {
	return problem(pos, codeWrongCount, "leave the context %s out: it is not a parameter of %s here", name, what)
}

func spreadHere(pos Pos, what string) Diagnostic {
	return problem(pos, codeWrongCount, "... has no variadic parameter of %s to go to", what)
}

func anyAmongVariadic(pos Pos, param string) Diagnostic {
	return problem(pos, codeWildcard, "* stands for all of %s; give it alone or give every element", param)
}

func anyInReload(pos Pos) Diagnostic {
	return problem(pos, codeReload, "a reload needs every argument: * does not say which entry to load")
}

func reloadTag(name piece) Diagnostic {
	return problem(name.pos, codeReload, "%s is a tag; only a read can be reloaded", name.text)
}

// needsContext is the problem of an item that, without a context, would mean the
// entry of those who have none.
func needsContext(t *Target, method string, x *Expr) Diagnostic {
	return problem(t.Pos, codeNeedsContext, "the key of %s needs a context, which %s does not have; give it one%s", t.Read.Name, method, t.orAll()).
		with(x.Pos, "the context is used here")
}

func partialElsewhere(pos Pos, what, path string) Diagnostic {
	return problem(pos, codePartial, "%s belongs to package %s; here either all or none of its arguments can be *", what, path)
}

func tooManyForPartial(pos Pos, what string, n int) Diagnostic {
	return problem(pos, codePartial, "%s has %d parts; with more than %d, either all or none of its arguments can be *", what, n, maxPartial)
}

// Reads.

func noTTL(m *method) Diagnostic {
	return problem(m.dirs.role.Pos, codeNoTTL, "read %s has no lifetime; give it a ttl, or its repository: ttl=10m, or ttl=forever", m.fn.Name())
}

func readResults(m *method) Diagnostic {
	return problem(m.pos(), codeReadResults, "read %s must return one value, or a value and an error", m.fn.Name())
}

// tagNotInKey names the key's own expression of the parameter, if it has one.
func tagNotInKey(pos Pos, text, name string, context bool, inKey string) Diagnostic {
	const why = "so calls with different tags would share an entry"
	switch {
	case inKey != "" && context:
		return problem(pos, codeTagNotInKey, "the key has only %s of %s, %s; vary by %s as well", inKey, name, why, text)
	case context:
		return problem(pos, codeTagNotInKey, "%s is not part of the key, %s; add //cache:vary %s", text, why, text)
	case inKey == "":
		return problem(pos, codeTagNotInKey, "%s is not part of the key, %s; add %s to the key", name, why, name)
	}
	return problem(pos, codeTagNotInKey, "the key has only %s of %s, %s; write %s here as well, or add %s to the key", inKey, name, why, inKey, name)
}

// readTagNotInKey is the same for the tag of a read whose key needs the context.
func readTagNotInKey(t *Target, method string, x *Expr) Diagnostic {
	return problem(t.Pos, codeTagNotInKey, "the key of %s has %s, that of %s has not, so calls with different tags would share an entry; vary by it%s",
		t.Read.Name, x.Text, method, t.orAll()).
		with(x.Pos, "the context is used here")
}

func notInKey(pos Pos, index int, name string, at Pos) Diagnostic {
	if name == "" || name == "_" {
		return problem(pos, codeNotInKey, "parameter %d has no name and is not in the key; name it and add or ignore it", index+1).
			with(at, "declared here")
	}
	return problem(pos, codeNotInKey, "parameter %s is not in the key; add it, or ignore it with //cache:ignore %s", name, name).
		with(at, "%s is declared here", name)
}

// invalidPart is the problem of a part of a type that the type checker could
// not make sense of.
func invalidPart(pos Pos, path string) Diagnostic {
	return problem(pos, codeInvalidType, "%s has no valid type", path)
}

func notKeyable(pos Pos, err *planError, names types.Qualifier) Diagnostic {
	if invalidType(err.typ) {
		return invalidPart(pos, err.path)
	}
	why := err.reason
	if why == "" {
		why = "cannot be part of a key"
	}
	if types.IsInterface(err.typ) {
		why += "; an interface needs one of the standard marshalers, such as encoding.TextMarshaler"
	}
	return problem(pos, codeNotKeyable, "%s %s", err.describe(names), why)
}

// paramNotKeyable is the problem of a parameter that is part of a key by default.
func paramNotKeyable(pos Pos, name string, err *planError, names types.Qualifier) Diagnostic {
	d := notKeyable(pos, err, names)
	switch {
	case d.Code != codeNotKeyable:
	case name == "" || name == "_":
		d.Message += "; name it, and leave it out with //cache:ignore or choose the key with //cache:key"
	default:
		d.Message += fmt.Sprintf("; leave it out with //cache:ignore %s, or choose the key with //cache:key", name)
	}
	return d
}

func notEncodable(pos Pos, err *planError, names types.Qualifier) Diagnostic {
	if invalidType(err.typ) {
		return invalidPart(pos, err.path)
	}
	why := err.reason
	if why == "" {
		why = "cannot be encoded"
	}
	wayOut := "give its type the methods MarshalBinary and UnmarshalBinary, or the read codec=json or codec=gob"
	switch err.typ.Underlying().(type) {
	case *types.Chan, *types.Signature, *types.Basic:
		wayOut = "leave it out of the result, or make the method a cache:bypass"
	case *types.Interface:
		wayOut = "return a concrete type, or give the read codec=json or codec=gob"
	case *types.Struct:
		if err.reason != "" && err.reason != blankFields {
			wayOut = "give a type around it the methods MarshalBinary and UnmarshalBinary, or the read codec=json or codec=gob"
		}
	}
	return problem(pos, codeNotEncodable, "%s %s; %s", err.describe(names), why, wayOut)
}

func needsError(pos Pos, what, method string) Diagnostic {
	return problem(pos, codeNeedsError, "%s needs a method that returns an error, which %s does not", what, method)
}

func negativeNil(pos Pos, method, typ string) Diagnostic {
	return problem(pos, codeNegativeNil, "negative nil needs a pointer result; %s returns %s", method, typ)
}

func negativeTTL(text piece) Diagnostic {
	return problem(text.pos, codeNegativeTTL, "the read's ttl is computed from a result, which a negative entry has not; give it its own: %s ttl=30s", short(text.text))
}

func softAfterHard(pos Pos) Diagnostic {
	return problem(pos, codeConflict, "soft must be shorter than hard, at which callers get the stale value anyway")
}

// softInVain is the problem of a method with soft whose entries, those of the read
// single, are never stale.
func softInVain(pos Pos, m, single *method) Diagnostic {
	ttl, _, _ := single.readOptions().option("ttl")
	switch {
	case single.model.Read.TTL.Forever:
		return foreverWith(pos, "soft", ttl.name.pos)
	case single != m:
		return problem(pos, codeConflict, "soft has no effect: read %s keeps no stale value to answer with; give it stale=1h", single.fn.Name())
	}
	return problem(pos, codeConflict, "soft has no effect: there is no stale value to answer with; add stale=1h")
}

func foreverWith(pos Pos, option string, ttl Pos) Diagnostic {
	return problem(pos, codeConflict, "%s has no effect: an entry with ttl=forever does not expire", option).
		with(ttl, "ttl stands here")
}

func refreshOfShared(pos Pos, param string, at Pos) Diagnostic {
	param = orUnnamed(param)
	return problem(pos, codeConflict, "refresh would load in the background while the caller may change what %s refers to; pass it by value, or write refresh=off", param).
		with(at, "%s is declared here", param)
}

func neverStale(m *method) Diagnostic {
	return problem(m.dirs.role.Pos, codeNeverStale, "read %s is cached forever, and no write of this package invalidates it; give it a finite ttl", m.fn.Name())
}

func resultTags(t *Target, what string, at Pos) Diagnostic {
	return problem(t.Pos, codeResultTags, "all tags come from the result, so no write could invalidate %s; depend on a tag known before the call, too", what).
		with(at, "%s is possible because of this", what)
}

func dependsOnUnwritten(t *Target) Diagnostic {
	return problem(t.Pos, codeNeverInvalidated, "no write invalidates read %s by name, so this never makes an entry stale; depend on the tags of %s instead", t.Read.Name, t.Read.Name)
}

// Batches.

func badBatch(pos Pos, why string) Diagnostic {
	return problem(pos, codeBadBatch, "%s", why)
}

func batchUnknown(name piece, near string) Diagnostic {
	return problem(name.pos, codeUnknownTarget, "%s is not a read of this repository%s", name.text, hint(near))
}

func batchShape(pos Pos, key, value string) Diagnostic {
	return problem(pos, codeBadBatch, "a batch returns map[%s]%s, or []%s with by=", key, value, value)
}

func batchNoField(name piece, typ, near string) Diagnostic {
	return problem(name.pos, codeBadBatch, "%s has no field or method %s%s", typ, name.text, hint(near))
}

// batchWithoutParam is the problem of a read of one whose policy needs what a
// batch has not.
func batchWithoutParam(read piece, param string, x *Expr) Diagnostic {
	return problem(read.pos, codeBadBatch, "a batch of %s has no %s, which %s ignores, but would need it for %s", read.text, param, read.text, short(x.Text)).
		with(x.Pos, "%s is used here", param)
}

// batchWithoutContext is the same for the context, in place of which the batch
// would use one that knows nothing.
func batchWithoutContext(read piece, batch string, x *Expr) Diagnostic {
	return problem(read.pos, codeBadBatch, "a batch of %s needs a context, which %s does not have, for %s", read.text, batch, short(x.Text)).
		with(x.Pos, "the context is used here")
}

func batchConflict(pos Pos, what string) Diagnostic {
	return problem(pos, codeConflict, "a batch takes %s from the read of one, whose entries it shares", what)
}

// Writes.

func noInvalidates(pos Pos, name string) Diagnostic {
	return problem(pos, codeNoInvalidates, "write %s invalidates nothing; say what with cache:invalidates, or make it a cache:bypass", name)
}

// Files.

// SyntaxError is the diagnostic for a Go file that the Go parser does not
// accept.
func SyntaxError(pos Pos, msg string) Diagnostic { return syntaxError(pos, msg) }

// Stale is the diagnostic for a generated file that is out of date: missing,
// or, with unneeded, of a package without annotations.
func Stale(path string, missing, unneeded bool) Diagnostic {
	pos := Pos{File: path, Line: 1, Col: 1, EndCol: 1}
	switch {
	case unneeded:
		return problem(pos, codeStale, "nothing in the package is annotated any more; run cachegen to remove this file")
	case missing:
		return problem(pos, codeStale, "the generated file is missing; run cachegen")
	}
	return problem(pos, codeStale, "the generated file is out of date; run cachegen")
}
