package redis

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A server is a redis-server of a test.
type server struct {
	t       testing.TB
	port    int
	args    []string
	process *exec.Cmd
	log     *bytes.Buffer
	exited  chan struct{}
}

// startServer starts a server on a free port of the loopback interface, without
// persistence unless args say otherwise, and stops it when the test ends.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("there is no redis-server")
	}
	port := freePort(t)
	s := &server{t: t, port: port, args: append([]string{path,
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir(), "--enable-debug-command", "yes",
	}, args...)}
	s.start()
	t.Cleanup(s.stop)
	return s
}

// freePort returns a port that nothing listens on.
func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func (s *server) start() {
	s.t.Helper()
	s.log = new(bytes.Buffer)
	s.process = exec.Command(s.args[0], s.args[1:]...)
	s.process.Stdout, s.process.Stderr = s.log, s.log
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.exited = make(chan struct{})
	go func(process *exec.Cmd, exited chan struct{}) {
		process.Wait()
		close(exited)
	}(s.process, s.exited)
	eventually(s.t, "a server that answers", func() bool {
		client, err := s.dial()
		if err != nil {
			return false
		}
		defer client.Close()
		return client.Do(context.Background(), client.B().Ping().Build()).Error() == nil
	})
}

func (s *server) stop() {
	s.process.Process.Kill() // also one that is stopped
	<-s.exited
}

// pause stops the server in the middle of whatever it does, until resume.
func (s *server) pause()  { s.signal(syscall.SIGSTOP) }
func (s *server) resume() { s.signal(syscall.SIGCONT) }

func (s *server) signal(signal os.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

func (s *server) dial() (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.addr()}, DisableCache: true, ForceSingleClient: true, PipelineMultiplex: -1})
}

// do runs a command, which must succeed.
func (s *server) do(args ...string) rueidis.RedisResult {
	s.t.Helper()
	client, err := s.dial()
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.log)
	}
	defer client.Close()
	result := client.Do(context.Background(), client.B().Arbitrary(args[0]).Args(args[1:]...).Build())
	if err := result.Error(); err != nil && !rueidis.IsRedisNil(err) {
		s.t.Fatalf("%.200q: %v", args, err)
	}
	return result
}

func (s *server) text(args ...string) string {
	s.t.Helper()
	result := s.do(args...)
	if text, err := result.ToString(); err == nil {
		return text
	}
	message, _ := result.ToMessage()
	return message.String()
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still waiting for %s", what)
		}
	}
}

// open opens a tier on a server. Timeouts are long, so that a busy machine does not
// matter.
func open(t testing.TB, s *server, change ...func(*Options)) *Tier {
	t.Helper()
	options := Options{InitAddress: []string{s.addr()}, Namespace: "test", Timeout: 10 * time.Second, LogTimeout: 10 * time.Second}
	for _, c := range change {
		c(&options)
	}
	tier, err := Open(t.Context(), options)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
	t.Cleanup(func() {
		if err := tier.Close(); err != nil {
			t.Error(err)
		}
	})
	return tier
}

// keys returns all keys of a server with what they hold.
func (s *server) keys() map[string]string {
	s.t.Helper()
	names, err := s.do("KEYS", "*").AsStrSlice()
	if err != nil {
		s.t.Fatal(err)
	}
	all := make(map[string]string)
	for _, name := range names {
		all[name] = s.text("DUMP", name)
	}
	return all
}

// startCluster starts a cluster of three servers.
func startCluster(t testing.TB) []*server {
	t.Helper()
	var nodes []*server
	for range 3 {
		nodes = append(nodes, startServer(t, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(freePort(t))))
	}
	for i, node := range nodes {
		first, last := i*16384/3, (i+1)*16384/3-1
		node.do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last))
		node.do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
	}
	for _, node := range nodes[1:] {
		bus := node.args[slices.Index(node.args, "--cluster-port")+1]
		nodes[0].do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(node.port), bus)
	}
	for _, node := range nodes {
		eventually(t, "a cluster", func() bool {
			info := node.text("CLUSTER", "INFO")
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	return nodes
}
