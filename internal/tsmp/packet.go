package tsmp

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

const (
	header4Size = 20
	header6Size = 40

	fragment6Protocol = 44
	hopLimit          = 64
)

var errPacket = errors.New("tsmp: malformed IP packet")

// Is reports whether an IP packet is TSMP, in order or not. The network stack
// must not get it then.
func Is(packet []byte) bool {
	switch {
	case len(packet) >= header4Size && packet[0]>>4 == 4:
		return packet[9] == Protocol
	case len(packet) > header6Size && packet[0]>>4 == 6 && packet[6] == fragment6Protocol:
		return packet[header6Size] == Protocol
	case len(packet) >= header6Size && packet[0]>>4 == 6:
		return packet[6] == Protocol
	default:
		return false
	}
}

// Packet is a message and the IP addresses between which it travels.
type Packet struct {
	Src, Dst netip.Addr
	Message  Message
}

// Parse reads an IP packet with protocol 99. The error is [ErrUnknownType]
// when only the type of the message is new to us.
func Parse(packet []byte) (Packet, error) {
	if !Is(packet) {
		return Packet{}, errors.New("tsmp: not a TSMP packet")
	}
	if packet[0]>>4 == 4 {
		return parse4(packet)
	}
	return parse6(packet)
}

func parse4(b []byte) (p Packet, err error) {
	headerSize := int(b[0]&0x0f) * 4
	size := int(binary.BigEndian.Uint16(b[2:]))
	fragment := binary.BigEndian.Uint16(b[6:]) &^ 0x4000 // "more" flag and offset
	if headerSize < header4Size || headerSize > size || size > len(b) || fragment != 0 {
		return Packet{}, errPacket
	}
	p.Src = netip.AddrFrom4([4]byte(b[12:]))
	p.Dst = netip.AddrFrom4([4]byte(b[16:]))
	p.Message, err = parseMessage(b[headerSize:size])
	return p, err
}

func parse6(b []byte) (p Packet, err error) {
	size := header6Size + int(binary.BigEndian.Uint16(b[4:]))
	if b[6] != Protocol || size > len(b) {
		return Packet{}, errPacket
	}
	p.Src = netip.AddrFrom16([16]byte(b[8:]))
	p.Dst = netip.AddrFrom16([16]byte(b[24:]))
	p.Message, err = parseMessage(b[header6Size:size])
	return p, err
}

// Reply returns the packet that answers p with m.
func (p Packet) Reply(m Message) Packet { return Packet{Src: p.Dst, Dst: p.Src, Message: m} }

// Append appends the whole IP packet to dst. It is an error when Src and Dst
// are not both IPv4 or both IPv6, as they are in a parsed packet.
func (p Packet) Append(dst []byte) ([]byte, error) {
	start := len(dst)
	switch {
	case p.Src.Is4() && p.Dst.Is4():
		dst = p.Message.append(p.appendHeader4(dst))
		finish4(dst[start:])
	case p.Src.Is6() && p.Dst.Is6():
		dst = p.Message.append(p.appendHeader6(dst))
		binary.BigEndian.PutUint16(dst[start+4:], uint16(len(dst)-start-header6Size))
	default:
		return nil, errors.New("tsmp: the addresses of a packet are of different families")
	}
	return dst, nil
}

// appendHeader4 appends an IPv4 header without length and checksum.
func (p Packet) appendHeader4(dst []byte) []byte {
	src, to := p.Src.As4(), p.Dst.As4()
	dst = append(dst,
		0x45, 0, // version, length of the header in words; traffic class
		0, 0, // total length
		0, 0, 0x40, 0, // identification; "don't fragment"
		hopLimit, Protocol,
		0, 0, // checksum
	)
	return append(append(dst, src[:]...), to[:]...)
}

// finish4 fills in the fields of an IPv4 header that depend on all others.
func finish4(packet []byte) {
	binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)))
	binary.BigEndian.PutUint16(packet[10:], checksum4(packet[:header4Size]))
}

// checksum4 returns the checksum of an IPv4 header (RFC 791, section 3.1): 0
// when the header already contains it.
func checksum4(header []byte) uint16 {
	var sum uint32
	for ; len(header) >= 2; header = header[2:] {
		sum += uint32(binary.BigEndian.Uint16(header))
	}
	sum = sum>>16 + sum&0xffff
	sum += sum >> 16
	return ^uint16(sum)
}

// appendHeader6 appends an IPv6 header without length.
func (p Packet) appendHeader6(dst []byte) []byte {
	src, to := p.Src.As16(), p.Dst.As16()
	dst = append(dst,
		0x60, 0, 0, 0, // version, traffic class, flow label
		0, 0, // length of the payload
		Protocol, hopLimit,
	)
	return append(append(dst, src[:]...), to[:]...)
}
