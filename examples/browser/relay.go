package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/examples/browser/either"
)

// A relay is one on loopback. Nodes that are programs talk TLS to it and know
// its certificate from the coordinator. A browser trusts no certificate that it
// has not from an authority, and a page on loopback talks to the same port
// without TLS.
type relay struct {
	node   *derpmap.Node
	server *derp.Server
	web    *http.Server
	stun   net.PacketConn
	ln     net.Listener
}

func startRelay(ctx context.Context, addr string) (*relay, error) {
	cert, certName, err := derp.SelfSigned("127.0.0.1")
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	stun, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		ln.Close()
		return nil, err
	}
	r := &relay{server: derp.NewServer(derp.ServerConfig{PlainHTTP: true}), ln: ln, stun: stun}
	r.web = &http.Server{Handler: r.server, ReadHeaderTimeout: 10 * time.Second}
	go r.web.Serve(either.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}}))
	go derp.ServeSTUN(ctx, stun)
	r.node = &derpmap.Node{
		Name:     "local",
		RegionID: 900, // 900 to 999 are for relays of one's own
		HostName: "127.0.0.1",
		CertName: certName,
		DERPPort: port(ln.Addr()),
		STUNPort: stun.LocalAddr().(*net.UDPAddr).Port,
	}
	return r, nil
}

func (r *relay) addr() string { return r.ln.Addr().String() }

func (r *relay) close() {
	r.web.Close()
	r.server.Close()
	r.stun.Close()
}
