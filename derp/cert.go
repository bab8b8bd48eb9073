package derp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"
)

// pinPrefix marks a derpmap.Node.CertName that names a certificate by the
// SHA-256 of its DER form.
const pinPrefix = "sha256-raw:"

// selfSignedLife is long because the pin in the DERP map is what is trusted,
// and Tailscale's clients still refuse a pinned certificate that has expired.
const selfSignedLife = 10 * 365 * 24 * time.Hour

// SelfSigned makes a certificate for a relay at host, which is a DNS name or
// an IP address, without any authority: certName goes into the CertName of the
// relay's [derpmap.Node], and clients then trust this very certificate. The
// HostName there must be host, because Tailscale's clients check that too.
func SelfSigned(host string) (cert tls.Certificate, certName string, err error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, "", fmt.Errorf("derp: make a key for %s: %w", host, err)
	}
	serial := make([]byte, 16)
	rand.Read(serial)
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{CommonName: host},
		NotBefore:    now.Add(-24 * time.Hour), // for clients whose clocks are slow
		NotAfter:     now.Add(selfSignedLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, priv.Public(), priv)
	if err != nil {
		return tls.Certificate{}, "", fmt.Errorf("derp: make a certificate for %s: %w", host, err)
	}
	sum := sha256.Sum256(der)
	cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: priv}
	return cert, pinPrefix + hex.EncodeToString(sum[:]), nil
}

func cutPin(certName string) (pin string, ok bool) { return strings.CutPrefix(certName, pinPrefix) }

// checkPin accepts exactly the certificate that the map names, whatever it
// says of names and dates. Certificates behind it play no part.
func checkPin(s tls.ConnectionState, pin string) error {
	want, err := hex.DecodeString(pin)
	if err != nil || len(want) != sha256.Size {
		return fmt.Errorf("the map pins the relay's certificate with %q, which is no SHA-256", pin)
	}
	if len(s.PeerCertificates) == 0 {
		return errors.New("the relay has no certificate")
	}
	if sha256.Sum256(s.PeerCertificates[0].Raw) != [sha256.Size]byte(want) {
		return errors.New("the relay's certificate is not the one that the map pins")
	}
	return nil
}

// checkName does what TLS does, but for the name that the map gives instead of
// the name that was dialed.
func checkName(s tls.ConnectionState, name string, roots *x509.CertPool) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the relay has no certificate")
	}
	opts := x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: x509.NewCertPool()}
	for _, cert := range s.PeerCertificates[1:] {
		opts.Intermediates.AddCert(cert)
	}
	_, err := s.PeerCertificates[0].Verify(opts)
	return err
}
