package simnet

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// DefaultTimeout is how long NATs and firewalls remember a flow without
// outbound packets: the least that RFC 4787, section 4.3, allows.
const DefaultTimeout = 2 * time.Minute

// A Dependence says how much of a remote endpoint makes a difference, for the
// mapping and the filtering of a NAT (RFC 4787, sections 4.1 and 5).
type Dependence uint8

const (
	EndpointIndependent     Dependence = iota // none of it
	AddressDependent                          // its address
	AddressAndPortDependent                   // its address and its port
)

// of returns what makes a difference of a remote endpoint.
func (d Dependence) of(remote netip.AddrPort) netip.AddrPort {
	switch d {
	case EndpointIndependent:
		return netip.AddrPort{}
	case AddressDependent:
		return netip.AddrPortFrom(remote.Addr(), 0)
	default:
		return remote
	}
}

// A PortChoice says which external port a new mapping of a NAT gets (RFC 4787,
// section 4.2). No port is given to two mappings at once.
type PortChoice uint8

const (
	PreservePorts   PortChoice = iota // the internal one; where it is taken, the next free one
	SequentialPorts                   // the one after the last
	RandomPorts                       // any
)

// NAT says how a router translates the IPv4 addresses of what is behind it.
// The zero value is what RFC 4787 wants of one, but for hairpinning.
type NAT struct {
	// Mapping says for which remotes a host's port keeps its external port.
	Mapping Dependence
	// Filtering says who may send to an external port: everybody, addresses
	// that were sent to through that very mapping, or addresses and ports.
	Filtering Dependence
	// Ports says which external ports are taken.
	Ports PortChoice
	// Hairpin lets hosts behind the NAT reach each other at their external
	// addresses; the filtering holds there too.
	Hairpin bool
}

// EasyNAT is the usual NAT of a home: one external port per socket, open to
// those who were sent to.
func EasyNAT() *NAT { return &NAT{Filtering: AddressAndPortDependent} }

// HardNAT is the usual NAT of a company or a carrier, also called symmetric: a
// random external port for every remote, open to that remote only.
func HardNAT() *NAT {
	return &NAT{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Ports: RandomPorts}
}

// Ports that mappings get, unless the internal one below is preserved.
const (
	firstPort = 1024
	portCount = 65536 - firstPort
)

// A translator is the state of a NAT. It has no clock.
type translator struct {
	NAT
	outside netip.Addr
	timeout time.Duration
	rand    *rand.Rand
	next    int // sequential port

	mappings map[mappingKey]*mapping
	forwards map[mappingKey]*mapping // without remote
	ports    map[portKey]*mapping
	sent     flows[sentKey]
}

// A mapping is an external port and the internal endpoint that has it.
type mapping struct {
	key     mappingKey
	port    uint16
	expires time.Duration
	forward bool // set up on request; open to everybody, and no packet prolongs it
}

type mappingKey struct {
	transport transport
	inside    netip.AddrPort
	remote    netip.AddrPort // what of it makes a difference
}

type portKey struct {
	transport transport
	port      uint16
}

// sentKey stands for packets through a mapping to a remote, or what of it makes
// a difference.
type sentKey struct {
	mapping *mapping
	remote  netip.AddrPort
}

func newTranslator(cfg NAT, outside netip.Addr, timeout time.Duration, chance *rand.Rand) *translator {
	t := &translator{NAT: cfg, outside: outside, timeout: timeout, rand: chance}
	t.next = firstPort + t.rand.IntN(portCount)
	t.reset()
	return t
}

// reset forgets all mappings.
func (t *translator) reset() {
	t.mappings = make(map[mappingKey]*mapping)
	t.forwards = make(map[mappingKey]*mapping)
	t.ports = make(map[portKey]*mapping)
	t.sent = flows[sentKey]{}
}

// outbound returns the external endpoint for a packet from inside to remote,
// and remembers that it was sent. It has none when all ports are taken.
func (t *translator) outbound(now time.Duration, proto transport, inside, remote netip.AddrPort) (netip.AddrPort, bool) {
	m := t.mappingFor(now, proto, inside, remote)
	if m == nil {
		return netip.AddrPort{}, false
	}
	if !m.forward {
		m.expires = now + t.timeout
	}
	t.sent.note(now, now+t.timeout, sentKey{m, t.Filtering.of(remote)})
	return netip.AddrPortFrom(t.outside, m.port), true
}

func (t *translator) mappingFor(now time.Duration, proto transport, inside, remote netip.AddrPort) *mapping {
	if m := t.forwards[mappingKey{transport: proto, inside: inside}]; t.alive(now, m) {
		return m
	}
	key := mappingKey{proto, inside, t.Mapping.of(remote)}
	if m := t.mappings[key]; t.alive(now, m) {
		return m
	}
	port, ok := t.allocate(now, proto, inside.Port())
	if !ok {
		return nil
	}
	m := &mapping{key: key, port: port}
	t.mappings[key] = m
	t.ports[portKey{proto, port}] = m
	return m
}

// inbound returns whom a packet from remote to one of our ports is for, if it
// may pass.
func (t *translator) inbound(now time.Duration, proto transport, remote netip.AddrPort, port uint16) (netip.AddrPort, bool) {
	m := t.ports[portKey{proto, port}]
	switch {
	case !t.alive(now, m):
		return netip.AddrPort{}, false
	case m.forward:
		return m.key.inside, true
	case proto == tcp: // a connection from outside, of which we know nothing
		return netip.AddrPort{}, false
	}
	return m.key.inside, t.sent.alive(now, sentKey{m, t.Filtering.of(remote)})
}

// forward makes or prolongs a mapping that is open to everybody, on the port
// wanted if that is free.
func (t *translator) forward(now, expires time.Duration, proto transport, inside netip.AddrPort, want uint16) (netip.AddrPort, bool) {
	key := mappingKey{transport: proto, inside: inside}
	m := t.forwards[key]
	if !t.alive(now, m) {
		// The port of a mapping that packets have made passes to the forward.
		if old := t.ports[portKey{proto, want}]; old != nil && old.key.inside == inside {
			t.remove(old)
		}
		port, ok := want, want != 0 && t.isFree(now, portKey{proto, want})
		if !ok {
			port, ok = t.allocate(now, proto, inside.Port())
		}
		if !ok {
			return netip.AddrPort{}, false
		}
		m = &mapping{key: key, port: port, forward: true}
		t.forwards[key] = m
		t.ports[portKey{proto, port}] = m
	}
	m.expires = expires
	return netip.AddrPortFrom(t.outside, m.port), true
}

func (t *translator) unforward(proto transport, inside netip.AddrPort) {
	if m := t.forwards[mappingKey{transport: proto, inside: inside}]; m != nil {
		t.remove(m)
	}
}

// allocate chooses a free port.
func (t *translator) allocate(now time.Duration, proto transport, inside uint16) (uint16, bool) {
	first := int(inside)
	switch t.Ports {
	case SequentialPorts:
		first = t.next
	case RandomPorts:
		first = firstPort + t.rand.IntN(portCount)
	}
	if first < firstPort {
		if t.isFree(now, portKey{proto, uint16(first)}) {
			return uint16(first), true
		}
		first = firstPort
	}
	for i := range portCount {
		port := firstPort + (first-firstPort+i)%portCount
		if t.isFree(now, portKey{proto, uint16(port)}) {
			t.next = firstPort + (port-firstPort+1)%portCount
			return uint16(port), true
		}
	}
	return 0, false
}

// isFree says whether no mapping has a port, and forgets one that is over.
func (t *translator) isFree(now time.Duration, key portKey) bool {
	m := t.ports[key]
	if t.alive(now, m) {
		return false
	}
	if m != nil {
		t.remove(m)
	}
	return true
}

// remove forgets a mapping, unless its internal endpoint already has another.
func (t *translator) remove(m *mapping) {
	table := t.mappings
	if m.forward {
		table = t.forwards
	}
	if table[m.key] == m {
		delete(table, m.key)
	}
	if key := (portKey{m.key.transport, m.port}); t.ports[key] == m {
		delete(t.ports, key)
	}
}

func (t *translator) alive(now time.Duration, m *mapping) bool {
	return m != nil && now < m.expires
}
