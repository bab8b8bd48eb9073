package netstack

import (
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A cutter turns packets of the stack into packets that their paths carry. Most
// stay as they are.
//
// TCP's may be up to 64 KiB long, as if the link could carry that, and without
// checksum: gVisor walks its layers once for what the cutter makes some fifty
// packets of, or seven among jumbo frames. gVisor takes the MTU for the base
// one everywhere and always; where the path carries more (see Stack.SetMTUs) the
// cutter makes larger packets of the same bytes. So connections use what their
// path carries at the moment, whatever it was when they were made, and gVisor,
// whose segments can only shrink, need not know. After a timeout it sends one
// segment of its own size alone, which passes however much the path has shrunk.
//
// What is too long otherwise becomes fragments (see fragment.go).
type cutter struct {
	pkt  *stack.PacketBuffer // nil when there is nothing to cut
	kind kind

	ip        []byte // pkt's IP header
	transport []byte // and that of segments behind it

	piece int          // bytes of payload in a packet, at most
	head  int          // bytes of headers that each packet gets; 0 when pkt stays as it is
	view  *buffer.View // of pkt, where the payload goes on…
	skip  int          // …after so many bytes

	done, left int // bytes of payload

	fragmented uint32 // packets so far
}

// A kind is what a cutter makes of a packet.
type kind byte

const (
	whole     kind = iota
	segments       // of TCP
	fragments      // of IP
)

// start begins to cut pkt, which the cutter releases when it is done.
func (c *cutter) start(pkt *stack.PacketBuffer, mtus *mtus) {
	views, skip := pkt.AsViewList()
	size := pkt.Size()
	*c = cutter{pkt: pkt, ip: pkt.NetworkHeader().Slice(), piece: max(size, 1), view: views.Front(), skip: skip, left: size, fragmented: c.fragmented}
	switch {
	case pkt.GSOOptions.Type != stack.GSONone:
		c.startSegments(mtus)
	case size > mtus.base && len(c.ip) > 0: // packets without are of Inject
		if mtu := mtus.of(pkt); size > mtu {
			c.startFragments(mtu)
		}
	}
}

// startSegments makes the cutter cut the payload of TCP.
func (c *cutter) startSegments(mtus *mtus) {
	c.kind = segments
	c.transport = c.pkt.TransportHeader().Slice()
	c.head = len(c.ip) + len(c.transport)
	c.skip += c.head
	c.left -= c.head
	mss := int(c.pkt.GSOOptions.MSS) // 0 before the handshake has settled it: there is no payload
	if c.left <= mss || mss == 0 {
		c.piece = max(c.left, 1)
		return
	}
	c.piece = mss
	if mtu := mtus.of(c.pkt); mtu > mtus.base {
		c.piece = mtu - c.head
	}
}

// busy says whether next has more to return.
func (c *cutter) busy() bool { return c.pkt != nil }

// next puts the next packet into dst and returns its length; 0 means that dst
// is too small, and the packet is lost.
func (c *cutter) next(dst []byte) int {
	n := min(c.left, c.piece)
	size := c.head + n
	if size > len(dst) {
		c.release()
		return 0
	}
	dst = dst[:size]
	c.read(dst[c.head:])
	c.left -= n
	switch c.kind {
	case segments:
		c.putIP(dst)
		c.putTCP(dst)
	case fragments:
		c.putFragment(dst)
	}
	c.done += n
	if c.left == 0 {
		c.release()
	}
	return size
}

func (c *cutter) release() {
	c.pkt.DecRef()
	*c = cutter{fragmented: c.fragmented}
}

// read fills dst with payload.
func (c *cutter) read(dst []byte) {
	for len(dst) > 0 && c.view != nil {
		b := c.view.AsSlice()
		if c.skip >= len(b) {
			c.skip -= len(b)
			c.view = c.view.Next()
			continue
		}
		n := copy(dst, b[c.skip:])
		c.skip += n
		dst = dst[n:]
	}
}

// putIP writes the IP header of packet, which holds its payload already.
func (c *cutter) putIP(packet []byte) {
	copy(packet, c.ip)
	if header.IPVersion(packet) == header.IPv6Version {
		header.IPv6(packet).SetPayloadLength(uint16(len(packet) - header.IPv6MinimumSize))
		return
	}
	ip := header.IPv4(packet)
	ip.SetTotalLength(uint16(len(packet)))
	ip.SetID(ip.ID() + uint16(c.done/c.piece))
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
}

// putTCP writes the TCP header of packet behind its IP header. What the flags
// say of the payload as a whole stands in the first or last packet only.
func (c *cutter) putTCP(packet []byte) {
	segment := packet[len(c.ip):]
	copy(segment, c.transport)
	tcp := header.TCP(segment)
	tcp.SetSequenceNumber(tcp.SequenceNumber() + uint32(c.done))
	flags := tcp.Flags()
	if c.done > 0 {
		flags &^= header.TCPFlagCwr
	}
	if c.left > 0 {
		flags &^= header.TCPFlagFin | header.TCPFlagPsh
	}
	tcp.SetFlags(uint8(flags))

	from, to := addressesOf(packet)
	tcp.SetChecksum(0)
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, from, to, uint16(len(segment)))
	tcp.SetChecksum(^checksum.Checksum(segment, sum))
}

// addressesOf returns the addresses of an IP packet. gVisor's header.Network
// would do for both versions, but is allocated.
func addressesOf(packet []byte) (from, to tcpip.Address) {
	if header.IPVersion(packet) == header.IPv6Version {
		ip := header.IPv6(packet)
		return ip.SourceAddress(), ip.DestinationAddress()
	}
	ip := header.IPv4(packet)
	return ip.SourceAddress(), ip.DestinationAddress()
}
