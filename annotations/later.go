package annotations

import "slices"

// notYet are the directives and options that are checked already but for which
// no code is generated yet.
var notYet = []string{"batch", "reload", "stale", "soft", "hard", "refresh"}

// Later reports the directives and options of a checked package for which
// nothing can be generated yet.
func Later(p *Package) []Diagnostic {
	var list []Diagnostic
	for _, u := range p.Uses {
		if slices.Contains(notYet, u.Name) {
			list = append(list, notYetAvailable(u))
		}
	}
	return Sort(list)
}
