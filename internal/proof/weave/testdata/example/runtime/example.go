// Package example has everything that is woven.
package example

import (
	"sync"
	"sync/atomic"
	"time"
)

const tableSize = 1 << 20

type counter struct {
	mu           sync.Mutex
	words        []atomic.Uint64
	ended        atomic.Bool
	loadsRunning atomic.Int64
	done         chan struct{}
}

func (c *counter) add(i int) (uint64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	word := &c.words[i%tableSize]
	for {
		old := word.Load()
		if c.ended.Load() || word.CompareAndSwap(old, old+1) {
			break
		}
	}
	c.loadsRunning.Add(1) // a counter
	return c.words[i].Add(1), c.ended.Swap(true)
}

func (c *counter) start(n int, more ...int) {
	go c.run(n, // what it runs
		more...,
	)
	go func() {
		defer close(c.done)
		c.ended.Store(true)
	}()
	time.AfterFunc(time.Second, func() { c.ended.Store(false) })
}

func (c *counter) run(int, ...int) {}

func (c *counter) wait(turns chan int) int {
	turns <- 1
	defer func() { <-turns }()
loop:
	for {
		select {
		case <-c.done:
			break loop
		case turns <- 2:
		default:
		}
	}
	select {
	case <-c.done:
	case <-time.After(time.Second): // a break would end the same
		break
	}
	select {
	case <-c.done: // meanwhile
	default:
	}
	<-time.After(time.Second)
	if n, ok := <-turns; ok {
		return n
	}
	return <-turns
}
