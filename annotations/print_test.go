package annotations

import (
	"fmt"
	"go/types"
	"strings"
	"time"
)

// String writes the model for the tests to compare: everything but documents,
// folders and fingerprints, in an indented form.
func (p *Package) String() string {
	w := &printer{pkg: p}
	w.line(0, "package %s %q", p.Name, p.Path)
	for _, tag := range p.Tags {
		w.tag(tag)
	}
	for _, r := range p.Repositories {
		w.line(0, "repository %s → %s, %s", r.Name, r.Wrapper, r.Constructor)
		for _, m := range r.Methods {
			w.method(m)
		}
	}
	return w.String()
}

type printer struct {
	strings.Builder
	pkg *Package
}

func (w *printer) line(indent int, format string, args ...any) {
	w.WriteString(strings.Repeat("\t", indent))
	fmt.Fprintf(w, format, args...)
	w.WriteByte('\n')
}

func (w *printer) typ(t types.Type) string {
	return types.TypeString(t, func(pkg *types.Package) string {
		if pkg.Path() == w.pkg.Path {
			return ""
		}
		return pkg.Name()
	})
}

func (w *printer) tag(tag *Tag) {
	var params []string
	for _, p := range tag.Params {
		params = append(params, p.Name+" "+w.typ(p.Type)+" as "+w.codec(p.Key))
	}
	s := fmt.Sprintf("tag %s(%s) = %s, %s", tag.Name, strings.Join(params, ", "), tag.ID, tag.Func)
	if tag.AllFunc != "" {
		s += ", " + tag.AllFunc
	}
	if tag.External {
		s += " external"
	}
	w.line(0, "%s%s", s, sets(tag.Partial))
}

// sets writes argument sets as bits, the first argument last.
func sets(list []uint8) string {
	s := ""
	for _, set := range list {
		s += fmt.Sprintf(" partial %04b", set)
	}
	return s
}

func (w *printer) method(m *Method) {
	w.line(1, "%s %s(%s) (%s) context %d result %d err %d", m.Role, m.Name,
		w.params(m.Params), w.params(m.Results), m.Context, m.Result, m.Err)
	if m.Read != nil {
		w.read(m.Read)
	}
	if m.Write != nil {
		w.targets("invalidates", m.Write.Invalidates)
		w.targets("reload", m.Write.Reload)
	}
}

func (w *printer) params(list []*Param) string {
	var params []string
	for _, p := range list {
		s := strings.TrimSpace(p.Name + " " + w.typ(p.Type))
		if p.Variadic {
			s += " variadic"
		}
		if p.Large {
			s += " large"
		}
		if p.Ignored {
			s += " ignored"
		}
		s += [...]string{CopyNone: "", CopySlice: " clone-slice", CopyMap: " clone-map", CopyStruct: " clone-fields", CopyShared: " shared"}[p.Copy]
		params = append(params, s)
	}
	return strings.Join(params, ", ")
}

func (w *printer) read(r *Read) {
	s := "ttl " + w.ttl(r.TTL)
	for _, o := range []struct {
		name  string
		value time.Duration
	}{{"stale", r.Stale}, {"soft", r.Soft}, {"hard", r.Hard}} {
		if o.value > 0 {
			s += " " + o.name + " " + shortDuration(o.value)
		}
	}
	if r.Jitter > 0 {
		s += fmt.Sprintf(" jitter %g", r.Jitter)
	}
	if r.Refresh > 0 {
		s += fmt.Sprintf(" refresh %g", r.Refresh)
	}
	if r.Share {
		s += " share"
	}
	if r.Pointer {
		s += " pointer"
	}
	w.line(2, "%s%s", s, sets(r.Partial))
	if r.Encoding != "" {
		w.line(2, "codec %s", r.Encoding)
	} else if r.Codec != nil {
		w.line(2, "codec %s", w.codec(r.Codec))
	}
	for _, part := range r.Vary {
		w.line(2, "vary %s as %s", w.expr(part.Expr), w.codec(part.Codec))
	}
	for _, part := range r.Key {
		w.line(2, "key %s as %s", w.expr(part.Expr), w.codec(part.Codec))
	}
	w.targets("depends", r.Depends)
	for _, n := range r.Negative {
		what := "nil"
		if !n.Nil {
			what = w.expr(n.Err)
		}
		w.line(2, "negative %s ttl %s", what, shortDuration(n.TTL))
	}
	for _, cond := range r.When {
		verb := "when"
		if cond.Negate {
			verb = "unless"
		}
		w.line(2, "%s %s", verb, w.expr(cond.Expr))
	}
	if b := r.Batch; b != nil {
		convert := [...]string{ConvertNone: "", ConvertAddress: " address", ConvertDereference: " dereference"}[b.Convert]
		w.line(2, "batch of %s: ids %s, args %v, by %q, size %d, elements %s%s", b.Read, b.Arg, b.Args, b.By, b.Size, w.typ(b.Elem), convert)
	}
	if len(r.InvalidatedBy) > 0 {
		w.line(2, "invalidated by %s", strings.Join(r.InvalidatedBy, ", "))
	}
}

func (w *printer) targets(verb string, list []*Target) {
	for _, t := range list {
		name := ""
		if t.Tag != nil {
			name = "tag " + t.Tag.ID
		} else {
			name = "read " + t.Read.Name
		}
		var args []string
		for _, arg := range t.Args {
			if arg == nil {
				args = append(args, "*")
				continue
			}
			args = append(args, w.expr(arg))
		}
		s := fmt.Sprintf("%s %s(%s)", verb, name, strings.Join(args, ", "))
		if t.Spread {
			s += " spread"
		}
		if t.All {
			s += " all"
		}
		s += fmt.Sprintf(" fixed %04b", t.Fixed)
		if t.UsesResult {
			s += " uses-result"
		}
		if t.MayPanic {
			s += " may-panic"
		}
		w.line(2, "%s", s)
		for i, each := range t.Each {
			w.line(3, "each %d: %s of %s", i, w.typ(each.Elem), w.expr(each.Base))
		}
	}
}

// expr writes an expression in its parts, and its type.
func (w *printer) expr(x *Expr) string {
	var b strings.Builder
	for _, p := range x.Parts {
		switch p.Kind {
		case PartText:
			b.WriteString(p.Text)
		case PartParam:
			fmt.Fprintf(&b, "‹param %d›", p.Index)
		case PartResult:
			fmt.Fprintf(&b, "‹result %d›", p.Index)
		case PartElem:
			fmt.Fprintf(&b, "‹elem %d›", p.Index)
		case PartQual:
			fmt.Fprintf(&b, "‹%s.%s›", p.Pkg, p.Text)
		}
	}
	b.WriteString(" " + w.typ(x.Type))
	if x.MayPanic {
		b.WriteString(" may-panic")
	}
	return b.String()
}

func (w *printer) codec(c *Codec) string {
	return codecPrinter{w, map[*Codec]bool{}}.print(c)
}

type codecPrinter struct {
	*printer
	inside map[*Codec]bool
}

// print writes a plan; inside of itself a recursive one is only named.
func (w codecPrinter) print(c *Codec) string {
	if c == nil {
		return "none"
	}
	name := c.Kind.String()
	if _, ok := types.Unalias(c.Type).(*types.Basic); !ok {
		name += " " + w.typ(c.Type)
	}
	if w.inside[c] {
		return "↑" + w.typ(c.Type)
	}
	w.inside[c] = true
	defer delete(w.inside, c)
	if c.Recursive {
		name = "recursive " + name
	}
	name += fmt.Sprintf(" ≥%d", c.MinSize)
	var parts []string
	if c.Key != nil {
		parts = append(parts, w.print(c.Key))
	}
	if c.Elem != nil {
		parts = append(parts, w.print(c.Elem))
	}
	for _, f := range c.Fields {
		parts = append(parts, f.Name+" "+w.print(f.Codec))
	}
	switch c.Kind {
	case CodecMarshaler:
		name += " by " + c.Marshal.String()
	case CodecStruct, CodecPointer, CodecSlice, CodecArray, CodecMap:
		name += " {" + strings.Join(parts, "; ") + "}"
	}
	return name
}

// ttl writes a lifetime the way a directive does.
func (w *printer) ttl(t TTL) string {
	switch {
	case t.Forever:
		return "forever"
	case t.Expr != nil:
		return w.expr(t.Expr)
	}
	return shortDuration(t.Duration)
}

// shortDuration writes a duration without trailing zero units: 10m, not 10m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
