package model

// A phase is where a flight is. A flight that is the first of a batch's trip takes the
// steps of both, one after the other where they are about one key.
type phase uint8

const (
	flightNone   phase = iota
	flightBoards       // waits until all of the trip have boarded
	flightSeated       // on the trip of another one
	flightLooks        // for an entry that an earlier one has stored
	flightChecks
	flightStamps
	flightLoads
	flightInside // its load makes another read
	flightTests  // whether it has been overtaken
	flightKeeps  // if no younger one has stored
	flightQueues // until older ones have stored
	flightStores
	flightLands
	flightOver
)

// fly takes a step of a flight. It reports whether there is one to take.
func (x *step) fly(n uint8) bool {
	s := x.s
	f := &s.flights[n-1] // whose steps these are
	g, number := f, n    // whom this one is about
	if f.seat == 1 {
		number = f.mate
		g = &s.flights[number-1]
	}
	switch f.at {
	default:
		return false

	case flightLooks:
		e := s.store[g.key]
		if !e.here {
			x.say("finds nothing for %s", x.key(g.key))
			x.nextSeat(f, flightLooks, flightStamps)
			break
		}
		x.say("finds an entry for %s: version %d as of %d", x.key(g.key), e.version, e.asOf)
		g.entry, g.i = e, 0
		f.at = flightChecks

	case flightChecks:
		switch x.look(&g.entry, &g.i, recheck) {
		case passes:
			if g.entry.soft != 0 && s.now >= g.entry.soft {
				g.entry = entry{}
				x.nextSeat(f, flightLooks, flightStamps)
				break
			}
			x.say("a hit")
			g.checkable = true
			if f.mate == 0 {
				f.at = flightLands
				break
			}
			x.land(number)
			x.nextSeat(f, flightLooks, flightStamps)
		case fails:
			g.entry = entry{}
			x.nextSeat(f, flightLooks, flightStamps)
		}

	case flightStamps:
		if x.seats(f, func(g *flight) { g.entry = entry{here: true, asOf: x.stamp(g)} }) {
			x.say("takes %d for its stamp", s.clock)
			f.at = flightLoads
			break
		}
		return x.allFound(f)

	case flightLoads:
		if x.isNesting(f) {
			x.say("reads another key")
			x.wakeInside()
			f.at = flightInside
			break
		}
		if x.fails && x.choose(2) == 1 {
			x.say("fails")
			x.seats(f, func(g *flight) { g.loaded, g.failed = true, true })
			f.at = flightLands
			break
		}
		x.seats(f, func(g *flight) {
			version := s.versions[g.key]
			if g.inTx {
				version = x.inTx(g.key)
			}
			asOf := g.entry.asOf
			g.entry = x.entryOf(g.key, version, s.committed)
			g.entry.asOf = asOf
			g.loaded = true
			g.checkable = x.isStorable(version)
			x.say("loads version %d of %s", version, x.key(g.key))
		})
		x.firstSeat(f)

	case flightInside:
		return false // the call of the other key goes on for it

	case flightTests:
		if !g.checkable {
			x.say("has nothing to store")
			x.nextSeat(f, flightTests, flightLands)
			break
		}
		if g.i == 0 {
			if x.fault == stampAfterLoad || x.fault == backgroundStampAfter && g.background || x.fault == batchStampAfter && f.mate != 0 {
				g.entry.asOf = s.clock
				x.say("takes %d for its stamp", s.clock)
			}
		}
		switch x.look(&g.entry, &g.i, beforeStoring) {
		case passes:
			f.at = flightKeeps
		case fails:
			x.say("it is not stored")
			x.nextSeat(f, flightTests, flightLands)
		}

	case flightKeeps:
		if g.outrun && x.fault != storeOutrun {
			x.say("is not stored, as a younger one was")
			x.nextSeat(f, flightTests, flightLands)
			break
		}
		x.say("may be stored")
		g.kept = 1
		for old := g.older; old != 0; old = s.flights[old-1].older {
			if s.flights[old-1].kept == 0 {
				s.flights[old-1].outrun = true
			} else if s.flights[old-1].kept == 1 && x.fault != storeOutrun {
				f.at = flightQueues
			}
		}
		if f.at != flightQueues {
			f.at = flightStores
		}

	case flightQueues:
		for old := g.older; old != 0; old = s.flights[old-1].older {
			if s.flights[old-1].kept == 1 {
				return false
			}
		}
		x.say("has waited for older ones")
		f.at = flightStores

	case flightStores:
		e := g.entry
		x.expires(s, &e)
		s.store[g.key] = e
		g.kept = 2
		x.say("stores version %d of %s as of %d", e.version, x.key(g.key), e.asOf)
		x.nextSeat(f, flightTests, flightLands)

	case flightLands:
		x.say("lands")
		switch {
		case f.mate == 0:
			x.land(n)
		case !f.landed:
			x.land(n)
			f.at = flightLands
			if s.flights[f.mate-1].landed {
				x.leaveTrip(f)
			}
		default:
			x.land(f.mate)
			x.leaveTrip(f)
		}
	}
	return true
}

// isOpen reports whether a flight may be joined.
func (f *flight) isOpen() bool { return f.landed || !f.late && !f.outrun }

// isStorable reports whether an outcome is one to be stored.
func (x *step) isStorable(version uint8) bool {
	if x.notFound && version == 0 {
		return x.negative
	}
	return !x.forgets
}

// stamp is what a flight takes for its stamp before it loads.
func (x *step) stamp(g *flight) uint8 {
	if x.fault == backgroundKeepsStamp && g.background {
		return g.entry.asOf
	}
	return x.s.clock
}

// land takes a flight off the board, and wakes those who wait for it. An older one that
// is in the air goes back there: one that is made next is to know of it.
func (x *step) land(n uint8) {
	s := x.s
	f := &s.flights[n-1]
	f.landed = true
	if s.board[f.key] == n {
		s.board[f.key] = 0
		for old := f.older; old != 0 && x.fault != olderForgotten; old = s.flights[old-1].older {
			if !s.flights[old-1].landed {
				s.board[f.key] = old
				break
			}
		}
	}
	f.at = flightOver
}

// leaveTrip ends a trip of two.
func (x *step) leaveTrip(f *flight) {
	f.at, f.mate, f.seat = flightOver, 0, 0
}

// seats runs do for each flight of a trip that is to load, and reports whether there is
// one.
func (x *step) seats(f *flight, do func(*flight)) (any bool) {
	for _, g := range []*flight{f, x.mateOf(f)} {
		if g != nil && !g.landed {
			do(g)
			any = true
		}
	}
	return any
}

func (x *step) mateOf(f *flight) *flight {
	if f.mate == 0 {
		return nil
	}
	return &x.s.flights[f.mate-1]
}

// allFound ends a trip of two of which both were found in the store.
func (x *step) allFound(f *flight) bool {
	x.say("has nothing to load")
	x.leaveTrip(f)
	return true
}

// nextSeat goes on with the other flight of the trip, in the phase again, or to the next
// phase.
func (x *step) nextSeat(f *flight, again, next phase) {
	if f.mate != 0 && f.seat == 0 && !x.mateOf(f).landed {
		f.seat = 1
		x.mateOf(f).i = 0
		f.at = again
		return
	}
	f.seat = 0
	f.at = next
}

// firstSeat goes on, after a load, with the first flight of the trip that was loaded.
func (x *step) firstSeat(f *flight) {
	f.i, f.seat = 0, 0
	f.at = flightTests
	if f.landed {
		f.seat = 1
		x.mateOf(f).i = 0
	}
}

// isNesting reports whether a flight's load makes the nested read of the scope.
func (x *step) isNesting(f *flight) bool {
	for i := range x.procs {
		if r := x.procs[i].read; r != nil && r.nested {
			return f.key != r.key && x.s.procs[i].at == readDormant
		}
	}
	return false
}

// wakeInside lets the nested read begin.
func (x *step) wakeInside() {
	for i := range x.procs {
		if x.s.procs[i].at == readDormant && x.procs[i].read.nested {
			x.s.procs[i].at = readBegins
			return
		}
	}
}

// landInside ends the load that waits for the nested read.
func (x *step) landInside(version uint8) {
	s := x.s
	for n := range s.flights {
		if f := &s.flights[n]; f.at == flightInside {
			asOf := f.entry.asOf
			f.entry = x.entryOf(f.key, version, s.committed)
			f.entry.asOf = asOf
			f.loaded = true
			f.checkable = x.isStorable(version)
			x.firstSeat(f)
		}
	}
}
