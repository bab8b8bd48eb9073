// Package tsmp is the wire format of TSMP, the messages that nodes exchange
// inside the tunnel without the host's network stack ever seeing them.
//
// A packet is an IPv4 or IPv6 header with protocol 99, neither fragmented nor
// with IPv6 extension headers, and a message:
//
//	'p'  Ping         8 data
//	'o'  Pong         8 data, 2 port of the PeerAPI
//	'!'  Reject       1 protocol, 1 reason, 2 source port, 2 destination port [, 1 flags]
//	'a'  DiscoAdvert  32 disco key
//
// Numbers are big-endian. A receiver ignores types it does not know, and bytes
// behind those it does.
//
// The format is that of Tailscale's net/packet package (v1.102.5).
package tsmp

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Protocol is the IP protocol number of TSMP.
const Protocol = 99

// ErrUnknownType is returned for a message of a type that is not spoken here.
// Like every TSMP packet it is not for the network stack.
var ErrUnknownType = errors.New("tsmp: unknown message type")

const (
	typePing        = 'p'
	typePong        = 'o'
	typeReject      = '!'
	typeDiscoAdvert = 'a'
)

// Message is a [Ping], [Pong], [Reject] or [DiscoAdvert].
type Message interface {
	// append appends the message, without an IP header, to dst.
	append(dst []byte) []byte
}

// Ping asks for a [Pong] from the node itself, whatever its packet filter.
type Ping struct{ Data [8]byte }

func (m Ping) append(dst []byte) []byte { return append(append(dst, typePing), m.Data[:]...) }

func parsePing(body []byte) (Message, error) {
	var m Ping
	if len(body) < len(m.Data) {
		return nil, errShort("ping", body)
	}
	copy(m.Data[:], body)
	return m, nil
}

// Pong answers a [Ping] with the same data.
type Pong struct {
	Data        [8]byte
	PeerAPIPort uint16 // 0: the node has no PeerAPI, or did not say
}

func (m Pong) append(dst []byte) []byte {
	dst = append(append(dst, typePong), m.Data[:]...)
	return binary.BigEndian.AppendUint16(dst, m.PeerAPIPort)
}

func parsePong(body []byte) (Message, error) {
	var m Pong
	if len(body) < len(m.Data) {
		return nil, errShort("pong", body)
	}
	body = body[copy(m.Data[:], body):]
	if len(body) >= 2 {
		m.PeerAPIPort = binary.BigEndian.Uint16(body)
	}
	return m, nil
}

// Reject says that the sender refused a packet. It travels against the refused
// packet: the packet that carries it has the refused one's addresses swapped.
type Reject struct {
	Proto   uint8 // IP protocol of the refused packet
	Reason  Reason
	SrcPort uint16 // of the refused packet: a port of the node that reads this
	DstPort uint16 // of the refused packet
	// MaybeBroken means that the packet was not refused, but that the sender
	// suspects its own settings to stop it.
	MaybeBroken bool
}

const flagMaybeBroken = 1

func (m Reject) append(dst []byte) []byte {
	dst = append(dst, typeReject, m.Proto, byte(m.Reason))
	dst = binary.BigEndian.AppendUint16(dst, m.SrcPort)
	dst = binary.BigEndian.AppendUint16(dst, m.DstPort)
	if m.MaybeBroken {
		dst = append(dst, flagMaybeBroken)
	}
	return dst
}

func parseReject(body []byte) (Message, error) {
	if len(body) < 6 {
		return nil, errShort("reject", body)
	}
	return Reject{
		Proto:       body[0],
		Reason:      Reason(body[1]),
		SrcPort:     binary.BigEndian.Uint16(body[2:]),
		DstPort:     binary.BigEndian.Uint16(body[4:]),
		MaybeBroken: len(body) > 6 && body[6]&flagMaybeBroken != 0,
	}, nil
}

// Reason is why a packet was refused. Others than these may arrive.
type Reason byte

// The reasons of a [Reject].
const (
	ReasonACL          Reason = 'A' // the packet filter does not allow it
	ReasonShieldsUp    Reason = 'S' // the node takes no connections
	ReasonIPForwarding Reason = 'F' // the router cannot forward
	ReasonHostFirewall Reason = 'W' // the host's firewall blocks it
)

// String returns the reason as part of a sentence.
func (r Reason) String() string {
	switch r {
	case ReasonACL:
		return "the packet filter does not allow it"
	case ReasonShieldsUp:
		return "the node takes no connections"
	case ReasonIPForwarding:
		return "the router does not forward packets"
	case ReasonHostFirewall:
		return "the host's firewall blocks it"
	default:
		return fmt.Sprintf("reason 0x%02x", byte(r))
	}
}

// DiscoAdvert tells a peer the sender's disco key. It may be believed of the
// peer that owns the source address of the packet, and of no other.
type DiscoAdvert struct {
	Key [32]byte // as in key.DiscoPublicFromRaw32
}

func (m DiscoAdvert) append(dst []byte) []byte {
	return append(append(dst, typeDiscoAdvert), m.Key[:]...)
}

func parseDiscoAdvert(body []byte) (Message, error) {
	var m DiscoAdvert
	if len(body) < len(m.Key) {
		return nil, errShort("disco advert", body)
	}
	copy(m.Key[:], body)
	return m, nil
}

func parseMessage(b []byte) (Message, error) {
	if len(b) == 0 {
		return nil, errShort("message", b)
	}
	switch kind, body := b[0], b[1:]; kind {
	case typePing:
		return parsePing(body)
	case typePong:
		return parsePong(body)
	case typeReject:
		return parseReject(body)
	case typeDiscoAdvert:
		return parseDiscoAdvert(body)
	default:
		return nil, ErrUnknownType
	}
}

func errShort(what string, body []byte) error {
	return fmt.Errorf("tsmp: a %s of %d bytes is too short", what, len(body))
}
