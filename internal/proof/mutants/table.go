package mutants

import "github.com/cachegen/cachegen/internal/proof/weave"

func at(file, old, new string) weave.Patch { return weave.Patch{File: file, Old: old, New: new} }

// Table lists the mutants, by what they are about. None is equivalent to the
// runtime as it is: see [Harmless] for changes that look like faults.
var Table = []Mutant{
	// Stamps and the hit test.
	{
		Name:    "stamp-after-load",
		Rule:    "An entry's stamp is the clock as read before its load began.",
		Patches: []weave.Patch{at("limit.go", "	err = call(ctx)\n", "	err = call(ctx)\n	for _, f := range flights {\n		f.entry.asOf = c.view().now()\n	}\n")},
		Run:     "^TestScenarios$/^(miss)$",
	},
	{
		Name:    "stamp-ahead",
		Rule:    "The stamp is not newer than the clock.",
		Patches: []weave.Patch{at("limit.go", "asOf := view.now() //", "asOf := view.now() + 1 //")},
		Run:     "^TestScenarios$/^(miss)$",
	},
	{
		Name:    "refresh-stamped-after",
		Rule:    "A refresh in the background carries the stamp of its own load.",
		Patches: []weave.Patch{at("limit.go", "	err = call(ctx)\n", "	err = call(ctx)\n	for _, f := range flights {\n		if f.background {\n			f.entry.asOf = c.view().now()\n		}\n	}\n")},
		Run:     "^TestScenarios$/^(refresh)$",
	},
	{
		Name:    "batch-stamped-after",
		Rule:    "What a batch returns is stamped before the batch.",
		Patches: []weave.Patch{at("batch.go", "			f.err, f.failed, f.absent = err, err != nil, !s.given\n", "			f.err, f.failed, f.absent = err, err != nil, !s.given\n			f.entry.asOf = r.cache.view().now()\n")},
		Run:     "^TestScenarios$/^(batch)$",
	},
	{
		Name:    "hit-off-by-one",
		Rule:    "What was loaded before the clock of an invalidation fails the test.",
		Patches: []weave.Patch{at("clock.go", ".Load(); word > asOf {", ".Load(); word > asOf+1 {")},
		Run:     "^TestScenarios$/^(hit)$",
	},
	{
		Name:    "hit-under-mark",
		Rule:    "A marked word is larger than any stamp: nothing is served under a mark.",
		Patches: []weave.Patch{at("clock.go", "word := t.words[slot%tableSize].Load(); word > asOf {", "word := t.words[slot%tableSize].Load() & clockMask; word > asOf {")},
		Run:     "^TestScenarios$/^(nested)$",
	},
	{
		Name:    "clear-not-looked-at",
		Rule:    "Every entry depends on the word that clears all.",
		Patches: []weave.Patch{at("clock.go", "epoch != t.epoch || t.cleared.Load() > asOf", "epoch != t.epoch")},
		Run:     "^TestScenarios$/^(clear)$",
	},
	{
		Name:    "epoch-not-compared",
		Rule:    "Stamps of different caches cannot be compared, though they share a store.",
		Patches: []weave.Patch{at("clock.go", "epoch != t.epoch || t.cleared.Load() > asOf", "t.cleared.Load() > asOf")},
		Run:     "^TestScenarios$/^(new-cache)$",
	},
	{
		Name:    "damaged-stamp-trusted",
		Rule:    "No stamp is larger than a mark, whatever a damaged entry says.",
		Patches: []weave.Patch{at("clock.go", "	asOf &= clockMask", "	asOf |= 0")},
		Package: Runtime,
		Run:     "^(TestMarks)$",
	},
	{
		Name:    "soft-expiry-ignored",
		Rule:    "An expired entry is not served as current.",
		Patches: []weave.Patch{at("envelope.go", "if e.seen >= e.soft {", "if e.seen >= e.hard {")},
		Package: Runtime,
		Run:     "^(TestStaleIfLoadFails)$",
	},
	{
		Name:    "hard-expiry-ignored",
		Rule:    "An expired value is not served for longer than stale says.",
		Patches: []weave.Patch{at("envelope.go", `e.slots) == "" && (e.hard == never || c.now().UnixNano() < e.hard)`, `e.slots) == ""`)},
		Package: Runtime,
		Run:     "^(TestSoftTooOld)$",
	},
	{
		Name: "stale-though-invalidated",
		Rule: "An invalidated value is not served as stale.",
		Patches: []weave.Patch{
			at("read.go", "case key.reason == ReasonExpired && e.hard > e.soft", "case (key.reason == ReasonExpired || key.reason == ReasonInvalidated) && e.hard > e.soft"),
			at("envelope.go", `return c.test(ctx, func(view *table) Reason { return view.test(e.epoch, e.asOf, e.slots) }) == "" && (`, `return (`),
		},
		Run: "^TestScenarios$/^(stale)$",
	},
	{
		Name:    "stale-invalidated-meanwhile",
		Rule:    "Nor is what was invalidated while the call waited for a better one.",
		Patches: []weave.Patch{at("envelope.go", `return c.test(ctx, func(view *table) Reason { return view.test(e.epoch, e.asOf, e.slots) }) == "" && (`, `return (`)},
		Package: Runtime,
		Run:     "^(TestStaleAfterInvalidation)$",
	},

	// What an entry depends on.
	{
		Name:    "result-tags-dropped",
		Rule:    "An entry depends on the tags taken from its result.",
		Patches: []weave.Patch{at("flight.go", "completes(func() { loader.DependsResult(tags, f.value) })", "completes(func() {})")},
		Run:     "^TestScenarios$/^(list-loaded)$",
	},
	{
		Name:    "undecided-stored",
		Rule:    "A result whose tags cannot be evaluated is not stored.",
		Patches: []weave.Patch{at("flight.go", "Event{Outcome: Undecided})\n			return 0, false\n", "Event{Outcome: Undecided})\n")},
		Package: Runtime,
		Run:     "^(TestJoinedOutcomes)$",
	},
	{
		Name:    "negative-without-tags",
		Rule:    "An error that is remembered depends on the tags known from the arguments.",
		Patches: []weave.Patch{at("flight.go", "	slices.Sort(tags.slots)\n", "	if f.err != nil {\n		tags.slots = nil\n	}\n	slices.Sort(tags.slots)\n")},
		Run:     "^TestScenarios$/^(insert)$",
	},
	{
		Name:    "own-tag-forgotten",
		Rule:    "An entry depends on its own tag, by which writes invalidate reads.",
		Patches: []weave.Patch{at("call.go", "	tags.Add(c.key.patternTag(r.name, r.sets))\n", "")},
		Run:     "^TestScenarios$/^(entry)$",
	},
	{
		Name:    "all-misses-one",
		Rule:    "An invalidation of all tags of a name reaches what depends on one.",
		Patches: []weave.Patch{at("tag.go", "	slots = append(slots, t.slot(name, everySet, 0))\n", "")},
		Run:     "^TestScenarios$/^(insert-fails)$",
	},
	{
		Name:    "one-misses-all",
		Rule:    "An invalidation of one tag reaches what depends on all of its name.",
		Patches: []weave.Patch{at("tag.go", "	slots = append(slots, t.slot(name, 0, everySet))\n", "")},
		Package: Runtime,
		Run:     "^(TestInvalidateByHand)$",
	},

	// Who may have the outcome of a load.
	{
		Name:    "adopt-by-key",
		Rule:    "Nobody takes the outcome of a load just because it is for the right key.",
		Patches: []weave.Patch{at("call.go", `return after || f.checkable && e.hitTest(c.read.cache) == ""`, "_ = e; return true")},
		Run:     "^TestScenarios$/^(join)$",
	},
	{
		Name:    "adopt-without-test",
		Rule:    "What an earlier load is about to store is taken only if it passes the hit test.",
		Patches: []weave.Patch{at("call.go", `return after || f.checkable && e.hitTest(c.read.cache) == ""`, "_ = e; return after || f.checkable")},
		Run:     "^TestScenarios$/^(join)$",
	},
	{
		Name:    "adopt-what-is-not-stored",
		Rule:    "An error that is not remembered is not for a caller who came after the load began.",
		Patches: []weave.Patch{at("call.go", `return after || f.checkable && e.hitTest`, `return after || e.hitTest`)},
		Package: Runtime,
		Run:     "^(TestJoinedOutcomes)$",
	},
	{
		Name:    "adopt-off-by-one",
		Rule:    "A load that had begun when the call began is not one that began after it.",
		Patches: []weave.Patch{at("call.go", "after := f.number > c.before", "after := f.number >= c.before")},
		Run:     "^TestScenarios$/^(join)$",
	},
	{
		Name:    "refresh-adopts",
		Rule:    "With a Refresh context, the load begins after the call.",
		Patches: []weave.Patch{at("call.go", "return f.fresh && f.loaded && after", "return f.fresh && f.loaded")},
		Run:     "^TestScenarios$/^(forced-refresh-joined)$",
	},
	{
		Name:    "adopt-tainted",
		Rule:    "Nobody takes what was loaded with arguments that may have changed meanwhile.",
		Patches: []weave.Patch{at("call.go", "	case f.tainted:\n		return false\n", "")},
		Package: Runtime,
		Run:     "^(TestSharedArguments)$",
	},
	{
		Name:    "absence-as-value",
		Rule:    "That a batch did not return an id is no value for the read of one.",
		Patches: []weave.Patch{at("call.go", "	case f.absent && f.err == nil && !c.many && f.entry.flags == 0:\n		c.own = true\n		return false\n", "")},
		Package: Runtime,
		Run:     "^(TestMayTake)$",
	},
	{
		Name:    "value-not-copied",
		Rule:    "Every caller who joins a load gets a copy.",
		Patches: []weave.Patch{at("call.go", "if !c.starter && !r.cfg.Share && f.err == nil", "if false && f.err == nil")},
		Package: Runtime,
		Run:     "^(TestShare)$",
	},
	{
		Name:    "recheck-without-test",
		Rule:    "What a load finds stored at the last moment has to pass the hit test.",
		Patches: []weave.Patch{at("flight.go", `if r.fetch(f.ctx, 0, f.key, storeKey(f.key, nil), &e) != "" {`, `if why := r.fetch(f.ctx, 0, f.key, storeKey(f.key, nil), &e); why != "" && why != ReasonInvalidated && why != ReasonMarked {`)},
		Run:     "^TestScenarios$/^(miss)$",
	},
	{
		Name:    "refresh-rechecks",
		Rule:    "A Refresh context loads, whatever is cached.",
		Patches: []weave.Patch{at("flight.go", "if f.fresh || f.background || !r.recheck(f) {", "if f.background || !r.recheck(f) {")},
		Package: Runtime,
		Run:     "^(TestRefresh)$",
	},

	// What is stored.
	{
		Name:    "abandoned-stored",
		Rule:    "What was loaded with arguments that may have changed meanwhile is not stored.",
		Patches: []weave.Patch{at("flight.go", "if f.abandoned.Load() || r.cache.closed.Load() ||", "if r.cache.closed.Load() ||")},
		Package: Runtime,
		Run:     "^(TestSharedArguments)$",
	},
	{
		Name:    "lapsed-stored",
		Rule:    "What a method without an error returned after its deadline is not stored.",
		Patches: []weave.Patch{at("flight.go", "		f.lapsed = true // no error could tell that the value is not one\n		ttl = 0\n", "")},
		Package: Runtime,
		Run:     "^(TestInfallibleDeadline)$",
	},
	{
		Name:    "outrun-stored",
		Rule:    "Nothing is stored over what a younger load has stored.",
		Patches: []weave.Patch{at("flight.go", "	if f.outrun != nil {\n", "	if false {\n")},
		Run:     "^TestScenarios$/^(changed-by-others)$",
	},
	{
		Name:    "outrun-does-not-wait",
		Rule:    "A load that was outrun returns when the younger outcome is stored.",
		Patches: []weave.Patch{at("flight.go", "		<-younger\n", "		_ = younger\n")},
		Package: Runtime,
		Run:     "^(TestRefreshThatIsOutrunReturnsWhenTheOtherIsStored)$",
	},
	{
		Name:    "store-out-of-turn",
		Rule:    "A younger load's outcome is stored when the older ones' have been.",
		Patches: []weave.Patch{at("flight.go", "	for _, kept := range first {\n		<-kept\n	}\n", "")},
		Run:     "^TestScenarios$/^(changed-by-others)$",
	},

	// How a write invalidates.
	{
		Name:    "no-marks-before-clock",
		Rule:    "Words are marked before the clock moves, for loads that make other cached reads.",
		Patches: []weave.Patch{at("clock.go", "	t.mark(others)\n	clock := t.clock.Add(1)\n	for _, slot := range others {\n		t.removeMark(slot%tableSize, clock)\n", "	clock := t.clock.Add(1)\n	for _, slot := range others {\n		raise(&t.words[slot%tableSize], clock)\n")},
		Run:     "^TestScenarios$/^(nested)$",
	},
	{
		Name:    "clear-without-mark",
		Rule:    "Everything is marked before the clock of a Clear moves.",
		Patches: []weave.Patch{at("clock.go", "	t.markAll()\n	t.releaseAll()\n", "	raise(&t.cleared, t.clock.Add(1))\n")},
		Run:     "^TestScenarios$/^(clear)$",
	},
	{
		Name:    "lowered",
		Rule:    "A word is raised by maximum: a slower write must not lower it.",
		Patches: []weave.Patch{at("clock.go", "max(word&clockMask, clock)", "clock")},
		Run:     "^TestScenarios$/^(writers)$",
	},
	{
		Name:    "tags-before-only",
		Rule:    "The tags of a write are evaluated after it as well: it may fill in an ID.",
		Patches: []weave.Patch{at("write.go", "	c.collect(&c.tags)\n	return\n", "	return\n")},
		Run:     "^TestScenarios$/^(insert)$",
	},
	{
		Name:    "tags-after-only",
		Rule:    "The tags of a write are evaluated before it as well: it may change an author.",
		Patches: []weave.Patch{at("write.go", "	c.collect(&c.tags)\n	return\n", "	c.tags.slots = nil\n	c.collect(&c.tags)\n	return\n")},
		Package: Runtime,
		Run:     "^(TestWriteTagsPanicAfterwards)$",
	},
	{
		Name: "invalidate-before-only",
		Rule: "A write invalidates when it has returned, not before it is made.",
		Patches: []weave.Patch{
			at("write.go", "	return call, err\n", "	w.cache.view().invalidate(call.tags.slots)\n	return call, err\n"),
			at("write.go", "	if atOnce || c.marks != nil {\n", "	if _ = atOnce; c.marks != nil {\n"),
		},
		Run: "^TestScenarios$/^(miss)$",
	},
	{
		Name:    "not-after-failure",
		Rule:    "A write invalidates whatever it returned: an error may come after the change.",
		Patches: []weave.Patch{at("write.go", "	if atOnce || c.marks != nil {\n", "	if (atOnce || c.marks != nil) && c.cause != CauseFailed {\n")},
		Run:     "^TestScenarios$/^(failure)$",
	},
	{
		Name:    "not-after-panic",
		Rule:    "A write that panicked invalidates.",
		Patches: []weave.Patch{at("write.go", "	if c.cancel != nil {\n		defer c.cancel()\n", "	if value := recover(); value != nil {\n		panic(value)\n	}\n	if c.cancel != nil {\n		defer c.cancel()\n")},
		Run:     "^TestScenarios$/^(panic)$",
	},
	{
		Name:    "blank-not-widened",
		Rule:    "If a write failed, an argument that it was to fill in stands for all.",
		Patches: []weave.Patch{at("tags.go", "if !done || t.blank && t.result == resultUnknown {", "if !done {")},
		Run:     "^TestScenarios$/^(insert-fails)$",
	},

	// Writes in doubt, marks and leases.
	{
		Name:    "doubt-not-marked",
		Rule:    "A write in doubt marks its tags: it may land later.",
		Patches: []weave.Patch{at("lease.go", "if cause == CauseAmbiguous && stale.any() {", "if cause == CauseAmbiguous && stale.any() && false {")},
		Run:     "^TestScenarios$/^(late)$",
	},
	{
		Name:    "ended-context-not-in-doubt",
		Rule:    "An error that comes with an ended context leaves a write in doubt.",
		Patches: []weave.Patch{at("ambiguous.go", "	if ctx.Err() != nil {\n		return true\n	}\n", "")},
		Package: Runtime,
		Run:     "^(TestWriteCauses)$",
	},
	{
		Name:    "lease-forgotten",
		Rule:    "A lease ends.",
		Patches: []weave.Patch{at("lease.go", "		c.lend(stale, c.doubtLease)\n", "")},
		Run:     "^TestScenarios$/^(late)$",
	},
	{
		Name:    "release-without-clock",
		Rule:    "As a mark goes out a new clock goes in.",
		Patches: []weave.Patch{at("clock.go", "	for _, slot := range marked {\n		t.removeMark(slot%tableSize, clock)\n", "	for _, slot := range marked {\n		t.removeMark(slot%tableSize, 0)\n")},
		Run:     "^TestScenarios$/^(late)$",
	},
	{
		Name: "release-in-two-steps",
		Rule: "The new clock goes in and the mark goes out in one step.",
		Patches: []weave.Patch{
			at("clock.go", "	for _, slot := range marked {\n		t.removeMark(slot%tableSize, clock)\n", "	for _, slot := range marked {\n		t.removeMark(slot%tableSize, 0)\n		raise(&t.words[slot%tableSize], clock)\n"),
			at("clock.go", "	for _, slot := range others {\n		t.removeMark(slot%tableSize, clock)\n", "	for _, slot := range others {\n		t.removeMark(slot%tableSize, 0)\n		raise(&t.words[slot%tableSize], clock)\n"),
		},
		Run: "^TestScenarios$/^(nested)$",
	},
	{
		Name:    "mark-as-flag",
		Rule:    "Marks are counts: writes overlap.",
		Patches: []weave.Patch{at("clock.go", "if word.CompareAndSwap(old, old+oneMark) {", "if word.CompareAndSwap(old, old|oneMark) {")},
		Run:     "^TestScenarios$/^(guarded-late-and-loaded)$",
	},
	{
		Name:    "mark-not-spilled",
		Rule:    "Marks beyond what a word can hold are counted elsewhere.",
		Patches: []weave.Patch{at("clock.go", "			t.spilled[i]++\n", "")},
		Package: Runtime,
		Run:     "^(TestMarksSpill)$",
	},
	{
		Name:    "gap-between-marks",
		Rule:    "The marks of a guarded write in doubt go out when those of its lease are there.",
		Patches: []weave.Patch{at("lease.go", "	stale.slots = distinct(stale.slots) // most", "	if cause == CauseAmbiguous && len(marked.slots) > 0 {\n		table.release(marked.slots, nil)\n		marked.slots = nil\n	}\n	stale.slots = distinct(stale.slots) // most")},
		Run:     "^TestScenarios$/^(guarded-late-and-loaded)$",
	},
	{
		Name:    "released-twice",
		Rule:    "A mark is released by the writer or by its lease, not by both.",
		Patches: []weave.Patch{at("lease.go", "if h == nil || h.ended.Swap(true) {", "if h == nil {")},
		Package: Runtime,
		Run:     "^(TestGuardedWriteOutlastsItsLease)$",
	},

	// Guarded writes.
	{
		Name:    "guard-not-taken",
		Rule:    "A guarded write marks before it is made.",
		Patches: []weave.Patch{at("lease.go", "	c.view().mark(m.slots)\n", "")},
		Run:     "^TestScenarios$/^(guarded-readers)$",
	},
	{
		Name:    "guard-without-result",
		Rule:    "A guarded write marks all of a tag that depends on its result.",
		Patches: []weave.Patch{at("write.go", "		tags(&call.tags) // once more: what depends on the result as *\n", "")},
		Run:     "^TestScenarios$/^(guarded-insert|guarded-move)$",
	},
	{
		Name:    "commit-not-guarded",
		Rule:    "With guarded writes, a transaction marks before its commit.",
		Patches: []weave.Patch{at("tx.go", "	if t.cache.guardLease == 0 {\n", "	if true {\n")},
		Run:     "^TestScenarios$/^(guarded-transaction)$",
	},
	{
		Name:    "guard-without-deadline",
		Rule:    "A guarded write's deadline is half its lease.",
		Patches: []weave.Patch{at("write.go", "began.Add(cache.guardLease/2)", "began.Add(cache.guardLease*2)")},
		Package: Runtime,
		Run:     "^(TestGuardedWrite)$",
	},

	// Transactions.
	{
		Name:    "transaction-looks-up",
		Rule:    "In a transaction, reads go to the database.",
		Patches: []weave.Patch{at("control.go", "!c.bypass && !c.refresh && c.transaction(cache) == nil", "!c.bypass && !c.refresh")},
		Run:     "^TestScenarios$/^(transaction)$",
	},
	{
		Name:    "transaction-fills",
		Rule:    "What a transaction reads is not stored.",
		Patches: []weave.Patch{at("load.go", "	case key.control.transaction(r.cache) != nil:\n		return Bypassed, ReasonTransaction\n", "")},
		Run:     "^TestScenarios$/^(transaction-loaded)$",
	},
	{
		Name:    "not-collected",
		Rule:    "What a transaction wrote is invalidated after its commit.",
		Patches: []weave.Patch{at("tx.go", "left, atOnce bool) {\n	if c == nil {", "left, atOnce bool) {\n	if true {")},
		Run:     "^TestScenarios$/^(transaction)$",
	},
	{
		Name:    "invalidate-before-commit",
		Rule:    "A transaction invalidates when its commit has returned.",
		Patches: []weave.Patch{at("tx.go", "	defer func() { reloads = t.finish(cause, marked, true, err == nil && cause == CauseTransaction) }()\n", "	reloads = t.finish(CauseTransaction, marked, true, true)\n	_ = cause\n")},
		Run:     "^TestScenarios$/^(transaction)$",
	},
	{
		Name:    "ended-before-invalidation",
		Rule:    "A transaction has not ended before it has invalidated.",
		Patches: []weave.Patch{at("tx.go", "	if commit || !left {\n		if p.ambiguous {\n", "	if t.commits == 0 || t.commits == 1 && committed {\n		t.ended.Store(true)\n	}\n	if commit || !left {\n		if p.ambiguous {\n")},
		Run:     "^TestScenarios$/^(transaction-shared)$",
	},
	{
		Name:    "ended-collects",
		Rule:    "A write in a transaction that has ended invalidates at once.",
		Patches: []weave.Patch{at("tx.go", "	if t.ended.Load() {\n		return false, false\n	}\n", "")},
		Package: Runtime,
		Run:     "^(TestTransactionEndsDuringAWrite)$",
	},
	{
		Name:    "doubt-about-commit-ignored",
		Rule:    "A commit that fails in doubt marks what it may still change.",
		Patches: []weave.Patch{at("tx.go", "	if !t.cache.inDoubt(t.ctx, err) {\n", "	if true {\n")},
		Run:     "^TestScenarios$/^(late-commit)$",
	},
	{
		Name:    "inner-commit-not-invalidated",
		Rule:    "An inner transaction that is committed invalidates: it may be one of its own.",
		Patches: []weave.Patch{at("tx.go", "	if commit || !left {\n		if p.ambiguous {\n", "	if !left {\n		if p.ambiguous {\n")},
		Package: Runtime,
		Run:     "^(TestInnerTransactionInDoubt)$",
	},
	{
		Name: "inner-only",
		Rule: "What is written in an inner transaction is invalidated by the outer one.",
		Patches: []weave.Patch{
			at("tx.go", "			left = true\n			p.reloads = nil\n", "			return true, atOnce\n"),
			at("tx.go", "			added, failed := outer.add(p)\n", "			added, failed := false, false\n"),
		},
		Run: "^TestScenarios$/^(transactions)$",
	},
	{
		Name:    "collected-by-innermost",
		Rule:    "All transactions around a write collect it at once: the outer one may end first.",
		Patches: []weave.Patch{at("tx.go", "			left = true\n			p.reloads = nil\n", "			return true, atOnce\n")},
		Package: Runtime,
		Run:     "^(TestOuterCommitBeforeInnerEnd)$",
	},
	{
		Name:    "collected-on-return",
		Rule:    "A transaction that ends during a write in it invalidates what that changes.",
		Patches: []weave.Patch{at("write.go", "	_, atOnce := control.collect(w.cache, pending{slots: call.tags.slots, names: call.tags.names})\n", "	atOnce := control.transaction(w.cache) == nil\n")},
		Package: Runtime,
		Run:     "^(TestTransactionEndsDuringAWrite)$",
	},
	{
		Name:    "failed-commit-collects",
		Rule:    "A write after a commit that failed invalidates at once.",
		Patches: []weave.Patch{at("tx.go", "atOnce = atOnce || !added || failed", "_ = failed; atOnce = atOnce || !added")},
		Package: Runtime,
		Run:     "^(TestWriteAfterAFailedCommit)$",
	},
	{
		Name:    "ended-inner-collects",
		Rule:    "A write in an inner transaction that has ended invalidates at once.",
		Patches: []weave.Patch{at("tx.go", "atOnce = atOnce || !added || failed", "atOnce = atOnce || failed")},
		Package: Runtime,
		Run:     "^(TestWriteBetweenTransactions)$",
	},
	{
		Name:    "commit-again-has-ended",
		Rule:    "Until a further commit returns, a transaction has not ended.",
		Patches: []weave.Patch{at("tx.go", "	t.ended.Store(false)\n", "")},
		Package: Runtime,
		Run:     "^(TestCommitAfterEnd)$",
	},
	{
		Name:    "by-hand-not-collected",
		Rule:    "What is invalidated by hand in a transaction is invalidated again when that ends.",
		Patches: []weave.Patch{at("cache.go", "	control.collect(c, pending{slots: all.slots, names: all.names})\n", "")},
		Package: Runtime,
		Run:     "^(TestInvalidateByHandInATransaction)$",
	},
	{
		Name:    "clear-not-collected",
		Rule:    "A Clear in a transaction clears again when that ends.",
		Patches: []weave.Patch{at("cache.go", "	control.collect(c, pending{clear: true})\n", "")},
		Package: Runtime,
		Run:     "^(TestInvalidateByHandInATransaction)$",
	},
	{
		Name:    "guard-shares-memory",
		Rule:    "The marks that are released are those that were made, whatever the tags become.",
		Patches: []weave.Patch{at("write.go", "distinct(slices.Clone(c.tags.slots))", "c.tags.slots; _ = slices.Clone(slots)")},
		Package: Runtime,
		Run:     "^(TestGuardedWriteReleasesWhatItMarked)$",
	},
	{
		Name:    "commit-shares-memory",
		Rule:    "So are those of a commit, whatever is collected meanwhile.",
		Patches: []weave.Patch{at("tx.go", "m := (marks{slices.Clone(t.pending.slots), t.pending.clear})", "m := (marks{t.pending.slots, t.pending.clear})")},
		Package: Runtime,
		Run:     "^(TestGuardedCommitReleasesWhatItMarked)$",
	},
	{
		Name:    "by-hand-collected-late",
		Rule:    "What is invalidated by hand is collected first: the transaction may end in between.",
		Patches: []weave.Patch{at("cache.go", "	control.collect(c, pending{slots: all.slots, names: all.names})\n	err := c.apply(marks{slots: all.slots}, nil, CauseByHand)\n", "	err := c.apply(marks{slots: all.slots}, nil, CauseByHand)\n	control.collect(c, pending{slots: all.slots, names: all.names})\n")},
		Run:     "^TestScenarios$/^(by-hand-in-a-transaction)$",
	},
	{
		Name:    "doubt-by-the-callers-context",
		Rule:    "An error of a write whose guard has ended its context leaves it in doubt.",
		Patches: []weave.Patch{at("write.go", "inDoubt(c.called, err)", "inDoubt(c.caller, err)")},
		Package: Runtime,
		Run:     "^(TestGuardThatEndsLeavesInDoubt)$",
	},
	{
		Name:    "late-write-forgotten",
		Rule:    "What is written after a commit that failed is invalidated again by End.",
		Patches: []weave.Patch{at("tx.go", "	t.late = t.failed\n", "")},
		Package: Runtime,
		Run:     "^(TestEndAfterAWriteAfterAFailedCommit)$",
	},
	{
		Name:    "left-to-failed-outer",
		Rule:    "An inner transaction leaves nothing to an outer one whose commit has failed.",
		Patches: []weave.Patch{at("tx.go", "left = added && !failed\n", "left = added || failed\n")},
		Package: Runtime,
		Run:     "^(TestInnerEndAfterAFailedOuterCommit)$",
	},
}

// NoFaults are changes that break nothing.
var NoFaults = []Harmless{
	{"Storing what a write has overtaken, or what was loaded under a mark", "The entry fails the hit test for ever: it takes room, and nothing else."},
	{"Joining a load that is invalid already", "What comes of it is judged when it has ended: the wait is wasted."},
	{"Words before the clock, in an invalidation of one word", "An entry that is loaded in between has the old stamp, and fails the test."},
	{"A stamp taken earlier, such as before a load waits for its turn", "It is older than need be: what is invalidated while the load waits costs a load."},
	{"Releasing what a guarded write had marked before what it has not", "By then all of it is marked, and each word is raised as its mark goes out."},
	{"Invalidating twice", "A word is raised to a newer clock: it costs a load."},
	{"Two tags in one word", "An invalidation of either costs a load of what depends on the other."},
	{"An entry lost or overwritten", "The cache may always forget."},
	{"Across processes, comparing a position's number and not its id", "That a server was restarted or replaced is noticed anyhow, and begins a new epoch."},
	{"Keeping the epoch when the log does not know a position that was trimmed", "Reading the table again is enough: nothing was lost but records that it contains."},
	{"Taking the reply to an append for no proof", "It costs a proof."},
}
