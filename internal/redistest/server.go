package redistest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

const (
	// mustHave, if set to "required", makes a missing server a failure.
	mustHave = "CACHEGEN_TEST_REDIS"
	// binary names the server to run.
	binary = "CACHEGEN_TEST_REDIS_SERVER"
)

// A Server is a Redis or Valkey server on the loopback interface.
type Server struct {
	t        testing.TB
	path     string
	dir      string
	port     int
	args     []string
	sentinel bool
	tls      *certificates // nil if it does not take TLS
	*process
}

// Start starts a server on a free port and returns when it answers. It persists nothing
// of its own accord and has an empty directory for its own. The arguments are put after
// Start's and win, as in
//
//	redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
//
// The default user must be left without a password, which [Server.Do] does not have;
// others can be added with ACL SETUSER.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, args: args}
	s.launch()
	return s
}

// cannotRun ends a test that cannot be run on this machine: where servers are required, as
// in CI, nothing is left out without notice.
func cannotRun(t testing.TB, why any) {
	t.Helper()
	if os.Getenv(mustHave) == "required" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// launch starts a server for the first time.
func (s *Server) launch() {
	t := s.t
	t.Helper()
	path, err := find()
	if err != nil {
		cannotRun(t, err)
	}
	s.path, s.dir = path, t.TempDir()
	t.Cleanup(s.end)
	// Another process may take the port between the choice and the start.
	for range 10 {
		if s.port, err = freePort(); err != nil {
			break
		}
		if err = s.start(); !errors.Is(err, errTaken) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// find returns the path of the server's binary.
func find() (string, error) {
	if name := os.Getenv(binary); name != "" {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("%s: %w", binary, err)
		}
		return path, nil
	}
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("neither redis-server nor valkey-server is in PATH: install redis-server, or name one by %s", binary)
}

// A cluster's nodes talk on the port that is 10000 above that of their clients. Both
// ranges are below the ports that systems give to connections: a server comes back on
// its own port, which no client must have got meanwhile.
const (
	lowestPort = 10000
	ports      = 10000
	busOffset  = 10000
)

// freePort returns a port that nobody listens on, nor on that of its cluster bus.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := lowestPort + rand.IntN(ports)
		if err = errors.Join(tryListen(port), tryListen(port+busOffset)); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port: %w", err)
}

func tryListen(port int) error {
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		return err
	}
	return l.Close()
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

var errTaken = errors.New("the port is taken")

// start starts the process and waits until it answers.
func (s *Server) start() error {
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	args := []string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--daemonize", "no"}
	if s.sentinel {
		if args, err = s.sentinelArgs(args); err != nil {
			return err
		}
	} else {
		args = append(args, "--save", "", "--appendonly", "no",
			"--repl-diskless-sync-delay", "0") // A replica need not wait for others to come.
	}
	if s.tls != nil {
		args = append(args, s.tls.args(s.tlsPort())...)
	}
	cmd := exec.Command(s.path, append(args, s.args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if s.process, err = start(cmd); err != nil {
		return err
	}

	deadline := time.NewTimer(waitLimit)
	defer deadline.Stop()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-s.over:
			text, err := os.ReadFile(s.log())
			if err != nil {
				return err
			}
			said := strings.TrimSpace(string(text[from:]))
			if strings.Contains(said, "Address already in use") {
				return fmt.Errorf("%w: %s", errTaken, s.Addr())
			}
			return fmt.Errorf("%s ended: %v\n%s", s.path, s.err, said)
		case <-deadline.C:
			return fmt.Errorf("%s has not answered within %v", s.path, waitLimit)
		case <-ticker.C:
			if s.answers() {
				return nil
			}
		}
	}
}

// answers reports whether this process, and no other that has got the same port, answers
// commands; it does not as long as it loads its data.
func (s *Server) answers() bool {
	if pong, err := s.Try("PING"); err != nil || pong != "PONG" {
		return false
	}
	info, err := s.Try("INFO", "server")
	text, ok := info.(string)
	return err == nil && ok && field(text, "process_id") == strconv.Itoa(s.cmd.Process.Pid)
}

// end is the test's clean-up.
func (s *Server) end() {
	if s.process == nil {
		return
	}
	s.kill()
	if s.t.Failed() {
		s.t.Logf("log of the server at %s:\n%s", s.Addr(), tail(s.log()))
	}
}

const logName = "server.log"

func (s *Server) log() string { return filepath.Join(s.dir, logName) }

// Addr returns the server's address, host and port. It stays the same.
func (s *Server) Addr() string { return address(s.port) }

// Pause stops the server (SIGSTOP) and returns when it has stopped. Connections can still
// be made, and stay; nothing is answered.
func (s *Server) Pause() {
	s.t.Helper()
	s.pause(s.t)
}

// Resume lets a server go on that was paused.
func (s *Server) Resume() {
	s.t.Helper()
	s.resume(s.t)
}

// Kill ends the server at once (SIGKILL), paused or not, and returns when it is gone.
func (s *Server) Kill() { s.kill() }

// Restart starts the server again on its port, with its arguments and what it has
// persisted: nothing, unless it was started with --appendonly yes or was told to SAVE.
// What was set by CONFIG SET or REPLICAOF is gone. A server that runs is killed first.
func (s *Server) Restart() {
	s.t.Helper()
	s.kill()
	// A connection of others may have the port for a moment.
	var err error
	Until(s.t, "the server's port is free again", func() bool {
		err = s.start()
		return !errors.Is(err, errTaken)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// RestartEmpty is [Server.Restart] without what was persisted. A node of a cluster still
// knows the others and its slots.
func (s *Server) RestartEmpty() {
	s.t.Helper()
	s.kill()
	files, err := os.ReadDir(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, file := range files {
		if name := file.Name(); name != logName && name != nodesName {
			if err := os.RemoveAll(filepath.Join(s.dir, name)); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	s.Restart()
}

// Flush removes everything from the server.
func (s *Server) Flush() {
	s.t.Helper()
	s.Do("FLUSHALL", "SYNC")
}

// Do runs a command on a connection of its own and returns its reply: a string, an int64,
// nil or an []any of those. The test fails if there is none or it is an error.
func (s *Server) Do(args ...string) any {
	s.t.Helper()
	reply, err := s.Try(args...)
	if err != nil {
		s.t.Fatalf("%s: %s: %v", s.Addr(), strings.Join(args, " "), err)
	}
	return reply
}

// Try is Do for commands that may fail. It can be called from any goroutine. It waits for
// a reply for five seconds.
func (s *Server) Try(args ...string) (any, error) {
	const timeout = 5 * time.Second
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:       []string{s.Addr()},
		Dialer:            net.Dialer{Timeout: timeout},
		ConnWriteTimeout:  timeout,
		ForceSingleClient: true,
		DisableCache:      true,
		DisableRetry:      true,
		AlwaysRESP2:       true, // few types of replies
	})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	reply, err := client.Do(ctx, client.B().Arbitrary(args...).Build()).ToAny()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	return reply, err
}

// Info returns a field of INFO, such as "run_id", or "" if there is none of that name.
func (s *Server) Info(name string) string {
	s.t.Helper()
	return field(s.text("INFO", "all"), name)
}

// text is Do for a reply that is a string.
func (s *Server) text(args ...string) string {
	s.t.Helper()
	reply := s.Do(args...)
	text, ok := reply.(string)
	if !ok {
		s.t.Fatalf("%s: %s: got %v, want a string", s.Addr(), strings.Join(args, " "), reply)
	}
	return text
}

// field returns the value of a line name:value.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
