package lab

import (
	"fmt"
	"net/netip"
)

// A Lab is three hosts on one network. The hosts have one address each.
//
//	client 10.77.0.1 ──┐
//	                  hub, a switch or a router
//	server 10.77.0.2 ──┤
//	                   │
//	control 10.77.0.3 ─┘   the coordinator, the relay and STUN
type Lab struct {
	Client, Server, Control *Namespace
	hub                     *Namespace
	MTU                     int // of the links, in bytes
	closers                 []func()
}

// The addresses of a lab's hosts.
var (
	ClientAddr  = netip.MustParseAddr("10.77.0.1")
	ServerAddr  = netip.MustParseAddr("10.77.0.2")
	ControlAddr = netip.MustParseAddr("10.77.0.3")
)

// Hosts are the addresses in the order of a router's devices.
func Hosts() []netip.Addr { return []netip.Addr{ClientAddr, ServerAddr, ControlAddr} }

// newLab makes the hosts, which are not connected yet.
func newLab(mtu int) (_ *Lab, err error) {
	l := &Lab{MTU: mtu}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	for _, host := range []**Namespace{&l.Client, &l.Server, &l.Control, &l.hub} {
		if *host, err = newNamespace(); err != nil {
			return nil, err
		}
		l.closers = append(l.closers, (*host).close)
		if err := (*host).prepare(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// prepare has the kernel's TCP buffers large enough for long paths, so that it
// is the bound that it is taken for.
func (ns *Namespace) prepare() error {
	for name, value := range map[string]string{
		"ipv6/conf/all/disable_ipv6": "1",
		"ipv4/tcp_rmem":              "4096 131072 33554432",
		"ipv4/tcp_wmem":              "4096 65536 33554432",
	} {
		if err := ns.set(name, value); err != nil {
			return err
		}
	}
	return ns.ip("link set lo up")
}

// Switch connects the hosts by links of an MTU, and a bridge.
func Switch(mtu int) (*Lab, error) {
	l, err := newLab(mtu)
	if err != nil {
		return nil, err
	}
	if err := l.plug(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Lab) plug() error {
	if err := l.hub.ip(fmt.Sprintf("link add switch mtu %d up type bridge", l.MTU)); err != nil {
		return err
	}
	for addr, host := range l.hosts() {
		port := fmt.Sprintf("port%d", addr.As4()[3])
		err := host.ip(fmt.Sprintf("link add eth0 mtu %d type veth peer name %s mtu %d netns %s", l.MTU, port, l.MTU, l.hub.path))
		if err == nil {
			err = l.hub.ip("link set "+port+" master switch", "link set "+port+" up")
		}
		if err == nil {
			err = host.address(addr)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) hosts() map[netip.Addr]*Namespace {
	return map[netip.Addr]*Namespace{ClientAddr: l.Client, ServerAddr: l.Server, ControlAddr: l.Control}
}

// address gives the host's link its address. There is no default route: tsnet
// would wait for what the gateway has to say about port mappings, a quarter of a
// second.
func (ns *Namespace) address(addr netip.Addr) error {
	return ns.ip("addr add "+addr.String()+"/24 dev eth0", "link set eth0 up")
}

// ForbidUDP lets no UDP through between client and server, so that all goes
// through the relay.
func (l *Lab) ForbidUDP() error {
	for _, of := range []struct {
		host  *Namespace
		other netip.Addr
	}{{l.Client, ServerAddr}, {l.Server, ClientAddr}} {
		err := of.host.nft(
			"add table ip bench",
			"add chain ip bench in { type filter hook input priority 0; }",
			"add rule ip bench in ip saddr "+of.other.String()+" meta l4proto udp drop")
		if err != nil {
			return err
		}
	}
	return nil
}

// Close takes the lab down, and kills what runs in it.
func (l *Lab) Close() {
	for i := len(l.closers) - 1; i >= 0; i-- {
		l.closers[i]()
	}
	l.closers = nil
}
