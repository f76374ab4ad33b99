package emit

import (
	"go/scanner"
	"go/token"
	"go/types"
	"maps"
	"slices"

	"github.com/cachegen/cachegen/annotations"
)

// mentioned calls use for every package that the signatures, expressions, tags
// and results of the model may name, in an order that depends on the model
// alone. The name is empty where the model does not know it. It calls ident for
// the names of the package itself in them, and perhaps for others that
// expressions mention.
func (f *file) mentioned(use func(path, name string), ident func(name string)) {
	inType := func(t types.Type) {
		annotations.TypeNames(t, func(obj *types.TypeName) {
			if pkg := obj.Pkg(); pkg != nil {
				use(pkg.Path(), pkg.Name())
				if pkg.Path() == f.pkg.Path {
					ident(obj.Name())
				}
			}
		})
	}
	inExpr := func(e *annotations.Expr) {
		if e == nil {
			return
		}
		for _, part := range e.Parts {
			switch part.Kind {
			case annotations.PartQual:
				use(part.Pkg, "")
			case annotations.PartText:
				identifiers(part.Text, ident)
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
				inTargets(w.Reload)
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

// identifiers calls ident for the identifiers in a piece of Go, other than those
// that are selected from something.
func identifiers(text string, ident func(name string)) {
	src := []byte(text)
	file := token.NewFileSet().AddFile("", -1, len(src))
	var s scanner.Scanner
	s.Init(file, src, func(token.Position, string) {}, 0)
	selected := false
	for {
		_, tok, lit := s.Scan()
		switch {
		case tok == token.EOF:
			return
		case tok == token.IDENT && !selected:
			ident(lit)
		}
		selected = tok == token.PERIOD
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
				needs["slices"] = needs["slices"] || copies(p, annotations.CopySlice)
				needs["maps"] = needs["maps"] || copies(p, annotations.CopyMap)
			}
			fixed := !r.TTL.Forever && r.Batch == nil
			needs["time"] = needs["time"] || fixed || max(r.Stale, r.Soft, r.Hard) > 0
			for _, n := range r.Negative {
				needs["time"] = needs["time"] || n.TTL > 0
			}
		}
	}
	return slices.Sorted(maps.Keys(needs))
}
