package across

// A condition on which a record is appended.
type condition uint8

const (
	always condition = iota
	ifOutstanding
	ifAbsent
)

// serverOf is the server that a node talks to.
func (x *step) serverOf(n *node) *server {
	if n.split {
		return &x.s.other
	}
	return &x.s.server
}

// isWhole reports whether the state of a server is there and was written by itself: it
// may be older than what was read of it before if it was not.
func (x *system) isWhole(v *server) bool {
	return v.epoch != 0 && (v.writer == v.run || x.fault == runNotCompared || x.fault == positionsTrusted)
}

// begin begins a new epoch, with the marks of the old one as far as they are there.
func (x *step) begin(v *server) {
	s := x.s
	s.epochs++
	marks := v.marks
	if x.fault == marksLeftByLog {
		marks = [maxMarks]uint8{}
	}
	*v = server{epoch: s.epochs, oldest: 1, marks: marks, writer: v.run, run: v.run}
	v.head = x.record(record{number: 1})
	x.say("epoch %d begins", v.epoch)
}

// record keeps a record and returns its id.
func (x *step) record(r record) uint8 {
	s := x.s
	if s.written == maxRecords {
		panic("across: the scope " + x.Name + " needs more records")
	}
	s.records[s.written] = r
	s.written++
	return s.written
}

// recordOf returns a record.
func (s *state) recordOf(id uint8) *record { return &s.records[id-1] }

// append appends a record on a condition, and changes the state with it. It returns its id,
// 0 if the condition does not hold.
func (x *step) append(v *server, r record, on condition) uint8 {
	if !x.isWhole(v) {
		x.begin(v)
	}
	switch on {
	case ifOutstanding:
		if have := v.marks[r.release-1]; have == 0 || have != r.gen && x.fault != generationIgnored {
			x.say("the mark is not outstanding in that generation")
			return 0
		}
	case ifAbsent:
		if v.marks[r.mark-1] != 0 {
			x.say("the mark is there")
			return 0
		}
	}
	r.number, r.previous = x.s.recordOf(v.head).number+1, v.head
	id := x.record(r)
	v.head = id
	raised := r.words
	if r.release != 0 {
		if v.marks[r.release-1] != 0 && x.fault != releaseWithoutClock {
			raised |= x.marks[r.release-1]
		}
		v.marks[r.release-1] = 0
	}
	if r.mark != 0 {
		v.marks[r.mark-1] = r.gen
	}
	for word := range uint8(maxWords) {
		if raised.has(word) {
			v.words[word] = r.number
		}
	}
	x.say("at %d of epoch %d: %s", r.number, v.epoch, x.contents(&r))
	return id
}

// deliver notes that the log has the record of writes.
func (x *step) deliver(who actors) {
	for t := x.s.now; t < maxTicks; t++ {
		x.s.delivered[t] |= who
	}
}

// ask prepares a reply with what is known when a node asks.
func (x *step) ask(n *node) reply {
	r := reply{
		asked: n.view.epoch, serial: n.view.serial, whole: n.isWhole(),
		sent: x.s.now, covered: x.s.delivered[x.s.now],
	}
	if x.bound == atOnce {
		r.covers = x.waiting(n)
	}
	return r
}

// waiting are the reads of a node that have not been proved yet.
func (x *step) waiting(n *node) (set actors) {
	for i := range x.actors {
		if p := &x.actors[i]; p.read != nil && &x.s.nodes[p.node] == n && x.s.actors[i].at == readWaits && !x.s.actors[i].proved {
			set |= 1 << i
		}
	}
	return set
}

// answer fills in what a server has after a record.
func (x *step) answer(v *server, from uint8, r *reply) {
	if !x.isWhole(v) {
		return
	}
	r.epoch, r.head = v.epoch, v.head
	if from == 0 || r.asked != v.epoch {
		return
	}
	number := x.s.recordOf(from).number
	if number < v.oldest || number > x.s.recordOf(v.head).number {
		return
	}
	for id := v.head; id != 0; id = x.s.recordOf(id).previous {
		if id == from || x.areIDsIgnored() && x.s.recordOf(id).number == number {
			r.known = true
		}
	}
}

// areIDsIgnored reports whether positions are compared by their number alone.
func (x *system) areIDsIgnored() bool {
	return x.fault == positionsTrusted || x.fault == idsNotCompared
}

// after returns the id of the record that is to be applied to a view next, of those that
// a reply has. It returns 0 if there is none, and whether they follow each other.
func (x *step) after(w *view, r *reply) (id uint8, ok bool) {
	s := x.s
	for id = r.head; id != 0; id = s.recordOf(id).previous {
		rec := s.recordOf(id)
		switch {
		case rec.number == w.at+1:
			return id, rec.previous == w.id || x.areIDsIgnored()
		case rec.number == w.at && id == r.head:
			return 0, id == w.id || x.areIDsIgnored()
		case rec.number < w.at: // it is an old reply
			return 0, true
		}
	}
	return 0, false
}
