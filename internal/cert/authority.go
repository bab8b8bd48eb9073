package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	// lifetime is short, because nothing revokes a certificate. It is longer than
	// a node may go by the last map, and a coordinator may be away.
	lifetime     = 6 * 24 * time.Hour
	rootLifetime = 20 * 365 * 24 * time.Hour
	rootReserve  = 365 * 24 * time.Hour // before its end a root is replaced
	// backdate is how far the clock of who verifies may be behind ours.
	backdate = time.Hour
)

// The addresses of all meshes; see package coord.
var meshNetworks = []*net.IPNet{
	{IP: net.IPv4(100, 64, 0, 0).To4(), Mask: net.CIDRMask(10, 32)},
	{IP: net.ParseIP("fd7a:115c:a1e0::"), Mask: net.CIDRMask(48, 128)},
}

// An Authority signs certificates for the nodes of a mesh. Its own says that it
// may do so for names within the mesh's domain and for addresses of meshes, and
// for nothing else (RFC 5280, section 4.2.1.10).
type Authority struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority returns a new one for the domain.
func NewAuthority(domain string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:                serial(),
		Subject:                     pkix.Name{CommonName: "nodes of " + domain},
		NotBefore:                   now.Add(-backdate),
		NotAfter:                    now.Add(rootLifetime),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{domain},
		PermittedIPRanges:           meshNetworks,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(der)
	return &Authority{root, key}, err
}

// LoadAuthority returns the authority that has this certificate, in DER, and
// this key, as PKCS #8.
func LoadAuthority(root, key []byte) (*Authority, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return nil, errors.New("the authority's key is none") // whose text x509 might tell
	}
	a := new(Authority)
	if a.root, err = x509.ParseCertificate(root); err != nil {
		return nil, fmt.Errorf("the authority's certificate: %w", err)
	}
	var ok bool
	if a.key, ok = parsed.(*ecdsa.PrivateKey); !ok || !a.key.PublicKey.Equal(a.root.PublicKey) {
		return nil, errors.New("the authority's key is not that of its certificate")
	}
	return a, nil
}

// Root returns the authority's certificate, in DER.
func (a *Authority) Root() []byte { return a.root.Raw }

// Key returns the authority's private key, as PKCS #8.
func (a *Authority) Key() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(a.key) }

// Serves reports whether the authority can sign for the domain for a good while
// yet.
func (a *Authority) Serves(domain string, now time.Time) bool {
	return slices.Equal(a.root.PermittedDNSDomains, []string{domain}) && now.Before(a.root.NotAfter.Add(-rootReserve))
}

// Sign returns a certificate, in DER, for the key in a certificate request. What
// else is in the request does not matter: the node has this name and these
// addresses.
func (a *Authority) Sign(request []byte, name string, addrs []netip.Addr, now time.Time) ([]byte, error) {
	key, err := requestKey(request)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{name},
	}
	if len(name) <= maxCommonName {
		template.Subject.CommonName = name
	}
	for _, addr := range addrs {
		template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
	}
	return x509.CreateCertificate(rand.Reader, template, a.root, key, a.key)
}

// maxCommonName is that of RFC 5280, appendix A.1.
const maxCommonName = 64

// requestKey returns the key whose owner has signed the request. Only kinds that
// are strong whatever their parameters are taken.
func requestKey(request []byte) (crypto.PublicKey, error) {
	r, err := x509.ParseCertificateRequest(request)
	if err == nil {
		err = r.CheckSignature()
	}
	if err != nil {
		return nil, fmt.Errorf("the certificate request: %w", err)
	}
	switch key := r.PublicKey.(type) {
	case ed25519.PublicKey:
		return key, nil
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() || key.Curve == elliptic.P384() {
			return key, nil
		}
	}
	return nil, errors.New("the certificate request's key is not Ed25519, or ECDSA on P-256 or P-384")
}

func serial() *big.Int {
	var n [16]byte
	rand.Read(n[:])
	n[0] &= 0x7f // positive, whatever reads it
	return new(big.Int).SetBytes(n[:])
}
