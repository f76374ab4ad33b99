package schedule

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// trace writes steps for people: who, where, and the line of the source.
func trace(steps []taken) string {
	sources := map[string][]string{}
	line := func(file string, n int) string {
		lines, ok := sources[file]
		if !ok {
			text, _ := os.ReadFile(file)
			lines = strings.Split(string(text), "\n")
			sources[file] = lines
		}
		if n < 1 || n > len(lines) {
			return ""
		}
		return strings.TrimSpace(lines[n-1])
	}
	width := 0
	for _, s := range steps {
		width = max(width, len(s.thread.name))
	}
	var b strings.Builder
	var last *thread
	for _, s := range steps {
		name := s.thread.name
		if s.thread == last {
			name = ""
		}
		last = s.thread
		fmt.Fprintf(&b, "  %-*s  ", width, name)
		switch function, place, ok := strings.Cut(s.where, "\t"); {
		case s.op.object == nothing:
			b.WriteString("begins")
		case !ok:
			fmt.Fprintf(&b, "%v", s.op.object)
		default:
			file, number, _ := strings.Cut(place, ":")
			n, _ := strconv.Atoi(number)
			fmt.Fprintf(&b, "%-16s %-24s %s", filepath.Base(file)+":"+number, function, line(file, n))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
