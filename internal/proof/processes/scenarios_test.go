package processes

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// works waits until processes serve hits of every row, and those of the shared tier, and
// see what each other writes: what was lost is only speed.
func (w *world) works(processes ...*process) {
	w.t.Helper()
	defer w.tellIfFailed(processes)
	for _, p := range processes {
		w.until("what was late has been delivered", p.settle)
	}
	for i, p := range processes {
		w.until("hits come", func() bool {
			p.read("Get", 1)
			return p.read("Get", 1) == cacheruntime.Hit
		})
		other := processes[(i+1)%len(processes)]
		if other == p {
			continue
		}
		// An entry that this process does not have, and the other has just loaded.
		w.until("shared hits come", func() bool {
			// On a machine that is busy it may take too long.
			if written, err := p.tryWrite(p.begin("update"), "update", 2); err != nil && !written.Refused {
				w.t.Errorf("process %d: %v", p.number, err)
			}
			w.until("what was written is delivered", p.settle)
			version := w.db.current(2)[0].Version
			w.until("what was written is seen", func() bool {
				s, err := other.tryRead("Page", 2)
				return err == nil && s.Rows[0].Version == version
			})
			return p.read("Page", 2) == cacheruntime.SharedHit
		})
	}
}

// until waits until a condition holds. It ends the test if that takes too long, or if
// anything stale was read.
func (w *world) until(what string, condition func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		w.failFast()
		if time.Now().After(deadline) {
			w.t.Fatalf("waited %v in vain until %s", patience, what)
		}
		<-ticker.C
	}
}

// tellIfFailed says how processes stand.
func (w *world) tellIfFailed(processes []*process) {
	if !w.t.Failed() {
		return
	}
	for _, p := range processes {
		n, err := p.stats()
		w.t.Logf("process %d: %+v %v", p.number, n, err)
	}
}

// failFast ends the test if anything stale was read.
func (w *world) failFast() {
	w.t.Helper()
	if w.t.Failed() {
		w.t.FailNow()
	}
}

// startAll starts processes that have the same Redis.
func (w *world) startAll(n int, redis ...string) (processes []*process) {
	w.t.Helper()
	for range n {
		processes = append(processes, w.start(redis...))
	}
	return processes
}

// passes waits for some time, in which traffic goes on.
func passes(d time.Duration) { <-time.After(d) }

// What one process has written, the others see within the bound.
func TestReadElsewhere(t *testing.T) {
	for _, bound := range []time.Duration{time.Second, 200 * time.Millisecond, 0} {
		t.Run(bound.String(), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			w := newWorld(t, 10, settings{Bound: bound})
			processes := w.startAll(3, server.Addr())
			traffic := w.traffic(seed(t), processes...)
			passes(time.Second)
			w.until("enough has been written and read", func() bool {
				return traffic.hits.Load() > 100 && traffic.sharedHits.Load() > 10 && traffic.writes.Load() > 30
			})
			traffic.stop()
			w.works(processes...)
		})
	}
}

// A process that is cut off serves what it has until the bound, and no longer.
func TestCutOff(t *testing.T) {
	for _, bound := range []time.Duration{600 * time.Millisecond, 0} {
		t.Run(bound.String(), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			proxy := redistest.StartProxy(t, server.Addr())
			w := newWorld(t, 10, settings{Bound: bound, Timeout: timeout})
			writer, reader := w.start(server.Addr()), w.start(proxy.Addr())
			behind := 0
			w.until("something is served that is behind, or must not be", func() bool {
				w.works(writer, reader)
				proxy.Block(redistest.Both)
				writer.write("update", 1)
				w.until("the process that is cut off sees what was written", func() bool {
					s, err := reader.tryRead("Get", 1)
					if err != nil {
						t.Fatal(err)
					}
					if s.Rows[0].Version == w.db.current(1)[0].Version {
						return true
					}
					behind++
					return false
				})
				if behind > 0 || bound == 0 {
					return true
				}
				proxy.Heal() // The machine was too slow: once more.
				return false
			})
			t.Logf("behind by up to %v, with a bound of %v", w.db.mostLag(), bound)
			if outcome := reader.read("Get", 1); outcome == cacheruntime.Hit {
				t.Errorf("a process that is cut off serves a %s", outcome)
			}
			// What it writes itself it sees, and nobody else does before it can be told.
			if late := reader.write("update", 1); !late {
				t.Error("a process that is cut off has delivered an invalidation")
			}
			reader.read("Get", 1)
			proxy.Heal()
			w.works(writer, reader)
		})
	}
}

// What an answer says was so when it was asked for, however late it comes.
func TestLateAnswers(t *testing.T) {
	t.Parallel()
	const bound = 600 * time.Millisecond
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr())
	w := newWorld(t, 10, settings{Bound: bound})
	writer, reader := w.start(server.Addr()), w.start(proxy.Addr())
	const late = 400 * time.Millisecond
	for i := range 3 {
		w.works(writer, reader)
		proxy.Delay(redistest.ToClient, late)
		// It is asked every third of the bound, after an answer. Two times of three a
		// question is on its way when the next one is held up.
		passes(bound + time.Duration(i)*(late+bound/3)/3)
		w.until("there is a hit", func() bool { return reader.read("Get", 1) == cacheruntime.Hit })
		proxy.Block(redistest.ToServer) // What was asked before is yet to be answered.
		writer.write("update", 1)
		w.until("what was written is seen", func() bool {
			s, err := reader.tryRead("Get", 1)
			return err == nil && s.Rows[0].Version == w.db.current(1)[0].Version
		})
		passes(late) // in which all answers come
		reader.read("Get", 1)
		proxy.Heal()
	}
	w.works(writer, reader)
}

// A process that starts is served what others have loaded.
func TestWarmStart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: time.Second, Timeout: patient})
	first := w.start(server.Addr())
	for _, id := range w.db.ids() {
		first.read("Get", id)
	}
	second := w.start(server.Addr())
	for _, id := range w.db.ids() {
		if got := second.read("Get", id); got != cacheruntime.SharedHit {
			t.Errorf("row %d: %s", id, got)
		}
		if got := second.read("Get", id); got != cacheruntime.Hit {
			t.Errorf("row %d, again: %s", id, got)
		}
	}
	if n, err := second.stats(); err != nil || n.Loads > 0 {
		t.Errorf("%d loads, %v", n.Loads, err)
	}
	w.works(first, second)
}

// A writer that is killed between its commit and its invalidation leaves what others have
// until that expires.
func TestKilledWriter(t *testing.T) {
	t.Parallel()
	const ttl = 1500 * time.Millisecond // of Brief
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: 200 * time.Millisecond})
	writer, reader := w.start(server.Addr()), w.start(server.Addr())
	w.works(writer, reader)
	w.until("there is a hit", func() bool { return reader.read("Brief", 1) == cacheruntime.Hit })
	stored := w.db.now() // or before
	w.killBeforeInvalidation(writer, 1)
	committed := w.db.current(1)[0].Version
	behind := 0
	w.until("what had been stored has expired", func() bool {
		began := w.db.now()
		s, err := reader.tryRead("Brief", 1)
		if err != nil {
			t.Fatal(err)
		}
		if s.Rows[0].Version == committed {
			return true
		}
		behind++
		if began > stored+ttl {
			t.Fatalf("an entry is served %v after it was stored, though it was to expire after %v", began-stored, ttl)
		}
		return false
	})
	t.Logf("%d reads were answered with what the writer left behind", behind)
	w.works(reader)
}

// killBeforeInvalidation makes a process write a row, and kills it when that has been
// committed and it does not know yet.
func (w *world) killBeforeInvalidation(p *process, row int) {
	w.t.Helper()
	number := p.begin("update")
	plan := w.db.plan(number, plan{reply: make(chan struct{})})
	returned := make(chan error)
	go func() {
		_, err := p.tryWrite(number, "update", row)
		returned <- err
	}()
	select {
	case <-plan.committed:
	case err := <-returned:
		w.t.Fatalf("the write was not committed: %v", err)
	}
	p.kill()
	close(plan.reply)
	if err := <-returned; err == nil {
		w.t.Fatal("the write of a process that was killed has returned")
	}
}

// With guarded writes it does not: its lease is ended by others.
func TestKilledGuardedWriter(t *testing.T) {
	for _, bound := range []time.Duration{200 * time.Millisecond, 0} {
		t.Run(bound.String(), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			w := newWorld(t, 10, settings{Bound: bound, Guard: time.Second, Timeout: patient})
			processes := w.startAll(3, server.Addr())
			w.works(processes...)
			w.killBeforeInvalidation(processes[0], 1)
			left := processes[1:]
			traffic := w.traffic(seed(t), left...)
			passes(1500 * time.Millisecond)
			traffic.stop()
			w.works(left...)
		})
	}
}

// While Redis is stopped writes go through, what was served ends with the bound, and it
// all comes back.
func TestPausedServer(t *testing.T) {
	t.Parallel()
	const bound = 400 * time.Millisecond
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: bound, Timeout: timeout})
	processes := w.startAll(2, server.Addr())
	w.works(processes...)
	server.Pause()
	began := time.Now()
	if late := processes[0].write("update", 1); !late {
		t.Error("an invalidation was delivered to a server that is stopped")
	}
	// The timeout, and what a busy machine adds.
	if took := time.Since(began); took < timeout || took > 20*timeout {
		t.Errorf("a write took %v, with a timeout of %v", took, timeout)
	}
	if got := processes[0].read("Get", 1); got == cacheruntime.Hit {
		t.Errorf("what was written is a %s in the process that wrote it", got)
	}
	w.until("nothing is served from the cache", func() bool {
		return processes[0].read("Get", 2) != cacheruntime.Hit && processes[1].read("Get", 2) != cacheruntime.Hit
	})
	traffic := w.traffic(seed(t), processes...)
	passes(time.Second)
	if n := traffic.hits.Load(); n > 0 {
		t.Errorf("%d hits while Redis is stopped for longer than the bound", n)
	}
	w.until("a write is late", func() bool { return traffic.late.Load() > 0 })
	server.Resume()
	passes(500 * time.Millisecond)
	traffic.stop()
	w.works(processes...)
}

// A guarded write that cannot be marked is refused.
func TestGuardedWriteRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: 400 * time.Millisecond, Timeout: timeout, Guard: time.Second})
	processes := w.startAll(2, server.Addr())
	w.works(processes...)
	before := w.db.current(w.db.ids()...)
	server.Pause()
	for _, how := range []string{"update", "insert", "transaction"} {
		written, err := processes[0].tryWrite(processes[0].begin(how), how, 1)
		if err == nil || !written.Refused {
			t.Errorf("%s: %v", how, err)
		}
	}
	if after := w.db.current(w.db.ids()...); !slices.Equal(after, before) {
		t.Errorf("what was refused has changed %v into %v", before, after)
	}
	server.Resume()
	w.works(processes...)
}

// A process that was stopped serves nothing that is behind by more than the bound.
func TestStoppedProcess(t *testing.T) {
	for _, bound := range []time.Duration{300 * time.Millisecond, 0} {
		t.Run(bound.String(), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			w := newWorld(t, 10, settings{Bound: bound})
			writer, reader := w.start(server.Addr()), w.start(server.Addr())
			for range 3 {
				w.works(writer, reader)
				for _, id := range w.db.ids() {
					reader.read("Get", id)
				}
				reader.Stop()
				writer.write("update", w.db.ids()...)
				passes(bound + 50*time.Millisecond)
				// They begin now, and are waiting when it goes on.
				var reads sync.WaitGroup
				for _, id := range w.db.ids() {
					reads.Go(func() { reader.read("Get", id) })
				}
				reader.Cont()
				reads.Wait()
				w.failFast()
			}
			w.works(writer, reader)
		})
	}
}

// What was not delivered when a cache is closed, Close tells.
func TestCloseUndelivered(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: time.Second, Timeout: timeout})
	processes := w.startAll(2, server.Addr())
	w.works(processes...)
	server.Pause()
	for id := range 3 {
		if late := processes[0].write("update", 1+id); !late {
			t.Error("an invalidation was delivered to a server that is stopped")
		}
	}
	var said string
	if err := processes[0].call("Close", struct{}{}, &said); err != nil || !strings.Contains(said, "the invalidations of 3 writes have not been delivered") {
		t.Errorf("closed: %q, %v", said, err)
	}
	server.Resume()
	if err := processes[1].call("Close", struct{}{}, &said); err != nil {
		t.Fatal(err)
	}
	// What can be delivered at the last moment is.
	late := w.start(server.Addr())
	w.works(late)
	server.Pause()
	late.write("update", 1)
	server.Resume()
	said = ""
	if err := late.call("Close", struct{}{}, &said); err != nil || said != "" {
		t.Errorf("closed: %q, %v", said, err)
	}
}

// Processes that miss at the same time load once.
func TestSharedFlights(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: time.Second, Flights: 10 * time.Second, Timeout: patient})
	processes := w.startAll(4, server.Addr())
	open := w.db.close()
	var reads sync.WaitGroup
	for _, p := range processes {
		for range 3 {
			reads.Go(func() { p.read("Get", 1) })
		}
	}
	w.until("a load has begun", func() bool { return w.db.loaded() > 0 })
	passes(200 * time.Millisecond) // in which others would begin
	open()
	reads.Wait()
	if n := w.db.loaded(); n != 1 {
		t.Errorf("%d loads", n)
	}
}

// A process that dies while others wait for its load holds them up for a while only.
func TestSharedFlightsHolderKilled(t *testing.T) {
	t.Parallel()
	const wait = time.Second
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: time.Second, Flights: wait, Timeout: patient})
	processes := w.startAll(3, server.Addr())
	open := w.db.close()
	began := time.Now()
	holder := make(chan error)
	go func() {
		_, err := processes[0].tryRead("Get", 1)
		holder <- err
	}()
	w.until("a load has begun", func() bool { return w.db.loaded() > 0 })
	var reads sync.WaitGroup
	for _, p := range processes[1:] {
		reads.Go(func() { p.read("Get", 1) })
	}
	processes[0].kill()
	open()
	<-holder
	reads.Wait()
	if took := time.Since(began); took < wait-10*time.Millisecond || took > 20*wait {
		t.Errorf("the others went on after %v; a lock lasts %v", took, wait)
	}
	if n := w.db.loaded(); n > 3 {
		t.Errorf("%d loads", n)
	}
	w.works(processes[1:]...)
}

// The marks of a guarded write outlive the log that they are in, and are there for
// processes that start.
func TestMarksOfAWriteInProgress(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprint("lost ", lost), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			w := newWorld(t, 10, settings{Guard: time.Minute, Timeout: patient})
			processes := w.startAll(2, server.Addr())
			w.works(processes...)
			w.until("there is a hit", func() bool { return processes[1].read("Get", 1) == cacheruntime.Hit })
			before := []uint64{processes[0].epochs(), processes[1].epochs()}

			number := processes[0].begin("update")
			plan := w.db.plan(number, plan{commit: make(chan struct{}), reply: make(chan struct{})})
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := processes[0].tryWrite(number, "update", 1); err != nil {
					t.Error(err)
				}
			})
			<-plan.come
			if lost {
				server.Flush()
				for i, p := range processes {
					w.until("the loss has been noticed", func() bool { return p.epochs() > before[i] })
				}
			}
			newcomer := w.start(server.Addr())
			all := append(processes, newcomer)
			for _, p := range all {
				w.until("hits come", func() bool { return p.read("Get", 2) == cacheruntime.Hit })
				p.read("Get", 1) // which must not be kept
				if got := p.read("Get", 1); got == cacheruntime.Hit || got == cacheruntime.SharedHit {
					t.Errorf("process %d: a row that is being written is a %s", p.number, got)
				}
			}
			close(plan.commit)
			<-plan.committed
			for _, p := range all {
				p.read("Get", 1)
			}
			close(plan.reply)
			wg.Wait()
			w.works(all...)
		})
	}
}
