package derp

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// pinPrefix marks a derpmap.Node.CertName that names a certificate by the
// SHA-256 of its DER form.
const pinPrefix = "sha256-raw:"

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
