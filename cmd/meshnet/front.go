package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/serve"
)

// relayPaths are what a relay answers.
var relayPaths = []string{"/derp", "/derp/", "/generate_204"}

// A front is the port of a relay and what is served beside it.
type front struct {
	ln  net.Listener
	url *url.URL // where others reach it
	// certificate is nil when TLS ends before us.
	certificate *tls.Config
	// pin names the certificate in the DERP map when nobody vouches for it.
	// Plain HTTP is served then, too.
	pin         string
	behindProxy bool
	watch       *certificateWatch // nil without ACME

	servers   []*http.Server
	stopWatch context.CancelFunc // nil until it has begun
}

// openFront listens. What belongs to the certificate is kept in dir.
func openFront(c *webConfig, dir string, log *slog.Logger) (*front, error) {
	ln, err := c.open()
	if err != nil {
		return nil, err
	}
	f := &front{ln: ln}
	if err := f.certify(c, dir, log); err != nil {
		ln.Close()
		return nil, err
	}
	return f, nil
}

// certify finds out how others reach the port, and with which certificate.
func (f *front) certify(c *webConfig, dir string, log *slog.Logger) (err error) {
	if f.certificate, err = c.certificate(dir, log); err != nil {
		return err
	}
	if f.url, err = c.address(f.ln.Addr(), f.certificate); err != nil {
		return err
	}
	switch {
	case c.acmeHost != "":
		f.watch = &certificateWatch{host: c.acmeHost, get: f.certificate.GetCertificate, log: log}
	case f.certificate != nil:
	case c.relayOnly && c.plain, !c.relayOnly && f.url.Scheme == "https":
		f.behindProxy = true
	default:
		own, pin, err := derp.SelfSignedIn(dir, f.url.Hostname())
		if err != nil {
			return err
		}
		f.certificate, f.pin = &tls.Config{Certificates: []tls.Certificate{own}}, pin
	}
	return nil
}

// public says whether others than this machine come, by themselves or through a
// proxy.
func (f *front) public() bool {
	host := f.url.Hostname()
	ip, err := netip.ParseAddr(host)
	here := host == "localhost" || err == nil && ip.IsLoopback()
	return !here || !serve.Local(f.ln.Addr())
}

// serve serves the port. The relay's key goes along with the certificate, if
// there is a relay. failed gets the error with which that ends by itself.
func (f *front) serve(handler http.Handler, relay *derp.Server, failed chan<- error) {
	secure, open := f.ln, f.ln
	if f.pin != "" {
		secure, open = splitTLS(f.ln)
	}
	if f.pin != "" || f.behindProxy {
		f.serveOn(open, handler, failed)
	}
	if f.certificate == nil {
		return
	}
	cfg := f.certificate.Clone()
	cfg.NextProtos = append([]string{"http/1.1"}, withoutHTTP(cfg.NextProtos)...)
	if relay != nil {
		cfg = relay.TLSConfig(f.certificate)
	}
	f.serveOn(tls.NewListener(secure, cfg), handler, failed)
	if f.watch != nil {
		ctx, stop := context.WithCancel(context.Background())
		f.stopWatch = stop
		go f.watch.run(ctx) // by itself: asking for a certificate does not end with ctx
	}
}

// withoutHTTP leaves out the versions of HTTP: upgrades need 1.1.
func withoutHTTP(protocols []string) (rest []string) {
	for _, p := range protocols {
		if p != "h2" && p != "http/1.1" {
			rest = append(rest, p)
		}
	}
	return rest
}

func (f *front) serveOn(ln net.Listener, handler http.Handler, failed chan<- error) {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, 0), // what clients do wrong is not news
	}
	f.servers = append(f.servers, server)
	go func() {
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("listening on %v: %w", ln.Addr(), err)
		}
	}()
}

func (f *front) close() {
	if f.stopWatch != nil {
		f.stopWatch()
	}
	for _, s := range f.servers {
		s.Close()
	}
	f.ln.Close()
}

// A place is what a DERP map says of a relay besides its address.
type place struct {
	id         int    // of the region
	code, name string // of the region, for people
	node       string // the relay's own name
}

// region describes the relay that is served here, and the STUN servers beside
// it: of these the first is the relay's own, and a second one lets nodes find out
// whether their NAT gives them another port for each destination.
func (f *front) region(p place, stun []int) *derpmap.Region {
	host := f.url.Hostname()
	node := &derpmap.Node{
		Name:     p.node,
		RegionID: p.id,
		HostName: host,
		CertName: f.pin,
		DERPPort: portOf(f.url),
		STUNPort: -1,
	}
	region := &derpmap.Region{RegionID: p.id, RegionCode: p.code, RegionName: p.name, Nodes: []*derpmap.Node{node}}
	if len(stun) > 0 {
		node.STUNPort = stun[0]
	}
	for i := 1; i < len(stun); i++ {
		region.Nodes = append(region.Nodes, &derpmap.Node{
			Name: fmt.Sprintf("%s-stun%d", p.node, i+1), RegionID: p.id, HostName: host, STUNOnly: true, STUNPort: stun[i],
		})
	}
	return region
}

// shutDownRelay ends a relay so that its clients know that it will be back.
func shutDownRelay(relay *derp.Server) {
	const (
		spread   = time.Second      // in which clients come back
		patience = 30 * time.Second // until they worry
	)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	relay.Shutdown(ctx, spread, patience)
}
