package emit

import (
	"fmt"
	"slices"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// usedBy returns the parameters that key parts mention, in order. With a set
// other than nil, only the parts in it count.
func usedBy(parts []*annotations.KeyPart, fixed *uint8) []int {
	var used []int
	for i, part := range parts {
		if fixed == nil || *fixed&(1<<i) != 0 {
			used = append(used, part.Expr.UsesParams...)
		}
	}
	slices.Sort(used)
	return slices.Compact(used)
}

// keyArgs returns the arguments for a method that writes key parts: what it is
// to add them to, after the context if it needs that, and the parameters that
// the parts mention.
func (g *method) keyArgs(key string, parts []*annotations.KeyPart) []jen.Code {
	return g.partArgs(key, parts, g.ctx, g.params)
}

// partArgs is keyArgs for a caller that has other names for the context and the
// parameters.
func (g *method) partArgs(key string, parts []*annotations.KeyPart, ctx string, params []string) []jen.Code {
	args := []jen.Code{jen.Id(key)}
	for _, i := range usedBy(parts, nil) {
		if i == g.m.Context {
			args = append([]jen.Code{jen.Id(ctx)}, args...)
		} else {
			args = append(args, jen.Id(params[i]))
		}
	}
	return args
}

// keyMethods writes the methods that put together a read's key. Reads and
// invalidations share them, so that they cannot drift apart.
func (g *method) keyMethods(names *readNames) {
	m, r := g.m, g.m.Read
	if len(r.Vary) > 0 {
		g.keyMethod(names.vary, fmt.Sprintf("%s adds what every key of %s varies by.", names.vary, m.Name), r.Vary, false)
	}
	if len(r.Key) > 0 {
		g.keyMethod(names.key, fmt.Sprintf("%s adds what tells one entry of %s from another.", names.key, m.Name), r.Key, len(r.Partial) > 0)
	}
}

func (g *method) keyMethod(name, doc string, parts []*annotations.KeyPart, separate bool) {
	scope := g.file.used.inner()
	scope.add(g.recv)
	for _, p := range g.params {
		scope.add(p)
	}
	key := scope.pickOf("key", "cacheKey")
	params := []jen.Code{jen.Id(key).Op("*").Qual(runtimePath, "Key")}
	var list paramList
	for _, i := range usedBy(parts, nil) {
		if i == g.m.Context {
			params = append([]jen.Code{jen.Id(g.ctx).Qual("context", "Context")}, params...)
		} else {
			list.addPlain(g.params[i], g.m.Params[i])
		}
	}
	var body []jen.Code
	if slices.ContainsFunc(parts, func(p *annotations.KeyPart) bool { return p.Expr.MayPanic }) {
		body = append(body, jen.Defer().Id(key).Dot("Recover").Call())
	}
	for _, part := range parts {
		body = append(body, g.keyPart(key, part, scope)...)
		if separate {
			body = append(body, jen.Id(key).Dot("Next").Call())
		}
	}
	g.declare(prose(doc), name, append(params, list.code()...), nil, body...)
}

// keyPart returns the statements that add one part to a key.
func (g *method) keyPart(key string, part *annotations.KeyPart, scope scope) []jen.Code {
	v := g.vars().expr(part.Expr)
	if isName(part.Expr) {
		if i := part.Expr.Parts[0].Index; g.m.Params[i].Variadic {
			return g.file.variadicKey(key, part.Codec, variable(g.params[i]), scope)
		}
		return g.file.keyStmts(key, part.Codec, variable(g.params[part.Expr.Parts[0].Index]), scope)
	}
	if !usesTwice(part.Codec) {
		return g.file.keyStmts(key, part.Codec, place{expr: v}, scope)
	}
	inner := scope.inner()
	name := inner.pick("part")
	stmts := []jen.Code{jen.Id(name).Op(":=").Add(v)}
	return []jen.Code{jen.Block(append(stmts, g.file.keyStmts(key, part.Codec, variable(name), inner)...)...)}
}

// isName reports whether an expression is nothing but a parameter.
func isName(e *annotations.Expr) bool {
	return len(e.Parts) == 1 && e.Parts[0].Kind == annotations.PartParam
}

// usesTwice reports whether the statements for a plan mention the value more
// than once.
func usesTwice(c *annotations.Codec) bool {
	switch c.Kind {
	case annotations.CodecPointer, annotations.CodecSlice, annotations.CodecArray, annotations.CodecMap, annotations.CodecMarshaler:
		return true
	case annotations.CodecStruct:
		return !hasFunction(c)
	}
	return false
}

// invalidateMethods writes the entry tags of a read and the methods that
// invalidate by hand.
func (g *method) invalidateMethods(names *readNames) {
	m, r := g.m, g.m.Read
	all := uint8(1<<min(len(r.Key), 8) - 1)

	g.entryMethod(names.entry, fmt.Sprintf("%s is the tag of one entry of %s%s.", names.entry, m.Name, variants(r)), all, names)
	for _, fixed := range r.Partial {
		name := names.partial[fixed]
		g.entryMethod(name, fmt.Sprintf("%s is the tag of the entries of %s that agree in these arguments.", name, m.Name), fixed, names)
	}
	scope := g.file.used.inner()
	scope.add(g.recv)
	for _, p := range g.params {
		scope.add(p)
	}
	ctx := scope.pick("ctx")
	if m.Context >= 0 {
		ctx = g.ctx
	}
	var list paramList
	for i, p := range m.Params {
		if i != m.Context && !p.Ignored {
			list.add(g.params[i], p)
		}
	}
	var args []jen.Code
	for _, i := range usedBy(r.Key, nil) {
		args = append(args, jen.Id(g.params[i]))
	}
	invalidate := func(tag jen.Code) jen.Code {
		return jen.Return(jen.Id(g.recv).Dot(g.cacheField).Dot("Invalidate").Call(jen.Id(ctx), tag))
	}
	which := "the entry of " + m.Name
	if len(list) > 0 {
		which += " for these arguments"
	}
	params := []jen.Code{jen.Id(ctx).Qual("context", "Context")}
	const failed = " Its error is that of [cacheruntime.Cache.Invalidate]."
	g.declare(prose(fmt.Sprintf("%s makes %s stale%s.", names.invalidate, which, variants(r))+failed),
		names.invalidate, append(params, list.code()...), jen.Error(), invalidate(jen.Id(g.recv).Dot(names.entry).Call(args...)))
	g.declare(prose(fmt.Sprintf("%s makes every entry of %s stale.", names.invalidateAll, m.Name)+failed),
		names.invalidateAll, params, jen.Error(),
		invalidate(g.handle().Dot("AllTag").Call()))
}

// variants says that a tag of entries covers whatever the read varies by.
func variants(r *annotations.Read) string {
	if len(r.Vary) == 0 {
		return ""
	}
	return ", in all its variants"
}

// entryMethod writes the method that returns the tag of the entries with the
// given key parts.
func (g *method) entryMethod(name, doc string, fixed uint8, names *readNames) {
	r := g.m.Read
	scope := g.file.used.inner()
	scope.add(g.recv)
	for _, p := range g.params {
		scope.add(p)
	}
	key := scope.pickOf("key", "cacheKey")
	whole := full(fixed, len(r.Key))
	used := usedBy(r.Key, &fixed)
	if whole {
		used = usedBy(r.Key, nil)
	}
	var params paramList
	for _, i := range used {
		params.addPlain(g.params[i], g.m.Params[i])
	}
	body := []jen.Code{jen.Id(key).Op(":=").Qual(runtimePath, "NewKey").Call()}
	switch {
	case whole && len(r.Key) > 0:
		body = append(body, jen.Id(g.recv).Dot(names.key).Call(g.keyArgs(key, r.Key)...))
	case !whole:
		for i, part := range r.Key {
			if fixed&(1<<i) == 0 {
				body = append(body, jen.Id(key).Dot("Any").Call())
				continue
			}
			body = append(body, g.keyPart(key, part, scope)...)
			body = append(body, jen.Id(key).Dot("Next").Call())
		}
	}
	if len(r.Key) == 0 {
		body = []jen.Code{jen.Return(g.handle().Dot("Tag").Call(jen.Qual(runtimePath, "NewKey").Call()))}
	} else {
		body = append(body, jen.Return(g.handle().Dot("Tag").Call(jen.Id(key))))
	}
	g.declare(prose(doc), name, params.code(), jen.Qual(runtimePath, "Tag"), body...)
}

// keyStmts returns the statements that add v to a key after plan c. v is
// written several times: it must be cheap and without side effect.
func (f *file) keyStmts(key string, c *annotations.Codec, v place, scope scope) []jen.Code {
	add := func(method string, args ...jen.Code) *jen.Statement { return jen.Id(key).Dot(method).Call(args...) }
	switch {
	case isByteArray(c):
		return []jen.Code{add("Bytes", v.slice())}
	case hasFunction(c):
		return []jen.Code{jen.Id(f.keyers.name(c, f.keyFunction)).Call(jen.Id(key), v.value())}
	}
	switch c.Kind {
	case annotations.CodecPointer:
		return []jen.Code{jen.If(v.value().Op("==").Nil()).Block(
			add("Nil"),
		).Else().Block(
			append([]jen.Code{add("Some")}, f.keyStmts(key, c.Elem, v.target(), scope)...)...,
		)}
	case annotations.CodecSlice:
		return []jen.Code{jen.If(v.value().Op("==").Nil()).Block(
			add("Nil"),
		).Else().Block(
			f.listKey(key, c, v, scope)...,
		)}
	case annotations.CodecArray:
		return f.listKey(key, c, v, scope)
	case annotations.CodecMap:
		entries := scope.pick("entries")
		inner := scope.inner()
		k, e := inner.pick("k"), inner.pick("elem")
		body := []jen.Code{jen.Id(entries).Dot("Entry").Call()}
		body = append(body, f.keyStmts(key, c.Key, variable(k), inner)...)
		body = append(body, f.keyStmts(key, c.Elem, variable(e), inner)...)
		return []jen.Code{
			jen.Id(entries).Op(":=").Add(add("Map", jen.Len(v.value()), v.value().Op("==").Nil())),
			forRange(ifUsed(k, c.Key), ifUsed(e, c.Elem), v.value(), body),
			jen.Id(entries).Dot("End").Call(),
		}
	case annotations.CodecStruct:
		stmts := []jen.Code{add("Struct", jen.Lit(len(c.Fields)))}
		for _, field := range c.Fields {
			stmts = append(stmts, f.keyStmts(key, field.Codec, v.field(field.Name), scope)...)
		}
		return stmts
	case annotations.CodecMarshaler:
		return []jen.Code{add(marshalMethod(c.Marshal), v.addr())}
	case annotations.CodecInterface:
		return []jen.Code{add("Interface", v.value())}
	}
	return []jen.Code{putScalar(key, c, v.value())}
}

// listKey returns the statements that add a list that is not nil.
func (f *file) listKey(key string, c *annotations.Codec, v place, scope scope) []jen.Code {
	inner := scope.inner()
	item := inner.pick("item")
	return []jen.Code{
		jen.Id(key).Dot("List").Call(jen.Len(v.value())),
		forRange("", ifUsed(item, c.Elem), v.value(), f.keyStmts(key, c.Elem, variable(item), inner)),
	}
}

// ifUsed returns the name of a variable, or "" if what is written for plan c
// does not mention it.
func ifUsed(name string, c *annotations.Codec) string {
	if isStateless(c) {
		return ""
	}
	return name
}

// variadicKey returns the statements that add a variadic parameter. No
// arguments and an empty list are the same call.
func (f *file) variadicKey(key string, c *annotations.Codec, v place, scope scope) []jen.Code {
	if c.Kind == annotations.CodecBytes {
		return []jen.Code{jen.Id(key).Dot("String").Call(jen.String().Parens(v.value()))}
	}
	return f.listKey(key, c, v, scope)
}

// keyFunction writes the function that adds a value of a named or recursive
// type to a key.
func (f *file) keyFunction(name string, c *annotations.Codec) {
	scope := f.used.inner()
	key, v := scope.pickOf("key", "cacheKey"), scope.pick("v")
	plain := *c
	plain.Recursive = false
	plain.Type = c.Type.Underlying()
	body := f.keyStmts(key, &plain, variable(v), scope)
	if c.Recursive {
		body = append([]jen.Code{jen.If(jen.Op("!").Id(key).Dot("Enter").Call()).Block(jen.Return())}, body...)
		body = append(body, jen.Id(key).Dot("Leave").Call())
	}
	f.out.Func().Id(name).Params(
		jen.Id(key).Op("*").Qual(runtimePath, "Key"),
		jen.Id(v).Add(typ(c.Type)),
	).Block(body...)
	f.out.Line()
}
