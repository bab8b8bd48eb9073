package meshnet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/control"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
	"github.com/meshnet-go/meshnet/key"
)

// A node of a pair has no coordinator that tells it the network map. The pair
// says all that there is to say, once.

const pairDomain = "pair.internal"

// joinPair keeps the node in its pair until ctx ends.
func (n *node) joinPair(ctx context.Context, p *Pair) error {
	if err := n.handleMap(control.Event{Map: p.mapResponse(), First: true}); err != nil {
		return err
	}
	n.attend(ctx.Done())
	return ctx.Err()
}

// mapResponse is what a coordinator would tell this program.
func (p *Pair) mapResponse() *tailcfg.MapResponse {
	disco, otherDisco := p.discos()
	own := p.member(p.isHost(), p.own.Public(), disco.Public())
	other := p.member(!p.isHost(), p.other(), otherDisco)
	var from []string
	for _, prefix := range other.Addresses {
		from = append(from, prefix.Addr().String())
	}
	return &tailcfg.MapResponse{
		Node:    own,
		Peers:   []*tailcfg.Node{other},
		Domain:  pairDomain,
		DERPMap: &derpmap.Map{Regions: map[int]*derpmap.Region{p.relay.RegionID: p.relay}, OmitDefaultRegions: true},
		PacketFilter: []tailcfg.FilterRule{{
			SrcIPs:   from,
			DstPorts: []tailcfg.NetPortRange{{IP: "*", Ports: tailcfg.PortRange{First: 0, Last: 1<<16 - 1}}},
		}},
	}
}

// member is one of the two nodes.
func (p *Pair) member(host bool, k key.NodePublic, disco key.DiscoPublic) *tailcfg.Node {
	id, name := tailcfg.NodeID(2), "guest"
	if host {
		id, name = 1, "host"
	}
	return &tailcfg.Node{
		ID:       id,
		StableID: name,
		Name:     name + "." + pairDomain + ".",
		Key:      k,
		DiscoKey: disco,
		HomeDERP: p.relay.RegionID,
		Addresses: []netip.Prefix{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, byte(id)}), 32),
			netip.MustParsePrefix(fmt.Sprintf("fd7a:115c:a1e0::%d/128", id)),
		},
		MachineAuthorized: true,
	}
}

// checkPair reports fields that a Server of a pair has no use for: its user
// expects something of them that does not happen.
func (s *Server) checkPair() error {
	switch {
	case s.ControlURL != "" || s.ControlKey != "":
		return errors.New("Pair and ControlURL are both set: a node has a pair or a coordinator")
	case s.AuthKey != "" || len(s.AdvertiseTags) > 0:
		return errors.New("Pair is set, and AuthKey or AdvertiseTags, which are for a coordinator")
	case s.AcceptRoutes || s.ExitNode != "" || len(s.AdvertiseRoutes) > 0 || s.AdvertiseExitNode:
		return errors.New("Pair is set, and routes, which only a coordinator can approve")
	}
	return nil
}
