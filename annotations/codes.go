package annotations

// The codes of diagnostics.
const (
	codeBadBatch           = "bad-batch"
	codeBadDuration        = "bad-duration"
	codeBadName            = "bad-name"
	codeBadPercent         = "bad-percent"
	codeBadTag             = "bad-tag"
	codeBadValue           = "bad-value"
	codeConflict           = "conflict"
	codeConstraint         = "constraint-interface"
	codeDetached           = "detached"
	codeDuplicate          = "duplicate"
	codeErrorResult        = "error-result"
	codeGeneric            = "generic-repository"
	codeIgnored            = "ignored-parameter"
	codeImportCycle        = "import-cycle"
	codeInvalidExpression  = "invalid-expression"
	codeInvalidType        = "invalid-type"
	codeMalformed          = "malformed-directive"
	codeMisplaced          = "misplaced"
	codeMissingArgument    = "missing-argument"
	codeNameCollision      = "name-collision"
	codeNeedsContext       = "needs-context"
	codeNeedsError         = "needs-error"
	codeNegativeNil        = "negative-nil"
	codeNegativeTTL        = "negative-ttl"
	codeNeverInvalidated   = "never-invalidated"
	codeNeverRead          = "never-read"
	codeNeverStale         = "never-stale"
	codeNoInvalidates      = "no-invalidates"
	codeNoRepository       = "no-repository"
	codeNoRole             = "no-role"
	codeNoTTL              = "no-ttl"
	codeNotCollection      = "not-a-collection"
	codeNotEncodable       = "not-encodable"
	codeNotExported        = "not-exported"
	codeNotInKey           = "not-in-key"
	codeNotKeyable         = "not-keyable"
	codePartial            = "partial-tag"
	codeReadResults        = "read-results"
	codeReload             = "bad-reload"
	codeResultTags         = "result-tags"
	codeResultUnavailable  = "result-unavailable"
	codeSeveralRoles       = "several-roles"
	codeShadowedResult     = "shadowed-result"
	codeStale              = "stale-file"
	codeSyntax             = "syntax"
	codeTagNamedLikeRead   = "tag-named-like-read"
	codeTagNotInKey        = "tag-not-in-key"
	codeTrailing           = "trailing"
	codeTypeParameter      = "type-parameter"
	codeUnexpectedArgument = "unexpected-argument"
	codeUnexportedMethod   = "unexported-method"
	codeUnknownDirective   = "unknown-directive"
	codeUnknownOption      = "unknown-option"
	codeUnknownPackage     = "unknown-package"
	codeUnknownParameter   = "unknown-parameter"
	codeUnknownTarget      = "unknown-target"
	codeUnusedTag          = "unused-tag"
	codeWildcard           = "wildcard"
	codeWrongCount         = "argument-count"
	codeWrongRole          = "wrong-role"
	codeWrongType          = "wrong-type"
)

var codes = []Code{
	{codeWrongCount, "A tag or read is given more or fewer arguments than it has parameters."},
	{codeBadBatch, "A batch does not fit the read of one whose entries it shares: its parameters, its result, or what it could not evaluate."},
	{codeBadDuration, "A duration is not one, or not in range."},
	{codeBadName, "Something that must be a name is not one."},
	{codeBadPercent, "A percentage is not one between 0% and 100%."},
	{codeReload, "Only reads can be reloaded, with all their arguments."},
	{codeBadTag, "A tag's parameter has no name or no type, or is variadic."},
	{codeBadValue, "The value of an option is not one of those it can have."},
	{codeConflict, "Two directives or options cannot stand together."},
	{codeConstraint, "An annotated interface is a type constraint, which has no values."},
	{codeDetached, "A directive belongs to nothing, because a blank line or nothing at all follows it."},
	{codeDuplicate, "A directive, an option or an item is given twice."},
	{codeErrorResult, "An expression mentions the error result, which is always nil there."},
	{codeGeneric, "A generic interface cannot be a repository; embed an instance of it in one."},
	{codeIgnored, "A key or a dependency mentions a parameter that is ignored, or the context is ignored."},
	{codeImportCycle, "Packages would come to import each other through their tags."},
	{codeInvalidExpression, "The Go type checker does not accept an expression."},
	{codeInvalidType, "The Go type checker does not accept a type in an annotated interface or in a tag."},
	{codeMalformed, "A comment is meant to be a directive but is written differently."},
	{codeMisplaced, "A directive stands where it has no meaning."},
	{codeMissingArgument, "A directive or an option has no value."},
	{codeNameCollision, "A generated name is taken."},
	{codeNeedsContext, "An item names a read whose key is made with the context, which the method does not have."},
	{codeNeedsError, "An option or directive needs a method that returns an error."},
	{codeNegativeNil, "A nil result can be remembered only where the result is a pointer."},
	{codeNegativeTTL, "The lifetime of a negative entry is not known, because that of the read depends on the result."},
	{codeNeverInvalidated, "No write invalidates a tag, or a read that others depend on."},
	{codeNeverRead, "A write invalidates a tag on which no read depends."},
	{codeNeverStale, "A read that no write invalidates is cached forever."},
	{codeNoInvalidates, "A write invalidates nothing."},
	{codeNoRepository, "Directives stand in an interface for which nothing is generated."},
	{codeNoRole, "A method of an annotated interface is neither read, write nor bypass."},
	{codeNoTTL, "A read has no lifetime."},
	{codeNotCollection, "[*] follows something without elements."},
	{codeNotEncodable, "A result cannot be written as bytes."},
	{codeNotExported, "A directive uses a name of another package that is not exported, or a package that may not be imported."},
	{codeNotInKey, "A parameter is neither in the key nor ignored."},
	{codeNotKeyable, "A parameter or an expression cannot be part of a key or an argument of a tag."},
	{codePartial, "A tag is used with some arguments * and others not, and has too many of them or belongs to another package."},
	{codeReadResults, "A read returns something else than one value, or a value and an error."},
	{codeResultTags, "All tags of a read come from its result, so that nothing could invalidate an empty one."},
	{codeResultUnavailable, "An expression mentions the result, or a parameter, where there is none."},
	{codeSeveralRoles, "A method has several roles, or is annotated in several embedded interfaces."},
	{codeShadowedResult, "An expression mentions result, but a parameter or another result has that name."},
	{codeStale, "A generated file is missing or out of date, or nothing needs it any more."},
	{codeSyntax, "A directive or a Go file cannot be parsed."},
	{codeTagNamedLikeRead, "A tag has the name of a read of its package."},
	{codeTagNotInKey, "A tag of a read uses a parameter otherwise than its key does, so that calls with different tags would share an entry."},
	{codeTrailing, "A directive stands behind code."},
	{codeTypeParameter, "An expression mentions a type parameter."},
	{codeUnexpectedArgument, "A directive or an option is given something it does not take."},
	{codeUnexportedMethod, "A method of an embedded interface, or a type in its signature, cannot be named outside of its package."},
	{codeUnknownDirective, "There is no such directive."},
	{codeUnknownOption, "The directive has no such option."},
	{codeUnknownPackage, "A package cannot be found, is not in scope, or has no tags."},
	{codeUnknownParameter, "The method has no such parameter."},
	{codeUnknownTarget, "There is no such tag or read."},
	{codeUnusedTag, "A tag is used nowhere in its package, and others cannot see it."},
	{codeWildcard, "A * or [*] stands where it has no meaning."},
	{codeWrongRole, "A directive belongs to methods of another role."},
	{codeWrongType, "An expression has another type than is needed there."},
}
