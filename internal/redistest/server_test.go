package redistest

import (
	"bufio"
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestDo(t *testing.T) {
	t.Parallel()
	s := Start(t)
	for _, c := range []struct {
		args []string
		want any
	}{
		{[]string{"SET", "key", "a\r\n\x00b"}, "OK"},
		{[]string{"GET", "key"}, "a\r\n\x00b"},
		{[]string{"GET", "none"}, nil},
		{[]string{"STRLEN", "key"}, int64(5)},
		{[]string{"MGET", "key", "none"}, []any{"a\r\n\x00b", nil}},
		{[]string{"CONFIG", "GET", "save"}, []any{"save", ""}},
	} {
		if got := s.Do(c.args...); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %#v, want %#v", c.args, got, c.want)
		}
	}
	if reply, err := s.Try("INCR", "key"); err == nil || !strings.Contains(err.Error(), "not an integer") {
		t.Errorf("INCR: got %v, %v", reply, err)
	}
	s.Flush()
	if n := s.Do("DBSIZE"); n != int64(0) {
		t.Errorf("%v keys after Flush", n)
	}
	if got := s.Info("no such field"); got != "" {
		t.Errorf("a field that does not exist is %q", got)
	}
	failed := rehearse(t, func(tb testing.TB) {
		s := *s
		s.t = tb
		s.Do("NO SUCH COMMAND")
	})
	if !failed.failed || !strings.Contains(failed.said.String(), "unknown command") {
		t.Errorf("an error as a reply has not failed the test: %s", &failed.said)
	}
}

// A link is a plain connection, whose reads do not wait for long.
type link struct {
	t *testing.T
	net.Conn
	buffered *bufio.Reader
}

func dial(t *testing.T, addr string) *link {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &link{t, conn, bufio.NewReader(conn)}
}

func (l *link) say(text string) {
	l.t.Helper()
	if _, err := l.Write([]byte(text)); err != nil {
		l.t.Fatal(err)
	}
}

// hear reads a line.
func (l *link) hear(want string) {
	l.t.Helper()
	if err := l.SetReadDeadline(time.Now().Add(waitLimit)); err != nil {
		l.t.Fatal(err)
	}
	if got, err := l.buffered.ReadString('\n'); got != want || err != nil {
		l.t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// silent checks that nothing comes for a while, not even the end.
func (l *link) silent() {
	l.t.Helper()
	if err := l.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		l.t.Fatal(err)
	}
	if b, err := l.buffered.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		l.t.Fatalf("got %q, %v, want silence", b, err)
	}
}

// closed checks that the other side hangs up.
func (l *link) closed() {
	l.t.Helper()
	if err := l.SetReadDeadline(time.Now().Add(waitLimit)); err != nil {
		l.t.Fatal(err)
	}
	if b, err := l.buffered.Peek(1); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		l.t.Fatalf("got %q, %v, want the end", b, err)
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	s := Start(t)
	before := dial(t, s.Addr())
	before.say("PING\r\n")
	before.hear("+PONG\r\n")

	s.Pause()
	before.say("PING\r\n")
	before.silent()
	during := dial(t, s.Addr())
	during.say("PING\r\n")
	during.silent()

	s.Resume()
	before.hear("+PONG\r\n")
	during.hear("+PONG\r\n")
}

func TestKill(t *testing.T) {
	t.Parallel()
	s := Start(t)
	conn := dial(t, s.Addr())
	s.Pause()
	s.Kill()
	conn.closed()
	if pong, err := s.Try("PING"); err == nil {
		t.Errorf("a server that was killed answers %v", pong)
	}
	s.Kill() // does nothing
}

func TestRestart(t *testing.T) {
	for _, c := range []struct {
		name    string
		args    []string
		save    bool
		restart func(*Server)
		want    any
	}{
		{"nothing persisted", nil, false, (*Server).Restart, nil},
		{"saved", nil, true, (*Server).Restart, "value"},
		{"logged", []string{"--appendonly", "yes", "--appendfsync", "always"}, false, (*Server).Restart, "value"},
		{"saved and lost", nil, true, (*Server).RestartEmpty, nil},
		{"logged and lost", []string{"--appendonly", "yes", "--appendfsync", "always"}, false, (*Server).RestartEmpty, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := Start(t, c.args...)
			addr, run := s.Addr(), s.Info("run_id")
			s.Do("SET", "key", "value")
			if c.save {
				s.Do("SAVE")
			}
			c.restart(s)
			if s.Addr() != addr {
				t.Errorf("the address was %s and is %s", addr, s.Addr())
			}
			if got := s.Info("run_id"); run == "" || got == run {
				t.Errorf("the run was %q and is %q", run, got)
			}
			if got := s.Do("GET", "key"); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestEnd(t *testing.T) {
	t.Parallel()
	var addrs []string
	t.Run("servers", func(t *testing.T) {
		running, paused, dead := Start(t), Start(t), Start(t)
		paused.Pause()
		dead.Kill()
		addrs = append(addrs, running.Addr(), paused.Addr(), dead.Addr())
	})
	for _, addr := range addrs {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			t.Errorf("%s is still there after the test", addr)
		}
	}
}

func TestLogOfFailure(t *testing.T) {
	t.Parallel()
	r := rehearse(t, func(tb testing.TB) {
		Start(tb)
		tb.Errorf("a failure")
	})
	if r.skipped {
		cannotRun(t, r.said.String())
	}
	if !strings.Contains(r.said.String(), "Ready to accept connections") {
		t.Errorf("the server's log is not shown: %s", &r.said)
	}
}

func TestBadArgument(t *testing.T) {
	t.Parallel()
	r := rehearse(t, func(tb testing.TB) { Start(tb, "--no-such-option", "1") })
	if r.skipped {
		cannotRun(t, r.said.String())
	}
	if !r.failed || !strings.Contains(r.said.String(), "no-such-option") {
		t.Errorf("failed: %t: %s", r.failed, &r.said)
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	// Who listens even answers, but is another process.
	other := Start(t)
	proxy := &Proxy{t: t, target: other.Addr(), port: port, changed: make(chan struct{})}
	if err := proxy.listen(); err != nil {
		t.Fatal(err)
	}
	defer proxy.Cut()
	s := &Server{t: t, path: other.path, dir: t.TempDir(), port: port}
	if err := s.start(); !errors.Is(err, errTaken) {
		t.Errorf("got %v, want %v", err, errTaken)
	}
}

func TestNoServer(t *testing.T) {
	for _, c := range []struct {
		name, binary, must string
		fails              bool
	}{
		{"skip", "", "", false},
		{"skip for one that is not there", "no-such-server", "", false},
		{"fail", "", "required", true},
		{"fail for one that is not there", "no-such-server", "required", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("PATH", t.TempDir())
			t.Setenv(binary, c.binary)
			t.Setenv(mustHave, c.must)
			r := rehearse(t, func(tb testing.TB) { Start(tb) })
			if r.failed != c.fails || r.skipped == c.fails {
				t.Errorf("failed: %t, skipped: %t", r.failed, r.skipped)
			}
			want := "install redis-server"
			if c.binary != "" {
				want = c.binary
			}
			if !strings.Contains(r.said.String(), want) {
				t.Errorf("said %q, without %q", &r.said, want)
			}
		})
	}
}

func TestNamedServer(t *testing.T) {
	path := Start(t).path
	named := filepath.Join(t.TempDir(), "some-server")
	if err := os.Symlink(path, named); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	t.Setenv(binary, named)
	if got := Start(t).path; got != named {
		t.Errorf("started %s, want %s", got, named)
	}
}

// Valkey does where there is no Redis, and one that is named instead of either.
func TestFind(t *testing.T) {
	t.Setenv(binary, "")
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	put := func(name string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	check := func(want string) {
		t.Helper()
		if got, err := find(); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	check(put("valkey-server"))
	check(put("redis-server"))
	named := put("another")
	t.Setenv(binary, named)
	check(named)
}

// deserter starts a server and leaves it to itself.
func deserter(io *ChildIO) {
	s := Start(orphan{dir: io.Args[0]})
	io.Send("%s", s.Addr())
	for range io.Lines() {
	}
}

func TestServersEndWithTheTestBinary(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		cannotRun(t, "only Linux ends a process with its parent")
	}
	Start(t) // which ends the test if there is no server
	child := Child(t, "deserter", t.TempDir())
	addr := child.Receive()
	dial(t, addr)
	child.Kill()
	Until(t, "the server has ended", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return true
		}
		conn.Close()
		return false
	})
}
