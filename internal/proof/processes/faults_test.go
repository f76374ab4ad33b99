package processes

import (
	"fmt"
	"testing"
	"time"

	"github.com/cachegen/cachegen/internal/redistest"
	cacheruntime "github.com/cachegen/cachegen/runtime"
)

// logKeys are those of the log.
func logKeys() []string {
	return []string{"{" + namespace + "}:log", "{" + namespace + "}:table", "{" + namespace + "}:marks"}
}

// Whatever becomes of what Redis has, nothing stale is read, and it all comes back.
func TestLostState(t *testing.T) {
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
			passes(300 * time.Millisecond) // in which it goes on
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
			s := settings{Bound: 200 * time.Millisecond, Timeout: timeout, Forgetful: true}
			if i%2 == 0 || fault.name == "marks deleted" {
				s.Bound, s.Guard = 0, time.Second
			}
			w := newWorld(t, 10, s)
			processes := w.startAll(2, server.Addr())
			w.works(processes...)
			before := processes[0].epochs()
			traffic := w.traffic(seed(t), processes...)
			passes(200 * time.Millisecond)
			fault.do(t, server)
			passes(500 * time.Millisecond)
			traffic.stop()
			w.works(processes...)
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

// Whatever happens on the way between a process and Redis, nothing stale is read, and
// it all comes back.
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
			s := settings{Bound: 200 * time.Millisecond, Timeout: timeout}
			if i%2 == 0 {
				s.Bound, s.Guard = 0, time.Second
			}
			w := newWorld(t, 10, s)
			processes := []*process{w.start(server.Addr()), w.start(proxy.Addr())}
			w.works(processes...)
			traffic := w.traffic(seed(t), processes...)
			passes(200 * time.Millisecond)
			fault.do(proxy)
			passes(500 * time.Millisecond)
			proxy.Heal()
			passes(200 * time.Millisecond)
			traffic.stop()
			w.works(processes...)
		})
	}
}

// A process that has fallen behind what the log keeps reads the table again.
func TestTrimmed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, 10, settings{Bound: 300 * time.Millisecond, LogLength: 100})
	writer, slow := w.start(server.Addr()), w.start(server.Addr())
	w.works(writer, slow)
	for _, id := range w.db.ids() {
		slow.read("Get", id)
	}
	before, err := slow.stats()
	if err != nil {
		t.Fatal(err)
	}
	slow.Stop()
	writer.write("update", 1)
	for range 500 {
		writer.write("update", 2)
	}
	if n := server.Do("XLEN", logKeys()[0]).(int64); n > 400 {
		t.Fatalf("too weak: the log has %d records", n)
	}
	slow.Cont()
	passes(300 * time.Millisecond)
	for _, id := range w.db.ids() {
		slow.read("Get", id)
	}
	w.works(writer, slow)
	after, err := slow.stats()
	if err != nil {
		t.Fatal(err)
	}
	if after.Shared.Epochs == before.Shared.Epochs {
		t.Errorf("%d epochs, as before", after.Shared.Epochs)
	}
}

// A replica that has fallen behind becomes the primary: positions mean something else
// from then on.
func TestFailover(t *testing.T) {
	for _, guard := range []time.Duration{0, time.Second} {
		t.Run(fmt.Sprint("guard ", guard), func(t *testing.T) {
			t.Parallel()
			primary := redistest.Start(t)
			replication := redistest.StartProxy(t, primary.Addr())
			replica := redistest.Start(t)
			replica.Follow(replication.Addr())
			name := redistest.StartProxy(t, primary.Addr())
			s := settings{Bound: 200 * time.Millisecond, Timeout: timeout, Guard: guard, Forgetful: true}
			if guard > 0 {
				s.Bound = 0
			}
			w := newWorld(t, 10, s)
			processes := w.startAll(3, name.Addr())
			w.works(processes...)
			before := processes[0].epochs()
			traffic := w.traffic(seed(t), processes...)
			passes(200 * time.Millisecond)
			replica.CatchUp(primary)
			replication.Block(redistest.Both)
			passes(300 * time.Millisecond)
			w.until("the replica has fallen behind", func() bool {
				return primary.Info("master_repl_offset") != replica.Info("slave_repl_offset")
			})
			primary.Kill()
			replica.Promote()
			name.Retarget(replica.Addr())
			passes(500 * time.Millisecond)
			traffic.stop()
			w.works(processes...)
			if after := processes[0].epochs(); after == before {
				t.Errorf("%d epochs, as before", after)
			}
		})
	}
}

// If Redis is as it had been, and no process lives that could know, what was written since
// is not forgotten either: entries and log are of an epoch that has ended.
func TestNobodyRemembers(t *testing.T) {
	for _, failover := range []bool{false, true} {
		t.Run(fmt.Sprint("failover ", failover), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			after := server
			w := newWorld(t, 10, settings{})
			p := w.start(server.Addr())
			w.works(p)
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
			w.works(newcomer)
		})
	}
}

// A cluster is as good as a server, and if the node with the log fails it is the same.
func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	w := newWorld(t, 10, settings{Bound: 200 * time.Millisecond, Timeout: timeout, Guard: time.Second, Forgetful: true})
	processes := w.startAll(2, cluster.Addrs()...)
	w.works(processes...)
	owner := cluster.Owner(logKeys()[0])
	traffic := w.traffic(seed(t), processes...)
	passes(500 * time.Millisecond)
	owner.Pause()
	passes(500 * time.Millisecond)
	owner.Resume()
	passes(200 * time.Millisecond)
	for _, node := range cluster.Nodes {
		node.Flush()
		passes(100 * time.Millisecond)
	}
	traffic.stop()
	w.works(processes...)
	used := 0
	for _, node := range cluster.Nodes {
		if node.Do("DBSIZE").(int64) > 0 {
			used++
		}
	}
	if used < 2 {
		t.Errorf("entries are on %d nodes", used)
	}
	newcomer := w.start(cluster.Addrs()...)
	redistest.Until(t, "shared hits come", func() bool {
		processes[0].read("Brief", 3)
		return newcomer.read("Brief", 3) == cacheruntime.SharedHit
	})
}
