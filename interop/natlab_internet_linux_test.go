package interop

import (
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"

	tstailcfg "tailscale.com/tailcfg"

	"github.com/meshnet-go/meshnet/coord"
	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
)

// labInternet is what the sites of the laboratory are connected to: two relays,
// each with a STUN server beside it, because one alone cannot tell a hard NAT
// from an easy one; and a coordinator. They run in the process of the test.
type labInternet struct {
	*namespace
	relays *derpmap.Map
}

// The addresses of the coordinator; those of relay r have r instead of 0.
const (
	coordIP4 = "44.2.0.1"
	coordIP6 = "2001:db8:2:0::1"
)

func newLabInternet(t *testing.T) *labInternet {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, program := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: make deps installs it", program)
		}
	}
	n := &labInternet{namespace: newNamespace(t)}
	n.set(t, "ipv4/ip_forward", "1")
	n.set(t, "ipv6/conf/all/forwarding", "1")
	n.feed(t, `
		route add blackhole 0.0.0.0/0
		route add blackhole ::/0
		addr add 44.2.0.1/32 dev lo
		addr add 44.2.1.1/32 dev lo
		addr add 44.2.2.1/32 dev lo
		addr add 2001:db8:2:0::1/128 dev lo nodad
		addr add 2001:db8:2:1::1/128 dev lo nodad
		addr add 2001:db8:2:2::1/128 dev lo nodad
		`, "ip", "-batch", "-")
	n.relays = convert[derpmap.Map](t, &tstailcfg.DERPMap{
		OmitDefaultRegions: true,
		Regions:            map[int]*tstailcfg.DERPRegion{1: n.startRelay(t, 1), 2: n.startRelay(t, 2)},
	})
	return n
}

// startRelay starts a relay with STUN at its two addresses.
func (n *labInternet) startRelay(t *testing.T, region int) *tstailcfg.DERPRegion {
	t.Helper()
	code := fmt.Sprintf("r%d", region)
	host := code + ".test"
	ip4, ip6 := fmt.Sprintf("44.2.%d.1", region), fmt.Sprintf("2001:db8:2:%d::1", region)
	relay := derp.NewServer(derp.ServerConfig{Logger: newLog(t, "relay "+code).slog()})
	cert, certName, err := derp.SelfSigned(host)
	check(t, "the relay has a certificate", err)
	web := &http.Server{
		Handler:   relay,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}},
		ErrorLog:  log.New(newLog(t, "TLS of relay "+code), "", 0),
	}
	t.Cleanup(func() {
		check(t, "the relay closes", relay.Close())
		web.Close()
	})
	for _, ip := range []string{ip4, ip6} {
		go web.ServeTLS(n.listen(t, net.JoinHostPort(ip, "443")), "", "")
		n.startSTUN(t, net.JoinHostPort(ip, "3478"))
	}
	return &tstailcfg.DERPRegion{
		RegionID:   region,
		RegionCode: code,
		RegionName: fmt.Sprintf("Region %d", region),
		Nodes: []*tstailcfg.DERPNode{{
			Name:     fmt.Sprintf("%da", region),
			RegionID: region,
			HostName: host,
			IPv4:     ip4,
			IPv6:     ip6,
			CertName: certName,
		}},
	}
}

func (n *labInternet) startSTUN(t *testing.T, addr string) {
	t.Helper()
	var pc net.PacketConn
	var err error
	n.run(func() { pc, err = net.ListenPacket("udp", addr) })
	check(t, "a socket for STUN is open", err)
	served := make(chan error, 1)
	go func() { served <- derp.ServeSTUN(t.Context(), pc) }()
	t.Cleanup(func() { <-served; pc.Close() }) // t.Context has ended by then
}

// labTailnet is a tailnet of the laboratory.
type labTailnet struct {
	*coord.Server
	port string
}

// newTailnet starts a coordinator that knows nobody.
func (n *labInternet) newTailnet(t *testing.T) *labTailnet {
	t.Helper()
	server, err := coord.New(coord.Config{DERPMap: n.relays, Logger: newLog(t, "coord").slog()})
	check(t, "the coordinator is made", err)
	ln := n.listen(t, ":0")
	web := &http.Server{Handler: server}
	go web.Serve(ln)
	t.Cleanup(func() {
		check(t, "the coordinator closes", server.Close())
		web.Close()
	})
	_, port, err := net.SplitHostPort(ln.Addr().String())
	check(t, "the coordinator has a port", err)
	return &labTailnet{server, port}
}

// url is where a site finds the coordinator.
func (n *labTailnet) url(s *site) string {
	if !s.ip4 {
		return "http://" + net.JoinHostPort(coordIP6, n.port)
	}
	return "http://" + net.JoinHostPort(coordIP4, n.port)
}
