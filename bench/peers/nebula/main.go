// Nebula is a node of nebula's service package, which is what it has for
// programs: certificates, and a TCP/IP stack inside the process. Each host knows
// the other's address, so that there is no lighthouse.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/slackhq/nebula"
	"github.com/slackhq/nebula/config"
	"github.com/slackhq/nebula/overlay"
	"github.com/slackhq/nebula/service"

	"github.com/meshnet-go/meshnet/bench/internal/node"
)

func main() { node.Main(newPeer) }

const listenPort = 4242

// The addresses in the network.
var (
	clientAddr = netip.MustParsePrefix("100.64.8.1/24")
	serverAddr = netip.MustParsePrefix("100.64.8.2/24")
)

type peer struct {
	*service.Service
	control    *nebula.Control
	own, other netip.Addr
}

func newPeer(c node.Config) (node.Peer, error) {
	own, other := clientAddr, serverAddr
	if c.Serve {
		own, other = serverAddr, clientAddr
	}
	text, err := configuration(c, own, other)
	if err != nil {
		return nil, err
	}
	var parsed config.C
	if err := parsed.LoadString(text); err != nil {
		return nil, err
	}
	control, err := nebula.Main(&parsed, false, "bench", slog.New(slog.DiscardHandler), overlay.NewUserDeviceFromConfig)
	if err != nil {
		return nil, err
	}
	return &peer{nil, control, own.Addr(), other.Addr()}, nil
}

// configuration is that of a host, in YAML, which JSON's strings are as well.
func configuration(c node.Config, own, other netip.Prefix) (string, error) {
	ca, cert, key, err := certify(c.Hostname, own)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`
pki: {ca: %q, cert: %q, key: %q}
static_host_map: {%q: ["%s:%d"]}
listen: {host: %q, port: %d}
firewall:
  outbound: [{proto: any, port: any, host: any}]
  inbound: [{proto: any, port: any, host: any}]
`, ca, cert, key, other.Addr(), c.Other, listenPort, c.Addr, listenPort), nil
}

func (p *peer) Up(context.Context) (addr netip.Addr, err error) {
	p.Service, err = service.New(p.control)
	return p.own, err
}

func (p *peer) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return p.DialContext(ctx, "tcp", addr)
}

func (p *peer) Listen(port uint16) (net.Listener, error) {
	return p.Service.Listen("tcp", fmt.Sprint(":", port))
}

// Traffic counts messages, as nebula does, and not bytes.
func (p *peer) Traffic() (t node.Traffic, err error) {
	host := p.control.GetHostInfoByVpnAddr(p.other, false)
	switch {
	case host == nil:
	case host.CurrentRemote.IsValid():
		t.Direct = host.MessageCounter
	default:
		t.Relayed = host.MessageCounter
	}
	return t, nil
}

func (p *peer) Close() error {
	p.control.Stop()
	return nil
}
