package key

import (
	"errors"

	"golang.org/x/crypto/curve25519"
)

const machinePrefix = "mkey:"

// MachinePrivate is the secret half of the key with which a machine, or a
// coordinator, authenticates a control connection. The zero value means
// "none".
type MachinePrivate struct{ private }

// NewMachine makes a machine key.
func NewMachine() MachinePrivate { return MachinePrivate{newPrivate()} }

// ParseMachinePrivate reads what [MachinePrivate.Secret] wrote.
func ParseMachinePrivate(text string) (MachinePrivate, error) {
	p, err := parsePrivate(text)
	return MachinePrivate{p}, err
}

// Secret returns the key itself as text ("privkey:" and hex digits), for a
// store. It is the only method that reveals it.
func (k MachinePrivate) Secret() string { return k.secret() }

// Public returns the public half, or the zero key of a zero key.
func (k MachinePrivate) Public() MachinePublic { return MachinePublic{k.public()} }

// SharedSecret returns the Diffie-Hellman value of k and pub. It is an error
// when pub is a point of low order, for which the value would be known to
// anybody (RFC 7748, section 6.1).
func (k MachinePrivate) SharedSecret(pub MachinePublic) ([Size]byte, error) {
	priv := k.raw()
	s, err := curve25519.X25519(priv[:], pub.k[:])
	if err != nil {
		return [Size]byte{}, errors.New("key: the other side's public key is invalid")
	}
	return [Size]byte(s), nil
}

// MachinePublic identifies a machine to its coordinator, and a coordinator to
// its machines. It is comparable; the zero value means "none".
type MachinePublic struct{ k [Size]byte }

// MachinePublicFromRaw32 returns the key with those bytes.
func MachinePublicFromRaw32(raw [Size]byte) MachinePublic { return MachinePublic{raw} }

// ParseMachinePublic reads the text form: "mkey:" and 64 hex digits.
func ParseMachinePublic(text string) (MachinePublic, error) {
	k, err := parsePublic(text, machinePrefix)
	return MachinePublic{k}, err
}

// IsZero reports whether the key is unset.
func (k MachinePublic) IsZero() bool { return k == MachinePublic{} }

// Raw32 returns the bytes of the key.
func (k MachinePublic) Raw32() [Size]byte { return k.k }

// String returns the text form.
func (k MachinePublic) String() string { return string(appendPublic(nil, machinePrefix, k.k)) }

// MarshalText implements [encoding.TextMarshaler].
func (k MachinePublic) MarshalText() ([]byte, error) {
	return appendPublic(nil, machinePrefix, k.k), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (k *MachinePublic) UnmarshalText(text []byte) (err error) {
	k.k, err = parsePublic(string(text), machinePrefix)
	return err
}
