package annotations

import (
	"go/types"
	"slices"
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
			if o.model.Role == RoleRead && o != m {
				reads = append(reads, o.fn.Name())
			}
		}
		c.report(batchUnknown(it.head(), nearest(it.name.text, reads)))
		return
	case single.dirs.one("batch") != nil:
		c.report(badBatch(it.name.pos, it.name.text+" is a batch itself"))
		return
	case single.broken || single.model.Result != 0:
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

// batchResult checks the result of a batch: map[K]V, or with by a []V.
func (c *checker) batchResult(m, single *method, p *parsed, key types.Type, batch *Batch) bool {
	result := m.model.Results[m.model.Result].Type
	value := single.model.Results[single.model.Result].Type
	at := m.resultPlace(m.model.Result).At
	by := p.option("by")
	switch u := result.Underlying().(type) {
	case *types.Map:
		if !types.Identical(u.Key(), key) || !types.Identical(u.Elem(), value) {
			c.report(batchShape(at, c.typeString(key), c.typeString(value)))
			return false
		}
		if by != nil {
			c.report(badBatch(by.name.pos, "by is for slices; the map is keyed by the id already"))
			return false
		}
		return true
	case *types.Slice:
		if !types.Identical(u.Elem(), value) {
			break
		}
		if by == nil {
			c.report(badBatch(p.Pos, "a slice result needs by=, the field or method of an element that is its id"))
			return false
		}
		batch.By = by.value.text
		return c.batchBy(value, key, by)
	}
	c.report(batchShape(at, c.typeString(key), c.typeString(value)))
	return false
}

// batchBy checks the field or method that is the id of an element.
func (c *checker) batchBy(value, key types.Type, by *optionText) bool {
	obj, _, _ := types.LookupFieldOrMethod(value, true, c.in.Types, by.value.text)
	var typ types.Type
	switch obj := obj.(type) {
	case *types.Var:
		typ = obj.Type()
	case *types.Func:
		if sig := obj.Signature(); sig.Params().Len() == 0 && sig.Results().Len() == 1 {
			typ = sig.Results().At(0).Type()
		}
	}
	switch {
	case obj == nil:
		c.report(badBatch(by.value.pos, c.typeString(value)+" has no field or method "+by.value.text))
	case typ == nil:
		c.report(badBatch(by.value.pos, by.value.text+" must take nothing and return the id"))
	case !types.Identical(typ, key):
		c.report(badBatch(by.value.pos, by.value.text+" is "+c.typeString(typ)+", not "+c.typeString(key)))
	default:
		return true
	}
	return false
}
