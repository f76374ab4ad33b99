package annotations

import (
	"go/parser"
	"go/token"
	"go/types"
	"slices"
)

// methodDirectives are the directives of a method, by verb.
type methodDirectives struct {
	role    *Statement
	all     map[string][]*parsed
	unclear []*parsed // of unknown or wrong verbs, whose meaning is anyone's guess
}

// one returns the directive of a verb that may stand only once, nil without it.
func (d *methodDirectives) one(verb string) *parsed {
	if list := d.all[verb]; len(list) > 0 {
		return list[0]
	}
	return nil
}

// misspeltRole reports whether an unknown directive was probably meant to give
// the method its role.
func (d *methodDirectives) misspeltRole() bool {
	return slices.ContainsFunc(d.unclear, func(p *parsed) bool { return roleOf(meantVerb(p.Verb)) != 0 })
}

// meantVerb returns the verb that an unknown one was probably meant to be.
func meantVerb(verb string) string {
	verb, _ = cutVerb(verb)
	if directive(verb) != nil {
		return verb
	}
	return nearest(verb, verbs())
}

// methodDirectives sorts the directives of a method by verb and reports those
// that do not go together.
func (c *checker) methodDirectives(member *Member) *methodDirectives {
	d := &methodDirectives{all: map[string][]*parsed{}}
	if member == nil {
		return d
	}
	several := false
	for _, st := range member.Directives {
		p := c.parse(st)
		if p.spec == nil {
			d.unclear = append(d.unclear, p)
			continue
		}
		if p.spec.Place&PlaceMethod == 0 {
			continue
		}
		old := d.one(st.Verb)
		switch role := roleOf(st.Verb); {
		case old != nil && !p.spec.Repeat:
			c.report(duplicate(st.Pos, "cache:"+st.Verb, old.Pos))
			continue
		case role != 0 && d.role != nil:
			c.report(severalRoles(st, d.role))
			several = true
			continue
		case role != 0:
			d.role = st
		}
		d.all[st.Verb] = append(d.all[st.Verb], p)
	}
	if d.role == nil || several {
		return d
	}
	for _, st := range member.Directives {
		if spec := directive(st.Verb); spec != nil && spec.Role != 0 && spec.Role != roleOf(d.role.Verb) && spec.Place&PlaceMethod != 0 {
			c.report(wrongRole(st, spec, d.role))
			d.unclear = append(d.unclear, d.all[st.Verb]...)
			delete(d.all, st.Verb)
		}
	}
	return d
}

// checkSignatures establishes what the items of other methods need to know: the
// role of every method, its parameters, and the keys of reads.
func (c *checker) checkSignatures(r *repository) {
	for _, m := range r.methods {
		before := len(c.diags)
		c.checkSignature(m)
		m.dirs = c.methodDirectives(m.member)
		c.checkRole(m)
		c.pointToEmbedding(m, before)
	}
}

// pointToEmbedding adds to the problems of an embedded method which embedding
// they come from: with another one there may be none.
func (c *checker) pointToEmbedding(m *method, before int) {
	if !m.via.valid() {
		return
	}
	for i, d := range c.diags[before:] {
		if d.Pos != m.via {
			c.diags[before+i] = d.with(m.via, "%s embeds it here", m.repo.iface.Name)
		}
	}
}

// checkRole establishes the role of a method, and for a read its key.
func (c *checker) checkRole(m *method) {
	if m.dirs.role == nil {
		if !m.dirs.misspeltRole() && (m.member == nil || !m.member.Doubtful) {
			c.report(noRole(m))
		}
		return
	}
	m.model.Role = roleOf(m.dirs.role.Verb)
	switch m.model.Role {
	case RoleRead:
		m.model.Read = &Read{}
		c.checkIgnore(m)
		for i, p := range m.model.Params {
			if i != m.model.Context && !p.Ignored {
				m.args = append(m.args, i)
			}
		}
		if !m.broken && m.dirs.one("batch") == nil {
			c.checkKey(m)
		}
	case RoleWrite:
		m.model.Write = &Write{}
	}
}

// checkSignature fills in the parameters and results of a method.
func (c *checker) checkSignature(m *method) {
	params, results := m.sig.Params(), m.sig.Results()
	for i := range params.Len() {
		v := params.At(i)
		m.broken = c.checkType(m, v.Type(), m.paramPlace(i)) || m.broken
		p := &Param{
			Name:     v.Name(),
			Type:     v.Type(),
			Variadic: m.sig.Variadic() && i == params.Len()-1,
			Large:    large(v.Type()),
			Copy:     copyOf(v.Type()),
		}
		if p.Copy == CopyShared {
			if fields, ok := copiedFields(v.Type(), c.in.Types); ok {
				p.Copy, p.Fields = CopyStruct, fields
			}
		}
		if m.model.Context < 0 && isNamed(v.Type(), "context", "Context") {
			m.model.Context = i
		}
		m.model.Params = append(m.model.Params, p)
	}
	for i := range results.Len() {
		v := results.At(i)
		m.broken = c.checkType(m, v.Type(), m.resultPlace(i)) || m.broken
		if types.Identical(v.Type(), types.Universe.Lookup("error").Type()) {
			m.model.Err = i
		} else if m.model.Result < 0 {
			m.model.Result = i
		}
		m.model.Results = append(m.model.Results, &Param{Name: v.Name(), Type: v.Type(), Large: large(v.Type())})
	}
}

// checkType reports a type of a signature that the type checker could not make
// sense of.
func (c *checker) checkType(m *method, typ types.Type, place SourceParam) bool {
	if !invalidType(typ) {
		return false
	}
	what := place.Type
	if what == "" {
		what = "a type of " + m.fn.Name()
	}
	c.reportType(m.origin.unit, m.origin.file, piece{what, place.At})
	return true
}

// reportType reports an invalid type in the type checker's own words, which it
// gives when asked for that type alone.
func (c *checker) reportType(u *unit, file *SourceFile, text piece) {
	before := len(c.diags)
	if _, err := parser.ParseExpr(text.text); u.own && err == nil {
		if e, ok := c.parseExpr(text, nil); ok {
			e.inCode = true
			c.checkNode(c.probe(u, file).scope(), e, e.node)
		}
	}
	for i, d := range c.diags[before:] {
		c.diags[before+i] = invalidSignature(d)
	}
	if len(c.diags) == before {
		c.report(invalidTypeAt(text.pos, text.text))
	}
}

// isNamed reports whether a type is the given one of another package.
func isNamed(t types.Type, path, name string) bool {
	named, ok := types.Unalias(t).(*types.Named)
	return ok && named.Obj().Name() == name && named.Obj().Pkg() != nil && named.Obj().Pkg().Path() == path
}

// A scopeUse says which names an expression at some place may mention.
type scopeUse int

const (
	useKey      scopeUse = iota // parameters in the key
	useDepends                  // parameters in the key, and results
	useCall                     // parameters and results
	useConstant                 // neither
)

type scopeKey struct {
	file *SourceFile
	use  scopeUse
}

// scope returns the scope of a method in a file: its own, or that of an
// interface whose directives apply to it. Names that are in scope and must not
// be used there are present, so that the message can say why.
func (c *checker) scope(m *method, u *unit, file *SourceFile, use scopeUse) *scope {
	key := scopeKey{file, use}
	if s, ok := m.scopes[key]; ok {
		return s
	}
	s := c.probe(u, file).scope()
	m.scopes[key] = s
	if file == m.origin.file {
		for name, typ := range m.origin.typeArgs {
			s.declare(types.NewTypeName(token.NoPos, s.pkg, name, typ), ref{problem: func(p Pos) Diagnostic {
				return typeParameter(p, name)
			}})
		}
	}
	shadowed := false
	for i, p := range m.model.Params {
		r := ref{kind: PartParam, index: i}
		switch {
		case p.Name == "result":
			shadowed = true
			r.problem = func(at Pos) Diagnostic { return shadowedResult(at, "a parameter", m.paramPlace(i).Pos) }
		case use == useConstant:
			r.problem = func(at Pos) Diagnostic { return notConstant(at, p.Name) }
		case p.Ignored && (use == useKey || use == useDepends):
			r.problem = func(at Pos) Diagnostic { return usesIgnored(at, p.Name, use == useKey) }
		}
		s.declare(types.NewVar(token.NoPos, s.pkg, m.model.nameInScope(i), p.Type), r)
	}
	resultRef := func(i int) ref {
		r := ref{kind: PartResult, index: i}
		switch {
		case i == m.model.Err:
			r.problem = errorResult
		case use == useKey:
			r.problem = func(at Pos) Diagnostic { return resultUnavailable(at, "the key is made before the call") }
		case use == useConstant:
			r.problem = func(at Pos) Diagnostic { return notConstant(at, "result") }
		}
		return r
	}
	for i, p := range m.model.Results {
		r := resultRef(i)
		if p.Name == "result" {
			shadowed = true
			if i != m.model.Result {
				r.problem = func(at Pos) Diagnostic { return shadowedResult(at, "another result", m.resultPlace(i).Pos) }
			}
		}
		s.declare(types.NewVar(token.NoPos, s.pkg, p.Name, p.Type), r)
	}
	if i := m.model.Result; i >= 0 && !shadowed {
		s.declare(types.NewVar(token.NoPos, s.pkg, "result", m.model.Results[i].Type), resultRef(i))
	}
	return s
}

// nameInScope returns the name under which expressions know a parameter. A
// context without a name is ctx, as in the generated code, so that what an
// interface varies by can mention it.
func (m *Method) nameInScope(i int) string {
	p := m.Params[i]
	if i != m.Context || p.Name != "" && p.Name != "_" {
		return p.Name
	}
	for _, other := range slices.Concat(m.Params, m.Results) {
		if other.Name == "ctx" {
			return p.Name
		}
	}
	return "ctx"
}

// checkBatchMethod checks what a batch shares with the read of one, whose policy
// has to be known before.
func (c *checker) checkBatchMethod(m *method) {
	if m.broken || m.model.Role != RoleRead || m.dirs.one("batch") == nil {
		return
	}
	before := len(c.diags)
	c.checkBatchPolicy(m)
	c.pointToEmbedding(m, before)
}

// checkMethod checks the policy of a method.
func (c *checker) checkMethod(m *method) {
	if m.broken || m.dirs.role == nil {
		return
	}
	before := len(c.diags)
	switch m.model.Role {
	case RoleRead:
		c.checkRead(m)
	case RoleWrite:
		c.checkWrite(m)
	}
	c.pointToEmbedding(m, before)
}
