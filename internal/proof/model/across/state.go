// Package across explores a model of the invalidation protocol across processes: their
// tables, the log that they share, and the entries that they share. It is about what
// package model leaves out, and leaves out what that is about: how callers of one
// process share loads, transactions, and tags that are not known before a call.
//
// There are nodes, which are processes of the operating system, and actors: calls of reads
// and writes, each in one node, and what happens to the server. A node follows the log on
// its own: it proves that its table is current, applies records, reads the state of the
// log, ends leases, and delivers what could not be delivered.
//
// A step is what is atomic: a script in the server, a change or a look at one word of a table,
// a commit. A call of the server has its answer, and the arrival of that, as two steps;
// a proof and the sending of it too, as a proof counts from then. Requests and replies
// that are not lost arrive, but at any time. Not modelled are the waiting for new records, for a
// proof can be sent at any time that matters, and how replies are put together.
package across

import "math/bits"

// Sizes of a state. A scope that needs more panics.
const (
	maxKeys    = 2
	maxWords   = 2
	maxMarks   = 2
	maxNodes   = 3
	maxActors  = 7
	maxRecords = 9
	maxTicks   = 4
)

// words is a set of words of the table, bit i for word i.
type words uint8

func (w words) has(i uint8) bool { return w>>i&1 == 1 }

// first returns the first word of the set that is not below i.
func (w words) first(i uint8) (word uint8, ok bool) {
	rest := w >> i << i
	return uint8(bits.TrailingZeros8(uint8(rest))), rest != 0
}

// actors is a set of actors, bit i for actor i.
type actors uint8

// A state is all there is at one moment. It has no pointers, so that it can be compared
// and hashed as it is.
type state struct {
	versions [maxKeys]uint8 // of the database: the number of commits that have changed a key
	landed   actors         // whose commit has landed
	settled  actors         // of whose commit it is decided whether it lands

	server  server             // which all talk to
	other   server             // a replica of it or a file, as of some time before
	records [maxRecords]record // all that were ever written, by id, whatever has become of them
	written uint8              // number of them
	epochs  uint8              // that have begun
	runs    uint8              // of servers
	tier    [maxKeys]entry     // the entries that nodes share
	nodes   [maxNodes]node
	actors  [maxActors]actor
	now     uint8 // time, where it matters
	losses  uint8 // messages that may still be lost

	// What the judgement needs.
	delivered [maxTicks]actors // writes whose record was in the log at the end of the tick
	seen      uint8            // the newest version that a read has returned, of any key
	verdict   verdict
}

// A server has the log and the state that it adds up to.
type server struct {
	epoch  uint8 // 0 if there is nothing
	head   uint8 // id of the last record
	oldest uint8 // number of the oldest that has not been trimmed
	words  [maxWords]uint8
	marks  [maxMarks]uint8 // outstanding: generation, or 0
	writer uint8           // the run that has written this
	run    uint8           // of the server
}

// A record of the log. Its id is its place among all records.
type record struct {
	number   uint8
	previous uint8 // id of the one before it; 0 for the first of an epoch
	words    words // that it invalidates
	mark     uint8 // that begins or is renewed, from 1
	release  uint8 // that ends, from 1
	gen      uint8 // of the mark
}

// A view is a table, and what it is known to be.
type view struct {
	epoch  uint8 // 0 for none
	run    uint8 // of the server that it was read from
	at     uint8 // number of the last record that was applied: the clock
	id     uint8 // of that record
	words  [maxWords]uint8
	gens   [maxMarks]uint8 // of the marks known, or 0
	marked [maxMarks]words // the words that a mark is in
	dead   bool            // no hits, until there is another
	ended  bool            // and its epoch is to end
	proven bool            // it was, at some time since it is there
	since  uint8           // the time as of which it was last
	serial uint8           // counts the views of a node
	ahead  uint8           // a fault: the number of an own record that is taken for a stamp
}

// A node is a process of the operating system.
type node struct {
	crashed  bool
	split    bool // it talks to the other server
	view     view
	proof    proof
	snapshot snapshot
	applying applying
	missing  [maxMarks]uint8 // generations of marks that have to be appended again
	again    bool            // everything has to be invalidated again
	queue    words           // invalidated in no log yet
	local    words           // and marked meanwhile
	held     actors          // the writes that these are of
	doubtful uint8           // mark that is to be delivered with them, from 1
	sending  words           // of the queue
	proofs   uint8           // that it may send without a need
	store    [maxKeys]entry

	returned actors // its writes that have returned
	covered  actors // writes whose record was in the log when a proof was sent that was applied
}

// A reply tells of the log after some record.
type reply struct {
	epoch   uint8
	head    uint8 // id
	known   bool  // the record that was asked about is in the log
	partial bool  // of the records there is just the last one
	own     uint8 // id of the record that was appended

	// As of when it was sent.
	asked   uint8 // the epoch
	serial  uint8 // of the view
	whole   bool  // no marks were missing
	sent    uint8 // the time
	covers  actors
	covered actors
}

// A proof is under way.
type proof struct {
	at    uint8
	from  uint8 // id of a record
	reply reply
}

// Where a proof is.
const (
	proofNone uint8 = iota
	proofSent
	proofAnswered
)

// A snapshot is the state of a log, under way.
type snapshot struct {
	here  bool
	epoch uint8
	run   uint8 // of the server
	id    uint8
	words [maxWords]uint8
	marks [maxMarks]uint8
}

// applying is a reply being applied, which is done to one at a time.
type applying struct {
	by    uint8 // whose it is: an actor's number, or one of those below
	i     uint8 // the next word
	own   bool  // it raises the words of its own record alone
	reply reply
}

const (
	byProof   uint8 = maxActors + iota // the node's proof
	byRetry                            // what could not be delivered
	byRelease                          // the end of a lease, or a mark that was missing
	byNobody
)

// An entry is the outcome of a load.
type entry struct {
	here    bool
	version uint8
	epoch   uint8
	asOf    uint8
}

// An actor is where a call is, or what happens to a server.
type actor struct {
	at uint8
	i  uint8

	// Of a write.
	doubt bool           // it has ended in doubt
	gen   uint8          // of its mark
	reply reply          // to what it has appended
	given [maxKeys]uint8 // versions that its commit has made

	// Of a read.
	floor   uint8 // the version that it must not be older than
	seen    uint8 // the newest that a read had returned when it began
	held    entry // that it has found or loaded
	adopted bool  // the load that it was found in has not stored it yet
	shared  bool  // it was found in the second tier
	stamp   uint8 // that its load has taken
	epoch   uint8
	proved  bool  // a proof was applied that was sent when it had begun
	verdict uint8 // of the words of a view that has been replaced since
}

// start is the number of the record that there is at the start. It is not the first, so that
// positions of the epoch that follows are smaller.
const start = 3

// over is where an actor is that has ended.
const over = 255

// What the words of a view have shown that has been replaced.
const (
	unknown uint8 = iota
	passes
	fails
)

// A verdict says which promise is broken.
type verdict uint8

const (
	fine verdict = iota
	staleOwn
	stale
	notLinear
)

// A system is a scope in which a rule may be broken.
type system struct {
	Scope
	fault fault
}

// Start returns the state in which nothing has happened.
func (x *system) Start() state {
	var s state
	s.runs, s.epochs, s.written = 1, 1, 1
	s.records[0] = record{number: start}
	s.server = server{epoch: 1, head: 1, oldest: start, writer: 1, run: 1}
	s.losses = x.losses
	for key := range uint8(len(x.depends)) {
		e := entry{here: true, epoch: 1, asOf: start}
		if x.tiered>>key&1 == 1 {
			s.tier[key] = e
		}
		for i := range x.nodes {
			if x.cached>>key&1 == 1 && !x.nodes[i].cold {
				s.nodes[i].store[key] = e
			}
		}
	}
	for i := range s.nodes {
		n := &s.nodes[i]
		n.applying.by = byNobody
		if i >= len(x.nodes) {
			n.crashed = true
			continue
		}
		n.proofs = x.nodes[i].proofs
		n.crashed = x.nodes[i].gone
		n.view = view{epoch: 1, run: 1, at: start, id: 1, proven: true}
		if x.nodes[i].cold {
			n.view = view{dead: true}
		}
	}
	for i := range s.actors {
		if i >= len(x.actors) {
			s.actors[i].at = over
		} else if r := x.actors[i].read; r != nil && r.nested {
			s.actors[i].at = readDormant
		}
	}
	if x.marked {
		// A write of the first node is in doubt. It has returned.
		w := &s.actors[0]
		*w = actor{at: over, doubt: true, gen: 1}
		s.records[1] = record{number: start + 1, previous: 1, words: x.actors[0].write.words, mark: 1, gen: 1}
		s.written = 2
		s.server.head = 2
		s.server.marks[0] = 1
		s.delivered = [maxTicks]actors{1, 1, 1, 1}
		s.nodes[0].returned = 1
		for word := range uint8(maxWords) {
			if x.actors[0].write.words.has(word) {
				s.server.words[word] = start + 1
			}
		}
		for i := range x.nodes {
			if n := &s.nodes[i]; !x.nodes[i].behind && !x.nodes[i].cold && !x.nodes[i].gone {
				n.view.at, n.view.id = start+1, 2
				n.view.words = s.server.words
				n.view.gens[0] = 1
				n.view.marked[0] = x.actors[0].write.words
				n.covered = 1
			}
		}
	}
	if x.failed {
		s.records[1] = record{number: start + 1, previous: 1}
		s.written = 2
		for i := range x.nodes {
			s.nodes[i].view.at, s.nodes[i].view.id = start+1, 2
		}
		s.runs = 2
		s.server.run = 2
	}
	for _, e := range x.before {
		st := step{system: x, s: &s}
		st.happens(e)
	}
	return s
}

// Bad reports whether a promise is broken.
func (x *system) Bad(s *state) bool { return s.verdict != fine }

// Stuck reports whether something is left at the end that should not be: a call that
// waits for ever, a write that was not delivered, a mark, or an entry that is old and
// that a node could serve, once it has applied all there is in the log.
func (x *system) Stuck(s *state) bool { return x.left(s) != "" }

// left says what is left at the end.
func (x *system) left(s *state) string {
	for i := range x.actors {
		if a := &s.actors[i]; x.actors[i].read != nil && a.at != over && a.at != readDormant {
			return x.actors[i].name + " waits for ever."
		}
	}
	for i := range x.nodes {
		if n := &s.nodes[i]; !n.crashed && (n.queue|n.sending|n.local) != 0 {
			return "An invalidation is never delivered."
		}
	}
	for _, gen := range s.server.marks {
		if gen > 0 {
			return "A mark is left that nothing will end."
		}
	}
	for i := range x.nodes {
		if n := &s.nodes[i]; !n.crashed && n.view.id == s.server.head && n.view.gens != s.server.marks {
			return "A process keeps a mark that the log does not have."
		}
	}
	for key := range uint8(len(x.depends)) {
		if x.isServable(s, key, s.tier[key]) {
			return "In the shared tier an old entry is left that would be served."
		}
		for i := range x.nodes {
			if n := &s.nodes[i]; !n.crashed && x.isServable(s, key, n.store[key]) {
				return "In a local store an old entry is left that would be served."
			}
		}
	}
	return ""
}

// isServable reports whether an entry is old and passes the hit test by the state of
// the log, which every node has in the end.
func (x *system) isServable(s *state, key uint8, e entry) bool {
	if !x.isWhole(&s.server) { // the first to notice begins a new epoch
		return false
	}
	if !e.here || e.version == s.versions[key] || e.epoch != s.server.epoch && x.fault != epochNotCompared {
		return false
	}
	for word := range uint8(maxWords) {
		if x.depends[key].has(word) && s.server.words[word] > e.asOf {
			return false
		}
	}
	return true
}

// Steps calls yield with the states that follow.
func (x *system) Steps(s *state, yield func(*state)) {
	x.tell(s, false, [maxActors]string{}, func(st *step) { yield(st.s) })
}

// A step is being taken by one actor or node.
type step struct {
	*system
	s      *state
	choice int  // which of the ways that the step can go
	more   bool // there are others

	telling bool
	names   [maxActors]string // of the actors: putting them in order may have them change places
	who     string
	text    string
}

// choose returns one of n ways to go on; the step is taken again for the others.
func (x *step) choose(n int) int {
	x.more = x.choice+1 < n
	return x.choice
}

// isUnseen reports whether a node's next step is to apply a record, and nobody can see
// when it does: it may then as well do so before anything else happens. A partial-order
// reduction of the simplest kind.
func (x *system) isUnseen(s *state, i uint8) bool {
	if s.nodes[i].crashed || s.nodes[i].applying.by == byNobody {
		return false
	}
	for j := range x.actors {
		p := &x.actors[j]
		if p.read != nil && p.node == i && s.actors[j].at != over {
			return false
		}
		for _, e := range p.events {
			if e.do == crashes && e.arg == i {
				return false
			}
		}
	}
	return true
}

// tell calls yield with each step that can be taken from s, which tells what it does if
// that is asked for.
func (x *system) tell(s *state, telling bool, names [maxActors]string, yield func(*step)) {
	if s.verdict != fine {
		return
	}
	next := *s
	st := step{system: x, s: &next, telling: telling}
	all := func(take func() bool) {
		for st.choice, st.more = 0, true; st.more; st.choice++ {
			next = *s
			st.more = false
			st.text, st.names = "", names
			if take() {
				st.order()
				yield(&st)
			}
		}
	}
	for i := range x.nodes {
		if x.isUnseen(s, uint8(i)) {
			st.who = x.nodes[i].name
			all(func() bool { return st.apply(uint8(i), &next.nodes[i]) })
			return
		}
	}
	for i := range x.actors {
		a := &next.actors[i]
		if s.actors[i].at == over {
			continue
		}
		p := &x.actors[i]
		st.who = names[i]
		switch {
		case p.read != nil:
			all(func() bool { return st.read(uint8(i), a, p.read) })
		case p.write != nil:
			all(func() bool { return st.write(uint8(i), a, p.write) })
		default:
			all(func() bool { return st.happen(uint8(i), a, p) })
		}
	}
	for i := range x.nodes {
		if s.nodes[i].crashed {
			continue
		}
		n := &next.nodes[i]
		st.who = x.nodes[i].name
		for _, act := range nodeSteps {
			all(func() bool { return act(&st, uint8(i), n) })
		}
		for mark := range uint8(maxMarks) {
			all(func() bool { return st.endLease(uint8(i), n, mark) })
			all(func() bool { return st.markAgain(uint8(i), n, mark) })
		}
	}
}

// order puts reads of a node that differ in nothing but their number in an order, as
// states that differ in it alone lead to the same.
func (x *step) order() {
	s := x.s
	for i := 1; i < len(x.actors); i++ {
		for j := i; j > 0 && x.areTwins(j-1, j) && s.actors[j].rank() < s.actors[j-1].rank(); j-- {
			s.actors[j-1], s.actors[j] = s.actors[j], s.actors[j-1]
			x.names[j-1], x.names[j] = x.names[j], x.names[j-1]
			n := &s.nodes[x.actors[j].node]
			n.proof.reply.covers = n.proof.reply.covers.swap(j)
			n.applying.reply.covers = n.applying.reply.covers.swap(j)
			for k := range s.actors {
				if x.actors[min(k, len(x.actors)-1)].node == x.actors[j].node {
					s.actors[k].reply.covers = s.actors[k].reply.covers.swap(j)
				}
			}
		}
	}
}

// areTwins reports whether two actors are reads of the same kind.
func (x *system) areTwins(i, j int) bool {
	a, b := x.actors[i].read, x.actors[j].read
	return a != nil && b != nil && *a == *b && x.actors[i].node == x.actors[j].node && !a.nested && !a.nests
}

// swap has two neighbours change places.
func (a actors) swap(j int) actors {
	both := a >> (j - 1) & 3
	if both == 1 || both == 2 {
		a ^= 3 << (j - 1)
	}
	return a
}

func (a *actor) rank() (rank uint64) {
	for _, field := range []uint8{a.at, a.floor, a.seen, a.held.version, a.held.epoch, a.held.asOf, a.stamp, a.epoch} {
		rank = rank<<8 | uint64(field)
	}
	return rank
}
