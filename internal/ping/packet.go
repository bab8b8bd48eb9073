package ping

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/meshnet-go/meshnet/internal/tsmp"
)

const (
	header4Size = 20
	header6Size = 40
	icmpSize    = 8 // header of an echo message
	hopLimit    = 64

	protoICMPv4 = 1
	protoICMPv6 = 58

	// Types of echo messages (RFC 792; RFC 4443, section 4).
	request4, reply4 = 8, 0
	request6, reply6 = 128, 129
)

// A token is what a request carries and its answer repeats. It is random, so
// that whoever has it has got the request.
type token [8]byte

// icmpRequest returns an ICMP echo request, whose data is the token.
func icmpRequest(src, dst netip.Addr, t token) ([]byte, error) {
	switch {
	case src.Is4() && dst.Is4():
		message := icmpMessage(request4, t)
		binary.BigEndian.PutUint16(message[2:], checksum(0, message))
		return append(header4(src, dst, len(message)), message...), nil
	case src.Is6() && dst.Is6() && !src.Is4In6() && !dst.Is4In6():
		message := icmpMessage(request6, t)
		pseudo := sum(sum(uint32(len(message))+protoICMPv6, src.AsSlice()), dst.AsSlice())
		binary.BigEndian.PutUint16(message[2:], checksum(pseudo, message))
		return append(header6(src, dst, len(message)), message...), nil
	}
	return nil, errors.New("ping: the addresses are not both of one IP version")
}

// icmpMessage returns an echo message without its checksum: the identifier and
// the first data are the token's.
func icmpMessage(kind byte, t token) []byte {
	message := []byte{kind, 0, 0, 0, t[0], t[1], 0, 0}
	return append(message, t[:]...)
}

func header4(src, dst netip.Addr, size int) []byte {
	h := make([]byte, header4Size)
	h[0], h[8], h[9] = 0x45, hopLimit, protoICMPv4
	binary.BigEndian.PutUint16(h[2:], uint16(header4Size+size))
	copy(h[12:], src.AsSlice())
	copy(h[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(h[10:], checksum(0, h))
	return h
}

func header6(src, dst netip.Addr, size int) []byte {
	h := make([]byte, header6Size)
	h[0], h[6], h[7] = 0x60, protoICMPv6, hopLimit
	binary.BigEndian.PutUint16(h[4:], uint16(size))
	copy(h[8:], src.AsSlice())
	copy(h[24:], dst.AsSlice())
	return h
}

// sum adds the 16-bit words of b; there is room for 64 KiB of them.
func sum(s uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

// checksum is the Internet checksum (RFC 1071) of b behind what s adds up.
func checksum(s uint32, b []byte) uint16 {
	for s = sum(s, b); s > 0xffff; {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

// answer returns the token of a packet that answers a request, and where it
// comes from.
func answer(packet []byte) (t token, src netip.Addr, kind Kind, ok bool) {
	if tsmp.Is(packet) {
		p, err := tsmp.Parse(packet)
		if pong, is := p.Message.(tsmp.Pong); err == nil && is {
			return pong.Data, p.Src, TSMP, true
		}
		return token{}, netip.Addr{}, 0, false
	}
	t, src, ok = icmpReply(packet)
	return t, src, ICMP, ok
}

// icmpReply reads an ICMP echo reply to one of our requests. Its checksum is
// not looked at: WireGuard has made sure of every byte.
func icmpReply(packet []byte) (t token, src netip.Addr, ok bool) {
	var message []byte
	var want byte
	switch {
	case len(packet) >= header4Size && packet[0]>>4 == 4 && packet[9] == protoICMPv4:
		size := int(packet[0]&0x0f) * 4
		if size < header4Size || size > len(packet) || binary.BigEndian.Uint16(packet[6:])&0x3fff != 0 { // a fragment
			return t, src, false
		}
		src, message, want = netip.AddrFrom4([4]byte(packet[12:])), packet[size:], reply4
	case len(packet) >= header6Size && packet[0]>>4 == 6 && packet[6] == protoICMPv6:
		src, message, want = netip.AddrFrom16([16]byte(packet[8:])), packet[header6Size:], reply6
	default:
		return t, src, false
	}
	if len(message) < icmpSize+len(t) || message[0] != want || message[1] != 0 {
		return t, src, false
	}
	return token(message[icmpSize:]), src, true
}
