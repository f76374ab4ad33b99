package annotations

import (
	"errors"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"unicode"
)

// An expr is an expression that has been parsed and type-checked.
type expr struct {
	piece
	node  ast.Expr
	info  *types.Info
	tv    types.TypeAndValue
	base  int               // position of the first byte
	elems map[ast.Node]span // places of identifiers that stand for elements

	inCode bool // it stands in Go code, not in a directive
}

// A span is a range of bytes in an expression.
type span struct{ from, to int }

// span returns the bytes a node takes.
func (e *expr) span(n ast.Node) span {
	if s, ok := e.elems[n]; ok {
		return s
	}
	return span{int(n.Pos()) - e.base, int(n.End()) - e.base}
}

// at returns the place of a node. An element may be part of the node: then the
// node ends where the element does in the text.
func (e *expr) at(n ast.Node) Pos {
	s := e.span(n)
	s.to = min(max(s.to, s.from+1), len(e.text))
	return e.pos.sub(s.from, max(s.to-s.from, 1))
}

// parseExpr parses an expression that stands in a directive. stars are the
// offsets of the * of every [*] in it, which become _ in the syntax tree. Comments
// become blanks, so that whoever puts the text into other code need not know them.
func (c *checker) parseExpr(text piece, stars []int) (*expr, bool) {
	if scan := tokenize(text.text); len(scan.errs) == 0 { // the parser tells of errors better
		for _, t := range scan.tokens {
			if t.tok == token.COMMENT {
				text.text = text.text[:t.off] + strings.Repeat(" ", t.end-t.off) + text.text[t.end:]
			}
		}
	}
	src := []byte(text.text)
	for _, off := range stars {
		src[off] = '_'
	}
	node, err := parser.ParseExprFrom(c.exprs, "", src, parser.SkipObjectResolution)
	if err != nil {
		var list scanner.ErrorList
		if errors.As(err, &list) && len(list) > 0 {
			c.report(notAnExpression(text, list[0].Pos.Offset, list[0].Msg))
		} else {
			c.report(syntaxError(text.pos, err.Error()))
		}
		return nil, false
	}
	e := &expr{piece: text, node: node, base: c.exprs.File(node.Pos()).Base(), elems: map[ast.Node]span{}}
	ok := true
	ast.Inspect(node, func(n ast.Node) bool {
		if lit, isFunc := n.(*ast.FuncLit); isFunc && ok {
			c.report(functionLiteral(e.at(lit.Type)))
			ok = false
		}
		return ok
	})
	return e, ok
}

// checkNode type-checks a node of an expression. What the type checker knows
// of it is then in e.info; of something that depends on code that does not
// compile, it knows nothing and says nothing either.
func (c *checker) checkNode(s *scope, e *expr, node ast.Expr) bool {
	info := &types.Info{
		Types:      map[ast.Expr]types.TypeAndValue{},
		Uses:       map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	err := types.CheckExpr(c.exprs, s.pkg, s.pos, node, info)
	if err != nil {
		pos, msg := e.pos, err.Error()
		var te types.Error
		if errors.As(err, &te) {
			msg = te.Msg
			if at := int(te.Pos) - e.base; at >= 0 && at < len(e.text) {
				pos = e.tokenAt(at)
			}
		}
		if !c.missingImport(s, msg) {
			c.report(c.explain(s, e, node, info, pos, msg))
		}
		return false
	}
	e.info = info
	return true
}

// missingImport reports whether a message is about a name that a directive of
// this package imports from a package that cannot be found, which is reported
// there.
func (c *checker) missingImport(s *scope, msg string) bool {
	name, ok := strings.CutPrefix(msg, "undefined: ")
	if !ok || !s.unit.own {
		return false
	}
	imp := s.unit.imports[name]
	if imp != nil && imp.pkg == nil {
		c.reportOutOfSight(imp)
		return true
	}
	return s.unit.brokenImports[name]
}

// reportOutOfSight reports, once, that a package which is used cannot be looked
// into.
func (c *checker) reportOutOfSight(imp *directiveImport) {
	if imp.outOfSight {
		imp.outOfSight = false
		c.report(outOfSight(imp.path))
	}
}

// checkValue type-checks a node that must be one value of a valid type.
func (c *checker) checkValue(s *scope, e *expr, node ast.Expr) (types.TypeAndValue, bool) {
	if !c.checkNode(s, e, node) {
		return types.TypeAndValue{}, false
	}
	tv := e.info.Types[node]
	at := e.span(node)
	text := e.text[at.from:at.to]
	if what := notOneValue(tv); what != "" {
		c.report(notAValue(e.at(node), text, what))
		return tv, false
	}
	if invalidType(tv.Type) {
		c.report(invalidPart(e.at(node), short(text)))
		return tv, false
	}
	return tv, true
}

// typeOf returns the type of a node that has been checked, an invalid one if
// the type checker does not know it.
func (e *expr) typeOf(n ast.Expr) types.Type {
	if t := e.info.Types[n].Type; t != nil {
		return t
	}
	return types.Typ[types.Invalid]
}

// tokenAt returns the place of the token at an offset.
func (p piece) tokenAt(off int) Pos {
	for _, t := range tokenize(p.text).tokens {
		if t.off <= off && off < t.end {
			return p.pos.sub(t.off, t.end-t.off)
		}
	}
	return p.pos.sub(off, 1)
}

// explain turns a message of the type checker into a diagnostic, with the
// nearest name where it lacks one.
func (c *checker) explain(s *scope, e *expr, node ast.Expr, info *types.Info, pos Pos, msg string) Diagnostic {
	if rest, ok := strings.CutPrefix(msg, "name "); ok {
		if name, pkg, ok := strings.Cut(rest, " not exported by package "); ok {
			return notExported(pos, name, pkg)
		}
	}
	if sel := e.selectorAt(node, pos); sel != nil {
		if strings.Contains(msg, "but does have ") {
			return invalidExpression(pos, msg, "")
		}
		return invalidExpression(pos, msg, nearest(sel.Sel.Name, c.selectable(sel.X, info)))
	}
	name, ok := strings.CutPrefix(msg, "undefined: ")
	switch {
	case !ok || !token.IsIdentifier(name):
		return invalidExpression(pos, msg, "")
	case name == "result":
		return resultUnavailable(pos, "the method returns nothing but an error")
	}
	qualifies := !e.inCode && s.unit.imports[name] == nil && e.qualifies(node, pos)
	if path := stdPackages[name]; path != "" && qualifies {
		return undefinedPackage(pos, name, path)
	}
	var names []string // those of the method first, the predeclared ones last
	for sc := s.scope; sc != nil; sc = sc.Parent() {
		names = append(names, sc.Names()...)
	}
	near := nearest(name, names)
	if near == "" && qualifies {
		return undefinedPackage(pos, name, "")
	}
	return invalidExpression(pos, msg, near)
}

// stdPackages are the import paths of packages that expressions often need.
var stdPackages = map[string]string{
	"cmp": "cmp", "errors": "errors", "filepath": "path/filepath", "fmt": "fmt", "io": "io", "maps": "maps",
	"math": "math", "path": "path", "slices": "slices", "sort": "sort", "sql": "database/sql", "strconv": "strconv",
	"strings": "strings", "time": "time", "url": "net/url", "utf8": "unicode/utf8",
}

// qualifies reports whether the name at a position stands in front of an
// exported one, as that of a package does.
func (e *expr) qualifies(node ast.Expr, pos Pos) bool {
	found := false
	ast.Inspect(node, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.IsExported() {
			id, ok := sel.X.(*ast.Ident)
			found = found || ok && e.at(id).compare(pos) == 0
		}
		return !found
	})
	return found
}

// selectorAt returns the selector of an expression whose selected name stands at
// a position, nil if none does.
func (e *expr) selectorAt(node ast.Expr, pos Pos) *ast.SelectorExpr {
	var found *ast.SelectorExpr
	ast.Inspect(node, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && e.at(sel.Sel).compare(pos) == 0 {
			found = sel
		}
		return found == nil
	})
	return found
}

// selectable returns the names that may stand behind an operand and a period:
// what a package exports, or the fields and methods of a value.
func (c *checker) selectable(x ast.Expr, info *types.Info) []string {
	if id, ok := x.(*ast.Ident); ok {
		if pkg, ok := info.Uses[id].(*types.PkgName); ok {
			return slices.DeleteFunc(pkg.Imported().Scope().Names(), func(name string) bool { return !exported(name) })
		}
	}
	t := info.Types[x].Type
	if t == nil {
		return nil
	}
	var names []string
	add := func(obj types.Object) {
		if obj.Exported() || obj.Pkg() == nil || obj.Pkg().Path() == c.in.Types.Path() {
			names = append(names, obj.Name())
		}
	}
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	if st, ok := t.Underlying().(*types.Struct); ok {
		for f := range st.Fields() {
			add(f)
		}
	}
	if !types.IsInterface(t) {
		t = types.NewPointer(t)
	}
	for m := range types.NewMethodSet(t).Methods() {
		add(m.Obj())
	}
	return names
}

// checkExpr parses and checks an expression that is a value.
func (c *checker) checkExpr(s *scope, text piece) (*expr, bool) {
	if off := starIndex(text.text); off >= 0 {
		c.report(wildcardHere(text.pos.sub(off, len("*"))))
		return nil, false
	}
	e, ok := c.parseExpr(text, nil)
	if !ok {
		return nil, false
	}
	tv, ok := c.checkValue(s, e, e.node)
	if !ok {
		return nil, false
	}
	e.tv = tv
	e.tv.Type = types.Default(tv.Type)
	return e, true
}

// notOneValue says what an expression is that is not one typed value, "" if it
// is one.
func notOneValue(tv types.TypeAndValue) string {
	switch typ := tv.Type.(type) {
	case *types.Tuple:
		return "a call with several results"
	case *types.Signature:
		if typ.TypeParams().Len() > 0 {
			return "a generic function"
		}
	}
	switch {
	case tv.IsType():
		return "a type"
	case tv.IsBuiltin():
		return "a built-in function"
	case tv.IsVoid():
		return "a call without a result"
	case tv.IsNil():
		return "an untyped nil"
	}
	return ""
}

// starIndex returns the offset of the * of the first [*], -1 without one.
func starIndex(text string) int {
	if stars := stars(text); len(stars) > 0 {
		return stars[0]
	}
	return -1
}

// stars returns the offsets of the * of every [*].
func stars(text string) []int {
	if !strings.Contains(text, "*") {
		return nil
	}
	var offs []int
	tokens := tokenize(text).tokens
	for i := 2; i < len(tokens); i++ {
		if tokens[i-2].tok == token.LBRACK && tokens[i-1].tok == token.MUL && tokens[i].tok == token.RBRACK {
			offs = append(offs, tokens[i-1].off)
		}
	}
	return offs
}

// checkAssignable checks an expression as the argument of a function that takes
// one parameter, so that messages are those of the type checker. what names the
// function in them.
func (c *checker) checkAssignable(s *scope, e *expr, typ types.Type, what string) bool {
	s = s.clone()
	sig := types.NewSignatureType(nil, nil, nil,
		types.NewTuple(types.NewVar(token.NoPos, s.pkg, "", typ)),
		types.NewTuple(types.NewVar(token.NoPos, s.pkg, "", types.Typ[types.Bool])), false)
	s.scope.Insert(types.NewFunc(token.NoPos, s.pkg, what, sig))
	call := &ast.CallExpr{
		Fun:    &ast.Ident{NamePos: e.node.Pos(), Name: what},
		Lparen: e.node.Pos(),
		Args:   []ast.Expr{e.node},
		Rparen: e.node.End(),
	}
	if !c.checkNode(s, e, call) {
		return false
	}
	if e.tv = e.info.Types[e.node]; invalidType(e.tv.Type) {
		c.report(invalidPart(e.pos, short(e.text)))
		return false
	}
	return true
}

// build takes a checked node of an expression apart. It reports, and returns
// nil for, names that an expression at this place must not use.
func (c *checker) build(s *scope, e *expr, node ast.Expr) *Expr {
	b := &partBuilder{c: c, s: s, e: e}
	ast.Inspect(node, b.visit)
	if b.failed {
		return nil
	}
	all := e.span(node)
	if node == e.node {
		left := strings.TrimLeftFunc(e.text, unicode.IsSpace)
		all.from = len(e.text) - len(left)
		all.to = all.from + len(strings.TrimSpace(left))
	}
	out := &Expr{
		Pos:      e.pos.sub(all.from, all.to-all.from),
		Text:     e.text[all.from:all.to],
		Type:     e.tv.Type,
		MayPanic: e.mayPanic(node),
	}
	slices.SortFunc(b.marks, func(x, y mark) int { return x.from - y.from })
	done := all.from
	for _, m := range b.marks {
		if m.from > done {
			out.Parts = append(out.Parts, Part{Kind: PartText, Text: e.text[done:m.from]})
		}
		out.Parts = append(out.Parts, m.Part)
		done = m.to
		switch m.Kind {
		case PartParam:
			out.UsesParams = append(out.UsesParams, m.Index)
		case PartResult:
			out.UsesResult = true
		}
	}
	if done < all.to {
		out.Parts = append(out.Parts, Part{Kind: PartText, Text: e.text[done:all.to]})
	}
	slices.Sort(out.UsesParams)
	out.UsesParams = slices.Compact(out.UsesParams)
	return out
}

// A mark is a part of an expression that is not verbatim text.
type mark struct {
	span
	Part
}

type partBuilder struct {
	c      *checker
	s      *scope
	e      *expr
	marks  []mark
	failed bool
}

func (b *partBuilder) fail(d Diagnostic) {
	b.c.report(d)
	b.failed = true
}

func (b *partBuilder) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.SelectorExpr:
		id, ok := n.X.(*ast.Ident)
		if !ok {
			return true
		}
		name, ok := b.e.info.Uses[id].(*types.PkgName)
		if !ok {
			return true
		}
		if b.importable(name.Imported(), b.e.at(id)) {
			b.mark(span{b.e.span(id).from, b.e.span(n.Sel).to}, Part{Kind: PartQual, Text: n.Sel.Name, Pkg: name.Imported().Path()})
		}
		return false
	case *ast.Ident:
		b.ident(n)
	}
	return true
}

func (b *partBuilder) mark(s span, p Part) { b.marks = append(b.marks, mark{s, p}) }

func (b *partBuilder) ident(id *ast.Ident) {
	obj := b.e.info.Uses[id]
	if obj == nil {
		return
	}
	if r, ok := b.s.refs[obj]; ok {
		if r.problem != nil {
			b.fail(r.problem(b.e.at(id)))
			return
		}
		b.mark(b.e.span(id), Part{Kind: r.kind, Text: id.Name, Index: r.index})
		return
	}
	if obj.Pkg() == nil || obj.Pkg().Path() == b.c.in.Types.Path() {
		return
	}
	if !obj.Exported() {
		b.fail(notExported(b.e.at(id), obj.Name(), obj.Pkg().Path()))
		return
	}
	if obj.Parent() == obj.Pkg().Scope() && b.importable(obj.Pkg(), b.e.at(id)) {
		b.mark(b.e.span(id), Part{Kind: PartQual, Text: obj.Name(), Pkg: obj.Pkg().Path()})
	}
}

// importable reports whether the package being checked may import pkg, which
// matters for expressions that come from another package.
func (b *partBuilder) importable(pkg *types.Package, pos Pos) bool {
	if !importable(b.c.in.Types.Path(), pkg) {
		b.fail(notImportable(pos, pkg.Path()))
		return false
	}
	return true
}

// importable reports whether the package at path from may import pkg.
func importable(from string, pkg *types.Package) bool {
	if pkg.Path() == from {
		return true
	}
	if pkg.Name() == "main" {
		return false
	}
	elems := strings.Split(pkg.Path(), "/")
	for i := len(elems) - 1; i >= 0; i-- {
		if elems[i] == "internal" {
			parent := strings.Join(elems[:i], "/")
			return parent == "" || from == parent || strings.HasPrefix(from, parent+"/")
		}
	}
	return true
}

// mayPanic reports whether evaluating a node of the expression can fail.
func (e *expr) mayPanic(node ast.Expr) bool {
	found := false
	ast.Inspect(node, func(n ast.Node) bool {
		if !found {
			found = e.nodeMayPanic(n)
		}
		return !found
	})
	return found
}

func (e *expr) nodeMayPanic(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CallExpr:
		return e.callMayPanic(n)
	case *ast.StarExpr:
		return e.info.Types[n].IsValue()
	case *ast.IndexExpr:
		return !e.info.Types[n.X].IsType() && e.info.Types[n.Index].IsValue()
	case *ast.SliceExpr, *ast.TypeAssertExpr:
		return true
	case *ast.CompositeLit:
		// A key of an interface type may turn out not to be hashable.
		typ := e.info.Types[n].Type
		if typ == nil {
			return false
		}
		_, isMap := typ.Underlying().(*types.Map)
		return isMap
	case *ast.UnaryExpr:
		return n.Op == token.ARROW
	case *ast.SelectorExpr:
		sel := e.info.Selections[n]
		return sel != nil && (sel.Indirect() || types.IsInterface(sel.Recv()))
	case *ast.BinaryExpr:
		switch n.Op {
		case token.QUO, token.REM, token.SHL, token.SHR:
			y := e.info.Types[n.Y].Value
			return y == nil || constant.Sign(y) <= 0 && n.Op != token.SHL && n.Op != token.SHR
		case token.EQL, token.NEQ:
			return comparingMayPanic(e.info.Types[n.X]) && comparingMayPanic(e.info.Types[n.Y])
		}
	}
	return false
}

func (e *expr) callMayPanic(call *ast.CallExpr) bool {
	fun := e.info.Types[call.Fun]
	switch {
	case fun.IsType():
		// Only a slice can be too short for an array.
		to := fun.Type.Underlying()
		if p, ok := to.(*types.Pointer); ok {
			to = p.Elem().Underlying()
		}
		_, isArray := to.(*types.Array)
		_, fromSlice := e.typeOf(call.Args[0]).Underlying().(*types.Slice)
		return isArray && fromSlice
	case fun.IsBuiltin():
		id, ok := ast.Unparen(call.Fun).(*ast.Ident)
		return !ok || !slices.Contains([]string{"len", "cap", "min", "max"}, id.Name)
	}
	return true
}

// comparingMayPanic reports whether the operand may hold a dynamic value that
// cannot be compared.
func comparingMayPanic(tv types.TypeAndValue) bool {
	if tv.IsNil() || tv.Value != nil || tv.Type == nil {
		return false
	}
	switch u := tv.Type.Underlying().(type) {
	case *types.Interface, *types.Struct:
		return true
	case *types.Array:
		return comparingMayPanic(types.TypeAndValue{Type: u.Elem()})
	}
	return false
}

// Opposite returns the expression that holds if and only if e does not, as people would
// write it, if e does nothing but negate, or compare for equality: of !a, a; of a == b,
// a != b.
func (e *Expr) Opposite() (*Expr, bool) {
	parsed, err := parser.ParseExpr(e.Text)
	if err != nil {
		return nil, false
	}
	switch parsed := parsed.(type) {
	case *ast.UnaryExpr:
		if parsed.Op != token.NOT {
			return nil, false
		}
		// Within parentheses a brace may stand anywhere.
		if _, ok := parsed.X.(*ast.ParenExpr); ok && strings.HasPrefix(e.Text, "!(") && strings.HasSuffix(e.Text, ")") && !strings.Contains(e.Text, "{") {
			return e.trimmed("!(", ")"), true
		}
		return e.trimmed("!", ""), true
	case *ast.BinaryExpr:
		const equal, unequal = "==", "!="
		switch {
		case strings.Count(e.Text, equal)+strings.Count(e.Text, unequal) != 1:
		case parsed.Op == token.EQL:
			return e.replaced(equal, unequal), true
		case parsed.Op == token.NEQ:
			return e.replaced(unequal, equal), true
		}
	}
	return nil, false
}

// trimmed is the expression without what it begins and ends with.
func (e *Expr) trimmed(prefix, suffix string) *Expr {
	trimmed := *e
	trimmed.Text = strings.TrimSuffix(strings.TrimPrefix(e.Text, prefix), suffix)
	trimmed.Parts = slices.Clone(e.Parts)
	first, last := &trimmed.Parts[0], &trimmed.Parts[len(e.Parts)-1]
	first.Text = strings.TrimPrefix(first.Text, prefix)
	last.Text = strings.TrimSuffix(last.Text, suffix)
	return &trimmed
}

// replaced is the expression with another operator.
func (e *Expr) replaced(old, new string) *Expr {
	replaced := *e
	replaced.Text = strings.Replace(e.Text, old, new, 1)
	replaced.Parts = slices.Clone(e.Parts)
	for i, part := range e.Parts {
		replaced.Parts[i].Text = strings.Replace(part.Text, old, new, 1)
	}
	return &replaced
}
