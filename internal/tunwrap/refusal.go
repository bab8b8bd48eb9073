package tunwrap

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/meshnet-go/meshnet/internal/tsmp"
)

const (
	protoTCP    = 6
	protoICMPv4 = 1
	protoICMPv6 = 58

	tcpHeaderSize = 20
)

// refusal says to the stack what from, a peer, says to us, to, with a reject:
// that it takes no such connection. Stacks do not speak TSMP, but they know
// what "port unreachable" means to one who dials: ECONNREFUSED. It is nil for a
// reject from which nothing follows.
//
//	IP header      from the peer to us
//	8 bytes        ICMP: type, code, checksum, nothing       RFC 792, RFC 4443 section 3.1
//	IP header      of the refused packet, from us to the peer
//	8 bytes        of its TCP header: ports, sequence number
//
// So it concerns a connection between the two and no other. If that is already
// open, the stack goes on with it (RFC 5927, section 5.2). The sequence number
// is 0, because a reject does not tell it; gVisor does not look at it. A stack
// that does, as Linux's, waits for its timeout as if it had heard nothing.
func refusal(from, to netip.Addr, r tsmp.Reject) []byte {
	if r.Proto != protoTCP || r.MaybeBroken {
		return nil
	}
	refused := appendIPHeader(nil, to, from, protoTCP, tcpHeaderSize)
	refused = binary.BigEndian.AppendUint16(refused, r.SrcPort)
	refused = binary.BigEndian.AppendUint16(refused, r.DstPort)
	refused = append(refused, 0, 0, 0, 0)

	if from.Is4() {
		message := slices.Concat([]byte{3, 3, 0, 0, 0, 0, 0, 0}, refused)
		binary.BigEndian.PutUint16(message[2:], checksum(message))
		return append(appendIPHeader(nil, from, to, protoICMPv4, len(message)), message...)
	}
	message := slices.Concat([]byte{1, 4, 0, 0, 0, 0, 0, 0}, refused)
	pseudo := slices.Concat(from.AsSlice(), to.AsSlice(), []byte{0, 0, 0, byte(len(message)), 0, 0, 0, protoICMPv6})
	binary.BigEndian.PutUint16(message[2:], checksum(append(pseudo, message...)))
	return append(appendIPHeader(nil, from, to, protoICMPv6, len(message)), message...)
}

const hopLimit = 64

// appendIPHeader appends the header of a packet with a payload of size bytes.
// Both addresses are IPv4 or both IPv6.
func appendIPHeader(b []byte, from, to netip.Addr, proto byte, size int) []byte {
	if !from.Is4() {
		b = append(b, 0x60, 0, 0, 0) // version, traffic class, flow label
		b = binary.BigEndian.AppendUint16(b, uint16(size))
		b = append(b, proto, hopLimit)
		return append(append(b, from.AsSlice()...), to.AsSlice()...)
	}
	start := len(b)
	b = append(b, 0x45, 0) // version, length of the header in words; traffic class
	b = binary.BigEndian.AppendUint16(b, uint16(20+size))
	b = append(b,
		0, 0, 0x40, 0, // identification; "don't fragment"
		hopLimit, proto,
		0, 0, // checksum
	)
	b = append(append(b, from.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(b[start+10:], checksum(b[start:]))
	return b
}

// checksum returns the Internet checksum (RFC 1071) of an even number of bytes
// in which the field for it is 0.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	sum = sum>>16 + sum&0xffff
	sum += sum >> 16
	return ^uint16(sum)
}
