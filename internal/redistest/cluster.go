package redistest

import (
	"strconv"
	"testing"
)

const (
	slots     = 16384
	nodesName = "nodes.conf"
)

// A Cluster has primaries only. The first has the first slots, and so on.
type Cluster struct {
	Nodes []*Server
}

// StartCluster starts a cluster of n nodes, three at least, and returns when all of them
// say that it is up, which takes over two seconds: no node that has just started believes
// that any sooner. The arguments are for every node. It takes Redis 7 or Valkey.
//
// Nodes send clients to each other's own addresses: for a client to go through proxies
// its dialer must replace them.
func StartCluster(t testing.TB, n int, args ...string) *Cluster {
	t.Helper()
	c := new(Cluster)
	for range n {
		c.Nodes = append(c.Nodes, Start(t, append([]string{"--cluster-enabled", "yes", "--cluster-config-file", nodesName}, args...)...))
	}
	for i, node := range c.Nodes {
		node.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		node.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first(i, n)), strconv.Itoa(first(i+1, n)-1))
		if i > 0 {
			node.Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(c.Nodes[0].port))
		}
	}
	for _, node := range c.Nodes {
		Until(t, "the cluster is up for the node at "+node.Addr(), func() bool {
			info := node.text("CLUSTER", "INFO")
			return field(info, "cluster_state") == "ok" &&
				field(info, "cluster_slots_ok") == strconv.Itoa(slots) &&
				field(info, "cluster_size") == strconv.Itoa(n) &&
				field(info, "cluster_known_nodes") == strconv.Itoa(n)
		})
	}
	return c
}

// first is the first slot of node i of n.
func first(i, n int) int { return i * slots / n }

// Addrs returns the addresses of all nodes.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, node := range c.Nodes {
		addrs = append(addrs, node.Addr())
	}
	return addrs
}

// Owner returns the node that has a key, unless its slot has been moved.
func (c *Cluster) Owner(key string) *Server {
	c.Nodes[0].t.Helper()
	n, slot := len(c.Nodes), c.slot(key)
	for i := range n {
		if int(slot) < first(i+1, n) {
			return c.Nodes[i]
		}
	}
	panic("unreachable: the last node ends with the last slot")
}

func (c *Cluster) slot(key string) int64 {
	node := c.Nodes[0]
	node.t.Helper()
	slot, ok := node.Do("CLUSTER", "KEYSLOT", key).(int64)
	if !ok {
		node.t.Fatalf("%s: the slot of %q is not a number", node.Addr(), key)
	}
	return slot
}

// Move moves keys, all there are in their slot, from their owner to another node, and after
// that the slot itself. In between, when the owner sends clients there for each of the keys
// (ASK), it calls a function.
func (c *Cluster) Move(to *Server, between func(), keys ...string) {
	to.t.Helper()
	from, slot := c.Owner(keys[0]), strconv.FormatInt(c.slot(keys[0]), 10)
	id := func(s *Server) string { return s.text("CLUSTER", "MYID") }
	to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", id(from))
	from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", id(to))
	const timeout = "10000" // milliseconds
	from.Do(append([]string{"MIGRATE", "127.0.0.1", strconv.Itoa(to.port), "", "0", timeout, "KEYS"}, keys...)...)
	between()
	for _, node := range []*Server{to, from} {
		node.Do("CLUSTER", "SETSLOT", slot, "NODE", id(to))
	}
}
