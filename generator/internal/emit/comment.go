package emit

import (
	"strings"
	"unicode/utf8"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// comment writes the lines of a comment.
func comment(out *jen.File, lines []string) {
	for _, line := range lines {
		out.Comment(line)
	}
}

// docOf returns the comment of a method: the user's own, then the policy, which
// is worded to follow the method's name.
func docOf(m *annotations.Method, policy string) []string {
	if m.Doc == "" {
		return prose(m.Name + " " + policy)
	}
	policy = annotations.UpperFirst(strings.TrimPrefix(policy, "is "))
	return append(append(verbatim(m.Doc), "//"), prose(policy)...)
}

// verbatim returns a text as a comment, line by line.
func verbatim(text string) []string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		lines = append(lines, strings.TrimRight("// "+line, " \t"))
	}
	return lines
}

// proseWidth is the most columns of a line of prose, unless a word takes more.
const proseWidth = 80

// prose returns a paragraph as a comment.
func prose(text string) []string {
	var lines []string
	line := "//"
	for _, word := range strings.Fields(text) {
		if line != "//" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > proseWidth {
			lines = append(lines, line)
			line = "//"
		}
		line += " " + strings.ReplaceAll(word, unbroken, " ")
	}
	return append(lines, line)
}

// unbroken is a space at which prose does not begin a new line.
const unbroken = "\x00"

// code returns a piece of code that is to stay on one line of prose.
func code(text string) string { return strings.Join(strings.Fields(text), unbroken) }
