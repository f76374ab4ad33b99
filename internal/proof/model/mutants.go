package model

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
	stampAfterLoad
	backgroundStampAfter
	batchStampAfter
	adoptByKey
	adoptByFlight
	adoptUnstored
	adoptUnderMarks
	marksIgnored
	oneTagSkipped
	recheckBlindly
	staleThoughInvalid
	expiryIgnored
	hardExpiryIgnored
	resultTagsDropped
	negativeWithoutTags
	invalidateBefore
	onlyOnSuccess
	tagsBeforeOnly
	tagsAfterOnly
	blankNotWidened
	notByMaximum
	clockNotMoved
	clockBeforeMarks
	markIsFlag
	doubtNotMarked
	leaseForgotten
	releaseWithoutClock
	unmarkFirst
	guardForgotten
	txReadsServed
	txReadsFill
	endBeforeCommit
	endedTooEarly
	pendingUnlocked
	innerOnly
	innerLeft
	clearWithoutWord
	storeOutrun
	guardKnownOnly
	gapInMarks
	olderForgotten

	storeBlindly
	wordsAhead
	markedFirst
	backgroundKeepsStamp
	staleTestedOnce

	leaseTooShort
)

// Mutants returns the mutants that must be found out.
func Mutants() []Mutant {
	return []Mutant{
		{"stamp after the load", "the stamp is taken before the load begins", "basic", stampAfterLoad},
		{"background stamp after the load", "a load in the background has a stamp of its own, from before it", "background", backgroundStampAfter},
		{"batch stamp after the load", "a batch takes one stamp before its call, for all ids", "batch", batchStampAfter},
		{"adopt by key alone", "who joined a load that had begun before may have its outcome only after a hit test", "flights", adoptByKey},
		{"adopt what the flight has tested", "the hit test that lets a caller adopt is no older than the call", "flights", adoptByFlight},
		{"adopt what is not stored", "a \"not found\" that is not remembered has no tag that an insert invalidates: only who came before its load may have it", "insert unremembered", adoptUnstored},
		{"adopt under marks", "the hit test of who adopts heeds marks", "late commit and joiners", adoptUnderMarks},
		{"serve under a mark", "a marked word fails the hit test", "late commit", marksIgnored},
		{"one tag skipped", "the hit test looks at every tag", "two tags", oneTagSkipped},
		{"recheck without the hit test", "a load that finds an entry after all tests it", "cached", recheckBlindly},
		{"stale value though invalidated", "an expired value is served only if it was not invalidated", "expiry", staleThoughInvalid},
		{"expiry ignored", "what has expired is no hit", "expiry", expiryIgnored},
		{"end of staleness ignored", "an expired value is served for a limited time", "expiry", hardExpiryIgnored},
		{"result tags dropped", "the entry depends on the tags of its result", "moved row", resultTagsDropped},
		{"negative entry without tags", "a negative entry depends on the tags of its arguments", "insert", negativeWithoutTags},
		{"invalidate before the commit only", "the invalidation comes after the write has returned", "basic", invalidateBefore},
		{"invalidate on success only", "a write that failed invalidates as well", "basic", onlyOnSuccess},
		{"tags before the call only", "the tags of a write are evaluated again after the call", "changed argument", tagsBeforeOnly},
		{"tags after the call only", "the tags of a write are evaluated before the call", "changed argument", tagsAfterOnly},
		{"blank argument of a failed insert", "a blank argument counts as * after a call that failed", "insert", blankNotWidened},
		{"raise not by maximum", "a word is never lowered", "two writers", notByMaximum},
		{"clock not moved", "every invalidation has a clock of its own", "basic", clockNotMoved},
		{"clock moved before the words are marked", "the words are marked before the clock moves", "nested", clockBeforeMarks},
		{"mark as a flag", "marks are counts", "two in doubt", markIsFlag},
		{"write in doubt not marked", "a write in doubt marks its tags for a lease", "late commit", doubtNotMarked},
		{"lease dropped", "the end of a lease invalidates", "late commit", leaseForgotten},
		{"release without a new clock", "marks go out as a new clock goes in", "guarded", releaseWithoutClock},
		{"unmark before the new clock", "the mark goes out in the same step in which the clock goes in", "guarded", unmarkFirst},
		{"guard forgotten", "a guarded write marks its tags before the call", "guarded", guardForgotten},
		{"transaction not marked before its commit", "with guarded writes a transaction marks its tags before the commit", "guarded transaction", guardForgotten},
		{"guard on known tags only", "a guarded write marks the * form of tags that are not known before the call", "guarded insert", guardKnownOnly},
		{"gap between marks", "the marks of a guarded write in doubt go out when those of its lease are there", "guarded late commit", gapInMarks},
		{"read in a transaction served", "reads in a transaction go to the database", "transaction", txReadsServed},
		{"read in a transaction fills", "reads in a transaction start no loads and store nothing", "transaction", txReadsFill},
		{"end before the commit", "a transaction invalidates after its commit", "transaction", endBeforeCommit},
		{"ended before it has invalidated", "reads with a transaction's context are served only once its words are raised", "transaction", endedTooEarly},
		{"collected while it ends", "what comes too late for the invalidation of a transaction finds that it has ended", "transaction ends", pendingUnlocked},
		{"inner transaction invalidates", "an inner transaction leaves its tags to the outer one", "inner transaction", innerOnly},
		{"inner transaction leaves all", "an inner transaction that is committed invalidates as well, as it may be one of its own", "inner transaction of its own", innerLeft},
		{"clear without its word", "Clear makes loads in flight stale, not only what is stored", "clear", clearWithoutWord},
		{"older load stored over a younger one's", "an outcome is not stored over that of a younger load (for calls with a Refresh context; no write is missed without it)", "refresh", storeOutrun},
		{"older load forgotten", "a load knows of every older one for its key that is still under way, also if one between them has failed", "two refreshes", olderForgotten},
	}
}

// Harmless returns rules that can be broken without any promise being broken, at the
// scopes that there are.
func Harmless() []Mutant {
	return []Mutant{
		{"store without testing", "what was overtaken is not stored: the next hit test fails anyhow", "late commit", storeBlindly},
		{"words before the clock", "the clock moves before the words: raised to what the clock will be, they cost a load at worst", "nested", wordsAhead},
		{"marked words first", "a release begins with the words that were not marked: they are marked before the clock moves, so the order is free", "guarded insert", markedFirst},
		{"stamp of the entry replaced", "a load in the background has a stamp of its own: an older one only makes it stale early", "background", backgroundKeepsStamp},
		{"stale value tested once", "an expired value is tested when it is found and again when it is served: both are after the call began", "expiry", staleTestedOnce},
	}
}

// Limits returns what the protocol does not promise, each with a scope in which the model
// shows it. They are no mutants: the Rule is what the README says of the limit.
func Limits() []Mutant {
	return []Mutant{
		{"unguarded", "reads are linearizable only with guarded writes", "unguarded", keepsAllRules},
		{"commit after the lease", "a commit that lands after the lease is not seen until the entry expires", "late commit", leaseTooShort},
		{"guarded write that changes its arguments", "a tag that becomes known only by the call's changing an argument that was filled in is not marked before", "guarded changed argument", keepsAllRules},
	}
}

// limits are the scopes of which more is expected than is promised.
func limits(f fault) []Scope {
	return []Scope{
		{
			Name: "unguarded", Why: "linearizability without guarded writes",
			keys: []string{"post(7)", "page(7)"}, words: []string{"post(7)"}, depends: []words{word0, word0}, cached: 1 << 1, linear: true,
			procs: many(
				writer("writer", f.write(plain(word0)), 0, 1),
				reader("reader 1", read{key: 0}), reader("reader 2", read{key: 1}),
			),
		},
		{
			Name: "guarded changed argument", Why: "linearizability of two lists, by a guarded write that is told of the first one alone",
			keys: []string{"by author 1", "by author 2"}, words: []string{"author(1)", "author(2)"}, depends: []words{word0, word1}, cached: 1<<0 | 1<<1, linear: true,
			procs: many(
				writer("writer", f.write(write{outcomes: succeeded, before: word0, after: word1, guarded: word0, guard: never}), 0, 1),
				reader("reader 1", read{key: 0}), reader("reader 2", read{key: 1}),
			),
		},
	}
}

// system is the scope by that name with a rule broken.
func (m Mutant) system(scope string) (x *system, ok bool) {
	for _, s := range append(scopes(m.fault), limits(m.fault)...) {
		if s.Name == scope {
			return &system{s, m.fault}, true
		}
	}
	return nil, false
}
