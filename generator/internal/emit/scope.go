package emit

import (
	"go/token"
	"go/types"
	"strconv"
	"strings"
	"unicode"

	"github.com/cachegen/cachegen/annotations"
)

// A scope is a set of names that are in use.
type scope map[string]bool

func (s scope) add(name string) {
	if name != "" && name != "_" {
		s[name] = true
	}
}

// pick returns want, or want with the smallest number behind it that makes it
// new, and takes it.
func (s scope) pick(want string) string {
	name := want
	for i := 2; s[name] || reserved(name); i++ {
		name = want + strconv.Itoa(i)
	}
	s[name] = true
	return name
}

// keep takes a name if it is new, else it returns "".
func (s scope) keep(name string) string {
	if name == "" || s[name] || reserved(name) {
		return ""
	}
	s[name] = true
	return name
}

// without returns a scope in which the given names may be used again.
func (s scope) without(names []string) scope {
	c := s.inner()
	for _, name := range names {
		delete(c, name)
	}
	return c
}

// pickMember is pick for a field or method, which may be named like what is
// predeclared. In place of a keyword, or of a name that is taken, it takes the
// word with what behind it.
func (s scope) pickMember(want, what string) string {
	if token.IsKeyword(want) || s[want] {
		want += what
	}
	if !s[want] {
		s[want] = true
		return want
	}
	return s.pick(want)
}

// pickIndex takes a name for an index.
func (s scope) pickIndex() string { return s.pickOf("i", "j", "k") }

// pickOf takes the first of the names that is new, or the first with a number.
func (s scope) pickOf(names ...string) string {
	for _, name := range names {
		if name := s.keep(name); name != "" {
			return name
		}
	}
	return s.pick(names[0])
}

// inner returns a scope in which every name of s is in use too.
func (s scope) inner() scope {
	c := make(scope, len(s)+8)
	for name := range s {
		c[name] = true
	}
	return c
}

// reserved reports whether a name means something in every Go file: keywords
// and the predeclared identifiers, which generated code relies on.
func reserved(name string) bool {
	return token.IsKeyword(name) || types.Universe.Lookup(name) != nil || name == "_" || name == "init"
}

// lowerFirst returns name as an unexported Go name: ID → id, URLOf → urlOf,
// ByAuthor → byAuthor.
func lowerFirst(name string) string {
	runes := []rune(name)
	n := 0
	for n < len(runes) && unicode.IsUpper(runes[n]) {
		n++
	}
	switch {
	case n == 0:
		return name
	case n > 1 && n < len(runes):
		n-- // the last capital begins the next word
	}
	return strings.ToLower(string(runes[:n])) + string(runes[n:])
}

// inExportOf returns prefix+name with the export status of like: the manual
// invalidation of an unexported read is unexported too.
func inExportOf(like, prefix, name string) string {
	if token.IsExported(like) {
		return annotations.UpperFirst(prefix) + annotations.UpperFirst(name)
	}
	return lowerFirst(prefix) + annotations.UpperFirst(name)
}

// wordOf returns a parameter's name as a word inside a longer name.
func wordOf(name string) string {
	switch name {
	case "id", "ip", "url", "uri":
		return strings.ToUpper(name)
	case "ids":
		return "IDs"
	}
	return annotations.UpperFirst(name)
}
