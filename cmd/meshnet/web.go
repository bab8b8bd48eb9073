package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"

	"github.com/meshnet-go/meshnet/derp"
	"github.com/meshnet-go/meshnet/internal/serve"
)

// A webConfig is the flags of commands that serve the web: where, under which
// name, and with which certificate.
type webConfig struct {
	listen            string
	url               string
	certFile, keyFile string
	acmeHost          string
	acmeDirectory     string
	plain             bool

	// relayOnly says that nothing but a relay is served, for which a certificate
	// is as good that the DERP map pins.
	relayOnly bool
}

func (c *webConfig) addFlags(fs *flag.FlagSet, defaultListen string) {
	fs.Func("listen", "`ADDRESS`, HOST:PORT, or a port of 127.0.0.1 (default "+defaultListen+")", func(text string) (err error) {
		c.listen, err = parseLocal(text)
		return err
	})
	fs.Func("url", "`URL` at which others reach this server, if that is another than\n-listen and the certificate say: behind a proxy or a NAT", func(text string) error {
		c.url = text
		return checkControl(text)
	})
	fs.StringVar(&c.certFile, "cert", "", "`FILE` with the certificate and its chain (PEM); it is read again when it changes")
	fs.StringVar(&c.keyFile, "key", "", "`FILE` with the certificate's key (PEM)")
	fs.StringVar(&c.acmeHost, "acme", "", "`NAME` of this host: get the certificate for it by ACME, from Let's Encrypt.\nPort 443 of the name must lead to -listen")
	fs.StringVar(&c.acmeDirectory, "acme-directory", "", "`URL` of the directory of another ACME server")
}

// check checks what can be checked without doing anything, and sets defaults.
func (c *webConfig) check() error {
	switch {
	case (c.certFile == "") != (c.keyFile == ""):
		return usagef("-cert and -key belong together")
	case c.certFile != "" && c.acmeHost != "":
		return usagef("-cert and -acme are two ways to a certificate: choose one")
	case c.acmeHost != "" && !isHost(c.acmeHost):
		return usagef("-acme: %q is no name of a host", c.acmeHost)
	case c.plain && c.hasCertificate():
		return usagef("-http is for servers without a certificate")
	}
	if c.hasCertificate() || c.relayOnly && !c.plain {
		c.listen = cmp.Or(c.listen, ":443")
	}
	c.listen = cmp.Or(c.listen, "127.0.0.1:8080")
	return nil
}

// hasCertificate says whether the server has a certificate that authorities
// vouch for.
func (c *webConfig) hasCertificate() bool { return c.certFile != "" || c.acmeHost != "" }

// open listens. Nobody but this machine is served without a certificate, unless
// that was asked for.
func (c *webConfig) open() (net.Listener, error) {
	ln, err := net.Listen("tcp", c.listen)
	if err != nil {
		return nil, fmt.Errorf("-listen: %w", err)
	}
	if !c.plain && !c.relayOnly && !c.hasCertificate() && !serve.Local(ln.Addr()) {
		ln.Close()
		return nil, usagef("others than this machine can reach %s, and there is no certificate: "+
			"give -cert and -key, or -acme NAME; or -http if that is meant", c.listen)
	}
	return ln, nil
}

// certificate returns the configuration of TLS, without what is the relay's.
// It is nil for a server that has no certificate.
func (c *webConfig) certificate(dir string, log *slog.Logger) (*tls.Config, error) {
	switch {
	case c.certFile != "":
		files, err := derp.LoadCertFiles(c.certFile, c.keyFile, log)
		if err != nil {
			return nil, err
		}
		return &tls.Config{GetCertificate: files.GetCertificate}, nil
	case c.acmeHost != "":
		return c.acmeManager(dir).TLSConfig(), nil
	}
	return nil, nil
}

// address returns the URL at which others reach the server.
func (c *webConfig) address(addr net.Addr, base *tls.Config) (*url.URL, error) {
	if c.url != "" {
		return url.Parse(c.url)
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err != nil || ip.IsUnspecified() {
		host = outwardAddress().String()
	}
	u := &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}
	if !c.hasCertificate() {
		return u, nil
	}
	u.Scheme = "https"
	if host = c.acmeHost; host == "" {
		if host, err = nameInCertificate(base); err != nil {
			return nil, err
		}
	}
	if u.Host = host; port != "443" {
		u.Host = net.JoinHostPort(host, port)
	}
	return u, nil
}

// nameInCertificate returns the first name or address that a certificate is for.
func nameInCertificate(base *tls.Config) (string, error) {
	cert, err := base.GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		return "", err
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return "", err
	}
	for _, name := range leaf.DNSNames {
		if isHost(name) { // no wildcard
			return name, nil
		}
	}
	for _, ip := range leaf.IPAddresses {
		return ip.String(), nil
	}
	return "", errors.New("the certificate does not say which host it is for: give -url")
}

// outwardAddress returns the address of this machine by which it would reach
// others, or else 127.0.0.1.
func outwardAddress() netip.Addr {
	for _, elsewhere := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} { // documentation's own (RFC 5737, RFC 3849)
		c, err := net.Dial("udp", elsewhere) // sends nothing
		if err != nil {
			continue
		}
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	}
	return netip.MustParseAddr(thisMachine)
}

// portOf returns the port of a URL, also when it is the scheme's own.
func portOf(u *url.URL) int {
	if port, err := strconv.Atoi(u.Port()); err == nil {
		return port
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}
