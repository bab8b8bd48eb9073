package interop

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tailscale.com/client/local"
	"tailscale.com/ipn/ipnstate"
	"tailscale.com/ipn/store/mem"
	"tailscale.com/tailcfg"
	"tailscale.com/tsnet"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/key"
)

// tsnetNode is a node that runs Tailscale's own software.
type tsnetNode struct {
	*tsnet.Server
	local *local.Client
}

func (n *tsnetNode) kind() string           { return "tsnet" }
func (n *tsnetNode) host() string           { return n.Hostname }
func (n *tsnetNode) ips() (_, _ netip.Addr) { return n.TailscaleIPs() }

func (n *tsnetNode) key() key.NodePublic {
	status, err := n.local.StatusWithoutPeers(context.Background())
	if err != nil {
		return key.NodePublic{}
	}
	return key.NodePublicFromRaw32(status.Self.PublicKey.Raw32())
}

func (n *tsnetNode) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.Dial(ctx, network, addr)
}

func (n *tsnetNode) listen(network, addr string) (net.Listener, error) {
	return n.Listen(network, addr)
}

func (n *tsnetNode) listenPacket(network, addr string) (net.PacketConn, error) {
	return n.ListenPacket(network, addr)
}

func (n *tsnetNode) whoIs(ctx context.Context, addr string) (name, login string, err error) {
	who, err := n.local.WhoIs(ctx, addr)
	if err != nil {
		return "", "", err
	}
	return strings.TrimSuffix(who.Node.Name, "."), who.UserProfile.LoginName, nil
}

func (n *tsnetNode) peers(ctx context.Context) ([]string, error) {
	status, err := n.local.Status(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range status.Peer {
		names = append(names, strings.TrimSuffix(p.DNSName, "."))
	}
	return names, nil
}

// path asks magicsock, because the local client's answer takes long to make.
func (n *tsnetNode) path(peer key.NodePublic) meshnet.Path {
	status := &ipnstate.StatusBuilder{WantPeers: true}
	n.Sys().MagicSock.Get().UpdateStatus(status)
	p := status.Status().Peer[theirNodePublic(peer)]
	switch {
	case p == nil:
		return meshnet.Path{}
	case p.CurAddr != "":
		return meshnet.Path{Direct: netip.MustParseAddrPort(p.CurAddr)}
	}
	return meshnet.Path{Relay: p.Relay}
}

// ping waits for the answer to a ping.
func (n *tsnetNode) ping(ctx context.Context, addr netip.Addr, kind tailcfg.PingType) error {
	result, err := n.local.Ping(ctx, addr, kind)
	if err == nil && result.Err != "" {
		err = errors.New(result.Err)
	}
	return err
}

// startTsnet brings a node of Tailscale's up.
func (n *tailnet) startTsnet(t *testing.T, hostname string) *tsnetNode {
	t.Helper()
	log := newLog(t, hostname)
	server := &tsnet.Server{
		Hostname:   hostname,
		ControlURL: n.controlURL,
		AuthKey:    n.authKey(t),
		Dir:        t.TempDir(),
		Store:      new(mem.Store),
		Ephemeral:  true,
		Logf:       log.printf,
		UserLogf:   log.printf,
	}
	t.Cleanup(func() { check(t, hostname+" closes", server.Close()) })
	_, err := server.Up(within(t, 30*time.Second))
	check(t, hostname+" comes up", err)
	client, err := server.LocalClient()
	check(t, hostname+" has a local client", err)
	return &tsnetNode{server, client}
}
