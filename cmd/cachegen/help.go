package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/cachegen/cachegen/annotations"
)

func usage(w io.Writer) {
	fmt.Fprint(w, `Cachegen generates cached repositories from //cache: directives.

Usage:

  cachegen [flags] [packages]        write the generated files; the default package is "."
  cachegen check [flags] [packages]  report every problem and every file that is out of date
  cachegen diff [flags] [packages]   show what generating would change
  cachegen help [directive]          explain the directives

Flags:

  -C dir      run as if started in dir
  -tags list  comma-separated build tags
  -json       print diagnostics on standard output, one JSON object a line
  -v          say what is done
  -version    print the version and exit

Exit status: 0 done; 1 diagnostics, stale files or a difference; 2 wrong usage
or trouble.
`)
}

// help prints the reference of one directive, or of all in a few words.
func (c *command) help() (int, error) {
	switch len(c.patterns) {
	case 0:
		usage(c.stdout)
		fmt.Fprint(c.stdout, "\nDirectives (cachegen help NAME says more):\n\n")
		tab := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
		for _, d := range annotations.Directives() {
			fmt.Fprintf(tab, "  %s\t%s\n", d.Verb, firstSentence(plain(d.Meaning)))
		}
		return exitOK, tab.Flush()
	case 1:
	default:
		return exitTrouble, fmt.Errorf("help takes one directive, not %d", len(c.patterns))
	}
	verb := strings.TrimPrefix(strings.TrimPrefix(c.patterns[0], "//"), "cache:")
	for _, d := range annotations.Directives() {
		if d.Verb == verb {
			helpDirective(c.stdout, d)
			return exitOK, nil
		}
	}
	return exitTrouble, fmt.Errorf("there is no directive %q; \"cachegen help\" lists them", c.patterns[0])
}

func helpDirective(w io.Writer, d annotations.Directive) {
	fmt.Fprintf(w, "%s\n\n", d.Syntax)
	printWrapped(w, "", plain(d.Meaning))
	place := fmt.Sprintf("It stands in %s.", d.Place)
	if d.Role != 0 {
		place = fmt.Sprintf("It stands in %s with //cache:%s.", d.Place, d.Role)
	}
	if d.Repeat {
		place += " It may be repeated."
	}
	fmt.Fprintln(w)
	printWrapped(w, "", place)
	if len(d.Options) > 0 {
		fmt.Fprint(w, "\nOptions:\n")
		for _, o := range d.Options {
			fmt.Fprintf(w, "\n  %s\n", o.Syntax)
			printWrapped(w, "      ", plain(o.Meaning))
		}
	}
	if d.Example != "" {
		fmt.Fprintf(w, "\nExample:\n\n  %s\n", strings.ReplaceAll(d.Example, "\n", "\n  "))
	}
}

// plain takes the Markdown out of a text.
func plain(text string) string { return strings.ReplaceAll(text, "`", "") }

func firstSentence(text string) string {
	if i := strings.Index(text, ". "); i >= 0 {
		return text[:i+1]
	}
	return text
}

// printWrapped prints text in lines of at most 80 columns.
func printWrapped(w io.Writer, indent, text string) {
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line) > len(indent) && len(line)+1+len(word) > 80 {
			fmt.Fprintln(w, line)
			line = indent
		}
		if len(line) > len(indent) {
			line += " "
		}
		line += word
	}
	fmt.Fprintln(w, line)
}
