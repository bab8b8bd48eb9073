package socks5

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
)

// A replyCode is the REP field of a reply (RFC 1928, section 6).
type replyCode byte

const (
	succeeded          replyCode = 0
	generalFailure     replyCode = 1
	notAllowed         replyCode = 2
	networkUnreachable replyCode = 3
	hostUnreachable    replyCode = 4
	connectionRefused  replyCode = 5
	ttlExpired         replyCode = 6 // what servers say for timeouts
	commandUnknown     replyCode = 7
	addressTypeUnknown replyCode = 8
)

// appendReply appends a reply:
//
//	+----+-----+-------+------+----------+----------+
//	|VER | REP |  RSV  | ATYP | BND.ADDR | BND.PORT |
//	+----+-----+-------+------+----------+----------+
//	| 1  |  1  | X'00' |  1   | Variable |    2     |
//	+----+-----+-------+------+----------+----------+
func appendReply(b []byte, code replyCode, bound netip.AddrPort) []byte {
	return appendAddress(append(b, version, byte(code), 0), bound)
}

// errCommand is what becomes of a command that is unknown or has no hook.
var errCommand = errors.New("command is not served")

// A refusal is an error of [Server.Allow].
type refusal struct{ err error }

func (r *refusal) Error() string { return fmt.Sprintf("not allowed: %v", r.err) }
func (r *refusal) Unwrap() error { return r.err }

// The errors of systems have their own numbers in Windows (WSAENETUNREACH and
// so on), which errors.Is does not take for those of package syscall.
var (
	networkErrors    = []error{syscall.ENETUNREACH, syscall.Errno(10051)}
	hostErrors       = []error{syscall.EHOSTUNREACH, syscall.Errno(10065)}
	refusedErrors    = []error{syscall.ECONNREFUSED, syscall.Errno(10061)}
	timeoutErrors    = []error{context.DeadlineExceeded, os.ErrDeadlineExceeded, syscall.ETIMEDOUT, syscall.Errno(10060)}
	permissionErrors = []error{os.ErrPermission, syscall.Errno(10013)}
)

// codeOf returns the code that tells a client of err.
func codeOf(err error) replyCode {
	is := func(targets []error) bool {
		return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
	}
	var refused *refusal
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &refused): // first: it may contain any of those below
		return notAllowed
	case errors.Is(err, errCommand):
		return commandUnknown
	case errors.Is(err, errAddressType):
		return addressTypeUnknown
	case is(refusedErrors):
		return connectionRefused
	case is(networkErrors):
		return networkUnreachable
	case is(hostErrors), errors.As(err, &dns) && dns.IsNotFound:
		return hostUnreachable
	case is(timeoutErrors), errors.As(err, &timeout) && timeout.Timeout():
		return ttlExpired
	case is(permissionErrors):
		return notAllowed
	}
	return generalFailure
}

// addrPort returns the IP address and port of a; invalid when it has none.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case nil:
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	default:
		ap, _ = netip.ParseAddrPort(a.String())
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
