package derp

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

// A relay sends one certificate more than it needs, which nobody trusts: its
// name says the relay's key, and its serial number the version of the protocol.
// A client that reads it can log in at once, and saves a round trip. With TLS
// 1.3, which encrypts certificates, nobody on the way learns of it; clients
// look for it only there.
const metaCertPrefix = "derpkey"

// acmeProtocol is what an authority speaks that looks whether a name is ours
// (RFC 8737). It expects one certificate.
const acmeProtocol = "acme-tls/1"

var errNoCertificate = errors.New("derp: the relay has no certificate")

// metaCert returns the DER form of the certificate for a relay.
func metaCert(relay key.NodePublic) []byte {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil // never happens; clients then take a round trip more
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(protocolVersion),
		Subject:      pkix.Name{CommonName: metaCertPrefix + relay.Hex()},
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.Add(selfSignedLife),
		// Some TLS libraries want to know about every certificate in a chain
		// whether it is an authority.
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return nil
	}
	return der
}

// parseMetaCert returns the relay's key if one of the certificates says it for
// our version of the protocol.
func parseMetaCert(s tls.ConnectionState) (relay key.NodePublic, ok bool) {
	if s.Version < tls.VersionTLS13 {
		return key.NodePublic{}, false
	}
	for _, cert := range s.PeerCertificates {
		digits, found := strings.CutPrefix(cert.Subject.CommonName, metaCertPrefix)
		if !found || cert.SerialNumber.Cmp(big.NewInt(protocolVersion)) != 0 {
			continue
		}
		if relay, err := key.ParseNodePublic("nodekey:" + digits); err == nil && !relay.IsZero() {
			return relay, true
		}
	}
	return key.NodePublic{}, false
}

// TLSConfig returns how to serve the relay with the certificates of base, which
// is not changed: over HTTP/1.1, which can be upgraded, and with the relay's key
// behind each certificate, so that clients save a round trip. base has
// Certificates or GetCertificate, such as that of [CertFiles], or is what
// TLSConfig of an autocert.Manager (golang.org/x/crypto/acme/autocert) returns.
func (s *Server) TLSConfig(base *tls.Config) *tls.Config {
	cfg := base.Clone()
	// HTTP/2 cannot be upgraded. ACME's protocol stays.
	cfg.NextProtos = slices.DeleteFunc(slices.Clone(base.NextProtos), func(p string) bool { return p == "h2" })
	if !slices.Contains(cfg.NextProtos, "http/1.1") {
		cfg.NextProtos = append(cfg.NextProtos, "http/1.1")
	}
	// Records that grow by and by are for web pages. Here they would cost a
	// write per packet for the first of them.
	cfg.DynamicRecordSizingDisabled = true
	cfg.Certificates = nil
	cfg.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := choose(base, hello)
		if err != nil || s.meta == nil || slices.Contains(hello.SupportedProtos, acmeProtocol) {
			return cert, err
		}
		more := *cert
		more.Certificate = append(slices.Clip(cert.Certificate), s.meta)
		return &more, nil
	}
	return cfg
}

// choose does what TLS does with base, which has GetCertificate come first.
func choose(base *tls.Config, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if base.GetCertificate != nil {
		cert, err := base.GetCertificate(hello)
		if cert != nil || err != nil {
			return cert, err
		}
	}
	for i := range base.Certificates {
		if hello.SupportsCertificate(&base.Certificates[i]) == nil {
			return &base.Certificates[i], nil
		}
	}
	if len(base.Certificates) > 0 {
		return &base.Certificates[0], nil // the client says what it dislikes about it
	}
	return nil, errNoCertificate
}
