// Package annotations is the directive language of cachegen: it finds the
// //cache: directives of a package, checks them against its types, and returns
// either every problem at once or a [Package] that says what to generate.
//
// [Scan] reads syntax alone and keeps what it finds as plain data, a [Source],
// in which packages can look each other up. [Check] parses the directives of
// one package, resolves tags, reads and embedded interfaces, has the Go type
// checker look at every expression, and plans how keys and results are written
// as bytes. [Analyzer] is the same check for go vet. [Directives] is the
// reference of the language, [Codes] that of the diagnostics.
//
// Everything is deterministic: the same files give the same model and the same
// diagnostics, in the same order.
package annotations
