package annotations

import (
	"go/token"
	"slices"
)

// checkTagsInKey checks that calls which share an entry depend on the same
// tags. An entry carries the tags of the call that loaded it: if another call
// with the same key meant other tags, what invalidates those would not reach
// the entry. So a tag may use a parameter only as the key does: whole, if the
// parameter is a part of the key itself, else in one of the key's expressions.
func (c *checker) checkTagsInKey(m *method) {
	parts := slices.Concat(m.model.Read.Vary, m.model.Read.Key)
	whole := map[int]bool{}
	var texts [][]tokenAt
	for _, part := range parts {
		if x := part.Expr; len(x.Parts) == 1 && x.Parts[0].Kind == PartParam {
			whole[x.Parts[0].Index] = true
		} else {
			texts = append(texts, tokenize(x.Text).tokens)
		}
	}
	check := func(x *Expr) {
		if x == nil {
			return
		}
		left := without(tokenize(x.Text).tokens, texts)
		for _, i := range x.UsesParams {
			if name := m.model.nameInScope(i); !whole[i] && mentions(left, name) {
				c.report(tagNotInKey(x.Pos, x.Text, name, i == m.model.Context, keyExprOf(parts, i)))
				return
			}
		}
	}
	for _, t := range m.model.Read.Depends {
		for _, arg := range t.Args {
			check(arg)
		}
		for _, each := range t.Each {
			check(each.Base)
		}
		// What the tag of a read is made of are arguments, and perhaps the context.
		for _, x := range t.contextParts() {
			ctx := m.model.nameInScope(m.model.Context)
			if mentions(without(t.inScope(x, ctx), texts), ctx) {
				c.report(readTagNotInKey(t, m.fn.Name(), x))
				break
			}
		}
	}
}

// inScope returns a part of the key of a target's read as the method that names the
// read would write it: with its arguments, and its name for the context.
func (t *Target) inScope(part *Expr, ctx string) []tokenAt {
	read, args := t.Read, t.Args
	given := map[string][]tokenAt{read.nameInScope(read.Context): tokenize(ctx).tokens}
	for i, p := range read.Params {
		if i == read.Context || p.Ignored || len(args) == 0 {
			continue
		}
		if args[0] != nil {
			given[p.Name] = tokenize(args[0].Text).tokens
		}
		args = args[1:]
	}
	var tokens []tokenAt
	selector := false
	for _, t := range tokenize(part.Text).tokens {
		if text, ok := given[t.lit]; ok && !selector {
			tokens = append(tokens, text...)
		} else {
			tokens = append(tokens, t)
		}
		selector = t.tok == token.PERIOD
	}
	return tokens
}

// without returns tokens without the runs of them that are one of the texts and
// an operand of their own.
func without(tokens []tokenAt, texts [][]tokenAt) []tokenAt {
	var left []tokenAt
	for len(tokens) > 0 {
		n := 0
		selector := len(left) > 0 && left[len(left)-1].tok == token.PERIOD
		for _, text := range texts {
			if !selector && len(text) > n && startsWith(tokens, text) && (len(text) == len(tokens) && len(left) == 0 || isOperand(text)) {
				n = len(text)
			}
		}
		if n == 0 {
			left = append(left, tokens[0])
			n = 1
		}
		tokens = tokens[n:]
	}
	return left
}

func startsWith(tokens, text []tokenAt) bool {
	return len(tokens) >= len(text) && slices.EqualFunc(tokens[:len(text)], text, func(a, b tokenAt) bool { return a.lit == b.lit })
}

// isOperand reports whether an expression stands together whatever is written
// next to it: it has no operator outside of brackets.
func isOperand(tokens []tokenAt) bool {
	depth := 0
	for _, t := range tokens {
		switch {
		case t.tok == token.LPAREN || t.tok == token.LBRACK || t.tok == token.LBRACE:
			depth++
		case t.tok == token.RPAREN || t.tok == token.RBRACK || t.tok == token.RBRACE:
			depth--
		case depth == 0 && t.tok.IsOperator() && t.tok != token.PERIOD:
			return false
		}
	}
	return true
}

// mentions reports whether a name stands among tokens other than as that of a
// field or method.
func mentions(tokens []tokenAt, name string) bool {
	for i, t := range tokens {
		if t.tok == token.IDENT && t.lit == name && (i == 0 || tokens[i-1].tok != token.PERIOD) {
			return true
		}
	}
	return false
}

// keyExprOf returns the text of a key part that uses a parameter, "" if none
// does.
func keyExprOf(parts []*KeyPart, param int) string {
	for _, part := range parts {
		if slices.Contains(part.Expr.UsesParams, param) {
			return part.Expr.Text
		}
	}
	return ""
}
