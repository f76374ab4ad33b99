package emit

import (
	"go/types"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// A paramList is a list of parameters in the making.
type paramList []parameter

type parameter struct {
	name     string
	typ      types.Type
	variadic bool // typ is then the slice type
}

// add adds a parameter of the method as its interface declares it.
func (l *paramList) add(name string, p *annotations.Param) {
	*l = append(*l, parameter{name, p.Type, p.Variadic})
}

// addPlain adds it as a parameter of a helper: what is variadic arrives as a
// slice.
func (l *paramList) addPlain(name string, p *annotations.Param) {
	*l = append(*l, parameter{name, p.Type, false})
}

// code returns the parameters; those of one type in a row share its mention.
func (l paramList) code() []jen.Code {
	var list []jen.Code
	for i := 0; i < len(l); i++ {
		p := l[i]
		if p.variadic {
			list = append(list, jen.Id(p.name).Op("...").Add(typ(p.typ.Underlying().(*types.Slice).Elem())))
			continue
		}
		names := []jen.Code{jen.Id(p.name)}
		for i+1 < len(l) && !l[i+1].variadic && types.Identical(p.typ, l[i+1].typ) {
			i++
			names = append(names, jen.Id(l[i].name))
		}
		list = append(list, jen.List(names...).Add(typ(p.typ)))
	}
	return list
}
