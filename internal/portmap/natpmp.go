package portmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Messages of NAT-PMP (RFC 6886), to and from UDP port 5351 of the gateway.
// All numbers are big-endian.
//
// The request for the external address, and its response:
//
//	 0               1               2               3
//	+---------------+---------------+
//	| version 0     | opcode 0      |
//	+---------------+---------------+
//
//	+---------------+---------------+-------------------------------+
//	| version 0     | 128           | result; 0: success            |
//	+---------------+---------------+-------------------------------+
//	| epoch: seconds since the gateway lost its mappings            |
//	+---------------------------------------------------------------+
//	| external address, 4 bytes                                     |
//	+---------------------------------------------------------------+
//
// The request for a mapping, and its response:
//
//	+---------------+---------------+-------------------------------+
//	| version 0     | 1, UDP        | 0                             |
//	+---------------+---------------+-------------------------------+
//	| internal port                 | external port, as suggested   |
//	+-------------------------------+-------------------------------+
//	| lifetime asked for, seconds; 0 deletes                        |
//	+---------------------------------------------------------------+
//
//	+---------------+---------------+-------------------------------+
//	| version 0     | 129           | result; 0: success            |
//	+---------------+---------------+-------------------------------+
//	| epoch                                                         |
//	+-------------------------------+-------------------------------+
//	| internal port                 | external port                 |
//	+-------------------------------+-------------------------------+
//	| lifetime                                                      |
//	+---------------------------------------------------------------+
//
// A refusal may end after the epoch.
const (
	natpmpVersion  = 0
	natpmpResponse = 128

	natpmpAddress = 0
	natpmpMapUDP  = 1

	natpmpHeaderSize = 8
)

// appendNATPMPAddress appends a request for the external address.
func appendNATPMPAddress(b []byte) []byte { return append(b, natpmpVersion, natpmpAddress) }

// appendNATPMPMap appends a request for a mapping of port, or with no lifetime
// for its end; external is a suggestion.
func appendNATPMPMap(b []byte, port, external uint16, lifetime time.Duration) []byte {
	b = append(b, natpmpVersion, natpmpMapUDP, 0, 0)
	b = binary.BigEndian.AppendUint16(b, port)
	b = binary.BigEndian.AppendUint16(b, external)
	return binary.BigEndian.AppendUint32(b, uint32(lifetime/time.Second))
}

// A natpmpReply is the answer to a request.
type natpmpReply struct {
	opcode byte
	result natpmpResult
	epoch  uint32

	// After success, of opcode natpmpAddress
	address netip.Addr
	// and of natpmpMapUDP
	port, external uint16
	lifetime       time.Duration
}

var errNotNATPMP = errors.New("portmap: not a NAT-PMP response")

func parseNATPMP(b []byte) (natpmpReply, error) {
	if len(b) < natpmpHeaderSize || b[0] != natpmpVersion || b[1] < natpmpResponse {
		return natpmpReply{}, errNotNATPMP
	}
	r := natpmpReply{
		opcode: b[1] - natpmpResponse,
		result: natpmpResult(binary.BigEndian.Uint16(b[2:])),
		epoch:  binary.BigEndian.Uint32(b[4:]),
	}
	body := b[natpmpHeaderSize:]
	switch {
	case r.result != 0:
	case r.opcode == natpmpAddress && len(body) >= 4:
		r.address = netip.AddrFrom4([4]byte(body))
	case r.opcode == natpmpMapUDP && len(body) >= 8:
		r.port = binary.BigEndian.Uint16(body)
		r.external = binary.BigEndian.Uint16(body[2:])
		r.lifetime = time.Duration(binary.BigEndian.Uint32(body[4:])) * time.Second
	default:
		return natpmpReply{}, errNotNATPMP
	}
	return r, nil
}

// natpmpResult is why a gateway refused; 0 is that it did not.
type natpmpResult uint16

func (r natpmpResult) String() string {
	names := [...]string{
		"success", "unsupported version", "not authorized", "network failure", "out of resources",
		"unsupported opcode",
	}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("result %d", uint16(r))
}
