package annotations

import (
	"go/token"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A piece is a part of a directive's text with its place.
type piece struct {
	text string
	pos  Pos
}

// sub cuts a piece out of a piece, without surrounding space.
func (p piece) sub(from, to int) piece {
	text := p.text[from:to]
	trimmed := strings.TrimLeftFunc(text, unicode.IsSpace)
	from += len(text) - len(trimmed)
	trimmed = strings.TrimRightFunc(trimmed, unicode.IsSpace)
	return piece{trimmed, p.pos.sub(from, len(trimmed))}
}

// parsed is a directive in its grammatical parts; which of them are set depends
// on the form of its arguments. Nothing in it is resolved yet.
type parsed struct {
	*Statement
	spec *Directive // nil for an unknown verb
	bad  bool       // there was something to report

	options []optionText
	name    piece   // of a tag or an import
	params  piece   // of a tag, with parentheses; empty without
	path    piece   // of an import, unquoted
	exprs   []piece // expressions or names
	items   []item
}

// An optionText is an option as written.
type optionText struct {
	name  piece
	value piece // empty for a flag
}

// option returns the option of that name, nil if it is not given.
func (p *parsed) option(name string) *optionText {
	if p == nil {
		return nil
	}
	for i := range p.options {
		if p.options[i].name.text == name {
			return &p.options[i]
		}
	}
	return nil
}

// An item is a tag or a read with arguments.
type item struct {
	piece
	qual, name piece // qual is empty for a name without package
	parens     bool  // arguments were given, if only ()
	args       []argument
	spread     bool // the last argument is followed by ...
}

// head is the name of the item as written, with its package.
func (it item) head() piece {
	if it.qual.text == "" {
		return it.name
	}
	return piece{it.qual.text + "." + it.name.text, it.qual.pos.to(it.name.pos)}
}

// to returns the span from p to q on one line.
func (p Pos) to(q Pos) Pos {
	p.EndCol = q.EndCol
	return p
}

// An argument is an argument of an item.
type argument struct {
	piece
	any bool // is *
}

// parse splits a directive into its parts and reports what does not follow the
// grammar.
func parse(st *Statement, report func(Diagnostic)) *parsed {
	p := &parsed{Statement: st, spec: directive(st.Verb)}
	sink := report
	report = func(d Diagnostic) {
		p.bad = true
		sink(d)
	}
	if p.spec == nil {
		if verb, rest := cutVerb(st.Verb); rest != "" && directive(verb) != nil {
			report(noSpaceBehindVerb(st, verb))
		} else {
			report(unknownDirective(st))
		}
		return p
	}
	if p.spec.Place&st.Place == 0 {
		report(misplaced(st, p.spec))
		return p
	}
	a := &argParser{parsed: p, piece: piece{st.Args, st.At}, report: report}
	a.parse()
	p.checkValues(report)
	return p
}

// An argParser parses the arguments of one directive.
type argParser struct {
	*parsed
	piece
	report func(Diagnostic)
}

func (a *argParser) parse() {
	if a.text == "" && a.spec.args != argsNone {
		a.report(missingArguments(a.Statement, a.spec))
		return
	}
	switch a.spec.args {
	case argsNone:
		a.parseOptions(a.piece)
	case argsTag:
		a.parseTag()
	case argsImport:
		a.parseImport()
	case argsExprs:
		a.exprs = a.split(a.piece)
	case argsExpr:
		a.exprs = []piece{a.piece}
	case argsExprOptions:
		expr := a.beforeOptions()
		if expr.text == "" {
			a.report(missingArguments(a.Statement, a.spec))
			return
		}
		a.exprs = []piece{expr}
	case argsItems:
		for _, e := range a.split(a.piece) {
			a.parseItem(e)
		}
	case argsItemOptions:
		expr := a.beforeOptions()
		if expr.text == "" {
			a.report(missingArguments(a.Statement, a.spec))
			return
		}
		a.parseItem(expr)
	case argsNames:
		for _, e := range a.split(a.piece) {
			if !token.IsIdentifier(e.text) {
				a.report(notAName(e, "a parameter"))
				continue
			}
			a.exprs = append(a.exprs, e)
		}
	}
}

// parseOptions parses words and word=value pairs separated by space. A value
// in parentheses may contain space.
func (a *argParser) parseOptions(text piece) {
	for off := 0; off < len(text.text); {
		if r, size := utf8.DecodeRuneInString(text.text[off:]); unicode.IsSpace(r) {
			off += size
			continue
		}
		end := wordEnd(text.text, off)
		end = a.valueEnd(text.text, off, end)
		word := text.sub(off, end)
		if rest, ok := strings.CutSuffix(word.text, ","); ok {
			a.report(commaBehindOption(word.pos.sub(len(rest), len(","))))
			word = word.sub(0, len(rest))
		}
		ok := a.parseOption(word)
		off = end
		rest := text.sub(off, len(text.text))
		if value, spaced := strings.CutPrefix(rest.text, "="); spaced {
			// With space around a =, the one problem is the space.
			off = wordEnd(text.text, len(text.text)-len(strings.TrimLeftFunc(value, unicode.IsSpace)))
			if ok {
				a.report(unexpectedText(rest.sub(0, len("=")), a.spec))
			}
		} else if next := wordAfter(text.text, off); strings.HasSuffix(word.text, "=") && !isOption(text.text[off:next]) {
			off = next
		}
	}
}

// valueEnd returns the end of an option that ends at end, or beyond it if its
// value goes on behind a space, as in ttl=10 minutes: if what follows is neither
// an option nor nearly one, the value has one problem instead of two.
func (a *argParser) valueEnd(text string, off, end int) int {
	option, value, _ := strings.Cut(text[off:end], "=")
	if a.spec.option(option) == nil || value == "" || strings.HasSuffix(value, ",") {
		return end
	}
	for {
		next := wordAfter(text, end)
		if next == end || isOption(text[end:next]) || strings.HasPrefix(strings.TrimLeftFunc(text[next:], unicode.IsSpace), "=") {
			return end
		}
		end = next
	}
}

// wordAfter returns the end of the word behind off, off itself if there is none.
func wordAfter(text string, off int) int {
	rest := strings.TrimLeftFunc(text[off:], unicode.IsSpace)
	if rest == "" {
		return off
	}
	return wordEnd(text, len(text)-len(rest))
}

// isOption reports whether a word is or may be meant as an option, of this
// directive or of another to which it was not given.
func isOption(word string) bool {
	name, _ := cutVerb(strings.TrimSpace(word))
	var names []string
	for _, d := range directives {
		for _, o := range d.Options {
			names = append(names, o.Name)
		}
	}
	return strings.Contains(word, "=") || slices.Contains(names, name) || nearest(name, names) != ""
}

// wordEnd returns the end of the option that begins at off.
func wordEnd(text string, off int) int {
	if open := strings.Index(text[off:], "=("); open >= 0 && !strings.ContainsFunc(text[off:off+open], unicode.IsSpace) {
		open += off + 1
		depth := 0
		for _, t := range tokenize(text[open:]).tokens {
			switch t.tok {
			case token.LPAREN:
				depth++
			case token.RPAREN:
				depth--
			}
			if depth == 0 {
				off = open + t.end
				break
			}
		}
		if depth != 0 {
			return len(text)
		}
	}
	if end := strings.IndexFunc(text[off:], unicode.IsSpace); end >= 0 {
		return off + end
	}
	return len(text)
}

// parseOption parses one option and reports whether it is in order, apart from
// the form of its value.
func (a *argParser) parseOption(word piece) bool {
	name, _, hasValue := strings.Cut(word.text, "=")
	opt := optionText{name: word.sub(0, len(name))}
	if hasValue {
		opt.value = word.sub(len(name)+1, len(word.text))
	}
	spec := a.spec.option(name)
	switch {
	case spec == nil && len(a.spec.Options) == 0:
		a.report(unexpectedText(word, a.spec))
	case spec == nil:
		a.report(unknownOption(opt.name, a.spec))
	case a.option(name) != nil:
		a.report(duplicate(opt.name.pos, "option "+name, a.option(name).name.pos))
	case hasValue && spec.value == valueNone:
		a.report(flagWithValue(word.pos, spec))
	case spec.value != valueNone && opt.value.text == "":
		a.report(missingValue(word.pos, spec))
	default:
		a.options = append(a.options, opt)
		return true
	}
	return false
}

// beforeOptions parses the options at the end and returns what stands before.
func (a *argParser) beforeOptions() piece {
	tokens := tokenize(a.text).tokens
	depth := 0
	for i, t := range tokens {
		switch t.tok {
		case token.LPAREN, token.LBRACK, token.LBRACE:
			depth++
		case token.RPAREN, token.RBRACK, token.RBRACE:
			depth--
		case token.ASSIGN:
			// An option is one with space before its = as well, which is reported.
			if depth == 0 && i > 0 && tokens[i-1].tok == token.IDENT && (tokens[i-1].end == t.off || a.spec.option(tokens[i-1].lit) != nil) {
				start := tokens[i-1].off
				a.parseOptions(a.sub(start, len(a.text)))
				return a.sub(0, start)
			}
		}
	}
	return a.piece
}

// parseTag parses name(parameters) external.
func (a *argParser) parseTag() {
	scan := tokenize(a.text)
	if len(scan.tokens) == 0 || scan.tokens[0].tok != token.IDENT || scan.tokens[0].lit == "_" {
		a.report(notAName(a.firstWord(), "the tag's name"))
		return
	}
	a.name = a.sub(0, scan.tokens[0].end)
	rest := a.name.pos.EndCol - a.pos.Col
	if len(scan.tokens) > 1 && scan.tokens[1].tok == token.LPAREN {
		close := closing(scan.tokens, 1)
		if close < 0 {
			a.report(syntaxError(a.pos.sub(scan.tokens[1].off, 1), "this parenthesis is not closed"))
			return
		}
		end := scan.tokens[close].end
		a.params = a.sub(scan.tokens[1].off, end)
		rest = end
	}
	if text := a.sub(rest, len(a.text)); text.text != "" {
		if first := tokenize(text.text).tokens; len(first) > 0 && first[0].tok != token.IDENT {
			a.report(unexpectedText(text, a.spec))
			return
		}
		a.parseOptions(text)
	}
}

// parseImport parses name "path".
func (a *argParser) parseImport() {
	scan := tokenize(a.text)
	tokens := scan.tokens
	if len(tokens) > 0 && (tokens[0].tok == token.IDENT && tokens[0].lit != "_" && len(tokens) > 1) && tokens[1].tok == token.STRING {
		path, err := strconv.Unquote(tokens[1].lit)
		if err == nil && path != "" && !strings.ContainsFunc(path, invalidInPath) {
			if len(tokens) > 2 {
				a.report(unexpectedText(a.sub(tokens[2].off, len(a.text)), a.spec))
				return
			}
			a.name = a.sub(0, tokens[0].end)
			a.path = a.sub(tokens[1].off, tokens[1].end)
			a.path.text = path
			return
		}
	}
	a.report(notAnImport(a.piece, a.spec))
}

// invalidInPath reports whether an import path must not contain the rune.
func invalidInPath(r rune) bool {
	return !unicode.IsGraphic(r) || unicode.IsSpace(r) || strings.ContainsRune("!\"#$%&'()*,:;<=>?[\\]^`{|}\uFFFD", r)
}

func (a *argParser) firstWord() piece {
	end := strings.IndexFunc(a.text, func(r rune) bool { return unicode.IsSpace(r) || r == '(' })
	if end < 0 {
		end = len(a.text)
	}
	return a.sub(0, end)
}

// split cuts a list at its commas and reports brackets that do not match, bad
// tokens and empty elements.
func (a *argParser) split(list piece) []piece {
	scan := tokenize(list.text)
	if len(scan.errs) > 0 {
		e := scan.errs[0]
		a.report(syntaxError(list.pos.sub(min(e.off, max(len(list.text)-1, 0)), 1), e.msg))
		return nil
	}
	var (
		parts []piece
		open  []tokenAt
		start int
		comma = -1
	)
	for _, t := range scan.tokens {
		switch t.tok {
		case token.LPAREN, token.LBRACK, token.LBRACE:
			open = append(open, t)
		case token.RPAREN, token.RBRACK, token.RBRACE:
			if len(open) == 0 || !matches(open[len(open)-1].tok, t.tok) {
				a.report(syntaxError(list.pos.sub(t.off, 1), "unexpected "+t.tok.String()))
				return nil
			}
			open = open[:len(open)-1]
		case token.COMMA:
			if len(open) == 0 {
				parts = append(parts, list.sub(start, t.off))
				start, comma = t.end, t.off
				if parts[len(parts)-1].text == "" {
					a.report(syntaxError(list.pos.sub(t.off, 1), "nothing stands before this comma"))
					return nil
				}
			}
		}
	}
	if len(open) > 0 {
		t := open[len(open)-1]
		a.report(syntaxError(list.pos.sub(t.off, 1), "this "+bracketName(t.tok)+" is not closed"))
		return nil
	}
	last := list.sub(start, len(list.text))
	if last.text == "" {
		if comma >= 0 {
			a.report(syntaxError(list.pos.sub(comma, 1), "nothing stands after this comma"))
		}
		return nil
	}
	return append(parts, last)
}

func matches(open, close token.Token) bool {
	return open == token.LPAREN && close == token.RPAREN ||
		open == token.LBRACK && close == token.RBRACK ||
		open == token.LBRACE && close == token.RBRACE
}

func bracketName(t token.Token) string {
	switch t {
	case token.LBRACK:
		return "bracket"
	case token.LBRACE:
		return "brace"
	}
	return "parenthesis"
}

// closing returns the index of the parenthesis that closes the one at open, -1
// without one.
func closing(tokens []tokenAt, open int) int {
	depth := 0
	for i, t := range tokens[open:] {
		switch t.tok {
		case token.LPAREN:
			depth++
		case token.RPAREN:
			depth--
		}
		if depth == 0 {
			return open + i
		}
	}
	return -1
}

// parseItem parses name(arguments), with or without a package in front.
func (a *argParser) parseItem(text piece) {
	it := item{piece: text}
	tokens := tokenize(text.text).tokens
	next := 0
	take := func(tok token.Token) bool {
		if next < len(tokens) && tokens[next].tok == tok {
			next++
			return true
		}
		return false
	}
	name := func() piece { t := tokens[next-1]; return text.sub(t.off, t.end) }

	if !take(token.IDENT) {
		a.report(notAnItem(text, a.Verb))
		return
	}
	it.name = name()
	if take(token.PERIOD) {
		if !take(token.IDENT) {
			a.report(notAnItem(text, a.Verb))
			return
		}
		it.qual, it.name = it.name, name()
	}
	if next < len(tokens) {
		if !take(token.LPAREN) {
			a.report(notAnItem(text, a.Verb))
			return
		}
		close := closing(tokens, next-1)
		if close < 0 {
			a.report(syntaxError(text.tokenAt(tokens[next-1].off), "this parenthesis is not closed"))
			return
		}
		last := tokens[close]
		if last.end < len(text.text) {
			rest := text.sub(last.end, len(text.text))
			if a.spec.args == argsItemOptions {
				a.report(unexpectedText(rest, a.spec)) // there is one item
			} else {
				a.report(behindItem(rest.tokenAt(0), rest.text))
			}
			return
		}
		it.parens = true
		open := tokens[next-1].end
		inside := piece{text.text[open:last.off], text.pos.sub(open, last.off-open)}
		list := a.split(inside)
		if list == nil && strings.TrimSpace(inside.text) != "" {
			return // reported
		}
		for i, arg := range list {
			if expr, ok := strings.CutSuffix(arg.text, "..."); ok {
				if i < len(list)-1 {
					a.report(syntaxError(arg.pos.sub(len(expr), len("...")), "... stands after the last argument only"))
					return
				}
				it.spread = true
				arg = arg.sub(0, len(expr))
			}
			it.args = append(it.args, argument{arg, arg.text == "*"})
		}
	}
	a.items = append(a.items, it)
}
