// Tailscale is the infrastructure of tsnet: Tailscale's test coordinator and its
// relay, with STUN beside it.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"time"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stun"
	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"

	"github.com/meshnet-go/meshnet/bench/internal/wire"
)

func main() { wire.Main(start) }

const (
	authKey = "tskey-for-the-bench"
	domain  = "mesh.test"
)

func start(c wire.Infra) (any, wire.Verbs, func(), error) {
	var mesh wire.Mesh
	verbs := wire.Verbs{}
	region := new(tailcfg.DERPRegion)
	if len(c.Relay) > 0 {
		if err := json.Unmarshal(c.Relay, region); err != nil {
			return nil, nil, nil, err
		}
	} else {
		relay := derpserver.New(key.NewNode(), logger.Discard)
		var err error
		if region, err = serveRelay(relay, c.Addr); err != nil {
			return nil, nil, nil, err
		}
		verbs["relayed"] = func(json.RawMessage) (any, error) { return relayed(relay) }
	}
	var err error
	if mesh.Relay, err = json.Marshal(region); err != nil {
		return nil, nil, nil, err
	}
	if !c.RelayOnly {
		mesh.AuthKey = authKey
		if mesh.ControlURL, err = serveControl(c, region); err != nil {
			return nil, nil, nil, err
		}
	}
	return mesh, verbs, func() {}, nil
}

func serveControl(c wire.Infra, region *tailcfg.DERPRegion) (url string, err error) {
	ln, err := net.Listen("tcp", netip.AddrPortFrom(c.Addr, 0).String())
	if err != nil {
		return "", err
	}
	control := &testcontrol.Server{
		Logf: logger.Discard,
		DERPMap: &tailcfg.DERPMap{
			OmitDefaultRegions: true,
			Regions:            map[int]*tailcfg.DERPRegion{region.RegionID: region},
		},
		DNSConfig:       &tailcfg.DNSConfig{Proxied: true},
		MagicDNSDomain:  domain,
		RequireAuthKey:  authKey,
		AllOnline:       true,
		ExplicitBaseURL: "http://" + ln.Addr().String(),
	}
	addStrangers(control, c.Peers, region.RegionID)
	go http.Serve(ln, control)
	return control.ExplicitBaseURL, nil
}

// addStrangers makes members that have never joined.
func addStrangers(control *testcontrol.Server, n, region int) {
	for i := range n {
		one := stranger(i, region)
		if i == 0 { // UpdateNode does not make the first one
			control.AddFakeNode()
			one.Key = control.AllNodes()[0].Key
		}
		control.UpdateNode(one)
	}
}

// stranger is a node as a coordinator describes one that is far away.
func stranger(i, region int) *tailcfg.Node {
	const firstID = 1 << 20 // those of nodes that join begin at 1
	ip4 := netip.AddrFrom4([4]byte{100, 100, byte(i >> 8), byte(i)})
	ip6 := netip.AddrFrom16([16]byte{0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, 1, 1, 12: byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
	addrs := []netip.Prefix{netip.PrefixFrom(ip4, 32), netip.PrefixFrom(ip6, 128)}
	name := fmt.Sprintf("stranger-%d", i)
	hostinfo := tailcfg.Hostinfo{OS: "linux", Hostname: name}
	return &tailcfg.Node{
		ID: firstID + tailcfg.NodeID(i), StableID: tailcfg.StableNodeID(name), Name: name + "." + domain + ".",
		User: 1, Machine: key.NewMachine().Public(), Key: key.NewNode().Public(), DiscoKey: key.NewDisco().Public(),
		MachineAuthorized: true, Addresses: addrs, AllowedIPs: addrs, HomeDERP: region, Cap: tailcfg.CurrentCapabilityVersion,
		Endpoints: []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), uint16(1024+i))},
		Hostinfo:  hostinfo.View(), Created: time.Unix(1700000000, 0),
	}
}

func serveRelay(relay *derpserver.Server, addr netip.Addr) (*tailcfg.DERPRegion, error) {
	cert, certName, err := selfSigned(addr)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
	}
	relay.ModifyTLSConfigToAddMetaCert(cfg)
	ln, err := net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: derpserver.AddWebSocketSupport(relay, derpserver.Handler(relay))}
	go server.Serve(tls.NewListener(ln, cfg))
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: addr.AsSlice()})
	if err != nil {
		return nil, err
	}
	go serveSTUN(pc)
	return &tailcfg.DERPRegion{RegionID: 1, RegionCode: "bench", RegionName: "The bench", Nodes: []*tailcfg.DERPNode{{
		Name: "1a", RegionID: 1, HostName: addr.String(), IPv4: addr.String(), IPv6: "none", CertName: certName,
		DERPPort: ln.Addr().(*net.TCPAddr).Port, STUNPort: pc.LocalAddr().(*net.UDPAddr).Port, STUNTestIP: addr.String(),
	}}}, nil
}

// serveSTUN answers STUN requests.
func serveSTUN(pc *net.UDPConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := pc.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if id, err := stun.ParseBindingRequest(buf[:n]); err == nil {
			pc.WriteToUDPAddrPort(stun.Response(id, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())), from)
		}
	}
}

// selfSigned makes a certificate, and the name that pins it in a relay map.
func selfSigned(addr netip.Addr) (cert tls.Certificate, certName string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: addr.String()},
		IPAddresses:  []net.IP{addr.AsSlice()},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return cert, "", err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, fmt.Sprintf("sha256-raw:%x", sha256.Sum256(der)), nil
}
