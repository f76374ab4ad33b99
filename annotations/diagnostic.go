package annotations

import (
	"cmp"
	"fmt"
	"slices"
)

// A Diagnostic is a problem that the user can fix.
type Diagnostic struct {
	Pos               // of the very token
	Code    string    `json:"code"` // stable name of the kind of problem: "unknown-target"
	Message string    `json:"message"`
	Related []Related `json:"related,omitempty"`
}

// A Related is a second place that has to do with a problem.
type Related struct {
	Pos
	Message string `json:"message"`
}

// String formats a diagnostic as file:line:col: message [code].
func (d Diagnostic) String() string {
	return fmt.Sprintf("%s: %s [%s]", d.Pos, d.Message, d.Code)
}

// String formats a related place as file:line:col: message.
func (r Related) String() string { return fmt.Sprintf("%s: %s", r.Pos, r.Message) }

// String formats a position as file:line:col.
func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// compare orders positions by file name, line and column.
func (p Pos) compare(q Pos) int {
	return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Col, q.Col))
}

// Sort sorts diagnostics by position and drops those that say the same twice.
// It changes and returns the slice.
func Sort(list []Diagnostic) []Diagnostic {
	slices.SortStableFunc(list, func(a, b Diagnostic) int {
		return cmp.Or(a.Pos.compare(b.Pos), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(list, func(a, b Diagnostic) bool {
		return a.Pos.compare(b.Pos) == 0 && a.Code == b.Code && a.Message == b.Message
	})
}

// A Code is a kind of problem.
type Code struct {
	Code    string
	Meaning string // one line
}

// Codes returns every code a diagnostic can have, in alphabetical order.
func Codes() []Code { return slices.Clone(codes) }

// nearest returns the candidate that a misspelt name most likely means, "" if
// none comes close. Among those that are as close it prefers one that differs
// least in letter case, then the first.
func nearest(name string, candidates []string) string {
	limit := max(len(name)/3, 1)
	best, bestRank := "", [2]int{}
	for _, c := range candidates {
		if c == "" || c == "_" || c == name {
			continue
		}
		rank := [2]int{distance(name, c, true), distance(name, c, false)}
		if rank[0] > limit || rank[0] >= len(name) {
			continue
		}
		if best == "" || slices.Compare(rank[:], bestRank[:]) < 0 {
			best, bestRank = c, rank
		}
	}
	return best
}

// distance is the optimal string alignment distance: insertions, deletions,
// substitutions and swaps of neighbours. With fold, ASCII letter case counts
// for nothing.
func distance(a, b string, fold bool) int {
	x, y := []rune(a), []rune(b)
	same := func(r, s rune) bool { return r == s || fold && lower(r) == lower(s) }
	if len(x) > 64 || len(y) > 64 {
		return max(len(x), len(y))
	}
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if same(x[i-1], y[j-1]) {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && same(x[i-1], y[j-2]) && same(x[i-2], y[j-1]) {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(x)][len(y)]
}

func lower(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}
