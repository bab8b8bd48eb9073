package portmap

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Messages of PCP, the Port Control Protocol (RFC 6887), to and from UDP port
// 5351 of the gateway. All numbers are big-endian; an IPv4 address stands as
// ::ffff:a.b.c.d.
//
// A request:
//
//	 0               1               2               3
//	+---------------+-+-------------+-------------------------------+
//	| version 2     |0| opcode      | 0                             |
//	+---------------+-+-------------+-------------------------------+
//	| lifetime asked for, seconds; 0 deletes                        |
//	+---------------------------------------------------------------+
//	| our own address, 16 bytes                                     |
//	+---------------------------------------------------------------+
//
// and its response:
//
//	+---------------+-+-------------+---------------+---------------+
//	| version 2     |1| opcode      | 0             | result; 0: ok |
//	+---------------+-+-------------+---------------+---------------+
//	| lifetime; after an error, how long it will last               |
//	+---------------------------------------------------------------+
//	| epoch: seconds since the gateway lost its mappings            |
//	+---------------------------------------------------------------+
//	| 0, 12 bytes                                                   |
//	+---------------------------------------------------------------+
//
// With opcode 0, ANNOUNCE, that is all. With opcode 1, MAP, both go on with
// the same fields:
//
//	+---------------------------------------------------------------+
//	| nonce, 12 bytes, the same for all requests about a mapping    |
//	+---------------+-----------------------------------------------+
//	| 17, UDP       | 0                                             |
//	+---------------+---------------+-------------------------------+
//	| internal port                 | external port, suggested or   |
//	|                               | assigned                      |
//	+-------------------------------+-------------------------------+
//	| external address, suggested or assigned, 16 bytes             |
//	+---------------------------------------------------------------+
const (
	pcpVersion  = 2
	pcpResponse = 0x80

	pcpAnnounce = 0
	pcpMap      = 1

	pcpHeaderSize = 24
	pcpMapSize    = 36

	protocolUDP = 17
)

// pcpNonce tells the owner of a mapping from those who only know its ports.
type pcpNonce [12]byte

// nonceOf returns the nonce for a target, the same for one secret: a gateway
// that still has the mapping, after silence or because we come back to its
// network, lets nobody renew it who has another (RFC 6887 section 11.3).
func nonceOf(secret [32]byte, t target) pcpNonce {
	sum := sha256.Sum256(fmt.Appendf(secret[:], "%v %v %d", t.gateway, t.self, t.port))
	return pcpNonce(sum[:])
}

// pcpMapRequest asks for a mapping, for it to last longer, or, with no
// lifetime, for its end.
type pcpMapRequest struct {
	self     netip.Addr
	nonce    pcpNonce
	port     uint16         // of ours
	external netip.AddrPort // as suggested; may be zero
	lifetime time.Duration
}

// appendPCPAnnounce appends a request that has no effect, for its answer.
func appendPCPAnnounce(b []byte, self netip.Addr) []byte {
	return appendPCPHeader(b, pcpAnnounce, 0, self)
}

func appendPCPMap(b []byte, r pcpMapRequest) []byte {
	b = appendPCPHeader(b, pcpMap, r.lifetime, r.self)
	b = append(b, r.nonce[:]...)
	b = append(b, protocolUDP, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, r.port)
	b = binary.BigEndian.AppendUint16(b, r.external.Port())
	external := r.external.Addr()
	if !external.IsValid() {
		external = netip.IPv4Unspecified() // any of IPv4
	}
	return appendAddr16(b, external)
}

func appendPCPHeader(b []byte, opcode byte, lifetime time.Duration, self netip.Addr) []byte {
	b = append(b, pcpVersion, opcode, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(lifetime/time.Second))
	return appendAddr16(b, self)
}

func appendAddr16(b []byte, addr netip.Addr) []byte {
	raw := addr.As16()
	return append(b, raw[:]...)
}

// A pcpReply is the answer to a request.
type pcpReply struct {
	opcode   byte
	result   pcpResult
	epoch    uint32
	lifetime time.Duration

	// of MAP, unless a refusal came without them
	nonce    pcpNonce
	port     uint16
	external netip.AddrPort
}

var errNotPCP = errors.New("portmap: not a PCP response")

func parsePCP(b []byte) (pcpReply, error) {
	if len(b) < pcpHeaderSize || b[0] != pcpVersion || b[1]&pcpResponse == 0 {
		return pcpReply{}, errNotPCP
	}
	r := pcpReply{
		opcode:   b[1] &^ pcpResponse,
		result:   pcpResult(b[3]),
		lifetime: time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Second,
		epoch:    binary.BigEndian.Uint32(b[8:]),
	}
	body := b[pcpHeaderSize:]
	if r.opcode != pcpMap || len(body) == 0 && r.result != 0 {
		return r, nil
	}
	if len(body) < pcpMapSize || body[12] != protocolUDP {
		return pcpReply{}, errNotPCP
	}
	r.nonce = pcpNonce(body)
	r.port = binary.BigEndian.Uint16(body[16:])
	external := netip.AddrFrom16([16]byte(body[20:])).Unmap()
	r.external = netip.AddrPortFrom(external, binary.BigEndian.Uint16(body[18:]))
	return r, nil
}

// answers reports whether r is about the mapping that q asked for. A refusal
// may come without saying what it is about.
func (r pcpReply) answers(q pcpMapRequest) bool {
	if r.opcode != pcpMap {
		return false
	}
	if r.result != 0 && r.nonce == (pcpNonce{}) {
		return true
	}
	return bytes.Equal(r.nonce[:], q.nonce[:]) && r.port == q.port
}

// pcpResult is why a gateway refused; 0 is that it did not.
type pcpResult byte

func (r pcpResult) String() string {
	names := [...]string{
		"success", "unsupported version", "not authorized", "malformed request", "unsupported opcode",
		"unsupported option", "malformed option", "network failure", "no resources", "unsupported protocol",
		"quota exceeded", "cannot provide the external address", "address mismatch", "too many remote peers",
	}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("result %d", byte(r))
}
