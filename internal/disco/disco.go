// Package disco is the wire format of disco, with which two nodes find paths
// to each other: messages, and the envelope they are sealed in.
//
// A packet, over UDP or through a relay:
//
//	magic   6   54 53 f0 9f 92 ac ("TS💬")
//	key    32   disco key of the sender
//	nonce  24
//	box         NaCl box of the message, 16 bytes longer than it
//
// A message:
//
//	type     1
//	version  1   0
//	body
//
//	type  message        body
//	01    Ping           12 transaction, 32 node key of the sender [, padding]
//	02    Pong           12 transaction, 16 address and 2 port that the ping came from
//	03    CallMeMaybe    N × (16 address, 2 port): endpoints of the sender
//	6b    KeyOffer       8 id, 1184 encapsulation key: see [KeyOffer]
//	6c    KeyAnswer      8 id [, 1088 ciphertext]
//	6d    Hello          1 flags, 1 NAT, N × (16 address, 2 port): see [Hello]
//
// Addresses are IPv6, or IPv4 mapped into it; ports are big-endian. A receiver
// ignores types it does not know, and bytes behind those it does. Types 4 to 9
// belong to UDP relays, which are not spoken here.
//
// The format is that of Tailscale's disco package (v1.102.5), but for Hello and
// the two about keys, which only meshnet nodes know.
package disco

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/meshnet-go/meshnet/key"
)

// ErrUnknownType is returned for a message of a type that is not spoken here.
// It is no fault of the sender, who may be newer: such messages are dropped
// without a word.
var ErrUnknownType = errors.New("disco: unknown message type")

const (
	typePing        = 1
	typePong        = 2
	typeCallMeMaybe = 3
	typeKeyOffer    = 0x6b // 'k'
	typeKeyAnswer   = 0x6c
	typeHello       = 0x6d // 'm'

	version = 0

	headerSize   = 2
	endpointSize = 16 + 2
)

// MaxEndpoints is the number of endpoints that a parsed message holds at
// most; further ones are ignored. Honest nodes have about a dozen.
const MaxEndpoints = 100

// Message is a [Ping], [Pong], [CallMeMaybe], [Hello], [KeyOffer] or
// [KeyAnswer].
type Message interface {
	// Append appends the message, not sealed, to dst.
	Append(dst []byte) []byte
}

// TxID pairs a pong with its ping. It is random, so that a pong proves that
// the ping arrived.
type TxID [12]byte

// Ping asks the receiver for a [Pong] by the same path.
type Ping struct {
	TxID TxID
	// NodeKey is whose ping it claims to be; the sender's disco key in the
	// envelope is what proves it. Zero if the sender did not say.
	NodeKey key.NodePublic
	// Padding is the number of bytes behind the ping, which make the packet as
	// large as the path should carry.
	Padding int
}

// Append implements [Message].
func (m Ping) Append(dst []byte) []byte {
	dst = append(dst, typePing, version)
	dst = append(dst, m.TxID[:]...)
	dst = m.NodeKey.AppendRaw(dst)
	return append(dst, make([]byte, max(0, m.Padding))...)
}

func parsePing(body []byte) (Message, error) {
	var m Ping
	if len(body) < len(m.TxID) {
		return nil, errShort("ping", body)
	}
	body = body[copy(m.TxID[:], body):]
	if len(body) >= key.Size {
		m.NodeKey = key.NodePublicFromRaw32([key.Size]byte(body))
		body = body[key.Size:]
	}
	m.Padding = len(body)
	return m, nil
}

// Pong answers a [Ping].
type Pong struct {
	TxID TxID
	// Src is where the ping came from, as its receiver saw it: a public
	// endpoint of the pinging node, or a [RegionAddr].
	Src netip.AddrPort
}

// Append implements [Message].
func (m Pong) Append(dst []byte) []byte {
	dst = append(dst, typePong, version)
	dst = append(dst, m.TxID[:]...)
	return appendEndpoint(dst, m.Src)
}

func parsePong(body []byte) (Message, error) {
	var m Pong
	if len(body) < len(m.TxID)+endpointSize {
		return nil, errShort("pong", body)
	}
	body = body[copy(m.TxID[:], body):]
	m.Src = parseEndpoint(body)
	return m, nil
}

// CallMeMaybe asks the receiver to ping the sender's endpoints, after the
// sender opened its own NAT by pinging. It is sent through relays only.
type CallMeMaybe struct {
	// Endpoints come from the other side: they may be anything, such as
	// multicast addresses or port 0.
	Endpoints []netip.AddrPort
}

// Append implements [Message].
func (m CallMeMaybe) Append(dst []byte) []byte {
	return appendEndpoints(append(dst, typeCallMeMaybe, version), m.Endpoints)
}

func parseCallMeMaybe(v byte, body []byte) (Message, error) {
	if v != version { // still a call, but from endpoints we cannot read
		return CallMeMaybe{}, nil
	}
	return CallMeMaybe{Endpoints: parseEndpoints(body)}, nil
}

// Parse reads a message that was opened. The error is [ErrUnknownType] when
// the message is of a kind that is not spoken here.
func Parse(message []byte) (Message, error) {
	if len(message) < headerSize {
		return nil, errShort("message", message)
	}
	kind, v, body := message[0], message[1], message[headerSize:]
	switch kind {
	case typePing:
		return parsePing(body)
	case typePong:
		return parsePong(body)
	case typeCallMeMaybe:
		return parseCallMeMaybe(v, body)
	case typeHello:
		return parseHello(v, body)
	case typeKeyOffer:
		return parseKeyOffer(v, body)
	case typeKeyAnswer:
		return parseKeyAnswer(v, body)
	default:
		return nil, ErrUnknownType
	}
}

func errShort(what string, b []byte) error {
	return fmt.Errorf("disco: a %s of %d bytes is too short", what, len(b))
}

func appendEndpoint(dst []byte, ep netip.AddrPort) []byte {
	ip := ep.Addr().As16()
	dst = append(dst, ip[:]...)
	return binary.BigEndian.AppendUint16(dst, ep.Port())
}

func appendEndpoints(dst []byte, endpoints []netip.AddrPort) []byte {
	for _, ep := range endpoints {
		dst = appendEndpoint(dst, ep)
	}
	return dst
}

// parseEndpoints reads as many endpoints as there are, MaxEndpoints at most.
func parseEndpoints(b []byte) []netip.AddrPort {
	endpoints := make([]netip.AddrPort, min(len(b)/endpointSize, MaxEndpoints))
	for i := range endpoints {
		endpoints[i] = parseEndpoint(b[i*endpointSize:])
	}
	return endpoints
}

// parseEndpoint reads the first endpointSize bytes of b.
func parseEndpoint(b []byte) netip.AddrPort {
	ip := netip.AddrFrom16([16]byte(b)).Unmap()
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[16:]))
}
