package model

// A read is how a process calls a memoized method: once, with one key.
type read struct {
	key     uint8
	refresh bool  // with a Refresh context
	early   bool  // a hit may be loaded again in the background
	soft    bool  // does not wait for ever if there is a stale value
	inTx    bool  // with the context of the transaction
	nested  bool  // made by the load of another key
	batch   uint8 // 1 and 2: the first and second id of a batch, in this order among the processes
}

// Where a call is.
const (
	readBegins uint8 = iota
	readTests        // the entry it has found
	readAsks         // whether it is in a transaction, once more
	readDirect
	readPrepares
	readBoards
	readRefreshes
	readWaits
	readAdopts // the outcome of a flight that began before it did, if that passes the hit test
	readStale  // the expired value, if that was not invalidated
	readDormant
)

// call takes a step of a call of a read. It reports whether there is one to take.
func (x *step) call(i uint8, p *process, r *read) bool {
	s := x.s
	switch p.at {
	case readDormant:
		return false

	case readBegins:
		if r.inTx && !s.tx.open || r.batch == 2 && !hasLookedUp(&s.procs[i-1]) {
			return false
		}
		x.begin(p, r)
		switch {
		case r.inTx && !s.tx.ended && x.fault != txReadsServed && x.fault != txReadsFill:
			x.say("is in the transaction")
			p.at = readAsks
		case r.refresh:
			x.prepare(p, r)
		case !s.store[r.key].here:
			x.say("finds nothing for %s", x.key(r.key))
			p.at = readPrepares
		default:
			p.held = s.store[r.key]
			x.say("finds an entry for %s: version %d as of %d", x.key(r.key), p.held.version, p.held.asOf)
			p.at, p.i = readTests, 0
		}

	case readTests:
		switch x.look(&p.held, &p.i, lookUp) {
		case passes:
			switch {
			case p.held.soft != 0 && s.now >= p.held.soft && x.fault != expiryIgnored:
				x.say("which has expired")
				p.at = readPrepares
			case r.early && x.choose(2) == 1:
				x.say("a hit, to be loaded again")
				p.at = readRefreshes
			default:
				x.say("a hit")
				if p.since >= p.held.soft && p.held.soft != 0 {
					s.verdict = expired
				}
				x.answer(i, p, r, p.held.version)
			}
		case fails:
			if x.fault != staleThoughInvalid || s.now < p.held.soft {
				p.held = entry{}
			}
			p.at = readPrepares
		}

	case readAsks:
		if !s.tx.ended {
			x.say("is still in it")
			p.at = readDirect
			break
		}
		x.say("is in it no more")
		p.at = readPrepares

	case readDirect:
		version := x.inTx(r.key)
		x.say("reads %s in the transaction", x.key(r.key))
		x.answer(i, p, r, version)

	case readPrepares:
		x.prepare(p, r)

	case readBoards:
		if !x.mayBoard(i, p, r) {
			return false
		}
		x.board(i, p, r)

	case readRefreshes:
		if on := s.board[r.key]; on != 0 && s.flights[on-1].isOpen() {
			x.say("finds flight %d loading it already", on)
		} else {
			n := x.newFlight(r.key)
			f := &s.flights[n-1]
			f.background = true
			f.at = flightStamps
			f.entry = p.held // a fault may look at its stamp
			x.say("starts flight %d in the background", n)
		}
		x.answer(i, p, r, p.held.version)

	case readWaits:
		return x.wait(i, p, r)

	case readAdopts:
		f := &s.flights[p.flight-1]
		switch x.look(&f.entry, &p.i, adopt) {
		case passes:
			if f.entry.soft != 0 && s.now >= f.entry.soft { // it was found in the store
				x.refuse(p)
				break
			}
			x.say("takes the outcome of flight %d", p.flight)
			x.answer(i, p, r, f.entry.version)
		case fails:
			x.refuse(p)
		}

	case readStale:
		switch x.look(&p.held, &p.i, serveStale) {
		case passes:
			switch {
			case s.now >= p.held.hard && x.fault != hardExpiryIgnored:
				x.noStale(p)
			default:
				x.say("serves it though it has expired")
				if p.since >= p.held.hard {
					s.verdict = expired
				}
				x.answer(i, p, r, p.held.version)
			}
		case fails:
			x.noStale(p)
		}
	}
	return true
}

// begin notes what a call must not be older than.
func (x *step) begin(p *process, r *read) {
	s := x.s
	p.floor = s.returned[r.key]
	p.since = s.now
	if x.linear {
		p.seen = s.seen
	}
	p.refreshed = s.refreshed
	p.own = r.inTx && s.tx.wrote
}

func (x *step) prepare(p *process, r *read) {
	p.before = x.s.started
	p.at = readBoards
	x.say("has missed, with %d flights before it", p.before)
}

// hasLookedUp reports whether a call of a batch knows if it must board.
func hasLookedUp(p *process) bool {
	return p.at == over || p.at >= readBoards && p.at <= readStale
}

// mayBoard reports whether it is a call's turn to board: those of a batch do so one after
// the other, when all have been looked up.
func (x *step) mayBoard(i uint8, p *process, r *read) bool {
	if p.last != 0 {
		return true
	}
	switch r.batch {
	case 1:
		return hasLookedUp(&x.s.procs[i+1])
	case 2:
		return x.s.procs[i-1].at != readBoards || x.s.procs[i-1].last != 0
	}
	return true
}

// board joins a flight, or makes one.
func (x *step) board(i uint8, p *process, r *read) {
	s := x.s
	fits := func(n uint8) bool {
		if n == 0 {
			return false
		}
		f := &s.flights[n-1]
		return f.isOpen() && (f.fresh || !r.refresh)
	}
	var next uint8
	if p.last != 0 {
		next = s.flights[p.last-1].next
	}
	first := p.last == 0
	switch {
	case fits(next):
		p.flight = next
	case fits(s.board[r.key]):
		p.flight = s.board[r.key]
	default:
		p.flight = x.newFlight(r.key)
		p.starter = true
		f := &s.flights[p.flight-1]
		f.fresh = r.refresh
		f.inTx = r.inTx && !s.tx.ended && x.fault == txReadsFill
		f.at = flightLooks
		if f.fresh {
			f.at = flightStamps
		}
	}
	if p.starter {
		x.say("starts flight %d", p.flight)
	} else {
		x.say("joins flight %d", p.flight)
	}
	if p.last != 0 {
		s.flights[p.last-1].next = p.flight
		p.last = 0
	}
	p.at = readWaits
	if first {
		x.fillTrip(i, p, r)
	}
}

// fillTrip puts the flights that the calls of a batch have made on one trip, which begins
// when both have boarded.
func (x *step) fillTrip(i uint8, p *process, r *read) {
	s := x.s
	switch {
	case r.batch == 1 && p.starter && s.procs[i+1].at == readBoards:
		s.flights[p.flight-1].at = flightBoards
	case r.batch == 2:
		a := &s.procs[i-1]
		if a.at != readWaits || !a.starter || s.flights[a.flight-1].at != flightBoards {
			return
		}
		lead := &s.flights[a.flight-1]
		lead.at = flightLooks
		if p.starter {
			lead.mate = p.flight
			s.flights[p.flight-1].at = flightSeated
		}
	}
}

// newFlight makes a flight, which replaces on the board whatever is there.
func (x *step) newFlight(key uint8) uint8 {
	s := x.s
	if s.started == maxFlights {
		panic("model: the scope " + x.Name + " needs more flights")
	}
	s.started++
	n := s.started
	s.flights[n-1] = flight{key: key, older: s.board[key]} // which has not landed: it would not be there
	s.board[key] = n
	return n
}

// wait goes on with a flight that has landed, or without one.
func (x *step) wait(i uint8, p *process, r *read) bool {
	f := &x.s.flights[p.flight-1]
	if !f.landed {
		switch {
		case r.soft && p.held.here:
			x.say("has waited long enough")
			p.at, p.i = readStale, 0
			return true
		case f.late && !p.starter:
			x.say("waits no more for flight %d", p.flight)
			p.flight, p.last = 0, 0
			p.at = readBoards
			return true
		}
		return false
	}
	after := p.flight > p.before
	take := p.starter
	switch {
	case take:
	case f.failed:
		take = after
	case r.refresh:
		take = f.fresh && f.loaded && after
	case after:
		take = true
	case x.fault == adoptByKey:
		take = true
	case x.fault == adoptByFlight && f.kept == 2:
		take = true
	case f.checkable || x.fault == adoptUnstored:
		x.say("is to adopt the outcome of flight %d, as of %d", p.flight, f.entry.asOf)
		p.at, p.i = readAdopts, 0
		return true
	}
	switch {
	case !take:
		x.refuse(p)
	case f.failed && p.held.here:
		x.say("flight %d has failed", p.flight)
		p.at, p.i = readStale, 0
	case f.failed:
		x.say("returns the error of flight %d", p.flight)
		*p = process{at: over}
	default:
		x.say("takes the outcome of flight %d", p.flight)
		x.answer(i, p, r, f.entry.version)
	}
	return true
}

// refuse sends a call to the next flight.
func (x *step) refuse(p *process) {
	x.say("may not have the outcome of flight %d", p.flight)
	p.last, p.flight = p.flight, 0
	p.at = readBoards
}

// noStale goes on with a call for which there is no stale value after all.
func (x *step) noStale(p *process) {
	if f := &x.s.flights[p.flight-1]; f.landed && f.failed {
		x.say("returns the error of flight %d", p.flight)
		*p = process{at: over}
		return
	}
	p.held = entry{} // what is invalid now stays so
	p.at = readWaits
}

// answer ends a call with a version, and judges it.
func (x *step) answer(i uint8, p *process, r *read, version uint8) {
	s := x.s
	switch {
	case version == dirty:
		x.say("returns what is not committed")
	default:
		x.say("returns version %d", version)
	}
	switch direct := p.at == readDirect; {
	case s.verdict != fine:
	case version == dirty && !r.inTx:
		s.verdict = uncommitted
	case p.own && version != dirty && !s.tx.rolledBack && (!s.tx.committed || version < x.versionOfTx(r.key)):
		s.verdict = ownUnseen
	case direct || version == dirty:
	case version < p.floor:
		s.verdict = stale
		x.say("but version %d had returned before", p.floor)
	case version < p.seen:
		s.verdict = notLinear
		x.say("but version %d had been read before", p.seen)
	case version < p.refreshed:
		s.verdict = unrefreshed
		x.say("but version %d had been read before", p.refreshed)
	}
	if x.linear && version != dirty {
		s.seen = max(s.seen, version)
	}
	if r.refresh {
		s.refreshed = max(s.refreshed, version)
	}
	if r.nested {
		x.landInside(version)
	}
	*p = process{at: over}
}

// versionOfTx is that which the commit of the transaction has given a key.
func (x *step) versionOfTx(key uint8) uint8 {
	for i := range x.procs {
		if x.isTx(i) {
			return x.s.procs[i].given[key]
		}
	}
	return 0
}

// inTx is the version of a key that a statement in the transaction sees.
func (x *step) inTx(key uint8) uint8 {
	s := x.s
	switch {
	case s.tx.committed || s.tx.rolledBack:
		return s.versions[key]
	case s.tx.wrote:
		return dirty
	}
	return s.tx.snapshot[key]
}

// A tester is what the hit test is made for.
type tester uint8

const (
	lookUp tester = iota
	recheck
	beforeStoring
	adopt
	serveStale
)

// What a look at a word has shown.
type looked uint8

const (
	goesOn looked = iota
	passes
	fails
)

// look is one step of the hit test: it looks at the next word of an entry.
func (x *step) look(e *entry, i *uint8, who tester) looked {
	at, ok, last := e.words.from(*i)
	if x.fault == oneTagSkipped && ok && last && *i > 0 {
		ok = false
	}
	if !ok || x.isSkipped(who) {
		x.say("looks at no word")
		return passes
	}
	w := x.s.table[at]
	*i = at + 1
	marked := w.marks > 0 && x.fault != marksIgnored && !(x.fault == adoptUnderMarks && who == adopt)
	switch {
	case marked:
		x.say("sees that %s is marked", x.word(at))
		return fails
	case w.clock > e.asOf:
		x.say("sees %s at %d, later than %d", x.word(at), w.clock, e.asOf)
		return fails
	}
	x.say("sees %s at %d, not later than %d", x.word(at), w.clock, e.asOf)
	if last {
		return passes
	}
	return goesOn
}

// isSkipped reports whether a fault leaves out a hit test.
func (x *step) isSkipped(who tester) bool {
	switch who {
	case recheck:
		return x.fault == recheckBlindly
	case serveStale:
		return x.fault == staleThoughInvalid || x.fault == staleTestedOnce
	case beforeStoring:
		return x.fault == storeBlindly
	}
	return false
}
