package redistest

import (
	"testing"
	"time"
)

func TestReplica(t *testing.T) {
	t.Parallel()
	primary := Start(t)
	primary.Do("SET", "key", "before")
	replica := StartReplica(t, primary)
	check := func(s *Server, want any) {
		t.Helper()
		if got := s.Do("GET", "key"); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	check(replica, "before")
	if reply, err := replica.Try("SET", "key", "own"); err == nil {
		t.Errorf("a write on the replica: %v", reply)
	}

	replica.Pause()
	primary.Do("SET", "key", "meanwhile")
	replica.Resume()
	replica.CatchUp(primary)
	check(replica, "meanwhile")

	primary.Kill()
	replica.Promote()
	check(replica, "meanwhile")
	replica.Do("SET", "key", "own")

	// The old primary comes back, empty, and follows the new one.
	primary.Restart()
	check(primary, nil)
	primary.Follow(replica.Addr())
	primary.CatchUp(replica)
	check(primary, "own")
}

func TestReplicaBehind(t *testing.T) {
	t.Parallel()
	primary := Start(t)
	proxy := StartProxy(t, primary.Addr())
	replica := Start(t)
	replica.Follow(proxy.Addr())
	proxy.Delay(ToClient, 200*time.Millisecond)
	primary.Do("SET", "key", "seen")
	replica.CatchUp(primary)
	if got := replica.Do("GET", "key"); got != "seen" {
		t.Errorf("got %v from a replica that has caught up", got)
	}

	proxy.Block(ToClient)
	primary.Do("SET", "key", "not seen")
	replica.Promote()
	if got := replica.Do("GET", "key"); got != "seen" {
		t.Errorf("got %v, want what was replicated before", got)
	}
}
