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
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"path/filepath"
	"time"
)

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
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: priv}, pinOf(der), nil
}

// SelfSignedIn is [SelfSigned] with a certificate that is kept in a folder, as
// host.crt and host.key, where Tailscale's derper (-certmode manual) has them
// too: the pin stays the same over restarts. One that is there already is
// taken, unless it has expired or is not for host; then a new one takes its
// place.
func SelfSignedIn(dir, host string) (cert tls.Certificate, certName string, err error) {
	certFile, keyFile := filepath.Join(dir, host+".crt"), filepath.Join(dir, host+".key")
	cert, err = tls.LoadX509KeyPair(certFile, keyFile)
	switch {
	case err == nil && stillGood(cert.Leaf, host):
		return cert, pinOf(cert.Leaf.Raw), nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return tls.Certificate{}, "", fmt.Errorf("derp: the certificate for %s: %w", host, err)
	}
	cert, certName, err = SelfSigned(host)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	priv, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err == nil {
		err = keep(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: priv}))
	}
	if err == nil {
		err = keep(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))
	}
	if err != nil {
		return tls.Certificate{}, "", fmt.Errorf("derp: keep the certificate for %s: %w", host, err)
	}
	return cert, certName, nil
}

func stillGood(cert *x509.Certificate, host string) bool {
	return time.Now().Before(cert.NotAfter) && cert.VerifyHostname(host) == nil
}

func pinOf(der []byte) string {
	sum := sha256.Sum256(der)
	return pinPrefix + hex.EncodeToString(sum[:])
}
