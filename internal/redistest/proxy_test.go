package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

// A backend is a server whose side of each connection the test plays.
type backend struct {
	t        *testing.T
	listener net.Listener
}

func startBackend(t *testing.T) *backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &backend{t, l}
}

func (b *backend) addr() string { return b.listener.Addr().String() }

// connect makes a connection through a proxy and returns both ends.
func (b *backend) connect(p *Proxy) (client, server *link) {
	b.t.Helper()
	client = dial(b.t, p.Addr())
	conn, err := b.listener.Accept()
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	return client, &link{b.t, conn, bufio.NewReader(conn)}
}

// works checks that bytes go both ways.
func works(client, server *link) {
	client.t.Helper()
	client.say("ping\n")
	server.hear("ping\n")
	server.say("pong\n")
	client.hear("pong\n")
}

// ends orders the ends of a connection: who says what goes in a direction, and who hears it.
func ends(d Direction, client, server *link) (from, to *link) {
	if d == ToServer {
		return client, server
	}
	return server, client
}

func eachDirection(t *testing.T, test func(*testing.T, Direction)) {
	t.Parallel()
	t.Run("to the server", func(t *testing.T) { test(t, ToServer) })
	t.Run("to the client", func(t *testing.T) { test(t, ToClient) })
}

func TestProxyPasses(t *testing.T) {
	b := startBackend(t)
	p := StartProxy(t, b.addr())
	one, otherOne := b.connect(p)
	two, otherTwo := b.connect(p)
	works(one, otherOne)
	works(two, otherTwo)

	// One half of a connection ends, and then the other.
	if err := one.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	otherOne.closed()
	otherOne.say("still here\n")
	one.hear("still here\n")
	otherOne.Close()
	one.closed()
	works(two, otherTwo)
}

func TestProxyBlock(t *testing.T) {
	eachDirection(t, func(t *testing.T, d Direction) {
		b := startBackend(t)
		p := StartProxy(t, b.addr())
		client, server := b.connect(p)
		works(client, server)
		p.Block(d)
		newClient, newServer := b.connect(p)
		from, to := ends(d, client, server)
		newFrom, newTo := ends(d, newClient, newServer)

		from.say("one\n")
		from.say("two\n")
		to.silent()
		newFrom.say("three\n")
		newFrom.Close()
		newTo.silent() // neither the line nor the end
		to.say("the other way\n")
		from.hear("the other way\n")

		p.Heal()
		to.hear("one\n")
		to.hear("two\n")
		newTo.hear("three\n")
		newTo.closed()
		works(client, server)
	})
}

func TestProxyDelay(t *testing.T) {
	eachDirection(t, func(t *testing.T, d Direction) {
		b := startBackend(t)
		p := StartProxy(t, b.addr())
		client, server := b.connect(p)
		from, to := ends(d, client, server)
		const delay, lines = 500 * time.Millisecond, 50 // 25 s if they added up
		p.Delay(d, delay)

		start := time.Now()
		for i := range lines {
			from.say(fmt.Sprintf("%d\n", i))
			// The other direction is not delayed. It also keeps the lines apart.
			to.say("ack\n")
			from.hear("ack\n")
		}
		for i := range lines {
			to.hear(fmt.Sprintf("%d\n", i))
			if i == 0 && time.Since(start) < delay {
				t.Errorf("a line that is delayed by %v has taken %v", delay, time.Since(start))
			}
		}
		// Delays do not add up.
		if took := time.Since(start); took > lines*delay/2 {
			t.Errorf("%d lines that are delayed by %v have taken %v", lines, delay, took)
		}

		p.Delay(d, time.Hour)
		from.say("late\n")
		to.silent()
		p.Heal()
		to.hear("late\n")
	})
}

func TestProxyDrop(t *testing.T) {
	eachDirection(t, func(t *testing.T, d Direction) {
		b := startBackend(t)
		p := StartProxy(t, b.addr())
		client, server := b.connect(p)
		quietClient, quietServer := b.connect(p)
		works(client, server)
		from, to := ends(d, client, server)

		p.Drop(d)
		from.say("lost\n")
		to.silent()
		to.say("the other way\n")
		from.hear("the other way\n")

		p.Heal()
		// A connection cannot go on after a part is missing.
		from.say("more\n")
		to.silent()
		to.say("the other way\n")
		from.hear("the other way\n")
		from.Close()
		to.silent()
		// This one has lost nothing.
		works(quietClient, quietServer)
		works(b.connect(p))
	})
}

func TestProxyDropsWhatIsHeldBack(t *testing.T) {
	t.Parallel()
	b := startBackend(t)
	p := StartProxy(t, b.addr())
	client, server := b.connect(p)
	p.Block(Both)
	client.say("lost\n")
	server.say("lost\n")
	p.Drop(Both)
	client.silent()
	server.silent()
	p.Heal()
	client.silent()
	server.silent()
}

func TestProxyCut(t *testing.T) {
	b := startBackend(t)
	p := StartProxy(t, b.addr())
	addr := p.Addr()
	client, server := b.connect(p)
	p.Block(Both)
	client.say("held back\n")

	p.Cut()
	client.closed()
	server.closed()
	if conn, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a connection to a proxy that is cut: %v, %v", conn, err)
	}
	p.Cut() // does nothing

	p.Heal()
	if p.Addr() != addr {
		t.Errorf("the address was %s and is %s", addr, p.Addr())
	}
	works(b.connect(p))
	p.Heal() // does nothing
	works(b.connect(p))
}

func TestProxyWithoutServer(t *testing.T) {
	b := startBackend(t)
	p := StartProxy(t, b.addr())
	b.listener.Close()
	// The reset may come before the connection is known to be made.
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
		return
	}
	defer conn.Close()
	(&link{t, conn, bufio.NewReader(conn)}).closed()
}

// The reply of a command that was carried out is lost.
func TestProxyBeforeRedis(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := StartProxy(t, s.Addr())
	client := dial(t, p.Addr())
	client.say("INCR key\r\n")
	client.hear(":1\r\n")
	p.Drop(ToClient)
	client.say("INCR key\r\n")
	Until(t, "the command has arrived", func() bool { return s.Do("GET", "key") == "2" })
	client.silent()
}

func TestProxyRetarget(t *testing.T) {
	before, after := startBackend(t), startBackend(t)
	p := StartProxy(t, before.addr())
	client, server := before.connect(p)
	p.Retarget(after.addr())
	works(client, server) // It stays.
	works(after.connect(p))
}
