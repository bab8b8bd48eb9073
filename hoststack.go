package meshnet

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/meshnet-go/meshnet/internal/tunwrap"
)

// A stack is the TCP/IP stack whose packets the mesh carries: one inside the
// process, or the host's. It ends as internal/netstack says.
type stack interface {
	Tun() tun.Device
	Inject(packet []byte)
	SetAddrs([]netip.Addr) error
	SetMTUs(map[netip.Prefix]int)

	DialTCP(ctx context.Context, network string, local netip.Addr, remote netip.AddrPort) (net.Conn, error)
	DialUDP(ctx context.Context, network string, local netip.Addr, remote netip.AddrPort) (net.Conn, error)
	ListenTCP(network string, addr netip.AddrPort) (net.Listener, error)
	ListenUDP(network string, addr netip.AddrPort) (net.PacketConn, error)

	StopListening()
	Drain(context.Context) error
	HangUp() (told int)
	Close() error
}

// hostStack is the host's, behind the user's TUN device. Sockets are bound to
// the device, so that what is dialled never leaves the mesh, whatever the host's
// routes say, and nobody else reaches what listens.
type hostStack struct {
	device  *tunwrap.Host
	sockets hostSockets
}

func newHostStack(device tun.Device) *hostStack {
	return &hostStack{tunwrap.NewHost(device, overlayMTU), newHostSockets()}
}

func (h *hostStack) Tun() tun.Device      { return h.device }
func (h *hostStack) Inject(packet []byte) { h.device.Inject(packet) }

// SetAddrs leaves it to the user to give the device its addresses.
func (h *hostStack) SetAddrs([]netip.Addr) error { return nil }

// SetMTUs leaves packets as the host makes them.
func (h *hostStack) SetMTUs(map[netip.Prefix]int) {}

func (h *hostStack) StopListening() { h.sockets.stopListening() }

// Drain waits for connections to be closed. What the kernel still has of them
// is not known here.
func (h *hostStack) Drain(ctx context.Context) error { return h.sockets.waitClosed(ctx) }

func (h *hostStack) HangUp() (told int) { return h.sockets.hangUp() }

// Close leaves the device, which is WireGuard's to close.
func (h *hostStack) Close() error {
	h.HangUp()
	return nil
}

// control binds a socket to the device.
func (h *hostStack) control(_, _ string, socket syscall.RawConn) error {
	name, err := h.device.Name()
	if err != nil {
		return err
	}
	return bindToDevice(socket, name)
}

func (h *hostStack) DialTCP(ctx context.Context, network string, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Control: h.control}
	if local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return h.dial(ctx, d, network, remote)
}

func (h *hostStack) DialUDP(ctx context.Context, network string, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Control: h.control}
	if local.IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return h.dial(ctx, d, network, remote)
}

// dial also ends with the stack.
func (h *hostStack) dial(ctx context.Context, d net.Dialer, network string, remote netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.sockets.open, cancel)()
	c, err := d.DialContext(ctx, network, remote.String())
	switch {
	case err == nil:
		return h.sockets.own(c)
	case h.sockets.open.Err() != nil:
		return nil, &net.OpError{Op: "dial", Net: network, Addr: netAddr(network[:3], remote), Err: net.ErrClosed}
	}
	return nil, err
}

func (h *hostStack) ListenTCP(network string, addr netip.AddrPort) (net.Listener, error) {
	lc := net.ListenConfig{Control: h.control}
	ln, err := lc.Listen(h.sockets.open, network, listenText(addr))
	if err != nil {
		return nil, err
	}
	return h.sockets.ownListener(ln)
}

func (h *hostStack) ListenUDP(network string, addr netip.AddrPort) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: h.control}
	pc, err := lc.ListenPacket(h.sockets.open, network, listenText(addr))
	if err != nil {
		return nil, err
	}
	return h.sockets.ownPacketConn(pc.(*net.UDPConn))
}

// listenText is an address for package net; an invalid one is the wildcard.
func listenText(addr netip.AddrPort) string {
	host := ""
	if addr.Addr().IsValid() {
		host = addr.Addr().String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(addr.Port())))
}
