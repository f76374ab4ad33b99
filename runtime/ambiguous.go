package cacheruntime

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
)

// Ambiguous reports whether an error of a write, or of the commit of a
// transaction, leaves open whether the database has made the change, or still
// will. It is what a cache uses without [WithAmbiguousWrites], and what a
// function given to that should call for errors it does not know:
//
//	cacheruntime.WithAmbiguousWrites(0, func(err error) bool {
//		return errors.Is(err, mysql.ErrInvalidConn) || cacheruntime.Ambiguous(err)
//	})
//
// These errors are ambiguous, wrapped or joined as well:
//
//   - context.Canceled, context.DeadlineExceeded, and whatever has a method
//     Timeout() bool that returns true;
//   - a connection that broke: driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF,
//     io.ErrClosedPipe, net.ErrClosed, a *net.OpError other than of dialling, and
//     the system's ECONNRESET, ECONNABORTED, EPIPE and ETIMEDOUT;
//   - an SQL state, as drivers of PostgreSQL report it by a method SQLState()
//     string, of class 08 (connection exception), 40003 (statement completion
//     unknown), or 57P01, 57P02 and 57P03 (the server is shutting down).
//
// Everything else is taken for a no of the database. So is sql.ErrTxDone, which says
// that the transaction had ended before. An error that is neither of the standard
// library nor has one of these methods cannot be told without importing its package:
// the "invalid connection" of the MySQL driver, hence the example above, and those of
// databases behind gRPC (codes.Unavailable, codes.DeadlineExceeded) or of MongoDB
// (mongo.IsNetworkError, mongo.IsTimeout).
func Ambiguous(err error) bool {
	if err == nil {
		return false
	}
	is := func(target error) bool { return errors.Is(err, target) }
	return slices.ContainsFunc(ambiguousErrors, is) || holdsInTree(err, isAmbiguous)
}

var ambiguousErrors = []error{
	context.Canceled, context.DeadlineExceeded,
	driver.ErrBadConn,
	io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed,
	syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
}

// isAmbiguous looks at one error, not at those it wraps.
func isAmbiguous(err error) bool {
	if op, ok := err.(*net.OpError); ok && op.Op != "dial" {
		return true
	}
	if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() {
		return true
	}
	if coded, ok := err.(interface{ SQLState() string }); ok {
		switch state := coded.SQLState(); state {
		case "40003", "57P01", "57P02", "57P03":
			return true
		default:
			return strings.HasPrefix(state, "08")
		}
	}
	return false
}

// holdsInTree reports whether a condition holds for an error or any that it
// wraps. errors.As would stop at the first of its type: that of a joined error
// may be the harmless one.
func holdsInTree(err error, condition func(error) bool) bool {
	if err == nil {
		return false
	}
	if condition(err) {
		return true
	}
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		return holdsInTree(err.Unwrap(), condition)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(err.Unwrap(), func(err error) bool { return holdsInTree(err, condition) })
	}
	return false
}

// isRefusal reports whether an error says that something was refused, and nothing else.
// What is joined with a refusal is of a call that was made.
func isRefusal(err error) bool {
	switch wrapper := err.(type) {
	case interface{ Unwrap() error }:
		return isRefusal(wrapper.Unwrap())
	case interface{ Unwrap() []error }:
		all := wrapper.Unwrap()
		if slices.Contains(all, ErrRefused) {
			return true // the rest is why
		}
		return len(all) > 0 && !slices.ContainsFunc(all, func(err error) bool { return !isRefusal(err) })
	}
	return err == ErrRefused
}

// inDoubt reports whether a write, or a commit, that returned the error may have
// made its change, or may still make it. The context is the one it was given:
// if that has ended the error may be of any kind, such as that of a driver which
// lost a connection by it. So may it if the function that judges errors panics.
func (c *Cache) inDoubt(ctx context.Context, err error) bool {
	if err == nil || isRefusal(err) {
		return false // it was not begun
	}
	if ctx.Err() != nil {
		return true
	}
	doubt := true
	completes(func() { doubt = c.ambiguous(err) })
	return doubt
}
