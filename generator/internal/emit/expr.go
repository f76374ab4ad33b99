package emit

import (
	"go/types"
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
	for _, op := range []string{" ", "\t", "+", "-", "*", "/", "%", "&", "|", "^", "<", ">", "=", "!", "{"} {
		if outside(e, op) {
			return false
		}
	}
	return true
}

// outside reports whether a piece of text occurs in an expression outside of
// all brackets and literals.
func outside(e *annotations.Expr, piece string) bool {
	depth := 0
	var quote byte
	for i := 0; i < len(e.Text); i++ {
		switch b := e.Text[i]; {
		case quote != 0:
			if b == '\\' && quote != '`' {
				i++
			} else if b == quote {
				quote = 0
			}
		case depth == 0 && strings.HasPrefix(e.Text[i:], piece):
			return true
		case b == '"' || b == '\'' || b == '`':
			quote = b
		case b == '(' || b == '[' || b == '{':
			depth++
		case b == ')' || b == ']' || b == '}':
			depth--
		}
	}
	return false
}

// operand returns an expression that can stand next to an operator.
func (v vars) operand(e *annotations.Expr) *jen.Statement {
	if isOperand(e) {
		return v.expr(e)
	}
	return jen.Parens(v.expr(e))
}

// condition returns the expression for a condition.
func (v vars) condition(c *annotations.Condition) *jen.Statement {
	if e, ok := stated(c); ok {
		return v.expr(e)
	}
	operand := v.operand(c.Expr)
	if isNamedBool(c.Expr) {
		operand = jen.Bool().Parens(v.expr(c.Expr))
	}
	if c.Negate {
		return jen.Op("!").Add(operand)
	}
	return operand
}

// stated returns the expression that a condition says must hold, if it needs nothing
// around it.
func stated(c *annotations.Condition) (*annotations.Expr, bool) {
	switch {
	case isNamedBool(c.Expr):
		return nil, false
	case c.Negate:
		return c.Expr.Opposite()
	}
	return c.Expr, true
}

// isNamedBool reports whether a condition has a type of its own, which does not
// go together with bool.
func isNamedBool(e *annotations.Expr) bool {
	basic, ok := types.Unalias(e.Type).(*types.Basic)
	return !ok || basic.Info()&types.IsBoolean == 0
}

// conditions returns the expression for conditions that must all hold.
func (v vars) conditions(list []*annotations.Condition) *jen.Statement {
	if len(list) == 1 {
		return v.condition(list[0])
	}
	var all []jen.Code
	for _, c := range list {
		e, ok := stated(c)
		if ok && outside(e, "||") {
			all = append(all, jen.Parens(v.expr(e)))
		} else {
			all = append(all, v.condition(c))
		}
	}
	return join(all, "&&")
}
