package meshnet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// WhoIs says who has an address of the mesh.
type WhoIs struct {
	// Node has no counters and no LastHandshake: those are in [Status].
	Node PeerStatus
	// User owns the node. It is the zero User when the node is tagged.
	User User
	// Capabilities are what the mesh's policy grants that node towards this
	// one: names of the applications' choosing, each with its values as JSON.
	// The function [Capabilities] reads them.
	Capabilities map[string][]json.RawMessage
}

// User is a person or an account of the mesh.
type User struct {
	LoginName   string // such as "alice@example.com"
	DisplayName string
	PictureURL  string
}

// WhoIs says who has an address of the mesh, given as "ip" or "ip:port" like
// the remote address of a connection. It waits for the node to be up, within
// ctx. The answer rests on the coordinator's word for the node behind a
// WireGuard key, and on WireGuard for the sender being that node.
func (s *Server) WhoIs(ctx context.Context, addr string) (*WhoIs, error) {
	ip, err := parseIP(addr)
	if err != nil {
		return nil, fmt.Errorf("meshnet: who is %q: %w", addr, err)
	}
	n, v, err := s.member(ctx)
	if err != nil {
		return nil, fmt.Errorf("meshnet: who is %v: %w", ip, err)
	}
	who, ok := n.whoIs(v, ip)
	if !ok {
		return nil, fmt.Errorf("meshnet: no node of the mesh has the address %v", ip)
	}
	return who, nil
}

// parseIP reads "ip" or "ip:port".
func parseIP(addr string) (netip.Addr, error) {
	if withPort, err := netip.ParseAddrPort(addr); err == nil {
		return withPort.Addr().Unmap(), nil
	}
	ip, err := netip.ParseAddr(addr)
	return ip.Unmap(), err
}

func (n *node) whoIs(v view, ip netip.Addr) (*WhoIs, bool) {
	m := v.netMap
	p, ok := m.ByAddr(ip)
	if !ok {
		return nil, false
	}
	who := &WhoIs{Node: describe(m, p, time.Now()), Capabilities: n.capabilities(v, ip)}
	n.describeWay(&who.Node, m, p)
	if profile, ok := m.User(p.User); ok && len(p.Tags) == 0 {
		who.User = User{profile.LoginName, profile.DisplayName, profile.ProfilePicURL}
	}
	return who, true
}

// capabilities returns what the policy grants to the peer at ip here, at the
// address of ours of the same IP version. The values are the caller's own.
func (n *node) capabilities(v view, ip netip.Addr) map[string][]json.RawMessage {
	here, ip6 := v.ips()
	if ip.Is6() {
		here = ip6
	}
	granted := n.tun.Filter().Caps(ip, here)
	own := make(map[string][]json.RawMessage, len(granted))
	for name, values := range granted {
		own[name] = make([]json.RawMessage, len(values))
		for i, v := range values {
			own[name][i] = bytes.Clone(v)
		}
	}
	return own
}
