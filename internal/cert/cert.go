// Package cert has the TLS certificates of a mesh's nodes: the [Authority] by
// which a coordinator signs them, and what a node does with one: [Want] says
// whether it is the right one, [Encode] and [Decode] keep it between runs, and
// [AddRoots] makes others trust it.
package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"time"
)

// Want is what a node's certificate is to be.
type Want struct {
	Names []string     // without trailing dots
	Addrs []netip.Addr // may be none
	Roots [][]byte     // the mesh's authority, in DER; none: one that all trust
}

// Equal reports whether both are the same.
func (w Want) Equal(other Want) bool { return reflect.DeepEqual(w, other) }

// Fits reports whether a certificate is what is wanted, at this time.
func (w Want) Fits(c *tls.Certificate, now time.Time) bool {
	leaf := c.Leaf
	if !slices.Equal(leaf.DNSNames, w.Names) || len(leaf.IPAddresses) != len(w.Addrs) {
		return false
	}
	for i, ip := range leaf.IPAddresses {
		if addr, _ := netip.AddrFromSlice(ip); addr.Unmap() != w.Addrs[i] {
			return false
		}
	}
	if len(w.Roots) == 0 {
		return InForce(c, now)
	}
	roots := x509.NewCertPool()
	AddRoots(roots, w.Roots, func(*x509.Certificate) error { return nil })
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now})
	return err == nil
}

// InForce reports whether the certificate has begun and not expired.
func InForce(c *tls.Certificate, now time.Time) bool {
	return c != nil && !now.Before(c.Leaf.NotBefore) && now.Before(c.Leaf.NotAfter)
}

// RenewAt returns when the certificate is to be replaced: in the middle of its
// life, so that there is time for many attempts.
func RenewAt(c *tls.Certificate) time.Time {
	return c.Leaf.NotBefore.Add(c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) / 2)
}

// NewKey returns a key for a certificate.
func NewKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// Request returns a certificate request for the names, in DER.
func Request(key crypto.Signer, names []string) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
}

// New returns the certificate of a key, with its chain in DER.
func New(chain [][]byte, key crypto.Signer) (*tls.Certificate, error) {
	if len(chain) == 0 {
		return nil, errors.New("there is no certificate")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, err
	}
	public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return nil, errors.New("the certificate is for another key")
	}
	return &tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, nil
}

// The types of PEM blocks.
const (
	pemKey         = "PRIVATE KEY"
	pemCertificate = "CERTIFICATE"
)

// EncodeKey returns a private key as PEM.
func EncodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), err
}

// DecodeKey reverses EncodeKey.
func DecodeKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemKey {
		return nil, errors.New("it is no key in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, errors.New("it is no key that signs") // x509 might tell what it is
	}
	return signer, nil
}

// Encode returns the certificate with its key, as PEM.
func Encode(c *tls.Certificate) ([]byte, error) {
	text, err := EncodeKey(c.PrivateKey)
	for _, der := range c.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})...)
	}
	return text, err
}

// Decode reverses Encode.
func Decode(text []byte) (*tls.Certificate, error) {
	c, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, err
	}
	if c.Leaf == nil {
		c.Leaf, err = x509.ParseCertificate(c.Certificate[0])
	}
	return &c, err
}

// EncodeRoot returns an authority's certificate as PEM.
func EncodeRoot(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})
}

// AddRoots adds the certificates of a mesh's authority to those that a pool
// trusts, but only for certificates that allowed has no objection to. What is no
// certificate is left out.
func AddRoots(pool *x509.CertPool, roots [][]byte, allowed func(leaf *x509.Certificate) error) {
	for _, der := range roots {
		if root, err := x509.ParseCertificate(der); err == nil && root.IsCA {
			pool.AddCertWithConstraint(root, func(chain []*x509.Certificate) error { return allowed(chain[0]) })
		}
	}
}
