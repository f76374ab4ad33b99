package across

// A read is a call of a memoized method, with one key.
type read struct {
	key    uint8
	nested bool  // made by the load of another key, in the same node
	nests  bool  // its load makes the nested read of its node
	after  uint8 // number of the actor, from 1, that must have returned before
}

// Where a read is.
const (
	readBegins uint8 = iota
	readWaits        // for a proof that is sent when it has begun
	readLooks        // whether the view is current, and which entry it found
	readTests        // the words of that view
	readShared       // looks in the second tier
	readStamps
	readLoads
	readInside // another read
	readStores
	readDormant
)

// read takes a step of a read. It reports whether there is one to take.
func (x *step) read(i uint8, a *actor, r *read) bool {
	s := x.s
	n := &s.nodes[x.actors[i].node]
	switch a.at {
	default:
		return false

	case readBegins:
		if r.after != 0 && s.actors[r.after-1].at != readStores && s.actors[r.after-1].at != over {
			return false
		}
		x.begins(i, a, r)
		a.at = readShared
		if e := n.store[r.key]; e.here {
			a.held = e
			x.found(i, a, "in its store")
		} else if x.adopts {
			x.adopt(i, a, r)
		}
		if a.at == readShared && !x.tier2 {
			x.say("finds nothing")
			a.at = readStamps
		}

	case readWaits:
		if !a.proved {
			if n.view.dead {
				a.at, a.held = readStamps, entry{}
				x.say("waits no more")
				return true
			}
			return false
		}
		return x.look(i, a, r, n)

	case readLooks:
		return x.look(i, a, r, n)

	case readTests:
		x.say("goes on")
		x.judgeWords(i, a, r, n)

	case readShared:
		a.held, a.adopted, a.shared = s.tier[r.key], false, true
		if !a.held.here {
			x.say("finds nothing in the second tier")
			a.at, a.held, a.shared = readStamps, entry{}, false
			break
		}
		x.found(i, a, "in the second tier")

	case readStamps:
		a.epoch, a.stamp = n.view.epoch, max(n.view.at, n.view.ahead)
		a.held, a.proved, a.adopted, a.shared, a.verdict = entry{}, false, false, false, unknown
		a.at = readLoads
		x.say("stamps its load with %d of epoch %d", a.stamp, a.epoch)

	case readLoads:
		if r.nests {
			for j := range x.actors {
				if p := &x.actors[j]; p.read != nil && p.read.nested && p.node == x.actors[i].node {
					s.actors[j].at = readBegins
				}
			}
			x.say("its load makes another read")
			a.at = readInside
			break
		}
		x.loaded(i, a, r, s.versions[r.key])

	case readStores:
		if x.fault == epochAtStore {
			a.held.epoch = n.view.epoch
		}
		n.store[r.key] = a.held
		if x.tier2 {
			s.tier[r.key] = a.held
		}
		x.say("its load is stored: version %d as of %d of epoch %d", a.held.version, a.held.asOf, a.held.epoch)
		*a = actor{at: over}
	}
	return true
}

// begins notes what a read must not be older than.
func (x *step) begins(i uint8, a *actor, r *read) {
	s := x.s
	n := &s.nodes[x.actors[i].node]
	who := n.returned
	if x.bound != notPromised {
		who |= n.covered
	}
	switch {
	case x.bound == atOnce:
		who |= s.delivered[s.now]
	case x.bound == oneTick && s.now >= 2:
		who |= s.delivered[s.now-2]
	}
	for j := range x.actors {
		if who>>j&1 == 1 {
			a.floor = max(a.floor, s.actors[j].given[r.key])
		}
	}
	if x.linear {
		a.seen = s.seen
	}
}

// found goes on with an entry that was found.
func (x *step) found(i uint8, a *actor, where string) {
	x.say("finds version %d as of %d of epoch %d %s", a.held.version, a.held.asOf, a.held.epoch, where)
	a.at = readLooks
	if x.bound == atOnce && !a.proved && x.fault != hitWithoutCurrency && !(a.adopted && x.fault == adoptWithoutCurrency) {
		a.at = readWaits
	}
}

// adopt joins another read's load that has an outcome.
func (x *step) adopt(i uint8, a *actor, r *read) {
	for j := range x.actors {
		p := &x.actors[j]
		if other := &x.s.actors[j]; j != int(i) && p.read != nil && p.node == x.actors[i].node && p.read.key == r.key && other.at == readStores {
			a.held, a.adopted = other.held, true
			x.found(i, a, "about to be stored")
			return
		}
	}
}

// look looks whether the view is current, and of the epoch of the entry.
func (x *step) look(i uint8, a *actor, r *read, n *node) bool {
	w := &n.view
	current := w.proven && !w.dead
	if x.bound == oneTick {
		current = current && x.s.now <= w.since+1
	}
	if x.fault == hitWithoutCurrency || a.adopted && x.fault == adoptWithoutCurrency {
		current = w.epoch != 0
	}
	switch {
	case !current:
		x.say("its table is not known to be current")
		a.held = entry{}
		a.at = readStamps
	case a.held.epoch != w.epoch && x.fault != epochNotCompared:
		x.say("the entry is of another epoch")
		x.miss(a)
	case x.steps:
		x.say("its table is current")
		a.at = readTests
	default:
		x.judgeWords(i, a, r, n)
	}
	return true
}

// judgeWords looks at the words that an entry depends on.
func (x *step) judgeWords(i uint8, a *actor, r *read, n *node) {
	ok := a.verdict == passes
	if a.verdict == unknown {
		ok = a.shared && x.fault == tierTrusted || x.passesWords(n, a, r.key)
	}
	a.verdict = unknown
	if !ok {
		x.say("the entry is not valid")
		x.miss(a)
		return
	}
	x.say("a hit")
	x.returns(i, a, r, a.held.version)
	if r.nested {
		x.landInside(i, a.held.version)
	}
	*a = actor{at: over}
}

// passesWords reports whether an entry that was found passes the test of its words.
func (x *system) passesWords(n *node, a *actor, key uint8) bool {
	set := x.depends[key]
	if n.local&set != 0 {
		return false
	}
	for mark := range uint8(maxMarks) {
		if n.view.marked[mark]&set != 0 && x.fault != marksIgnored {
			return false
		}
	}
	for word := range uint8(maxWords) {
		if set.has(word) && n.view.words[word] > a.held.asOf {
			return false
		}
	}
	return true
}

// miss goes on to the second tier, or to the database.
func (x *step) miss(a *actor) {
	a.held = entry{}
	a.at = readStamps
	if !a.shared && x.tier2 {
		a.at = readShared
	}
}

// loaded ends a read with what its load has found, which is stored later.
func (x *step) loaded(i uint8, a *actor, r *read, version uint8) {
	x.say("loads version %d", version)
	a.held = entry{here: true, version: version, epoch: a.epoch, asOf: a.stamp}
	x.returns(i, a, r, version)
	if r.nested {
		x.landInside(i, version)
	}
	held := a.held
	*a = actor{at: over}
	if held.epoch != 0 {
		*a = actor{at: readStores, held: held}
	}
}

// landInside goes on with the load that has made a read.
func (x *step) landInside(i uint8, version uint8) {
	for j := range x.actors {
		if p := &x.actors[j]; p.read != nil && p.node == x.actors[i].node && x.s.actors[j].at == readInside {
			x.loaded(uint8(j), &x.s.actors[j], p.read, version)
		}
	}
}

// returns judges what a read returns.
func (x *step) returns(i uint8, a *actor, r *read, version uint8) {
	s := x.s
	x.say("returns version %d", version)
	own := uint8(0)
	for j := range x.actors {
		if s.nodes[x.actors[i].node].returned>>j&1 == 1 {
			own = max(own, s.actors[j].given[r.key])
		}
	}
	switch {
	case s.verdict != fine:
	case version < a.floor && a.floor <= own:
		s.verdict = staleOwn
		x.say("but version %d had been written before", a.floor)
	case version < a.floor:
		s.verdict = stale
		x.say("but version %d had been written before", a.floor)
	case version < a.seen:
		s.verdict = notLinear
		x.say("but version %d had been read before", a.seen)
	}
	if x.linear {
		s.seen = max(s.seen, version)
	}
}

// A write is a call of a write.
type write struct {
	words   words
	keys    []uint8 // that its commit changes
	mark    uint8   // of a guarded write, or of one in doubt, from 1
	guarded bool
	doubt   bool // it may end in doubt
	renews  bool // its mark, once, before its commit
	loses   bool // requests and replies may be lost
	gap     bool // the reply to its record may come without those before it
}

// Where a write is.
const (
	writeMarks uint8 = iota
	writeMarksReply
	writeRenews
	writeRenewsReply
	writeCommits
	writeAppends
	writeReply
	writeApplies
)

// write takes a step of a write. It reports whether there is one to take.
func (x *step) write(i uint8, a *actor, w *write) bool {
	s := x.s
	n := &s.nodes[x.actors[i].node]
	switch a.at {
	default:
		return false

	case writeMarks:
		if !w.guarded || x.fault == guardForgotten {
			a.at = writeCommits
			return x.write(i, a, w)
		}
		a.gen = 1
		a.at = writeMarksReply
		if lost := x.send(i, a, w, n, record{mark: w.mark, gen: 1}); lost {
			if x.fault == refusalIgnored {
				a.at = writeCommits
				break
			}
			x.say("is refused")
			s.settled |= 1 << i
			*a = actor{at: over, gen: a.gen}
		}

	case writeMarksReply, writeRenewsReply, writeReply:
		if n.applying.by != byNobody {
			return false
		}
		r := a.reply
		a.reply = reply{}
		a.at++
		x.take(x.actors[i].node, n, i, r)

	case writeRenews:
		if n.applying.by == i {
			return false
		}
		if !w.renews {
			a.at = writeCommits
			return x.write(i, a, w)
		}
		a.gen = 2
		x.send(i, a, w, n, record{mark: w.mark, gen: 2})
		a.at = writeRenewsReply

	case writeCommits:
		if n.applying.by == i {
			return false
		}
		a.at = writeAppends
		if w.doubt && x.choose(2) == 1 {
			a.doubt = true
			x.say("ends in doubt")
			break
		}
		x.commit(i, a, w)

	case writeAppends:
		rec := record{words: w.words}
		switch {
		case a.doubt && w.mark != 0 && x.fault != doubtNotMarked:
			a.gen++
			rec.mark, rec.gen = w.mark, a.gen
		case w.guarded && w.mark != 0:
			rec.release, rec.gen = w.mark, a.gen
			if x.fault == guardForgotten {
				rec.release = 0
			}
		}
		if lost := x.send(i, a, w, n, rec); lost {
			x.say("cannot deliver its invalidation")
			n.queue |= w.words
			n.held |= 1 << i
			if x.fault != doubtNotRetried {
				n.doubtful = rec.mark
			}
			if x.fault != undeliveredNotMarked {
				n.local |= w.words
			}
			x.ended(i, a, n)
			break
		}
		a.at = writeReply
	}
	return true
}

// A way is how the appending of a record goes.
type way uint8

const (
	arrives way = iota
	requestLost
	replyLost
	lastRecordAlone // the reply has not those before it
)

// send appends a record. It reports whether the request or the reply was lost.
func (x *step) send(i uint8, a *actor, w *write, n *node, rec record) (lost bool) {
	s := x.s
	v := x.serverOf(n)
	ways := []way{arrives, requestLost, replyLost, lastRecordAlone}
	if !w.loses || s.losses == 0 {
		ways = []way{arrives, lastRecordAlone}
	}
	if !w.gap {
		ways = ways[:len(ways)-1]
	}
	goes := ways[x.choose(len(ways))]
	if goes == requestLost || goes == replyLost {
		s.losses--
	}
	if goes == requestLost {
		x.say("its request is lost")
		return true
	}
	r := x.ask(n)
	from := n.view.id
	r.own = x.append(v, rec, always)
	if rec.mark == 0 || rec.words != 0 {
		x.deliver(1 << i)
	}
	if goes == replyLost {
		x.say("its reply is lost")
		return true
	}
	x.answer(v, from, &r)
	if goes == lastRecordAlone {
		x.say("its reply has no other record")
		r.partial = true
	}
	a.reply = r
	return false
}

// applied goes on with a write when the reply to its record has been applied.
func (x *step) applied(i uint8, n *node) {
	if a := &x.s.actors[i]; a.at == writeApplies {
		x.ended(i, a, n)
	}
}

// ended has a write return.
func (x *step) ended(i uint8, a *actor, n *node) {
	n.returned |= 1 << i
	*a = actor{at: over, doubt: a.doubt, gen: a.gen, given: a.given}
	x.say("%s returns", x.actors[i].name)
}

// commit lands the commit of a write.
func (x *step) commit(i uint8, a *actor, w *write) {
	s := x.s
	s.landed |= 1 << i
	s.settled |= 1 << i
	for _, key := range w.keys {
		s.versions[key]++
		a.given[key] = s.versions[key]
		x.say("%s has version %d", x.keys[key], s.versions[key])
	}
}
