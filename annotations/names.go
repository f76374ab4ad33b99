package annotations

import (
	"go/token"
	"go/types"
	"slices"
	"unicode"
	"unicode/utf8"
)

// checkNames checks that the names of generated declarations are free.
func (c *checker) checkNames() {
	type generated struct {
		name, what string
		pos        Pos
	}
	var names []generated
	for _, tag := range c.own.order {
		names = append(names, generated{tag.Func, "the function of tag " + tag.Name, tag.Pos})
		if tag.AllFunc != "" {
			names = append(names, generated{tag.AllFunc, "the function of tag " + tag.Name, tag.Pos})
		}
	}
	for _, r := range c.repositories {
		pos := r.model.Pos
		if opt := r.st.option("name"); opt != nil {
			pos = opt.value.pos
		}
		names = append(names,
			generated{r.model.Wrapper, "the wrapper of " + r.model.Name, pos},
			generated{r.model.Constructor, "the constructor of the wrapper of " + r.model.Name, pos})
	}
	slices.SortStableFunc(names, func(a, b generated) int { return a.pos.compare(b.pos) })
	imported := c.importedNames()
	seen := map[string]generated{}
	reported := map[[2]Pos]bool{} // two names of one origin collide for one reason
	for _, g := range names {
		if old, ok := seen[g.name]; ok {
			if pair := [2]Pos{g.pos, old.pos}; !reported[pair] {
				reported[pair] = true
				c.report(nameCollision(g.pos, g.name, g.what, old.what, old.pos))
			}
			continue
		}
		seen[g.name] = g
		if obj := c.declared(g.name); obj != nil {
			pos := c.objectPos(obj)
			if g.pos.before(pos) {
				c.report(nameCollision(pos, g.name, "this declaration", g.what, g.pos))
			} else {
				c.report(nameCollision(g.pos, g.name, g.what, "a declaration of the package", pos))
			}
		} else if at, ok := imported[g.name]; ok {
			c.report(nameCollision(g.pos, g.name, g.what, "an import", at))
		}
	}
	for _, r := range c.repositories {
		c.checkMethodNames(r)
	}
	c.checkTagNames()
	if len(names) > 0 {
		c.checkPredeclared()
	}
}

// checkPredeclared checks that the package declares nothing in place of what
// generated code needs from the universe: its types, and some others.
func (c *checker) checkPredeclared() {
	for _, name := range types.Universe.Names() {
		obj := c.declared(name)
		if obj == nil {
			continue
		}
		_, isType := types.Universe.Lookup(name).(*types.TypeName)
		if isType || slices.Contains([]string{"true", "false", "nil", "len", "make", "new"}, name) {
			c.report(hidesPredeclared(c.objectPos(obj), name))
		}
	}
}

// declared returns a declaration of the package outside its generated files.
func (c *checker) declared(name string) types.Object {
	obj := c.own.types.Scope().Lookup(name)
	if obj == nil || c.generated(obj) {
		return nil
	}
	return obj
}

func (c *checker) objectPos(obj types.Object) Pos {
	p := c.in.Fset.Position(obj.Pos())
	return Pos{File: p.Filename, Line: p.Line, Col: max(p.Column, 1)}.sub(0, len(obj.Name()))
}

// importedNames returns where the files of the package import something under
// a name.
func (c *checker) importedNames() map[string]Pos {
	names := map[string]Pos{}
	for _, file := range c.own.source.Files {
		for _, imp := range file.Imports {
			add := func(name string) {
				if _, ok := names[name]; !ok && name != "" {
					names[name] = imp.Pos
				}
			}
			add(c.importName(imp))
			if pkg := c.packageTypes(imp.Path); imp.Name == "." && pkg != nil {
				for _, name := range pkg.Scope().Names() {
					if token.IsExported(name) {
						add(name)
					}
				}
			}
		}
	}
	return names
}

// checkMethodNames checks the methods that a wrapper has in addition to those
// of its interface.
func (c *checker) checkMethodNames(r *repository) {
	type named struct {
		what string
		pos  Pos
	}
	seen := map[string]named{"Unwrap": {"the wrapper's method Unwrap", r.model.Pos}}
	reported := map[[2]Pos]bool{} // as for the names of the package
	add := func(name string, n named) {
		old, ok := seen[name]
		if !ok {
			seen[name] = n
			return
		}
		pair := [2]Pos{old.pos, n.pos}
		switch {
		case reported[pair]:
		case n.pos.before(old.pos):
			c.report(nameCollision(old.pos, name, old.what, n.what, n.pos))
		default:
			c.report(nameCollision(n.pos, name, n.what, old.what, old.pos))
		}
		reported[pair] = true
	}
	for _, m := range r.methods {
		add(m.fn.Name(), named{"method " + m.fn.Name(), m.pos()})
	}
	for _, m := range r.methods {
		if m.model.Role != RoleRead || m.dirs.one("batch") != nil {
			continue
		}
		prefix, name := "Invalidate", UpperFirst(m.fn.Name())
		if !m.fn.Exported() {
			prefix = "invalidate"
		}
		add(prefix+name, named{"the method that invalidates one entry of " + m.fn.Name(), m.pos()})
		add(prefix+"All"+name, named{"the method that invalidates every entry of " + m.fn.Name(), m.pos()})
	}
}

// checkTagNames reports tags with the name of a read of the package, between
// which an item could not choose.
func (c *checker) checkTagNames() {
	for _, r := range c.repositories {
		for _, m := range r.methods {
			tag := c.own.tags[m.fn.Name()]
			if m.model.Role != RoleRead || tag == nil {
				continue
			}
			if pos := m.pos(); tag.Pos.before(pos) {
				c.report(tagNamedLikeRead(pos, "read "+m.fn.Name(), "tag", tag.Pos))
			} else {
				c.report(tagNamedLikeRead(tag.Pos, "tag "+tag.Name, "read", pos))
			}
		}
	}
}

// UpperFirst returns a name with its first letter in upper case, as generated names
// have it within: Post in allPostTag.
func UpperFirst(name string) string {
	r, size := utf8.DecodeRuneInString(name)
	return string(unicode.ToUpper(r)) + name[size:]
}
