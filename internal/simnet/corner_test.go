package simnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// mustListen listens until the test ends.
func mustListen(t *testing.T, h *Host, addr string) net.Listener {
	t.Helper()
	ln, err := h.Listen(t.Context(), "tcp", addr)
	return closeLater(t, ln, err)
}

// TestCutWhileTheAnswerIsUnderWay cuts the link between the request of a dial
// and its answer.
func TestCutWhileTheAnswerIsUnderWay(t *testing.T) {
	for _, test := range []struct {
		says string
		cut  time.Duration
		want error
		took time.Duration
	}{
		{"a cut that heals delays it", 3 * time.Second, nil, 3*time.Second + 2*latency},
		{"a cut that stays fails it", time.Hour, syscall.ETIMEDOUT, keepalive + latency*3/2},
	} {
		t.Run(test.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNet(t)
				client, server := n.Host(), n.Host()
				mustListen(t, server, ":80")
				client.Link().Set(Quality{Latency: latency})
				time.AfterFunc(latency*3/2, client.Link().Cut)
				time.AfterFunc(latency*3/2+test.cut, client.Link().Heal)
				start := time.Now()
				c, err := client.DialContext(t.Context(), "tcp", netip.AddrPortFrom(server.Addrs()[0], 80).String())
				if !errors.Is(err, test.want) || time.Since(start).Truncate(time.Second) != test.took.Truncate(time.Second) {
					t.Errorf("%v after %v; want %v after about %v", err, time.Since(start), test.want, test.took)
				}
				if err == nil {
					c.Close()
				}
			})
		})
	}
}

// TestCutBehindARequest cuts a link that the request of a dial has passed.
func TestCutBehindARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		client, server := n.Host(), n.Host()
		ln := mustListen(t, server, ":80")
		server.Link().Set(Quality{Latency: latency})
		time.AfterFunc(latency/2, client.Link().Cut)
		time.AfterFunc(time.Minute, client.Link().Heal)
		go func() {
			c, err := ln.Accept()
			if err == nil {
				c.Write([]byte("hello"))
				c.Close()
			}
		}()
		c, err := client.DialContext(t.Context(), "tcp", netip.AddrPortFrom(server.Addrs()[0], 80).String())
		l := &streamLab{n, t, client, closeLater(t, c, err), nil}
		l.want("the server has spoken meanwhile", c, "hello")
	})
}

// TestSlowDialAsksOnce has a round trip longer than a dial waits before it asks
// again: two requests arrive, for one connection.
func TestSlowDialAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		client, server := n.Host(), n.Host()
		client.Link().Set(Quality{Latency: 1200 * time.Millisecond})
		ln := mustListen(t, server, ":80")
		c, err := client.DialContext(t.Context(), "tcp", netip.AddrPortFrom(server.Addrs()[0], 80).String())
		closeLater(t, c, err)
		ln.Accept()
		ln.(*listener).SetDeadline(time.Now().Add(time.Hour))
		if _, err := ln.Accept(); !isTimeout(err) {
			t.Errorf("another connection came: %v", err)
		}
	})
}

func TestFullBacklogDropsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		h := n.Host()
		ln := mustListen(t, h, "127.0.0.1:80")
		dial := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := h.DialContext(ctx, "tcp", "localhost:80")
			return err
		}
		for range backlog {
			if err := dial(); err != nil {
				t.Fatal(err)
			}
		}
		if err := dial(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the backlog is full, and a dial says %v", err)
		}
		time.AfterFunc(time.Second/2, func() { ln.Accept() })
		if err := dial(); err != nil {
			t.Errorf("there is room again, and a dial says %v", err)
		}
	})
}

// TestDialThroughTheOwnNAT has a host that dials its own forward: one link is
// on the way twice.
func TestDialThroughTheOwnNAT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		home := n.Router(RouterConfig{NAT: &NAT{Hairpin: true}})
		h := home.Host()
		ln := mustListen(t, h, ":80")
		outside, err := home.Forward("tcp", 80, netip.AddrPortFrom(h.Addrs()[0], 80), 0)
		if err != nil {
			t.Fatal(err)
		}
		there, err := h.DialContext(t.Context(), "tcp", outside.String())
		closeLater(t, there, err)
		back, err := ln.Accept()
		closeLater(t, back, err)
		l := &streamLab{n, t, h, there, back}
		h.Link().Cut()
		l.write(there, "hello")
		l.wantNothing("the link is cut", back, time.Second)
		h.Link().Heal()
		l.want("the link is healed", back, "hello")
		if back.RemoteAddr().(*net.TCPAddr).AddrPort().Addr() != home.Outside()[0] {
			t.Errorf("the other end is %v, want it outside", back.RemoteAddr())
		}
	})
}

// TestLoopback needs no network.
func TestLoopback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		h := n.Host()
		h.Move(nil)
		mustListen(t, h, ":80")
		for _, addr := range []string{":80", "localhost:80", "127.0.0.1:80", "[::1]:80", "0.0.0.0:80", "[::]:80"} {
			c, err := h.DialContext(t.Context(), "tcp", addr)
			if err != nil {
				t.Errorf("dial %s: %v", addr, err)
				continue
			}
			c.Close()
		}
		if _, err := h.DialContext(t.Context(), "tcp", "[::1]:81"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a closed port: %v", err)
		}
		local := newSockOn(t, h, "127.0.0.1:0")
		if _, err := local.pc.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(ipPort("8.8.8.8:53"))); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("from loopback to elsewhere: %v", err)
		}
		if gateway, ok := h.Gateway(); ok {
			t.Errorf("a host without a network has the gateway %v", gateway)
		}
	})
}

func TestPortsOfForwardsAndLowPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newNATLab(t, NAT{})
		before := l.seenBy(l.server)
		after, err := l.home.Forward("udp", before.Port(), l.host.addr, 0)
		if err != nil || after != before {
			t.Errorf("a forward of the port that packets have made: %v, %v; want %v", after, err, before)
		}
		for _, want := range []bool{true, false} {
			low := newSockOn(t, l.home.Host(), ":123")
			low.send(l.server.addr, "ntp")
			if got := l.server.want("a low port goes out", "ntp").Port(); (got == 123) != want {
				t.Errorf("the port is %d; kept: want %v", got, want)
			}
		}
		if _, err := l.home.Gateway().DialContext(t.Context(), "tcp4", "127.0.0.1:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the router dials itself: %v", err)
		}
		router := newSock(t, l.home.Gateway())
		if router.reaches(l.server.addr, l.server) {
			t.Error("the router's inside reached the outside")
		}
	})
}

// TestIPv6OnlyUplink has a NAT without an IPv4 address outside.
func TestIPv6OnlyUplink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		home := n.Router(RouterConfig{NAT: EasyNAT(), Outside: []netip.Addr{ip("2001:db8::77")},
			Inside: []netip.Prefix{prefix("192.168.1.1/24"), prefix("2001:db8:1::1/64")}})
		laptop, server := newSock(t, home.Host()), newSock(t, n.Host())
		if laptop.reaches(server.addr, server) {
			t.Error("IPv4 went out")
		}
		if !laptop.reaches(netip.AddrPortFrom(ip("2001:db8::1"), server.addr.Port()), server) {
			t.Error("IPv6 did not go out")
		}
		if _, err := home.Forward("udp", 0, laptop.addr, 0); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("a forward without an address outside: %v", err)
		}
	})
}

// TestMovedWhileUnderWay has a packet arrive where its host was.
func TestMovedWhileUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPair(t)
		l.b.Link().Set(Quality{Latency: latency})
		l.sockA.send(l.sockB.addr, "to the old place")
		l.b.Move(l.Internet(), ip("8.8.8.8"))
		l.sockB.wantNothing("it has moved")
	})
}
