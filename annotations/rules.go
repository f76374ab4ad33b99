package annotations

import (
	"go/types"
	"slices"
)

// depends calls f for every item of depends in the package.
func (c *checker) depends(f func(*method, *Target)) {
	for _, r := range c.repositories {
		for _, m := range r.methods {
			if m.model.Read != nil {
				for _, t := range m.model.Read.Depends {
					f(m, t)
				}
			}
		}
	}
}

// invalidates calls f for every item of invalidates in the package.
func (c *checker) invalidates(f func(*method, *Target)) {
	for _, r := range c.repositories {
		for _, m := range r.methods {
			if m.model.Write != nil {
				for _, t := range m.model.Write.Invalidates {
					f(m, t)
				}
			}
		}
	}
}

// checkTags checks that every tag has writes on one side and reads on the
// other. It looks at this package alone, whatever others do.
func (c *checker) checkTags() {
	read, written := c.mentioned("depends"), c.mentioned("invalidates")
	for _, tag := range c.own.order {
		read, written := read[tag.Name], written[tag.Name]
		switch {
		case c.own.broken[tag.Name]:
		case !read && !written && !exported(tag.Name):
			c.report(unusedTag(tag))
		case !written && !tag.External:
			c.report(neverInvalidated(tag))
		}
	}
	reported := map[*Tag]bool{}
	c.invalidates(func(_ *method, t *Target) {
		if t.Tag != nil && t.TagPkg == "" && !read[t.Tag.Name] && !exported(t.Tag.Name) && !reported[t.Tag] {
			reported[t.Tag] = true
			c.report(nothingDepends(t))
		}
	})
}

// mentioned returns the names of this package's tags that the items of a verb
// mention, also those with problems of their own, so that one mistake is not
// reported twice.
func (c *checker) mentioned(verb string) map[string]bool {
	names := map[string]bool{}
	for _, r := range c.repositories {
		for _, m := range r.methods {
			if !m.origin.unit.own {
				continue
			}
			for _, p := range m.dirs.all[verb] {
				for _, it := range p.items {
					if it.qual.text != "" {
						continue
					}
					names[it.name.text] = true
					if c.own.tags[it.name.text] == nil && r.find(it.name.text) == nil {
						names[nearest(it.name.text, c.tagNames())] = true
					}
				}
				if p.bad {
					p.words(names)
				}
			}
			for _, p := range m.dirs.unclear {
				p.words(names)
			}
		}
	}
	c.doubtfulWords(names)
	return names
}

// doubtfulWords adds to a set the words of all the directives that are not
// where they should be, and of those of an interface whose own directive is not.
func (c *checker) doubtfulWords(set map[string]bool) {
	for _, st := range c.own.source.Strays {
		st.words(set)
	}
	for _, file := range c.own.source.Files {
		for _, i := range file.Interfaces {
			if !i.Doubtful {
				continue
			}
			for _, m := range i.Members {
				for _, st := range m.Directives {
					st.words(set)
				}
			}
		}
	}
}

// tagNames returns the names of the tags of this package.
func (c *checker) tagNames() []string {
	var names []string
	for _, tag := range c.own.order {
		names = append(names, tag.Name)
	}
	return names
}

// words adds all words of the arguments to a set.
func (st *Statement) words(set map[string]bool) {
	for _, t := range tokenize(st.Args).tokens {
		set[t.lit] = true
	}
}

// checkReads checks what follows from all the writes of the package together.
func (c *checker) checkReads() {
	writtenReads := map[*Method]bool{}
	c.invalidates(func(_ *method, t *Target) {
		if t.Read != nil {
			writtenReads[t.Read] = true
		}
	})
	c.depends(func(m *method, t *Target) {
		if t.Read != nil && !writtenReads[t.Read] && !c.namedByWrite(t.Read) {
			before := len(c.diags)
			c.report(dependsOnUnwritten(t))
			c.pointToEmbedding(m, before)
		}
	})
	understood := c.writesUnderstood()
	for _, r := range c.repositories {
		for _, m := range r.methods {
			read := m.model.Read
			if read == nil || m.broken || m.dirs.one("batch") != nil {
				continue
			}
			before := len(c.diags)
			// What it depends on and nothing invalidates is reported already.
			stale := writtenReads[m.model] || len(read.Depends) > 0
			if read.TTL.Forever && !stale && understood && m.understood("depends", len(read.Depends)) {
				c.report(neverStale(m))
			}
			c.checkResultTags(m, writtenReads[m.model])
			c.pointToEmbedding(m, before)
		}
	}
}

// understood reports whether all items of a verb became targets. If not, the
// one that is reported already may be the one that is missing.
func (m *method) understood(verb string, targets int) bool {
	if len(m.dirs.unclear) > 0 {
		return false
	}
	for _, p := range m.dirs.all[verb] {
		if p.bad {
			return false
		}
		targets -= len(p.items)
	}
	return targets == 0
}

// writesUnderstood reports whether it is known what every write of the package
// invalidates.
func (c *checker) writesUnderstood() bool {
	for _, r := range c.repositories {
		for _, m := range r.methods {
			if m.broken || m.dirs.role == nil {
				return false
			}
			if w := m.model.Write; w != nil && !m.understood("invalidates", len(w.Invalidates)) {
				return false
			}
		}
	}
	return true
}

// namedByWrite reports whether a write names the read, if only in an item with
// problems.
func (c *checker) namedByWrite(read *Method) bool {
	for _, r := range c.repositories {
		if !slices.Contains(r.model.Methods, read) {
			continue
		}
		for _, m := range r.methods {
			for _, p := range m.dirs.all["invalidates"] {
				if slices.ContainsFunc(p.items, func(it item) bool { return it.name.text == read.Name }) {
					return true
				}
			}
		}
	}
	return false
}

// checkResultTags reports a read whose entries may have no tag at all: an
// error, a nil, or an empty list in or as the result has nothing to take tags
// from, so the write that changes it could not reach it. A write that names the
// read itself can.
func (c *checker) checkResultTags(m *method, written bool) {
	read := m.model.Read
	if written || len(read.Depends) == 0 || m.model.Result < 0 ||
		slices.ContainsFunc(read.Depends, func(t *Target) bool { return !t.UsesResult }) {
		return
	}
	if !m.understood("depends", len(read.Depends)) {
		return
	}
	switch {
	case len(read.Negative) > 0:
		c.report(resultTags(read.Depends[0], "a negative entry", read.Negative[0].Pos))
	case isCollection(m.model.Results[m.model.Result].Type):
		c.report(resultTags(read.Depends[0], "an empty result", m.resultPlace(m.model.Result).At))
	case !slices.ContainsFunc(read.Depends, func(t *Target) bool { return t.resultElements() == nil }):
		base := read.Depends[0].resultElements()
		c.report(resultTags(read.Depends[0], "an empty "+base.Text, base.Pos))
	}
}

// resultElements returns the part of the result that the target takes elements
// of and that may have none; nil if there is no such part.
func (t *Target) resultElements() *Expr {
	for _, each := range t.Each {
		if each.Base.UsesResult && isCollection(each.Base.Type) {
			return each.Base
		}
	}
	return nil
}

// isCollection reports whether a result of the type may be without elements.
func isCollection(t types.Type) bool {
	switch u := t.Underlying().(type) {
	case *types.Slice, *types.Map:
		return true
	case *types.Pointer:
		switch u.Elem().Underlying().(type) {
		case *types.Slice, *types.Map:
			return true
		}
	}
	return false
}

// notePartial collects the partial argument sets in use.
func (c *checker) notePartial() {
	note := func(_ *method, t *Target) {
		parts, list := 0, (*[]uint8)(nil)
		switch {
		case t.All || t.TagPkg != "":
			return
		case t.Tag != nil:
			parts, list = len(t.Tag.Params), &t.Tag.Partial
		default:
			parts, list = len(t.Read.Read.Key), &t.Read.Read.Partial
		}
		if parts > maxPartial || t.Fixed == 0 || t.Fixed == 1<<parts-1 {
			return
		}
		if at, ok := slices.BinarySearch(*list, t.Fixed); !ok {
			*list = slices.Insert(*list, at, t.Fixed)
		}
	}
	c.depends(note)
	c.invalidates(note)
}

// noteWrites collects, for people, the writes that make a read stale.
func (c *checker) noteWrites() {
	for _, r := range c.repositories {
		for _, m := range r.methods {
			read := m.model.Read
			if read == nil {
				continue
			}
			c.invalidates(func(w *method, t *Target) {
				if t.Read != m.model && !slices.ContainsFunc(read.Depends, t.meets) {
					return
				}
				if !slices.Contains(read.InvalidatedBy, w.name()) {
					read.InvalidatedBy = append(read.InvalidatedBy, w.name())
				}
			})
		}
	}
}

// meets reports whether an invalidation concerns the same tag or read as a
// dependency.
func (t *Target) meets(dep *Target) bool {
	if t.Tag != nil {
		return t.Tag == dep.Tag
	}
	return t.Read == dep.Read
}
