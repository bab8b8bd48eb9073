package simnet

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestAddresses(t *testing.T) {
	n := newNet(t)
	home := n.Router(RouterConfig{NAT: EasyNAT(), Inside: []netip.Prefix{prefix("192.168.7.1/24"), prefix("2001:db8:1::1/64")}})
	for _, test := range []struct {
		says       string
		host       *Host
		interfaces []netip.Prefix
		gateway    string
	}{
		{"on the open internet, the next free", n.Host(), []netip.Prefix{prefix("198.18.0.2/15"), prefix("2001:db8::2/64")}, ""},
		{"on the open internet, any", n.Host(ip("8.8.8.8"), ip("2600::1")), []netip.Prefix{prefix("8.8.8.8/24"), prefix("2600::1/64")}, ""},
		{"at home, the next free", home.Host(), []netip.Prefix{prefix("192.168.7.2/24"), prefix("2001:db8:1::2/64")}, "192.168.7.1"},
		{"at home, IPv6 only", home.Host(ip("2001:db8:1::aa")), []netip.Prefix{prefix("2001:db8:1::aa/64")}, "2001:db8:1::1"},
		{"at home, the next again", home.Host(), []netip.Prefix{prefix("192.168.7.3/24"), prefix("2001:db8:1::3/64")}, "192.168.7.1"},
		{"the router itself", home.Gateway(), []netip.Prefix{prefix("192.168.7.1/24"), prefix("2001:db8:1::1/64")}, "192.168.7.1"},
	} {
		interfaces, err := test.host.Interfaces()
		if err != nil || !slices.Equal(interfaces, test.interfaces) {
			t.Errorf("%s: %v, %v; want %v", test.says, interfaces, err, test.interfaces)
		}
		gateway, ok := test.host.Gateway()
		if ok != (test.gateway != "") || ok && gateway != ip(test.gateway) {
			t.Errorf("%s: gateway %v, %v; want %v", test.says, gateway, ok, test.gateway)
		}
	}
	if got := home.Outside(); !slices.Equal(got, []netip.Addr{ip("198.18.0.1"), ip("2001:db8::1")}) {
		t.Errorf("the router is outside at %v", got)
	}
}

func TestMisusePanics(t *testing.T) {
	n := newNet(t)
	home := n.Router(RouterConfig{NAT: EasyNAT()})
	n.Host(ip("8.8.8.8"))
	for says, misuse := range map[string]func(){
		"an address twice":                     func() { n.Host(ip("8.8.8.8")) },
		"an address of another network":        func() { home.Host(ip("10.0.0.1")) },
		"an IPv6 address where there is none":  func() { home.Host(ip("2001:db8::1")) },
		"the router's own address":             func() { home.Host(ip("192.168.1.1")) },
		"a router without NAT and addresses":   func() { n.Router(RouterConfig{}) },
		"an address outside that somebody has": func() { n.Router(RouterConfig{NAT: EasyNAT(), Outside: []netip.Addr{ip("8.8.8.8")}}) },
		"the internet moved":                   func() { n.Internet().Move(home) },
		"a router moved behind itself":         func() { home.Move(home) },
		"a full network": func() {
			tiny := n.Router(RouterConfig{NAT: EasyNAT(), Inside: []netip.Prefix{prefix("10.0.0.1/30")}})
			for range 3 {
				tiny.Host()
			}
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", says)
				}
			}()
			misuse()
		}()
	}
	n.Host() // it is not locked
}

// TestFirewall has hosts with public addresses behind a stateful firewall.
func TestFirewall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		office := n.Router(RouterConfig{Firewall: true, Inside: []netip.Prefix{prefix("198.51.100.1/24"), prefix("2001:db8:7::1/64")}})
		inside := newSock(t, office.Host())
		neighbour := newSock(t, office.Host())
		host := n.Host()
		server, other := newSock(t, host), newSock(t, host)
		for _, family := range []int{0, 1} {
			addrOf := func(s *sock, h *Host) netip.AddrPort {
				return netip.AddrPortFrom(h.Addrs()[family], s.addr.Port())
			}
			insideAddr := netip.AddrPortFrom([]netip.Addr{ip("198.51.100.2"), ip("2001:db8:7::2")}[family], inside.addr.Port())
			if server.reaches(insideAddr, inside) {
				t.Error("nobody has asked, and something came in")
			}
			inside.send(addrOf(server, host), "hello")
			if from := server.want("everything goes out", "hello"); from != insideAddr {
				t.Errorf("a firewall translated %v to %v", insideAddr, from)
			}
			if !server.reaches(insideAddr, inside) {
				t.Error("an answer does not come in")
			}
			if other.reaches(insideAddr, inside) {
				t.Error("another port of the same server came in")
			}
			if !neighbour.reaches(insideAddr, inside) {
				t.Error("neighbours do not reach each other")
			}
			time.Sleep(DefaultTimeout)
			if server.reaches(insideAddr, inside) {
				t.Error("the firewall did not forget")
			}
		}
		if _, err := office.Forward("udp", 0, inside.addr, time.Hour); err != nil || !other.reaches(inside.addr, inside) {
			t.Errorf("a port that was opened is closed: %v", err)
		}
		time.Sleep(time.Hour)
		if other.reaches(inside.addr, inside) {
			t.Error("a port is open for longer than was asked")
		}
	})
}

// TestIPv6PassesBesideTheNAT has a home with IPv4 behind a NAT, and IPv6 with
// or without a firewall.
func TestIPv6PassesBesideTheNAT(t *testing.T) {
	for _, firewall := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := newNet(t)
			home := n.Router(RouterConfig{NAT: HardNAT(), Firewall: firewall,
				Inside: []netip.Prefix{prefix("192.168.1.1/24"), prefix("2001:db8:1::1/64")}})
			laptop, server := newSock(t, home.Host()), newSock(t, n.Host())
			laptop6 := netip.AddrPortFrom(ip("2001:db8:1::2"), laptop.addr.Port())
			if got := server.reaches(laptop6, laptop); got == firewall {
				t.Errorf("firewall %v, and IPv6 came in: %v", firewall, got)
			}
			if server.reaches(laptop.addr, laptop) {
				t.Error("a private address was reached from outside")
			}
		})
	}
}

// TestNestedNATs has two homes behind the NAT of one carrier.
func TestNestedNATs(t *testing.T) {
	for _, test := range []struct {
		says    string
		hairpin bool
	}{{"a carrier that hairpins", true}, {"a carrier that does not", false}} {
		t.Run(test.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNet(t)
				carrier := n.Router(RouterConfig{NAT: &NAT{Hairpin: test.hairpin}, Inside: []netip.Prefix{prefix("100.64.0.1/10")}})
				homeA, homeB := carrier.Router(RouterConfig{NAT: EasyNAT()}), carrier.Router(RouterConfig{NAT: EasyNAT()})
				a, b := newSock(t, homeA.Host()), newSock(t, homeB.Host())
				server := newSock(t, n.Host())
				if a.addr.Addr() != b.addr.Addr() {
					t.Fatalf("the homes have networks of their own: %v, %v", a.addr, b.addr)
				}
				a.send(server.addr, "from a")
				seenA := server.want("a is behind two NATs", "from a")
				b.send(server.addr, "from b")
				seenB := server.want("b is, too", "from b")
				if carrierAddr := carrier.Outside()[0]; seenA.Addr() != carrierAddr || seenB.Addr() != carrierAddr {
					t.Errorf("seen at %v and %v, want the carrier's address", seenA, seenB)
				}
				if !server.reaches(seenA, a) {
					t.Error("the answer does not find back through two NATs")
				}
				a.send(seenB, "opens the way")
				b.drain()
				if got := b.reaches(seenA, a); got != test.hairpin {
					t.Errorf("the homes reach each other: %v", got)
				}
			})
		})
	}
}

func TestBlockUDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		office := n.Router(RouterConfig{NAT: EasyNAT(), BlockUDP: true})
		h, server := office.Host(), n.Host()
		a, b := newSock(t, h), newSock(t, server)
		if a.reaches(b.addr, b) {
			t.Error("UDP is blocked, and something went out")
		}
		mustConnect(t, h, server)
		office.BlockUDP(false)
		if !a.reaches(b.addr, b) {
			t.Error("UDP is not blocked any more")
		}
		office.BlockUDP(true)
		if b.reaches(netip.AddrPortFrom(office.Outside()[0], a.addr.Port()), a) {
			t.Error("UDP is blocked, and something came in")
		}
	})
}

func TestForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		home := n.Router(RouterConfig{NAT: HardNAT()})
		laptop := newSockOn(t, home.Host(), ":5000")
		server, other := newSock(t, n.Host()), newSock(t, n.Host())
		outside, err := home.Forward("udp", 5000, laptop.addr, time.Hour)
		if err != nil || outside != netip.AddrPortFrom(home.Outside()[0], 5000) {
			t.Fatalf("got %v, %v; want the port that was wanted", outside, err)
		}
		if !other.reaches(outside, laptop) {
			t.Error("a forward lets everybody in")
		}
		laptop.send(server.addr, "hello")
		if from := server.want("it goes out", "hello"); from != outside {
			t.Errorf("it goes out from %v, want the forward's %v", from, outside)
		}
		neighbour := newSockOn(t, home.Host(), ":5000")
		if second, err := home.Forward("udp", 5000, neighbour.addr, 0); err != nil || second.Port() == 5000 {
			t.Errorf("a port that is taken: got %v, %v", second, err)
		}
		time.Sleep(30 * time.Minute)
		if again, err := home.Forward("udp", 6000, laptop.addr, time.Hour); err != nil || again != outside {
			t.Errorf("prolonged: %v, %v; want it unchanged", again, err)
		}
		time.Sleep(45 * time.Minute)
		if !other.reaches(outside, laptop) {
			t.Error("a forward that was prolonged has ended")
		}
		home.Unforward("udp", laptop.addr)
		if other.reaches(outside, laptop) {
			t.Error("a forward that was taken back is open")
		}
		if _, err := home.Forward("sctp", 0, laptop.addr, 0); err == nil {
			t.Error("a network that does not exist was forwarded")
		}
	})
}

// TestForwardOfStreams lets a server behind a NAT be dialed.
func TestForwardOfStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		home := n.Router(RouterConfig{NAT: EasyNAT()})
		nas := home.Host()
		ln, err := nas.Listen(t.Context(), "tcp", ":443")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		outside, err := home.Forward("tcp", 8443, netip.AddrPortFrom(nas.Addrs()[0], 443), 0)
		if err != nil {
			t.Fatal(err)
		}
		c, err := n.Host().DialContext(t.Context(), "tcp", outside.String())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if c.RemoteAddr().String() != outside.String() {
			t.Errorf("the remote address is %v, want the one that was dialed", c.RemoteAddr())
		}
	})
}

// TestGatewayServesTheLAN is what a simulated PCP server does.
func TestGatewayServesTheLAN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		home := n.Router(RouterConfig{NAT: EasyNAT()})
		laptop := newSock(t, home.Host())
		pcp := newSockOn(t, home.Gateway(), ":5351")
		laptop.send(pcp.addr, "request")
		if from := pcp.want("the router is reached from inside", "request"); from != laptop.addr {
			t.Errorf("the request comes from %v, want %v", from, laptop.addr)
		}
		if !pcp.reaches(laptop.addr, laptop) {
			t.Error("the router does not reach its LAN")
		}
		server := newSock(t, n.Host())
		if server.reaches(netip.AddrPortFrom(home.Outside()[0], 5351), pcp) {
			t.Error("the router is reached from outside")
		}
	})
}

func TestMoveOfHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		home := n.Router(RouterConfig{NAT: EasyNAT()})
		phone := home.Host()
		phone.Link().Set(Quality{Latency: time.Millisecond})
		a, server := newSock(t, phone), newSock(t, n.Host())
		bound := newSockOn(t, phone, netip.AddrPortFrom(phone.Addrs()[0], 0).String())
		if !a.reaches(server.addr, server) {
			t.Fatal("not reached from home")
		}
		oldAddr, oldLink := a.addr, phone.Link()

		phone.Move(n.Internet(), ip("8.8.4.4"))
		a.send(server.addr, "hello")
		if from := server.want("a socket on all addresses moves along", "hello"); from != netip.AddrPortFrom(ip("8.8.4.4"), a.addr.Port()) {
			t.Errorf("sent from %v", from)
		}
		if newSock(t, home.Host()).reaches(oldAddr, a) {
			t.Error("the old address still works")
		}
		if _, err := bound.pc.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(server.addr)); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("a socket on the old address: %v", err)
		}
		oldLink.Heal()
		if phone.Link() == oldLink {
			t.Error("a move makes a new link")
		}

		phone.Move(nil)
		if _, err := a.pc.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(server.addr)); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("without a network: %v", err)
		}
		if interfaces, _ := phone.Interfaces(); len(interfaces) != 0 {
			t.Errorf("without a network it has %v", interfaces)
		}
		phone.Move(home)
		a.send(server.addr, "back")
		if from := server.want("it is back", "back"); from.Addr() != home.Outside()[0] {
			t.Errorf("sent from %v", from)
		}
	})
}

func TestMoveOfRouter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		inside6 := prefix("2001:db8:1::1/64")
		home := n.Router(RouterConfig{NAT: EasyNAT(), Inside: []netip.Prefix{prefix("192.168.1.1/24"), inside6}})
		carrier := n.Router(RouterConfig{NAT: EasyNAT(), Inside: []netip.Prefix{prefix("100.64.0.1/10"), prefix("2001:db8:2::1/64")}})
		laptop, server := newSock(t, home.Host()), newSock(t, n.Host())
		laptop.send(server.addr, "hello")
		before := server.want("the server is reached", "hello")

		home.Move(n.Internet(), ip("8.8.8.8"))
		if server.reaches(before, laptop) {
			t.Error("the old address outside still works")
		}
		laptop.send(server.addr, "hello")
		if from := server.want("the new address", "hello"); from.Addr() != ip("8.8.8.8") {
			t.Errorf("sent from %v", from)
		}

		home.Move(carrier)
		laptop.send(server.addr, "hello")
		if from := server.want("behind the carrier", "hello"); from.Addr() != carrier.Outside()[0] {
			t.Errorf("sent from %v", from)
		}
		if !server.reaches(netip.AddrPortFrom(ip("2001:db8:1::2"), laptop.addr.Port()), laptop) {
			t.Error("the IPv6 addresses behind it have not moved along")
		}
	})
}

func TestUnreachable(t *testing.T) {
	n := newNet(t)
	four, six := n.Host(ip("8.8.8.8")), n.Host(ip("2600::1"))
	for _, test := range []struct {
		says string
		from *Host
		to   string
	}{{"IPv6 from a host with IPv4 only", four, "[2600::1]:1"}, {"IPv4 from a host with IPv6 only", six, "8.8.8.8:1"}} {
		if _, err := test.from.DialContext(t.Context(), "tcp", test.to); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("%s: TCP: %v", test.says, err)
		}
		pc, err := test.from.ListenPacket(t.Context(), "udp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		if _, err := pc.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(ipPort(test.to))); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("%s: UDP: %v", test.says, err)
		}
	}
	if _, err := four.ListenPacket(t.Context(), "udp", "9.9.9.9:0"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("an address of somebody else: %v", err)
	}
}
