// Package model explores a model of the invalidation protocol: a state in which
// everything is there that the protocol's processes share or remember, and the atomic
// steps of the processes. Explore walks through every interleaving of the steps at small
// scope.
//
// The model follows the runtime step by step: a step is one read or one change of one
// shared word, one operation of the store, one section under a mutex, or one statement
// of the database. What only one process can see is done together with the step before
// it, and so is what lets others see less if it is done late: a call begins with its
// first step and returns with its last one, which is the strictest reading.
//
// What is not in it are values, codecs, keys and hashes, limits on loads, and callers
// that give up. They change what an outcome is or whether there is one, not whether it
// is current. Loads run on a snapshot of the database that begins after they do.
//
// Scopes are small configurations, each for a part of the protocol. Faults are rules that
// the model can be told to break: for each there is a scope in which it is found out.
package model

import "math/bits"

// Sizes of a state. A scope that needs more panics.
const (
	maxKeys    = 2
	maxWords   = 5
	maxFlights = 4
	maxProcs   = 8
)

// words is a set of words of the table, bit i for word i.
type words uint8

func (w words) has(i uint8) bool { return w>>i&1 == 1 }

// from returns the first word of the set that is not below i, and whether it is the last.
func (w words) from(i uint8) (word uint8, ok, last bool) {
	rest := w >> i << i
	if rest == 0 {
		return 0, false, true
	}
	word = uint8(bits.TrailingZeros8(uint8(rest)))
	return word, true, rest&(rest-1) == 0
}

// dirty is the version that a transaction sees of what it has changed and not yet
// committed.
const dirty = 15

// A state is all there is at one moment. It has no pointers, so that it can be compared
// and hashed as it is.
type state struct {
	// The database. What a key reads has versions: the number of commits that have
	// changed it. So a result is current if its version is.
	versions  [maxKeys]uint8
	committed uint8 // the processes whose commit has landed, as a set
	settled   uint8 // those of which it is decided whether it lands
	tx        tx

	// The cache.
	clock   uint8
	table   [maxWords]word
	store   [maxKeys]entry
	board   [maxKeys]uint8 // number of the flight to join; 0 for none
	flights [maxFlights]flight
	started uint8 // number of flights so far
	lent    uint8 // leases that have begun, as a set of processes
	ended   uint8 // leases that have ended or were taken over

	now   uint8 // time, for expiry alone
	procs [maxProcs]process

	// What has been seen, for the judgement.
	back      uint8          // the processes whose write has returned
	returned  [maxKeys]uint8 // newest version of which the write has returned
	seen      uint8          // newest version that a read has returned, of any key
	refreshed uint8          // newest version that a read with a Refresh context has returned
	verdict   verdict
}

// A word of the table.
type word struct {
	clock uint8 // of the last invalidation
	marks uint8
}

// An entry is what the store has under a key, or what a load has come back with.
type entry struct {
	here    bool
	version uint8
	asOf    uint8
	words   words // of the tags it depends on
	soft    uint8 // the time it expires; 0 for never
	hard    uint8 // from then on it is of no use at all
}

// A tx is the transaction of a scope, in the database and in the cache.
type tx struct {
	open, wrote, committed, rolledBack bool           // in the database
	snapshot                           [maxKeys]uint8 // of the versions

	pending words // that were collected
	locked  bool  // the mutex
	ended   bool
}

// A process is where one of a scope's processes is. Which fields mean something
// depends on what it is.
type process struct {
	at uint8
	i  uint8 // the next word of those it goes through

	// Of a script.
	outcome outcome        // of the call
	took    bool           // the marks of its lease
	atOnce  bool           // it was too late for its transaction
	c       uint8          // the clock it invalidates at
	words   words          // that it goes through, if the script does not say
	given   [maxKeys]uint8 // versions that its commit has made

	// Of a call of a read.
	floor     uint8 // the newest version whose write had returned when it began
	seen      uint8 // the newest version that a read had returned then
	refreshed uint8 // the newest version that a read with a Refresh context had
	since     uint8 // the time it began
	own       bool  // it is in the transaction, and began after that had written
	early     bool  // it has an answer, and is to have it loaded again
	before    uint8 // flights started when it began
	flight    uint8 // that it waits for
	last      uint8 // whose outcome it could not have
	starter   bool  // it made the flight
	held      entry // that it has found
}

// over is where a process is that has ended.
const over = 255

// A flight is a load shared by the calls for its key.
type flight struct {
	at   phase
	key  uint8
	i    uint8 // the next word of the hit test
	mate uint8 // the second flight of the same trip, that of a batch
	seat uint8 // 1 while it is the mate's turn

	older, next uint8
	kept        uint8 // 1 while its outcome is being stored, 2 when it has been
	outrun      bool

	fresh      bool // a Refresh context's
	background bool
	inTx       bool // a fault
	late       bool // past its deadline
	landed     bool

	entry     entry
	loaded    bool // not found in the store after all
	failed    bool
	checkable bool
}

// A verdict says which promise is broken.
type verdict uint8

const (
	fine verdict = iota
	stale
	notLinear
	uncommitted
	ownUnseen
	expired
	unrefreshed
)

// Scope is a small configuration that is explored to the end.
type Scope struct {
	Name string
	Why  string // what it is for

	keys    []string
	words   []string
	depends []words                                // of each key: known from the arguments
	results func(key uint8, committed uint8) words // known from the result; nil for none
	cached  uint8                                  // keys whose version 0 is in the store at the start, as a set
	procs   []proc

	flying   bool // at the start a load of the first key has returned version 0 and is to be stored
	linear   bool // writes are guarded: reads are to be linearizable, all keys together
	ttl      bool // what is stored expires
	fails    bool // loads may fail
	notFound bool // version 0 is that there is no such thing
	negative bool // which is remembered, and does not depend on the result
	forgets  bool // a value is not stored at all
	large    bool // it takes seconds
	deep     bool // it takes a minute or more
}

// A proc is a process of a scope: a call of a read or a script.
type proc struct {
	name   string
	read   *read
	script []op
	keys   []uint8 // that a script's commit changes
	of     uint8   // the process whose commit, or lease, a script is about
}

// A system is a scope in which a rule may be broken.
type system struct {
	Scope
	fault fault
}

// Start returns the state in which nothing has happened.
func (x *system) Start() state {
	var s state
	for key := range uint8(len(x.keys)) {
		if x.cached>>key&1 == 1 {
			s.store[key] = x.entryOf(key, 0, 0)
			x.expires(&s, &s.store[key])
		}
	}
	if x.flying {
		s.started, s.board[0] = 1, 1
		s.flights[0] = flight{at: flightTests, background: true, entry: x.entryOf(0, 0, 0), loaded: true, checkable: true}
	}
	for i := range x.procs {
		if r := x.procs[i].read; r != nil && r.nested {
			s.procs[i].at = readDormant
		}
	}
	for i := len(x.procs); i < maxProcs; i++ {
		s.procs[i].at = over
	}
	return s
}

// entryOf is what a load of a key makes of a version, when some commits have landed.
func (x *system) entryOf(key, version, committed uint8) entry {
	e := entry{here: true, version: version, words: x.depends[key]}
	if x.notFound && version == 0 {
		if x.fault == negativeWithoutTags {
			e.words = 0
		}
	} else if x.results != nil && x.fault != resultTagsDropped {
		e.words |= x.results(key, committed)
	}
	return e
}

// expires gives an entry that is stored now its lifetime.
func (x *system) expires(s *state, e *entry) {
	if x.ttl {
		e.soft, e.hard = s.now+1, s.now+2
	}
}

// Bad reports whether a promise is broken.
func (x *system) Bad(s *state) bool { return s.verdict != fine }

// Stuck reports whether a call of a read waits for ever, or marks are left that no
// lease will end.
func (x *system) Stuck(s *state) bool {
	for i := range x.procs {
		if x.procs[i].read != nil && s.procs[i].at != over && s.procs[i].at != readDormant {
			return true
		}
	}
	for _, w := range s.table {
		if w.marks > 0 {
			return true
		}
	}
	return false
}

// Steps calls yield with the states that follow.
func (x *system) Steps(s *state, yield func(*state)) {
	x.each(s, func(st *step) { yield(st.s) })
}

// A step is being taken by one process.
type step struct {
	*system
	s      *state
	choice int  // which of the ways that the step can go
	more   bool // there are others
	tale   tale
}

// choose returns one of n ways to go on; the step is taken again for the others.
func (x *step) choose(n int) int {
	x.more = x.choice+1 < n
	return x.choice
}

// each calls yield with each step that can be taken from s.
func (x *system) each(s *state, yield func(*step)) { x.tell(s, tale{}, yield) }

// tell is like each, and has each step tell its tale.
func (x *system) tell(s *state, t tale, yield func(*step)) {
	if s.verdict != fine {
		return
	}
	next := *s
	st := step{system: x, s: &next, tale: t}
	all := func(take func() bool) {
		for st.choice, st.more = 0, true; st.more; st.choice++ {
			next = *s
			st.more = false
			st.tale.text, st.tale.names = "", t.names
			if take() {
				st.tidy()
				yield(&st)
			}
		}
	}
	for i := range x.procs {
		p := &next.procs[i]
		if s.procs[i].at == over {
			continue
		}
		st.tale.who = i
		if r := x.procs[i].read; r != nil {
			all(func() bool { return st.call(uint8(i), p, r) })
		} else {
			all(func() bool { return st.run(uint8(i), p, &x.procs[i]) })
		}
	}
	for n := uint8(1); n <= s.started; n++ {
		st.tale.flight = n
		all(func() bool { return st.fly(n) })
		st.tale.flight = 0
	}
}

// tidy forgets what nobody can see any more, so that states become equal that do not
// differ.
func (x *step) tidy() {
	s := x.s
	for n := uint8(1); n <= s.started; n++ {
		f := &s.flights[n-1]
		if f.landed {
			for m := range s.flights {
				if s.flights[m].older == n {
					s.flights[m].older = f.older
				}
			}
		}
	}
	for n := uint8(1); n <= s.started; n++ { // next is a later one
		if f := &s.flights[n-1]; f.landed && f.at == flightOver && !x.isSeen(n) {
			*f = flight{at: flightOver, landed: true}
		}
	}
	x.order()
}

// order puts calls that differ in nothing but their number in an order, as states that
// differ in it alone lead to the same. It does not matter how they are ordered, nor
// whether all of them are.
func (x *step) order() {
	procs := &x.s.procs
	for i := 1; i < len(x.procs); i++ {
		for j := i; j > 0 && x.areTwins(j-1, j) && procs[j].rank() < procs[j-1].rank(); j-- {
			procs[j-1], procs[j] = procs[j], procs[j-1]
			x.tale.names[j-1], x.tale.names[j] = x.tale.names[j], x.tale.names[j-1]
		}
	}
}

// areTwins reports whether two processes are calls of the same kind.
func (x *system) areTwins(i, j int) bool {
	a, b := x.procs[i].read, x.procs[j].read
	return a != nil && b != nil && *a == *b && a.batch == 0 && !a.nested
}

func (p *process) rank() (rank uint64) {
	for _, field := range []uint8{p.at, p.i, p.flight, p.last, p.before, p.floor, p.seen, p.held.asOf} {
		rank = rank<<8 | uint64(field)
	}
	return rank
}

// isSeen reports whether a call, or another flight, refers to a flight.
func (x *step) isSeen(n uint8) bool {
	for i := range x.procs {
		if p := &x.s.procs[i]; p.flight == n || p.last == n {
			return true
		}
	}
	for m := range x.s.flights {
		if f := &x.s.flights[m]; f.next == n || f.mate == n {
			return true
		}
	}
	return false
}
