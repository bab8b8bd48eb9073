package disco

import (
	"errors"

	"github.com/meshnet-go/meshnet/key"
)

const magic = "TS💬"

// sourceSize is the part of an envelope that says what it is and from whom.
const sourceSize = len(magic) + key.Size

// Looks reports whether a packet looks like disco and not like WireGuard or
// STUN. Nothing is verified.
func Looks(packet []byte) bool {
	return len(packet) >= sourceSize && string(packet[:len(magic)]) == magic
}

// Source returns the disco key that a packet claims to be sealed with, so that
// the receiver can find the [key.DiscoShared] to open it with. It reports
// false when the packet is not disco.
func Source(packet []byte) (from key.DiscoPublic, ok bool) {
	if !Looks(packet) {
		return key.DiscoPublic{}, false
	}
	return key.DiscoPublicFromRaw32([key.Size]byte(packet[len(magic):])), true
}

// Seal appends to dst the packet that carries m. Shared is of from's private
// half and the receiver.
func Seal(dst []byte, from key.DiscoPublic, shared *key.DiscoShared, m Message) []byte {
	dst = append(dst, magic...)
	dst = from.AppendRaw(dst)
	return shared.Seal(dst, m.Append(nil))
}

// Open returns the message in a packet from [Source]. A nil error means that
// the message comes from the holder of that disco key.
func Open(packet []byte, shared *key.DiscoShared) (Message, error) {
	if !Looks(packet) {
		return nil, errors.New("disco: the packet is not a disco packet")
	}
	message, ok := shared.Open(nil, packet[sourceSize:])
	if !ok {
		return nil, errors.New("disco: the packet does not open: it is damaged or sealed with another key")
	}
	return Parse(message)
}
