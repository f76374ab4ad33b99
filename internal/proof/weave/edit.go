package weave

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"
)

// hooks is the package that is called, and hooksName what it is called by: no name
// of runtime's, nor of its tests.
const (
	hooks     = "github.com/cachegen/cachegen/internal/proof/schedule"
	hooksName = "woven"
)

// counters are atomic fields that nothing depends on: hooks before them would
// make a search longer and tell nothing.
var counters = []string{"loadsRunning", "loadsWaiting"}

// weave returns the files with hooks.
func (l *listing) weave(sources map[string][]byte, names []string) (map[string][]byte, error) {
	fset := token.NewFileSet()
	files := map[string]*ast.File{}
	var all []*ast.File
	for _, name := range l.GoFiles {
		f, err := parser.ParseFile(fset, name, sources[name], parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("weave: %w", err)
		}
		files[name] = f
		all = append(all, f)
	}
	info := &types.Info{
		Types:      map[ast.Expr]types.TypeAndValue{},
		Uses:       map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	config := types.Config{Importer: l.importer(fset)}
	if _, err := config.Check(l.ImportPath, fset, all, info); err != nil {
		return nil, fmt.Errorf("weave: the runtime, as patched, does not compile: %w", err)
	}
	woven := map[string][]byte{}
	for _, name := range names {
		if files[name] == nil {
			return nil, fmt.Errorf("weave: %s is no file of runtime", name)
		}
		e := &editor{fset: fset, info: info, source: sources[name], calls: map[ast.Expr]bool{}}
		text, err := e.file(files[name])
		if err != nil {
			return nil, err
		}
		woven[name] = text
	}
	return woven, nil
}

// An editor puts hooks into a file.
type editor struct {
	fset   *token.FileSet
	info   *types.Info
	source []byte

	path  []ast.Node        // from the file to the node that is looked at
	calls map[ast.Expr]bool // functions that have been replaced, or need not be
	ends  []string          // what the file needs at its end
	edits []edit
	err   error // the first
}

// An edit replaces bytes of the file. Those at the same place are made in the order
// in which they were found, which is from the outer node to the inner.
type edit struct {
	from, to int
	text     string
}

func (e *editor) file(f *ast.File) ([]byte, error) {
	ast.PreorderStack(f, nil, func(n ast.Node, above []ast.Node) bool {
		e.path = above
		e.visit(n)
		return e.err == nil
	})
	if e.err != nil || len(e.edits) == 0 {
		return e.source, e.err
	}
	e.insert(f.Name.End(), fmt.Sprintf("; import %s %q", hooksName, hooks))
	for _, end := range e.ends {
		e.edits = append(e.edits, edit{len(e.source), len(e.source), end})
	}
	slices.SortStableFunc(e.edits, func(a, b edit) int { return cmp.Compare(a.from, b.from) })
	var text []byte
	at := 0
	for _, edit := range e.edits {
		text = append(text, e.source[at:edit.from]...)
		text = append(text, edit.text...)
		at = edit.to
	}
	return append(text, e.source[at:]...), nil
}

func (e *editor) visit(n ast.Node) {
	switch n := n.(type) {
	case *ast.CallExpr:
		e.call(n)
	case *ast.SelectorExpr:
		e.selector(n)
	case *ast.GoStmt:
		e.goStatement(n)
	case *ast.SelectStmt:
		e.selectStatement(n)
	}
}

// selectStatement replaces a select that waits for channels, and takes no values from
// them, by a switch. It puts a hook before one that does not wait if it comes after one
// that does, in the same function: what was closed meanwhile decides. A look ahead of a
// wait tells nothing that the wait would not tell. Other channel operations need no hooks:
// see schedule.Close.
func (e *editor) selectStatement(n *ast.SelectStmt) {
	if !waits(n) {
		if e.waited(n) {
			e.insert(n.Select, hooksName+".Poll(); ")
		}
		return
	}
	var channels []string
	var edits []edit
	for i, s := range n.Body.List {
		clause := s.(*ast.CommClause)
		receive, ok := clause.Comm.(*ast.ExprStmt)
		if !ok {
			return
		}
		channel := ast.Unparen(receive.X).(*ast.UnaryExpr).X
		channels = append(channels, string(e.text(channel)))
		edits = append(edits, edit{e.offset(clause.Case), e.offset(clause.Colon), fmt.Sprintf("case %d", i)})
	}
	e.edits = append(e.edits, edit{e.offset(n.Select), e.offset(n.Body.Lbrace),
		fmt.Sprintf("switch %s.Select(%s) ", hooksName, strings.Join(channels, ", "))})
	e.edits = append(e.edits, edits...)
}

// waits reports whether a select has no default.
func waits(n *ast.SelectStmt) bool {
	return !slices.ContainsFunc(n.Body.List, func(s ast.Stmt) bool { return s.(*ast.CommClause).Comm == nil })
}

// waited reports whether a select that waits comes before a node in its function.
func (e *editor) waited(n ast.Node) (found bool) {
	for i := len(e.path) - 1; i >= 0; i-- {
		switch e.path[i].(type) {
		case *ast.FuncDecl, *ast.FuncLit:
			ast.Inspect(e.path[i], func(m ast.Node) bool {
				s, ok := m.(*ast.SelectStmt)
				found = found || ok && s.Pos() < n.Pos() && waits(s)
				return true
			})
			return found
		}
	}
	return false
}

// call replaces calls of methods of atomics and mutexes, of close, and of
// time.AfterFunc.
func (e *editor) call(n *ast.CallExpr) {
	fun := ast.Unparen(n.Fun)
	switch fun := fun.(type) {
	case *ast.Ident:
		if e.info.Uses[fun] == types.Universe.Lookup("close") {
			e.replace(fun, hooksName+".Close")
		}
		return
	case *ast.SelectorExpr:
		object := e.info.Uses[fun.Sel]
		if object == nil || object.Pkg() == nil {
			return
		}
		selection := e.info.Selections[fun]
		if selection == nil {
			if object.Pkg().Path() == "time" && object.Name() == "AfterFunc" {
				e.calls[fun] = true
				e.ends = append(e.ends, "var _ = "+string(e.text(fun))+"\n")
				e.replace(fun, hooksName+".AfterFunc")
			}
			return
		}
		e.method(n, fun, selection)
	}
}

func (e *editor) method(n *ast.CallExpr, fun *ast.SelectorExpr, s *types.Selection) {
	hook := ""
	switch name := fun.Sel.Name; s.Obj().Pkg().Path() {
	case "sync/atomic":
		hook = "Change"
		if name == "Load" {
			hook = "Load"
		}
	case "sync":
		switch typeName(s.Recv()) {
		case "Mutex":
			if name != "Lock" && name != "Unlock" {
				return // TryLock: for selector to refuse
			}
			hook = name
		case "Map", "Pool": // neither blocks, nor does anything depend on it
			e.calls[fun] = true
			return
		default:
			return
		}
	default:
		return
	}
	e.calls[fun] = true
	if len(s.Index()) > 1 {
		e.fail(fun, "a method of an embedded atomic or mutex")
		return
	}
	if x, ok := fun.X.(*ast.SelectorExpr); ok && slices.Contains(counters, x.Sel.Name) {
		return
	}
	address := "&"
	if _, ok := s.Recv().Underlying().(*types.Pointer); ok {
		address = ""
	}
	e.insert(fun.X.Pos(), hooksName+"."+hook+"("+address)
	if hook == "Lock" || hook == "Unlock" {
		e.edits = append(e.edits, edit{e.offset(fun.X.End()), e.offset(n.Lparen) + 1, ""})
		return
	}
	e.insert(fun.X.End(), ")")
}

// selector refuses what would be missed.
func (e *editor) selector(n *ast.SelectorExpr) {
	object := e.info.Uses[n.Sel]
	f, ok := object.(*types.Func)
	if !ok || f.Pkg() == nil || e.calls[n] {
		return
	}
	switch path := f.Pkg().Path(); {
	case path == "sync", path == "sync/atomic", path == "time" && f.Name() == "AfterFunc":
		e.fail(n, string(e.text(n)))
	}
}

// goStatement replaces go f(a, b): function and arguments are evaluated at once.
func (e *editor) goStatement(n *ast.GoStmt) {
	call := n.Call
	if e.info.Types[call.Fun].IsType() || e.info.Types[call.Fun].IsBuiltin() {
		e.fail(n, "a go statement of a conversion or built-in function")
		return
	}
	names := []string{hooksName + "Func"}
	for i, arg := range call.Args {
		value := e.info.Types[arg]
		if _, many := value.Type.(*types.Tuple); many || value.IsNil() || value.Value != nil && value.Value.Kind() != constant.Unknown {
			e.fail(arg, "an argument of a go statement that is a constant, or several values")
			return
		}
		names = append(names, hooksName+"Arg"+strconv.Itoa(i+1))
	}
	args := strings.Join(names[1:], ", ")
	if call.Ellipsis.IsValid() {
		args += "..."
	}
	e.edits = append(e.edits, edit{e.offset(n.Go), e.offset(call.Fun.Pos()), "{ " + strings.Join(names, ", ") + " := "})
	comma, last := "", call.Lparen+1
	if len(call.Args) > 0 {
		comma, last = ", ", call.Args[len(call.Args)-1].End()
	}
	e.edits = append(e.edits, edit{e.offset(call.Lparen), e.offset(call.Lparen) + 1, comma})
	from, to := e.offset(last), e.offset(call.Rparen)+1
	lines := strings.Repeat("\n", strings.Count(string(e.source[from:to]), "\n"))
	e.edits = append(e.edits, edit{from, to, fmt.Sprintf("; %s.Go(func() { %s(%s) }) }%s", hooksName, names[0], args, lines)})
}

// typeName is the name of a type or of what it points to.
func typeName(t types.Type) string {
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	if named, ok := types.Unalias(t).(*types.Named); ok {
		return named.Obj().Name()
	}
	return ""
}

func (e *editor) fail(n ast.Node, what string) {
	if e.err == nil {
		e.err = fmt.Errorf("weave: %s: there is no hook for %s", e.fset.Position(n.Pos()), what)
	}
}

func (e *editor) replace(n ast.Node, text string) {
	e.edits = append(e.edits, edit{e.offset(n.Pos()), e.offset(n.End()), text})
}

func (e *editor) insert(at token.Pos, text string) {
	e.edits = append(e.edits, edit{e.offset(at), e.offset(at), text})
}

func (e *editor) text(n ast.Node) []byte { return e.source[e.offset(n.Pos()):e.offset(n.End())] }

func (e *editor) offset(at token.Pos) int { return e.fset.Position(at).Offset }
