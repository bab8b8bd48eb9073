package interop

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"tailscale.com/derp/derpserver"
	tstailcfg "tailscale.com/tailcfg"
	tskey "tailscale.com/types/key"

	"github.com/meshnet-go/meshnet/derp"
)

// relayHost is a web server with a relay, ours or theirs.
type relayHost struct {
	cert     tls.Certificate
	region   *tstailcfg.DERPRegion
	requests chan *http.Request // the latest that was made for the relay
}

// startDERP serves our relay over TLS.
func startDERP(t *testing.T, cfg derp.ServerConfig) (*derp.Server, *relayHost) {
	t.Helper()
	cfg.Logger = newLog(t, "derp.Server").slog()
	relay := derp.NewServer(cfg)
	t.Cleanup(func() { check(t, "our relay closes", relay.Close()) })
	cert, certName, err := derp.SelfSigned(loopback)
	check(t, "our relay has a certificate", err)
	cfgTLS := relay.TLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}})
	return relay, hostRelay(t, relay, cfgTLS, certName, newLog(t, "our relay's TLS"))
}

// startTheirDERP serves their relay over TLS, as derper does.
func startTheirDERP(t *testing.T) *relayHost {
	t.Helper()
	relay := derpserver.New(tskey.NewNode(), newLog(t, "derpserver").printf)
	t.Cleanup(func() { relay.Close() })
	cert, certName, err := derp.SelfSigned(loopback)
	check(t, "their relay has a certificate", err)
	return hostRelay(t, theirHandler(relay), theirTLS(relay, cert), certName, newLog(t, "their relay's TLS"))
}

func theirHandler(relay *derpserver.Server) http.Handler {
	return derpserver.AddWebSocketSupport(relay, derpserver.Handler(relay))
}

func theirTLS(relay *derpserver.Server, cert tls.Certificate) *tls.Config {
	cfg := &tls.Config{
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
	}
	relay.ModifyTLSConfigToAddMetaCert(cfg)
	return cfg
}

func hostRelay(t testing.TB, handler http.Handler, cfg *tls.Config, certName string, errors io.Writer) *relayHost {
	t.Helper()
	cert, err := cfg.GetCertificate(&tls.ClientHelloInfo{})
	check(t, "the relay has a certificate", err)
	host := &relayHost{cert: *cert, requests: make(chan *http.Request, 100)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case host.requests <- r:
		default: // nobody looks at so many
		}
		handler.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(errors, "", 0)
	listener := server.Listener
	server.Listener = tls.NewListener(listener, cfg)
	server.Start()
	t.Cleanup(func() { closeServer(server) })
	host.region = derpRegion(1, listener.Addr(), -1, certName)
	return host
}
