package cacheruntime

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

// codedError is an error as drivers of PostgreSQL return it.
type codedError string

func (e codedError) Error() string    { return "SQL state " + string(e) }
func (e codedError) SQLState() string { return string(e) }

// timeoutError is or is not one.
type timeoutError bool

func (e timeoutError) Error() string { return "it took long" }
func (e timeoutError) Timeout() bool { return bool(e) }

func TestAmbiguous(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("no"), false},
		{errNotFound, false},
		{sql.ErrTxDone, false},
		{sql.ErrNoRows, false},
		{context.Canceled, true},
		{context.DeadlineExceeded, true},
		{timeoutError(true), true},
		{timeoutError(false), false},
		{driver.ErrBadConn, true},
		{io.EOF, true},
		{io.ErrUnexpectedEOF, true},
		{io.ErrClosedPipe, true},
		{net.ErrClosed, true},
		{&net.OpError{Op: "read", Err: errors.New("?")}, true},
		{&net.OpError{Op: "write", Err: errors.New("?")}, true},
		{refused, false},
		{syscall.ECONNRESET, true},
		{syscall.ECONNABORTED, true},
		{os.NewSyscallError("write", syscall.EPIPE), true},
		{syscall.ETIMEDOUT, true},
		{syscall.ECONNREFUSED, false},
		{codedError("08006"), true},
		{codedError("40003"), true},
		{codedError("57P01"), true},
		{codedError("57P02"), true},
		{codedError("57P03"), true},
		{codedError("57P04"), false},
		{codedError("40001"), false},
		{codedError("23505"), false},
		{codedError(""), false},
		{errors.Join(sql.ErrTxDone, refused), false},
		// The harmless one of its kind comes first.
		{errors.Join(refused, &net.OpError{Op: "read", Err: errors.New("?")}), true},
		{errors.Join(codedError("23505"), fmt.Errorf("commit: %w", codedError("08006"))), true},
		{errors.Join(timeoutError(false), timeoutError(true)), true},
	} {
		for _, err := range []error{test.err, wrapped(test.err), errors.Join(errNotFound, wrapped(test.err))} {
			if got := Ambiguous(err); got != test.want {
				t.Errorf("%v (%T): %v", err, err, got)
			}
		}
	}
}

func wrapped(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("update: %w", err)
}

func TestAmbiguousHook(t *testing.T) {
	unknown := errors.New("unknown")
	r := newPosts(t, nil, WithAmbiguousWrites(0, func(err error) bool {
		if err == unknown {
			panic("hook")
		}
		return errors.Is(err, errNotFound)
	}))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		ctx  context.Context
		err  error
		want bool
	}{
		{t.Context(), nil, false},
		{ended, nil, false},
		{t.Context(), errNotFound, true},
		{t.Context(), driver.ErrBadConn, false}, // the function knows better
		{t.Context(), unknown, true},
		{ended, driver.ErrBadConn, true},
	} {
		if got := r.cache.inDoubt(test.ctx, test.err); got != test.want {
			t.Errorf("%v: %v", test.err, got)
		}
	}
}

func TestWriteOptions(t *testing.T) {
	for name, opt := range map[string]Option{
		"no lease":             WithGuardedWrites(0),
		"negative guard lease": WithGuardedWrites(-1),
		"negative lease":       WithAmbiguousWrites(-1, nil),
	} {
		if cache, err := New(opt); err == nil {
			cache.Close()
			t.Errorf("%s: no error", name)
		}
	}
}
