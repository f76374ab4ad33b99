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

// awaitRecovery waits until all is well: each process has delivered what it wrote, serves hits
// from its own memory and from Redis, and sees what the others write. So whatever was done
// to them before has cost them time and nothing else.
func (w *world) awaitRecovery(processes ...*process) {
	w.t.Helper()
	defer w.logStatsIfFailed(processes)
	for _, p := range processes {
		w.until("everything has been delivered", p.checkDelivered)
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
			w.until("what was written is delivered", p.checkDelivered)
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
	deadline := time.Now().Add(waitLimit)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		w.failFast()
		if time.Now().After(deadline) {
			w.t.Fatalf("waited %v in vain until %s", waitLimit, what)
		}
		<-ticker.C
	}
}

// logStatsIfFailed says how processes stand.
func (w *world) logStatsIfFailed(processes []*process) {
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

// wait lets some time pass, in which what was begun goes on.
func wait(d time.Duration) { <-time.After(d) }

// Nothing is done to Redis or the processes: what one of them has written, the others see
// within the bound, and they share what they load.
func TestNoFault(t *testing.T) {
	for _, bound := range []time.Duration{time.Second, 200 * time.Millisecond, 0} {
		t.Run(bound.String(), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			w := newWorld(t, 10, settings{Bound: bound})
			processes := w.startAll(3, server.Addr())
			traffic := w.traffic(seed(t), processes...)
			traffic.letRun(time.Second)
			w.until("enough has been written and read", func() bool {
				return traffic.hits.Load() > 100 && traffic.sharedHits.Load() > 10 && traffic.writes.Load() > 30
			})
			traffic.stop()
			w.awaitRecovery(processes...)
		})
	}
}

// A process is cut off from Redis: it serves what it has until the bound is over, and no
// longer. What it writes is delivered when it reaches Redis again.
func TestProcessCutOff(t *testing.T) {
	for _, bound := range []time.Duration{600 * time.Millisecond, 0} {
		t.Run(bound.String(), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			proxy := redistest.StartProxy(t, server.Addr())
			w := newWorld(t, 10, settings{Bound: bound, Timeout: shortTimeout})
			writer, reader := w.start(server.Addr()), w.start(proxy.Addr())
			behind := 0
			w.until("a read sees what was there before, unless none may", func() bool {
				w.awaitRecovery(writer, reader)
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
				// The machine was too slow, or a question under way was answered: once more.
				proxy.Heal()
				return false
			})
			t.Logf("served what was there before a write for %v, with a bound of %v", w.db.mostLag(), bound)
			if outcome := reader.read("Get", 1); outcome == cacheruntime.Hit {
				t.Errorf("a process that is cut off serves a %s", outcome)
			}
			// What it writes itself it sees, and nobody else does before it can be told.
			if queued := reader.write("update", 1); !queued {
				t.Error("a process that is cut off has delivered an invalidation")
			}
			reader.read("Get", 1)
			proxy.Heal()
			w.awaitRecovery(writer, reader)
		})
	}
}

// Redis's answers are delayed: what they say was so when the question was sent, and it is
// from then on that the bound counts.
func TestDelayedAnswers(t *testing.T) {
	t.Parallel()
	const bound = 600 * time.Millisecond
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr())
	w := newWorld(t, 10, settings{Bound: bound})
	writer, reader := w.start(server.Addr()), w.start(proxy.Addr())
	const late = 400 * time.Millisecond
	for i := range 3 {
		w.awaitRecovery(writer, reader)
		proxy.Delay(redistest.ToClient, late)
		// It is asked every third of the bound, after an answer. Two times of three a
		// question is on its way when the next one is held up.
		wait(bound + time.Duration(i)*(late+bound/3)/3)
		w.until("there is a hit", func() bool { return reader.read("Get", 1) == cacheruntime.Hit })
		proxy.Block(redistest.ToServer) // What was asked before is yet to be answered.
		writer.write("update", 1)
		w.until("what was written is seen", func() bool {
			s, err := reader.tryRead("Get", 1)
			return err == nil && s.Rows[0].Version == w.db.current(1)[0].Version
		})
		wait(late) // in which all answers come
		reader.read("Get", 1)
		proxy.Heal()
	}
	w.awaitRecovery(writer, reader)
}

// A process is started beside one that has loaded everything: it finds that in Redis, and
// loads nothing.
func TestWarmStart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: time.Second, Timeout: longTimeout})
	first := w.start(server.Addr())
	for _, id := range w.db.ids() {
		first.read("Get", id)
	}
	// Readers do not wait for it.
	w.until("everything is in Redis", func() bool {
		return len(server.Do("KEYS", namespace+":*").([]any)) == len(w.db.ids())
	})
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
	w.awaitRecovery(first, second)
}

// A writer is killed between its commit and its invalidation: others serve what they have
// until that expires, and no longer.
func TestKilledWriter(t *testing.T) {
	t.Parallel()
	const ttl = 1500 * time.Millisecond // of Brief
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: 200 * time.Millisecond})
	reader := w.start(server.Addr())
	outdated := 0
	w.until("something is served that the writer left behind", func() bool {
		writer := w.start(server.Addr())
		w.awaitRecovery(writer, reader)
		w.until("there is a hit", func() bool { return reader.read("Brief", 1) == cacheruntime.Hit })
		stored := w.db.now() // or before
		w.killBeforeInvalidation(writer, 1)
		committed := w.db.current(1)[0].Version
		w.until("what had been stored has expired", func() bool {
			began := w.db.now()
			s, err := reader.tryRead("Brief", 1)
			if err != nil {
				t.Fatal(err)
			}
			if s.Rows[0].Version == committed {
				return true
			}
			outdated++
			if began > stored+ttl {
				t.Fatalf("an entry is served %v after it was stored, though it was to expire after %v", began-stored, ttl)
			}
			return false
		})
		return outdated > 0 // else the machine was too slow: once more
	})
	t.Logf("%d reads were answered with what the writer left behind", outdated)
	w.awaitRecovery(reader)
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

// The same with guarded writes: what the writer has changed is served from no cache until
// the others have ended its lease and invalidated it, so that nothing old is served.
func TestKilledGuardedWriter(t *testing.T) {
	for _, bound := range []time.Duration{200 * time.Millisecond, 0} {
		t.Run(bound.String(), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			w := newWorld(t, 10, settings{Bound: bound, Guard: time.Second, Timeout: longTimeout})
			processes := w.startAll(3, server.Addr())
			w.awaitRecovery(processes...)
			w.killBeforeInvalidation(processes[0], 1)
			left := processes[1:]
			traffic := w.traffic(seed(t), left...)
			traffic.letRun(1500 * time.Millisecond)
			traffic.stop()
			for _, p := range left {
				w.until("the lease has been ended", func() bool { return p.read("Get", 1) == cacheruntime.Hit })
			}
			w.awaitRecovery(left...)
		})
	}
}

// Redis is stopped (SIGSTOP) and goes on: meanwhile writes go through, and nothing is
// served from a cache when the bound is over. Then all is delivered.
func TestPausedServer(t *testing.T) {
	t.Parallel()
	const bound = 400 * time.Millisecond
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: bound, Timeout: shortTimeout})
	processes := w.startAll(2, server.Addr())
	w.awaitRecovery(processes...)
	server.Pause()
	began := time.Now()
	if queued := processes[0].write("update", 1); !queued {
		t.Error("an invalidation was delivered to a server that is stopped")
	}
	// The timeout, and what a busy machine adds.
	if took := time.Since(began); took < shortTimeout || took > 20*shortTimeout {
		t.Errorf("a write took %v, with a timeout of %v", took, shortTimeout)
	}
	if got := processes[0].read("Get", 1); got == cacheruntime.Hit {
		t.Errorf("what was written is a %s in the process that wrote it", got)
	}
	w.until("nothing is served from the cache", func() bool {
		return processes[0].read("Get", 2) != cacheruntime.Hit && processes[1].read("Get", 2) != cacheruntime.Hit
	})
	traffic := w.traffic(seed(t), processes...)
	traffic.letRun(time.Second)
	if n := traffic.hits.Load(); n > 0 {
		t.Errorf("%d hits while Redis is stopped for longer than the bound", n)
	}
	w.until("a write is not delivered", func() bool { return traffic.queued.Load() > 0 })
	server.Resume()
	traffic.letRun(500 * time.Millisecond)
	traffic.stop()
	w.awaitRecovery(processes...)
}

// Redis is stopped (SIGSTOP): guarded writes, which cannot be marked, are refused and
// change nothing.
func TestGuardedWriteRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: 400 * time.Millisecond, Timeout: shortTimeout, Guard: time.Second})
	processes := w.startAll(2, server.Addr())
	w.awaitRecovery(processes...)
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
	w.awaitRecovery(processes...)
}

// A process is stopped (SIGSTOP) for longer than the bound while another one writes: when
// it goes on, it serves nothing that was there before.
func TestPausedProcess(t *testing.T) {
	for _, bound := range []time.Duration{300 * time.Millisecond, 0} {
		t.Run(bound.String(), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			w := newWorld(t, 10, settings{Bound: bound})
			writer, reader := w.start(server.Addr()), w.start(server.Addr())
			for range 3 {
				w.awaitRecovery(writer, reader)
				for _, id := range w.db.ids() {
					reader.read("Get", id)
				}
				reader.Pause()
				writer.write("update", w.db.ids()...)
				wait(bound + 50*time.Millisecond)
				// They begin now, and are waiting when it goes on.
				var reads sync.WaitGroup
				for _, id := range w.db.ids() {
					reads.Go(func() { reader.read("Get", id) })
				}
				reader.Resume()
				reads.Wait()
				w.failFast()
			}
			w.awaitRecovery(writer, reader)
		})
	}
}

// Redis is stopped (SIGSTOP) when a cache is closed: Close reports what has not been
// delivered. If Redis goes on before, all is.
func TestCloseUndelivered(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: time.Second, Timeout: shortTimeout})
	processes := w.startAll(2, server.Addr())
	w.awaitRecovery(processes...)
	server.Pause()
	for id := range 3 {
		if queued := processes[0].write("update", 1+id); !queued {
			t.Error("an invalidation was delivered to a server that is stopped")
		}
	}
	var said string
	if err := processes[0].call("Close", struct{}{}, &said); err != nil || !strings.Contains(said, "other processes may serve what 3 invalidations made stale") {
		t.Errorf("closed: %q, %v", said, err)
	}
	server.Resume()
	if err := processes[1].call("Close", struct{}{}, &said); err != nil {
		t.Fatal(err)
	}
	// What can be delivered at the last moment is.
	last := w.start(server.Addr())
	w.awaitRecovery(last)
	server.Pause()
	last.write("update", 1)
	server.Resume()
	said = ""
	if err := last.call("Close", struct{}{}, &said); err != nil || said != "" {
		t.Errorf("closed: %q, %v", said, err)
	}
}

// Several processes read the same row at the same time, with shared flights: one of them
// loads it, once.
func TestSharedFlights(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: time.Second, Flights: 10 * time.Second, Timeout: longTimeout})
	processes := w.startAll(4, server.Addr())
	open := w.db.close()
	var reads sync.WaitGroup
	for _, p := range processes {
		for range 3 {
			reads.Go(func() { p.read("Get", 1) })
		}
	}
	w.until("a load has begun", func() bool { return w.db.loaded() > 0 })
	wait(200 * time.Millisecond) // in which others would begin
	open()
	reads.Wait()
	if n := w.db.loaded(); n != 1 {
		t.Errorf("%d loads", n)
	}
}

// A process is killed while others wait for what it loads: they wait until its lock has
// run out, and load it themselves.
func TestSharedFlightsHolderKilled(t *testing.T) {
	t.Parallel()
	const wait = time.Second
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: time.Second, Flights: wait, Timeout: longTimeout})
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
	w.awaitRecovery(processes[1:]...)
}

// Redis is flushed while a guarded write is in progress, or it is not, and a process is
// started: the row that is being written is served from no cache.
func TestGuardedWriteInProgress(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		t.Run(fmt.Sprint("flushed ", flushed), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			w := newWorld(t, 10, settings{Guard: time.Minute, Timeout: longTimeout})
			processes := w.startAll(2, server.Addr())
			w.awaitRecovery(processes...)
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
			if flushed {
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
			w.awaitRecovery(all...)
		})
	}
}
