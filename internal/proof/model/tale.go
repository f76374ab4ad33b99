package model

import (
	"fmt"
	"strings"
)

// A tale says what a step does, if anybody wants to know.
type tale struct {
	telling bool
	names   [maxProcs]string // of the processes: tidying may have them change places
	who     int              // the process that takes the step
	flight  uint8            // or the flight; 0 for none
	text    string
}

// say adds a clause.
func (x *step) say(format string, args ...any) {
	if !x.tale.telling {
		return
	}
	if x.tale.text != "" {
		x.tale.text += "; "
	}
	// A copy, so that a call that tells nothing allocates nothing.
	x.tale.text += fmt.Sprintf(format, append([]any(nil), args...)...)
}

func (x *step) key(k uint8) string  { return x.keys[k] }
func (x *step) word(w uint8) string { return x.words[w] }

// render writes a way that was found: a line for each step, with who took it, what it
// did, and the values.
func (x *system) render(trace []int) string {
	var b strings.Builder
	s := x.Start()
	t := tale{telling: true}
	for i := range x.procs {
		t.names[i] = x.procs[i].name
	}
	for i, nth := range trace {
		n := 0
		var next state
		names := t.names
		x.tell(&s, t, func(st *step) {
			if n == nth {
				who := t.names[st.tale.who]
				if st.tale.flight > 0 {
					who = fmt.Sprint("flight ", st.tale.flight)
				}
				fmt.Fprintf(&b, "%3d  %s: %s\n", i+1, who, st.tale.text)
				next, names = *st.s, st.tale.names
			}
			n++
		})
		s, t.names = next, names
	}
	fmt.Fprintf(&b, "     %s\n", x.sentence(&s))
	return b.String()
}

// sentence says what is wrong with the last state of a trace.
func (x *system) sentence(s *state) string {
	switch s.verdict {
	case stale:
		return "The read began after a write had returned, and did not see it."
	case notLinear:
		return "The read began after another one had returned, and saw less."
	case uncommitted:
		return "The read saw what was not committed."
	case ownUnseen:
		return "The read in a transaction did not see what that had written."
	case expired:
		return "The read began when what it returned had expired."
	case unrefreshed:
		return "The read began after one with a Refresh context had returned, and saw less."
	}
	for i := range x.procs {
		if x.procs[i].read != nil && s.procs[i].at != over && s.procs[i].at != readDormant {
			return x.procs[i].name + " waits for ever."
		}
	}
	return "Marks are left that nothing will take out."
}

// end is the last line of a trace, which says what is wrong.
func (x *system) end(trace []int) string {
	lines := strings.Split(strings.TrimSpace(x.render(trace)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
