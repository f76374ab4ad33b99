package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/cachegen/cachegen/annotations"
	"github.com/cachegen/cachegen/generator"
)

// Exit statuses.
const (
	exitOK      = 0
	exitFound   = 1 // diagnostics, stale files or a difference
	exitTrouble = 2 // wrong usage, or something cachegen could not do
)

// A command is one run of the program.
type command struct {
	name     string // generate, check, diff or help
	dir      string
	tags     string
	json     bool
	verbose  bool
	version  bool
	patterns []string

	stdout, stderr io.Writer
}

var subcommands = []string{"check", "diff", "help"}

// run is the whole program but for the process around it.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c := &command{stdout: stdout, stderr: stderr}
	switch err := c.parse(args); {
	case errors.Is(err, flag.ErrHelp):
		usage(stdout)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "cachegen: %v\nRun \"cachegen -h\" for usage.\n", err)
		return exitTrouble
	}
	status, err := c.run(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "cachegen: %v\n", err)
		return exitTrouble
	}
	return status
}

// parse reads the command line. Flags may stand before and after the name of
// the subcommand.
func (c *command) parse(args []string) error {
	flags := flag.NewFlagSet("cachegen", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&c.dir, "C", "", "")
	flags.StringVar(&c.tags, "tags", "", "")
	flags.BoolVar(&c.json, "json", false, "")
	flags.BoolVar(&c.verbose, "v", false, "")
	flags.BoolVar(&c.version, "version", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c.name = "generate"
	if name := flags.Arg(0); slices.Contains(subcommands, name) {
		c.name = name
		if err := flags.Parse(flags.Args()[1:]); err != nil {
			return err
		}
	}
	c.patterns = flags.Args()
	if c.name == "help" {
		return nil
	}
	for _, p := range c.patterns {
		if strings.HasPrefix(p, "-") {
			return fmt.Errorf("flag %s must stand before the packages", p)
		}
		if p == "" {
			return errors.New("a package pattern is empty")
		}
	}
	return nil
}

func (c *command) run(ctx context.Context) (int, error) {
	if c.version {
		fmt.Fprintln(c.stdout, "cachegen", version())
		return exitOK, nil
	}
	if c.name == "help" {
		return c.help()
	}
	if c.dir != "" {
		if _, err := os.Stat(c.dir); err != nil {
			return exitTrouble, fmt.Errorf("-C: %w", err)
		}
	}
	done := c.progress()
	res, err := generator.Generate(ctx, generator.Config{Dir: c.dir, Tags: c.tags, Patterns: c.patterns})
	done()
	if ctx.Err() != nil {
		return exitTrouble, errors.New("interrupted; nothing is written")
	}
	if err != nil {
		return exitTrouble, c.explain(err)
	}
	switch c.name {
	case "check":
		return c.check(res)
	case "diff":
		return c.diff(res)
	}
	return c.generate(res)
}

// explain adds to the failure of a load what the user may have meant: a word
// that is no package may be a misspelt subcommand.
func (c *command) explain(err error) error {
	if c.name != "generate" || len(c.patterns) == 0 {
		return err
	}
	word := c.patterns[0]
	if strings.ContainsAny(word, "./\\@") || !strings.Contains(err.Error(), "package "+word+" ") {
		return err
	}
	last := len(subcommands) - 1
	return fmt.Errorf("%w\nThe subcommands are %s and %s", err, strings.Join(subcommands[:last], ", "), subcommands[last])
}

// generate writes the files, unless there is any diagnostic.
func (c *command) generate(res *generator.Result) (int, error) {
	if len(res.Diagnostics) > 0 {
		return exitFound, c.report(res.Diagnostics)
	}
	for _, file := range res.Files {
		what := "is up to date"
		switch {
		case file.New == nil:
			what = "removed: nothing is annotated any more"
		case file.Stale():
			what = "written"
		}
		if err := file.Write(); err != nil {
			return exitTrouble, err
		}
		c.logf("%s %s", relative(file.Path), what)
	}
	if len(res.Files) == 0 {
		c.nothing()
	}
	return exitOK, nil
}

// nothing says that there was nothing to do. Who names a package expects
// something to be in it; ./... may well hold nothing.
func (c *command) nothing() {
	const text = "no //cache: directives in %s"
	patterns := strings.Join(c.patterns, " ")
	switch {
	case patterns == "":
		fmt.Fprintf(c.stderr, "cachegen: "+text+"\n", "this package")
	case strings.Contains(patterns, "..."):
		c.logf(text, patterns)
	default:
		fmt.Fprintf(c.stderr, "cachegen: "+text+"\n", patterns)
	}
}

// check reports the diagnostics and the generated files that are out of date.
func (c *command) check(res *generator.Result) (int, error) {
	diags := res.Diagnostics
	for _, file := range res.Files {
		if file.Stale() {
			diags = append(diags, annotations.Stale(file.Path, file.Old == nil, file.New == nil))
		}
	}
	if len(diags) == 0 {
		return exitOK, nil
	}
	return exitFound, c.report(diags)
}

// diff prints what generating would change.
func (c *command) diff(res *generator.Result) (int, error) {
	if len(res.Diagnostics) > 0 {
		return exitFound, c.report(res.Diagnostics)
	}
	status := exitOK
	for _, file := range res.Files {
		if !file.Stale() {
			continue
		}
		status = exitFound
		if _, err := c.stdout.Write(file.Diff(relative(file.Path))); err != nil {
			return exitTrouble, err
		}
	}
	return status, nil
}

func (c *command) logf(format string, args ...any) {
	if c.verbose {
		fmt.Fprintf(c.stderr, "cachegen: "+format+"\n", args...)
	}
}

// progress says on a terminal that a run which takes long is still at work. The
// function it returns takes the line away again.
func (c *command) progress() (done func()) {
	if !isTerminal(c.stderr) {
		return func() {}
	}
	shown := make(chan struct{})
	timer := time.AfterFunc(time.Second, func() {
		fmt.Fprint(c.stderr, "cachegen: loading packages…")
		close(shown)
	})
	return func() {
		if !timer.Stop() {
			<-shown
			fmt.Fprint(c.stderr, "\r\x1b[K")
		}
	}
}

// isTerminal reports whether a person is likely to read w as it is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// relative returns a path as seen from the current folder, if that is shorter.
func relative(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || len(rel) >= len(path) {
		return path
	}
	return rel
}

// version returns the version of the module that the program was built from.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
