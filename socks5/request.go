package socks5

import (
	"fmt"
	"net"
	"strconv"
)

// A Command is what a client asks for.
type Command uint8

// The commands of RFC 1928, section 4.
const (
	Connect   Command = 1 // a TCP connection to the target
	Bind      Command = 2 // a TCP connection from the target
	Associate Command = 3 // UDP datagrams to and from many targets
)

// String returns the command's name in the RFC.
func (c Command) String() string {
	switch c {
	case Connect:
		return "CONNECT"
	case Bind:
		return "BIND"
	case Associate:
		return "UDP ASSOCIATE"
	}
	return fmt.Sprintf("command %#02x", uint8(c))
}

// A Request is what [Server.Allow] decides about.
type Request struct {
	// Command is what the client asks for.
	Command Command
	// User is the name with which the client logged in; empty without
	// [Server.Auth].
	User string
	// Client is the address that the client connects from.
	Client net.Addr
	// Host is an IP address in its usual spelling, IPv4 never mapped into IPv6,
	// or a name exactly as the client sent it, which has not been resolved: of the target of Connect, of the host that may
	// connect for Bind, of the target of a datagram for Associate. It is empty
	// when a client asks for the association itself, which has no target yet.
	Host string
	// Port goes with Host.
	Port uint16
}

// Address returns host and port in the form that [net.Dial] takes.
func (r *Request) Address() string {
	return net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port)))
}

// requestSize is the size of a request:
//
//	+----+-----+-------+------+----------+----------+
//	|VER | CMD |  RSV  | ATYP | DST.ADDR | DST.PORT |
//	+----+-----+-------+------+----------+----------+
//	| 1  |  1  |   1   |  1   | Variable |    2     |
//	+----+-----+-------+------+----------+----------+
//
// VER is 5. RSV is 0; nothing depends on it.
func requestSize(b []byte) (int, error) {
	if len(b) > 0 && b[0] != version {
		return 0, fmt.Errorf("version %d in a SOCKS5 request", b[0])
	}
	size, err := addressSize(b[min(3, len(b)):])
	return 3 + size, err
}

func parseRequest(b []byte) (Command, address, error) {
	if err := complete(b, requestSize); err != nil {
		return 0, address{}, err
	}
	dst, err := parseAddress(b[3:])
	return Command(b[1]), dst, err
}
