package history

import (
	"fmt"
	"slices"
)

// Stale returns an error if a read saw a row as of an older version than the newest
// that a write had committed that had returned before the read began; or a version
// that had not been committed when the read returned. It is what an ordinary cache
// promises. The time it takes is linear in the length of the history.
func (h *History) Stale() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.judge(false)
}

// Unordered is [History.Stale] and more: it returns an error, too, if a read saw a
// row as of an older version than another read that had returned before it began.
// Without either each row is linearizable, in the sense of Herlihy and Wing, as the
// versions say in which order the writes took place. It is what guarded writes
// promise. The time it takes is linear in the length of the history.
func (h *History) Unordered() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.judge(true)
}

// A floor is the oldest version of a row that a read that begins now may see.
type floor struct {
	version int64
	call    *Call // that wrote or saw it; nil at first
	saw     bool
}

// judge walks over the history and keeps the floor of every row. What a read may see
// is decided by the floors when it began, so these are noted for the rows that it
// will have seen. The mutex is locked.
//
// The absence of a row may be that of any version that is none. The oldest that is
// possible is taken, as it forbids later reads the least.
func (h *History) judge(ordered bool) error {
	floors := map[int]floor{}
	atBegin := map[*Call][]floor{}
	raise := func(row int, f floor) {
		if f.version > floors[row].version {
			floors[row] = f
		}
	}
	for _, e := range h.events {
		c := e.call
		switch e.kind {
		case began:
			if len(c.sights) == 0 {
				continue
			}
			then := make([]floor, len(c.sights))
			for i, s := range c.sights {
				then[i] = floors[s.row]
			}
			atBegin[c] = then
		case returned:
			for i, s := range c.sights {
				seen, err := h.judgeSight(c, s, atBegin[c][i], c.ended)
				if err != nil {
					return err
				}
				if ordered {
					raise(s.row, floor{seen, c, true})
				}
			}
			delete(atBegin, c)
			for _, w := range c.wrote {
				raise(w.row, floor{w.version, c, false})
			}
		}
	}
	// Calls that did not return are open to the end. In the order of the history,
	// so that the same history gives the same error.
	for _, e := range h.events {
		if then := atBegin[e.call]; e.kind == began && then != nil {
			for i, s := range e.call.sights {
				if _, err := h.judgeSight(e.call, s, then[i], len(h.events)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// judgeSight judges what a call saw of a row, and returns of which version it is.
func (h *History) judgeSight(c *Call, s sight, least floor, end int) (int64, error) {
	r := h.row(s.row)
	if s.absent {
		return h.judgeAbsence(c, s, r, least, end)
	}
	switch {
	case s.version < 0:
		return 0, h.contradiction(c, s, least, fmt.Sprintf("version %d, which is from before the history", s.version))
	case s.version > int64(len(r.commits)):
		return 0, h.contradiction(c, s, floor{}, fmt.Sprintf("version %d, which was never committed", s.version))
	case r.removed(s.version):
		return 0, h.contradiction(c, s, floor{}, fmt.Sprintf("version %d, of which there is no such row", s.version))
	case s.version > 0 && r.commits[s.version-1].at > end:
		return 0, h.contradiction(c, s, floor{}, fmt.Sprintf("version %d, which was committed after it had returned, at %d", s.version, r.commits[s.version-1].at))
	case s.version < least.version:
		return 0, h.contradiction(c, s, least, fmt.Sprintf("version %d", s.version))
	}
	return s.version, nil
}

// judgeAbsence finds the oldest version from the floor on, committed by the end, of
// which there is no row.
func (h *History) judgeAbsence(c *Call, s sight, r *row, least floor, end int) (int64, error) {
	if r.absent && least.version == 0 {
		return 0, nil
	}
	i, _ := slices.BinarySearch(r.removals, least.version)
	if i == len(r.removals) || r.commits[r.removals[i]-1].at > end {
		return 0, h.contradiction(c, s, least, "none")
	}
	return r.removals[i], nil
}

// removed reports whether there is no row in that version of it.
func (r *row) removed(version int64) bool {
	if version == 0 {
		return r.absent
	}
	return r.commits[version-1].removed
}

// contradiction is the error of a read that saw what it must not. The mutex is
// locked.
func (h *History) contradiction(c *Call, s sight, least floor, seen string) error {
	why, from, marked := "", c.began, []int{c.began, s.at}
	if least.call != nil {
		did := "committed"
		if least.saw {
			did = "seen"
		}
		why = fmt.Sprintf(", but %s of %s had %s version %d, and returned at %d", least.call.what, least.call.client, did, least.version, least.call.ended)
		from = least.call.began
		marked = append(marked, least.call.ended)
	}
	to := c.ended
	if to == open {
		to = len(h.events) - 1
	}
	return fmt.Errorf("%s of %s, which began at %d, saw of row %d, at %d, %s%s:\n%s",
		c.what, c.client, c.began, s.row, s.at, seen, why, h.excerpt(s.row, from, to, marked...))
}
