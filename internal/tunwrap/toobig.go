package tunwrap

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// tooBig says to a host that its packet is longer than mtu, the most that its
// path carries. It is nil when the packet may be cut, or is one of those that
// get no answer: errors of ICMP themselves, fragments but the first, and what is
// sent to several.
//
//	IP header     from where the packet goes to, which is on its path, to where it came from
//	8 bytes       IPv4: type 3, code 4 │ checksum │ 0, 2 bytes │ mtu, 2 bytes     RFC 1191 section 4
//	              IPv6: type 2, code 0 │ checksum │ mtu, 4 bytes                  RFC 4443 section 3.2
//	…             the beginning of the packet
func tooBig(packet []byte, mtu int) []byte {
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		return tooBig4(packet, mtu)
	case len(packet) >= 40 && packet[0]>>4 == 6:
		return tooBig6(packet, mtu)
	}
	return nil
}

// An error has no more than the least that every link carries (RFC 1812 section
// 4.3.2.3, RFC 4443 section 2.4), less its own headers.
const (
	quote4 = 576 - 20 - 8
	quote6 = 1280 - 40 - 8
)

func tooBig4(packet []byte, mtu int) []byte {
	flags := binary.BigEndian.Uint16(packet[6:])
	from, to := netip.AddrFrom4([4]byte(packet[12:])), netip.AddrFrom4([4]byte(packet[16:]))
	header := int(packet[0]&0x0f) * 4
	switch {
	case flags&0x4000 == 0, flags&0x1fff != 0: // may be cut; a later fragment
		return nil
	case to.IsMulticast(), from.IsUnspecified():
		return nil
	case packet[9] == protoICMPv4 && (len(packet) <= header || !isEcho(packet[header], 0, 8)):
		return nil
	}
	message := slices.Concat([]byte{3, 4, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)}, packet[:min(len(packet), quote4)&^1])
	binary.BigEndian.PutUint16(message[2:], checksum(message))
	return append(appendIPHeader(nil, to, from, protoICMPv4, len(message)), message...)
}

func tooBig6(packet []byte, mtu int) []byte {
	from, to := netip.AddrFrom16([16]byte(packet[8:])), netip.AddrFrom16([16]byte(packet[24:]))
	switch {
	case from.IsUnspecified(), from.IsMulticast(), to.Is4In6(), from.Is4In6():
		return nil
	case packet[6] == protoICMPv6 && (len(packet) <= 40 || !isEcho(packet[40], 128, 129)):
		return nil
	}
	message := []byte{2, 0, 0, 0}
	message = binary.BigEndian.AppendUint32(message, uint32(mtu))
	message = append(message, packet[:min(len(packet), quote6)&^1]...)
	pseudo := slices.Concat(from.AsSlice(), to.AsSlice(), binary.BigEndian.AppendUint32(nil, uint32(len(message))), []byte{0, 0, 0, protoICMPv6})
	binary.BigEndian.PutUint16(message[2:], checksum(append(pseudo, message...)))
	return append(appendIPHeader(nil, to, from, protoICMPv6, len(message)), message...)
}

// isEcho reports whether a type of ICMP is one of two that ping sends.
func isEcho(kind, a, b byte) bool { return kind == a || kind == b }
