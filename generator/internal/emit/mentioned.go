package emit

import (
	"go/types"
	"maps"
	"slices"

	"github.com/cachegen/cachegen/annotations"
)

// mentioned calls use for every package that the signatures, expressions, tags
// and results of the model may name, in an order that depends on the model
// alone. The name is empty where the model does not know it.
func (f *file) mentioned(use func(path, name string)) {
	inType := func(t types.Type) {
		types.TypeString(t, func(p *types.Package) string {
			use(p.Path(), p.Name())
			return p.Name()
		})
	}
	inExpr := func(e *annotations.Expr) {
		if e == nil {
			return
		}
		for _, part := range e.Parts {
			if part.Kind == annotations.PartQual {
				use(part.Pkg, "")
			}
		}
	}
	seen := map[*annotations.Codec]bool{}
	var inCodec func(c *annotations.Codec)
	inCodec = func(c *annotations.Codec) {
		if c == nil || seen[c] {
			return
		}
		seen[c] = true
		inType(c.Type)
		if c.Kind == annotations.CodecTime {
			use("time", "time") // for the conversion of types declared after time.Time
		}
		inCodec(c.Elem)
		inCodec(c.Key)
		for _, field := range c.Fields {
			inCodec(field.Codec)
		}
	}
	inTargets := func(targets []*annotations.Target) {
		for _, t := range targets {
			use(t.TagPkg, "")
			for _, arg := range t.Args {
				inExpr(arg)
			}
			for _, each := range t.Each {
				inExpr(each.Base)
			}
		}
	}
	inParts := func(parts []*annotations.KeyPart) {
		for _, part := range parts {
			inExpr(part.Expr)
			inCodec(part.Codec)
		}
	}
	for _, tag := range f.pkg.Tags {
		for _, p := range tag.Params {
			inType(p.Type)
			inCodec(p.Key)
		}
	}
	for _, repo := range f.pkg.Repositories {
		for _, m := range repo.Methods {
			for _, p := range m.Params {
				inType(p.Type)
			}
			for _, r := range m.Results {
				inType(r.Type)
			}
			if w := m.Write; w != nil {
				inTargets(w.Invalidates)
			}
			if r := m.Read; r != nil {
				inExpr(r.TTL.Expr)
				inCodec(r.Codec)
				inParts(r.Vary)
				inParts(r.Key)
				inTargets(r.Depends)
				for _, n := range r.Negative {
					inExpr(n.Err)
				}
				for _, w := range r.When {
					inExpr(w.Expr)
				}
			}
		}
	}
}

// libraries returns the packages of the standard library that generated code
// needs for its own purposes.
func (f *file) libraries() []string {
	needs := map[string]bool{}
	for _, repo := range f.pkg.Repositories {
		for _, m := range repo.Methods {
			r := m.Read
			if r == nil {
				continue
			}
			switch r.Encoding {
			case "gob":
				needs["bytes"], needs["encoding/gob"] = true, true
			case "json":
				needs["encoding/json"] = true
			}
			for _, p := range m.Params {
				switch p.Copy {
				case annotations.CopySlice:
					needs["slices"] = true
				case annotations.CopyMap:
					needs["maps"] = true
				}
			}
			needs["time"] = needs["time"] || !r.TTL.Forever
			for _, n := range r.Negative {
				needs["time"] = needs["time"] || n.TTL > 0
			}
		}
	}
	return slices.Sorted(maps.Keys(needs))
}
