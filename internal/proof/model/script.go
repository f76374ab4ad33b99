package model

// An op is one thing that a script does: one step, or one for each word of a set.
type op struct {
	do    deed
	words words               // that it goes through, in order
	taken bool                // those that the process has taken from its transaction, instead
	arg   uint8               // see the deeds
	when  func(*process) bool // whether it is done at all; nil for always
}

// A deed is what an op does.
type deed uint8

const (
	calls       deed = iota // the repository; arg is the set of outcomes that the call may have
	marks                   // adds a mark to each word
	moves                   // the clock
	releases                // raises each word to the clock and takes a mark out, in one step
	raises                  // raises each word and keeps its marks
	unmarks                 // takes a mark out of each word: a fault
	sets                    // like releases, but not by maximum: a fault
	raisesAhead             // raises each word to what the clock will be next: harmless
	lends                   // begins the lease of process arg
	takesOver               // ends the lease of process arg, if it has not ended
	expires                 // ends its own lease, if nobody has taken it over
	returns                 // from the write; no step of its own
	hands                   // what it has written to the transaction, which returns for it; no step of its own
	lands                   // the commit of a write in doubt, or is lost
	loses                   // the commit of a write in doubt
	changes                 // the database behind the cache's back
	empties                 // the store
	evicts                  // the entry of key arg, maybe
	passesTime              // for expiry
	delays                  // a flight past its deadline, maybe
	begins                  // the transaction
	writes                  // in the transaction
	collects                // leaves the words to the transaction, if that has not ended
	commits                 // the transaction; arg as of calls
	rollsBack               // the transaction
	locks                   // the mutex of the transaction, and takes what it has collected
	peeks                   // takes what it has collected without the mutex: a fault
	finishes                // the transaction has ended, for the cache
	unlocks                 // no step of its own
)

// outcome is how a call of the repository ends, a bit each.
type outcome uint8

const (
	succeeded outcome = 1 << iota // the commit has landed
	failed                        // so it has, but the call returns an error
	inDoubt                       // the commit may land later
)

func is(o outcome) func(*process) bool { return func(p *process) bool { return p.outcome&o != 0 } }
func isTooLate(p *process) bool        { return p.atOnce }

// run takes a step of a script. It reports whether there is one to take.
func (x *step) run(i uint8, p *process, pr *proc) bool {
	s := x.s
	o := &pr.script[p.at]
	set := o.words
	if o.taken {
		set = p.words
	}
	word, _, last := set.from(p.i)
	if set == 0 {
		last = true
	}
	w := &s.table[word]
	takeMark := func() {
		if w.marks > 0 {
			w.marks--
		}
		if x.fault == markIsFlag {
			w.marks = 0
		}
	}
	switch o.do {
	case calls, commits:
		var all []outcome
		for _, some := range []outcome{succeeded, failed, inDoubt} {
			if outcome(o.arg)&some != 0 {
				all = append(all, some)
			}
		}
		p.outcome = all[x.choose(len(all))]
		switch p.outcome {
		case inDoubt:
			x.say("the call ends in doubt")
		case failed:
			x.say("the call fails, but has committed")
		default:
			x.say("the call succeeds")
		}
		if p.outcome != inDoubt {
			x.commit(i)
		}
	case marks:
		w.marks++
		if x.fault == markIsFlag {
			w.marks = 1
		}
		x.say("marks %s", x.word(word))
	case moves:
		s.clock++
		p.c = s.clock
		x.say("moves the clock to %d", p.c)
	case releases:
		w.clock = max(w.clock, p.c)
		takeMark()
		x.say("raises %s to %d and takes its mark out", x.word(word), w.clock)
	case raises:
		w.clock = max(w.clock, p.c)
		x.say("raises %s to %d", x.word(word), w.clock)
	case unmarks:
		takeMark()
		x.say("takes its mark out of %s", x.word(word))
	case sets:
		w.clock = p.c
		takeMark()
		x.say("sets %s to %d and takes its mark out", x.word(word), p.c)
	case raisesAhead:
		w.clock = max(w.clock, s.clock+1)
		x.say("raises %s to %d", x.word(word), w.clock)
	case lends:
		s.lent |= 1 << o.arg
		x.say("begins a lease")
	case takesOver:
		p.took = s.ended>>o.arg&1 == 0
		s.ended |= 1 << o.arg
		x.say("ends its lease")
	case expires:
		// The commit lands within the lease, or never: the database's own timeouts see to it.
		if s.lent>>i&1 == 0 || s.ended>>i&1 == 1 || s.settled>>pr.of&1 == 0 && x.fault != leaseTooShort {
			return false
		}
		s.ended |= 1 << i
		x.say("ends")
	case lands:
		if s.procs[pr.of].outcome&inDoubt == 0 || s.settled>>pr.of&1 == 1 {
			return false
		}
		if x.choose(2) == 1 {
			s.settled |= 1 << pr.of
			x.say("is lost")
			break
		}
		x.say("lands")
		x.commit(pr.of)
	case loses:
		if s.procs[pr.of].outcome&inDoubt == 0 {
			return false
		}
		s.settled |= 1 << pr.of
		x.say("is lost")
	case changes:
		x.say("changes the database")
		x.commit(i)
	case empties:
		s.store = [maxKeys]entry{}
		x.say("empties the store")
	case evicts:
		if !s.store[o.arg].here {
			return false
		}
		s.store[o.arg] = entry{}
		x.say("evicts %s", x.key(o.arg))
	case passesTime:
		s.now++
		x.say("it is %d", s.now)
	case delays:
		n := x.choose(maxFlights)
		if f := &s.flights[n]; n >= int(s.started) || f.landed || f.late {
			return false
		}
		s.flights[n].late = true
		x.say("flight %d is past its deadline", n+1)
	case begins:
		s.tx.open = true
		s.tx.snapshot = s.versions
		x.say("begins")
	case writes:
		s.tx.wrote = true
		x.say("writes")
	case collects:
		if s.tx.locked {
			return false
		}
		if p.atOnce = s.tx.ended; !p.atOnce {
			s.tx.pending |= o.words
			x.say("leaves its tags to the transaction")
			break
		}
		x.say("finds that the transaction has ended")
	case rollsBack:
		s.tx.rolledBack = true
		x.say("rolls back")
	case locks:
		if s.tx.locked {
			return false
		}
		s.tx.locked = true
		p.words = s.tx.pending
		x.say("takes what it has collected")
	case peeks:
		p.words = s.tx.pending
		x.say("takes what it has collected")
	case finishes:
		s.tx.ended = true
		x.say("counts as ended")
	}
	if !last {
		p.i = word + 1
		return true
	}
	x.advance(i, p, pr)
	return true
}

// advance goes to the next op that is to be done and takes a step.
func (x *step) advance(i uint8, p *process, pr *proc) {
	p.i = 0
	for p.at++; int(p.at) < len(pr.script); p.at++ {
		o := &pr.script[p.at]
		if o.when != nil && !o.when(p) {
			continue
		}
		switch o.do {
		case marks, releases, raises, unmarks, sets, raisesAhead:
			if o.words == 0 && !(o.taken && p.words != 0) {
				continue
			}
			return
		case returns:
			x.returned(i, p)
			x.say("returns")
		case hands:
			tx := &x.s.procs[0]
			for key, version := range p.given {
				tx.given[key] = max(tx.given[key], version)
			}
		case unlocks:
			x.s.tx.locked = false
		default:
			return
		}
	}
	*p = process{at: over, given: p.given, outcome: p.outcome & inDoubt}
}

// commit lands the commit of a process.
func (x *step) commit(i uint8) {
	s := x.s
	p := &s.procs[i]
	s.committed |= 1 << i
	s.settled |= 1 << i
	if x.isTx(int(i)) {
		s.tx.committed = true
	}
	for _, key := range x.procs[i].keys {
		s.versions[key]++
		p.given[key] = s.versions[key]
		x.say("%s has version %d", x.key(key), s.versions[key])
	}
	if s.back>>i&1 == 1 {
		x.returned(i, p)
	}
}

// returned notes that a write has returned: from now on it must be seen, as soon as it
// has landed.
func (x *step) returned(i uint8, p *process) {
	s := x.s
	s.back |= 1 << i
	for key, version := range p.given {
		s.returned[key] = max(s.returned[key], version)
	}
}

// isTx reports whether a process is the transaction.
func (x *step) isTx(i int) bool {
	script := x.procs[i].script
	return len(script) > 0 && script[0].do == begins
}

// A write describes a call of a write.
type write struct {
	outcomes outcome
	before   words // of the tags as evaluated before the call
	after    words // as evaluated after one that succeeded
	failed   words // after any other
	blank    words // the part of failed that is there as an argument was blank
	lease    uint8 // process that ends the lease of one in doubt
	guard    uint8 // process that ends the lease of a guarded one; 0 for not guarded
	guarded  words // what is marked before the call
}

// invalidate is how words are invalidated.
func (f fault) invalidate(w words, when func(*process) bool) []op {
	return f.release(w, 0, when)
}

// release is how words are invalidated and marks taken out. If there are any marked, it
// must have taken their lease over.
func (f fault) release(others, marked words, when func(*process) bool) []op {
	both := func(p *process) bool { return (when == nil || when(p)) && p.took }
	switch f {
	case clockBeforeMarks:
		return []op{{do: moves, when: when}, {do: raises, words: others, when: when}, {do: releases, words: marked, when: both}}
	case notByMaximum:
		return []op{{do: marks, words: others, when: when}, {do: moves, when: when}, {do: sets, words: others, when: when}, {do: sets, words: marked, when: both}}
	case wordsAhead:
		return []op{{do: raisesAhead, words: others, when: when}, {do: moves, when: when}, {do: releases, words: marked, when: both}}
	case releaseWithoutClock:
		if marked != 0 {
			return []op{{do: unmarks, words: marked, when: both}}
		}
	case unmarkFirst:
		if marked != 0 {
			return []op{{do: unmarks, words: marked, when: both}, {do: moves, when: when}, {do: raises, words: others, when: when}}
		}
	case markedFirst:
		return []op{{do: marks, words: others, when: when}, {do: moves, when: when}, {do: releases, words: marked, when: both}, {do: releases, words: others, when: when}}
	case clockNotMoved:
		return []op{{do: marks, words: others, when: when}, {do: releases, words: others, when: when}, {do: releases, words: marked, when: both}}
	}
	return []op{{do: marks, words: others, when: when}, {do: moves, when: when}, {do: releases, words: others, when: when}, {do: releases, words: marked, when: both}}
}

// doubt is how words are invalidated and marked, and lent.
func (f fault) doubt(w words, lease uint8, when func(*process) bool) []op {
	if f == doubtNotMarked {
		return f.invalidate(w, when)
	}
	return []op{{do: marks, words: w, when: when}, {do: moves, when: when}, {do: raises, words: w, when: when}, {do: lends, arg: lease, when: when}}
}

// write is the script of a call of a write.
func (f fault) write(w write) (script []op) {
	add := func(ops ...op) { script = append(script, ops...) }
	ok, bad := w.before|w.after, w.before|w.failed
	switch f {
	case tagsBeforeOnly:
		ok, bad = w.before, w.before
	case tagsAfterOnly:
		ok, bad = w.after, w.failed
	case blankNotWidened:
		bad &^= w.blank
	case onlyOnSuccess:
		bad = 0
	case guardKnownOnly:
		w.guarded = w.before
	case invalidateBefore:
		add(op{do: marks, words: ok}, op{do: moves}, op{do: releases, words: ok})
		ok, bad = 0, 0
	}
	guarded := w.guard != 0 && f != guardForgotten
	if guarded {
		add(op{do: marks, words: w.guarded}, op{do: lends, arg: w.guard})
	} else {
		w.guarded = 0
	}
	add(op{do: calls, arg: uint8(w.outcomes)})
	if guarded {
		add(op{do: takesOver, arg: w.guard})
	}
	if ok != 0 || w.guarded != 0 {
		add(f.release(ok, w.guarded, is(succeeded))...)
	}
	if w.outcomes&failed != 0 && (bad != 0 || w.guarded != 0) {
		add(f.release(bad, w.guarded, is(failed))...)
	}
	if w.outcomes&inDoubt != 0 {
		doubt := f.doubt(bad, w.lease, is(inDoubt))
		var release []op
		if guarded {
			release = f.release(0, w.guarded, func(p *process) bool { return p.took && p.outcome == inDoubt })
		}
		if f == gapInMarks {
			doubt, release = release, doubt
		}
		add(doubt...)
		add(release...)
	}
	add(op{do: returns})
	return script
}

// lease is the script of the timer of a lease.
func (f fault) lease(w words) []op {
	switch f {
	case leaseForgotten:
		return []op{{do: expires}, {do: unmarks, words: w}}
	case unmarkFirst:
		return []op{{do: expires}, {do: unmarks, words: w}, {do: moves}, {do: raises, words: w}}
	case releaseWithoutClock:
		return []op{{do: expires}, {do: unmarks, words: w}}
	}
	return []op{{do: expires}, {do: moves}, {do: releases, words: w}}
}

// lost is the script of a commit that never lands.
func lost() []op { return []op{{do: loses}} }

// late is the script of a commit that may land after its write has returned.
func late() []op { return []op{{do: lands}} }

// ending is how a transaction ends: with or without a commit in doubt, and with or
// without words that were marked before the commit.
func (f fault) ending(w words, lease uint8, guarded bool) []op {
	raise := []op{{do: marks, taken: true}, {do: moves}, {do: releases, taken: true}}
	if f == clockBeforeMarks {
		raise = []op{{do: moves}, {do: raises, taken: true}}
	}
	end := []op{{do: locks}}
	finish := op{do: finishes}
	switch f {
	case endedTooEarly:
		end = append(end, finish)
		end = append(end, raise...)
	case pendingUnlocked:
		end = append([]op{{do: peeks}}, raise...)
		end = append(end, finish)
	default:
		if lease != 0 {
			end = append(end, f.doubt(w, lease, is(inDoubt))...)
			for _, o := range raise {
				o.when = is(succeeded)
				end = append(end, o)
			}
		} else {
			end = append(end, raise...)
		}
		if guarded {
			end = append(end, op{do: releases, words: w})
		}
		end = append(end, finish)
	}
	return append(end, op{do: unlocks})
}
