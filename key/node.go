package key

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
)

const nodePrefix = "nodekey:"

// NodePrivate is the secret half of a node's WireGuard key, which is also its
// identity at relays. The zero value means "none".
type NodePrivate struct{ private }

// NewNode makes a node key.
func NewNode() NodePrivate { return NodePrivate{newPrivate()} }

// NodePrivateFromRaw32 makes a key of 32 bytes that are secret and random.
func NodePrivateFromRaw32(raw [Size]byte) NodePrivate {
	clamp(&raw)
	return NodePrivate{privateOf(raw)}
}

// ParseNodePrivate reads what [NodePrivate.Secret] wrote.
func ParseNodePrivate(text string) (NodePrivate, error) {
	p, err := parsePrivate(text)
	return NodePrivate{p}, err
}

// Secret returns the key itself as text ("privkey:" and hex digits), for a
// store. It is the only method that reveals it besides [NodePrivate.Raw32].
func (k NodePrivate) Secret() string { return k.secret() }

// Raw32 returns the bytes of the key, for WireGuard's configuration.
func (k NodePrivate) Raw32() [Size]byte { return k.raw() }

// Public returns the public half, or the zero key of a zero key.
func (k NodePrivate) Public() NodePublic { return NodePublic{k.public()} }

// SealTo encrypts a message that only the holder of to can read, and that
// proves to come from k.
func (k NodePrivate) SealTo(to NodePublic, cleartext []byte) []byte {
	s := k.shared(to.k)
	return seal(nil, cleartext, &s)
}

// OpenFrom decrypts what from sealed to k. It reports false when the message
// is too short, changed, or not from that key.
func (k NodePrivate) OpenFrom(from NodePublic, sealed []byte) ([]byte, bool) {
	s := k.shared(from.k)
	return open(nil, sealed, &s)
}

// NodePublic identifies a node to coordinator, relays and peers. It is
// comparable; the zero value means "none".
type NodePublic struct{ k [Size]byte }

// NodePublicFromRaw32 returns the key with those bytes.
func NodePublicFromRaw32(raw [Size]byte) NodePublic { return NodePublic{raw} }

// ParseNodePublic reads the text form: "nodekey:" and 64 hex digits.
func ParseNodePublic(text string) (NodePublic, error) {
	k, err := parsePublic(text, nodePrefix)
	return NodePublic{k}, err
}

// IsZero reports whether the key is unset.
func (k NodePublic) IsZero() bool { return k == NodePublic{} }

// Raw32 returns the bytes of the key.
func (k NodePublic) Raw32() [Size]byte { return k.k }

// AppendRaw appends the 32 bytes of the key to dst.
func (k NodePublic) AppendRaw(dst []byte) []byte { return append(dst, k.k[:]...) }

// Hex returns the 64 hex digits without a prefix, as WireGuard's configuration
// protocol writes keys.
func (k NodePublic) Hex() string { return hex.EncodeToString(k.k[:]) }

// Compare orders keys by their bytes, as [cmp.Compare] does values.
func (k NodePublic) Compare(other NodePublic) int { return bytes.Compare(k.k[:], other.k[:]) }

// String returns the text form.
func (k NodePublic) String() string { return string(appendPublic(nil, nodePrefix, k.k)) }

// Short returns a form for logs: the first characters of the key in base64,
// in brackets.
func (k NodePublic) Short() string {
	return "[" + base64.StdEncoding.EncodeToString(k.k[:])[:5] + "]"
}

// MarshalText implements [encoding.TextMarshaler].
func (k NodePublic) MarshalText() ([]byte, error) { return appendPublic(nil, nodePrefix, k.k), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (k *NodePublic) UnmarshalText(text []byte) (err error) {
	k.k, err = parsePublic(string(text), nodePrefix)
	return err
}
