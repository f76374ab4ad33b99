package cacheruntime_test

import (
	"context"
	"fmt"
	"time"

	cacheruntime "github.com/cachegen/cachegen/runtime"
	"github.com/cachegen/cachegen/runtime/cachetest"
)

// weather is that there is always a delay, so that no two things happen at the very same
// time, with more faults on top.
func (p *process) weather(faults cachetest.Faults) cachetest.Faults {
	hiccups := p.hiccups
	delayed := func(worse func(string) cachetest.Fate) func(string) cachetest.Fate {
		return func(call string) (fate cachetest.Fate) {
			if worse != nil {
				fate = worse(call)
			}
			fate.Delay += time.Duration(1 + p.bad.n(int(p.delay)))
			if hiccups && p.bad.n(40) == 0 {
				fate.Delay += time.Duration(p.bad.n(int(600 * time.Millisecond)))
			}
			return fate
		}
	}
	faults.Request, faults.Reply = delayed(faults.Request), delayed(faults.Reply)
	return faults
}

// harass makes things go wrong until the time is over.
func (w *world) harass(over context.Context) {
	rnd := w.random
	for {
		select {
		case <-time.After(time.Duration(rnd.n(int(w.duration / 8)))):
		case <-over.Done():
			return
		}
		processes := w.alive()
		if len(processes) < 2 {
			w.open()
			continue
		}
		p := processes[rnd.n(len(processes))]
		switch rnd.n(8) {
		case 0:
			w.note("%s heals", p.name)
			p.tier.Heal()
			p.tier.SetFaults(p.weather(cachetest.Faults{}))
		case 1, 2:
			w.note("all heal")
			w.shared.Heal()
		case 3:
			if len(processes) < 4 {
				w.open()
			}
		default:
			w.faults[rnd.n(len(w.faults))](p, rnd)
			if w.lasting {
				select {
				case <-time.After(2 * w.kind.bound):
				case <-over.Done():
				}
			}
		}
	}
}

// A fault is something that goes wrong for a process or for all.
type fault func(p *process, rnd *random)

// harmless is the number of faults, at the beginning, with which nothing is lost that
// the log was told.
const harmless = 18

var faults = []fault{
	func(p *process, _ *random) {
		p.note("%s is cut off", p.name)
		p.tier.Cut()
	},
	func(p *process, _ *random) {
		p.note("%s stalls", p.name)
		p.tier.Stall()
	},
	func(p *process, _ *random) {
		p.note("all are cut off")
		p.shared.Cut()
	},
	func(p *process, _ *random) {
		p.note("all stall")
		p.shared.Stall()
	},
	func(p *process, _ *random) {
		p.note("the connections of %s break", p.name)
		p.tier.Break()
	},
	func(p *process, rnd *random) {
		lost, broken := float64(rnd.n(30))/100, float64(rnd.n(30))/100
		p.note("%s loses %v and breaks %v of its messages", p.name, lost, broken)
		p.tier.SetFaults(p.weather(cachetest.Faults{
			Request: cachetest.RandomFate(uint64(rnd.n(1<<30)), p.delay, lost, broken),
			Reply:   cachetest.RandomFate(uint64(rnd.n(1<<30)), p.delay, lost, broken),
		}))
	},
	func(p *process, rnd *random) {
		request, reply := time.Duration(rnd.n(int(time.Second))), time.Duration(rnd.n(int(time.Second)))
		if rnd.n(2) == 0 {
			request = 0
		}
		p.note("%s is slow: up to %v to get there and %v to come back", p.name, request, reply)
		p.tier.SetFaults(p.weather(cachetest.Faults{
			Request: cachetest.RandomFate(uint64(rnd.n(1<<30)), request, 0, 0),
			Reply:   cachetest.RandomFate(uint64(rnd.n(1<<30)), reply, 0, 0),
		}))
	},
	func(p *process, rnd *random) {
		p.note("what %s is told is forged", p.name)
		forged := forgery(rnd.fork())
		forged.Request = cachetest.RandomFate(uint64(rnd.n(1<<30)), 50*time.Millisecond, 0, 0) // for many records in a reply
		p.tier.SetFaults(p.weather(forged))
	},
	func(p *process, rnd *random) {
		p.note("what %s is told is cut short", p.name)
		rnd = rnd.fork()
		p.tier.SetFaults(p.weather(cachetest.Faults{
			Request: cachetest.RandomFate(uint64(rnd.n(1<<30)), 50*time.Millisecond, 0, 0), // for many records in a reply
			Log: func(_ string, reply *cacheruntime.LogReply) error {
				if n := len(reply.Records); n > 1 && rnd.n(2) == 0 {
					reply.Records = reply.Records[:1+rnd.n(n-1)]
				}
				return nil
			},
		}))
	},
	func(p *process, _ *random) {
		p.note("%s is not woken up", p.name)
		p.tier.SetFaults(p.weather(cachetest.Faults{
			Reply: func(call string) cachetest.Fate { return cachetest.Fate{Lost: call == "Wait"} },
		}))
	},
	func(p *process, rnd *random) {
		n := rnd.n(5)
		p.note("the log is trimmed to %d", n)
		p.shared.Trim(n)
	},
	func(p *process, _ *random) {
		p.note("the log is evicted")
		p.shared.EvictLog()
	},
	func(p *process, _ *random) {
		p.note("entries are evicted")
		p.shared.EvictEntries()
	},
	func(p *process, _ *random) {
		p.note("entries are damaged")
		p.shared.DamageEntries()
	},
	func(p *process, _ *random) {
		p.note("fail over, without loss")
		p.shared.FailOver(0)
	},
	func(p *process, _ *random) { p.late.Go(p.end) },
	func(p *process, _ *random) { p.forgetEntries() },
	func(p *process, rnd *random) {
		p.note("what all but %s ask for is slow", p.name)
		for _, other := range p.alive() {
			if other != p {
				other.tier.SetFaults(other.weather(cachetest.Faults{
					Request: cachetest.RandomFate(uint64(rnd.n(1<<30)), p.duration/8, 0, 0),
				}))
			}
		}
	},

	// From here on marks and records may be lost.
	func(p *process, _ *random) {
		p.note("flush")
		p.shared.Flush()
	},
	func(p *process, _ *random) {
		p.note("the marks are evicted")
		p.shared.EvictMarks()
	},
	func(p *process, rnd *random) {
		if rnd.n(2) == 0 {
			p.note("save")
			p.shared.Save()
			return
		}
		p.note("restart")
		p.shared.Restart()
	},
	func(p *process, rnd *random) {
		n := rnd.n(10)
		p.note("fail over, %d are lost", n)
		p.shared.FailOver(n)
	},
}

// forgery makes replies ones that a log of this kind could not give.
func forgery(rnd *random) cachetest.Faults {
	return cachetest.Faults{
		Log: func(call string, reply *cacheruntime.LogReply) error {
			n := len(reply.Records)
			i := rnd.n(max(n, 1))
			switch rnd.n(16) {
			case 0:
				return fmt.Errorf("forged: %w", cacheruntime.ErrMalformed)
			case 1:
				*reply = cacheruntime.LogReply{}
			case 2:
				reply.Known, reply.Records = false, nil
			case 3:
				reply.Head.Epoch++
			case 4:
				reply.Head.Number += 1 << 60
			case 5:
				if call == "Prove" {
					reply.Head.Number += 3
				}
			case 6:
				reply.Head.ID[0]++
			case 7:
				if n > 0 {
					reply.Records[i].Previous[0]++
				}
			case 8:
				if n > 0 {
					reply.Records[i].ID[0]++
				}
			case 9:
				if n > 0 {
					reply.Records[i].Number += 1 << 60
				}
			case 10:
				if n > 0 {
					reply.Records = append(reply.Records[:i], reply.Records[i+1:]...)
				}
			case 11:
				if n > 0 {
					reply.Records = append(reply.Records, reply.Records[i])
				}
			case 12, 13:
				if n > 1 {
					i = rnd.n(n - 1)
					// As if there had never been that record, but for the one after it.
					reply.Records = append(reply.Records[:i], reply.Records[i+1:]...)
					for j := i; j < n-1; j++ {
						reply.Records[j].Number--
					}
					reply.Head.Number--
				}
			}
			return nil
		},
		Snapshot: func(snapshot *cacheruntime.LogSnapshot) error {
			switch rnd.n(20) {
			case 0:
				return fmt.Errorf("forged: %w", cacheruntime.ErrMalformed)
			case 1:
				*snapshot = cacheruntime.LogSnapshot{}
			case 2:
				snapshot.At.Epoch++
			case 3:
				snapshot.At.Number += 1 << 60
			case 4:
				snapshot.At.ID[0]++
			case 5:
				snapshot.Words = append(snapshot.Words, snapshot.At.Number+1)
			case 6:
				snapshot.Words = make([]uint64, cacheruntime.SharedTableSize+1)
			case 7:
				snapshot.Cleared = snapshot.At.Number + 1
			}
			return nil
		},
		Entry: func(_ string, entry []byte) []byte {
			if i := rnd.n(4 * len(entry)); i < len(entry) {
				entry[i]++
			}
			return entry
		},
	}
}
