// Cachegen generates cached repositories.
//
// It reads the //cache: directives on the repository interfaces of Go packages
// and writes, for each package, one file cache_gen.go with a wrapper for each
// interface: reads are answered from a cache, writes invalidate what they make
// stale.
//
// Usage:
//
//	cachegen [flags] [packages]        write the generated files; the default package is "."
//	cachegen check [flags] [packages]  report every problem and every file that is out of date
//	cachegen diff [flags] [packages]   show what generating would change
//	cachegen help [directive]          explain the directives
//
// The flags are:
//
//	-C dir      run as if started in dir
//	-tags list  comma-separated build tags
//	-json       print diagnostics on standard output, one JSON object a line
//	-v          say what is done
//	-version    print the version and exit
//
// Diagnostics go to standard error in the form
//
//	file:line:col: message [code]
//
// and are followed by the other places that have to do with the problem, each
// on a line that begins with a tab.
//
// The exit status is 0 if all went well, 1 if there are diagnostics, stale
// files or a difference, and 2 if cachegen was called wrongly or could not do
// its work. If there is any diagnostic, nothing is written.
//
// The same checks run under go vet:
//
//	go vet -vettool=$(which cachegen) ./...
package main

import (
	"os"
	"strings"

	"golang.org/x/tools/go/analysis/unitchecker"

	"github.com/cachegen/cachegen/annotations"
)

func main() {
	if calledByVet(os.Args[1:]) {
		unitchecker.Main(annotations.Analyzer) // does not return
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// calledByVet reports whether the arguments are those with which go vet talks
// to its tools.
func calledByVet(args []string) bool {
	if len(args) == 0 {
		return false
	}
	last := args[len(args)-1]
	return args[0] == "-V=full" || args[0] == "-flags" || strings.HasSuffix(last, ".cfg")
}
