package derp

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// MeshKey is the secret that the relays of a region share, and by which they
// know each other. The zero value is none. It is not printed.
type MeshKey struct{ k [32]byte }

// NewMeshKey makes a key.
func NewMeshKey() (k MeshKey) {
	rand.Read(k.k[:]) // never fails: crypto/rand ends the program instead
	return k
}

// ParseMeshKey reads a key of 64 hexadecimal digits, with or without white
// space around them: the content of the file that Tailscale's derper takes as
// -mesh-psk-file.
func ParseMeshKey(text string) (k MeshKey, err error) {
	raw, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != len(k.k) {
		return MeshKey{}, errors.New("derp: a mesh key has 64 hexadecimal digits")
	}
	return MeshKey{[32]byte(raw)}, nil
}

// IsZero reports whether k is no key.
func (k MeshKey) IsZero() bool { return k == MeshKey{} }

// Secret returns the 64 digits, for storing them.
func (k MeshKey) Secret() string { return hex.EncodeToString(k.k[:]) }

// String hides the key, also from the log.
func (k MeshKey) String() string { return "(mesh key)" }

// Format hides the key from all verbs.
func (k MeshKey) Format(f fmt.State, _ rune) { f.Write([]byte(k.String())) }

// secret is what a client says, which may be nothing.
func (k MeshKey) secret() string {
	if k.IsZero() {
		return ""
	}
	return k.Secret()
}

// is reports whether text is what a client says who knows k.
func (k MeshKey) is(text string) bool {
	said, err := ParseMeshKey(text)
	return err == nil && !k.IsZero() && subtle.ConstantTimeCompare(said.k[:], k.k[:]) == 1
}
