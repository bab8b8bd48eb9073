package key

import "encoding/hex"

const discoPrefix = "discokey:"

// DiscoPrivate is the secret half of a process's path discovery key. It is
// made anew at every start, or from a secret that another process shares, and
// cannot be stored. The zero value means "none".
type DiscoPrivate struct{ private }

// NewDisco makes a disco key.
func NewDisco() DiscoPrivate { return DiscoPrivate{newPrivate()} }

// DiscoPrivateFromRaw32 makes a key of 32 bytes that are secret and random.
func DiscoPrivateFromRaw32(raw [Size]byte) DiscoPrivate {
	clamp(&raw)
	return DiscoPrivate{privateOf(raw)}
}

// Public returns the public half, or the zero key of a zero key.
func (k DiscoPrivate) Public() DiscoPublic { return DiscoPublic{k.public()} }

// Shared returns what k and the holder of pub seal messages to each other
// with. Making it costs a scalar multiplication, so it is kept by a peer.
func (k DiscoPrivate) Shared(pub DiscoPublic) DiscoShared {
	return DiscoShared{privateOf(k.shared(pub.k))}
}

// DiscoShared seals and opens messages between two disco keys.
type DiscoShared struct{ private }

// Seal appends the sealed cleartext to dst.
func (s *DiscoShared) Seal(dst, cleartext []byte) []byte {
	k := s.raw()
	return seal(dst, cleartext, &k)
}

// Open appends the content of sealed to dst. It reports false when the
// message is too short, changed, or sealed with another key.
func (s *DiscoShared) Open(dst, sealed []byte) ([]byte, bool) {
	k := s.raw()
	return open(dst, sealed, &k)
}

// DiscoPublic identifies a process to its peers in path discovery messages.
// It is comparable; the zero value means "none".
type DiscoPublic struct{ k [Size]byte }

// DiscoPublicFromRaw32 returns the key with those bytes.
func DiscoPublicFromRaw32(raw [Size]byte) DiscoPublic { return DiscoPublic{raw} }

// ParseDiscoPublic reads the text form: "discokey:" and 64 hex digits.
func ParseDiscoPublic(text string) (DiscoPublic, error) {
	k, err := parsePublic(text, discoPrefix)
	return DiscoPublic{k}, err
}

// IsZero reports whether the key is unset.
func (k DiscoPublic) IsZero() bool { return k == DiscoPublic{} }

// Raw32 returns the bytes of the key.
func (k DiscoPublic) Raw32() [Size]byte { return k.k }

// AppendRaw appends the 32 bytes of the key to dst.
func (k DiscoPublic) AppendRaw(dst []byte) []byte { return append(dst, k.k[:]...) }

// String returns the text form.
func (k DiscoPublic) String() string { return string(appendPublic(nil, discoPrefix, k.k)) }

// Short returns a form for logs: "d:" and the first 16 hex digits.
func (k DiscoPublic) Short() string { return "d:" + hex.EncodeToString(k.k[:8]) }

// MarshalText implements [encoding.TextMarshaler].
func (k DiscoPublic) MarshalText() ([]byte, error) { return appendPublic(nil, discoPrefix, k.k), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (k *DiscoPublic) UnmarshalText(text []byte) (err error) {
	k.k, err = parsePublic(string(text), discoPrefix)
	return err
}
