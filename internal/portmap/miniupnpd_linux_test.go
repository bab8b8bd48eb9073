package portmap

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A laboratory is a home behind a router that runs Debian's miniupnpd, and a
// host outside:
//
//	home 192.168.1.7 ── 192.168.1.1 router 44.0.0.9 ── 44.0.0.2 outside
//
// The address outside is none of those for documentation, which miniupnpd
// takes for private.
type laboratory struct{ home, router, outside *namespace }

func newLaboratory(t *testing.T, natpmp, upnp string) *laboratory {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, program := range []string{"miniupnpd", "nft", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed (Debian: miniupnpd-nftables, nftables, iproute2)", program)
		}
	}
	l := &laboratory{newNamespace(t), newNamespace(t), newNamespace(t)}
	l.router.shell(t, `
		ip link add lan type veth peer name eth0 netns `+l.home.path+`
		ip link add wan type veth peer name eth0 netns `+l.outside.path+`
		ip addr add 192.168.1.1/24 dev lan; ip link set lan up
		ip addr add 44.0.0.9/24 dev wan; ip link set wan up
		ip link set lo up
		ip route add default via 44.0.0.2
		echo 1 > /proc/sys/net/ipv4/ip_forward
		nft -f - <<-'END'
			table inet filter {
				chain miniupnpd { }
				chain prerouting_miniupnpd { }
				chain postrouting_miniupnpd { }
				chain forward {
					type filter hook forward priority 0; policy drop
					jump miniupnpd
				}
				chain prerouting {
					type nat hook prerouting priority -100
					jump prerouting_miniupnpd
				}
				chain postrouting {
					type nat hook postrouting priority 100
					jump postrouting_miniupnpd
				}
			}
		END`)
	l.home.shell(t, `ip addr add 192.168.1.7/24 dev eth0; ip link set eth0 up; ip route add default via 192.168.1.1`)
	l.outside.shell(t, `ip addr add 44.0.0.2/24 dev eth0; ip link set eth0 up`)
	l.start(t, natpmp, upnp)
	return l
}

// start starts miniupnpd and waits until it listens.
func (l *laboratory) start(t *testing.T, natpmp, upnp string) {
	dir := t.TempDir()
	config := "ext_ifname=wan\next_ip=44.0.0.9\nlistening_ip=lan\nport=5000\n" +
		"uuid=00000000-0000-0000-0000-000000000000\n" +
		"enable_natpmp=" + natpmp + "\nenable_upnp=" + upnp + "\nsecure_mode=yes\n" +
		"allow 1024-65535 0.0.0.0/0 1024-65535\n"
	file := filepath.Join(dir, "conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("miniupnpd", "-d", "-f", file, "-P", filepath.Join(dir, "pid"))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.router.run(func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	last := "HTTP listening"
	if natpmp == "yes" {
		last = "Listening for NAT-PMP/PCP" // which it says after the other
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	listens := sync.OnceFunc(func() { close(ready) })
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			t.Log(lines.Text())
			if strings.Contains(lines.Text(), last) {
				listens()
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		cmd.Wait()
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatal("miniupnpd ended")
	}
}

// listen and dial are for a Config, in the home.
func (l *laboratory) listen(ctx context.Context, network, addr string) (pc net.PacketConn, err error) {
	l.home.run(func() { pc, err = new(net.ListenConfig).ListenPacket(ctx, network, addr) })
	return pc, err
}

func (l *laboratory) dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	l.home.run(func() { c, err = new(net.Dialer).DialContext(ctx, network, addr) })
	return c, err
}

// wantPacket sends a packet from outside to an address and expects it at home,
// on a port.
func (l *laboratory) wantPacket(t *testing.T, to netip.AddrPort, port uint16) {
	t.Helper()
	ctx := context.Background()
	here, err := l.listen(ctx, "udp4", netip.AddrPortFrom(netip.IPv4Unspecified(), port).String())
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	var there net.Conn
	l.outside.run(func() { there, err = net.Dial("udp4", to.String()) })
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if _, err := there.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	here.SetReadDeadline(time.Now().Add(10 * time.Second)) // against a test that hangs
	b := make([]byte, 10)
	n, from, err := here.ReadFrom(b)
	if err != nil || string(b[:n]) != "hello" || from.String() != there.LocalAddr().String() {
		t.Errorf("packet %q from %v, %v", b[:n], from, err)
	}
}

func TestClientWithMiniupnpd(t *testing.T) {
	for _, tt := range []struct{ name, natpmp, upnp string }{
		{"PCP", "yes", "yes"},
		{"UPnP", "no", "yes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLaboratory(t, tt.natpmp, tt.upnp)
			c := New(Config{ListenPacket: l.listen, DialContext: l.dial})
			defer c.Close()
			start(c)
			for limit := time.After(20 * time.Second); !c.Mapping().IsValid(); {
				select {
				case <-c.Changed():
				case <-limit:
					t.Fatal("no mapping")
				}
			}
			if got := c.Services(); got.PCP != (tt.natpmp == "yes") {
				t.Errorf("the gateway speaks %+v", got)
			}
			l.wantPacket(t, c.Mapping(), port)
		})
	}
}

// TestMappersWithMiniupnpd does with every protocol all that a mapper can.
func TestMappersWithMiniupnpd(t *testing.T) {
	l := newLaboratory(t, "yes", "yes")
	home := &lan{target: target{gate, self, port}, listen: l.listen, dial: l.dial}
	found, err := home.search(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if !found.pcp || !found.natpmp {
		t.Fatalf("the gateway speaks %+v", found.services())
	}
	// The search does not wait for SSDP when it has found something else, and
	// miniupnpd answers that when it has nothing else to do.
	location := &url.URL{Scheme: "http", Host: netip.AddrPortFrom(gate, 5000).String(), Path: "/rootDesc.xml"}
	for _, m := range []mapper{&pcpMapper{lan: home}, &natpmpMapper{lan: home}, &upnpMapper{lan: home, location: location}} {
		t.Run(m.name(), func(t *testing.T) {
			first, err := m.add(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			l.wantPacket(t, first.external, port)
			if err := m.check(t.Context()); err != nil {
				t.Errorf("check: %v", err)
			}
			if again, err := m.add(t.Context()); err != nil || again.external != first.external {
				t.Errorf("renewed: %v, %v; want %v", again, err, first)
			}
			if err := m.remove(t.Context()); err != nil {
				t.Errorf("remove: %v", err)
			}
			if m.name() == "UPnP" && m.check(t.Context()) == nil {
				t.Error("it is still there")
			}
		})
	}
}
