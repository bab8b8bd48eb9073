package meshnet

import (
	"net"
	"net/netip"
)

// A stream is what the stack's TCP connections are.
type stream interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
	SetLinger(seconds int) error
}

// A datagrams is what the stack's UDP connections are.
type datagrams interface {
	net.Conn
	net.PacketConn
	ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error)
}

// tcpConn and udpConn are connections that know who is at their other end.
type tcpConn struct {
	stream
	remote
}

type udpConn struct {
	datagrams
	remote
}

// A remote is the node at the other end of a connection.
type remote struct {
	node *node
	ip   netip.Addr
	id   string // the peer's StableID when the connection was made; empty: nobody's
}

func (n *node) remoteOf(c net.Conn) remote {
	r := remote{node: n}
	if ip, err := parseIP(c.RemoteAddr().String()); err == nil {
		r.ip = ip
	}
	if p, ok := n.view.load().netMap.ByAddr(r.ip); ok {
		r.id = p.StableID
	}
	return r
}

// withRemote returns a connection of the stack as the user gets it.
func (n *node) withRemote(c net.Conn) net.Conn {
	switch c := c.(type) {
	case stream:
		return &tcpConn{c, n.remoteOf(c)}
	case datagrams:
		return &udpConn{c, n.remoteOf(c)}
	}
	return c
}

// A listener accepts connections that know who calls.
type listener struct {
	net.Listener
	node *node
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.node.withRemote(c), nil
}
