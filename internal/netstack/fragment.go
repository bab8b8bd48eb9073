package netstack

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// startFragments makes the cutter cut an IP packet that is too long for its
// path, as the host that sends it does (RFC 791, RFC 8200 section 4.5): "don't
// fragment" is what gVisor puts into every packet, and is meant for others.
//
//	IPv4   header of the packet, with identification and offset     8n bytes of payload
//	IPv6   header of the packet │ fragment header, 8 bytes          8n bytes of payload
//
// gVisor would do it itself, but by the MTU of the link, and with the same
// identification in all packets of IPv4: when a fragment is lost, its place is
// taken by that of another packet.
func (c *cutter) startFragments(mtu int) {
	c.kind = fragments
	c.fragmented++
	c.skip += len(c.ip)
	c.left -= len(c.ip)
	c.head = len(c.ip)
	if header.IPVersion(c.ip) == header.IPv6Version {
		c.head += header.IPv6FragmentHeaderSize
	}
	c.piece = (mtu - c.head) &^ 7
}

// putFragment writes the headers of a fragment, which holds its payload already.
func (c *cutter) putFragment(packet []byte) {
	copy(packet, c.ip)
	if header.IPVersion(packet) == header.IPv6Version {
		c.putFragment6(packet)
		return
	}
	var flags uint8
	if c.left > 0 {
		flags = header.IPv4FlagMoreFragments
	}
	ip := header.IPv4(packet)
	ip.SetTotalLength(uint16(len(packet)))
	ip.SetID(uint16(c.fragmented))
	ip.SetFlagsFragmentOffset(flags, uint16(c.done))
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
}

// protocol │ 0 │ offset in units of 8 bytes, 13 bits │ 0 │ more? │ identification, 4 bytes
func (c *cutter) putFragment6(packet []byte) {
	ip := header.IPv6(packet)
	ip.SetPayloadLength(uint16(len(packet) - header.IPv6MinimumSize))
	protocol := ip.NextHeader()
	ip.SetNextHeader(header.IPv6FragmentHeader)
	offset := uint16(c.done) // a multiple of 8, so that its last bits are free
	if c.left > 0 {
		offset |= 1
	}
	h := packet[len(c.ip):c.head]
	h[0], h[1] = protocol, 0
	binary.BigEndian.PutUint16(h[2:], offset)
	binary.BigEndian.PutUint32(h[4:], c.fragmented)
}
