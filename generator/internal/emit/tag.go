package emit

import (
	"fmt"
	"go/types"
	"slices"
	"strconv"
	"strings"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// addTags returns the body of a function that adds targets to the collection of
// that name.
func (g *method) addTags(tags string, targets []*annotations.Target, v vars, names scope) jen.Code {
	stmts := g.addTagStmts(tags, targets, v, names)
	if slices.ContainsFunc(targets, func(t *annotations.Target) bool { return len(t.Each) > 0 }) {
		return jen.Block(stmts...)
	}
	return body(stmts...)
}

// addTagStmts returns the statements: one call for the targets without a loop, a
// loop for those that go through the same lists.
func (g *method) addTagStmts(tags string, targets []*annotations.Target, v vars, names scope) []jen.Code {
	var stmts []jen.Code
	for len(targets) > 0 {
		each := targets[0].Each
		n := 1
		for n < len(targets) && sameLoops(targets[n].Each, each) {
			n++
		}
		stmts = append(stmts, loops(each, v, names, func(v vars, _ scope) []jen.Code {
			var all []jen.Code
			for _, t := range targets[:n] {
				all = append(all, g.tag(t, v))
			}
			return []jen.Code{jen.Id(tags).Dot("Add").Call(all...)}
		})...)
		targets = targets[n:]
	}
	return stmts
}

// sameLoops reports whether two items go through the same lists.
func sameLoops(a, b []*annotations.Each) bool {
	return slices.EqualFunc(a, b, func(a, b *annotations.Each) bool { return a.Base.Text == b.Base.Text })
}

// loops returns statements inside the loops of an item, if it has any. They are
// made under the names of its elements.
func loops(list []*annotations.Each, v vars, names scope, stmts func(vars, scope) []jen.Code) []jen.Code {
	inner := names.inner()
	v.elems = nil
	for _, each := range list {
		v.elems = append(v.elems, inner.pick(elemName(each)))
	}
	body := stmts(v, inner)
	for i, each := range slices.Backward(list) {
		loop := func(over jen.Code) jen.Code {
			return jen.For(jen.List(jen.Id("_"), jen.Id(v.elems[i])).Op(":=").Range().Add(over)).Block(body...)
		}
		if !slices.ContainsFunc(each.Base.Parts, func(p annotations.Part) bool { return strings.Contains(p.Text, "{") }) {
			body = []jen.Code{loop(v.expr(each.Base))}
			continue
		}
		// A brace in the header would begin the block.
		name := inner.pick("list")
		body = []jen.Code{jen.Block(jen.Id(name).Op(":=").Add(v.expr(each.Base)), loop(jen.Id(name)))}
	}
	return body
}

// elemName returns a name for an element: that of its type, or the singular of
// the list's.
func elemName(each *annotations.Each) string {
	if name := nameOfType(each.Elem); name != "" {
		return name
	}
	base := each.Base.Text
	base = base[strings.LastIndexAny(base, ".]")+1:]
	if name := strings.TrimSuffix(base, "s"); name != base && name != "" {
		return lowerFirst(name)
	}
	return "item"
}

// nameOfType returns a name for a variable of a named type or a pointer to one,
// "" for other types.
func nameOfType(t types.Type) string {
	if p, ok := types.Unalias(t).(*types.Pointer); ok {
		t = p.Elem()
	}
	if named, ok := types.Unalias(t).(*types.Named); ok {
		return lowerFirst(named.Obj().Name())
	}
	return ""
}

// tag returns the expression for one target.
func (g *method) tag(t *annotations.Target, v vars) *jen.Statement {
	if t.All {
		return g.allTag(t)
	}
	if t.Read != nil {
		return g.entry(t, v)
	}
	var args []jen.Code
	for _, arg := range t.Args {
		if arg != nil {
			args = append(args, v.expr(arg))
		}
	}
	name := t.Tag.Func
	if !full(t.Fixed, len(t.Tag.Params)) {
		name = g.file.partial[t.Tag][t.Fixed]
	}
	return g.tagFunc(t, name).Call(args...)
}

// entryOf returns the method for the tag of a target's entries, and which
// parameters of the read it takes.
func (g *method) entryOf(t *annotations.Target) (name string, used []int) {
	names, key := g.names[t.Read.Name], t.Read.Read.Key
	if full(t.Fixed, len(key)) {
		return names.entry, usedBy(key, nil)
	}
	return names.partial[t.Fixed], usedBy(key, &t.Fixed)
}

// entry returns the expression for entries of a read.
func (g *method) entry(t *annotations.Target, v vars) *jen.Statement {
	read := t.Read
	name, used := g.entryOf(t)
	var args []jen.Code
	pos := 0 // in t.Args, which has neither the context nor ignored parameters
	for i, p := range read.Params {
		switch {
		case i == read.Context:
			if slices.Contains(used, i) {
				args = append(args, jen.Id(g.ctx))
			}
			continue
		case p.Ignored:
			continue
		case !slices.Contains(used, i):
		case p.Variadic && !t.Spread:
			var list []jen.Code
			for _, arg := range t.Args[pos:] {
				list = append(list, v.expr(arg))
			}
			if len(list) == 0 {
				args = append(args, jen.Nil())
			} else {
				args = append(args, typ(p.Type).Values(list...))
			}
		default:
			args = append(args, v.expr(t.Args[pos]))
		}
		pos++
	}
	return jen.Id(g.recv).Dot(name).Call(args...)
}

// allTag returns the expression for every instance of a target.
func (g *method) allTag(t *annotations.Target) *jen.Statement {
	if t.Read != nil {
		return jen.Id(g.recv).Dot(g.fields[t.Read.Name]).Dot("AllTag").Call()
	}
	if t.Tag.AllFunc == "" {
		return g.tagFunc(t, t.Tag.Func).Call()
	}
	return g.tagFunc(t, t.Tag.AllFunc).Call()
}

func (g *method) tagFunc(t *annotations.Target, name string) *jen.Statement {
	if t.TagPkg != "" {
		return jen.Qual(t.TagPkg, name)
	}
	return jen.Id(name)
}

// full reports whether a set holds all of n arguments. With more than eight
// arguments a tag is never used in part.
func full(fixed uint8, n int) bool {
	return n >= 8 || fixed == 1<<n-1
}

func patterns(partial []uint8) []jen.Code {
	var list []jen.Code
	for _, p := range partial {
		list = append(list, jen.Op(fmt.Sprintf("0b%s", strconv.FormatUint(uint64(p), 2))))
	}
	return list
}

// namePartialTags names the functions for tags of which some arguments are
// given. Only this package uses them.
func (f *file) namePartialTags() {
	f.partial = map[*annotations.Tag]map[uint8]string{}
	for _, t := range f.pkg.Tags {
		f.partial[t] = map[uint8]string{}
		for _, fixed := range t.Partial {
			var given []string
			for i, p := range t.Params {
				if fixed&(1<<i) != 0 {
					given = append(given, p.Name)
				}
			}
			f.partial[t][fixed] = f.name(lowerFirst(t.Func) + withWords(given))
		}
	}
}

// withWords is the part of a name that lists parameters: WithAuthorAndLang.
func withWords(names []string) string {
	var words []string
	for _, name := range names {
		words = append(words, wordOf(name))
	}
	return "With" + strings.Join(words, "And")
}

// tags writes the functions of the tags the package declares.
func (f *file) tags() {
	for _, t := range f.pkg.Tags {
		f.declareTag(t, t.Func, 1<<len(t.Params)-1)
		for _, fixed := range t.Partial {
			f.declareTag(t, f.partial[t][fixed], uint(fixed))
		}
		if t.AllFunc != "" {
			comment(f.out, prose(fmt.Sprintf("%s stands for every instance of the tag %s.", t.AllFunc, t.Name)))
			f.out.Func().Id(t.AllFunc).Params().Qual(runtimePath, "Tag").Block(
				jen.Return(jen.Qual(runtimePath, "AllTag").Call(append([]jen.Code{jen.Lit(t.ID)}, patterns(t.Partial)...)...)))
			f.out.Line()
		}
	}
}

// declareTag writes the function of one tag for a set of given arguments.
func (f *file) declareTag(t *annotations.Tag, name string, fixed uint) {
	if len(t.Params) == 0 {
		comment(f.out, prose(fmt.Sprintf("%s is the tag %s.", name, t.Name)))
		f.out.Func().Id(name).Params().Qual(runtimePath, "Tag").Block(
			jen.Return(jen.Qual(runtimePath, "NewKey").Call().Dot("Tag").Call(jen.Lit(t.ID))))
		f.out.Line()
		return
	}
	names := f.used.inner()
	key := names.pickOf("key", "cacheKey")
	var params paramList
	var body []jen.Code
	body = append(body, jen.Id(key).Op(":=").Qual(runtimePath, "NewKey").Call())
	var texts []string
	for i, p := range t.Params {
		if fixed&(1<<i) == 0 {
			texts = append(texts, "*")
			body = append(body, jen.Id(key).Dot("Any").Call())
			continue
		}
		local := names.keep(p.Name)
		if local == "" {
			local = names.pick(p.Name + "Arg")
		}
		texts = append(texts, local)
		params = append(params, parameter{name: local, typ: p.Type})
		body = append(body, f.keyStmts(key, p.Key, variable(local), names)...)
		if len(t.Partial) > 0 {
			body = append(body, jen.Id(key).Dot("Next").Call())
		}
	}
	method := "Tag"
	if len(t.Partial) > 0 {
		method = "PatternTag"
	}
	body = append(body, jen.Return(jen.Id(key).Dot(method).Call(append([]jen.Code{jen.Lit(t.ID)}, patterns(t.Partial)...)...)))
	comment(f.out, prose(fmt.Sprintf("%s is the tag %s(%s).", name, t.Name, strings.Join(texts, ", "))))
	f.out.Func().Id(name).Params(params.code()...).Qual(runtimePath, "Tag").Block(body...)
	f.out.Line()
}
