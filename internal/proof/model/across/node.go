package across

// nodeSteps are the steps that a node takes on its own, apart from those about a mark.
var nodeSteps = []func(*step, uint8, *node) bool{
	(*step).apply,
	(*step).prove,
	(*step).askAnew,
	(*step).install,
	(*step).invalidateAgain,
	(*step).retry,
	(*step).wake,
}

// prove sends a proof, has it answered, and begins to apply the reply.
func (x *step) prove(i uint8, n *node) bool {
	s := x.s
	p := &n.proof
	switch p.at {
	case proofNone:
		if n.view.dead || !n.isWhole() && x.fault != hitsBeforeMarks {
			return false
		}
		// There is no need to follow the log as long as nobody reads; with the proofs that
		// a node may send without a need, it does so at any time.
		v := x.serverOf(n)
		behind := v.epoch != n.view.epoch || v.head != n.view.id || v.run != v.writer
		if n.view.proven && x.waiting(n) == 0 && (!behind || !x.isRead()) {
			if n.proofs == 0 || x.isRead() {
				return false
			}
			n.proofs--
		}
		*p = proof{at: proofSent, from: n.view.id, reply: x.ask(n)}
		x.say("sends a proof")
	case proofSent:
		v := x.serverOf(n)
		if x.fault == proofFromReplica {
			v = &s.other
		}
		if x.fault == proofFromAnswer {
			late := x.ask(n)
			p.reply.sent, p.reply.covers = late.sent, late.covers
		}
		x.answer(v, p.from, &p.reply)
		p.at = proofAnswered
		x.say("the proof is answered: %s", x.answered(&p.reply))
	case proofAnswered:
		if n.applying.by != byNobody {
			return false
		}
		if x.drops && s.losses > 0 && x.choose(2) == 1 {
			s.losses--
			x.say("the reply to the proof is lost")
			x.unwait(p.reply.covers)
			*p = proof{}
			break
		}
		if x.fault == proofFromAnswer {
			late := x.ask(n)
			p.reply.sent, p.reply.covers = late.sent, p.reply.covers|late.covers
		}
		x.take(i, n, byProof, p.reply)
	}
	return true
}

// isRead reports whether all reads have returned.
func (x *step) isRead() bool {
	for i := range x.actors {
		if at := x.s.actors[i].at; x.actors[i].read != nil && at != over && at != readDormant {
			return false
		}
	}
	return true
}

// unwait sends reads to the database that wait for a proof in vain.
func (x *step) unwait(who actors) {
	for i := range x.actors {
		if a := &x.s.actors[i]; who>>i&1 == 1 && a.at == readWaits {
			a.at, a.held = readStamps, entry{}
		}
	}
}

// wake is an empty reply to the call that waits for records: a fault takes it for a
// proof.
func (x *step) wake(i uint8, n *node) bool {
	if x.fault != wakeIsProof || n.view.dead || n.split {
		return false
	}
	who := x.waiting(n)
	if who == 0 && n.view.since == x.s.now {
		return false
	}
	x.say("wakes up with nothing")
	n.view.since = x.s.now
	for j := range x.actors {
		if who>>j&1 == 1 {
			x.s.actors[j].proved = true
		}
	}
	return true
}

// take begins to apply a reply, one at a time.
func (x *step) take(i uint8, n *node, by uint8, r reply) {
	w := &n.view
	n.applying = applying{by: by, reply: r}
	x.say("takes the reply")
	own := r.own != 0
	if own && r.epoch == w.epoch && x.fault == enteredTwice {
		if rec := x.s.recordOf(r.own); rec.mark != 0 && rec.number <= w.at {
			w.gens[rec.mark-1], w.marked[rec.mark-1] = rec.gen, x.marks[rec.mark-1]
		}
	}
	switch {
	case r.epoch != w.epoch && (own && x.fault == otherEpochIgnored || !own && r.asked != w.epoch):
		x.done(i, n, false) // what was asked of another view
	case r.epoch != w.epoch:
		if own {
			// Whichever epoch is the younger: the mark may have to be appended again.
			if rec := x.s.recordOf(r.own); rec.mark != 0 && x.fault != lateMarkForgotten {
				w.gens[rec.mark-1] = rec.gen
			}
		}
		x.kill(n, false)
		x.done(i, n, false)
	case !r.known && r.asked == w.epoch:
		x.kill(n, true)
		x.done(i, n, false)
	case !own && !r.known:
		x.done(i, n, false)
	case !own, r.known && (!r.partial || x.s.recordOf(r.own).number <= w.at+1):
		x.follow(i, n)
	default:
		number := x.s.recordOf(r.own).number
		if x.fault == ownAsStamp {
			w.ahead = max(w.ahead, number)
		}
		n.applying.own = true
		if number <= w.at || x.ownWords(n) == 0 || x.fault == ownLeftOverGap {
			x.done(i, n, false)
		}
	}
}

// ownWords are those that the record that was appended raises in the node's table.
func (x *step) ownWords(n *node) words {
	rec := x.s.recordOf(n.applying.reply.own)
	raised := rec.words
	if rec.release != 0 {
		raised |= x.marks[rec.release-1]
	}
	return raised
}

// follow looks whether there is a record to be applied next, and ends if there is none.
func (x *step) follow(i uint8, n *node) {
	id, ok := x.after(&n.view, &n.applying.reply)
	switch {
	case !ok:
		x.kill(n, true)
		x.done(i, n, false)
	case id == 0:
		x.done(i, n, true)
	}
}

// kill ends the hits of a view, until there is another one. If its epoch is condemned, that
// will be of another epoch.
func (x *step) kill(n *node, condemned bool) {
	n.view.dead = true
	n.view.ended = n.view.ended || condemned
	x.say("its table is of no use any more")
	x.unwait(x.waiting(n))
}

// done ends the application of a reply. It proves the view if it has reached its head.
func (x *step) done(i uint8, n *node, reached bool) {
	r := n.applying.reply
	by := n.applying.by
	n.applying = applying{by: byNobody}
	w := &n.view
	if reached && (by == byProof || x.fault != appendProvesNothing) && (r.serial == w.serial || x.fault == otherTableProven) && !w.dead && (r.whole || x.fault == hitsBeforeMarks) {
		w.proven = true
		w.since = max(w.since, r.sent)
		n.covered |= r.covered
		for j := range x.actors {
			if r.covers>>j&1 == 1 && x.s.actors[j].at == readWaits {
				x.s.actors[j].proved = true
			}
		}
		x.say("its table is proven")
	}
	switch by {
	case byProof:
		n.proof = proof{}
	case byRetry:
		n.local = n.queue
		n.sending = 0
	case byRelease:
	default:
		x.applied(by, n)
	}
}

// apply goes on with a reply: the words of a record, one at a time, and then the clock.
func (x *step) apply(i uint8, n *node) bool {
	p := &n.applying
	if p.by == byNobody {
		return false
	}
	w := &n.view
	if p.own {
		word, _ := x.ownWords(n).first(p.i)
		number := x.s.recordOf(p.reply.own).number
		w.words[word] = max(w.words[word], number)
		x.say("raises %s to %d over a gap", x.words[word], number)
		p.i = word + 1
		if _, more := x.ownWords(n).first(p.i); !more {
			x.done(i, n, false)
		}
		return true
	}
	id, _ := x.after(w, &p.reply)
	rec := x.s.recordOf(id)
	set := rec.words
	if rec.mark != 0 {
		set |= x.marks[rec.mark-1]
	}
	if rec.release != 0 {
		set |= x.marks[rec.release-1]
	}
	word, more := set.first(p.i)
	clockFirst := x.fault == clockBeforeWords
	switch {
	case p.i == 0 && clockFirst && w.ahead != rec.number:
		w.ahead = rec.number // the stamp that loads take
		x.say("its clock is %d", rec.number)
		if !more {
			break
		}
		return true
	case more:
		x.applyWord(w, rec, word)
		p.i = word + 1
		return true
	}
	w.at, w.id = rec.number, id
	if w.ahead <= w.at {
		w.ahead = 0
	}
	if rec.mark != 0 {
		w.gens[rec.mark-1] = rec.gen
	}
	if rec.release != 0 {
		w.gens[rec.release-1], w.marked[rec.release-1] = 0, 0
		n.missing[rec.release-1] = 0
	}
	p.i = 0
	x.say("its clock is %d", w.at)
	x.follow(i, n)
	return true
}

// applyWord applies a record to one word.
func (x *step) applyWord(w *view, rec *record, word uint8) {
	bit := words(1) << word
	if rec.mark != 0 && x.marks[rec.mark-1]&bit != 0 {
		w.marked[rec.mark-1] |= bit
		x.say("marks %s", x.words[word])
	}
	raise := rec.words&bit != 0
	if rec.release != 0 && w.marked[rec.release-1]&bit != 0 {
		w.marked[rec.release-1] &^= bit
		x.say("takes the mark out of %s", x.words[word])
		raise = raise || x.fault != releaseWithoutClock
	}
	if raise {
		w.words[word] = max(w.words[word], rec.number)
		x.say("raises %s to %d", x.words[word], rec.number)
	}
}

// askAnew asks for the state of the log when the view is of no use, and has the epoch
// changed.
func (x *step) askAnew(i uint8, n *node) bool {
	p := &n.snapshot
	if !n.view.dead || p.here {
		return false
	}
	v := x.serverOf(n)
	if !x.isWhole(v) || v.epoch == n.view.epoch && n.view.ended && x.fault != epochKept {
		x.begin(v)
	}
	*p = snapshot{here: true, epoch: v.epoch, run: v.run, id: v.head, words: v.words, marks: v.marks}
	x.say("asks for the state, which is as of %d of epoch %d", x.s.recordOf(p.id).number, p.epoch)
	return true
}

// install makes a new view of the state of the log.
func (x *step) install(i uint8, n *node) bool {
	p := &n.snapshot
	if !p.here || n.applying.by != byNobody {
		return false
	}
	x.freeze(i)
	old := n.view
	n.view = view{
		epoch: p.epoch, run: p.run, at: x.s.recordOf(p.id).number, id: p.id, words: p.words, since: old.since, serial: old.serial + 1,
		proven: x.fault == installIsProof,
	}
	for mark := range uint8(maxMarks) {
		if p.marks[mark] != 0 && x.fault != stateWithoutMarks {
			n.view.gens[mark], n.view.marked[mark] = p.marks[mark], x.marks[mark]
			n.missing[mark] = 0
		} else if old.gens[mark] != 0 && x.fault != marksNotAppendedAgain {
			n.missing[mark] = old.gens[mark]
		}
	}
	if old.epoch != 0 && old.run != p.run && x.fault != notInvalidatedAgain {
		n.again = true
	}
	if x.fault == localMarksLost {
		n.local = 0
	}
	*p = snapshot{}
	x.say("has a new table, as of %d of epoch %d", n.view.at, n.view.epoch)
	return true
}

// freeze decides what the words of a view show to reads that hold it, before it is
// replaced.
func (x *step) freeze(i uint8) {
	for j := range x.actors {
		a := &x.s.actors[j]
		if r := x.actors[j].read; r == nil || x.actors[j].node != i || a.at != readTests || x.fault == viewLoadedTwice {
			continue
		} else if a.verdict = fails; x.passesWords(&x.s.nodes[i], a, r.key) {
			a.verdict = passes
		}
	}
}

// isWhole reports whether the log has been told again what it may have lost.
func (n *node) isWhole() bool { return !n.again && n.missing == [maxMarks]uint8{} }

// invalidateAgain invalidates everything in the log of another server: what was invalidated
// in the one before may have been so while others read through its successor.
func (x *step) invalidateAgain(i uint8, n *node) bool {
	if !n.again || n.view.dead || n.applying.by != byNobody {
		return false
	}
	x.say("invalidates everything again")
	r := x.ask(n)
	from := n.view.id
	r.own = x.append(x.serverOf(n), record{words: 1<<len(x.words) - 1}, always)
	x.answer(x.serverOf(n), from, &r)
	n.again = false
	x.take(i, n, byRelease, r)
	return true
}

// markAgain appends a mark again that was outstanding in the epoch before, and is not there in
// the new one.
func (x *step) markAgain(i uint8, n *node, mark uint8) bool {
	if n.missing[mark] == 0 || n.view.dead || n.applying.by != byNobody {
		return false
	}
	x.say("marks again")
	r := x.ask(n)
	from := n.view.id
	r.own = x.append(x.serverOf(n), record{mark: mark + 1, gen: n.missing[mark]}, ifAbsent)
	x.answer(x.serverOf(n), from, &r)
	n.missing[mark] = 0
	x.take(i, n, byRelease, r)
	return true
}

// retry appends what could not be delivered.
func (x *step) retry(i uint8, n *node) bool {
	if n.queue == 0 || n.sending != 0 || n.applying.by != byNobody {
		return false
	}
	x.say("delivers what could not be")
	r := x.ask(n)
	from := n.view.id
	rec := record{words: n.queue}
	if n.doubtful != 0 {
		rec.mark, rec.gen = n.doubtful, x.s.actors[x.owner(n.doubtful-1)].gen
	}
	r.own = x.append(x.serverOf(n), rec, always)
	x.answer(x.serverOf(n), from, &r)
	x.deliver(n.held)
	n.sending, n.queue, n.held, n.doubtful = n.queue, 0, 0, 0
	x.take(i, n, byRetry, r)
	return true
}

// endLease appends the end of a mark when its lease is over, by the node's own clock:
// when the commit has landed, or will not, or the mark was renewed, which the node may not
// know yet.
func (x *step) endLease(i uint8, n *node, mark uint8) bool {
	w := &n.view
	gen := w.gens[mark]
	if gen == 0 || w.dead || n.applying.by != byNobody {
		return false
	}
	if v := x.serverOf(n); v.epoch == w.epoch && v.head == w.id && v.marks[mark] == 0 {
		return false // it tries again and again, to no avail
	}
	owner := x.owner(mark)
	if x.s.settled>>owner&1 == 0 && x.s.actors[owner].gen <= gen && x.fault != leaseTooShort {
		return false
	}
	if x.fault == markByLocalClock {
		w.gens[mark], w.marked[mark] = 0, 0
		x.say("drops a mark")
		return true
	}
	x.say("ends a lease")
	r := x.ask(n)
	from := w.id
	r.own = x.append(x.serverOf(n), record{release: mark + 1, gen: gen}, ifOutstanding)
	x.answer(x.serverOf(n), from, &r)
	x.take(i, n, byRelease, r)
	return true
}

// owner is the write that a mark is of.
func (x *system) owner(mark uint8) uint8 {
	for i := range x.actors {
		if w := x.actors[i].write; w != nil && w.mark == mark+1 {
			return uint8(i)
		}
	}
	panic("across: a mark of nobody in " + x.Name)
}
