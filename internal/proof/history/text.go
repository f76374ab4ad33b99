package history

import (
	"fmt"
	"strings"
)

// String renders the history for people, one line per event, in order.
func (h *History) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	width := h.clientWidth()
	for i := range h.events {
		h.writeLine(&b, i, width)
	}
	return b.String()
}

// clientWidth is that of the longest name of a client. The mutex is locked.
func (h *History) clientWidth() int {
	width := 0
	for _, e := range h.events {
		width = max(width, len(e.call.client))
	}
	return width
}

// writeLine writes the line of one event. The mutex is locked.
func (h *History) writeLine(b *strings.Builder, at, width int) {
	e := h.events[at]
	fmt.Fprintf(b, "%6d  %-*s  %s ", at, width, e.call.client, e.call.what)
	switch e.kind {
	case began:
		b.WriteString("begins")
	case saw:
		fmt.Fprintf(b, "saw row %d as of version %d", e.row, e.version)
	case missed:
		fmt.Fprintf(b, "saw no row %d", e.row)
	case wrote:
		fmt.Fprintf(b, "committed version %d of row %d", e.version, e.row)
	case removed:
		fmt.Fprintf(b, "removed row %d, which is version %d", e.row, e.version)
	case returned:
		b.WriteString("returned")
	case failed:
		b.WriteString("failed, and says nothing")
	}
	b.WriteByte('\n')
}

// excerptLines is the most that an error shows of a history on each side of a gap.
const excerptLines = 20

// excerpt renders what concerns a row between two positions, with the lines that
// contradict each other marked. The mutex is locked.
func (h *History) excerpt(rowID, from, to int, marked ...int) string {
	var lines []int
	for i := max(from, 0); i <= min(to, len(h.events)-1); i++ {
		if h.events[i].concerns(rowID) {
			lines = append(lines, i)
		}
	}
	var b strings.Builder
	width := h.clientWidth()
	for n, i := range lines {
		if left := len(lines) - 2*excerptLines; left > 0 && n >= excerptLines && n < excerptLines+left {
			if n == excerptLines {
				fmt.Fprintf(&b, "        … %d lines …\n", left)
			}
			continue
		}
		mark := "  "
		for _, m := range marked {
			if m == i {
				mark = "> "
			}
		}
		b.WriteString(mark)
		h.writeLine(&b, i, width)
	}
	return b.String()
}

// concerns reports whether an event is about a row, or begins or ends a call that
// is.
func (e event) concerns(rowID int) bool {
	switch e.kind {
	case saw, missed, wrote, removed:
		return e.row == rowID
	}
	for _, s := range e.call.sights {
		if s.row == rowID {
			return true
		}
	}
	for _, w := range e.call.wrote {
		if w.row == rowID {
			return true
		}
	}
	return false
}
