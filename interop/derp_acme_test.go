package interop

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/key"
)

// A relay gets its certificate by ACME on the port on which it serves.
func TestDERPCertificateByACME(t *testing.T) {
	const name = "relay.test"
	relay := derp.NewServer(derp.ServerConfig{Logger: newLog(t, "derp.Server").slog()})
	t.Cleanup(func() { check(t, "our relay closes", relay.Close()) })
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	check(t, "the relay has a socket", err)

	port := listener.Addr().(*net.TCPAddr).Port
	p := newPublicWeb(t, port)
	manager := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		HostPolicy: autocert.HostWhitelist(name),
		Cache:      autocert.DirCache(t.TempDir()),
		Client: &acme.Client{
			DirectoryURL: p.directory,
			HTTPClient:   &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.web}, DisableKeepAlives: true}},
		},
	}
	server := httptest.NewUnstartedServer(relay)
	server.Listener.Close()
	server.Listener = tls.NewListener(listener, relay.TLSConfig(manager.TLSConfig()))
	server.Start()
	t.Cleanup(func() { closeServer(server) })

	c, err := derp.Dial(within(t, 20*time.Second), derp.DialConfig{
		Key:     key.NewNode(),
		RootCAs: p.roots,
		Region: &derpmap.Region{Nodes: []*derpmap.Node{{
			HostName: name, IPv4: loopback, IPv6: "none", DERPPort: port,
		}}},
	})
	check(t, "a client connects that trusts the authority", err)
	c.Close()
}
