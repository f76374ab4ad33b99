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

// Owner returns the node that has a key.
func (c *Cluster) Owner(key string) *Server {
	n := len(c.Nodes)
	node := c.Nodes[0]
	node.t.Helper()
	slot, ok := node.Do("CLUSTER", "KEYSLOT", key).(int64)
	if !ok {
		node.t.Fatalf("%s: the slot of %q is not a number", node.Addr(), key)
	}
	for i := range n {
		if int(slot) < first(i+1, n) {
			return c.Nodes[i]
		}
	}
	panic("unreachable: the last node ends with the last slot")
}
