package hostping

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// The types of ICMP messages (RFC 792, RFC 4443).
const (
	request4, reply4 = 8, 0
	request6, reply6 = 128, 129
)

// Ping sends an echo request to ip and returns nil when the reply has come.
// Requests are not repeated. Linux lets those do it without root whose group is
// in net.ipv4.ping_group_range; for others it is an error at once.
//
//	type │ code 0 │ checksum, 2 bytes │ identifier, 2 │ sequence, 2 │ data
//
// Checksum and identifier are the kernel's, which gives a socket the replies to
// its own requests only.
func Ping(ctx context.Context, ip netip.Addr) error {
	conn, err := dial(ip.Unmap())
	if err != nil {
		return fmt.Errorf("opening an ICMP socket: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	request, reply := byte(request4), byte(reply4)
	if !ip.Unmap().Is4() {
		request, reply = request6, reply6
	}
	message := append([]byte{request, 0, 0, 0, 0, 0, 0, 1}, rand.Text()...)
	if _, err := conn.Write(message); err != nil {
		return err
	}
	answer := make([]byte, len(message))
	for {
		n, err := conn.Read(answer)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		}
		if n == len(message) && answer[0] == reply && string(answer[8:]) == string(message[8:]) {
			return nil
		}
	}
}

// dial returns a connected ICMP socket.
func dial(ip netip.Addr) (net.Conn, error) {
	if !ip.IsValid() {
		return nil, errors.New("no address")
	}
	family, proto := syscall.AF_INET6, syscall.IPPROTO_ICMPV6
	var to syscall.Sockaddr = &syscall.SockaddrInet6{Addr: ip.As16()}
	if ip.Is4() {
		family, proto = syscall.AF_INET, syscall.IPPROTO_ICMP
		to = &syscall.SockaddrInet4{Addr: ip.As4()}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, proto)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "icmp")
	defer f.Close() // FileConn has a copy
	if err := syscall.Connect(fd, to); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	return net.FileConn(f)
}
