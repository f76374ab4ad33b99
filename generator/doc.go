// Package generator turns annotated packages into generated files. It loads
// the packages, has their directives checked by package annotations,
// and returns what the generated files must hold ([Generate]). It prints
// nothing and writes only when told to ([File.Write]).
package generator
