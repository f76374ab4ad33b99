package across

// A Mutant is the protocol with one rule broken.
type Mutant struct {
	Name  string
	Rule  string // that is broken
	Scope string // that finds it out; of a harmless one, the scope where it would show
	fault fault
}

// fault is the rule that is broken.
type fault uint8

const (
	keepsAllRules fault = iota
	positionsTrusted
	runNotCompared
	epochAtStore
	epochNotCompared
	viewLoadedTwice
	installIsProof
	wakeIsProof
	proofFromAnswer
	proofFromReplica
	hitWithoutCurrency
	adoptWithoutCurrency
	otherEpochIgnored
	stateWithoutMarks
	marksLeftByLog
	marksNotAppendedAgain
	hitsBeforeMarks
	markByLocalClock
	marksIgnored
	releaseWithoutClock
	generationIgnored
	doubtNotMarked
	guardForgotten
	refusalIgnored
	ownAsStamp
	ownLeftOverGap
	clockBeforeWords
	undeliveredNotMarked
	localMarksLost
	doubtNotRetried
	lateMarkForgotten
	otherTableProven
	enteredTwice
	tierTrusted
	notInvalidatedAgain

	idsNotCompared
	appendProvesNothing
	epochKept

	leaseTooShort
)

// Mutants returns the mutants that must be found out.
func Mutants() []Mutant {
	return []Mutant{
		{"position reused after a failover", "a position is known by its record's id, and a server that was restarted or replaced begins a new epoch", "failed over", positionsTrusted},
		{"restart not noticed", "a server that was restarted or replaced begins a new epoch, though nobody remembers what it has lost", "failover", runNotCompared},
		{"epoch taken at the store", "an entry has the epoch in which its load began", "flush", epochAtStore},
		{"epoch not in the envelope", "stamps of different epochs cannot be compared", "flush", epochNotCompared},
		{"view loaded twice", "a hit test loads epoch and table at once", "flush, one process", viewLoadedTwice},
		{"snapshot overwrites own positions", "a table that was read is used when a proof shows it to be current: the snapshot may be older than an own record", "read anew", installIsProof},
		{"another table proven", "a reply proves the table that was there when it was asked for: one read since may lack an own record", "late replies", otherTableProven},
		{"empty wake-up taken as proof", "that nothing has come proves nothing", "at once", wakeIsProof},
		{"proof counted from its answer", "a proof counts from when it was sent", "at once", proofFromAnswer},
		{"proof of a replica", "a proof is answered by what processes append to", "failover", proofFromReplica},
		{"hit without currency", "entries are served while the table is known to be current", "time", hitWithoutCurrency},
		{"adopt without currency", "so are outcomes of loads that began before the call", "adopted", adoptWithoutCurrency},
		{"other epoch ignored", "a reply with another epoch ends all hits of a process", "flush", otherEpochIgnored},
		{"stored state without marks", "marks are part of the state of the log", "start", stateWithoutMarks},
		{"marks left by the log", "a new epoch has the marks of the one before it", "trim", marksLeftByLog},
		{"marks not appended again", "marks that a process knows, and the new epoch has lost, are appended again", "in doubt, flushed", marksNotAppendedAgain},
		{"not invalidated again", "what was invalidated in the log of a server that was replaced is invalidated again by everybody who may know of it", "split and joined", notInvalidatedAgain},
		{"mark of a late reply forgotten", "a process knows its own marks, also if it has read the table of another epoch when it hears that they were appended", "in doubt, an epoch begins", lateMarkForgotten},
		{"hits before the marks", "nothing is served before they are there again", "in doubt, flushed", hitsBeforeMarks},
		{"mark dropped by a local clock", "a mark ends with a record", "in doubt", markByLocalClock},
		{"mark entered twice", "a record that has been applied is not entered again when its writer hears of it: its mark may have ended", "in doubt", enteredTwice},
		{"served under a mark", "what is marked in the log is not served", "in doubt", marksIgnored},
		{"released without a new clock", "as a mark goes out its words are raised to the number of the record", "in doubt", releaseWithoutClock},
		{"generation ignored", "the end of a lease ends no mark that was renewed meanwhile", "guarded, renewed", generationIgnored},
		{"in doubt not marked", "a write in doubt appends a mark with its invalidation", "in doubt", doubtNotMarked},
		{"guard forgotten across processes", "a guarded write appends a mark before the call", "guarded", guardForgotten},
		{"guarded without its mark", "a guarded write whose mark may not be in the log is refused", "guarded, refused", refusalIgnored},
		{"own record taken as the stamp", "a load's stamp is the last record applied, not an own one beyond a gap", "nested", ownAsStamp},
		{"own record left to the follower", "a writer raises its own words before it returns, over a gap as well", "gap", ownLeftOverGap},
		{"clock before the words of a record", "the words of a record are raised before the clock moves", "nested", clockBeforeWords},
		{"undelivered and not marked", "what could not be delivered is marked in its own process", "undelivered", undeliveredNotMarked},
		{"undelivered and forgotten", "it stays marked in a table that is read anew", "undelivered, flushed", localMarksLost},
		{"undelivered in doubt, without its mark", "what is delivered later of a write in doubt is marked, too", "undelivered, in doubt", doubtNotRetried},
		{"second tier trusted", "entries of the second tier pass the same hit test", "second tier", tierTrusted},
	}
}

// Harmless returns rules that can be broken without any promise being broken, at the
// scopes that there are.
func Harmless() []Mutant {
	return []Mutant{
		{"ids not compared", "a position is known by its record's id: that a server was restarted or replaced is noticed anyhow", "failed over", idsNotCompared},
		{"epoch kept", "a position that the log does not know begins a new epoch: if it was trimmed, reading the table again would do", "trim", epochKept},
		{"append proves nothing", "the reply to an append proves the table current as one to a proof does: without it there is a proof more", "guarded", appendProvesNothing},
	}
}

// Limits returns what the protocol does not promise, each with a scope in which the model
// shows it. They are no mutants: the Rule is what the README says of the limit.
func Limits() []Mutant {
	return []Mutant{
		{"writer that dies", "without a guard, a process that dies between commit and append leaves the old value until it expires", "crash", keepsAllRules},
		{"commit after the lease", "a commit that lands after the lease is not seen until the entry expires", "in doubt", leaseTooShort},
		{"split brain", "while a server that was replaced takes itself for the primary, its processes do not see the writes of the others", "split", keepsAllRules},
		{"split brain, and nobody knows", "what was written there is left old until it expires, if every process that knows of it has ended when the server is one again", "split, joined, and nobody knows", keepsAllRules},
		{"mark lost", "if the server loses the mark of a write in doubt, others may serve what that changes until a process that knows the mark has noticed", "mark lost", keepsAllRules},
		{"failover and back", "a server that is replaced and takes its place again before anybody has asked the other one is not known to have lost anything, if servers are told apart by run_id alone", "failover and back", keepsAllRules},
	}
}

// system is the scope by that name with a rule broken.
func (m Mutant) system(scope string) (x *system, ok bool) {
	for _, s := range append(Scopes(), limits()...) {
		if s.Name == scope {
			return &system{s, m.fault}, true
		}
	}
	return nil, false
}
