package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/cachegen/cachegen/annotations"
)

// report prints diagnostics: as JSON lines on standard output if asked for,
// else for people on standard error, with the source line if they look on. The
// other places that have to do with a problem follow it, each behind a tab.
func (c *command) report(diags []annotations.Diagnostic) error {
	withSource := isTerminal(c.stderr)
	enc := json.NewEncoder(c.stdout)
	enc.SetEscapeHTML(false)
	for _, d := range diags {
		d = shorten(d)
		if c.json {
			if err := enc.Encode(d); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintln(c.stderr, d)
		if withSource {
			fmt.Fprint(c.stderr, excerpt(d.Pos))
		}
		for _, r := range d.Related {
			fmt.Fprintf(c.stderr, "\t%s\n", r)
		}
	}
	return nil
}

// shorten makes the file names of a diagnostic relative to the current folder.
func shorten(d annotations.Diagnostic) annotations.Diagnostic {
	d.Pos.File = relative(d.Pos.File)
	related := append([]annotations.Related(nil), d.Related...)
	for i := range related {
		related[i].Pos.File = relative(related[i].Pos.File)
	}
	d.Related = related
	return d
}

// excerpt returns the line a position is on and a caret below its span; nothing
// if the file cannot be read.
func excerpt(pos annotations.Pos) string {
	src, err := os.ReadFile(pos.File)
	if err != nil {
		return ""
	}
	lines := strings.Split(string(src), "\n")
	if pos.Line < 1 || pos.Line > len(lines) {
		return ""
	}
	line := strings.TrimRight(lines[pos.Line-1], "\r")
	if pos.Col < 1 || pos.Col > len(line)+1 {
		return ""
	}
	// Tabs stay tabs so that the caret stands where the terminal puts the text.
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, line[:pos.Col-1])
	width := max(1, min(pos.EndCol, len(line)+1)-pos.Col)
	return line + "\n" + pad + strings.Repeat("^", width) + "\n"
}
