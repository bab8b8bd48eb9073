// Package portmap has the gateway of a home or office network send UDP packets
// that come to a port of its own on to one of ours, by whichever of three
// protocols it speaks:
//
//	PCP       RFC 6887                       pcp.go
//	NAT-PMP   RFC 6886                       natpmp.go
//	UPnP IGD  SSDP to find it, SOAP to use   ssdp.go, soap.go
//
// What comes from the network is believed only if it comes from the gateway's
// address, and UPnP is spoken with nobody else.
package portmap

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/netip"
	"sync"
)

// Config is what a [Client] is made from. Every field may be nil.
type Config struct {
	// ListenPacket opens the sockets on which the gateway is asked, network is
	// "udp4"; nil is that of a zero [net.ListenConfig]. They must have
	// deadlines, and addresses of type *net.UDPAddr.
	ListenPacket func(ctx context.Context, network, addr string) (net.PacketConn, error)
	// DialContext connects to the gateway for UPnP, network is "tcp4"; nil is
	// that of a zero [net.Dialer].
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Logger may be nil, which is silent.
	Logger *slog.Logger
}

// Client keeps one mapping of one UDP port, as long as it knows a gateway and
// the port. Its methods may be called from any goroutine.
type Client struct {
	cfg     Config
	secret  [32]byte // for nonces
	running sync.WaitGroup
	changed chan struct{}
	again   chan struct{} // has an element when run is to look again now

	mu       sync.Mutex // guards what is below
	closed   bool
	target   target
	outdated context.CancelFunc // of what run does for the target
	mapping  netip.AddrPort
	services Services
}

// New returns a Client that does nothing until it has a gateway and a port.
// Close must be called.
func New(cfg Config) *Client {
	if cfg.ListenPacket == nil {
		cfg.ListenPacket = new(net.ListenConfig).ListenPacket
	}
	if cfg.DialContext == nil {
		cfg.DialContext = new(net.Dialer).DialContext
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Client{
		cfg:      cfg,
		changed:  make(chan struct{}, 1),
		again:    make(chan struct{}, 1),
		outdated: func() {},
	}
	rand.Read(c.secret[:]) // never fails: crypto/rand ends the program instead
	c.running.Go(c.run)
	return c
}

// SetGateway says which router we are behind, and which of our addresses is in
// its network. Unless both are of IPv4 there is no mapping. With the same two
// again, the gateway is asked at once whether the mapping stands, which a
// caller wants after any change of the network.
func (c *Client) SetGateway(gateway, self netip.Addr) {
	c.set(func(t *target) { t.gateway, t.self = gateway.Unmap(), self.Unmap() })
}

// SetPort says which UDP port of ours is to be mapped; 0 is none.
func (c *Client) SetPort(port uint16) {
	c.set(func(t *target) { t.port = port })
}

func (c *Client) set(change func(*target)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.target
	change(&c.target)
	if c.target != before {
		c.outdated()
		return
	}
	select {
	case c.again <- struct{}{}:
	default:
	}
}

// Mapping returns the address outside where packets to our port arrive; it is
// invalid while there is none.
func (c *Client) Mapping() netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mapping
}

// Services returns what the gateway was last found to speak, of which nothing is
// known before the first search has ended, nor while there is no gateway. One
// that speaks PCP may do so before it has shown that it speaks others.
func (c *Client) Services() Services {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.services
}

// Changed returns a channel that has an element after [Client.Mapping] or
// [Client.Services] changed.
func (c *Client) Changed() <-chan struct{} { return c.changed }

// Close deletes the mapping, for which it waits a second at most, and ends.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.outdated()
	c.mu.Unlock()
	c.running.Wait()
	return nil
}

// publish sets what others see.
func (c *Client) publish(mapping netip.AddrPort, services Services) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if mapping == c.mapping && services == c.services {
		return
	}
	c.mapping, c.services = mapping, services
	select {
	case c.changed <- struct{}{}:
	default:
	}
}
