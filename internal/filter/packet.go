package filter

import (
	"encoding/binary"
	"net/netip"

	"github.com/meshnet-go/meshnet/internal/tsmp"
)

// IP protocol numbers that the filter treats each in its own way.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoTSMP   = tsmp.Protocol
	protoSCTP   = 132
)

// class is what [Filter.Check] distinguishes packets by.
type class uint8

const (
	classUnknown  class = iota // not IP, malformed, or cut off within its headers
	classEmpty                 // no bytes at all
	classShort                 // fewer bytes than any IP packet has
	classFragment              // a fragment other than the first: there are no ports in it
	classICMP
	classTCP
	classDatagram // UDP and SCTP
	classTSMP
	classOther
)

// Packet is what the filter reads of an IP packet. It is a value that does not
// refer to the packet's bytes.
type Packet struct {
	// Src and Dst are zero if the packet could not be read. Ports are 0 in
	// protocols that have none.
	Src, Dst netip.AddrPort
	Proto    uint8 // IP protocol number; behind a fragment header in IPv6

	class  class
	syn    bool // TCP: starts a connection
	answer bool // ICMP: an echo reply, or an error about something we sent
}

// StartsTCP reports whether the packet asks for a TCP connection.
func (p Packet) StartsTCP() bool { return p.syn }

// Parse reads a packet. It never fails: what cannot be read makes a Packet that
// [Filter.Check] drops.
//
// Of IPv6 extension headers it reads a fragment header that is the first. All
// others are protocols to it, which only a rule can allow.
func Parse(b []byte) Packet {
	switch {
	case len(b) == 0:
		return Packet{class: classEmpty}
	case len(b) < header4Size:
		return Packet{class: classShort}
	case b[0]>>4 == 4:
		return parse4(b)
	case b[0]>>4 == 6:
		return parse6(b)
	default:
		return Packet{}
	}
}

const (
	header4Size         = 20
	header6Size         = 40
	fragmentHeader6Size = 8
	protoFragment6      = 44
)

func parse4(b []byte) Packet {
	headerSize, size := int(b[0]&0x0f)*4, int(binary.BigEndian.Uint16(b[2:]))
	if headerSize < header4Size || headerSize > size || size > len(b) {
		return Packet{}
	}
	p := Packet{
		Src:   netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:])), 0),
		Dst:   netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:])), 0),
		Proto: b[9],
	}
	fragment := binary.BigEndian.Uint16(b[6:])
	p.parseTransport(b[headerSize:size], fragment&0x1fff, fragment&0x2000 != 0)
	return p
}

func parse6(b []byte) Packet {
	if len(b) < header6Size {
		return Packet{}
	}
	size := header6Size + int(binary.BigEndian.Uint16(b[4:]))
	if size > len(b) {
		return Packet{}
	}
	p := Packet{
		Src:   netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:])), 0),
		Dst:   netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[24:])), 0),
		Proto: b[6],
	}
	payload := b[header6Size:size]
	if p.Proto != protoFragment6 {
		p.parseTransport(payload, 0, false)
	} else if len(payload) >= fragmentHeader6Size {
		fragment := binary.BigEndian.Uint16(payload[2:])
		p.Proto = payload[0]
		p.parseTransport(payload[fragmentHeader6Size:], fragment>>3, fragment&1 != 0)
	}
	return p
}

// minFragmentOffset is the least offset, in units of 8 bytes, of a fragment
// that cannot overlap the headers that the filter judged in the first one: 60
// bytes of IPv4 and 20 of TCP (RFC 1858, section 3).
const minFragmentOffset = (60 + 20) / 8

// parseTransport reads what follows the IP header. A first fragment must have
// the whole transport header, and a later one must not reach into it.
func (p *Packet) parseTransport(b []byte, offset uint16, more bool) {
	if offset > 0 {
		if offset >= minFragmentOffset {
			p.class = classFragment
		}
		return
	}
	is4 := p.Src.Addr().Is4()
	switch {
	case p.Proto == protoTCP:
		p.parsePorts(b, 20, classTCP)
		p.syn = p.class == classTCP && b[13]&tcpSYNACK == tcpSYN
	case p.Proto == protoUDP:
		p.parsePorts(b, 8, classDatagram)
	case p.Proto == protoSCTP:
		p.parsePorts(b, 12, classDatagram)
	case p.Proto == protoICMP && is4, p.Proto == protoICMPv6 && !is4:
		p.parseICMP(b)
	case p.Proto == protoTSMP:
		if len(b) >= minTSMPSize && !more {
			p.class = classTSMP
		}
	case p.Proto == 0, p.Proto == 255: // hop-by-hop options, and reserved
	default:
		p.class = classOther
	}
}

// parsePorts reads the ports, which have one place in TCP, UDP and SCTP, if
// the whole header is there.
func (p *Packet) parsePorts(b []byte, headerSize int, c class) {
	if len(b) < headerSize {
		return
	}
	p.class = c
	p.Src = netip.AddrPortFrom(p.Src.Addr(), binary.BigEndian.Uint16(b))
	p.Dst = netip.AddrPortFrom(p.Dst.Addr(), binary.BigEndian.Uint16(b[2:]))
}

// minTSMPSize is the size of the shortest TSMP message.
const minTSMPSize = 7

const (
	tcpSYN    = 0x02
	tcpSYNACK = 0x12
)

func (p *Packet) parseICMP(b []byte) {
	if len(b) < 8 {
		return
	}
	p.class = classICMP
	if p.Proto == protoICMP {
		p.answer = isAnswer4(b[0], b[1])
	} else {
		p.answer = isAnswer6(b[0], b[1])
	}
}

// isAnswer4 goes by RFC 792.
func isAnswer4(kind, code byte) bool {
	switch kind {
	case 0: // echo reply
		return code == 0
	case 3, 11, 12: // destination unreachable, time exceeded, parameter problem
		return true
	default:
		return false
	}
}

// isAnswer6 goes by RFC 4443.
func isAnswer6(kind, code byte) bool {
	switch kind {
	case 129: // echo reply
		return code == 0
	case 1, 2, 3, 4: // destination unreachable, packet too big, time exceeded, parameter problem
		return true
	default:
		return false
	}
}
