package annotations

import (
	"go/types"
	"slices"

	"golang.org/x/tools/go/types/typeutil"
)

// checkBatch checks a read of many against the read of one whose entries it
// shares.
func (c *checker) checkBatch(m *method, p *parsed) {
	c.checkBatchOptions(m, p)
	if len(p.items) == 0 {
		return // reported
	}
	it := p.items[0]
	single := m.repo.find(it.name.text)
	switch {
	case it.qual.text != "" || single == nil || single.model.Role != RoleRead:
		var reads []string
		for _, o := range m.repo.methods {
			if o.model.Role == RoleRead && o.dirs.one("batch") == nil {
				reads = append(reads, o.fn.Name())
			}
		}
		c.report(batchUnknown(it.head(), nearest(it.name.text, reads)))
		return
	case single.dirs.one("batch") != nil:
		c.report(badBatch(it.name.pos, it.name.text+" is a batch itself"))
		return
	case single.broken || !single.canBeRead():
		return // reported
	}
	batch := &Batch{Pos: p.Pos, Read: single.fn.Name()}
	if size := p.option("size"); size != nil {
		batch.Size, _ = count(size.value.text)
	}
	ids := c.batchArguments(m, single, it, batch)
	if ids < 0 {
		return
	}
	batch.Arg = m.model.Params[ids].Name
	key := m.model.Params[ids].Type.Underlying().(*types.Slice).Elem()
	if c.batchResult(m, single, p, key, batch) {
		m.model.Read.Batch = batch
	}
}

// checkBatchOptions reports what a batch takes over from the read of one.
func (c *checker) checkBatchOptions(m *method, p *parsed) {
	for _, o := range m.dirs.one("read").options {
		if o.name.text != "soft" && o.name.text != "hard" {
			c.report(batchConflict(o.name.pos, o.name.text))
		}
	}
	for _, verb := range []string{"depends", "negative", "key", "vary", "when", "unless"} {
		for _, other := range m.dirs.all[verb] {
			c.report(batchConflict(other.Pos, verb))
		}
	}
}

// batchArguments pairs the parameters of a batch with those of the read of one
// and returns the index of the one that holds the ids, -1 after a problem.
func (c *checker) batchArguments(m, single *method, it item, batch *Batch) int {
	if len(it.args) != len(single.args) || it.spread {
		c.report(badBatch(it.head().pos, "name a parameter of this method for each of those of "+it.name.text+paramList(single)))
		return -1
	}
	ids := -1
	used := map[int]bool{}
	for n, arg := range it.args {
		i := slices.IndexFunc(m.model.Params, func(p *Param) bool { return p.Name == arg.text && arg.text != "_" })
		if i < 0 {
			c.report(unknownParameter(arg.piece, m.fn.Name(), nearest(arg.text, paramNames(m.model.Params))))
			return -1
		}
		if used[i] {
			c.report(badBatch(arg.pos, arg.text+" is given twice"))
			return -1
		}
		used[i] = true
		if m.model.Params[i].Ignored {
			c.report(badBatch(arg.pos, arg.text+" is ignored, but "+it.name.text+" has it in its key"))
			return -1
		}
		want, got := single.model.Params[single.args[n]].Type, m.model.Params[i].Type
		switch slice, ok := got.Underlying().(*types.Slice); {
		case types.Identical(got, want):
		case ok && types.Identical(slice.Elem(), want) && ids < 0:
			ids = i
		case ok && types.Identical(slice.Elem(), want):
			c.report(badBatch(arg.pos, "only one parameter can hold the ids"))
			return -1
		default:
			c.report(badBatch(arg.pos, arg.text+" is "+c.typeString(got)+", not a slice of "+c.typeString(want)))
			return -1
		}
		batch.Args = append(batch.Args, i)
	}
	if ids < 0 {
		c.report(badBatch(it.head().pos, "one argument has to be a slice of ids"))
		return -1
	}
	for _, i := range m.args {
		if !used[i] {
			c.report(notInKey(it.head().pos, i, m.model.Params[i].Name, m.paramPlace(i).Pos))
			return -1
		}
	}
	return ids
}

func paramList(m *method) string {
	s := "("
	for n, i := range m.args {
		if n > 0 {
			s += ", "
		}
		s += orUnnamed(m.model.Params[i].Name)
	}
	return s + ")"
}

// batchResult checks the result of a batch: map[K]V, or with by a []V, where an
// element may also be what a V points to, or point to a V.
func (c *checker) batchResult(m, single *method, p *parsed, key types.Type, batch *Batch) bool {
	result := m.model.Results[m.model.Result].Type
	value := single.model.Results[single.model.Result].Type
	by := p.option("by")
	ok := false
	switch u := result.Underlying().(type) {
	case *types.Map:
		batch.Elem = u.Elem()
		if batch.Convert, ok = convert(batch.Elem, value); !ok || !types.Identical(u.Key(), key) {
			break
		}
		if by != nil {
			c.report(badBatch(by.name.pos, "by is for slices; the map is keyed by the id already"))
			return false
		}
		return true
	case *types.Slice:
		batch.Elem = u.Elem()
		if batch.Convert, ok = convert(batch.Elem, value); !ok {
			break
		}
		if by == nil {
			if !p.bad {
				c.report(badBatch(p.Pos, "a slice result needs by=, the field or method of an element that is its id"))
			}
			return false
		}
		return c.batchBy(batch, key, by)
	}
	c.report(batchShape(m.resultPlace(m.model.Result).At, c.typeString(key), c.typeString(value)))
	return false
}

// convert returns how an element becomes a value of the single read, and whether
// it can.
func convert(elem, value types.Type) (Convert, bool) {
	pointsTo := func(pointer, base types.Type) bool {
		p, ok := types.Unalias(pointer).(*types.Pointer)
		return ok && types.Identical(p.Elem(), base)
	}
	switch {
	case types.Identical(elem, value):
		return ConvertNone, true
	case pointsTo(value, elem):
		return ConvertAddress, true
	case pointsTo(elem, value):
		return ConvertDereference, true
	}
	return ConvertNone, false
}

// batchBy checks the field or method that is the id of an element. The element
// is a variable, so a method of a pointer to it will do.
func (c *checker) batchBy(batch *Batch, key types.Type, by *optionText) bool {
	elem, name := batch.Elem, by.value.text
	obj, index, _ := types.LookupFieldOrMethod(elem, true, c.in.Types, name)
	var typ types.Type
	switch obj := obj.(type) {
	case *types.Var:
		typ = obj.Type()
	case *types.Func:
		if sig := obj.Signature(); sig.Params().Len() == 0 && sig.Results().Len() == 1 {
			typ = sig.Results().At(0).Type()
			batch.ByMethod = true
		}
	}
	switch {
	case obj == nil && index != nil:
		c.report(badBatch(by.value.pos, "several embedded fields of "+c.typeString(elem)+" have a field or method "+name))
	case obj == nil:
		if pkg := declaringPackage(elem); pkg != nil && pkg != c.in.Types {
			if hidden, _, _ := types.LookupFieldOrMethod(elem, true, pkg, name); hidden != nil {
				c.report(notExported(by.value.pos, name+" of "+c.typeString(elem), pkg.Path()))
				return false
			}
		}
		c.report(batchNoField(by.value, c.typeString(elem), nearest(name, c.fieldsAndMethods(elem))))
	case typ == nil:
		c.report(badBatch(by.value.pos, name+" must take nothing and return the id"))
	case !types.Identical(typ, key):
		c.report(badBatch(by.value.pos, name+" is "+c.typeString(typ)+", not "+c.typeString(key)))
	default:
		batch.By = name
		return true
	}
	return false
}

// declaringPackage returns the package of a named type or of what a pointer
// points to, nil for other types.
func declaringPackage(t types.Type) *types.Package {
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	if named, ok := types.Unalias(t).(*types.Named); ok {
		return named.Obj().Pkg()
	}
	return nil
}

// fieldsAndMethods returns the names that can stand behind a dot after a variable
// of the type in this package, but for those that embedding brings in twice.
func (c *checker) fieldsAndMethods(t types.Type) []string {
	var names []string
	for _, sel := range typeutil.IntuitiveMethodSet(t, nil) {
		names = append(names, sel.Obj().Name())
	}
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	if s, ok := t.Underlying().(*types.Struct); ok {
		for f := range s.Fields() {
			names = append(names, f.Name())
		}
	}
	return slices.DeleteFunc(names, func(name string) bool {
		obj, _, _ := types.LookupFieldOrMethod(t, true, c.in.Types, name)
		return obj == nil
	})
}

// checkBatchPolicy checks a batch against the policy of the read of one, once
// that is known, and establishes how long callers of the batch wait.
func (c *checker) checkBatchPolicy(m *method) {
	opts := m.readOptions()
	if m.model.Read.Batch == nil {
		c.checkWaits(m, opts, nil) // the problem of the batch is reported already
		return
	}
	single := m.repo.find(m.model.Read.Batch.Read)
	c.checkWaits(m, opts, single)
	it := m.dirs.one("batch").items[0]
	for _, x := range single.model.Read.policy() {
		i := slices.IndexFunc(x.UsesParams, func(i int) bool { return single.model.Params[i].Ignored })
		if i >= 0 {
			c.report(batchWithoutParam(it.name, single.model.Params[x.UsesParams[i]].Name, x))
		}
	}
	if m.model.Context < 0 && single.model.Context >= 0 {
		if x := single.needsContext(); x != nil {
			c.report(batchWithoutContext(it.name, m.fn.Name(), x))
		}
	}
}

// needsContext returns an expression for which each entry of a read needs the
// context of its call, nil if there is none. What the tags of other reads need is
// in its key as well.
func (m *method) needsContext() *Expr {
	for _, x := range m.model.Read.policy() {
		if slices.Contains(x.UsesParams, m.model.Context) {
			return x
		}
	}
	return nil
}

// policy returns the expressions of a read's own directives that are evaluated
// for each entry.
func (r *Read) policy() []*Expr {
	var list []*Expr
	for _, part := range slices.Concat(r.Vary, r.Key) {
		list = append(list, part.Expr)
	}
	for _, t := range r.Depends {
		list = append(list, t.Exprs()...)
	}
	for _, cond := range r.When {
		list = append(list, cond.Expr)
	}
	if r.TTL.Expr != nil {
		list = append(list, r.TTL.Expr)
	}
	return list
}
