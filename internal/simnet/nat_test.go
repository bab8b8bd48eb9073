package simnet

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestNATKinds goes through all mappings and filterings. A host behind the NAT
// has sent from one socket to the first server, which saw it at an external
// port, and then to the other sockets of the table.
func TestNATKinds(t *testing.T) {
	const (
		mapEI, mapAD, mapAPD          = EndpointIndependent, AddressDependent, AddressAndPortDependent
		filterEI, filterAD, filterAPD = EndpointIndependent, AddressDependent, AddressAndPortDependent
	)
	type mapped struct{ otherPort, otherAddress bool }
	type passes struct{ otherPort, otherAddress bool }
	for _, test := range []struct {
		mapping, filtering Dependence
		says               string
		same               mapped // external port towards another port of the server, and another server
		in                 passes // to the external port: from another port of the server, and another server
	}{
		{mapEI, filterEI, "one port for all, and everybody may send to it",
			mapped{true, true}, passes{true, true}},
		{mapEI, filterAD, "one port for all, and servers that were sent to may send to it, from any port",
			mapped{true, true}, passes{true, false}},
		{mapEI, filterAPD, "one port for all, and only the very sockets that were sent to may send to it",
			mapped{true, true}, passes{false, false}},
		{mapAD, filterEI, "a port for each server, and everybody may send to it",
			mapped{true, false}, passes{true, true}},
		{mapAD, filterAD, "a port for each server, and only that server may send to it, from any port",
			mapped{true, false}, passes{true, false}},
		{mapAD, filterAPD, "a port for each server, and only its sockets that were sent to may send to it",
			mapped{true, false}, passes{false, false}},
		{mapAPD, filterEI, "a port for each socket, and everybody may send to it",
			mapped{false, false}, passes{true, true}},
		{mapAPD, filterAD, "a port for each socket, and its server may send to it, from any port",
			mapped{false, false}, passes{true, false}},
		{mapAPD, filterAPD, "a port for each socket, and only that socket may send to it",
			mapped{false, false}, passes{false, false}},
	} {
		for _, ports := range []PortChoice{PreservePorts, SequentialPorts, RandomPorts} {
			t.Run(fmt.Sprintf("%s/ports %d", test.says, ports), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newNATLab(t, NAT{Mapping: test.mapping, Filtering: test.filtering, Ports: ports})
					first := l.seenBy(l.server)

					check := func(sentence string, got, want bool) {
						t.Helper()
						if got != want {
							t.Errorf("%s: %v, want %v", sentence, got, want)
						}
					}
					check("the server that was sent to may answer", l.server.reaches(first, l.host), true)
					check("another port of the server may send", l.serverPort2.reaches(first, l.host), test.in.otherPort)
					check("another server may send", l.server2.reaches(first, l.host), test.in.otherAddress)

					check("the external port is the same for the same remote", l.seenBy(l.server) == first, true)
					check("it is the same for another port of the server", l.seenBy(l.serverPort2) == first, test.same.otherPort)
					check("it is the same for another server", l.seenBy(l.server2) == first, test.same.otherAddress)

					check("who was sent to by the same external port may send to it: another port of the server",
						l.serverPort2.reaches(first, l.host), test.same.otherPort || test.in.otherPort)
					check("who was sent to by the same external port may send to it: another server",
						l.server2.reaches(first, l.host), test.same.otherAddress || test.in.otherAddress)
					check("a port that nobody was sent to from is closed",
						l.server.reaches(netip.AddrPortFrom(first.Addr(), first.Port()+100), l.host), false)
				})
			})
		}
	}
}

// A natLab is a host behind a NAT and two servers, of which the first has two
// sockets.
type natLab struct {
	*Network
	home                         *Router
	host                         *sock
	server, serverPort2, server2 *sock
}

func newNATLab(t *testing.T, nat NAT) *natLab {
	n := newNet(t)
	home := n.Router(RouterConfig{NAT: &nat})
	first := n.Host()
	return &natLab{n, home, newSock(t, home.Host()), newSock(t, first), newSock(t, first), newSock(t, n.Host())}
}

// seenBy returns where a server sees the host.
func (l *natLab) seenBy(server *sock) netip.AddrPort {
	l.host.t.Helper()
	l.host.send(server.addr, "hello")
	return server.want("what is sent from behind the NAT arrives", "hello")
}

// TestNATPairs lets hosts behind two NATs, who know where a server sees the
// other, send to each other, as often as they like and to where they are seen
// from. The table says which get through.
func TestNATPairs(t *testing.T) {
	open := &NAT{}
	restricted := &NAT{Filtering: AddressDependent}
	portRestricted := EasyNAT()
	symmetric := HardNAT()
	openSymmetric := &NAT{Mapping: AddressAndPortDependent, Ports: RandomPorts}
	for _, test := range []struct {
		says   string
		a, b   *NAT
		direct bool
	}{
		{"two that everybody may send to", open, open, true},
		{"one that everybody may send to, and a symmetric one", open, symmetric, true},
		{"two that open for an address", restricted, restricted, true},
		{"one that opens for an address, and a symmetric one, whose other port has that address", restricted, symmetric, true},
		{"two that open for an address and port, which both keep", portRestricted, portRestricted, true},
		{"one that opens for an address and port, and a symmetric one, which takes another", portRestricted, symmetric, false},
		{"two symmetric ones", symmetric, symmetric, false},
		{"a symmetric one, and one that maps so but is open: it hears, and answers from another port", symmetric, openSymmetric, false},
		{"no NAT, and a symmetric one", nil, symmetric, true},
	} {
		t.Run(test.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNet(t)
				server := newSock(t, n.Host())
				a, b := newPuncher(t, n, test.a, server), newPuncher(t, n, test.b, server)
				a.peer, b.peer = b.seen, a.seen
				for range 3 {
					a.send(a.peer, "punch")
					b.send(b.peer, "punch")
					a.listen()
					b.listen()
				}
				if direct := a.heard && b.heard; direct != test.direct {
					t.Errorf("a hears b: %v, b hears a: %v; want both: %v", a.heard, b.heard, test.direct)
				}
			})
		})
	}
}

// A puncher is a host that wants to reach another.
type puncher struct {
	*sock
	seen  netip.AddrPort // by the server
	peer  netip.AddrPort // to where it sends
	heard bool
}

func newPuncher(t *testing.T, n *Network, nat *NAT, server *sock) *puncher {
	at := n.Internet()
	if nat != nil {
		at = n.Router(RouterConfig{NAT: nat})
	}
	p := &puncher{sock: newSock(t, at.Host())}
	p.send(server.addr, "hello")
	p.seen = server.want("the server is reached", "hello")
	return p
}

// listen answers to where datagrams come from.
func (p *puncher) listen() {
	if _, from, ok := p.get(); ok {
		p.peer, p.heard = from, true
	}
}

func TestHairpin(t *testing.T) {
	for _, test := range []struct {
		says string
		nat  NAT
		want bool
	}{
		{"without hairpinning nothing comes back", NAT{}, false},
		{"with it, everybody inside may send to an open port", NAT{Hairpin: true}, true},
		{"the filtering holds inside too", NAT{Hairpin: true, Filtering: AddressAndPortDependent}, false},
	} {
		t.Run(test.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newNATLab(t, test.nat)
				neighbour := newSock(t, l.home.Host())
				outside := l.seenBy(l.server)
				if got := neighbour.reaches(outside, l.host); got != test.want {
					t.Errorf("got through: %v, want %v", got, test.want)
				}
				if !test.want {
					return
				}
				neighbour.send(outside, "who am I")
				from := l.host.want("a neighbour arrives", "who am I")
				if from.Addr() != outside.Addr() {
					t.Errorf("the neighbour seems to be %v, want it at the NAT's outside address", from)
				}
				if !l.host.reaches(from, neighbour) {
					t.Errorf("the answer does not come back")
				}
			})
		})
	}
	t.Run("both may send once both have sent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newNATLab(t, NAT{Hairpin: true, Filtering: AddressAndPortDependent})
			neighbour := newSock(t, l.home.Host())
			neighbour.send(l.server.addr, "hello")
			theirs, ours := l.server.want("the neighbour is seen", "hello"), l.seenBy(l.server)
			neighbour.send(ours, "opens")
			l.host.send(theirs, "arrives")
			neighbour.want("the way is open", "arrives")
			if !neighbour.reaches(ours, l.host) {
				t.Errorf("the way back is closed")
			}
		})
	})
}

func TestPortChoice(t *testing.T) {
	// externals returns the external ports of sockets on 4,000 of six hosts.
	externals := func(t *testing.T, choice PortChoice) (ports []uint16) {
		n := newNet(t)
		server := newSock(t, n.Host())
		home := n.Router(RouterConfig{NAT: &NAT{Ports: choice}})
		for range 6 {
			s := newSockOn(t, home.Host(), ":4000")
			s.send(server.addr, "hello")
			ports = append(ports, server.want("the server is reached", "hello").Port())
		}
		sorted := slices.Sorted(slices.Values(ports))
		if len(slices.Compact(sorted)) != len(ports) {
			t.Errorf("ports %v: one was given twice", ports)
		}
		return ports
	}
	steps := func(ports []uint16) (n int) {
		for i := range ports[1:] {
			if ports[i+1] == ports[i]+1 {
				n++
			}
		}
		return n
	}
	synctest.Test(t, func(t *testing.T) {
		if got := externals(t, PreservePorts); got[0] != 4000 || got[1] != 4001 {
			t.Errorf("preserving: %v, want 4000 for the first, and the next free ones", got)
		}
		if got := externals(t, SequentialPorts); steps(got) != 5 {
			t.Errorf("sequential: %v", got)
		}
		if got := externals(t, RandomPorts); steps(got) > 1 {
			t.Errorf("random: %v", got)
		}
		if a, b := externals(t, RandomPorts), externals(t, RandomPorts); !slices.Equal(a, b) {
			t.Errorf("the same seed: %v, and then %v", a, b)
		}
	})
}

func TestMappingLifetime(t *testing.T) {
	second := time.Second
	for _, test := range []struct {
		says    string
		timeout time.Duration
		steps   func(l *natLab, outside netip.AddrPort)
		alive   bool
	}{
		{"it lives for two minutes", 0, func(l *natLab, _ netip.AddrPort) {
			time.Sleep(DefaultTimeout - second)
		}, true},
		{"and no longer", 0, func(l *natLab, _ netip.AddrPort) {
			time.Sleep(DefaultTimeout)
		}, false},
		{"as long as was said", time.Hour, func(l *natLab, _ netip.AddrPort) {
			time.Sleep(time.Hour - second)
		}, true},
		{"what goes out prolongs it", 0, func(l *natLab, _ netip.AddrPort) {
			time.Sleep(DefaultTimeout - second)
			l.host.send(l.server.addr, "still there")
			time.Sleep(DefaultTimeout - second)
		}, true},
		{"what comes in does not", 0, func(l *natLab, outside netip.AddrPort) {
			time.Sleep(DefaultTimeout - second)
			l.server.send(outside, "still there")
			time.Sleep(DefaultTimeout - second)
		}, false},
		{"what goes to others does not open it for the first", 0, func(l *natLab, _ netip.AddrPort) {
			time.Sleep(DefaultTimeout - second)
			l.host.send(l.server2.addr, "hello")
			time.Sleep(DefaultTimeout - second)
		}, false},
		{"a restart of the router ends it", 0, func(l *natLab, _ netip.AddrPort) {
			l.home.Reset()
		}, false},
	} {
		t.Run(test.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNet(t)
				home := n.Router(RouterConfig{NAT: EasyNAT(), Timeout: test.timeout})
				l := &natLab{Network: n, home: home, host: newSock(t, home.Host()), server: newSock(t, n.Host()), server2: newSock(t, n.Host())}
				outside := l.seenBy(l.server)
				test.steps(l, outside)
				for l.host.pcHas() {
				}
				l.server.send(outside, "answer")
				if got := l.host.pcHas(); got != test.alive {
					t.Errorf("alive: %v, want %v", got, test.alive)
				}
			})
		})
	}
	t.Run("its port is free for others then", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newNATLab(t, NAT{})
			outside := l.seenBy(l.server)
			neighbour := newSockOn(t, l.home.Host(), fmt.Sprintf(":%d", outside.Port()))
			time.Sleep(DefaultTimeout)
			neighbour.send(l.server.addr, "hello")
			if got := l.server.want("the neighbour arrives", "hello"); got != outside {
				t.Errorf("the neighbour got %v, want %v", got, outside)
			}
			if again := l.seenBy(l.server); again == outside {
				t.Errorf("the port was given twice")
			}
		})
	})
}

// pcHas takes a datagram that is there, without letting time pass.
func (s *sock) pcHas() bool {
	s.pc.SetReadDeadline(time.Now().Add(time.Nanosecond))
	_, _, err := s.pc.(addrPortConn).ReadFromUDPAddrPort(make([]byte, 100))
	return err == nil
}

// TestTranslatorIsBounded sends to and from ever new endpoints for hours.
func TestTranslatorIsBounded(t *testing.T) {
	tr := newTranslator(*HardNAT(), ip("198.18.0.1"), DefaultTimeout, rand.New(rand.NewPCG(1, 1)))
	fw := &firewall{timeout: DefaultTimeout}
	chance := rand.New(rand.NewPCG(2, 2))
	endpoint := func() netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{8, 8, byte(chance.Uint32()), byte(chance.Uint32())}), uint16(chance.Uint32()))
	}
	refused := 0
	for i := range 100_000 {
		now := time.Duration(i) * 10 * time.Millisecond // 12,000 within a timeout
		inside, remote := endpoint(), endpoint()
		if _, ok := tr.outbound(now, udp, inside, remote); !ok {
			refused++
		}
		fw.outbound(now, udp, inside, remote)
	}
	if refused > 0 {
		t.Errorf("%d packets found no port, of ports enough", refused)
	}
	if n := len(tr.mappings); n > portCount || len(tr.ports) > portCount {
		t.Errorf("%d mappings on %d ports", n, len(tr.ports))
	}
	if n, m := len(tr.sent.expires), len(fw.sent.expires); n > 40_000 || m > 40_000 {
		t.Errorf("%d and %d flows are remembered, of 12,000 alive", n, m)
	}
}

func TestAllPortsTaken(t *testing.T) {
	tr := newTranslator(NAT{Ports: SequentialPorts}, ip("198.18.0.1"), DefaultTimeout, rand.New(rand.NewPCG(1, 1)))
	inside := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 5000)
	}
	remote := ipPort("9.9.9.9:9")
	for i := range portCount {
		if _, ok := tr.outbound(0, udp, inside(i), remote); !ok {
			t.Fatalf("no port for mapping %d", i)
		}
	}
	if _, ok := tr.outbound(0, udp, inside(portCount), remote); ok {
		t.Error("a port beyond the last")
	}
	if _, ok := tr.outbound(0, tcp, inside(portCount), remote); !ok {
		t.Error("TCP has ports of its own")
	}
	if _, ok := tr.outbound(0, udp, inside(0), remote); !ok {
		t.Error("who has a port keeps it")
	}
	if _, ok := tr.outbound(DefaultTimeout, udp, inside(portCount), remote); !ok {
		t.Error("ports are free after the timeout")
	}
}
