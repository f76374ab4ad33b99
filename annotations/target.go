package annotations

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/ast/astutil"
)

// maxPartial is the most arguments a tag may have that is used with some of
// them * and others not: every set in use costs a lookup.
const maxPartial = 4

// targetParam is what one argument of an item is checked against.
type targetParam struct {
	name     string
	typ      types.Type
	variadic bool // typ is then the slice type
}

// targets checks the items of all directives of a verb.
func (c *checker) targets(m *method, list []*parsed, use scopeUse) []*Target {
	var out []*Target
	seen := map[string]Pos{}
	for _, p := range list {
		for _, it := range p.items {
			text := normalize(it.text)
			if old, ok := seen[text]; ok {
				c.report(duplicate(it.pos, it.text, old))
				continue
			}
			seen[text] = it.pos
			if t := c.target(m, it, use, p.Verb); t != nil {
				out = append(out, t)
			}
		}
	}
	return out
}

// normalize writes the tokens of a text with one space between them.
func normalize(text string) string {
	var b strings.Builder
	for _, t := range tokenize(text).tokens {
		b.WriteString(t.lit)
		b.WriteByte(' ')
	}
	return b.String()
}

// target checks one item of depends, invalidates or reload.
func (c *checker) target(m *method, it item, use scopeUse, verb string) *Target {
	t := c.resolveHead(m, it, verb)
	if t == nil {
		return nil
	}
	params, what := t.params(), t.what(it)
	args, ok := c.matchArguments(m, it, params, what, verb)
	if !ok {
		return nil
	}
	s := c.scope(m, m.origin.unit, m.origin.file, use).clone()
	loops := map[string]bool{}
	for i, arg := range it.args {
		if arg.any {
			if verb == "reload" {
				c.report(anyInReload(arg.pos))
				ok = false
			}
			t.Args = append(t.Args, nil)
			continue
		}
		x := c.argument(s, t, loops, arg, args[i], what)
		if x == nil {
			ok = false
			continue
		}
		t.Args = append(t.Args, x)
	}
	if !ok {
		return nil
	}
	t.Spread = it.spread && t.Args[len(t.Args)-1] != nil
	if c.summarize(t) && !c.checkPartial(t, it, what) {
		return nil
	}
	// A reload needs none: it says nothing of what other contexts see.
	if parts := t.contextParts(); len(parts) > 0 && m.model.Context < 0 && verb != "reload" {
		c.report(needsContext(t, m.fn.Name(), parts[0]))
		return nil
	}
	return t
}

// resolveHead finds the tag or the read an item names.
func (c *checker) resolveHead(m *method, it item, verb string) *Target {
	from := m.origin.unit
	if it.qual.text != "" {
		if from = c.qualifier(m, it, verb); from == nil {
			return nil
		}
	}
	if from.broken[it.name.text] {
		return nil // reported
	}
	t := &Target{Pos: it.pos, Text: it.text}
	if tag := from.tags[it.name.text]; tag != nil {
		if d := c.unusable(tag, from, it, verb); d != nil {
			c.report(*d)
			return nil
		}
		t.Tag = tag
		if !from.own {
			t.TagPkg = from.path
		}
		return t
	}
	var candidates []string
	for _, tag := range from.order {
		if verb == "reload" {
			break // tags cannot be reloaded
		}
		if from.own || exported(tag.Name) {
			candidates = append(candidates, tag.Name)
		}
	}
	if it.qual.text != "" {
		c.report(unknownTag(it, nearest(it.name.text, candidates)))
		return nil
	}
	if t.Read = c.resolveRead(m.repo, it.name, verb, candidates); t.Read == nil {
		return nil
	}
	return t
}

// unusable returns the problem of a tag that an item must not name.
func (c *checker) unusable(tag *Tag, from *unit, it item, verb string) *Diagnostic {
	var d Diagnostic
	switch {
	case verb == "reload":
		d = reloadTag(it.head())
	case from.own:
		return nil
	case !exported(tag.Name):
		d = notExported(it.name.pos, "tag "+tag.Name, from.path)
	case !importable(c.own.path, from.types):
		d = notImportable(it.head().pos, from.path)
	default:
		return nil
	}
	return &d
}

// resolveRead finds a read of a repository. tags are the names that would have
// been found before it, for a hint.
func (c *checker) resolveRead(r *repository, name piece, verb string, tags []string) *Method {
	m := r.find(name.text)
	switch {
	case m == nil || m.dirs.role != nil && m.model.Role != RoleRead:
		for _, o := range r.methods {
			if o.model.Role == RoleRead && o.dirs.one("batch") == nil {
				tags = append(tags, o.fn.Name())
			}
		}
		c.report(unknownTarget(name, r.iface.Name, m, verb, nearest(name.text, tags)))
		return nil
	case m.dirs.role == nil || m.broken:
		return nil // reported
	case m.dirs.one("batch") != nil:
		c.report(batchTarget(name, m.dirs.one("batch")))
		return nil
	}
	return m.model
}

// params returns what the arguments of a target are for.
func (t *Target) params() []targetParam {
	var params []targetParam
	if t.Tag != nil {
		for _, p := range t.Tag.Params {
			params = append(params, targetParam{name: p.Name, typ: p.Type})
		}
		return params
	}
	for i, p := range t.Read.Params {
		if i != t.Read.Context && !p.Ignored {
			params = append(params, targetParam{p.Name, p.Type, p.Variadic})
		}
	}
	return params
}

// what names the tag or the read of a target in messages.
func (t *Target) what(it item) string {
	if t.Tag != nil {
		return "tag " + it.head().text
	}
	return "read " + t.Read.Name
}

// qualifier returns the package a name in front of a tag stands for.
func (c *checker) qualifier(m *method, it item, verb string) *unit {
	at, name, path := m.origin, it.qual, ""
	if imp := at.unit.imports[name.text]; imp != nil {
		if imp.pkg == nil {
			c.reportOutOfSight(imp)
			if !at.unit.own { // else it is reported where it is imported
				c.report(unknownPackage(piece{imp.path.text, name.pos}))
			}
			return nil
		}
		path = imp.path.text
	}
	names := sortedImports(at.unit.imports)
	for _, imp := range at.file.Imports {
		n := c.importName(imp)
		names = append(names, n)
		if n == name.text && path == "" {
			path = imp.Path
		}
	}
	if path == "" && at.unit.brokenImports[name.text] {
		return nil // reported
	}
	if path == "" && (at.unit.tags[name.text] != nil || m.repo.find(name.text) != nil) {
		c.report(notAnItem(it.piece, verb))
		return nil
	}
	if path == "" {
		c.report(unknownQualifier(name, nearest(name.text, names)))
		return nil
	}
	found := c.unit(path)
	if found == nil || len(found.order) == 0 {
		c.report(noTags(name.pos, path, c.in.Module))
		return nil
	}
	return found
}

// matchArguments pairs the arguments of an item with parameters.
func (c *checker) matchArguments(m *method, it item, params []targetParam, what, verb string) ([]targetParam, bool) {
	if !it.parens && len(params) > 0 {
		c.report(argumentCount(it, it.head().pos, params, what, c.qualify, verb == "reload"))
		return nil, false
	}
	variadic := len(params) > 0 && params[len(params)-1].variadic
	fixed := len(params)
	if variadic {
		fixed--
	}
	if it.spread && (!variadic || len(it.args) != len(params)) {
		c.report(spreadHere(it.args[len(it.args)-1].pos, what))
		return nil, false
	}
	if ctx := m.model.Context; ctx >= 0 && len(it.args) > fixed && it.args[0].text == m.model.Params[ctx].Name {
		c.report(contextGiven(it.args[0].pos, it.args[0].text, what))
		return nil, false
	}
	if len(it.args) < fixed || !variadic && len(it.args) > fixed {
		pos := it.head().pos
		if len(it.args) > fixed {
			pos = it.args[fixed].pos
		}
		c.report(argumentCount(it, pos, params, what, c.qualify, verb == "reload"))
		return nil, false
	}
	var out []targetParam
	for i, arg := range it.args {
		p := params[min(i, len(params)-1)]
		if p.variadic && !it.spread {
			if arg.any && len(it.args) > len(params) {
				c.report(anyAmongVariadic(arg.pos, p.name))
				return nil, false
			}
			p.typ = p.typ.Underlying().(*types.Slice).Elem()
		}
		out = append(out, p)
	}
	return out, true
}

// argument checks one argument of an item.
func (c *checker) argument(s *scope, t *Target, loops map[string]bool, arg argument, p targetParam, what string) *Expr {
	offs := stars(arg.text)
	e, ok := c.parseExpr(arg.piece, offs)
	if !ok {
		return nil
	}
	if len(offs) > 0 && !c.expandLoops(s, e, offs, t, loops) {
		return nil
	}
	if !c.checkAssignable(s, e, p.typ, what) {
		return nil
	}
	return c.build(s, e, e.node)
}

// expandLoops replaces every x[*] of an expression, the innermost first, by a
// variable that stands for an element of x. An x that occurs again in the same
// item is the same loop.
func (c *checker) expandLoops(s *scope, e *expr, offs []int, t *Target, loops map[string]bool) bool {
	ok := true
	e.node = astutil.Apply(e.node, nil, func(cur *astutil.Cursor) bool {
		n, isIndex := cur.Node().(*ast.IndexExpr)
		if !isIndex || !slices.Contains(offs, int(n.Index.Pos())-e.base) {
			return ok
		}
		name := types.ExprString(n.X) + "[*]"
		if !loops[name] {
			elem, base := c.loop(s, e, n.X)
			if base == nil {
				ok = false
				return false
			}
			loops[name] = true
			s.declare(types.NewVar(token.NoPos, s.pkg, name, elem), ref{kind: PartElem, index: len(t.Each)})
			t.Each = append(t.Each, &Each{Base: base, Elem: elem})
		}
		id := &ast.Ident{NamePos: n.Pos(), Name: name}
		e.elems[id] = span{e.span(n.X).from, int(n.Rbrack) + 1 - e.base}
		cur.Replace(id)
		return true
	}).(ast.Expr)
	return ok
}

// loop checks the expression in front of [*] and returns the type of its
// elements; the expression is nil if there was a problem.
func (c *checker) loop(s *scope, e *expr, base ast.Expr) (types.Type, *Expr) {
	tv, ok := c.checkValue(s, e, base)
	if !ok {
		return nil, nil
	}
	var elem types.Type
	switch u := tv.Type.Underlying().(type) {
	case *types.Slice:
		elem = u.Elem()
	case *types.Array:
		elem = u.Elem()
	case *types.Map:
		elem = u.Elem()
	case *types.Pointer:
		if a, ok := u.Elem().Underlying().(*types.Array); ok {
			elem = a.Elem()
		}
	}
	if elem == nil {
		at := e.span(base)
		c.report(notACollection(e.at(base), e.text[at.from:at.to], c.typeString(tv.Type)))
		return nil, nil
	}
	e.tv = tv
	x := c.build(s, e, base)
	if _, ok := tv.Type.Underlying().(*types.Pointer); ok && x != nil {
		x.MayPanic = true // which may be nil
	}
	return elem, x
}

// typeString writes a type as seen from the package.
func (c *checker) typeString(t types.Type) string {
	return types.TypeString(t, c.qualify)
}

// qualify names a package as the code of the package being checked would.
func (c *checker) qualify(pkg *types.Package) string {
	if pkg.Path() == c.in.Types.Path() {
		return ""
	}
	return pkg.Name()
}

// summarize fills in what follows from the arguments of a target, and reports
// whether some parts of it are given and others not.
func (c *checker) summarize(t *Target) (partial bool) {
	exprs := slices.Clone(t.Args)
	for _, each := range t.Each {
		exprs = append(exprs, each.Base)
	}
	for _, x := range exprs {
		if x != nil {
			t.UsesResult = t.UsesResult || x.UsesResult
			t.MayPanic = t.MayPanic || x.MayPanic
		}
	}
	if len(t.Args) > 0 && !slices.ContainsFunc(t.Args, func(x *Expr) bool { return x != nil }) {
		t.All = true
		return false
	}
	given, parts := 0, 0
	part := func(known bool, mayFail bool) {
		if known {
			given++
			t.Fixed |= bit(parts)
			t.MayPanic = t.MayPanic || mayFail
		}
		parts++
	}
	if t.Tag != nil {
		for i, x := range t.Args {
			part(x != nil, t.Tag.Params[i].Key.mayFail())
		}
	} else {
		for _, p := range t.Read.Read.Key {
			part(t.knows(p), p.Expr.MayPanic || p.Codec.mayFail())
		}
		t.All = given == 0 && parts > 0
	}
	return 0 < given && given < parts
}

// bit returns the bit of an argument in a set. Sets matter only for tags with
// few arguments.
func bit(i int) uint8 {
	if i >= 8 {
		return 0
	}
	return 1 << i
}

// contextParts returns the parts of the key of its read for which a target needs a
// context.
func (t *Target) contextParts() []*Expr {
	if t.Read == nil || t.All {
		return nil
	}
	var parts []*Expr
	for _, part := range t.Read.Read.Key {
		if t.knows(part) && slices.Contains(part.Expr.UsesParams, t.Read.Context) {
			parts = append(parts, part.Expr)
		}
	}
	return parts
}

// knows reports whether a target gives all that a part of the key of its read is
// made of.
func (t *Target) knows(part *KeyPart) bool {
	return !slices.ContainsFunc(part.Expr.UsesParams, func(param int) bool { return !t.gives(param) })
}

// gives reports whether a target gives a value for a parameter of its read.
func (t *Target) gives(param int) bool {
	at := 0
	for i, p := range t.Read.Params {
		switch {
		case i == t.Read.Context || p.Ignored:
			continue
		case i == param:
			return at >= len(t.Args) || t.Args[at] != nil
		}
		at++
	}
	return true // the context
}

// checkPartial checks that a target may be named with some arguments * and
// others not.
func (c *checker) checkPartial(t *Target, it item, what string) bool {
	n := 0
	if t.Tag != nil {
		n = len(t.Tag.Params)
		if t.TagPkg != "" {
			c.report(partialElsewhere(it.pos, what, t.TagPkg))
			return false
		}
	} else {
		n = len(t.Read.Read.Key)
	}
	if n > maxPartial {
		c.report(tooManyForPartial(it.pos, what, n))
		return false
	}
	return true
}
