package cacheruntime

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// A Trace records what the cache did in calls made with one context: see
// [WithTrace]. It is safe for concurrent use.
type Trace struct {
	mu     sync.Mutex
	events []Event
}

// An Event is one call of a read or a write, or of [Cache.Invalidate] and the like;
// observers are told of more: see [Observer].
type Event struct {
	Repository string // "example.com/blog.PostRepository"; "" for what is invalidated by hand
	Method     string
	Outcome    Outcome
	Reason     Reason        // why it was not a hit; "" if it was one; of Overtaken, why
	Key        string        // for people: `Post(7, "en")`, with the vary parts first: `Post["acme"](7)`
	Tags       []string      // that were invalidated or collected, for people, sorted
	Stored     bool          // what was loaded is in the cache now
	Overtaken  Reason        // why what was loaded is not, if it is because of an invalidation or a mark
	Duration   time.Duration // of the call, or of the load
	Cause      Cause         // of an invalidation
	Err        error         // of a load that failed, of the store and the like, for observers only; of an invalidation that other processes have not been told, and of a refusal
}

// An Outcome is what the cache did in a call.
type Outcome string

// The outcomes of reads, and those of writes and of invalidations by hand.
const (
	Hit         Outcome = "hit"          // answered from the cache
	SharedHit   Outcome = "shared hit"   // answered from the tier that processes share
	NegativeHit Outcome = "negative hit" // answered from the cache with an error or a nil pointer
	Stale       Outcome = "stale"        // answered with an expired value
	Miss        Outcome = "miss"         // loaded
	Joined      Outcome = "joined"       // answered by a load that another call started
	Reloaded    Outcome = "reloaded"     // loaded after a write, for those to come, by this call or another
	Skipped     Outcome = "skipped"      // not cached: the repository was called
	Bypassed    Outcome = "bypassed"     // asked not to use the cache: the repository was called
	Invalidated Outcome = "invalidated"  // by a write, a transaction or by hand
	Refused     Outcome = "refused"      // a guarded write or commit was not begun: see [ErrRefused]
	Collected   Outcome = "collected"    // a write in a transaction left its tags to it, which invalidates them when it ends
)

// Outcomes that only observers are told.
const (
	Loaded       Outcome = "loaded"            // a call of the repository to fill the cache has ended; Err if it failed
	Refreshing   Outcome = "refreshing"        // a load begins before its entry expires
	Overtaken    Outcome = "overtaken"         // a result is not stored because of an invalidation during its load
	Marked       Outcome = "marked"            // tags are marked: a write is in progress or in doubt
	StoreFailed  Outcome = "store error"       // the store failed
	SharedFailed Outcome = "shared tier error" // the tier that processes share failed
	Undelivered  Outcome = "undelivered"       // an invalidation could not be delivered to other processes yet
	Undecodable  Outcome = "undecodable"       // an entry is damaged
	Unencodable  Outcome = "unencodable"       // a result cannot be encoded
	Undecided    Outcome = "undecided"         // the tags, the lifetime or a condition of a result could not be evaluated
	Evicted      Outcome = "evicted"           // the store gave an entry up for lack of space
)

// A Cause is why tags were invalidated.
type Cause string

// The causes.
const (
	CauseWrite       Cause = "write"           // a write succeeded
	CauseFailed      Cause = "failed write"    // a write returned an error
	CauseAmbiguous   Cause = "ambiguous write" // it is not known whether a write or a commit changed anything, or still will
	CauseTransaction Cause = "transaction"     // a transaction ended
	CauseLease       Cause = "lease"           // the lease of a mark ended
	CauseByHand      Cause = "by hand"         // Cache.Invalidate
	CauseClear       Cause = "clear"           // Cache.Clear
)

// A Reason is why a read was not a hit.
type Reason string

// The reasons.
const (
	ReasonAbsent      Reason = "absent"               // nothing is cached
	ReasonExpired     Reason = "expired"              // the entry is past its lifetime
	ReasonInvalidated Reason = "invalidated"          // a tag of the entry was invalidated
	ReasonCleared     Reason = "cleared"              // the cache was cleared
	ReasonUndecodable Reason = "undecodable"          // the entry is damaged
	ReasonStoreError  Reason = "store error"          // the store failed
	ReasonRefresh     Reason = "refresh"              // see Refresh
	ReasonBypass      Reason = "bypass"               // see Bypass
	ReasonCondition   Reason = "condition"            // a when or unless condition does not hold
	ReasonKey         Reason = "key failed"           // an argument cannot be encoded
	ReasonDependency  Reason = "dependency failed"    // a tag known from the arguments panicked
	ReasonInside      Reason = "inside its own load"  // the load of a read calls the same read
	ReasonUnencodable Reason = "result not encodable" // it cannot be copied for a caller that joined
	ReasonClosed      Reason = "the cache is closed"  // see Cache.Close
	ReasonLeft        Reason = "the caller was done"  // its context ended before the load did
	ReasonMarked      Reason = "marked"               // a write of a tag of the entry is in progress or in doubt
	ReasonTransaction Reason = "transaction"          // see Cache.Begin
	ReasonSoft        Reason = "outlasted soft"       // the load took longer than the caller waits for it with an expired value at hand
	ReasonHard        Reason = "outlasted hard"       // the load took longer than the caller waits for it
	ReasonFailed      Reason = "load failed"          // with an error
	ReasonCutOff      Reason = "cut off"              // what other processes invalidate is not known recently enough: see WithMaxStaleness
	ReasonBackoff     Reason = "backing off"          // loads failed before; the next one is tried later
)

func (t *Trace) add(event Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, event)
}

// Events returns what was recorded so far, in the order in which calls ended.
func (t *Trace) Events() []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.events)
}

// String renders the events for people, one a line.
func (t *Trace) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, event := range t.Events() {
		event.write(w)
	}
	w.Flush()
	return b.String()
}

// String renders the event for people, without the package of its repository:
//
//	miss  PostRepository.Post(7)  absent, stored  1.2ms
func (e Event) String() string {
	return strings.TrimSuffix((&Trace{events: []Event{e}}).String(), "\n")
}

func (e Event) write(w *tabwriter.Writer) {
	name := shortName(e.Repository)
	name = name[strings.LastIndexByte(name, '.')+1:]
	call := e.Key
	if call == "" {
		call = e.Method
	}
	if name != "" {
		call = name + "." + call
	}
	if call == "" {
		call = string(e.Cause) // "by hand", "transaction"
	}
	var notes []string
	if e.Reason != "" {
		notes = append(notes, string(e.Reason))
	}
	if e.Stored {
		notes = append(notes, "stored")
	}
	if e.Overtaken != "" {
		notes = append(notes, "not stored: "+string(e.Overtaken))
	}
	if e.Cause != "" && e.Cause != CauseWrite && call != string(e.Cause) {
		notes = append(notes, string(e.Cause))
	}
	if e.Err != nil {
		notes = append(notes, strconv.Quote(e.Err.Error()))
	}
	notes = append(notes, e.Tags...)
	fmt.Fprintf(w, "%s\t%s\t%s\t%v\n", e.Outcome, call, strings.Join(notes, ", "), e.Duration)
}
