package stress

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"
)

// A dice is a source of chance for several goroutines.
type dice struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func newDice(seed uint64, which int) *dice {
	return &dice{rnd: rand.New(rand.NewPCG(seed, uint64(which)))}
}

// n returns a number from 0 to n-1.
func (d *dice) n(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rnd.IntN(n)
}

// oneIn is true once in n times.
func (d *dice) oneIn(n int) bool { return d.n(n) == 0 }

// pause lets others go first: mostly not at all, sometimes for about as long as a
// database takes.
func (d *dice) pause() {
	switch d.n(8) {
	case 0:
		<-time.After(time.Duration(d.n(200)) * time.Microsecond)
	case 1:
		if d.oneIn(6) {
			<-time.After(time.Duration(d.n(3000)) * time.Microsecond)
		}
	case 2, 3:
		runtime.Gosched()
	}
}

var (
	errLoad    = errors.New("injected: the database cannot be read")
	errRefused = errors.New("injected: the database refused the write")
)

// panicked is what code of the database panics with.
const panicked = "injected: the database panicked"

// A fault is what becomes of a write.
type fault int

const (
	noFault        fault = iota
	faultRefused         // not committed, and it says so
	faultPanic           // not committed
	faultLost            // not committed, as the connection broke before
	faultReply           // committed, and the connection broke before it could say so
	faultReplyDies       // committed, and then a panic
	faultLate            // the connection breaks, and it is committed later
	faultLateDies        // a panic, and it is committed later
)

func (f fault) late() bool   { return f == faultLate || f == faultLateDies }
func (f fault) panics() bool { return f == faultPanic || f == faultReplyDies || f == faultLateDies }

// faults deals out faults. What leaves a write in doubt switches the cache off for
// what it is about until a lease ends, so there are few, and there is time between them.
type faults struct {
	dice  *dice
	every time.Duration

	mu   sync.Mutex
	next time.Time // at which there is one again
}

func (f *faults) ofWrite() fault {
	if f.dice.oneIn(20) {
		return faultRefused
	}
	if !f.dice.oneIn(6) {
		return noFault
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.After(f.next) {
		f.next = now.Add(f.every)
		return faultPanic + fault(f.dice.n(int(faultLateDies-faultPanic)+1))
	}
	return noFault
}
