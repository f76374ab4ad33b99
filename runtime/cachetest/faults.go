package cachetest

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
)

var (
	errCut    = errors.New("cachetest: cut off")
	errBroken = errors.New("cachetest: the connection broke")
)

// Faults are what goes wrong on the way between a process and what it shares, see
// [Shared.SetFaults] and [Tier.SetFaults]. Every field may be nil. The functions are
// called one at a time, with the name of the method of [cacheruntime.Shared] that is
// at work, such as "Append"; they must not use the Shared or its tiers.
type Faults struct {
	// Request decides what becomes of a request on its way there, Reply of the
	// answer on its way back, when the request has had its effect.
	Request, Reply func(call string) Fate

	// Log changes what an Append or a Prove returns, Snapshot what a Snapshot does.
	// They own what they point to. If they return an error, so does the call.
	Log      func(call string, reply *cacheruntime.LogReply) error
	Snapshot func(snapshot *cacheruntime.LogSnapshot) error

	// Entry changes an entry that Get returns. It owns the bytes, and returns nil
	// for no entry.
	Entry func(key string, entry []byte) []byte
}

// A Fate is what becomes of a message. The zero Fate is that it arrives at once.
type Fate struct {
	// Delay is how long it is under way. A request arrives and has its effect even
	// if its caller has given up by then. Messages with different delays overtake
	// each other.
	Delay time.Duration
	// Lost says that it never arrives. The caller waits until its time is over: that of
	// its context or else, as with Redis, a second for the log and 100 ms for entries.
	Lost bool
	// Broken says that it never arrives, and that the caller hears so at once, even if it
	// is lost or delayed as well.
	Broken bool
}

// then is the fate of a message to which both happen.
func (f Fate) then(g Fate) Fate {
	return Fate{Delay: f.Delay + g.Delay, Lost: f.Lost || g.Lost, Broken: f.Broken || g.Broken}
}

// RandomFate returns fates for [Faults] that follow from the seed: delays of up to
// the given one, and messages lost and broken with those probabilities, each from 0
// to 1. It is safe for concurrent use.
func RandomFate(seed uint64, delay time.Duration, lost, broken float64) func(call string) Fate {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 0))
	return func(string) Fate {
		mu.Lock()
		defer mu.Unlock()
		fate := Fate{Lost: rng.Float64() < lost, Broken: rng.Float64() < broken}
		if delay > 0 {
			fate.Delay = time.Duration(rng.Int64N(int64(delay) + 1))
		}
		return fate
	}
}

// A link is how a tier, or all of them, are connected.
type link struct {
	cut, stalled bool
	faults       Faults
}

func (l *link) heal() { l.cut, l.stalled = false, false }

func (l *link) request(call string) Fate {
	if l.faults.Request == nil {
		return Fate{}
	}
	return l.faults.Request(call)
}

func (l *link) reply(call string) Fate {
	if l.faults.Reply == nil {
		return Fate{}
	}
	return l.faults.Reply(call)
}
