package emit

import (
	"strconv"
	"strings"
	"time"

	"github.com/dave/jennifer/jen"

	"github.com/cachegen/cachegen/annotations"
)

// readPolicy says in a sentence or two how a read is cached.
func readPolicy(m *annotations.Method, params []string) string {
	r := m.Read
	var s strings.Builder
	s.WriteString("is cached " + lifetime(r.TTL))
	if key := keyTexts(r, params); len(key) > 0 {
		s.WriteString(" by " + enumerate(key))
	}
	for i, cond := range r.When {
		s.WriteString(map[bool]string{true: ",", false: " and"}[i == 0])
		s.WriteString(map[bool]string{true: " unless ", false: " when "}[cond.Negate])
		s.WriteString(code(cond.Expr.Text))
	}
	s.WriteString(".")
	if len(r.Depends) > 0 {
		s.WriteString(" It depends on " + enumerate(targetTexts(r.Depends)) + ".")
	}
	if len(r.Negative) > 0 {
		s.WriteString(" It remembers " + enumerate(negativeTexts(r)) + ".")
	}
	if r.Stale > 0 {
		s.WriteString(" An expired value is kept " + shortDuration(r.Stale) + " longer, in case a load fails")
		if r.Soft > 0 {
			s.WriteString(" or takes more than " + shortDuration(r.Soft))
		}
		s.WriteString(".")
	}
	s.WriteString(waitText(r))
	if r.Refresh > 0 {
		s.WriteString(" It is refreshed in the background before it expires.")
	}
	if r.Share {
		s.WriteString(" Callers share the value and must not change it.")
	}
	return s.String()
}

// waitText says how long callers of a read wait.
func waitText(r *annotations.Read) string {
	if r.Hard == 0 {
		return ""
	}
	return " Callers wait at most " + shortDuration(r.Hard) + " for a load."
}

// writePolicy says in a sentence or two what a write does to the cache.
func writePolicy(m *annotations.Method) string {
	s := "invalidates " + enumerate(targetTexts(m.Write.Invalidates)) + "."
	if len(m.Write.Reload) > 0 {
		s += " Then it loads " + enumerate(targetTexts(m.Write.Reload)) + " again."
	}
	return s
}

// writeSummary is the same in a few words, for a table.
func writeSummary(m *annotations.Method) string {
	s := "invalidates " + list(targetTexts(m.Write.Invalidates))
	if len(m.Write.Reload) > 0 {
		s += "; reloads " + list(targetTexts(m.Write.Reload))
	}
	return s
}

// readSummary is the same in a few words, for a table.
func readSummary(m *annotations.Method, params []string) string {
	r := m.Read
	s := lifetime(r.TTL)
	if key := keyTexts(r, params); len(key) > 0 {
		s += " by " + list(key)
	}
	if r.Stale > 0 {
		s += ", stale for " + shortDuration(r.Stale)
	}
	if r.Hard > 0 {
		s += ", answered within " + shortDuration(r.Hard)
	}
	if r.Refresh > 0 {
		s += ", refreshed"
	}
	if len(r.Depends) > 0 {
		s += "; depends on " + list(targetTexts(r.Depends))
	}
	return s
}

func lifetime(ttl annotations.TTL) string {
	switch {
	case ttl.Forever:
		return "until invalidated"
	case ttl.Expr != nil:
		return "for " + code(ttl.Expr.Text)
	}
	return "for " + shortDuration(ttl.Duration)
}

// keyTexts lists what tells one entry of a read from another. A parameter goes
// by its name in the generated method.
func keyTexts(r *annotations.Read, params []string) []string {
	var list []string
	for _, part := range r.Vary {
		list = append(list, code(part.Expr.Text))
	}
	for _, part := range r.Key {
		if isName(part.Expr) {
			list = append(list, params[part.Expr.Parts[0].Index])
		} else {
			list = append(list, code(part.Expr.Text))
		}
	}
	return list
}

// list returns pieces of code as they stand in a list of arguments.
func list(items []string) string { return strings.Join(items, ", ") }

// enumerate returns pieces of code as they stand in a sentence.
func enumerate(items []string) string {
	if len(items) < 2 {
		return list(items)
	}
	last := len(items) - 1
	return list(items[:last]) + " and " + items[last]
}

func targetTexts(targets []*annotations.Target) []string {
	var list []string
	for _, t := range targets {
		list = append(list, code(t.Text))
	}
	return list
}

func negativeTexts(r *annotations.Read) []string {
	var list []string
	for _, n := range r.Negative {
		s := "a nil result"
		if !n.Nil {
			s = code(n.Err.Text)
		}
		if n.TTL > 0 {
			s += " for " + shortDuration(n.TTL)
		}
		list = append(list, s)
	}
	return list
}

// shortDuration is Duration.String without units that are zero: 10m, not
// 10m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// duration returns d as one would write it: 10 * time.Minute.
func duration(d time.Duration) *jen.Statement {
	units := []struct {
		name string
		unit time.Duration
	}{
		{"Hour", time.Hour}, {"Minute", time.Minute}, {"Second", time.Second},
		{"Millisecond", time.Millisecond}, {"Microsecond", time.Microsecond}, {"Nanosecond", time.Nanosecond},
	}
	for _, u := range units {
		if d%u.unit != 0 {
			continue
		}
		n := int64(d / u.unit)
		if n == 1 {
			return jen.Qual("time", u.name)
		}
		return jen.Op(strconv.FormatInt(n, 10)).Op("*").Qual("time", u.name)
	}
	panic("unreachable: every duration is a number of nanoseconds")
}
