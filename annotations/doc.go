// Package annotations is the directive language of cachegen: it finds the
// //cache: directives of a package, checks them against its types, and returns
// either every problem at once or a [Package] that says what to generate.
package annotations
