package redistest

import (
	"strings"
	"testing"
)

func TestCluster(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, 3)
	seen := make(map[*Server]bool)
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "{a}1", "{a}2"} {
		owner := c.Owner(key)
		seen[owner] = true
		for _, node := range c.Nodes {
			_, err := node.Try("SET", key, "value")
			if node == owner && err != nil {
				t.Errorf("the owner of %q: %v", key, err)
			}
			if node != owner && (err == nil || !strings.Contains(err.Error(), "MOVED")) {
				t.Errorf("another than the owner of %q: got %v", key, err)
			}
		}
	}
	if len(seen) != 3 || c.Owner("{a}1") != c.Owner("{a}2") {
		t.Errorf("the keys are on %d nodes of 3", len(seen))
	}
	if got := c.Addrs(); len(got) != 3 || got[1] != c.Nodes[1].Addr() {
		t.Errorf("addresses %q", got)
	}

	from, to := c.Owner("{a}1"), c.Owner("b")
	if from == to {
		to = c.Owner("c")
	}
	c.Move(to, func() {
		if _, err := from.Try("GET", "{a}1"); err == nil || !strings.Contains(err.Error(), "ASK") {
			t.Errorf("a node whose key has been moved: %v", err)
		}
	}, "{a}1", "{a}2", "a")
	if got := to.Do("GET", "{a}2"); got != "value" {
		t.Errorf("the node that a key was moved to has %v", got)
	}

	node := c.Owner("b")
	node.RestartEmpty()
	Until(t, "the node is back in the cluster", func() bool {
		reply, err := node.Try("GET", "b")
		if err == nil && reply != nil {
			t.Fatalf("it still has %v", reply)
		}
		return err == nil
	})
}
