package across

// Scope is a small configuration that is explored to the end.
type Scope struct {
	Name string
	Why  string // what it is for

	keys    []string
	words   []string
	depends []words         // of each key
	marks   [maxMarks]words // what each mark marks
	nodes   []place
	actors  []actorOf
	cached  uint8 // keys whose version 0 is in every store at the start, as a set
	tiered  uint8 // keys whose version 0 is in the second tier
	bound   bound
	losses  uint8   // messages that may be lost
	tier2   bool    // there is a second tier
	adopts  bool    // reads adopt outcomes that are about to be stored
	steps   bool    // a look at the view and one at its words are two steps
	linear  bool    // writes are guarded: reads are to be linearizable, all keys together
	marked  bool    // at the start the first write is in doubt, and has returned
	failed  bool    // at the start another server has lost a record that the nodes have applied, and is what they talk to
	drops   bool    // replies to proofs may be lost as well as those to appends
	before  []event // have happened at the start
	large   bool    // it takes seconds, and under the race detector far more
	deep    bool    // it takes a minute or more
}

// bound is when an invalidation must be seen in other processes.
type bound uint8

const (
	whenProven  bound = iota // once a proof has been applied that was sent after it was appended: D is infinite
	oneTick                  // D is one tick
	atOnce                   // D is 0
	notPromised              // what the own process has written must be seen, when that has returned
)

// A place is a node of a scope.
type place struct {
	name   string
	proofs uint8 // that it may send without a need
	cold   bool  // it has not started yet
	gone   bool  // it has crashed
	behind bool  // it has not applied the record of the write that is in doubt at the start
}

// actorOf is an actor of a scope: a read, a write, or things that happen, one after the
// other.
type actorOf struct {
	name   string
	node   uint8
	read   *read
	write  *write
	events []event
}

// An event happens to a server, a node or a write.
type event struct {
	do  deed
	arg uint8
}

// A deed is what an event is.
type deed uint8

const (
	replicates deed = iota // the replica, or the file, has what the server has
	failsOver              // to the replica, or the server is started again from the file
	failsBack              // to the server of the start, which has what the present one has
	flushes                // the server
	trims                  // the log, to its last record
	crashes                // node arg
	lands                  // the commit of write arg, which is in doubt, or is lost
	passesTime
	splits // node arg talks to the replica, which takes itself for the primary
	joins  // so do all
)

// happen takes the next event. It reports whether there is one to take.
func (x *step) happen(i uint8, a *actor, p *actorOf) bool {
	if !x.happens(p.events[a.i]) {
		return false
	}
	if a.i++; int(a.i) == len(p.events) {
		*a = actor{at: over}
	}
	return true
}

// happens has an event happen, if it can.
func (x *step) happens(e event) bool {
	s := x.s
	switch e.do {
	case replicates:
		s.other = s.server
		x.say("has what the other has")
	case failsOver, failsBack:
		data := s.other
		run := s.runs + 1
		if e.do == failsBack {
			data, run = s.server, 1
		} else {
			s.runs++
		}
		s.server = data
		s.server.run = run
		x.say("is what all talk to, with %s", x.holds(&s.server))
	case flushes:
		s.server = server{run: s.server.run}
		x.say("loses everything")
	case trims:
		s.server.oldest = s.recordOf(s.server.head).number
		x.say("keeps its last record alone")
	case crashes:
		n := &s.nodes[e.arg]
		*n = node{crashed: true, applying: applying{by: byNobody}, returned: n.returned}
		for j := range x.actors {
			b := &s.actors[j]
			if c := &x.actors[j]; c.node == e.arg && (c.read != nil || c.write != nil) && b.at != over {
				if !b.doubt {
					s.settled |= 1 << j
				}
				*b = actor{at: over, doubt: b.doubt, gen: b.gen, given: b.given}
			}
		}
		x.say("ends %s", x.nodes[e.arg].name)
	case lands:
		w := &s.actors[e.arg]
		if !w.doubt || s.settled>>e.arg&1 == 1 {
			return false
		}
		if x.choose(2) == 1 {
			s.settled |= 1 << e.arg
			x.say("is lost")
			break
		}
		x.say("lands")
		x.commit(e.arg, w, x.actors[e.arg].write)
	case passesTime:
		s.now++
		x.say("it is %d", s.now)
	case splits:
		s.runs++
		s.other = s.server
		s.other.run = s.runs
		s.nodes[e.arg].split = true
		x.say("is what %s talks to, with %s", x.nodes[e.arg].name, x.holds(&s.other))
	case joins:
		s.server, s.other = s.other, server{}
		for i := range s.nodes {
			s.nodes[i].split = false
		}
		x.say("is what all talk to, with %s", x.holds(&s.server))
	}
	return true
}

// Names of tags, as words of the table.
const (
	word0 words = 1 << iota
	word1
)

// Scopes returns the scopes of the protocol.
func Scopes() []Scope {
	one := []string{"post(7)"}
	tag := []words{word0}
	a, b, c := place{name: "A"}, place{name: "B"}, place{name: "C"}
	eager := func(p place, n uint8) place { p.proofs = n; return p }
	gone := func(p place) place { p.gone = true; return p }
	plain := &write{words: word0, keys: []uint8{0}}
	return []Scope{
		{
			Name: "two processes", Why: "a write in one process, and reads in it and in another one, that find entries or load",
			keys: one, words: one, depends: tag, nodes: []place{a, eager(b, 2)}, cached: 1, steps: true,
			actors: []actorOf{writer("writer", 0, plain), reader("reader of A", 0, read{}), reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{})},
		},
		{
			Name: "two writers", large: true, Why: "D = 0: writes in two processes, and a read in one after a read in the other",
			keys: one, words: one, depends: tag, nodes: []place{a, b}, cached: 1, bound: atOnce,
			actors: []actorOf{writer("writer of A", 0, plain), writer("writer of B", 1, plain), reader("reader of B", 1, read{}), reader("reader of A", 0, read{after: 3})},
		},
		{
			Name: "at once", Why: "the same with one writer: a hit waits for a proof that is sent when the read has begun",
			keys: one, words: one, depends: tag, nodes: []place{a, b}, cached: 1, bound: atOnce, steps: true,
			actors: []actorOf{writer("writer", 0, plain), reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{}), reader("reader 3 of B", 1, read{})},
		},
		{
			Name: "adopted", Why: "outcomes of loads that began before the call, adopted before they are stored",
			keys: one, words: one, depends: tag, nodes: []place{a, b}, bound: atOnce, adopts: true,
			actors: []actorOf{writer("writer", 0, plain), reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{}), reader("reader 3 of B", 1, read{})},
		},
		{
			Name: "time", Why: "D is a tick: proofs are lost, and time passes",
			keys: one, words: one, depends: tag, nodes: []place{a, eager(b, 2)}, cached: 1, bound: oneTick, losses: 1, drops: true,
			actors: []actorOf{writer("writer", 0, plain), reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{}), happens("clock", event{do: passesTime}, event{do: passesTime}, event{do: passesTime})},
		},
		{
			Name: "second tier", Why: "entries of other processes, with stamps behind and ahead of the own clock",
			keys: one, words: one, depends: tag, nodes: []place{a, b}, tiered: 1, bound: atOnce, tier2: true,
			actors: []actorOf{writer("writer", 0, plain), reader("reader of A", 0, read{}), reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{})},
		},
		{
			Name: "nested", large: true, Why: "a load that makes another cached read while records are being applied, and writes of its own process over a gap",
			keys: []string{"post(7)", "page(7)"}, words: []string{"post(7)", "post(8)"}, depends: []words{word0, word0}, nodes: []place{a, eager(b, 1)}, cached: 1,
			actors: []actorOf{
				writer("writer of A", 0, &write{words: word0, keys: []uint8{0, 1}}), writer("writer of B", 1, &write{words: word1, gap: true}),
				reader("read inside", 1, read{nested: true}), reader("reader 1 of B", 1, read{key: 1, nests: true}), reader("reader 2 of B", 1, read{key: 1}),
			},
		},
		{
			Name: "gap", Why: "a reply to a write's own record without the records before it",
			keys: one, words: one, depends: tag, nodes: []place{a, eager(b, 1)}, cached: 1,
			actors: []actorOf{
				writer("writer of A", 0, plain), writer("writer of B", 1, &write{words: word0, keys: []uint8{0}, gap: true}),
				reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{}),
			},
		},
		{
			Name: "failover", Why: "the server is replaced by a replica that lags, or started from a file, and positions would be used again",
			keys: one, words: one, depends: tag, nodes: []place{a, eager(b, 1)}, cached: 1, tiered: 1, tier2: true,
			actors: []actorOf{
				writer("writer", 0, plain), reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{}),
				happens("replica", event{do: replicates}, event{do: failsOver}),
			},
		},
		{
			Name: "failed over", Why: "the server was replaced by one that lacks the last record, which the processes know",
			keys: one, words: one, depends: tag, nodes: []place{a, b}, cached: 1, bound: atOnce, failed: true,
			actors: []actorOf{writer("writer", 0, plain), reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{})},
		},
		{
			Name: "failover, two writers", Why: "the same with writes before and after",
			keys: one, words: []string{"post(7)", "post(8)"}, depends: tag, nodes: []place{a, b}, cached: 1, bound: atOnce, deep: true,
			actors: []actorOf{
				writer("writer 1", 0, plain), writer("writer 2", 0, &write{words: word1}), reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{}),
				happens("replica", event{do: replicates}, event{do: failsOver}),
			},
		},
		{
			Name: "split and joined", large: true, Why: "a replica takes itself for the primary, and so does the primary for a while: what was written there is invalidated again",
			keys: one, words: one, depends: tag, nodes: []place{a, eager(b, 1)}, cached: 1, tier2: true, bound: notPromised,
			actors: []actorOf{
				writer("writer", 0, plain), reader("reader of A", 0, read{}), reader("reader of B", 1, read{}),
				happens("replica", event{do: splits, arg: 1}, event{do: joins}),
			},
		},
		{
			Name: "flush", large: true, Why: "the server loses everything, and an epoch begins during loads and between an append and its reply",
			keys: one, words: one, depends: tag, nodes: []place{a, eager(b, 1)}, tier2: true, steps: true, cached: 1,
			actors: []actorOf{
				writer("writer", 0, plain), reader("reader of A", 0, read{}), reader("reader of B", 1, read{}),
				happens("server", event{do: flushes}),
			},
		},
		{
			Name: "flush, one process", Why: "the same with reads in the process that writes alone, which hold a table that is replaced",
			keys: one, words: one, depends: tag, nodes: []place{eager(a, 1)}, steps: true, cached: 1,
			actors: []actorOf{
				writer("writer", 0, plain), reader("reader 1", 0, read{}), reader("reader 2", 0, read{}), happens("server", event{do: flushes}),
			},
		},
		{
			Name: "read anew", Why: "two processes that read the table of an epoch that begins, while one of them writes",
			keys: one, words: one, depends: tag, nodes: []place{{name: "A", cold: true}, {name: "B", cold: true}}, tier2: true, before: []event{{do: flushes}},
			actors: []actorOf{
				writer("writer", 0, plain), reader("reader of A", 0, read{}), reader("reader of B", 1, read{}),
			},
		},
		{
			Name: "trim", Why: "the log was trimmed when a process had not applied all of it, which has a write in doubt of a process that has died",
			keys: one, words: one, depends: tag, nodes: []place{gone(a), {name: "B", behind: true}}, marked: true, before: []event{{do: trims}}, marks: [maxMarks]words{word0}, bound: atOnce,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0}, mark: 1, doubt: true}), happens("late commit", event{do: lands}),
				reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{after: 3}),
			},
		},
		{
			Name: "trim, and the writer lives", large: true, Why: "the same, and the process that the write is of invalidates and marks again what it knows, unless it dies",
			keys: one, words: one, depends: tag, nodes: []place{a, {name: "B", behind: true}}, marked: true, before: []event{{do: trims}}, marks: [maxMarks]words{word0}, bound: atOnce,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0}, mark: 1, doubt: true}), happens("late commit", event{do: lands}),
				reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{after: 3}),
				happens("crash", event{do: crashes}),
			},
		},
		{
			Name: "in doubt", Why: "a write whose commit lands later or never, and the end of its lease, which each process notices",
			keys: one, words: one, depends: tag, nodes: []place{a, eager(b, 1)}, marks: [maxMarks]words{word0}, bound: atOnce,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0}, mark: 1, doubt: true}), happens("late commit", event{do: lands}),
				reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{}),
			},
		},
		{
			Name: "in doubt, flushed", Why: "the same, and the server has lost everything, the mark too, which another process knows",
			keys: one, words: one, depends: tag, nodes: []place{gone(a), eager(b, 1)}, marked: true, before: []event{{do: flushes}}, marks: [maxMarks]words{word0}, bound: atOnce,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0}, mark: 1, doubt: true}), happens("late commit", event{do: lands}),
				reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{}),
			},
		},
		{
			Name: "in doubt, an epoch begins", large: true, Why: "the same while the write is on its way, and reads in its own process",
			keys: one, words: one, depends: tag, nodes: []place{eager(a, 1)}, marks: [maxMarks]words{word0}, bound: notPromised,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0}, mark: 1, doubt: true}), happens("late commit", event{do: lands}),
				reader("reader 1", 0, read{}), reader("reader 2", 0, read{after: 3}), happens("server", event{do: flushes}),
			},
		},
		{
			Name: "late replies", large: true, Why: "replies from an epoch that has ended, and to questions asked of a table that was replaced by one of the same epoch",
			keys: one, words: []string{"post(7)", "post(8)"}, depends: tag, nodes: []place{eager(a, 1)},
			actors: []actorOf{
				writer("writer 1", 0, &write{words: word1}), writer("writer 2", 0, plain),
				reader("reader 1", 0, read{}), reader("reader 2", 0, read{after: 3}), happens("server", event{do: flushes}),
			},
		},
		{
			Name: "undelivered", Why: "an invalidation that cannot be delivered, or of which the reply is lost, and is tried again",
			keys: one, words: one, depends: tag, nodes: []place{a, b}, cached: 1, losses: 1, tiered: 1, tier2: true,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0}, loses: true}), reader("reader 1 of A", 0, read{}),
				reader("reader 2 of A", 0, read{}), reader("reader of B", 1, read{}),
			},
		},
		{
			Name: "undelivered, flushed", large: true, Why: "the same, and the table is read anew",
			keys: one, words: one, depends: tag, nodes: []place{{name: "A", cold: true}, {name: "B", cold: true}}, losses: 1, tier2: true, before: []event{{do: flushes}},
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0}, loses: true}),
				reader("reader of B", 1, read{}), reader("reader of A", 0, read{after: 2}),
			},
		},
		{
			Name: "undelivered, in doubt", Why: "the same of a write in doubt, whose mark has to be delivered with it",
			keys: one, words: one, depends: tag, nodes: []place{a, b}, marks: [maxMarks]words{word0}, losses: 1, bound: atOnce,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0}, mark: 1, doubt: true, loses: true}), happens("late commit", event{do: lands}),
				reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{}),
			},
		},
		{
			Name: "start", Why: "a process that starts, with a second tier that is full, while another one writes",
			keys: one, words: one, depends: tag, nodes: []place{a, {name: "B", cold: true}}, marks: [maxMarks]words{word0}, tiered: 1, tier2: true, bound: atOnce,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0}, mark: 1, doubt: true}), happens("late commit", event{do: lands}),
				reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{}),
			},
		},
		{
			Name: "guarded", large: true, Why: "linearizability: D = 0, and reads in two processes of two keys that one guarded write changes in a third",
			keys: []string{"post(7)", "page(7)"}, words: one, depends: []words{word0, word0}, nodes: []place{a, b, c}, marks: [maxMarks]words{word0}, cached: 1 << 1, bound: atOnce, linear: true,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0, 1}, mark: 1, guarded: true}),
				reader("reader 1 of B", 1, read{}), reader("reader 2 of C", 2, read{key: 1}),
			},
		},
		{
			Name: "guarded, three readers", Why: "the same with a third reader", deep: true,
			keys: []string{"post(7)", "page(7)"}, words: one, depends: []words{word0, word0}, nodes: []place{a, b}, marks: [maxMarks]words{word0}, cached: 1 << 1, bound: atOnce, linear: true,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0, 1}, mark: 1, guarded: true}),
				reader("reader 1 of A", 0, read{}), reader("reader 2 of B", 1, read{key: 1}), reader("reader 3 of B", 1, read{key: 1}),
			},
		},
		{
			Name: "guarded, three in turn", large: true, Why: "the same with three readers in one process, of which the third reads when the second has",
			keys: []string{"post(7)", "page(7)"}, words: one, depends: []words{word0, word0}, nodes: []place{a, b}, marks: [maxMarks]words{word0}, cached: 1 << 1, bound: atOnce, linear: true,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0, 1}, mark: 1, guarded: true}),
				reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{key: 1}), reader("reader 3 of B", 1, read{key: 1, after: 3}),
			},
		},
		{
			Name: "guarded, refused", Why: "a guarded write of which a request or a reply is lost",
			keys: []string{"post(7)", "page(7)"}, words: one, depends: []words{word0, word0}, nodes: []place{a, b}, marks: [maxMarks]words{word0}, cached: 1 << 1, bound: atOnce, linear: true, losses: 1,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0, 1}, mark: 1, guarded: true, loses: true}),
				reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{key: 1}),
			},
		},
		{
			Name: "guarded, renewed", large: true, Why: "a mark that is renewed while another process ends the lease that is over",
			keys: []string{"post(7)", "page(7)"}, words: one, depends: []words{word0, word0}, nodes: []place{a, b}, marks: [maxMarks]words{word0}, cached: 1 << 1, bound: atOnce, linear: true,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0, 1}, mark: 1, guarded: true, renews: true}),
				reader("reader 1 of B", 1, read{key: 1}), reader("reader 2 of B", 1, read{after: 2}), reader("reader 3 of B", 1, read{key: 1, after: 3}),
			},
		},
		{
			Name: "guarded, crash", Why: "a writer that dies at any moment: its mark is ended by another process",
			keys: []string{"post(7)", "page(7)"}, words: one, depends: []words{word0, word0}, nodes: []place{a, b}, marks: [maxMarks]words{word0}, cached: 1 << 1, bound: atOnce, linear: true,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0, 1}, mark: 1, guarded: true}),
				reader("reader 1 of B", 1, read{}), reader("reader 2 of B", 1, read{key: 1}), happens("crash", event{do: crashes}),
			},
		},
	}
}

// limits are the scopes of which more is expected than is promised.
func limits() []Scope {
	one := []string{"post(7)"}
	tag := []words{word0}
	a, b := place{name: "A"}, place{name: "B"}
	plain := &write{words: word0, keys: []uint8{0}}
	return []Scope{
		{
			Name: "crash", Why: "a writer that dies between its commit and its record, and is not guarded",
			keys: one, words: one, depends: tag, nodes: []place{a, b}, cached: 1,
			actors: []actorOf{writer("writer", 0, plain), happens("crash", event{do: crashes})},
		},
		{
			Name: "split", Why: "a replica takes itself for the primary, and so does the primary",
			keys: one, words: one, depends: tag, nodes: []place{a, b}, bound: atOnce,
			actors: []actorOf{writer("writer", 0, plain), reader("reader 1", 1, read{}), reader("reader 2", 1, read{after: 2}), reader("reader 3", 1, read{after: 3}), happens("replica", event{do: splits, arg: 1})},
		},
		{
			Name: "split, joined, and nobody knows", Why: "the same until all talk to one again, and no process is left that knows of the guarded write",
			keys: one, words: one, depends: tag, nodes: []place{a, {name: "B", proofs: 1}}, cached: 1, marks: [maxMarks]words{word0}, bound: notPromised,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0}, mark: 1, guarded: true}), reader("reader", 1, read{}),
				happens("replica", event{do: splits, arg: 1}, event{do: crashes}, event{do: joins}),
			},
		},
		{
			Name: "mark lost", Why: "the server has lost a mark that only the process of the write knows, which has not noticed yet",
			keys: one, words: one, depends: tag, nodes: []place{a, {name: "B", behind: true, proofs: 1}}, marked: true, before: []event{{do: flushes}}, marks: [maxMarks]words{word0}, bound: atOnce,
			actors: []actorOf{
				writer("writer", 0, &write{words: word0, keys: []uint8{0}, mark: 1, doubt: true}), happens("late commit", event{do: lands}),
				reader("reader 1", 1, read{}), reader("reader 2", 1, read{after: 3}),
			},
		},
		{
			Name: "failover and back", Why: "the server is replaced by a replica that lags, and takes its place again with what that has, before either was asked anything",
			keys: one, words: one, depends: tag, nodes: []place{a, b}, cached: 1, bound: atOnce,
			actors: []actorOf{
				writer("writer", 0, plain), reader("reader", 1, read{}),
				happens("replica", event{do: replicates}, event{do: failsOver}, event{do: failsBack}),
			},
		},
	}
}

func reader(name string, node uint8, r read) actorOf {
	return actorOf{name: name, node: node, read: &r}
}
func writer(name string, node uint8, w *write) actorOf {
	return actorOf{name: name, node: node, write: w}
}

// happens is an actor to which nothing belongs but what happens.
func happens(name string, events ...event) actorOf { return actorOf{name: name, events: events} }
