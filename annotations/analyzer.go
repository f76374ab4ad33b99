package annotations

import (
	"go/token"
	"go/types"
	"path/filepath"

	"golang.org/x/tools/go/analysis"
)

// Analyzer runs the checks of [Check] as a go/analysis pass. The directives of
// a package are its fact, so that packages that refer to it can be checked on
// their own. Every diagnostic has its code as category and at the end of its
// message.
var Analyzer = &analysis.Analyzer{
	Name:      "cachegen",
	Doc:       "check //cache: directives\n\nThe analyzer reports every problem in the directives of cachegen: names and types that do not fit, methods without a role, tags that nothing invalidates.",
	URL:       "https://github.com/cachegen/cachegen",
	Run:       run,
	FactTypes: []analysis.Fact{new(Source)},
}

func run(pass *analysis.Pass) (any, error) {
	src := Scan(pass.Fset, pass.Pkg.Path(), pass.Files)
	if src.HasDirectives() {
		pass.ExportPackageFact(src)
	}
	sources := map[string]*Source{}
	packages := map[string]*types.Package{}
	for _, f := range pass.AllPackageFacts() {
		if src, ok := f.Fact.(*Source); ok {
			sources[f.Package.Path()] = src
			packages[f.Package.Path()] = f.Package
		}
	}
	in := Input{
		Fset:  pass.Fset,
		Files: pass.Files,
		Types: pass.Pkg,

		ImportsOnly: true,
		Lookup: func(path string) (*types.Package, *Source) {
			return packages[path], sources[path]
		},
	}
	if pass.Module != nil {
		in.Module = pass.Module.Path
	}
	if len(pass.Files) > 0 {
		in.Dir = filepath.Dir(pass.Fset.File(pass.Files[0].Package).Name())
	}
	_, problems := Check(in)
	for _, d := range problems {
		report(pass, d)
	}
	return nil, nil
}

func report(pass *analysis.Pass, d Diagnostic) {
	from, to := tokenPos(pass, d.Pos)
	out := analysis.Diagnostic{
		Pos:      from,
		End:      to,
		Category: d.Code,
		Message:  d.Message + " [" + d.Code + "]",
	}
	if !from.IsValid() {
		// A directive of another package, which an embedded interface brings in:
		// it is reported at the embedding.
		out.Pos = pass.Files[0].Package
		for _, r := range d.Related {
			if from, to := tokenPos(pass, r.Pos); from.IsValid() {
				out.Pos, out.End = from, to
			}
		}
		out.Message = d.String()
	}
	for _, r := range d.Related {
		if from, to := tokenPos(pass, r.Pos); from.IsValid() {
			out.Related = append(out.Related, analysis.RelatedInformation{Pos: from, End: to, Message: r.Message})
		}
	}
	pass.Report(out)
}

// tokenPos returns the range of a position in the files of the pass, invalid
// ones if it is in another package.
func tokenPos(pass *analysis.Pass, p Pos) (from, to token.Pos) {
	for _, file := range pass.Files {
		f := pass.Fset.File(file.Package)
		if pass.Fset.Position(file.Package).Filename != p.File || p.Line > f.LineCount() {
			continue
		}
		start := f.LineStart(p.Line)
		if int(start)-f.Base()+p.Col-1 > f.Size() {
			return file.Package, file.Package
		}
		from = start + token.Pos(p.Col-1)
		return from, min(from+token.Pos(max(p.EndCol-p.Col, 0)), token.Pos(f.Base()+f.Size()))
	}
	return token.NoPos, token.NoPos
}
