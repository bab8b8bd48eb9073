package interop

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
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stun/stuntest"
	tstailcfg "tailscale.com/tailcfg"
	tskey "tailscale.com/types/key"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/examples/browser/either"
)

const loopback = "127.0.0.1"

// theirRelay starts Tailscale's relay, with the extra certificate by which its
// clients save a round trip, and a STUN server beside it.
func theirRelay(t *testing.T) *tstailcfg.DERPMap {
	t.Helper()
	relay := derpserver.New(tskey.NewNode(), newLog(t, "derpserver").printf)
	t.Cleanup(func() { relay.Close() })

	cert, certName := selfSigned(t)
	server := httptest.NewUnstartedServer(derpserver.AddWebSocketSupport(relay, derpserver.Handler(relay)))
	server.TLS = &tls.Config{
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
	}
	relay.ModifyTLSConfigToAddMetaCert(server.TLS)
	server.Config.ErrorLog = log.New(newLog(t, "derpserver's TLS"), "", 0)
	server.Config.TLSNextProto = make(map[string]func(*http.Server, *tls.Conn, http.Handler)) // HTTP/1.1 only
	listener := server.Listener
	server.Listener = either.NewListener(listener, server.TLS) // StartTLS would put a certificate of its own first
	server.Start()
	t.Cleanup(func() { closeServer(server) })

	stun, closeSTUN := stuntest.Serve(t)
	t.Cleanup(closeSTUN)
	return derpMap(1, listener.Addr(), stun.Port, certName)
}

// derpMap is a map of one region with one relay.
func derpMap(region int, relay net.Addr, stunPort int, certName string) *tstailcfg.DERPMap {
	return &tstailcfg.DERPMap{
		OmitDefaultRegions: true,
		Regions:            map[int]*tstailcfg.DERPRegion{region: derpRegion(region, relay, stunPort, certName)},
	}
}

func derpRegion(region int, relay net.Addr, stunPort int, certName string) *tstailcfg.DERPRegion {
	return &tstailcfg.DERPRegion{
		RegionID:   region,
		RegionCode: fmt.Sprintf("r%d", region),
		RegionName: fmt.Sprintf("Region %d", region),
		Nodes: []*tstailcfg.DERPNode{{
			Name:     fmt.Sprintf("%da", region),
			RegionID: region,
			HostName: loopback,
			IPv4:     loopback,
			IPv6:     "none",
			CertName: certName,
			DERPPort: relay.(*net.TCPAddr).Port,
			STUNPort: stunPort,
			// Clients check whether the address may be a STUN server's.
			STUNTestIP: loopback,
		}},
	}
}

// closeServer ends a server whose connections have been hijacked.
func closeServer(s *httptest.Server) {
	s.CloseClientConnections()
	s.Close()
}

// ourRelay starts our relay, with a STUN server beside it.
func ourRelay(t *testing.T) *derpmap.Map {
	t.Helper()
	relays, _ := ourRestartingRelay(t)
	return relays
}

// ourRestartingRelay is ourRelay, and a function that puts another relay with
// another key in its place, as when its process starts anew.
func ourRestartingRelay(t *testing.T) (relays *derpmap.Map, restart func()) {
	t.Helper()
	var current atomic.Pointer[derp.Server]
	restart = func() {
		relay := derp.NewServer(derp.ServerConfig{PlainHTTP: true, Logger: newLog(t, "derp.Server").slog()}) // plain for pages
		if old := current.Swap(relay); old != nil {
			check(t, "our relay closes", old.Close())
		}
	}
	restart()
	t.Cleanup(func() { check(t, "our relay closes", current.Load().Close()) })

	cert, certName, err := derp.SelfSigned(loopback)
	check(t, "our relay has a certificate", err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		current.Load().ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(newLog(t, "derp.Server's TLS"), "", 0)
	listener := server.Listener
	server.Listener = either.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{cert}})
	server.Start()
	t.Cleanup(func() { closeServer(server) })

	stun, err := net.ListenPacket("udp4", net.JoinHostPort(loopback, "0"))
	check(t, "a socket for STUN is open", err)
	served := make(chan error, 1)
	go func() { served <- derp.ServeSTUN(t.Context(), stun) }()
	t.Cleanup(func() { <-served; stun.Close() }) // t.Context has ended by then

	stunPort := stun.LocalAddr().(*net.UDPAddr).Port
	return convert[derpmap.Map](t, derpMap(1, listener.Addr(), stunPort, certName)), restart
}

// convert turns a value of theirs into one of ours, or back, by way of JSON.
func convert[To any](t *testing.T, from any) *To {
	t.Helper()
	text, err := json.Marshal(from)
	check(t, "the value has a JSON form", err)
	to := new(To)
	check(t, "the other side reads the JSON form", json.Unmarshal(text, to))
	return to
}

// selfSigned makes a certificate for loopback and the name that pins it in a
// relay map.
func selfSigned(t *testing.T) (cert tls.Certificate, certName string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, "a key is made", err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: loopback},
		IPAddresses:  []net.IP{net.ParseIP(loopback)},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	check(t, "a certificate is made", err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private},
		fmt.Sprintf("sha256-raw:%x", sha256.Sum256(der))
}
