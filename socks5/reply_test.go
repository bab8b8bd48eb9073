package socks5

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestReplyCodes(t *testing.T) {
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	for _, test := range []struct {
		name string
		err  error
		want replyCode
	}{
		{"refused", dial(syscall.ECONNREFUSED), connectionRefused},
		{"no route to the network", dial(syscall.ENETUNREACH), networkUnreachable},
		{"no route to the host", dial(syscall.EHOSTUNREACH), hostUnreachable},
		{"unreachable, in words around it", fmt.Errorf("no node has the address: %w", syscall.ENETUNREACH), networkUnreachable},
		{"name not found", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}, hostUnreachable},
		{"resolver too slow", &net.DNSError{Err: "i/o timeout", IsTimeout: true}, ttlExpired},
		{"resolver broken", &net.DNSError{Err: "server misbehaving"}, generalFailure},
		{"timeout of TCP", dial(syscall.ETIMEDOUT), ttlExpired},
		{"timeout of ours", fmt.Errorf("dial: %w", context.DeadlineExceeded), ttlExpired},
		{"deadline of a connection", os.ErrDeadlineExceeded, ttlExpired},
		{"permission", dial(syscall.EACCES), notAllowed},
		{"not allowed", &refusal{errors.New("no")}, notAllowed},
		{"not allowed, for a reason of its own", &refusal{syscall.ECONNREFUSED}, notAllowed},
		{"command", fmt.Errorf("BIND: %w", errCommand), commandUnknown},
		{"address type", errAddressType, addressTypeUnknown},
		{"name that is none", errName, generalFailure},
		{"canceled", context.Canceled, generalFailure},
		{"anything else", io.ErrUnexpectedEOF, generalFailure},
	} {
		if got := codeOf(test.err); got != test.want {
			t.Errorf("%s: code %d, want %d", test.name, got, test.want)
		}
	}
}

func TestAddrPort(t *testing.T) {
	for _, test := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}, "10.0.0.1:80"},
		{&net.UDPAddr{IP: net.ParseIP("fd7a::1"), Port: 53}, "[fd7a::1]:53"},
		{textAddr("10.0.0.1:80"), "10.0.0.1:80"},
		{textAddr("pipe"), "invalid AddrPort"},
		{(*net.TCPAddr)(nil), "invalid AddrPort"},
		{nil, "invalid AddrPort"},
	} {
		if got := addrPort(test.addr); got.String() != test.want {
			t.Errorf("%T %v became %v", test.addr, test.addr, got)
		}
	}
}

type textAddr string

func (a textAddr) Network() string { return "test" }
func (a textAddr) String() string  { return string(a) }
