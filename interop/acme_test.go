package interop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	tstailcfg "tailscale.com/tailcfg"

	"github.com/meshnet-go/meshnet/coord"
)

// publicWeb is an authority, Let's Encrypt's own test server, and the public DNS in
// which it looks for proofs.
type publicWeb struct {
	directory string
	web       *x509.CertPool // verifies the authority's own pages
	roots     *x509.CertPool // and this what it signs
	dns       *challtestsrv.ChallSrv
}

// newPublicWeb starts one. Proofs by TLS are looked for at tlsPort of loopback.
func newPublicWeb(t *testing.T, tlsPort int) *publicWeb {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	logger := log.New(newLog(t, "pebble"), "", 0)
	addr := freeUDP(t)
	dns, err := challtestsrv.New(challtestsrv.Config{DNSAddrs: []string{addr}, Log: logger})
	check(t, "there is a public DNS", err)
	dns.SetDefaultDNSIPv4(loopback)
	dns.SetDefaultDNSIPv6("")
	go dns.Run()
	t.Cleanup(dns.Shutdown)

	store := db.NewMemoryStore()
	authority := ca.New(logger, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {}})
	validator := va.New(logger, 0, tlsPort, false, addr, store)
	front := wfe.New(logger, store, validator, authority, []string{"pebble.test"}, false, false, 0, 0)
	web := httptest.NewTLSServer(located(front.Handler()))
	t.Cleanup(func() { closeServer(web) })
	p := &publicWeb{directory: web.URL + wfe.DirectoryPath, web: x509.NewCertPool(), roots: x509.NewCertPool(), dns: dns}
	p.web.AddCert(web.Certificate())
	p.roots.AddCert(authority.GetRootCert(0).Cert)
	return p
}

// located says where an order is in the answer to what finishes it, as Let's
// Encrypt does, and Tailscale's client needs.
func located(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, ok := strings.CutPrefix(r.URL.Path, "/finalize-order/"); ok {
			w.Header().Set("Location", "https://"+r.Host+"/my-order/"+id)
		}
		h.ServeHTTP(w, r)
	})
}

// forTsnet has tsnet ask this authority, which it does with the program's default
// client.
func (p *publicWeb) forTsnet(t *testing.T) {
	t.Helper()
	t.Setenv("TS_DEBUG_ACME_DIRECTORY_URL", p.directory)
	before := http.DefaultTransport
	trusting := before.(*http.Transport).Clone()
	trusting.TLSClientConfig = &tls.Config{RootCAs: p.web}
	http.DefaultTransport = trusting
	t.Cleanup(func() {
		http.DefaultTransport = before
		trusting.CloseIdleConnections()
	})
}

// freeUDP returns an address on which nobody listens, by UDP or TCP.
func freeUDP(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", net.JoinHostPort(loopback, "0"))
	check(t, "there is a free port", err)
	defer conn.Close()
	return conn.LocalAddr().String()
}

func (p *publicWeb) publish(name, value string) {
	p.dns.AddDNSTXTRecord(strings.TrimSuffix(name, ".")+".", value)
}

// Nodes of both makes get certificates of a public authority with the help of
// coordinators of both makes, and browsers trust these.
func TestCertificatesByACME(t *testing.T) {
	for _, coordinator := range []struct {
		kind  string
		start func(t *testing.T, p *publicWeb) *tailnet
	}{
		{"coord", func(t *testing.T, p *publicWeb) *tailnet {
			relays, restart := ourRestartingRelay(t)
			return &ourTailnetWith(t, relays, restart, func(c *coord.Config) {
				c.PublishTXT = func(_ context.Context, name, value string) error {
					p.publish(name, value)
					return nil
				}
			}).tailnet
		}},
		{"testcontrol", func(t *testing.T, p *publicWeb) *tailnet {
			n := theirTailnet(t)
			n.control.OnSetDNS = func(r *tstailcfg.SetDNSRequest) error {
				p.publish(r.Name, r.Value)
				return nil
			}
			return n
		}},
	} {
		t.Run(coordinator.kind, func(t *testing.T) {
			p := newPublicWeb(t, 0)
			p.forTsnet(t)
			n := coordinator.start(t, p)
			ours := n.newMeshnet(t, "ours")
			ours.ACMEDirectory, ours.Underlay.RootCAs = p.directory, p.web
			ours.start(t)
			theirs := n.startTsnet(t, "theirs")
			visitor := n.startMeshnet(t, "visitor")
			for host, listen := range map[string]func(network, addr string) (net.Listener, error){
				"ours": ours.ListenTLS, "theirs": theirs.ListenTLS,
			} {
				ln, err := listen("tcp", ":443")
				check(t, host+" listens", err)
				go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, host) }))
				visitor.sees(t, p, "https://"+host+"."+n.suffix+"/", host)
			}
		})
	}
}

// sees fetches a page as a browser does that trusts the authority.
func (n *meshnetNode) sees(t *testing.T, p *publicWeb, url, want string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DialContext:       n.Dial,
		TLSClientConfig:   &tls.Config{RootCAs: p.roots},
		DisableKeepAlives: true,
	}}
	eventually(t, url+" is there", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || string(text) != want {
			return fmt.Errorf("it says %q, %v", text, err)
		}
		return nil
	})
}
