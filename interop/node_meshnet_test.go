package interop

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/meshnet-go/meshnet"
	"github.com/meshnet-go/meshnet/key"
)

// meshnetNode is a node that runs meshnet.
type meshnetNode struct {
	*meshnet.Server
	onlyRelays bool
}

func (n *meshnetNode) kind() string           { return "meshnet" }
func (n *meshnetNode) host() string           { return n.Hostname }
func (n *meshnetNode) key() key.NodePublic    { return n.Status().Self.Key }
func (n *meshnetNode) ips() (_, _ netip.Addr) { return n.IPs() }

func (n *meshnetNode) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.Dial(ctx, network, addr)
}

func (n *meshnetNode) listen(network, addr string) (net.Listener, error) {
	return n.Listen(network, addr)
}

func (n *meshnetNode) listenPacket(network, addr string) (net.PacketConn, error) {
	return n.ListenPacket(network, addr)
}

func (n *meshnetNode) whoIs(ctx context.Context, addr string) (name, login string, err error) {
	who, err := n.WhoIs(ctx, addr)
	if err != nil {
		return "", "", err
	}
	return who.Node.Name, who.User.LoginName, nil
}

func (n *meshnetNode) peers(context.Context) ([]string, error) {
	var names []string
	for _, p := range n.Status().Peers {
		names = append(names, p.Name)
	}
	return names, nil
}

func (n *meshnetNode) path(peer key.NodePublic) meshnet.Path {
	for _, p := range n.Status().Peers {
		if p.Key == peer {
			return p.Path
		}
	}
	return meshnet.Path{}
}

// peer returns the node's view of the peer with that short name.
func (n *meshnetNode) peer(host string) (meshnet.PeerStatus, bool) {
	peers := n.Status().Peers
	i := slices.IndexFunc(peers, func(p meshnet.PeerStatus) bool { return shortName(p.Name) == host })
	if i < 0 {
		return meshnet.PeerStatus{}, false
	}
	return peers[i], true
}

// newMeshnet makes a meshnet node that is not started yet, so that a test can
// change its fields, and closes it at the end of the test.
func (n *tailnet) newMeshnet(t *testing.T, hostname string) *meshnetNode {
	t.Helper()
	server := &meshnet.Server{
		Hostname:   hostname,
		ControlURL: n.controlURL,
		AuthKey:    n.authKey(t),
		Store:      meshnet.NewMemoryStore(),
		Underlay:   meshnet.Underlay{Interfaces: loopbackOnly, Gateway: noGateway},
		Logger:     newLog(t, hostname).slog(),
	}
	t.Cleanup(func() { check(t, hostname+" closes", server.Close()) })
	return &meshnetNode{Server: server}
}

// loopbackOnly is the only network that tests may use.
func loopbackOnly() ([]netip.Prefix, error) {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")}, nil
}

func noGateway() (netip.Addr, bool) { return netip.Addr{}, false }

// relayed has the node do without UDP, so that all goes through relays.
func (n *meshnetNode) relayed() {
	n.onlyRelays = true
	n.Underlay.ListenPacket = func(context.Context, string, string) (net.PacketConn, error) {
		return nil, errors.New("this test is about relays")
	}
}

// startMeshnet brings a meshnet node up.
func (n *tailnet) startMeshnet(t *testing.T, hostname string) *meshnetNode {
	t.Helper()
	node := n.newMeshnet(t, hostname)
	node.start(t)
	return node
}

// startRelayed brings a meshnet node up that does without UDP.
func (n *tailnet) startRelayed(t *testing.T, hostname string) *meshnetNode {
	t.Helper()
	node := n.newMeshnet(t, hostname)
	node.relayed()
	node.start(t)
	return node
}

func (n *meshnetNode) start(t *testing.T) {
	t.Helper()
	_, err := n.Up(within(t, 30*time.Second))
	check(t, n.Hostname+" comes up", err)
}
