package processes

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// logKeys are those of the log.
func logKeys() []string {
	return []string{"{" + namespace + "}:log", "{" + namespace + "}:table", "{" + namespace + "}:marks"}
}

// Redis loses what it has, or some of it, or comes back with what it had before: nothing
// stale is read, and a new epoch begins, unless nothing of the log was lost.
func TestRedisLosesData(t *testing.T) {
	type fault struct {
		name  string
		args  []string // of the server
		do    func(*testing.T, *redistest.Server)
		keeps bool // the epoch: nothing of the log is lost
	}
	faults := []fault{
		{name: "flushed", do: func(_ *testing.T, s *redistest.Server) { s.Flush() }},
		{name: "restarted empty", do: func(_ *testing.T, s *redistest.Server) { s.RestartEmpty() }},
		{name: "restarted as it was", args: []string{"--appendonly", "yes", "--appendfsync", "always"},
			do: func(_ *testing.T, s *redistest.Server) { s.Restart() }},
		{name: "restarted as it had been", do: func(_ *testing.T, s *redistest.Server) {
			s.Do("SAVE")
			wait(300 * time.Millisecond) // in which it goes on
			s.Restart()
		}},
		{name: "clients killed", keeps: true, do: func(_ *testing.T, s *redistest.Server) { s.Do("CLIENT", "KILL", "TYPE", "normal") }},
		{name: "scripts forgotten", keeps: true, do: func(_ *testing.T, s *redistest.Server) { s.Do("SCRIPT", "FLUSH") }},
		{name: "marks deleted", do: func(t *testing.T, s *redistest.Server) {
			redistest.Until(t, "there are marks", func() bool { return s.Do("DEL", logKeys()[2]) == int64(1) })
		}},
		{name: "log overwritten", do: func(_ *testing.T, s *redistest.Server) { s.Do("SET", logKeys()[0], "nonsense") }},
		{name: "table cut", do: func(_ *testing.T, s *redistest.Server) { s.Do("SET", logKeys()[1], "cachegen") }},
		{name: "last record deleted", do: func(_ *testing.T, s *redistest.Server) {
			s.Do("EVAL", "return redis.call('XDEL', KEYS[1], redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1])", "1", logKeys()[0])
		}},
	}
	for i, name := range []string{"log", "table"} {
		faults = append(faults, fault{name: name + " deleted", do: func(_ *testing.T, s *redistest.Server) { s.Do("DEL", logKeys()[i]) }})
	}
	for i, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, fault.args...)
			s := settings{Bound: 200 * time.Millisecond, Timeout: shortTimeout, LosesData: true}
			if i%2 == 0 || fault.name == "marks deleted" {
				s.Bound, s.Guard = 0, time.Second
			}
			w := newWorld(t, 10, s)
			processes := w.startAll(2, server.Addr())
			w.awaitRecovery(processes...)
			before := processes[0].epochs()
			traffic := w.traffic(seed(t), processes...)
			traffic.flow()
			fault.do(t, server)
			traffic.letRun(500 * time.Millisecond)
			traffic.stop()
			w.awaitRecovery(processes...)
			if after := processes[0].epochs(); (after > before) == fault.keeps {
				t.Errorf("%d epochs before, %d after it", before, after)
			}
		})
	}
}

// epochs returns how many epochs have begun for a process.
func (p *process) epochs() uint64 {
	p.world.t.Helper()
	n, err := p.stats()
	if err != nil {
		p.world.t.Fatal(err)
	}
	return n.Shared.Epochs
}

// What one process and Redis send each other is lost, held up or delayed, or its
// connections break: nothing stale is read, and when the network is well so is all else.
func TestBadNetwork(t *testing.T) {
	type fault struct {
		name string
		do   func(*redistest.Proxy)
	}
	var faults []fault
	for _, way := range []struct {
		name      string
		direction redistest.Direction
	}{{"to the server", redistest.ToServer}, {"to the client", redistest.ToClient}, {"both ways", redistest.Both}} {
		name, direction := way.name, way.direction
		faults = append(faults,
			fault{"dropped " + name, func(p *redistest.Proxy) { p.Drop(direction) }},
			fault{"blocked " + name, func(p *redistest.Proxy) { p.Block(direction) }},
			fault{"delayed " + name, func(p *redistest.Proxy) { p.Delay(direction, 100*time.Millisecond) }},
		)
	}
	faults = append(faults, fault{"cut", (*redistest.Proxy).Cut})
	for i, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			proxy := redistest.StartProxy(t, server.Addr())
			s := settings{Bound: 200 * time.Millisecond, Timeout: shortTimeout}
			if i%2 == 0 {
				s.Bound, s.Guard = 0, time.Second
			}
			w := newWorld(t, 10, s)
			processes := []*process{w.start(server.Addr()), w.start(proxy.Addr())}
			w.awaitRecovery(processes...)
			traffic := w.traffic(seed(t), processes...)
			traffic.flow()
			fault.do(proxy)
			traffic.letRun(500 * time.Millisecond)
			proxy.Heal()
			traffic.stop()
			w.awaitRecovery(processes...)
		})
	}
}

// A process is stopped (SIGSTOP) until the log no longer has what it has missed: when it
// goes on it serves nothing old, and begins a new epoch.
func TestLogTrimmed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: 300 * time.Millisecond, LogLength: 100})
	writer, slow := w.start(server.Addr()), w.start(server.Addr())
	w.awaitRecovery(writer, slow)
	for _, id := range w.db.ids() {
		slow.read("Get", id)
	}
	before, err := slow.stats()
	if err != nil {
		t.Fatal(err)
	}
	slow.Pause()
	writer.write("update", 1)
	for range 500 {
		writer.write("update", 2)
	}
	if n := server.Do("XLEN", logKeys()[0]).(int64); n > 400 {
		t.Fatalf("too weak: the log has %d records", n)
	}
	slow.Resume()
	wait(300 * time.Millisecond)
	for _, id := range w.db.ids() {
		slow.read("Get", id)
	}
	w.awaitRecovery(writer, slow)
	after, err := slow.stats()
	if err != nil {
		t.Fatal(err)
	}
	if after.Shared.Epochs == before.Shared.Epochs {
		t.Errorf("%d epochs, as before", after.Shared.Epochs)
	}
}

// startReplicated starts a primary and its replica, which hears of nothing that is new
// once it is cut off.
func startReplicated(t *testing.T) (primary, replica *redistest.Server, cutOff func()) {
	primary = redistest.Start(t)
	replication := redistest.StartProxy(t, primary.Addr())
	replica = redistest.Start(t)
	replica.Follow(replication.Addr())
	return primary, replica, func() {
		replica.CatchUp(primary)
		replication.Block(redistest.Both)
	}
}

// The primary is killed, and a replica that had fallen behind takes its place: nothing
// stale is read, though positions of the log mean something else from then on.
func TestFailover(t *testing.T) {
	for _, guard := range []time.Duration{0, time.Second} {
		t.Run(fmt.Sprint("guard ", guard), func(t *testing.T) {
			t.Parallel()
			primary, replica, cutOff := startReplicated(t)
			name := redistest.StartProxy(t, primary.Addr())
			s := settings{Bound: 200 * time.Millisecond, Timeout: shortTimeout, Guard: guard, LosesData: true}
			if guard > 0 {
				s.Bound = 0
			}
			w := newWorld(t, 10, s)
			processes := w.startAll(3, name.Addr())
			w.awaitRecovery(processes...)
			before := processes[0].epochs()
			traffic := w.traffic(seed(t), processes...)
			traffic.flow()
			cutOff()
			traffic.letRun(300 * time.Millisecond)
			w.until("the replica has fallen behind", func() bool {
				return primary.Info("master_repl_offset") != replica.Info("slave_repl_offset")
			})
			primary.Kill()
			replica.Promote()
			name.Retarget(replica.Addr())
			traffic.letRun(500 * time.Millisecond)
			traffic.stop()
			w.awaitRecovery(processes...)
			if after := processes[0].epochs(); after == before {
				t.Errorf("%d epochs, as before", after)
			}
		})
	}
}

// The primary is killed, and a sentinel promotes a replica that had fallen behind, as it tells
// the processes: nothing stale is read. One that is started then asks it, too.
func TestSentinelFailover(t *testing.T) {
	for _, guard := range []time.Duration{0, time.Second} {
		t.Run(fmt.Sprint("guard ", guard), func(t *testing.T) {
			t.Parallel()
			const masterSet = "blog"
			primary, replica, cutOff := startReplicated(t)
			sentinel := redistest.StartSentinel(t, masterSet, primary, 1)
			s := settings{Bound: 200 * time.Millisecond, Timeout: shortTimeout, Guard: guard, LosesData: true, MasterSet: masterSet}
			if guard > 0 {
				s.Bound = 0
			}
			w := newWorld(t, 10, s)
			processes := w.startAll(3, sentinel.Addr())
			w.awaitRecovery(processes...)
			before := processes[0].epochs()
			traffic := w.traffic(seed(t), processes...)
			traffic.flow()
			cutOff()
			traffic.letRun(300 * time.Millisecond)
			w.until("the replica has fallen behind", func() bool {
				return primary.Info("master_repl_offset") != replica.Info("slave_repl_offset")
			})
			primary.Kill()
			sentinel.FailOver(masterSet)
			traffic.letRun(500 * time.Millisecond)
			// Empty, and a primary until the sentinel makes it a replica: nobody asks it.
			primary.Restart()
			newcomer := w.start(sentinel.Addr())
			traffic.join(newcomer)
			traffic.letRun(500 * time.Millisecond)
			traffic.stop()
			w.awaitRecovery(append(processes, newcomer)...)
			if after := processes[0].epochs(); after == before {
				t.Errorf("%d epochs, as before", after)
			}
		})
	}
}

// A replica is promoted while the primary lives on, and each has a process that talks to it.
// What was written through the one that was replaced everybody sees, once its process has
// come over: that one at any time, and others within the bound.
func TestSplitBrain(t *testing.T) {
	t.Parallel()
	const bound = 200 * time.Millisecond
	primary := redistest.Start(t)
	successor := redistest.Start(t)
	successor.Follow(primary.Addr())
	w := newWorld(t, 10, settings{Bound: bound, Timeout: longTimeout})
	here := redistest.StartProxy(t, primary.Addr())
	there := redistest.StartProxy(t, primary.Addr())
	writer, reader := w.start(here.Addr()), w.start(there.Addr())
	w.awaitRecovery(writer, reader)
	successor.CatchUp(primary)
	successor.Promote()
	moves := func(name *redistest.Proxy, p *process) {
		name.Retarget(successor.Addr())
		name.Cut()
		name.Heal()
		w.until("hits come in another epoch", func() bool {
			hit := p.read("Get", 3) == cacheruntime.Hit
			return p.epochs() > 1 && hit
		})
	}
	moves(there, reader)
	if writer.write("update", 3) || writer.epochs() > 1 {
		t.Fatal("too weak: the primary is not one any more")
	}
	var old ReadResult // which nobody judges
	if err := reader.call("Read", ReadCall{"Get", []int{3}}, &old); err != nil || old.Err != "" {
		t.Fatal(err, old.Err)
	}
	if old.Rows[0].Version == w.db.current(3)[0].Version {
		t.Fatal("too weak: both sides know of the write")
	}
	moves(here, writer)
	wait(bound)
	reader.read("Get", 3)
	w.awaitRecovery(writer, reader)
}

// Redis comes back with what it had before a write, by a restart or a failover, and no
// process is left that knows of the write: one that is started sees it all the same, as the
// entries that Redis has are of an epoch that has ended.
func TestRedisSetBackWithoutProcesses(t *testing.T) {
	for _, failover := range []bool{false, true} {
		t.Run(fmt.Sprint("failover ", failover), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			after := server
			w := newWorld(t, 10, settings{})
			p := w.start(server.Addr())
			w.awaitRecovery(p)
			for _, id := range w.db.ids() {
				p.read("Get", id)
			}
			// What there is now is what there will be.
			if failover {
				replication := redistest.StartProxy(t, server.Addr())
				after = redistest.Start(t)
				after.Follow(replication.Addr())
				after.CatchUp(server)
				replication.Block(redistest.Both)
			} else {
				server.Do("SAVE")
			}
			p.write("update", w.db.ids()...)
			p.kill()
			if failover {
				server.Kill()
				after.Promote()
			} else {
				server.Restart()
			}
			if n := after.Do("DBSIZE").(int64); n < 10 {
				t.Fatalf("too weak: there are %d keys", n)
			}
			newcomer := w.start(after.Addr())
			for _, id := range w.db.ids() {
				newcomer.read("Get", id)
			}
			w.awaitRecovery(newcomer)
		})
	}
}

// Redis is a cluster, whose node with the log is stopped (SIGSTOP) for a while, and whose
// nodes are then flushed: nothing stale is read, and entries are spread over the nodes.
func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	w := newWorld(t, 10, settings{Bound: 200 * time.Millisecond, Timeout: shortTimeout, Guard: time.Second, LosesData: true})
	processes := w.startAll(2, cluster.Addrs()...)
	w.awaitRecovery(processes...)
	owner := cluster.Owner(logKeys()[0])
	traffic := w.traffic(seed(t), processes...)
	traffic.flow()
	owner.Pause()
	traffic.letRun(500 * time.Millisecond)
	owner.Resume()
	traffic.flow()
	for _, node := range cluster.Nodes {
		node.Flush()
		traffic.letRun(100 * time.Millisecond)
	}
	traffic.stop()
	w.awaitRecovery(processes...)
	w.until("there are entries on all nodes", func() bool {
		for _, id := range w.db.ids() {
			processes[0].read("Get", id)
			processes[0].read("Page", id)
		}
		return !slices.ContainsFunc(cluster.Nodes, func(node *redistest.Server) bool {
			return len(node.Do("KEYS", namespace+":*").([]any)) == 0
		})
	})
	newcomer := w.start(cluster.Addrs()...)
	redistest.Until(t, "shared hits come", func() bool {
		processes[0].read("Brief", 3)
		return newcomer.read("Brief", 3) == cacheruntime.SharedHit
	})
}
