package annotations

import (
	"go/types"
	"slices"
)

// A repository is an annotated interface while it is being checked.
type repository struct {
	file    *SourceFile
	iface   *Interface
	st      *parsed
	model   *Repository
	methods []*method
}

// find returns a method by name, nil if there is none.
func (r *repository) find(name string) *method {
	for _, m := range r.methods {
		if m.fn.Name() == name {
			return m
		}
	}
	return nil
}

// A method is a method of a repository while it is being checked.
type method struct {
	repo   *repository
	origin origin
	member *Member // nil if the source of its interface is not known
	fn     *types.Func
	sig    *types.Signature
	via    Pos // of the embedding in the annotated interface; zero if declared there

	model  *Method
	dirs   *methodDirectives
	broken bool  // its signature is not usable
	args   []int // for a read: parameters that name an entry, without the context and ignored ones
	scopes map[scopeKey]*scope
}

// An origin is the interface that declares a method, seen from the annotated
// one.
type origin struct {
	unit     *unit
	file     *SourceFile
	typeArgs map[string]types.Type
	// interfaces are the interfaces around the method, the nearest first, whose
	// defaults and vary directives apply to it.
	interfaces []interfaceDirectives
}

// interfaceDirectives are the directives of an interface that concern its
// methods.
type interfaceDirectives struct {
	unit       *unit
	file       *SourceFile
	repository *parsed
	vary       *parsed
}

// pos is the place to report a problem of the method as a whole: its name, or
// the embedding that brings it in.
func (m *method) pos() Pos {
	if m.via.valid() {
		return m.via
	}
	return m.member.Pos
}

// related points to the declaration of an embedded method.
func (m *method) related() []Related {
	if m.via.valid() && m.member != nil {
		return []Related{{Pos: m.member.Pos, Message: m.fn.Name() + " is declared here"}}
	}
	return nil
}

// name is the method's name with that of its repository.
func (m *method) name() string { return m.repo.iface.Name + "." + m.fn.Name() }

// paramPlace returns the source of a parameter, or the place of the method if
// the source is not known.
func (m *method) paramPlace(i int) SourceParam {
	if m.member == nil || i >= len(m.member.Params) {
		return SourceParam{Pos: m.pos(), At: m.pos()}
	}
	return m.member.Params[i]
}

// resultPlace is paramPlace for results.
func (m *method) resultPlace(i int) SourceParam {
	if m.member == nil || i >= len(m.member.Results) {
		return SourceParam{Pos: m.pos(), At: m.pos()}
	}
	return m.member.Results[i]
}

// repository collects the methods of an annotated interface; nil if it is not
// annotated or cannot be used.
func (c *checker) repository(file *SourceFile, i *Interface) *repository {
	dirs := c.interfaceDirectives(c.own, file, i)
	if dirs.repository == nil {
		return nil
	}
	if i.Generic {
		c.report(genericRepository(i.Pos, i.Name))
		return nil
	}
	obj, ok := c.own.types.Scope().Lookup(i.Name).(*types.TypeName)
	if !ok {
		c.report(invalidTypeAt(i.Pos, i.Name))
		return nil
	}
	typ, ok := obj.Type().Underlying().(*types.Interface)
	if !ok {
		c.report(invalidTypeAt(i.Pos, i.Name))
		return nil
	}
	if !typ.IsMethodSet() {
		c.report(constraintInterface(i.Pos, i.Name))
		return nil
	}
	r := &repository{file: file, iface: i, st: dirs.repository}
	r.model = &Repository{
		Name:    i.Name,
		Pos:     i.Pos,
		Doc:     i.Doc,
		ID:      c.own.path + "." + i.Name,
		Wrapper: "Cached" + i.Name,
	}
	if !exported(i.Name) {
		r.model.Wrapper = "cached" + UpperFirst(i.Name)
	}
	if name := r.st.option("name"); name != nil {
		r.model.Wrapper = name.value.text
	}
	r.model.Constructor = "New" + r.model.Wrapper
	if !exported(r.model.Wrapper) {
		r.model.Constructor = "new" + UpperFirst(r.model.Wrapper)
	}
	from := origin{unit: c.own, file: file, interfaces: []interfaceDirectives{dirs}}
	r.methods = c.methods(r, i, typ, from, Pos{})
	for _, m := range r.methods {
		if !m.fn.Exported() && m.fn.Pkg() != nil && m.fn.Pkg().Path() != c.own.path {
			c.report(unexportedMethod(m.pos(), m.fn.Name(), m.fn.Pkg().Path()))
			m.broken = true
		} else if obj := c.unnameable(m.sig); obj != nil {
			c.report(unnameableType(m.pos(), m.fn.Name(), obj.Name(), obj.Pkg().Path()))
			m.broken = true
		}
		r.model.Methods = append(r.model.Methods, m.model)
	}
	return r
}

// unnameable returns a type that a signature names and this package cannot, nil
// if there is none.
func (c *checker) unnameable(sig *types.Signature) (found *types.TypeName) {
	TypeNames(sig, func(obj *types.TypeName) {
		if pkg := obj.Pkg(); pkg != nil && pkg.Path() != c.own.path && (!obj.Exported() || !importable(c.own.path, pkg)) {
			found = obj
		}
	})
	return found
}

// interfaceDirectives collects the repository and vary directives of an
// interface.
func (c *checker) interfaceDirectives(u *unit, file *SourceFile, i *Interface) interfaceDirectives {
	dirs := interfaceDirectives{unit: u, file: file}
	for _, st := range i.Directives {
		p := c.parse(st)
		var slot **parsed
		switch st.Verb {
		case "repository":
			slot = &dirs.repository
		case "vary":
			slot = &dirs.vary
		default:
			continue
		}
		if *slot != nil {
			c.report(duplicate(st.Pos, "cache:"+st.Verb, (*slot).Pos))
			continue
		}
		*slot = p
	}
	return dirs
}

// methods lists the methods of an interface in the order of the source, those
// of an embedded interface in its place. A method that is declared again wins
// over the embedded one.
func (c *checker) methods(r *repository, i *Interface, typ *types.Interface, from origin, via Pos) []*method {
	explicit := map[string]*types.Func{}
	for n := range typ.NumExplicitMethods() {
		explicit[typ.ExplicitMethod(n).Name()] = typ.ExplicitMethod(n)
	}
	var list []*method
	embedded := 0
	for _, member := range i.Members {
		if member.Method != "" {
			if fn := explicit[member.Method]; fn != nil {
				list = append(list, newMethod(r, from, member, fn, via))
			}
			continue
		}
		if embedded == typ.NumEmbeddeds() {
			break // the compiler's error
		}
		et := typ.EmbeddedType(embedded)
		embedded++
		at := via
		if !at.valid() {
			at = member.Pos
		}
		for _, m := range c.embedded(r, member, et, from, at) {
			if explicit[m.fn.Name()] == nil {
				list = c.merge(list, m)
			}
		}
	}
	return list
}

func newMethod(r *repository, from origin, member *Member, fn *types.Func, via Pos) *method {
	m := &method{
		repo:   r,
		origin: from,
		member: member,
		fn:     fn,
		sig:    fn.Signature(),
		via:    via,
		dirs:   &methodDirectives{},
		scopes: map[scopeKey]*scope{},
	}
	m.model = &Method{Name: fn.Name(), Pos: m.pos(), Context: -1, Result: -1, Err: -1}
	if member != nil {
		m.model.Pos = member.Pos
		m.model.Doc = member.Doc
	}
	return m
}

// embedded lists the methods of an embedded type.
func (c *checker) embedded(r *repository, member *Member, typ types.Type, from origin, via Pos) []*method {
	iface, ok := typ.Underlying().(*types.Interface)
	if !ok || invalidType(typ) {
		if from.unit.own {
			via = member.Pos
		}
		c.reportType(from.unit, from.file, piece{member.Embed, via})
		return nil
	}
	if member.Literal != nil {
		return c.methods(r, member.Literal, iface, from, via)
	}
	named, ok := types.Unalias(typ).(*types.Named)
	if ok && named.Obj().Pkg() != nil {
		if u := c.unit(named.Obj().Pkg().Path()); u != nil {
			if decl, file := u.source.find(named.Obj().Name()); decl != nil {
				inner := origin{unit: u, file: file, typeArgs: map[string]types.Type{}}
				params, args := named.Origin().TypeParams(), named.TypeArgs()
				for i := range min(params.Len(), args.Len()) {
					inner.typeArgs[params.At(i).Obj().Name()] = args.At(i)
				}
				inner.interfaces = append(inner.interfaces, c.interfaceDirectives(u, file, decl))
				inner.interfaces = append(inner.interfaces, from.interfaces...)
				return c.methods(r, decl, iface, inner, via)
			}
		}
	}
	var list []*method
	for n := range iface.NumMethods() {
		list = append(list, newMethod(r, from, nil, iface.Method(n), via))
	}
	return list
}

// merge adds an embedded method to a list that may have it already, through
// another embedded interface.
func (c *checker) merge(list []*method, m *method) []*method {
	at := slices.IndexFunc(list, func(o *method) bool { return o.fn.Name() == m.fn.Name() })
	if at < 0 {
		return append(list, m)
	}
	old := list[at]
	annotated := func(m *method) bool { return m.member != nil && len(m.member.Directives) > 0 }
	switch {
	case old.member == m.member || !annotated(m):
	case !annotated(old):
		list[at] = m
	default:
		c.report(annotatedTwice(m.via, m.fn.Name(), m.repo.iface.Name, old.member.Pos, m.member.Pos))
	}
	return list
}

// checkAnnotatedUnused reports interfaces whose methods have directives that
// nothing will use.
func (c *checker) checkAnnotatedUnused() {
	used := map[*Member]bool{}
	for _, r := range c.repositories {
		for _, m := range r.methods {
			used[m.member] = true
		}
	}
	for _, file := range c.own.source.Files {
		for _, i := range file.Interfaces {
			if i.Generic || i.Doubtful || exported(i.Name) || slices.ContainsFunc(i.Directives, func(st *Statement) bool { return st.Verb == "repository" }) {
				continue // others may embed it, or its own problem is reported
			}
			embedded, first := false, (*Statement)(nil)
			for _, st := range i.Directives {
				if st.Verb == "vary" && first == nil {
					first = st
				}
			}
			for _, m := range i.Members {
				embedded = embedded || used[m]
				if first == nil && len(m.Directives) > 0 {
					first = m.Directives[0]
				}
			}
			if first != nil && !embedded {
				c.report(noRepository(first.Pos, i.Name))
			}
		}
	}
}
