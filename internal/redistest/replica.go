package redistest

import (
	"net"
	"strconv"
	"testing"
)

// StartReplica starts a server that replicates another, and returns when it has all that
// the other has. It falls behind while it is paused. To cut it off from the other let it
// [Server.Follow] a [Proxy].
func StartReplica(t testing.TB, of *Server, args ...string) *Server {
	t.Helper()
	s := Start(t, args...)
	s.Follow(of.Addr())
	s.CatchUp(of)
	return s
}

// Follow makes the server a replica of that at addr, and returns when it has got the
// other's data in place of its own.
func (s *Server) Follow(addr string) {
	s.t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Do("REPLICAOF", host, port)
	Until(s.t, "the replica at "+s.Addr()+" follows "+addr, func() bool {
		return s.Info("master_link_status") == "up"
	})
}

// CatchUp waits until the server, a replica, has all that the other had when CatchUp was
// called.
func (s *Server) CatchUp(of *Server) {
	s.t.Helper()
	want := of.offset("master_repl_offset")
	Until(s.t, "the replica at "+s.Addr()+" has caught up", func() bool {
		return s.Info("master_link_status") == "up" && s.offset("slave_repl_offset") >= want
	})
}

func (s *Server) offset(name string) int64 {
	s.t.Helper()
	offset, err := strconv.ParseInt(s.Info(name), 10, 64)
	if err != nil {
		s.t.Fatalf("%s: %s: %v", s.Addr(), name, err)
	}
	return offset
}

// Promote makes a replica a primary, with what it has got so far.
func (s *Server) Promote() {
	s.t.Helper()
	s.Do("REPLICAOF", "NO", "ONE")
	if role := s.Info("role"); role != "master" {
		s.t.Fatalf("%s: the role is %q after the promotion", s.Addr(), role)
	}
}
