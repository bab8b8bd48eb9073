package meshnet

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/filter"
	"github.com/meshnet-go/meshnet/internal/magicsock"
	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/internal/wg"
	"github.com/meshnet-go/meshnet/key"
)

// apply puts a network map into force, receivers before senders: whoever can
// send to us finds the filter in place. Those whom WireGuard does not know yet
// can do so when [magicsock.Conn.PeersReady] is called, which is for when the
// view has the map: then it is known who they are.
func (n *node) apply(m *netmap.Map, now time.Time) error {
	n.judged = now
	n.tun.SetFilter(n.compileFilter(m))
	if err := n.stack.SetAddrs(addrs(m.Self)); err != nil {
		return err
	}
	peers := reachablePeers(m, now)
	n.magic.SetDERPMap(m.DERPMap)
	n.magic.SetPeers(magicPeers(peers))
	n.setMTUs(m)
	known := n.cfg.routes.wgPeers(m, peers, now)
	if n.cfg.pair != nil {
		for i := range known {
			known[i].Preshared = n.cfg.pair.presharedKey() // until another is agreed on
		}
	}
	return n.wg.SetPeers(known)
}

// setMTUs lets the stack know how large packets to peers may be, of those whose
// direct path carries more than others. It is called when paths change, and when
// the map does, for addresses may have gone to somebody else.
func (n *node) setMTUs(m *netmap.Map) {
	raised := raisedMTUs(m, n.magic.Local().MTU)
	if !maps.Equal(raised, n.raised) {
		n.raised = raised
		n.stack.SetMTUs(raised)
	}
}

// raisedMTUs returns the packets that peers' own addresses may be sent, by the
// sizes of WireGuard's messages: who is behind a peer may take less.
func raisedMTUs(m *netmap.Map, messages map[key.NodePublic]int) map[netip.Prefix]int {
	raised := make(map[netip.Prefix]int, 2*len(messages))
	for k, size := range messages {
		peer, ok := m.ByKey(k)
		if !ok {
			continue
		}
		for _, addr := range peer.Addresses {
			raised[addr] = wg.PacketSize(size)
		}
	}
	return raised
}

// cutAllOff ends the exchange of packets: the node is not in the mesh, and the
// map in force is no longer the coordinator's word.
func (n *node) cutAllOff() {
	n.tun.SetFilter(nil)
	n.magic.SetPeers(nil)
	if err := n.wg.SetPeers(nil); err != nil {
		n.cfg.log.Warn("removing all peers", "err", err)
	}
}

// compileFilter returns nil, which lets nothing in, while no filter has
// arrived.
func (n *node) compileFilter(m *netmap.Map) *filter.Filter {
	if !m.FilterKnown {
		return nil
	}
	f, err := filter.Compile(filter.Config{
		Rules: m.Rules,
		Local: n.cfg.routes.local(m.Self, n.host.addrs()),
		Peers: m.Peers,
	})
	if err != nil {
		n.cfg.log.Warn("entries of the packet filter are left out", "err", err)
	}
	return f
}

// addrs returns a node's own addresses.
func addrs(n *tailcfg.Node) []netip.Addr {
	own := make([]netip.Addr, 0, len(n.Addresses))
	for _, p := range n.Addresses {
		if p.IsSingleIP() {
			own = append(own, p.Addr())
		}
	}
	return own
}

// reachablePeers are those with which we exchange packets.
func reachablePeers(m *netmap.Map, now time.Time) []*tailcfg.Node {
	peers := make([]*tailcfg.Node, 0, len(m.Peers))
	for _, p := range m.Peers {
		if cutOff(m, p, now) == "" {
			peers = append(peers, p)
		}
	}
	return peers
}

// cutOff says why we exchange no packets with a peer, as the rest of a
// sentence about it; it is empty when we do.
func cutOff(m *netmap.Map, p *tailcfg.Node, now time.Time) string {
	switch {
	case m.Expired(p, now):
		return "has an expired key"
	case p.IsWireGuardOnly:
		return "speaks WireGuard alone, and is found by neither disco nor relay"
	}
	return ""
}

func magicPeers(nodes []*tailcfg.Node) []magicsock.Peer {
	peers := make([]magicsock.Peer, len(nodes))
	for i, p := range nodes {
		peers[i] = magicsock.Peer{Key: p.Key, Disco: p.DiscoKey, HomeDERP: p.HomeDERP, Endpoints: p.Endpoints}
	}
	return peers
}

// wgPeers says what is behind each of the peers with which we exchange packets.
func (r routes) wgPeers(m *netmap.Map, nodes []*tailcfg.Node, now time.Time) []wg.Peer {
	none := withheld(m, now)
	exit, _ := r.exit(m)
	peers := make([]wg.Peer, len(nodes))
	for i, p := range nodes {
		peers[i].Key = p.Key
		for _, offered := range p.AllowedIPs {
			if r.accepts(p, offered, exit) {
				peers[i].AllowedIPs = append(peers[i].AllowedIPs, without(offered, none)...)
			}
		}
	}
	return peers
}

// renewFilter puts the filter into force anew when it depends on the host's
// network: an exit node does not lead to it.
func (n *node) renewFilter() {
	if m := n.view.load().netMap; m != nil && slices.ContainsFunc(n.cfg.routes.advertise, isDefault) && n.tun.Filter() != nil {
		n.tun.SetFilter(n.compileFilter(m))
	}
}
