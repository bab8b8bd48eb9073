package socks5

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// listenHost is a ListenPacket hook: the host's loopback.
func listenHost(context.Context, string, string) (net.PacketConn, error) {
	return net.ListenPacket("udp4", "127.0.0.1:0")
}

func listenUDP(t testing.TB, address string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.UDPConn)
}

func addrOf(conn *net.UDPConn) netip.AddrPort { return addrPort(conn.LocalAddr()) }

// udpEcho returns the address of a target that answers with what it is sent.
func udpEcho(t testing.TB, address string) netip.AddrPort {
	t.Helper()
	conn := listenUDP(t, address)
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			conn.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	return addrOf(conn)
}

// A udpClient has an association with a Server, over the host's loopback.
type udpClient struct {
	*net.UDPConn
	control *client
	relay   netip.AddrPort // where its datagrams go
	ended   chan struct{}  // closed when the Server is done with it
	t       testing.TB
}

// associate asks s for an association on a host, and says that it will come
// from its own port, or from port 0 when that is to be found out.
func associate(t testing.TB, s *Server, host string, tell bool) *udpClient {
	t.Helper()
	s.Dial = meshTargets.Dial
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skip(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	u := &udpClient{UDPConn: listenUDP(t, net.JoinHostPort(host, "0")), control: &client{near, t}, ended: make(chan struct{}), t: t}
	go func() {
		defer close(u.ended)
		s.ServeConn(context.Background(), far)
	}()
	t.Cleanup(func() {
		near.Close()
		<-u.ended
	})
	var port uint16
	if tell {
		port = addrOf(u.UDPConn).Port()
	}
	u.control.request(Associate, "0.0.0.0", port)
	want := reply(succeeded, ln.Addr().String())
	got := make([]byte, len(want))
	if _, err := near.Read(got); err != nil || !bytes.Equal(got[:len(got)-2], want[:len(want)-2]) {
		t.Fatalf("the reply to UDP ASSOCIATE is %x, %v", got, err)
	}
	bound, err := parseAddress(got[3:])
	if err != nil {
		t.Fatal(err)
	}
	u.relay = netip.AddrPortFrom(bound.ip, bound.port)
	return u
}

// sendTo sends a datagram for a target, given as it stands in a datagram.
func (u *udpClient) sendTo(target []byte, data string) {
	u.t.Helper()
	if _, err := u.WriteToUDPAddrPort(join([]byte{0, 0, 0}, target, []byte(data)), u.relay); err != nil {
		u.t.Fatal(err)
	}
}

// want reads the next datagram.
func (u *udpClient) want(sentence string, from netip.AddrPort, data string) {
	u.t.Helper()
	u.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 1<<16)
	n, _, err := u.ReadFromUDPAddrPort(buf)
	if want := append(appendHeader(nil, from), data...); err != nil || !bytes.Equal(buf[:n], want) {
		u.t.Fatalf("%s: read %.100q (%d bytes), %v; want %.100q", sentence, buf[:n], n, err, want)
	}
}

func TestAssociate(t *testing.T) {
	s := &Server{ListenPacket: listenHost}
	u := associate(t, s, "127.0.0.1", false)
	one, two := udpEcho(t, "127.0.0.1:0"), udpEcho(t, "127.0.0.1:0")
	u.sendTo(wire(one), "to one")
	u.want("one replies", one, "to one")
	u.sendTo(wire(two), "to two")
	u.want("two replies", two, "to two")
	u.sendTo(wire(one), "")
	u.want("empty datagrams pass", one, "")
	u.control.Close()
	<-u.ended
}

func TestAssociateIPv6(t *testing.T) {
	s := &Server{ListenPacket: func(context.Context, string, string) (net.PacketConn, error) {
		return net.ListenPacket("udp", ":0") // both families
	}}
	u := associate(t, s, "::1", true)
	six, four := udpEcho(t, "[::1]:0"), udpEcho(t, "127.0.0.1:0")
	u.sendTo(wire(six), "over IPv6")
	u.want("a target on IPv6 replies", six, "over IPv6")
	u.sendTo(wire(four), "over IPv4")
	u.want("so does one on IPv4", four, "over IPv4")
}

// A socket without the methods of net.UDPConn will do.
type plainPackets struct{ net.PacketConn }

func TestAssociateOverAnyPacketConn(t *testing.T) {
	u := associate(t, &Server{ListenPacket: func(ctx context.Context, network, address string) (net.PacketConn, error) {
		if network != "udp" || address != ":0" {
			t.Errorf("ListenPacket was called with %s, %s", network, address)
		}
		pc, err := listenHost(ctx, network, address)
		return plainPackets{pc}, err
	}}, "127.0.0.1", false)
	target := udpEcho(t, "127.0.0.1:0")
	u.sendTo(wire(target), "hello")
	u.want("the target replies", target, "hello")
}

// What nobody asked for is not passed on, whoever wrote last.
func TestOnlyTargetsReply(t *testing.T) {
	farSide := make(chan net.PacketConn, 1)
	u := associate(t, &Server{ListenPacket: func(ctx context.Context, network, address string) (net.PacketConn, error) {
		pc, err := listenHost(ctx, network, address)
		farSide <- pc
		return pc, err
	}}, "127.0.0.1", false)
	relayed := addrPort((<-farSide).LocalAddr())
	stranger, target := listenUDP(t, "127.0.0.1:0"), udpEcho(t, "127.0.0.1:0")
	spoof := func() {
		if _, err := stranger.WriteToUDPAddrPort([]byte("spoofed"), relayed); err != nil {
			t.Fatal(err)
		}
	}
	spoof() // before there is a flow
	u.sendTo(wire(target), "first")
	u.want("the target replies", target, "first")
	spoof() // and after
	u.sendTo(wire(target), "second")
	u.want("the target replies again", target, "second")
}

func TestOnlyTheClientSends(t *testing.T) {
	target := udpEcho(t, "127.0.0.1:0")
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprintf("port told %v", told), func(t *testing.T) {
			u := associate(t, &Server{ListenPacket: listenHost}, "127.0.0.1", told)
			if !told {
				u.sendTo(wire(target), "this is my port")
				u.want("the first datagram tells the port", target, "this is my port")
			}
			otherPort := *u
			otherPort.UDPConn = listenUDP(t, "127.0.0.1:0")
			otherPort.sendTo(wire(target), "from another port")
			u.sendTo(wire(target), "from the client")
			u.want("only the client's datagram is answered", target, "from the client")
		})
	}
	t.Run("another host", func(t *testing.T) {
		conn, err := net.ListenPacket("udp4", "127.0.0.2:0")
		if err != nil {
			t.Skip(err)
		}
		defer conn.Close()
		u := associate(t, &Server{ListenPacket: listenHost}, "127.0.0.1", false)
		otherHost := *u
		otherHost.UDPConn = conn.(*net.UDPConn)
		otherHost.sendTo(wire(target), "from another host")
		u.sendTo(wire(target), "from the client")
		u.want("the first datagram from elsewhere does not become the client", target, "from the client")
	})
}

func TestMalformedDatagramsAreDropped(t *testing.T) {
	u := associate(t, &Server{ListenPacket: listenHost}, "127.0.0.1", false)
	target := udpEcho(t, "127.0.0.1:0")
	stranger := *u
	stranger.UDPConn = listenUDP(t, "127.0.0.1:0")
	for _, b := range [][]byte{
		{}, {0}, {0, 0, 0}, {0, 0, 0, 1}, {0, 0, 0, 9, 9, 9, 9, 9, 9},
		join([]byte{0, 0, 1}, wire(target), []byte("a fragment")),
		join([]byte{0, 0, 0x81}, wire(target), []byte("the last fragment")),
		join([]byte{0, 0, 0}, wire(netip.AddrPortFrom(target.Addr(), 0)), []byte("to port 0")),
		join([]byte{0, 0, 0}, wireName("", target.Port()), []byte("to no name")),
		join([]byte{0, 0, 0}, wireName("127.0.0.1\x00", target.Port()), []byte("to a name with NUL")),
	} {
		if _, err := u.WriteToUDPAddrPort(b, u.relay); err != nil {
			t.Fatal(err)
		}
	}
	u.sendTo(wire(target), "well formed")
	u.want("only the datagram without faults is answered", target, "well formed")
}

func TestLargeDatagramsAreWholeOrDropped(t *testing.T) {
	u := associate(t, &Server{ListenPacket: listenHost}, "127.0.0.1", false)
	target := listenUDP(t, "127.0.0.1:0")
	const header = 10
	largest := string(bytes.Repeat([]byte("x"), 65507-header))
	u.sendTo(wire(addrOf(target)), largest)
	buf := make([]byte, 1<<16)
	target.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, from, err := target.ReadFromUDPAddrPort(buf)
	if err != nil || n != len(largest) {
		t.Fatalf("the target read %d bytes, %v", n, err)
	}
	for _, size := range []int{65507, 65507 - header + 1, 65507 - header} {
		if _, err := target.WriteToUDPAddrPort(make([]byte, size), from); err != nil {
			t.Fatal(err)
		}
	}
	u.want("only the reply that fits arrives", addrOf(target), string(make([]byte, 65507-header)))
}

func TestNamesInDatagrams(t *testing.T) {
	target := udpEcho(t, "127.0.0.1:0")
	name := func(n string) []byte { return wireName(n, target.Port()) }
	slow := make(chan struct{})
	var asked atomic.Int32
	u := associate(t, &Server{
		ListenPacket: listenHost,
		Resolve: func(ctx context.Context, network, host string) ([]netip.Addr, error) {
			switch host {
			case "slow.mesh":
				asked.Add(1)
				<-slow
			case "fast.mesh":
			default:
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
			return []netip.Addr{target.Addr()}, nil
		},
	}, "127.0.0.1", false)
	u.sendTo(name("slow.mesh"), "slow 1")
	u.sendTo(name("slow.mesh"), "slow 2")
	u.sendTo(name("nobody.mesh"), "lost")
	u.sendTo(name("fast.mesh"), "fast")
	u.want("one name does not wait for another", target, "fast")
	u.sendTo(name("127.0.0.1"), "no name")
	u.want("an address in the form of a name is not resolved", target, "no name")
	close(slow)
	u.want("what was sent to a name that is slow to resolve is held", target, "slow 1")
	u.want("all of it", target, "slow 2")
	u.sendTo(name("slow.mesh"), "slow 3")
	u.want("the name is known then", target, "slow 3")
	if n := asked.Load(); n != 1 {
		t.Errorf("a name was resolved %d times", n)
	}
}

func TestNamesWithoutResolve(t *testing.T) {
	target := udpEcho(t, "127.0.0.1:0")
	u := associate(t, &Server{ListenPacket: listenHost}, "127.0.0.1", false)
	u.sendTo(wireName("localhost", target.Port()), "the host is not asked")
	u.sendTo(wire(target), "by address")
	u.want("only the address is sent to", target, "by address")
}

func TestAllowIsAskedForEveryTarget(t *testing.T) {
	good, bad := udpEcho(t, "127.0.0.1:0"), udpEcho(t, "127.0.0.1:0")
	var mu sync.Mutex
	asked := make(map[string]int)
	u := associate(t, &Server{
		ListenPacket: listenHost,
		Resolve: func(context.Context, string, string) ([]netip.Addr, error) {
			return []netip.Addr{good.Addr()}, nil
		},
		Allow: func(_ context.Context, r *Request) error {
			mu.Lock()
			defer mu.Unlock()
			asked[fmt.Sprint(r.Command, " ", r.Address())]++
			if r.Port == bad.Port() {
				return errors.New("not there")
			}
			return nil
		},
	}, "127.0.0.1", true)
	for range 3 {
		u.sendTo(wire(bad), "forbidden")
		u.sendTo(wireName("bad.mesh", bad.Port()), "forbidden by name")
		u.sendTo(wire(good), "allowed")
		u.want("only the target that is allowed replies", good, "allowed")
		u.sendTo(wireName("good.mesh", good.Port()), "allowed")
		u.want("and does so by its name", good, "allowed")
	}
	mu.Lock()
	defer mu.Unlock()
	for _, target := range []string{":0", bad.String(), good.String(), fmt.Sprintf("bad.mesh:%d", bad.Port()), fmt.Sprintf("good.mesh:%d", good.Port())} {
		if n := asked["UDP ASSOCIATE "+target]; n != 1 {
			t.Errorf("Allow was asked %d times about %s", n, target)
		}
	}
	if len(asked) != 5 {
		t.Errorf("Allow was asked about %v", asked)
	}
}

func TestAssociationEndsWithTheServer(t *testing.T) {
	s := &Server{ListenPacket: listenHost}
	u := associate(t, s, "127.0.0.1", false)
	target := udpEcho(t, "127.0.0.1:0")
	u.sendTo(wire(target), "hello")
	u.want("the target replies", target, "hello")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); err != context.Canceled {
		t.Errorf("Shutdown returned %v", err)
	}
	<-u.ended
}

func TestAssociationWithoutASocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, &Server{
			Dial: meshTargets.Dial,
			ListenPacket: func(context.Context, string, string) (net.PacketConn, error) {
				return nil, os.ErrPermission
			},
		})
		c := p.connect(t)
		c.request(Associate, "0.0.0.0", 0)
		c.want("the client is told", failed(notAllowed))
		c.wantEnd("and the connection ends")
	})
}

// memPackets are a socket in memory: what is sent goes to out.
type memPackets struct {
	in, out chan memDatagram
	closed  chan struct{}
	close   sync.Once
}

type memDatagram struct {
	addr netip.AddrPort
	data string
}

func newPackets() *memPackets {
	return &memPackets{in: make(chan memDatagram), out: make(chan memDatagram, 1000), closed: make(chan struct{})}
}

func (p *memPackets) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case d := <-p.in:
		return copy(b, d.data), d.addr, nil
	case <-p.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (p *memPackets) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	p.out <- memDatagram{to, string(b)}
	return len(b), nil
}

func (p *memPackets) Close() error {
	p.close.Do(func() { close(p.closed) })
	return nil
}

// A memAssociation is an association between sockets in memory, for fake time.
type memAssociation struct {
	*association
	near, far *memPackets
	control   net.Conn
	ended     chan error
}

var clientAddr = netip.MustParseAddrPort("127.0.0.1:50000")

func newAssociation(t *testing.T, s *Server) *memAssociation {
	m := &memAssociation{near: newPackets(), far: newPackets(), ended: make(chan error, 1)}
	m.association = &association{
		srv:    s,
		near:   m.near,
		far:    m.far,
		client: netip.AddrPortFrom(clientAddr.Addr(), 0),
		moved:  time.Now(),
	}
	var server net.Conn
	m.control, server = memPipe(tcpAddr("127.0.0.1:1"), tcpAddr("127.0.0.1:2"))
	go func() { m.ended <- m.run(context.Background(), server) }()
	t.Cleanup(func() { m.control.Close() })
	return m
}

func (m *memAssociation) sendTo(target []byte, data string) {
	m.near.in <- memDatagram{clientAddr, string(join([]byte{0, 0, 0}, target, []byte(data)))}
}

func TestIdleAssociationsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newAssociation(t, &Server{IdleTimeout: time.Minute})
		begin := time.Now()
		time.Sleep(59 * time.Second)
		m.sendTo(wire(dns1), "question")
		time.Sleep(59 * time.Second)
		m.far.in <- memDatagram{dns1, "answer"}
		time.Sleep(59 * time.Second)
		m.far.in <- memDatagram{dns2, "nobody asked"}
		if err := <-m.ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the association ended with %v", err)
		}
		if took := time.Since(begin); took != (59+59+60)*time.Second {
			t.Errorf("the association ended after %v", took)
		}
	})
}

func TestFlowsOfAnAssociationExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newAssociation(t, new(Server))
		m.sendTo(wire(dns1), "question")
		time.Sleep(flowLife - 1)
		m.far.in <- memDatagram{dns1, "answer"}
		time.Sleep(flowLife)
		m.far.in <- memDatagram{dns1, "far too late"}
		m.control.Close()
		if err := <-m.ended; err != nil {
			t.Errorf("the association ended with %v after its client had left", err)
		}
		if got := <-m.near.out; got != (memDatagram{clientAddr, string(appendHeader(nil, dns1)) + "answer"}) || len(m.near.out) != 0 {
			t.Errorf("the client got %v and %d more", got, len(m.near.out))
		}
		if m.sent != 8 || m.received != 6 {
			t.Errorf("%d bytes sent, %d received", m.sent, m.received)
		}
	})
}

// A client that names many new targets at once has few of them asked about, and
// those who answer late keep nobody from ending.
func TestAskingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		m := newAssociation(t, &Server{Allow: func(ctx context.Context, r *Request) error {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			<-ctx.Done()
			return ctx.Err()
		}})
		for i := range 10 * maxAsking {
			m.sendTo(wireName(fmt.Sprint("host", i), 53), "question")
		}
		synctest.Wait()
		if most.Load() != maxAsking {
			t.Errorf("%d were asked about at once", most.Load())
		}
		time.Sleep(defaultDialTimeout)
		synctest.Wait()
		if now.Load() != 0 {
			t.Error("Allow has no deadline")
		}
		m.sendTo(wireName("one-more", 53), "question")
		synctest.Wait()
		m.control.Close()
		if err := <-m.ended; err != nil || now.Load() != 0 || m.flows.held != 0 {
			t.Errorf("the association ended with %v; %d are being asked, %d bytes held", err, now.Load(), m.flows.held)
		}
		if len(m.far.out) != 0 {
			t.Errorf("%d datagrams were sent", len(m.far.out))
		}
	})
}

func TestNoAllocationPerDatagram(t *testing.T) {
	roundTrip := datagramRoundTrip(t, "127.0.0.1")
	if n := testing.AllocsPerRun(200, roundTrip); n >= 1 {
		t.Errorf("%v allocations for a datagram and its reply", n)
	}
}

func BenchmarkDatagram(b *testing.B) {
	roundTrip := datagramRoundTrip(b, "127.0.0.1")
	b.ReportAllocs()
	for b.Loop() {
		roundTrip()
	}
}

// datagramRoundTrip returns a function that sends a datagram by name through
// an association, and reads the reply.
func datagramRoundTrip(t testing.TB, host string) func() {
	target := udpEcho(t, net.JoinHostPort(host, "0"))
	u := associate(t, &Server{
		ListenPacket: listenHost,
		Resolve: func(context.Context, string, string) ([]netip.Addr, error) {
			return []netip.Addr{target.Addr()}, nil
		},
	}, host, false)
	u.SetReadDeadline(time.Now().Add(time.Minute))
	question := join([]byte{0, 0, 0}, wireName("echo.mesh", target.Port()), make([]byte, 1200))
	buf := make([]byte, 1<<16)
	roundTrip := func() {
		u.WriteToUDPAddrPort(question, u.relay)
		if _, _, err := u.ReadFromUDPAddrPort(buf); err != nil {
			t.Fatal(err)
		}
	}
	roundTrip()
	return roundTrip
}
