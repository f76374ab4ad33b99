package emit

import (
	"strings"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// vars are the names under which an expression's parameters, results and loop
// elements are known where it is written.
type vars struct {
	params  []string
	results []string
	elems   []string
}

// expr returns an expression of the user's under the names of v.
func (v vars) expr(e *annotations.Expr) *jen.Statement {
	s := jen.Empty()
	for _, part := range e.Parts {
		switch part.Kind {
		case annotations.PartText:
			s.Op(part.Text)
		case annotations.PartParam:
			s.Id(v.params[part.Index])
		case annotations.PartResult:
			s.Id(v.results[part.Index])
		case annotations.PartElem:
			s.Id(v.elems[part.Index])
		case annotations.PartQual:
			s.Qual(part.Pkg, part.Text)
		}
	}
	return s
}

// isOperand reports whether an expression needs no parentheses next to an
// operator: a name, a selection, an index or a call.
func isOperand(e *annotations.Expr) bool {
	depth := 0
	for _, r := range e.Text {
		switch {
		case r == '(' || r == '[':
			depth++
		case r == ')' || r == ']':
			depth--
		case depth == 0 && strings.ContainsRune(" \t+-*/%&|^<>=!{}\"`'", r):
			return false
		}
	}
	return true
}

// operand returns an expression that can stand next to an operator.
func (v vars) operand(e *annotations.Expr) *jen.Statement {
	if isOperand(e) {
		return v.expr(e)
	}
	return jen.Parens(v.expr(e))
}
