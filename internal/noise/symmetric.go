package noise

import (
	"crypto/cipher"
	"crypto/hkdf"
	"errors"
	"fmt"
	"hash"
	"strconv"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/meshnet-go/meshnet/key"
)

const protocolName = "Noise_IK_25519_ChaChaPoly_BLAKE2s"

// symmetric is Noise's SymmetricState (section 5.2), which both sides carry
// through the handshake. It can only be moved on, never back: a message that
// failed leaves it useless.
type symmetric struct {
	h  [blake2s.Size]byte // hash of everything said so far
	ck [blake2s.Size]byte // chaining key: all secrets agreed so far
}

func newSymmetric(version uint16) *symmetric {
	var s symmetric
	s.h = blake2s.Sum256([]byte(protocolName)) // longer than a hash, so hashed
	s.ck = s.h
	s.mixHash([]byte("Tailscale Control Protocol v" + strconv.Itoa(int(version))))
	return &s
}

func (s *symmetric) mixHash(data []byte) {
	h := newBLAKE2s()
	h.Write(s.h[:])
	h.Write(data)
	h.Sum(s.h[:0])
}

func (s *symmetric) mixPublic(pub key.MachinePublic) {
	raw := pub.Raw32()
	s.mixHash(raw[:])
}

// mixDH is MixKey(DH(priv, pub)). The key that comes with it seals or opens at
// most one part of a message.
func (s *symmetric) mixDH(priv key.MachinePrivate, pub key.MachinePublic) (partKey, error) {
	secret, err := priv.SharedSecret(pub)
	if err != nil {
		return partKey{}, err
	}
	ck, k, err := s.derive(secret[:])
	s.ck = ck
	return k, err
}

// split ends the handshake and returns the record ciphers of the client's and
// the server's direction.
func (s *symmetric) split() (client, server cipher.AEAD, err error) {
	k1, k2, err := s.derive(nil)
	if err != nil {
		return nil, nil, err
	}
	return k1.aead(), k2.aead(), nil
}

// derive is HKDF(ck, secret, 2).
func (s *symmetric) derive(secret []byte) (a, b partKey, err error) {
	out, err := hkdf.Key(newBLAKE2s, secret, s.ck[:], "", 2*blake2s.Size)
	if err != nil {
		return a, b, fmt.Errorf("noise: deriving keys: %w", err) // only where FIPS 140 is enforced
	}
	return partKey(out[:blake2s.Size]), partKey(out[blake2s.Size:]), nil
}

// sealAndHash is EncryptAndHash: it appends the sealed content to dst.
func (s *symmetric) sealAndHash(k partKey, dst, content []byte) []byte {
	n := len(dst)
	dst = k.aead().Seal(dst, make([]byte, chacha20poly1305.NonceSize), content, s.h[:])
	s.mixHash(dst[n:])
	return dst
}

// openAndHash is DecryptAndHash: it returns the content of a sealed part.
func (s *symmetric) openAndHash(k partKey, sealed []byte) ([]byte, error) {
	content, err := k.aead().Open(nil, make([]byte, chacha20poly1305.NonceSize), sealed, s.h[:])
	if err != nil {
		return nil, errors.New("the message does not authenticate: wrong keys, or it was changed")
	}
	s.mixHash(sealed)
	return content, nil
}

// partKey is the key of one sealed part of a handshake message, or of all
// records of a direction.
type partKey [chacha20poly1305.KeySize]byte

func (k partKey) aead() cipher.AEAD {
	aead, err := chacha20poly1305.New(k[:])
	if err != nil {
		panic("noise: " + err.Error()) // only for a key of another length
	}
	return aead
}

func newBLAKE2s() hash.Hash {
	h, err := blake2s.New256(nil)
	if err != nil {
		panic("noise: " + err.Error()) // only for a key that is too long
	}
	return h
}
