package main

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"time"

	"github.com/slackhq/nebula/cert"
)

// certify makes the certificate of a host, and that of the authority. The
// authority's key is no secret, so that every process is the same authority.
func certify(hostname string, addr netip.Prefix) (caPEM, certPEM, keyPEM []byte, err error) {
	seed := sha256.Sum256([]byte("the bench's authority"))
	authority := ed25519.NewKeyFromSeed(seed[:])
	today := time.Now().Truncate(24 * time.Hour) // the same in all processes
	ca, err := (&cert.TBSCertificate{
		Version: cert.Version2, Curve: cert.Curve_CURVE25519, Name: "bench", IsCA: true,
		NotBefore: today.AddDate(0, 0, -2), NotAfter: today.AddDate(0, 0, 3), PublicKey: authority.Public().(ed25519.PublicKey),
	}).Sign(nil, cert.Curve_CURVE25519, authority)
	if err != nil {
		return nil, nil, nil, err
	}
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, nil, err
	}
	host, err := (&cert.TBSCertificate{
		Version: cert.Version2, Curve: cert.Curve_CURVE25519, Name: hostname, Networks: []netip.Prefix{addr},
		NotBefore: today.AddDate(0, 0, -1), NotAfter: today.AddDate(0, 0, 2), PublicKey: private.PublicKey().Bytes(),
	}).Sign(ca, cert.Curve_CURVE25519, authority)
	if err != nil {
		return nil, nil, nil, err
	}
	if caPEM, err = ca.MarshalPEM(); err != nil {
		return nil, nil, nil, err
	}
	certPEM, err = host.MarshalPEM()
	return caPEM, certPEM, cert.MarshalPrivateKeyToPEM(cert.Curve_CURVE25519, private.Bytes()), err
}
