package redistest

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// StartSentinel starts a sentinel that watches a primary under a name, alone: its quorum is
// 1. It returns when it knows of that many replicas. A primary that does not answer for five
// seconds is taken to be down, and one of the replicas is promoted, which takes a second or
// two and ends its connections; see [Server.FailOver]. The old primary becomes a replica some
// time after it has come back.
//
// A sentinel tells clients the addresses of the servers themselves; see [StartCluster] for
// what that means with a [Proxy]. A replica may follow the primary through one for a minute.
func StartSentinel(t testing.TB, name string, primary *Server, replicas int) *Server {
	t.Helper()
	s := &Server{t: t, sentinel: true}
	s.launch()
	// It looks for replicas every second, and when its machine is busy it mistrusts itself for
	// no longer.
	s.Do("SENTINEL", "DEBUG", "info-period", "1000", "tilt-period", "1000")
	s.Do("SENTINEL", "MONITOR", name, "127.0.0.1", strconv.Itoa(primary.port), "1")
	s.Do("SENTINEL", "SET", name, "down-after-milliseconds", "5000",
		// That long it lets a replica follow another than the primary, as through a proxy.
		"failover-timeout", strconv.FormatInt(time.Minute.Milliseconds(), 10))
	Until(t, "the sentinel knows of all replicas", func() bool {
		known, _ := s.Do("SENTINEL", "REPLICAS", name).([]any)
		return len(known) == replicas && !slices.ContainsFunc(known, func(replica any) bool {
			list, _ := replica.([]any)
			return properties(list)["master-link-status"] != "ok" // else it would not promote it
		})
	})
	return s
}

// Primary returns the address of what a sentinel takes for the primary of that name. It
// changes when a failover has ended, of which clients have been told by then.
func (s *Server) Primary(name string) string {
	s.t.Helper()
	reply, _ := s.Do("SENTINEL", "MASTER", name).([]any)
	of := properties(reply)
	host, _ := of["ip"].(string)
	port, _ := of["port"].(string)
	return net.JoinHostPort(host, port)
}

// FailOver makes a sentinel promote a replica at once, whether the primary is down or not, and
// returns when it has told its clients.
func (s *Server) FailOver(name string) {
	s.t.Helper()
	before := s.Primary(name)
	Until(s.t, "the sentinel begins a failover", func() bool {
		_, err := s.Try("SENTINEL", "FAILOVER", name)
		return err == nil || strings.HasPrefix(err.Error(), "INPROG")
	})
	Until(s.t, "the sentinel has failed over", func() bool { return s.Primary(name) != before })
}

// properties returns a list of names and values in turn.
func properties(list []any) map[any]any {
	m := make(map[any]any)
	for pair := range slices.Chunk(list, 2) {
		m[pair[0]] = pair[len(pair)-1]
	}
	return m
}

// sentinelArgs returns the arguments of a sentinel. It keeps what it knows in a file, which
// has to be there.
func (s *Server) sentinelArgs(args []string) ([]string, error) {
	name := filepath.Join(s.dir, "sentinel.conf")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return slices.Concat([]string{name, "--sentinel"}, args), file.Close()
}
