package emit

import (
	"fmt"
	"go/types"
	"slices"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// single returns the read whose entries a batch shares.
func (g *method) single() *method { return g.method(g.m.Read.Batch.Read) }

// given returns the parameters of the read of one that a batch has arguments
// for, by index.
func (g *method) given() []int {
	m := g.single().m
	var list []int
	for i, p := range m.Params {
		if i != m.Context && !p.Ignored {
			list = append(list, i)
		}
	}
	return list
}

// ids returns the index of the parameter that holds the ids.
func (g *method) ids() int {
	for i, p := range g.m.Params {
		if p.Name == g.m.Read.Batch.Arg {
			return i
		}
	}
	panic("unreachable: a batch has a parameter for the ids")
}

// idType returns the type of an id.
func (g *method) idType() types.Type {
	return g.m.Params[g.ids()].Type.Underlying().(*types.Slice).Elem()
}

// idName returns the name that an id would have: that of the read of one.
func (g *method) idName() string {
	for n, i := range g.given() {
		if g.m.Read.Batch.Args[n] == g.ids() {
			return g.single().params[i]
		}
	}
	panic("unreachable: a batch gives the ids to the read of one")
}

// entryType returns the type of the result of the read of one.
func (g *method) entryType() types.Type {
	m := g.single().m
	return m.Results[m.Result].Type
}

// resultType returns the type of the result.
func (g *method) resultType() types.Type { return g.m.Results[g.m.Result].Type }

// batchType returns the type of the runtime's side of a batch.
func (g *method) batchType() *jen.Statement {
	return jen.Qual(runtimePath, "Batch").Index(jen.List(typ(g.idType()), typ(g.entryType())))
}

// newBatch returns the call that makes the runtime's side of a batch for the
// wrapper of that name.
func (g *method) newBatch(wrapper string) *jen.Statement {
	values := []jen.Code{field("Method", jen.Lit(g.m.Name))}
	if size := g.m.Read.Batch.Size; size > 0 {
		values = append(values, field("Size", jen.Lit(size)))
	}
	values = append(values, g.waits()...)
	values = append(values, g.promises()...)
	return jen.Qual(runtimePath, "NewBatch").Index(typ(g.idType())).Call(
		jen.Id(wrapper).Dot(g.single().field),
		jen.Qual(runtimePath, "BatchConfig").Add(lines(values)),
	)
}

// batch writes a method that reads many at once.
func (g *method) batch() {
	ids := g.ids()
	var stmts []jen.Code
	if g.m.Context < 0 {
		stmts = append(stmts, jen.Id(g.ctx).Op(":=").Qual("context", "Background").Call())
	}
	copies, params := g.copies(ids)
	stmts = append(stmts, copies...)

	loader := g.batchLoader(params) // before the names around it, which are not in its scope
	found, err := g.scope.pickOf("found", "results"), "_"
	if g.m.Err >= 0 {
		if err = g.results[g.m.Err]; err == "" || err == "_" {
			err = g.scope.pick("err")
		}
	}
	stmts = append(stmts, jen.List(jen.Id(found), jen.Id(err)).Op(":=").Add(g.handle()).Dot("Load").Call(
		jen.Id(g.ctx), jen.Id(g.params[ids]),
		jen.Qual(runtimePath, "BatchLoader").Index(jen.List(typ(g.idType()), typ(g.entryType()))).Add(lines(loader)),
	))
	if g.m.Err >= 0 {
		stmts = append(stmts, jen.If(jen.Id(err).Op("!=").Nil()).Block(jen.Return(jen.Nil(), jen.Id(err))))
	}
	stmts = append(stmts, g.gather(found)...)
	g.declare(docOf(g.m, g.batchPolicy()), g.m.Name, g.paramList(), g.resultList(), stmts...)
}

// gather returns the statements that make the result of what was found.
func (g *method) gather(found string) []jen.Code {
	result, op := g.results[g.m.Result], "="
	if result == "" || result == "_" {
		result, op = g.scope.pickOf("result", "all"), ":="
	}
	inner := g.scope.inner()
	each := inner.pickOf("f", "item")
	value := jen.Id(each).Dot("Value")
	switch g.m.Read.Batch.Convert {
	case annotations.ConvertAddress:
		value = jen.Op("*").Add(value)
	case annotations.ConvertDereference:
		value = jen.Op("&").Add(value)
	}
	index, at := jen.Id("_"), jen.Id(each).Dot("ID")
	if g.m.Read.Batch.By != "" {
		i := inner.pickIndex()
		index, at = jen.Id(i), jen.Id(i)
	}
	returned := []jen.Code{jen.Id(result)}
	if g.m.Err >= 0 {
		returned = append(returned, jen.Nil())
	}
	return []jen.Code{
		jen.Id(result).Op(op).Make(typ(g.resultType()), jen.Len(jen.Id(found))),
		jen.For(jen.List(index, jen.Id(each)).Op(":=").Range().Id(found)).Block(
			jen.Id(result).Index(at).Op("=").Add(value),
		),
		jen.Return(returned...),
	}
}

// batchLoader returns the fields of a BatchLoader: what the read of one says of
// each id, and how to load many. params are the names under which the load knows
// the parameters.
func (g *method) batchLoader(params []string) []jen.Code {
	single := g.single()
	names, r := g.names[single.m.Name], single.m.Read

	inner := g.scope.without(g.results)
	key, id := inner.pickOf("key", "cacheKey"), inner.pick(g.idName())
	args := make([]string, len(single.m.Params)) // the read's, for one id
	for n, i := range g.given() {
		args[i] = params[g.m.Read.Batch.Args[n]]
		if g.m.Read.Batch.Args[n] == g.ids() {
			args[i] = id
		}
	}
	idParam := jen.Id(id).Add(typ(g.idType()))
	onlyID := shared{params: []int{slices.Index(args, id)}}

	var adds []jen.Code
	add := func(method string, parts []*annotations.KeyPart) {
		adds = append(adds, jen.Id(g.recv).Dot(method).Call(single.partArgs(key, parts, g.ctx, args)...))
	}
	if len(r.Vary) > 0 {
		add(names.vary, r.Vary)
		adds = append(adds, jen.Id(key).Dot("Args").Call())
	}
	add(names.key, r.Key)
	writeKey := jen.Func().Params(jen.Id(key).Op("*").Qual(runtimePath, "Key"), idParam).Add(body(adds...))
	if len(r.Vary) == 0 && slices.Equal(usedBy(r.Key, nil), onlyID.params) {
		writeKey = jen.Id(g.recv).Dot(names.key)
	}
	values := []jen.Code{field("Key", writeKey)}
	// tell returns a function of the id that returns what a shared method says.
	tell := func(method string, uses shared, result jen.Code) *jen.Statement {
		param := idParam.Clone()
		switch {
		case uses.equal(onlyID):
			return jen.Id(g.recv).Dot(method)
		case !slices.Contains(uses.params, onlyID.params[0]):
			param = typ(g.idType())
		}
		return jen.Func().Params(param).Add(result).Add(oneLine(
			jen.Return(jen.Id(g.recv).Dot(method).Call(uses.args(g.ctx, args)...))))
	}
	if names.cached != "" {
		values = append(values, field("Cached", tell(names.cached, single.conditionUses(), jen.Bool())))
	}
	if names.policy != "" {
		values = append(values, field("Policy", tell(names.policy, single.policyUses(), single.loaderType())))
	}
	return append(values, field("Call", g.loadMany(params, id)))
}

// loadMany returns the function that calls the repository with the ids that are
// missing, and tells what it found.
func (g *method) loadMany(params []string, idName string) *jen.Statement {
	b := g.m.Read.Batch
	inner := g.scope.without(g.results)
	add, err := inner.pickOf("add", "addFound"), "_"
	inner.add(idName)

	ctx := jen.Id("_").Qual("context", "Context")
	if g.m.Context >= 0 {
		ctx = jen.Id(g.ctx).Qual("context", "Context")
	}
	params = append([]string(nil), params...)
	ids := g.ids()
	params[ids] = g.params[ids]

	loaded := inner.pickOf("loaded", "batch")
	assigned := []jen.Code{jen.Id(loaded)}
	var returned jen.Code = jen.Nil()
	if g.m.Err >= 0 {
		err = inner.pick("err")
		assigned, returned = append(assigned, jen.Id(err)), jen.Id(err)
	}
	elem := nameOfType(b.Elem)
	if elem == "" {
		elem = "value"
	}
	elem = inner.pick(elem)

	var id, value jen.Code = jen.Id(idName), jen.Id(elem)
	index := jen.Id(idName)
	if b.By != "" {
		index = jen.Id("_")
		selected := jen.Id(elem).Dot(b.By)
		if b.ByMethod {
			selected.Call()
		}
		id = selected
	}
	switch b.Convert {
	case annotations.ConvertAddress:
		value = jen.Op("&").Id(elem)
	case annotations.ConvertDereference:
		value = jen.Op("*").Id(elem)
	}
	var tell jen.Code = jen.Id(add).Call(id, value)
	if isNilable(b.Elem) && (b.By != "" || b.Convert == annotations.ConvertDereference) {
		tell = jen.If(jen.Id(elem).Op("!=").Nil()).Block(tell)
	}
	return jen.Func().Params(
		ctx,
		jen.Id(params[ids]).Index().Add(typ(g.idType())),
		jen.Id(add).Func().Params(typ(g.idType()), typ(g.entryType())),
	).Error().Block(
		jen.List(assigned...).Op(":=").Add(g.call(params)),
		jen.For(jen.List(index, jen.Id(elem)).Op(":=").Range().Id(loaded)).Block(tell),
		jen.Return(returned),
	)
}

func isNilable(t types.Type) bool {
	switch t.Underlying().(type) {
	case *types.Pointer, *types.Interface:
		return true
	}
	return false
}

// batchPolicy says in a sentence or two what a batch does.
func (g *method) batchPolicy() string {
	b := g.m.Read.Batch
	s := fmt.Sprintf("is cached as entries of %s, by %s: only the missing ones are loaded", b.Read, enumerate(g.batchArgs()))
	if b.Size > 0 {
		s += fmt.Sprintf(", at most %d in a call", b.Size)
	}
	return s + "." + waitText(g.m.Read)
}

// batchSummary is the same in a few words, for a table.
func (g *method) batchSummary() string {
	s := fmt.Sprintf("of %s, by %s", g.m.Read.Batch.Read, enumerate(g.batchArgs()))
	if hard := g.m.Read.Hard; hard > 0 {
		s += ", answered within " + shortDuration(hard)
	}
	return s
}

// batchArgs lists the parameters that are the arguments of the read of one.
func (g *method) batchArgs() []string {
	var list []string
	for _, i := range g.m.Read.Batch.Args {
		list = append(list, g.params[i])
	}
	return list
}
