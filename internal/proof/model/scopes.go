package model

import "fmt"

// Scopes returns the scopes of the protocol as it is.
func Scopes() []Scope { return scopes(keepsAllRules) }

// Names of tags, as words of the table. An entry that depends on post(7) looks at the
// words post(7) and post(*): what invalidates one post, or all, raises one of them.
const (
	word0 words = 1 << iota
	word1
	word2
	word3
)

// scopes returns the scopes, with scripts that break a rule.
func scopes(f fault) []Scope {
	one := []string{"post(7)"}
	tag := []words{word0}
	update := f.write(write{outcomes: succeeded | failed, before: word0, after: word0, failed: word0})
	return []Scope{
		{
			Name: "basic", Why: "a write, and loads of what it changes at any moment",
			keys: one, words: one, depends: tag,
			procs: many(readers(2, read{}), writer("writer", update, 0)),
		},
		{
			Name: "cached", Why: "a write, and hits of what was cached before",
			keys: one, words: one, depends: tag, cached: 1,
			procs: many(readers(3, read{}), writer("writer", update, 0)),
		},
		{
			Name: "two writers", Why: "invalidations of one word at the same time",
			keys: one, words: one, depends: tag,
			procs: many(readers(2, read{}), writer("writer 1", f.write(plain(word0)), 0), writer("writer 2", f.write(plain(word0)), 0)),
		},
		{
			Name: "two tags", large: true, Why: "entries that depend on several words, each with its writer",
			keys: []string{"page(7)"}, words: []string{"post(7)", "author(1)"}, depends: []words{word0 | word1}, cached: 1,
			procs: many(readers(2, read{}), writer("writer 1", f.write(plain(word0)), 0), writer("writer 2", f.write(plain(word1)), 0)),
		},
		{
			Name: "moved row", large: true, Why: "tags from the result: a write moves a row from one list to another and names the row and the new list alone",
			keys: []string{"by author 1", "by author 2"}, words: []string{"post(7)", "author(1)", "author(2)"}, depends: []words{word1, word2},
			results: func(key uint8, committed uint8) words {
				if moved := committed != 0; moved == (key == 1) {
					return word0
				}
				return 0
			},
			procs: many(
				writer("writer", f.write(write{outcomes: succeeded, before: word0 | word2, after: word0 | word2}), 0, 1),
				reader("reader 1", read{key: 0}), reader("reader 2", read{key: 0}), reader("reader 3", read{key: 1}),
			),
		},
		{
			Name: "changed argument", large: true, Why: "a write whose call changes what its tags are made of",
			keys: []string{"by author 1", "by author 2"}, words: []string{"author(1)", "author(2)"}, depends: []words{word0, word1},
			cached: 1<<0 | 1<<1,
			procs: many(
				writer("writer", f.write(write{outcomes: succeeded, before: word0, after: word1}), 0, 1),
				reader("reader 1", read{key: 0}), reader("reader 2", read{key: 0}), reader("reader 3", read{key: 1}),
			),
		},
		{
			Name: "insert", Why: "a negative entry, and an insert that fills in the ID, or fails and has inserted all the same",
			keys: one, words: []string{"post(*)", "post(7)", "post(0)"}, depends: []words{word0 | word1}, notFound: true, negative: true,
			procs: many(readers(2, read{}), writer("writer", f.write(write{
				outcomes: succeeded | failed, before: word2, after: word1, failed: word2 | word0, blank: word0,
			}), 0)),
		},
		{
			Name: "insert unremembered", Why: "a \"not found\" that is not remembered, of a read whose tags all come from its result",
			keys: one, words: one, depends: []words{0}, notFound: true,
			results: func(uint8, uint8) words { return word0 },
			procs:   many(readers(3, read{}), writer("writer", f.write(plain(word0)), 0)),
		},
		{
			Name: "flights", Why: "calls that join loads, which are or are not stored",
			keys: one, words: one, depends: tag,
			procs: many(readers(3, read{}), writer("writer", update, 0)),
		},
		{
			Name: "flights unstored", Why: "the same, with outcomes that are never stored",
			keys: one, words: one, depends: tag, forgets: true,
			procs: many(readers(3, read{}), writer("writer", f.write(plain(word0)), 0)),
		},
		{
			Name: "late flights", Why: "loads that go on past their deadline, beside others of the same key",
			keys: one, words: one, depends: tag,
			procs: many(readers(2, read{}), script("clock", []op{{do: delays}}), writer("writer", f.write(plain(word0)), 0)),
		},
		{
			Name: "background", Why: "hits that are loaded again in the background",
			keys: one, words: one, depends: tag, cached: 1,
			procs: many(readers(1, read{early: true}), reader("reader 2", read{}), writer("writer", update, 0)),
		},
		{
			Name: "refresh", Why: "calls with a Refresh context, and a change behind the cache's back",
			keys: one, words: one, depends: tag, fails: true,
			procs: many(
				reader("reader 1", read{}), reader("reader 2", read{refresh: true}), reader("reader 3", read{}),
				proc{name: "someone", script: []op{{do: changes}}, keys: []uint8{0}},
			),
		},
		{
			Name: "two refreshes", Why: "the same with loads for a Refresh context that fail, while an older load is still to be stored",
			keys: one, words: one, depends: tag, fails: true, flying: true,
			procs: many(
				readers(2, read{refresh: true}), reader("reader 3", read{}),
				proc{name: "someone", script: []op{{do: changes}}, keys: []uint8{0}},
			),
		},
		{
			Name: "eviction", Why: "a store that loses what it has",
			keys: one, words: one, depends: tag, cached: 1,
			procs: many(readers(2, read{}), script("store", []op{{do: evicts}, {do: evicts}}), writer("writer", f.write(plain(word0)), 0)),
		},
		{
			Name: "clear", Why: "a change behind the cache's back, and Clear after it, with loads in flight",
			keys: one, words: []string{"everything", "post(7)"}, depends: []words{word0 | word1},
			procs: many(readers(2, read{}), writer("writer", f.clear(), 0)),
		},
		{
			Name: "late commit", Why: "a write in doubt, whose commit lands during the lease or never",
			keys: one, words: one, depends: tag,
			procs: many(
				writer("writer", f.write(write{outcomes: succeeded | inDoubt, before: word0, after: word0, failed: word0, lease: 2}), 0),
				about("late commit", late(), 0), about("lease", f.lease(word0), 0),
				readers(2, read{}),
			),
		},
		{
			Name: "late commit and joiners", large: true, Why: "the same, with calls that share loads made under the marks",
			keys: one, words: one, depends: tag,
			procs: many(
				writer("writer", f.write(doubtful(2)), 0),
				about("late commit", late(), 0), about("lease", f.lease(word0), 0),
				readers(3, read{}),
			),
		},
		{
			Name: "two in doubt", large: true, Why: "leases that overlap, of a commit that lands late and of one that is lost: marks are counts",
			keys: one, words: one, depends: tag,
			procs: many(
				writer("writer 1", f.write(doubtful(2)), 0),
				about("late commit 1", late(), 0), about("lease 1", f.lease(word0), 0),
				writer("writer 2", f.write(doubtful(5))),
				about("late commit 2", lost(), 3), about("lease 2", f.lease(word0), 3),
				readers(2, read{}),
			),
		},
		{
			Name: "transaction", Why: "commit and rollback, reads inside with the transaction's context, reads outside",
			keys: one, words: one, depends: tag, cached: 1,
			procs: many(
				f.transaction(word0, 0, false, 0),
				reader("reader inside", read{inTx: true}), readers(2, read{}),
			),
		},
		{
			Name: "transaction rolled back", Why: "a transaction that comes to nothing",
			keys: one, words: one, depends: tag,
			procs: many(
				f.rollback(word0),
				reader("reader inside", read{inTx: true}), readers(2, read{}),
			),
		},
		{
			Name: "transaction in doubt", Why: "a COMMIT whose error does not tell whether it has been done",
			keys: one, words: one, depends: tag,
			procs: many(
				f.transaction(word0, 2, false, 0), about("late commit", late(), 0), about("lease", f.lease(word0), 0),
				readers(2, read{}),
			),
		},
		{
			Name: "transaction ends", Why: "a write with a transaction's context that comes while that ends",
			keys: one, words: []string{"post(7)", "author(1)"}, depends: []words{word0 | word1},
			procs: many(
				f.transaction(word0, 0, false, 0),
				writer("late writer", f.lateInTx(word1), 0),
				readers(2, read{}),
			),
		},
		{
			Name: "inner transaction", Why: "a savepoint: what is written within an inner transaction lands with the outer one",
			keys: one, words: one, depends: tag,
			procs: many(f.savepoint(word0), readers(2, read{})),
		},
		{
			Name: "inner transaction of its own", Why: "an inner Begin that is another transaction of the database, which commits before the outer one",
			keys: one, words: one, depends: tag,
			procs: many(f.ownInner(word0), readers(2, read{})),
		},
		{
			Name: "batch", Why: "a load of two ids, which other calls join",
			keys: []string{"post(7)", "post(8)"}, words: []string{"post(7)", "post(8)"}, depends: []words{word0, word1},
			procs: many(
				reader("batch, id 7", read{key: 0, batch: 1}), reader("batch, id 8", read{key: 1, batch: 2}), reader("reader", read{key: 1}),
				writer("writer", f.write(plain(word0|word1)), 0, 1),
			),
		},
		{
			Name: "nested", Why: "a load that makes another cached read",
			keys: []string{"post(7)", "page(7)"}, words: one, depends: []words{word0, word0}, cached: 1,
			procs: many(
				reader("read inside", read{key: 0, nested: true}), reader("reader 1", read{key: 1}), reader("reader 2", read{key: 1}),
				writer("writer", f.write(plain(word0)), 0, 1),
			),
		},
		{
			Name: "expiry", large: true, Why: "values that have expired, and are served if loads fail or take too long",
			keys: one, words: one, depends: tag, cached: 1, ttl: true, fails: true,
			procs: many(
				reader("reader 1", read{soft: true}), reader("reader 2", read{}),
				script("clock", []op{{do: passesTime}, {do: passesTime}}),
				writer("writer", f.write(plain(word0)), 0),
			),
		},
		{
			Name: "guarded", large: true, Why: "linearizability: reads of two keys that one guarded write changes",
			keys: []string{"post(7)", "page(7)"}, words: one, depends: []words{word0, word0}, cached: 1 << 1, linear: true,
			procs: many(
				writer("writer", f.write(write{outcomes: succeeded, before: word0, after: word0, guarded: word0, guard: never}), 0, 1),
				reader("reader 1", read{key: 0}), reader("reader 2", read{key: 1}), reader("reader 3", read{key: 1}),
			),
		},
		{
			Name: "guarded lease", Why: "the same, with a lease that may end before the write has returned",
			keys: []string{"post(7)", "page(7)"}, words: one, depends: []words{word0, word0}, cached: 1 << 1, linear: true,
			procs: many(
				writer("writer", f.write(write{outcomes: succeeded, before: word0, after: word0, guarded: word0, guard: 1}), 0, 1),
				about("guard", f.lease(word0), 0),
				reader("reader 1", read{key: 0}), reader("reader 2", read{key: 1}),
			),
		},
		{
			Name: "guarded in doubt", large: true, Why: "the same, of a write in doubt",
			keys: []string{"post(7)", "page(7)"}, words: one, depends: []words{word0, word0}, cached: 1 << 1, linear: true,
			procs: many(
				writer("writer", f.write(write{outcomes: inDoubt, before: word0, after: word0, failed: word0, guarded: word0, guard: 1, lease: 2}), 0, 1),
				about("guard", f.lease(word0), 0), about("lease", f.lease(word0), 0), about("late commit", late(), 0),
				reader("reader 1", read{key: 0}), reader("reader 2", read{key: 1}),
			),
		},
		{
			Name: "guarded late commit", Why: "the same with three readers: at no time is there no mark", deep: true,
			keys: []string{"post(7)", "page(7)"}, words: one, depends: []words{word0, word0}, linear: true,
			procs: many(
				writer("writer", f.write(write{outcomes: inDoubt, before: word0, after: word0, failed: word0, guarded: word0, guard: never, lease: 1}), 0, 1),
				about("lease", f.lease(word0), 0), about("late commit", late(), 0),
				reader("reader 1", read{key: 0}), reader("reader 2", read{key: 1}), reader("reader 3", read{key: 1}),
			),
		},
		{
			Name: "two guarded", large: true, Why: "guarded writes that overlap, and calls of one key that share loads",
			keys: one, words: one, depends: tag, cached: 1, linear: true,
			procs: many(
				writer("writer 1", f.write(write{outcomes: succeeded, before: word0, after: word0, guarded: word0, guard: never}), 0),
				writer("writer 2", f.write(write{outcomes: succeeded, before: word0, after: word0, guarded: word0, guard: neverEither}), 0),
				reader("reader 1", read{}), reader("reader 2", read{refresh: true}),
			),
		},
		{
			Name: "guarded insert", large: true, Why: "a guarded write that fills in the ID: all of the tag is marked before it",
			keys: []string{"post(7)", "feed"}, words: []string{"post(*)", "any post", "post(7)"}, depends: []words{word0 | word2, word1}, cached: 1, linear: true,
			notFound: true, negative: true,
			procs: many(
				writer("writer", f.write(write{
					outcomes: succeeded | failed, before: word1, after: word1 | word2, failed: word0 | word1, blank: word0, guarded: word0 | word1, guard: 1,
				}), 0, 1),
				about("guard", f.lease(word0|word1), 0),
				reader("reader 1", read{key: 0}), reader("reader 2", read{key: 1}),
			),
		},
		{
			Name: "guarded transaction", large: true, Why: "linearizability with a transaction: marked before its commit",
			keys: []string{"post(7)", "page(7)"}, words: one, depends: []words{word0, word0}, cached: 1 << 1, linear: true,
			procs: many(
				f.transaction(word0, 0, true, 0, 1),
				reader("reader 1", read{key: 0}), reader("reader 2", read{key: 1}), reader("reader 3", read{key: 1}),
			),
		},
		{
			Name: "two late commits", Why: "leases that overlap, and both commits land late or are lost", deep: true,
			keys: one, words: one, depends: tag,
			procs: many(
				writer("writer 1", f.write(doubtful(2)), 0),
				about("late commit 1", late(), 0), about("lease 1", f.lease(word0), 0),
				writer("writer 2", f.write(doubtful(5)), 0),
				about("late commit 2", late(), 3), about("lease 2", f.lease(word0), 3),
				readers(2, read{}),
			),
		},
		{
			Name: "guarded with a lease and three readers", Why: "a lease that may end before the write returns, and three readers", deep: true,
			keys: []string{"post(7)", "page(7)"}, words: one, depends: []words{word0, word0}, cached: 1 << 1, linear: true,
			procs: many(
				writer("writer", f.write(write{outcomes: succeeded, before: word0, after: word0, guarded: word0, guard: 1}), 0, 1),
				about("guard", f.lease(word0), 0),
				reader("reader 1", read{key: 0}), reader("reader 2", read{key: 1}), reader("reader 3", read{key: 1}),
			),
		},
		{
			Name: "two guarded leases", Why: "guarded writes that overlap, and leases that may end before they return", deep: true,
			keys: one, words: one, depends: tag, cached: 1, linear: true,
			procs: many(
				writer("writer 1", f.write(write{outcomes: succeeded, before: word0, after: word0, guarded: word0, guard: 1}), 0),
				about("guard 1", f.lease(word0), 0),
				writer("writer 2", f.write(write{outcomes: succeeded, before: word0, after: word0, guarded: word0, guard: 3}), 0),
				about("guard 2", f.lease(word0), 2),
				readers(2, read{}), reader("reader 3", read{refresh: true}),
			),
		},
	}
}

// plain is a write that succeeds, with tags from arguments that stay as they are.
func plain(w words) write {
	return write{outcomes: succeeded, before: w, after: w, failed: w}
}

// doubtful is a write whose call ends in doubt.
func doubtful(lease uint8) write {
	return write{outcomes: inDoubt, before: word0, after: word0, failed: word0, lease: lease}
}

// never is in place of the process that ends a lease, for one that does not end before
// its write returns; neverEither for a second write.
const never, neverEither = maxProcs - 1, maxProcs - 2

// many joins processes, given alone or several at a time.
func many(parts ...any) (all []proc) {
	for _, part := range parts {
		switch part := part.(type) {
		case proc:
			all = append(all, part)
		case []proc:
			all = append(all, part...)
		}
	}
	return all
}

func reader(name string, r read) proc { return proc{name: name, read: &r} }

func readers(n int, r read) (all []proc) {
	for i := range n {
		all = append(all, reader(fmt.Sprint("reader ", i+1), r))
	}
	return all
}

// writer is a process whose commit changes keys.
func writer(name string, ops []op, keys ...uint8) proc {
	return proc{name: name, script: ops, keys: keys}
}

func script(name string, ops []op) proc { return proc{name: name, script: ops} }

// about is a process that has to do with the write of another one.
func about(name string, ops []op, of uint8) proc { return proc{name: name, script: ops, of: of} }

// transaction writes, commits and ends. If the commit may be in doubt, lease is the
// process that ends its lease.
func (f fault) transaction(w words, lease uint8, guarded bool, keys ...uint8) proc {
	outcomes := succeeded
	if lease != 0 {
		outcomes |= inDoubt
	}
	if f == guardForgotten {
		guarded = false
	}
	ops := []op{{do: begins}, {do: collects, words: w}, {do: writes}}
	if f == endBeforeCommit {
		ops = append(ops, f.ending(w, lease, guarded)...)
	}
	if guarded {
		ops = append(ops, op{do: locks}, op{do: marks, words: w}, op{do: unlocks})
	}
	ops = append(ops, op{do: commits, arg: uint8(outcomes)})
	if f != endBeforeCommit {
		ops = append(ops, f.ending(w, lease, guarded)...)
	}
	return writer("transaction", append(ops, op{do: returns}), keys...)
}

// rollback writes, and is rolled back.
func (f fault) rollback(w words) proc {
	ops := []op{{do: begins}, {do: collects, words: w}, {do: writes}, {do: rollsBack}}
	ops = append(ops, f.ending(w, 0, false)...)
	return script("transaction", append(ops, op{do: returns}))
}

// lateInTx is a write with the context of a transaction, from another goroutine, which
// commits on its own: it is collected if the transaction has not ended, and else it
// invalidates itself.
func (f fault) lateInTx(w words) []op {
	ops := []op{{do: calls, arg: uint8(succeeded)}, {do: collects, words: w}}
	ops = append(ops, f.invalidate(w, isTooLate)...)
	return append(ops, op{do: returns, when: isTooLate}, op{do: hands, when: func(p *process) bool { return !p.atOnce }})
}

// savepoint is a transaction with a write in an inner one.
func (f fault) savepoint(w words) proc {
	ops := []op{{do: begins}}
	if f != innerOnly {
		ops = append(ops, op{do: collects, words: w})
	}
	ops = append(ops, op{do: writes})
	ops = append(ops, f.invalidate(w, nil)...) // the inner one may have been a transaction of its own
	ops = append(ops, op{do: commits, arg: uint8(succeeded)})
	ops = append(ops, f.ending(w, 0, false)...)
	return writer("transaction", append(ops, op{do: returns}), 0)
}

// ownInner is a transaction with another one in it that commits on its own.
func (f fault) ownInner(w words) proc {
	ops := []op{{do: begins}, {do: collects, words: w}, {do: writes}, {do: commits, arg: uint8(succeeded)}}
	if f != innerLeft {
		ops = append(ops, f.invalidate(w, nil)...)
	}
	ops = append(ops, op{do: returns}) // the inner one's Commit
	return writer("transaction", append(ops, f.ending(w, 0, false)...), 0)
}

// clear is a change behind the cache's back and Clear after it.
func (f fault) clear() []op {
	ops := []op{{do: changes}}
	if f != clearWithoutWord {
		ops = append(ops, f.invalidate(word0, nil)...)
	}
	return append(ops, op{do: empties}, op{do: returns})
}
