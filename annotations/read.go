package annotations

import (
	"go/constant"
	"go/types"
	"slices"
)

// checkIgnore marks the parameters that are left out of the key.
func (c *checker) checkIgnore(m *method) {
	seen := map[string]Pos{}
	for _, p := range m.dirs.all["ignore"] {
		for _, name := range p.exprs {
			if old, ok := seen[name.text]; ok {
				c.report(duplicate(name.pos, name.text, old))
				continue
			}
			seen[name.text] = name.pos
			i := slices.IndexFunc(m.model.Params, func(p *Param) bool { return p.Name == name.text && name.text != "_" })
			switch {
			case i < 0:
				c.report(unknownParameter(name, m.fn.Name(), nearest(name.text, paramNames(m.model.Params))))
			case i == m.model.Context:
				c.report(ignoresContext(name))
			default:
				m.model.Params[i].Ignored = true
				if m.model.Params[i].Copy == CopyShared {
					// What is ignored does not make an outcome doubtful.
					m.model.Params[i].Copy = CopyNone
				}
			}
		}
	}
}

func paramNames(params []*Param) []string {
	var names []string
	for _, p := range params {
		if p.Name != "" && p.Name != "_" {
			names = append(names, p.Name)
		}
	}
	return names
}

// checkKey checks the key of a read, or makes the default one.
func (c *checker) checkKey(m *method) {
	read := m.model.Read
	dir := m.dirs.one("key")
	if dir == nil {
		for _, i := range m.args {
			p := m.model.Params[i]
			place := m.paramPlace(i)
			codec, err := c.own.keys.plan(p.Type, orUnnamed(p.Name))
			if err != nil {
				c.report(paramNotKeyable(place.Pos, p.Name, err, c.qualify))
				continue
			}
			read.Key = append(read.Key, &KeyPart{
				Expr: &Expr{
					Pos:        place.Pos,
					Text:       orUnnamed(p.Name),
					Type:       p.Type,
					Parts:      []Part{{Kind: PartParam, Text: p.Name, Index: i}},
					UsesParams: []int{i},
				},
				Codec: codec,
			})
		}
		return
	}
	read.Key = c.keyParts(m, dir, m.origin.unit, m.origin.file)
}

func orUnnamed(name string) string {
	if name == "" {
		return "_"
	}
	return name
}

// keyParts checks the expressions of a key or vary directive.
func (c *checker) keyParts(m *method, dir *parsed, u *unit, file *SourceFile) []*KeyPart {
	var parts []*KeyPart
	seen := map[string]Pos{}
	for _, text := range dir.exprs {
		if old, ok := seen[normalize(text.text)]; ok {
			c.report(duplicate(text.pos, text.text, old))
			continue
		}
		seen[normalize(text.text)] = text.pos
		x := c.value(m, u, file, text, useKey)
		if x == nil {
			continue
		}
		codec, err := c.own.keys.plan(x.Type, x.Text)
		if err != nil {
			c.report(notKeyable(text.pos, err, c.qualify))
			continue
		}
		parts = append(parts, &KeyPart{Expr: x, Codec: codec})
	}
	return parts
}

// value checks an expression of any type.
func (c *checker) value(m *method, u *unit, file *SourceFile, text piece, use scopeUse) *Expr {
	s := c.scope(m, u, file, use)
	e, ok := c.checkExpr(s, text)
	if !ok {
		return nil
	}
	return c.build(s, e, e.node)
}

// readOptions are the options of a read, with the defaults of the interfaces
// around it.
type readOptions struct {
	m        *method
	own      *parsed
	defaults []interfaceDirectives
}

// option returns an option and where it stands: the read's own, else the
// nearest default, else nil.
func (o readOptions) option(name string) (*optionText, *unit, *SourceFile) {
	if opt := o.own.option(name); opt != nil {
		return opt, o.m.origin.unit, o.m.origin.file
	}
	for _, i := range o.defaults {
		if opt := i.repository.option(name); opt != nil {
			return opt, i.unit, i.file
		}
	}
	return nil, nil, nil
}

// understood reports whether all options could be parsed. If not, one that is
// reported already may be the one that is missing.
func (o readOptions) understood() bool {
	return !o.own.bad && !slices.ContainsFunc(o.defaults, func(i interfaceDirectives) bool {
		return i.repository != nil && i.repository.bad
	})
}

func (m *method) readOptions() readOptions {
	return readOptions{m: m, own: m.dirs.one("read"), defaults: m.origin.interfaces}
}

// checkRead checks the policy of a read.
func (c *checker) checkRead(m *method) {
	if !c.checkReadResults(m) {
		return
	}
	read := m.model.Read
	result := m.model.Results[m.model.Result].Type
	_, read.Pointer = result.Underlying().(*types.Pointer)
	if batch := m.dirs.one("batch"); batch != nil {
		c.checkBatch(m, batch)
		return
	}
	opts := m.readOptions()
	c.checkVary(m)
	c.checkLifetime(m, opts)
	c.checkWaits(m, opts, m)
	c.checkResultCodec(m, opts, result)
	read.Share = opts.own.option("share") != nil
	read.Depends = c.targets(m, m.dirs.all["depends"], useDepends)
	for _, verb := range []string{"when", "unless"} {
		if p := m.dirs.one(verb); p != nil && len(p.exprs) == 1 {
			if x := c.condition(m, p.exprs[0]); x != nil {
				read.When = append(read.When, &Condition{Expr: x, Negate: verb == "unless"})
			}
		}
	}
	c.checkNegative(m)
	c.checkInKey(m)
	c.checkTagsInKey(m)
}

// checkReadResults checks that a read returns one value, or a value and an error.
func (c *checker) checkReadResults(m *method) bool {
	if !m.canBeRead() {
		c.report(readResults(m))
		return false
	}
	return true
}

// canBeRead reports whether a method returns one value, or a value and an error.
func (m *method) canBeRead() bool {
	n := len(m.model.Results)
	return m.model.Result == 0 && (n == 1 || n == 2 && m.model.Err == 1)
}

// checkVary collects the parts that the interfaces around a read, and the read
// itself, add to its key.
func (c *checker) checkVary(m *method) {
	// The annotated interface first, so that all its keys begin alike.
	for _, i := range slices.Backward(m.origin.interfaces) {
		if i.vary == nil {
			continue
		}
		before := len(c.diags)
		m.model.Read.Vary = append(m.model.Read.Vary, c.keyParts(m, i.vary, i.unit, i.file)...)
		for n, d := range c.diags[before:] {
			c.diags[before+n] = d.with(m.pos(), "for read %s", m.fn.Name())
		}
	}
	if p := m.dirs.one("vary"); p != nil {
		m.model.Read.Vary = append(m.model.Read.Vary, c.keyParts(m, p, m.origin.unit, m.origin.file)...)
	}
}

// checkLifetime checks ttl and what belongs to it.
func (c *checker) checkLifetime(m *method, opts readOptions) {
	read := m.model.Read
	if opt, u, file := opts.option("ttl"); opt == nil {
		if opts.understood() {
			c.report(noTTL(m))
		}
	} else if opt.value.text == "forever" {
		read.TTL.Forever = true
	} else if text, ok := parenthesized(opt.value); ok {
		read.TTL.Expr = c.ttlExpr(m, u, file, text)
	} else {
		read.TTL.Duration = opt.duration()
	}
	if opt, _, _ := opts.option("jitter"); opt != nil {
		read.Jitter, _ = percent(opt.value.text)
	}
	if opt, _, _ := opts.option("stale"); opt != nil {
		read.Stale = opt.duration()
	}
	if opt, _, _ := opts.option("refresh"); opt != nil {
		read.Refresh, _ = beta(opt.value.text)
	}
	if read.TTL.Forever {
		c.checkForever(m, opts)
	}
	c.checkRefresh(m, opts)
}

// checkForever switches off what has to do with the end of a lifetime where it
// has none. Only defaults may be given in vain.
func (c *checker) checkForever(m *method, opts readOptions) {
	read := m.model.Read
	ttl, _, _ := opts.option("ttl")
	for _, o := range []struct {
		name string
		on   bool
	}{{"jitter", read.Jitter > 0}, {"stale", read.Stale > 0}, {"refresh", read.Refresh > 0}} {
		if opt := opts.own.option(o.name); o.on && opt != nil {
			c.report(foreverWith(opt.name.pos, o.name, ttl.name.pos))
		}
	}
	read.Jitter, read.Stale, read.Refresh = 0, 0, 0
}

// checkRefresh checks that the arguments of a load in the background are safe from
// the caller, who does not know of it and may go on using them. A default is not
// for a read whose arguments are not.
func (c *checker) checkRefresh(m *method, opts readOptions) {
	read := m.model.Read
	shared := slices.IndexFunc(m.model.Params, func(p *Param) bool { return p.Copy == CopyShared })
	if read.Refresh == 0 || shared < 0 {
		return
	}
	read.Refresh = 0
	if opt := opts.own.option("refresh"); opt != nil {
		c.report(refreshOfShared(opt.name.pos, m.model.Params[shared].Name, m.paramPlace(shared).Pos))
	}
}

// checkWaits checks how long callers wait for a load. single is the read whose
// entries they get, the method itself unless it is a batch, and nil if it is not
// known.
func (c *checker) checkWaits(m *method, opts readOptions, single *method) {
	read := m.model.Read
	soft, _, _ := opts.option("soft")
	switch {
	case soft.duration() == 0:
		soft = nil
	case single == nil || single.model.Read.Stale > 0:
	case opts.own.option("soft") == nil:
		soft = nil // a default for the reads that keep stale values
	case single.readOptions().understood() && !single.asksForStale():
		c.report(softInVain(soft.name.pos, m, single))
		soft = nil
	}
	hard, _, _ := opts.option("hard")
	switch {
	case hard.duration() == 0:
		hard = nil
	case m.model.Err >= 0:
	case opts.own.option("hard") == nil:
		hard = nil // a default for the reads that can fail
	default:
		c.report(needsError(hard.name.pos, "hard", m.fn.Name()))
		hard = nil
	}
	read.Soft, read.Hard = soft.duration(), hard.duration()
	if read.Hard > 0 && read.Soft >= read.Hard {
		later := soft
		if later.name.pos.before(hard.name.pos) {
			later = hard
		}
		c.report(softAfterHard(later.name.pos))
	}
}

// asksForStale reports whether a read that keeps no stale value has the option
// nevertheless, in vain, as is reported there.
func (m *method) asksForStale() bool { return m.dirs.one("read").option("stale").duration() > 0 }

// ttlExpr checks a computed lifetime.
func (c *checker) ttlExpr(m *method, u *unit, file *SourceFile, text piece) *Expr {
	s := c.scope(m, u, file, useCall)
	e, ok := c.checkExpr(s, text)
	if !ok {
		return nil
	}
	if !isNamed(e.tv.Type, "time", "Duration") {
		c.report(wrongType(text, c.typeString(e.tv.Type), "a time.Duration"))
		return nil
	}
	if e.tv.Value != nil && constant.Sign(e.tv.Value) <= 0 {
		c.report(badDuration(text, &ttlOption, true))
		return nil
	}
	return c.build(s, e, e.node)
}

// condition checks the expression of when or unless.
func (c *checker) condition(m *method, text piece) *Expr {
	s := c.scope(m, m.origin.unit, m.origin.file, useCall)
	e, ok := c.checkExpr(s, text)
	if !ok {
		return nil
	}
	if b, ok := e.tv.Type.Underlying().(*types.Basic); !ok || b.Info()&types.IsBoolean == 0 {
		c.report(wrongType(text, c.typeString(e.tv.Type), "a bool"))
		return nil
	}
	return c.build(s, e, e.node)
}

// checkResultCodec chooses how the result is encoded.
func (c *checker) checkResultCodec(m *method, opts readOptions, result types.Type) {
	read := m.model.Read
	if codec := opts.own.option("codec"); codec != nil {
		read.Encoding = codec.value.text
		return
	}
	codec, err := c.results.plan(result, "")
	if err != nil {
		c.report(notEncodable(m.resultPlace(m.model.Result).At, err, c.qualify))
		return
	}
	read.Codec = codec
}

// checkNegative checks the negative directives of a read.
func (c *checker) checkNegative(m *method) {
	read := m.model.Read
	seen := map[string]Pos{}
	for _, p := range m.dirs.all["negative"] {
		if len(p.exprs) == 0 {
			continue
		}
		text := p.exprs[0]
		if old, ok := seen[normalize(text.text)]; ok {
			c.report(duplicate(text.pos, text.text, old))
			continue
		}
		seen[normalize(text.text)] = text.pos
		n := &Negative{Pos: text.pos, Nil: text.text == "nil"}
		switch {
		case n.Nil && !read.Pointer:
			c.report(negativeNil(text.pos, m.fn.Name(), c.typeString(m.model.Results[m.model.Result].Type)))
			continue
		case !n.Nil && m.model.Err < 0:
			c.report(needsError(text.pos, "negative", m.fn.Name()))
			continue
		case !n.Nil:
			if n.Err = c.sentinel(m, text); n.Err == nil {
				continue
			}
		}
		if ttl := p.option("ttl"); ttl != nil {
			n.TTL = ttl.duration()
		} else if read.TTL.Expr != nil && read.TTL.Expr.UsesResult {
			c.report(negativeTTL(text))
			continue
		}
		read.Negative = append(read.Negative, n)
	}
}

// sentinel checks the error of a negative directive.
func (c *checker) sentinel(m *method, text piece) *Expr {
	s := c.scope(m, m.origin.unit, m.origin.file, useConstant)
	e, ok := c.checkExpr(s, text)
	if !ok || !c.checkAssignable(s, e, types.Universe.Lookup("error").Type(), "negative") {
		return nil
	}
	return c.build(s, e, e.node)
}

// checkInKey checks that every parameter is part of the key, or ignored on
// purpose.
func (c *checker) checkInKey(m *method) {
	dir := m.dirs.one("key")
	if dir == nil || dir.bad || len(m.model.Read.Key) < len(dir.exprs) {
		return // the default key has them all; or a part has a problem of its own
	}
	used := map[int]bool{}
	for _, parts := range [][]*KeyPart{m.model.Read.Key, m.model.Read.Vary} {
		for _, part := range parts {
			for _, i := range part.Expr.UsesParams {
				used[i] = true
			}
		}
	}
	for _, i := range m.args {
		if p := m.model.Params[i]; !used[i] {
			c.report(notInKey(dir.Pos, i, p.Name, m.paramPlace(i).Pos))
		}
	}
}
