//go:build !js

package meshnet

import (
	"net/netip"
	"slices"

	"github.com/meshnet-go/meshnet/internal/magicsock"
	"github.com/meshnet-go/meshnet/internal/netmon"
	"github.com/meshnet-go/meshnet/internal/portmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// hostNet is what the node knows of the host's network: our addresses, and the
// port that the router maps to us. A browser knows less: hostnet_js.go.
type hostNet struct {
	monitor   *netmon.Monitor
	mapper    *portmap.Client
	behindNAT bool // then a mapping is sought; of node.run
}

func newHostNet(cfg config) *hostNet {
	return &hostNet{
		monitor: netmon.New(netmon.Config{Interfaces: cfg.interfaces, Gateway: cfg.gateway, Logger: cfg.log}),
		mapper:  portmap.New(portmap.Config{ListenPacket: cfg.listenPacket, DialContext: cfg.dial, Logger: cfg.log}),
	}
}

func (h *hostNet) close() {
	h.monitor.Close()
	h.mapper.Close()
}

// addrs returns the host's addresses, each with its network.
func (h *hostNet) addrs() []netip.Prefix { return h.monitor.State().Addrs }

// changed delivers a value after the host's network has changed.
func (h *hostNet) changed() <-chan struct{} { return h.monitor.Changed() }

// look has changes noticed at once.
func (h *hostNet) look() { h.monitor.Poke() }

// mapped is where the router passes packets on to us; invalid when it does not.
func (h *hostNet) mapped() netip.AddrPort { return h.mapper.Mapping() }

// remapped delivers a value after mapped has changed.
func (h *hostNet) remapped() <-chan struct{} { return h.mapper.Changed() }

// host returns what magicsock wants to know. Our addresses in the mesh, which
// are the host's too in TUN mode, are no place where peers could find us.
func (h *hostNet) host(v view) magicsock.Host {
	var inside []netip.Addr
	if v.netMap != nil {
		inside = addrs(v.netMap.Self)
	}
	host := magicsock.Host{Mapped: h.mapper.Mapping()}
	for _, p := range h.monitor.State().Addrs {
		if !slices.Contains(inside, p.Addr()) {
			host.Addrs = append(host.Addrs, p.Addr())
		}
	}
	return host
}

// netInfo adds to what magicsock found out what the router tells us.
func (h *hostNet) netInfo(found *tailcfg.NetInfo) *tailcfg.NetInfo {
	info := *found
	info.HavePortMap = h.mapper.Mapping().IsValid()
	if s := h.mapper.Services(); s.Searched {
		info.PCP, info.PMP, info.UPnP = &s.PCP, &s.NATPMP, &s.UPnP
	}
	return &info
}

// seekMapping has the router map a port to us when we are behind a NAT, and
// leaves it alone when we are not. Called again it asks whether the mapping
// still stands.
func (h *hostNet) seekMapping(behindNAT bool, port uint16) {
	h.behindNAT = behindNAT
	var gateway, self netip.Addr
	if state := h.monitor.State(); behindNAT && len(state.Default) > 0 {
		gateway, self = state.Gateway, state.Default[0] // IPv4, if there is one
	}
	h.mapper.SetPort(port)
	h.mapper.SetGateway(gateway, self)
}
