// Package key holds the Curve25519 keys of the mesh protocols.
//
// A node has three of them, and their types keep them apart:
//
//	kind     life                 used for
//	machine  a state directory    the Noise session with the coordinator
//	node     until rotated        WireGuard, and the identity at relays
//	disco    one process          path discovery messages
//
// Public keys are comparable values with a text form: a prefix that names the
// kind ("mkey:", "nodekey:", "discokey:") and 64 hex digits. A zero public key
// means "none" and is written as 64 zeros.
//
// Private keys have no text form that a log, a %v or an encoder could find:
// only [NodePrivate.Secret] and [MachinePrivate.Secret] reveal one, for storing
// it.
//
// The prefixes and the sealed form (a 24-byte nonce, then a NaCl box) are those
// of Tailscale's types/key package.
package key

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unique"

	"golang.org/x/crypto/curve25519"
	"golang.org/x/crypto/nacl/box"
)

// Size is the length of every key, public or private, in bytes.
const Size = 32

// SealOverhead is how much longer a sealed message is than its content: the
// nonce in front and the authenticator behind it.
const SealOverhead = nonceSize + box.Overhead

const nonceSize = 24

const redacted = "[private key]"

// private is what the three private kinds share. Its methods are promoted, so
// that no kind can forget to hide itself.
type private struct {
	// h has the bytes of the key; the zero handle is none. For what is in
	// unexported fields of other structs fmt calls no Format, and would show
	// an array, or even one behind a pointer when the verb does not fit. Of a
	// handle to a string it shows the address. Equal keys have equal handles.
	h unique.Handle[string]
}

func privateOf(k [Size]byte) private { return private{unique.Make(string(k[:]))} }

func newPrivate() private {
	var k [Size]byte
	rand.Read(k[:]) // never fails: crypto/rand ends the program instead
	clamp(&k)
	return privateOf(k)
}

// clamp makes k a valid Curve25519 scalar (RFC 7748, section 5).
func clamp(k *[Size]byte) {
	k[0] &= 248
	k[31] = k[31]&127 | 64
}

// IsZero reports whether the key is unset.
func (p private) IsZero() bool { return p == private{} }

// raw returns the bytes of the key, or zeros.
func (p private) raw() [Size]byte {
	if p.IsZero() {
		return [Size]byte{}
	}
	return [Size]byte([]byte(p.h.Value()))
}

// Format writes a fixed text for every verb, so that no %v, %x or %#v of a key
// or of a struct that holds one shows the secret.
func (private) Format(f fmt.State, _ rune) { f.Write([]byte(redacted)) }

// String returns a fixed text that does not depend on the key.
func (private) String() string { return redacted }

func (p private) public() [Size]byte {
	if p.IsZero() {
		return [Size]byte{}
	}
	k := p.raw()
	pub, err := curve25519.X25519(k[:], curve25519.Basepoint)
	if err != nil {
		panic("key: multiplication by the base point failed: " + err.Error()) // not for a clamped scalar
	}
	return [Size]byte(pub)
}

// seal appends nonce and box to dst.
func seal(dst, cleartext []byte, shared *[Size]byte) []byte {
	var nonce [nonceSize]byte
	rand.Read(nonce[:])
	dst = append(dst, nonce[:]...)
	return box.SealAfterPrecomputation(dst, cleartext, &nonce, shared)
}

// open appends the content of a sealed message to dst.
func open(dst, sealed []byte, shared *[Size]byte) ([]byte, bool) {
	if len(sealed) < SealOverhead {
		return nil, false
	}
	nonce := [nonceSize]byte(sealed)
	return box.OpenAfterPrecomputation(dst, sealed[nonceSize:], &nonce, shared)
}

func (p private) shared(pub [Size]byte) (s [Size]byte) {
	k := p.raw()
	box.Precompute(&s, &pub, &k)
	return s
}

const privatePrefix = "privkey:"

func (p private) secret() string {
	k := p.raw()
	return privatePrefix + hex.EncodeToString(k[:])
}

func parsePrivate(text string) (private, error) {
	digits, ok := strings.CutPrefix(text, privatePrefix)
	if !ok {
		return private{}, fmt.Errorf("key: a private key begins with %q", privatePrefix)
	}
	k, err := parseHex(digits)
	if err != nil {
		return private{}, errors.New("key: malformed private key") // says nothing of the digits
	}
	if k == [Size]byte{} {
		return private{}, errors.New("key: the private key is zero")
	}
	clamp(&k)
	return privateOf(k), nil
}

func parseHex(digits string) (k [Size]byte, err error) {
	if len(digits) != 2*Size {
		return k, fmt.Errorf("want %d hex digits, have %d", 2*Size, len(digits))
	}
	_, err = hex.Decode(k[:], []byte(digits))
	return k, err
}

func parsePublic(text, prefix string) ([Size]byte, error) {
	digits, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return [Size]byte{}, fmt.Errorf("key: want a key that begins with %q", prefix)
	}
	k, err := parseHex(digits)
	if err != nil {
		return [Size]byte{}, fmt.Errorf("key: malformed %q key: %w", strings.TrimSuffix(prefix, ":"), err)
	}
	return k, nil
}

func appendPublic(dst []byte, prefix string, k [Size]byte) []byte {
	return hex.AppendEncode(append(dst, prefix...), k[:])
}
