package meshnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshnet-go/meshnet/internal/filter"
	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// A far network is what routers of tests lead to: every address of it is an
// echo that begins by saying its own.
type farNetwork struct {
	t *testing.T

	mu      sync.Mutex
	dialled []string
	pinged  chan netip.Addr
}

func newFarNetwork(t *testing.T) *farNetwork {
	return &farNetwork{t: t, pinged: make(chan netip.Addr, 10)}
}

func (f *farNetwork) router() *Router {
	return &Router{DialContext: f.dial, Ping: f.ping}
}

func (f *farNetwork) dial(_ context.Context, network, address string) (net.Conn, error) {
	f.mu.Lock()
	f.dialled = append(f.dialled, network+" "+address)
	f.mu.Unlock()
	if strings.HasSuffix(address, ":1") {
		return nil, syscall.ECONNREFUSED
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		buf := make([]byte, 2000)
		for {
			n, err := far.Read(buf)
			if err != nil {
				return
			}
			fmt.Fprintf(far, "%s: %s", address, buf[:n])
		}
	}()
	return near, nil
}

func (f *farNetwork) ping(_ context.Context, ip netip.Addr) error {
	f.pinged <- ip
	return nil
}

func (f *farNetwork) has(dialled string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.dialled {
		if strings.Contains(d, dialled) {
			return true
		}
	}
	return false
}

// approve approves what a node advertises.
func (m *mesh) approve(srv *Server, routes string) {
	m.t.Helper()
	for _, n := range m.coord.Nodes() {
		if n.Key == srv.Status().Self.Key {
			if err := m.coord.ApproveRoutes(context.Background(), n.ID, prefixes(routes)...); err != nil {
				m.t.Fatal(err)
			}
			return
		}
	}
	m.t.Fatalf("the coordinator does not know %s", srv.Hostname)
}

// leads waits until a route of srv leads to an address.
func leads(t *testing.T, srv *Server, address string) {
	t.Helper()
	ip, n := netip.MustParseAddr(address), srv.running()
	eventually(t, "a route leads to "+address, func() bool {
		m := n.view.load().netMap
		return m != nil && n.cfg.routes.reachable(m, ip, time.Now()) == nil
	})
}

// answer sends a text to an address and returns what comes back.
func answer(t *testing.T, srv *Server, network, address, text string) string {
	t.Helper()
	conn, err := srv.Dial(testCtx(t), network, address)
	if err != nil {
		t.Errorf("%s %s: %v", network, address, err)
		return ""
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Errorf("%s %s: %v", network, address, err)
	}
	buf := make([]byte, 2000)
	n, err := conn.Read(buf)
	if err != nil {
		t.Errorf("%s %s: %v", network, address, err)
	}
	return string(buf[:n])
}

func TestSubnetRouter(t *testing.T) {
	m := newMesh(t, nil)
	far := newFarNetwork(t)
	router := m.server("router")
	router.AdvertiseRoutes = prefixes("192.168.77.0/24 2001:db8:77::/48")
	router.Router = far.router()
	m.start(router)
	visitor := m.server("visitor")
	visitor.AcceptRoutes = true
	m.start(visitor)
	other := m.up("other") // does not accept routes
	if _, err := visitor.Dial(testCtx(t), "tcp", "192.168.77.5:80"); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("before the route is approved: %v", err)
	}
	m.approve(router, "192.168.77.0/24 2001:db8:77::/48")
	leads(t, visitor, "192.168.77.5")
	leads(t, visitor, "2001:db8:77::5")
	eventually(t, "the router knows that its routes are approved", func() bool { return len(router.Status().Self.Routes) == 2 })
	for srv, want := range map[*Server]int{visitor: 2, other: 0} {
		if i := slices.IndexFunc(srv.Status().Peers, router.is); i < 0 || len(srv.Status().Peers[i].Routes) != want {
			t.Errorf("the status of %s has the peers %+v", srv.Hostname, srv.Status().Peers)
		}
	}
	for _, network := range []string{"tcp", "udp"} {
		for _, address := range []string{"192.168.77.5:80", "[2001:db8:77::5]:80", "192.168.77.6:7"} {
			if got, want := answer(t, visitor, network, address, "hello"), address+": hello"; got != want {
				t.Errorf("%s %s answers %q", network, address, got)
			}
		}
	}
	if _, err := visitor.Dial(testCtx(t), "tcp", "192.168.77.5:1"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("where nobody is: %v", err)
	}
	if _, err := other.Dial(testCtx(t), "tcp", "192.168.77.5:80"); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("without AcceptRoutes: %v", err)
	}
	// The router's own addresses are not behind it.
	ip4, _ := router.IPs()
	if _, err := visitor.Dial(testCtx(t), "tcp", netip.AddrPortFrom(ip4, 80).String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a port of the router's: %v", err)
	}
	if far.has(ip4.String()) {
		t.Error("the router dials itself for a peer")
	}
}

func TestExitNode(t *testing.T) {
	m := newMesh(t, nil)
	far := newFarNetwork(t)
	exit := m.server("exit")
	exit.AdvertiseExitNode = true
	exit.Router = far.router()
	m.start(exit)
	visitor := m.server("visitor")
	visitor.ExitNode = "exit"
	m.start(visitor)
	echo(t, exit, "tcp")
	if _, err := visitor.Dial(testCtx(t), "tcp", "8.8.8.8:53"); !errors.Is(err, syscall.ENETUNREACH) || !strings.Contains(err.Error(), "does not offer to be one") {
		t.Errorf("before the exit node is approved: %v", err)
	}
	m.approve(exit, "0.0.0.0/0")
	leads(t, visitor, "8.8.8.8")
	if got := answer(t, visitor, "tcp", "8.8.8.8:53", "hello"); got != "8.8.8.8:53: hello" {
		t.Errorf("the Internet answers %q", got)
	}
	if got := answer(t, visitor, "tcp", "exit:7", "hello"); got != "hello" {
		t.Errorf("the exit node itself answers %q", got)
	}
	// What surrounds the exit node is not the Internet.
	for i, address := range []string{"192.168.0.1:80", "169.254.169.254:80", "10.0.0.1:80"} {
		sendTo(t, visitor, address)
		eventually(t, "the exit node drops packets to "+address, func() bool {
			c := exit.running().tun.Counters().Dropped
			return c[filter.DropNotLocal]+c[filter.DropLinkLocal] > uint64(i)
		})
	}
	if _, err := visitor.Dial(testCtx(t), "tcp", "127.0.0.1:80"); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("the loopback address through the exit node: %v", err)
	}
	if far.has("127.") || far.has("192.") || far.has("169.") || far.has("10.") {
		t.Errorf("the exit node has dialled %v", far.dialled)
	}
}

// start brings a node up like mesh.up.
func (m *mesh) start(s *Server) {
	m.t.Helper()
	if _, err := s.Up(testCtx(m.t)); err != nil {
		m.t.Fatalf("%s does not come up: %v", s.Hostname, err)
	}
	m.nodes = append(m.nodes, s)
}

// The packet filter decides on what is for others, as on what is for us.
func TestFilterHoldsForRoutes(t *testing.T) {
	s := newScripted(t)
	far := newFarNetwork(t)
	rule := tailcfg.FilterRule{SrcIPs: []string{"*"}, DstPorts: []tailcfg.NetPortRange{
		{IP: "192.168.77.0/25", Ports: tailcfg.PortRange{First: 80, Last: 80}},
	}}
	s.first = func(m *tailcfg.MapResponse) {
		m.PacketFilter = []tailcfg.FilterRule{rule}
		if m.Node.ID == 1 {
			m.Node.AllowedIPs = append(m.Node.AllowedIPs, prefixes("192.168.77.0/24")...)
		}
		for _, p := range m.Peers {
			if p.ID == 1 {
				p.AllowedIPs = append(p.AllowedIPs, prefixes("192.168.77.0/24 192.168.88.0/24")...)
			}
		}
	}
	router := s.server("router")
	router.AdvertiseRoutes = prefixes("192.168.77.0/24 192.168.88.0/24") // of which one is approved
	router.Router = far.router()
	if _, err := router.Up(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	visitor := s.server("visitor")
	visitor.AcceptRoutes = true
	if _, err := visitor.Up(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	s.tell(router, visitor, nil)
	if got := answer(t, visitor, "tcp", "192.168.77.5:80", "hello"); got != "192.168.77.5:80: hello" {
		t.Errorf("what is allowed answers %q", got)
	}
	for _, address := range []string{"192.168.77.5:81", "192.168.77.200:80"} {
		if _, err := visitor.Dial(testCtx(t), "tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial %s: %v", address, err)
		}
	}
	sendTo(t, visitor, "192.168.88.5:80")
	eventually(t, "a packet for a route that is not approved is dropped", dropped(router, filter.DropNotLocal))
	elsewhere := []tailcfg.FilterRule{{SrcIPs: []string{"*"}, DstPorts: []tailcfg.NetPortRange{{IP: "192.168.77.9", Ports: tailcfg.PortRange{First: 80, Last: 80}}}}}
	s.push(router, &tailcfg.MapResponse{PacketFilter: elsewhere}, func(m *netmap.Map) bool { return m.Rules[0].DstPorts[0].IP == "192.168.77.9" })
	if _, err := visitor.Dial(testCtx(t), "tcp", "192.168.77.5:80"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("when it is allowed no more: %v", err)
	}
	if far.has(":81") || far.has(".200") || far.has(".88.") {
		t.Errorf("the router has dialled %v", far.dialled)
	}
}

func sendTo(t *testing.T, from *Server, address string) {
	t.Helper()
	conn, err := from.Dial(testCtx(t), "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "hello")
}

func TestRouterAnswersPings(t *testing.T) {
	m := newMesh(t, nil)
	far := newFarNetwork(t)
	router := m.server("router")
	router.AdvertiseRoutes = prefixes("192.168.77.0/24")
	router.Router = far.router()
	m.start(router)
	visitor := m.server("visitor")
	visitor.AcceptRoutes = true
	m.start(visitor)
	m.approve(router, "192.168.77.0/24")
	leads(t, visitor, "192.168.77.5")
	before := visitor.running().tun.Counters().PacketsIn
	ip4, _ := visitor.IPs()
	visitor.running().stack.Inject(echoRequest(ip4, netip.MustParseAddr("192.168.77.5")))
	if got := <-far.pinged; got.String() != "192.168.77.5" {
		t.Errorf("the router pings %v", got)
	}
	eventually(t, "the reply comes back", func() bool { return visitor.running().tun.Counters().PacketsIn > before })
}

// echoRequest is what ping sends; nobody between checks the checksums.
func echoRequest(from, to netip.Addr) []byte {
	b := []byte{0: 0x45, 3: 28, 8: 64, 9: 1, 20: 8, 27: 1}
	copy(b[12:], from.AsSlice())
	copy(b[16:], to.AsSlice())
	return b
}

// Close ends what the Router has under way.
func TestCloseEndsRoutedConnections(t *testing.T) {
	m := newMesh(t, nil)
	far := newFarNetwork(t)
	router := m.server("router")
	router.AdvertiseRoutes = prefixes("192.168.77.0/24")
	router.Router = far.router()
	dialling := make(chan struct{})
	router.Router.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasSuffix(address, ":2") { // does not answer
			close(dialling)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return far.dial(ctx, network, address)
	}
	m.start(router)
	visitor := m.server("visitor")
	visitor.AcceptRoutes = true
	m.start(visitor)
	m.approve(router, "192.168.77.0/24")
	leads(t, visitor, "192.168.77.5")
	conn, err := visitor.Dial(testCtx(t), "tcp", "192.168.77.5:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	flow, err := visitor.Dial(testCtx(t), "udp", "192.168.77.5:80")
	if err != nil {
		t.Fatal(err)
	}
	defer flow.Close()
	io.WriteString(flow, "hello")
	flow.Read(make([]byte, 100))
	go visitor.Dial(testCtx(t), "tcp", "192.168.77.5:2")
	<-dialling
	router.Close() // returns, and TestMain finds no goroutine
}

// A flow ends when neither direction has had a datagram for a while; what goes
// one way keeps it alive.
func TestFlowsEndWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, a := net.Pipe()
		far, b := net.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- exchange(t.Context(), a, b, udpIdle) }()
		begin := time.Now()
		for range 5 {
			go io.WriteString(near, "hello")
			buf := make([]byte, 100)
			if n, err := far.Read(buf); err != nil || string(buf[:n]) != "hello" {
				t.Errorf("Read: %q, %v", buf[:n], err)
			}
			time.Sleep(udpIdle - time.Second)
		}
		if err := <-ended; err != nil {
			t.Errorf("exchange: %v", err)
		}
		if got := time.Since(begin); got != 5*udpIdle-4*time.Second {
			t.Errorf("the flow has ended after %v", got)
		}
		if _, err := near.Read(make([]byte, 1)); err == nil {
			t.Error("the connection stays open")
		}
	})
}
