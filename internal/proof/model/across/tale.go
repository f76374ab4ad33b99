package across

import (
	"fmt"
	"strings"
)

// say adds a clause to what a step does, if anybody wants to know.
func (x *step) say(format string, args ...any) {
	if !x.telling {
		return
	}
	if x.text != "" {
		x.text += "; "
	}
	// A copy, so that a call that tells nothing allocates nothing.
	x.text += fmt.Sprintf(format, append([]any(nil), args...)...)
}

// wordsOf names a set of words.
func (x *system) wordsOf(set words) string {
	var all []string
	for word := range uint8(maxWords) {
		if set.has(word) {
			all = append(all, x.words[word])
		}
	}
	return strings.Join(all, ", ")
}

// contents is what a record has.
func (x *step) contents(r *record) string {
	if !x.telling {
		return ""
	}
	var all []string
	if r.words != 0 {
		all = append(all, "invalidate "+x.wordsOf(r.words))
	}
	if r.mark != 0 {
		all = append(all, fmt.Sprintf("mark %s, generation %d", x.wordsOf(x.marks[r.mark-1]), r.gen))
	}
	if r.release != 0 {
		all = append(all, "release "+x.wordsOf(x.marks[r.release-1]))
	}
	return strings.Join(all, ", ")
}

// answered is what a reply says.
func (x *step) answered(r *reply) string {
	switch {
	case !x.telling:
		return ""
	case r.epoch == 0:
		return "there is nothing"
	case !r.known:
		return fmt.Sprintf("the head is %d of epoch %d, the position is not known", x.s.recordOf(r.head).number, r.epoch)
	}
	return fmt.Sprintf("the head is %d of epoch %d", x.s.recordOf(r.head).number, r.epoch)
}

// render writes a way that was found: a line for each step, with who took it and what
// it did.
func (x *system) render(trace []int) string {
	var b strings.Builder
	s := x.Start()
	var names [maxActors]string
	for i := range x.actors {
		names[i] = x.actors[i].name
	}
	for i, nth := range trace {
		n := 0
		var next state
		after := names
		x.tell(&s, true, names, func(st *step) {
			if n == nth {
				fmt.Fprintf(&b, "%3d  %s: %s\n", i+1, st.who, st.text)
				next, after = *st.s, st.names
			}
			n++
		})
		s, names = next, after
	}
	fmt.Fprintf(&b, "     %s\n", x.sentence(&s))
	return b.String()
}

// sentence says what is wrong with the last state of a trace.
func (x *system) sentence(s *state) string {
	switch s.verdict {
	case staleOwn:
		return "The read began after a write of the same process had returned, and did not see it."
	case stale:
		return "The read began after its process had to know of a write, and did not see it."
	case notLinear:
		return "The read began after another one had returned, and saw less."
	}
	return x.left(s)
}

// end is the last line of a trace, which says what is wrong.
func (x *system) end(trace []int) string {
	lines := strings.Split(strings.TrimSpace(x.render(trace)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// holds is what a server has.
func (x *step) holds(v *server) string {
	if v.epoch == 0 {
		return "nothing"
	}
	return fmt.Sprintf("records up to %d of epoch %d", x.s.recordOf(v.head).number, v.epoch)
}
