package visit

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
)

var errDisconnected = errors.New("the network to Redis is down")

// A link is the network between a process and Redis, which the demo takes down. It can
// be used by several goroutines.
type link struct {
	mu    sync.Mutex
	down  bool
	conns map[net.Conn]struct{} // that are open
}

// A linkConn is a connection by way of a link.
type linkConn struct {
	net.Conn
	link *link
}

func (c linkConn) Close() error {
	c.link.mu.Lock()
	delete(c.link.conns, c.Conn)
	c.link.mu.Unlock()
	return c.Conn.Close()
}

// dial connects, unless the link is down. It is what the Redis client calls.
func (l *link) dial(ctx context.Context, address string, dialer *net.Dialer, _ *tls.Config) (net.Conn, error) {
	l.mu.Lock()
	down := l.down
	l.mu.Unlock()
	if down {
		return nil, errDisconnected
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errors.Join(errDisconnected, conn.Close())
	}
	if l.conns == nil {
		l.conns = map[net.Conn]struct{}{}
	}
	l.conns[conn] = struct{}{}
	return linkConn{conn, l}, nil
}

// disconnect takes the link down, and breaks all connections.
func (l *link) disconnect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for conn := range l.conns {
		conn.Close()
	}
	clear(l.conns)
}

// reconnect lets connections be made again.
func (l *link) reconnect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}
