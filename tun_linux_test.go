package meshnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/meshnet-go/meshnet/internal/filter"
	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// newTun makes a device in the namespace.
func (ns *namespace) newTun(mtu int) tun.Device {
	ns.t.Helper()
	var device tun.Device
	var err error
	ns.run(func() { device, err = tun.CreateTUN("mesh0", mtu) })
	if err != nil {
		ns.t.Skipf("no TUN devices here: %v", err)
	}
	return device
}

// up gives the device what belongs to srv, which is up.
func (ns *namespace) up(srv *Server) {
	ns.t.Helper()
	ip4, ip6 := srv.IPs()
	ns.must(fmt.Sprintf(`ip addr add %v/32 dev mesh0
		ip -6 addr add %v/128 dev mesh0 nodad
		ip link set lo up
		ip link set mesh0 up
		ip route add 100.64.0.0/10 dev mesh0
		ip -6 route add fd7a:115c:a1e0::/48 dev mesh0`, ip4, ip6))
}

// tunMode brings up a node whose kernel is a namespace's, and one that is a
// process as ever.
func tunMode(t *testing.T, mtu int) (ns *namespace, m *mesh, host, peer *Server) {
	t.Helper()
	needs(t, "ip")
	ns = newNamespace(t)
	m, host, peer = ns.tunMode(t, mtu)
	return ns, m, host, peer
}

func (ns *namespace) tunMode(t *testing.T, mtu int) (m *mesh, host, peer *Server) {
	t.Helper()
	m = newMesh(t, nil)
	host = m.server("host")
	host.Tun = ns.newTun(mtu)
	m.start(host)
	ns.up(host)
	return m, host, m.up("peer")
}

func TestTunPing(t *testing.T) {
	needs(t, "ping")
	ns, _, _, peer := tunMode(t, 1280)
	ip4, ip6 := peer.IPs()
	for _, ip := range []netip.Addr{ip4, ip6} {
		if out := ns.must(fmt.Sprintf("ping -n -c 3 -i 0.01 -W 10 %v", ip)); !strings.Contains(out, "3 received") {
			t.Errorf("ping %v:\n%s", ip, out)
		}
	}
}

// The programs of the host are reached like those in a process, and so is our
// own Listen.
func TestTunConnections(t *testing.T) {
	needs(t, "ip")
	ns := ownNamespace(t)
	if ns == nil {
		return
	}
	_, host, peer := ns.tunMode(t, 1280)
	echo(t, peer, "tcp")
	echo(t, peer, "udp")
	for _, network := range []string{"tcp", "udp"} {
		for _, address := range []string{"peer:7", "peer.mesh.internal:7"} {
			if got := answer(t, host, network, address, "hello"); got != "hello" {
				t.Errorf("%s %s answers %q", network, address, got)
			}
		}
	}
	if got := answer(t, host, "tcp6", "peer:7", "hello"); got != "hello" {
		t.Errorf("over IPv6: %q", got)
	}
	if _, err := host.Dial(testCtx(t), "tcp", "100.64.9.9:80"); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("Dial to nobody: %v", err)
	}
	if _, err := host.Dial(testCtx(t), "tcp", "peer:8"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial to a closed port: %v", err)
	}
	echo(t, host, "tcp")
	echo(t, host, "udp")
	ip4, ip6 := host.IPs()
	for _, ip := range []netip.Addr{ip4, ip6} {
		for _, network := range []string{"tcp", "udp"} {
			if got := answer(t, peer, network, netip.AddrPortFrom(ip, 7).String(), "hello"); got != "hello" {
				t.Errorf("%s to the host at %v answers %q", network, ip, got)
			}
		}
	}
	// Nobody reaches the listener by another interface of the host's.
	if conn, err := net.Dial("tcp", "127.0.0.1:7"); err == nil {
		conn.Close()
		t.Error("the listener is reached on the loopback interface")
	}
}

func TestTunPeerOf(t *testing.T) {
	ns, _, host, peer := tunMode(t, 1280)
	var ln net.Listener
	var err error
	ns.run(func() { ln, err = host.Listen("tcp", ":80") })
	if err != nil {
		t.Fatal(err)
	}
	dialled, accepted := pair(t, peer, ln, "host:80")
	defer dialled.Close()
	if who, err := PeerOf(accepted); err != nil || who.Node.Name != "peer.mesh.internal" {
		t.Errorf("PeerOf: %+v, %v", who, err)
	}
	host.Close()
	if _, err := accepted.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlives its Server")
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
}

// Shutdown waits for connections of the host's stack too; Close resets them.
func TestTunShutdown(t *testing.T) {
	ns, _, host, peer := tunMode(t, 1280)
	var ln net.Listener
	var err error
	ns.run(func() { ln, err = host.Listen("tcp", ":80") })
	if err != nil {
		t.Fatal(err)
	}
	first, firstAccepted := pair(t, peer, ln, "host:80")
	defer first.Close()
	second, secondAccepted := pair(t, peer, ln, "host:80")
	defer second.Close()
	ctx, stop := context.WithCancel(testCtx(t))
	over := make(chan error)
	go func() { over <- host.Shutdown(ctx) }()
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept during Shutdown: %v", err)
	}
	ns.run(func() {
		if _, err := host.Listen("tcp", ":81"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Listen during Shutdown: %v", err)
		}
	})
	io.WriteString(firstAccepted, "the last words")
	firstAccepted.Close()
	if text, err := io.ReadAll(first); err != nil || string(text) != "the last words" {
		t.Errorf("the connection ends with %q, %v", text, err)
	}
	select {
	case err := <-over:
		t.Errorf("Shutdown has not waited for the second connection: %v", err)
	default:
	}
	stop()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := second.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer's end of the second connection: %v", err)
	}
	if _, err := secondAccepted.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("our end of the second connection: %v", err)
	}
}

// TestTunBulk copies both ways through the kernel's TCP, whose device says that
// it takes more than the path does.
func TestTunBulk(t *testing.T) {
	needs(t, "ip")
	ns := ownNamespace(t)
	if ns == nil {
		return
	}
	for _, mtu := range []int{1280, 9000} {
		_, host, peer := ns.tunMode(t, mtu)
		ln, err := peer.Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		dialled, accepted := pair(t, host, ln, "peer:80")
		for _, way := range []struct{ from, to net.Conn }{{dialled, accepted}, {accepted, dialled}} {
			data := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
			go way.from.Write(data)
			got := make([]byte, len(data))
			if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, data) {
				t.Errorf("an MTU of %d: the copy has failed: %v", mtu, err)
			}
		}
		host.Close()
		peer.Close()
	}
}

// A packet that is too long for the path is answered, not lost.
func TestTunPathMTU(t *testing.T) {
	needs(t, "ping")
	ns, _, _, peer := tunMode(t, 9000)
	ip4, ip6 := peer.IPs()
	for _, ip := range []netip.Addr{ip4, ip6} {
		out, _ := ns.shell(fmt.Sprintf("ping -n -c 2 -i 0.1 -W 1 -s 2000 -M do %v", ip)) // it fails
		if !strings.Contains(out, "1280") {
			t.Errorf("ping %v with 2,000 bytes:\n%s", ip, out)
		}
	}
}

func TestTunIperf3(t *testing.T) {
	needs(t, "iperf3")
	ns, m, host, _ := tunMode(t, 1280)
	other := newNamespace(t)
	second := m.server("second")
	second.Tun = other.newTun(1280)
	m.start(second)
	other.up(second)
	ip4, _ := host.IPs()
	ctx, stop := context.WithCancel(context.Background())
	var server *exec.Cmd
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ns.run(func() {
		server = exec.CommandContext(ctx, "iperf3", "-s", "--forceflush")
		server.Stdout = in
		err = server.Start()
	})
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		server.Wait()
		out.Close()
	}()
	heard := make([]byte, 1000)
	listens := func() { // which it says anew after each client
		t.Helper()
		for said := ""; !strings.Contains(said, "listening"); {
			n, err := out.Read(heard)
			if err != nil {
				t.Fatal(err)
			}
			said += string(heard[:n])
		}
	}
	for _, args := range []string{"", "-R", "-u -b 20M"} {
		listens()
		text, err := other.shell(fmt.Sprintf("iperf3 -c %v -n 5M %s", ip4, args))
		if err != nil {
			t.Errorf("iperf3 %s: %v\n%s", args, err, text)
		}
		t.Logf("iperf3 %s\n%s", args, text)
	}
}

// The packet filter is between the mesh and the host, whoever's stack it is.
func TestTunFilterHolds(t *testing.T) {
	needs(t, "ip")
	ns := newNamespace(t)
	s := newScripted(t)
	allowed := []tailcfg.FilterRule{{SrcIPs: []string{"*"}, DstPorts: []tailcfg.NetPortRange{{IP: "100.64.0.1", Ports: tailcfg.PortRange{First: 7, Last: 7}}}}}
	s.first = func(m *tailcfg.MapResponse) {
		if m.Node.ID == 1 {
			m.PacketFilter = allowed
		}
	}
	host := s.server("host")
	host.Tun = ns.newTun(1280)
	if _, err := host.Up(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	ns.up(host)
	peer := s.up("peer")
	s.tell(host, peer, nil)
	ns.run(func() {
		echo(t, host, "tcp")
		program, err := net.Listen("tcp", "100.64.0.1:8") // any of the host's
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { program.Close() })
	})
	if got := answer(t, peer, "tcp", "100.64.0.1:7", "hello"); got != "hello" {
		t.Errorf("what is allowed answers %q", got)
	}
	if _, err := peer.Dial(testCtx(t), "tcp", "100.64.0.1:8"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("what is not allowed: %v", err)
	}
	if host.running().tun.Counters().Dropped[filter.DropNoRule] == 0 {
		t.Error("the filter has dropped nothing")
	}
	elsewhere := []tailcfg.FilterRule{{SrcIPs: []string{"*"}, DstPorts: []tailcfg.NetPortRange{{IP: "100.64.0.1", Ports: tailcfg.PortRange{First: 8, Last: 8}}}}}
	s.push(host, &tailcfg.MapResponse{PacketFilter: elsewhere}, func(m *netmap.Map) bool { return m.Rules[0].DstPorts[0].Ports.First == 8 })
	conn, err := peer.Dial(testCtx(t), "tcp", "100.64.0.1:8")
	if err != nil {
		t.Fatalf("what is allowed now: %v", err)
	}
	conn.Close()
}

// The host's kernel is the router of a node in TUN mode, and the packet filter
// knows its routes; peers' routes are the host's when it has them.
func TestTunRoutes(t *testing.T) {
	needs(t, "ip")
	ns := newNamespace(t)
	m := newMesh(t, nil)
	host := m.server("host")
	host.Tun, host.AdvertiseRoutes, host.AcceptRoutes = ns.newTun(1280), prefixes("192.168.77.0/24"), true
	m.start(host)
	ns.up(host)
	peer := m.server("peer")
	peer.AcceptRoutes, peer.AdvertiseRoutes, peer.Router = true, prefixes("192.168.78.0/24"), newFarNetwork(t).router()
	m.start(peer)
	m.approve(host, "192.168.77.0/24")
	m.approve(peer, "192.168.78.0/24")
	leads(t, peer, "192.168.77.5")
	leads(t, host, "192.168.78.5")
	ns.must(`ip addr add 192.168.77.5/32 dev lo
		ip addr add 192.168.79.5/32 dev lo
		ip route add 192.168.78.0/24 dev mesh0`)
	ns.run(func() { // any programs of the host's
		ln, err := net.Listen("tcp", ":80")
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				io.WriteString(c, "this is "+c.LocalAddr().String())
				c.Close()
			}
		}()
		c, err := net.Dial("tcp", "192.168.78.5:80")
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "hello")
		text := make([]byte, 100)
		if n, err := c.Read(text); err != nil || string(text[:n]) != "192.168.78.5:80: hello" {
			t.Errorf("what is behind the peer answers %q, %v", text[:n], err)
		}
	})
	if got := answer(t, peer, "tcp", "192.168.77.5:80", ""); got != "this is 192.168.77.5:80" {
		t.Errorf("what is behind the host answers %q", got)
	}
	if _, err := peer.Dial(testCtx(t), "tcp", "192.168.79.5:80"); err == nil {
		t.Error("an address of the host's is reached that is not offered")
	}
}

// examples/tun does all that a machine needs.
func TestTunExample(t *testing.T) {
	needs(t, "ip", "ping", "go")
	ns := ownNamespace(t)
	if ns == nil {
		return
	}
	program := filepath.Join(t.TempDir(), "tun")
	ns.must("go build -o " + program + " ./examples/tun")
	m := newMesh(t, nil)
	peer := m.up("peer")
	ctx, cancel := context.WithCancel(testCtx(t))
	defer cancel()
	example := exec.CommandContext(ctx, program, "-control", "http://"+m.controlAddr, "-state", t.TempDir(), "-hostname", "host")
	example.Env = append(os.Environ(), "MESHNET_AUTHKEY="+m.authKey)
	var said lockedBuffer
	example.Stdout, example.Stderr = &said, &said
	if err := example.Start(); err != nil {
		t.Fatal(err)
	}
	ip4, ip6 := peer.IPs()
	for _, ip := range []netip.Addr{ip4, ip6} {
		eventually(t, fmt.Sprintf("the kernel's ping of %v is answered", ip), func() bool {
			_, err := ns.shell(fmt.Sprintf("ping -n -c 1 -W 1 %v", ip))
			return err == nil
		})
	}
	if want := ip4.String() + "\tpeer.mesh.internal\n"; !strings.Contains(said.String(), want) {
		t.Errorf("the example says %q", said.String())
	}
	example.Process.Signal(os.Interrupt)
	if err := example.Wait(); err != nil {
		t.Errorf("the example ends: %v\n%s", err, said.String())
	}
	if out, err := ns.shell("ip link show mesh0"); err == nil {
		t.Errorf("the interface is left:\n%s", out)
	}
}

func TestTunExcludesRouter(t *testing.T) {
	srv := &Server{ControlURL: "https://a", Ephemeral: true, Tun: make(noTun), Router: new(Router)}
	if err := srv.Start(); err == nil || !strings.Contains(err.Error(), "Router") {
		t.Errorf("Start: %v", err)
	}
	srv.Close()
}

// noTun is a device that is never used.
type noTun chan struct{}

func (noTun) File() *os.File                         { return nil }
func (noTun) Read([][]byte, []int, int) (int, error) { return 0, os.ErrClosed }
func (noTun) Write([][]byte, int) (int, error)       { return 0, os.ErrClosed }
func (noTun) MTU() (int, error)                      { return 1280, nil }
func (noTun) Name() (string, error)                  { return "none", nil }
func (noTun) Events() <-chan tun.Event               { return nil }
func (noTun) Close() error                           { return nil }
func (noTun) BatchSize() int                         { return 1 }
