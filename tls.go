package meshnet

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/meshnet-go/meshnet/internal/cert"
)

// ErrNoCertificates means that neither [Server.Certificates] nor the mesh has
// certificates: its coordinator offers none.
var ErrNoCertificates = errors.New("the coordinator of the mesh offers no TLS certificates; set Server.Certificates")

// ListenTLS is Listen for TLS: connections that are accepted are [*tls.Conn].
// Certificates are those of [Server.Certificates] or else of the mesh: by the
// authority of a coordinator of package coord, or by ACME where the coordinator
// publishes the proofs, as Tailscale does (see [Server.CertDomains]). They are
// asked for at once, renewed in good time, and kept in the Store. A connection
// that comes earlier waits for the first one.
//
// It is [ErrNoCertificates] when the node is up and the mesh offers none. What
// keeps a certificate from coming later on is told by Status.Health.
//
// No protocol is negotiated: HTTP/2 is what an [http.Server] speaks that has
// [Server.GetCertificate] in its TLSConfig, and whose ServeTLS is given the
// listener of [Server.Listen].
func (s *Server) ListenTLS(network, addr string) (net.Listener, error) {
	if err := s.seekCertificate(); err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	ln, err := s.Listen(network, addr)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(ln, &tls.Config{GetCertificate: s.GetCertificate}), nil
}

// GetCertificate returns the certificate of [Server.ListenTLS], for the
// [tls.Config] of servers of one's own. It waits for the first one, within
// hello's context and half a minute.
func (s *Server) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.Certificates != nil {
		return s.Certificates(hello)
	}
	n, err := s.start()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(hello.Context(), certificateWait)
	defer cancel()
	if k := n.keeping.of(n); k != nil {
		return k.get(ctx)
	}
	return nil, ErrNoCertificates
}

// CertDomains returns the names for which the mesh has certificates for this
// node: its own full name, if any. Those are publicly trusted when the coordinator
// offers ACME (the tailnet has HTTPS enabled, or [coord.Config] has a PublishTXT),
// and otherwise trusted by meshnet's nodes: see [Server.RootCAs]. It is empty until
// the node is up.
//
// [coord.Config]: https://pkg.go.dev/github.com/meshnet-go/meshnet/coord#Config
func (s *Server) CertDomains() []string {
	s.mu.Lock()
	n := s.node
	s.mu.Unlock()
	if n == nil {
		return nil
	}
	want, err := wantedCertificate(n.view.load().netMap)
	if err != nil {
		return nil
	}
	return slices.Clone(want.Names)
}

// RootCAs returns what verifies the certificates of nodes, for the client side of
// TLS over [Server.Dial]: the authorities that the host trusts, and that of the
// mesh. The latter is trusted for names and addresses of the mesh's nodes alone.
// [Server.HTTPClient] does so by itself. It waits for the node to be up.
func (s *Server) RootCAs(ctx context.Context) (*x509.CertPool, error) {
	n, v, err := s.member(ctx)
	if err != nil {
		return nil, fmt.Errorf("meshnet: the authorities of the mesh: %w", err)
	}
	return n.rootCAs(v), nil
}

func (n *node) rootCAs(v view) *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil { // there is none on some systems
		pool = x509.NewCertPool()
	}
	cert.AddRoots(pool, authorities(v.netMap), n.isPeersOwn)
	return pool
}

// isPeersOwn returns an error when a certificate has other names and addresses than
// those of nodes: the mesh's authority is none for them.
func (n *node) isPeersOwn(leaf *x509.Certificate) error {
	m := n.view.load().netMap
	if m == nil {
		return net.ErrClosed
	}
	for _, name := range leaf.DNSNames {
		if m.Names.FullName(name) != name {
			return fmt.Errorf("the mesh's authority signs for %.100q, which is no node", name)
		}
	}
	for _, ip := range leaf.IPAddresses {
		addr, _ := netip.AddrFromSlice(ip)
		if _, ok := m.ByAddr(addr.Unmap()); !ok {
			return fmt.Errorf("the mesh's authority signs for %v, which is no node", ip)
		}
	}
	return nil
}

// dialTLS is Dial for TLS with a node that shows a certificate for its full name,
// whatever it is called in address.
func (s *Server) dialTLS(ctx context.Context, network, address string, base *tls.Config) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	conn, err := s.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	n, v, err := s.member(ctx)
	if err != nil {
		conn.Close()
		return nil, err
	}
	config := base.Clone()
	if config.ServerName == "" {
		config.ServerName = cmp.Or(v.netMap.Names.FullName(host), host)
	}
	if config.RootCAs == nil {
		config.RootCAs = n.rootCAs(v)
	}
	c := tls.Client(conn, config)
	ctx, cancel := context.WithTimeout(ctx, tlsHandshakeTimeout)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}
