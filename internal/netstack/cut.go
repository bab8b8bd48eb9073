package netstack

import (
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A cutter turns packets of the stack into packets of the link. Most stay as
// they are. TCP's may be up to 64 KiB long, as if the link could carry that,
// and without checksum: gVisor walks its layers once for what the cutter makes
// some fifty packets of.
type cutter struct {
	pkt *stack.PacketBuffer // nil when there is nothing to cut

	mss           int          // payload of a packet
	ipLen, tcpLen int          // of the headers that each packet gets; 0 when pkt stays as it is
	view          *buffer.View // of pkt, where the payload goes on…
	skip          int          // …after so many bytes
	done, left    int          // bytes of payload
}

// start begins to cut pkt, which the cutter releases when it is done.
func (c *cutter) start(pkt *stack.PacketBuffer) {
	views, skip := pkt.AsViewList()
	*c = cutter{pkt: pkt, view: views.Front(), skip: skip, left: pkt.Size()}
	if pkt.GSOOptions.Type != stack.GSONone {
		c.ipLen = len(pkt.NetworkHeader().Slice())
		c.tcpLen = len(pkt.TransportHeader().Slice())
		c.skip += c.ipLen + c.tcpLen
		c.left -= c.ipLen + c.tcpLen
	}
	c.mss = int(pkt.GSOOptions.MSS)
	if c.mss == 0 { // not GSO; or it is, but the handshake has not settled the size: there is no payload
		c.mss = max(c.left, 1)
	}
}

// busy says whether next has more to return.
func (c *cutter) busy() bool { return c.pkt != nil }

// next puts the next packet into dst and returns its length; 0 means that dst
// is too small, and the packet is lost.
func (c *cutter) next(dst []byte) int {
	n := min(c.left, c.mss)
	size := c.ipLen + c.tcpLen + n
	if size > len(dst) {
		c.release()
		return 0
	}
	dst = dst[:size]
	c.read(dst[c.ipLen+c.tcpLen:])
	c.left -= n
	if c.tcpLen > 0 {
		c.putIP(dst)
		c.putTCP(dst)
	}
	c.done += n
	if c.left == 0 {
		c.release()
	}
	return size
}

func (c *cutter) release() {
	c.pkt.DecRef()
	*c = cutter{}
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
	copy(packet, c.pkt.NetworkHeader().Slice())
	if header.IPVersion(packet) == header.IPv6Version {
		header.IPv6(packet).SetPayloadLength(uint16(len(packet) - header.IPv6MinimumSize))
		return
	}
	ip := header.IPv4(packet)
	ip.SetTotalLength(uint16(len(packet)))
	ip.SetID(ip.ID() + uint16(c.done/c.mss))
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
}

// putTCP writes the TCP header of packet behind its IP header. What the flags
// say of the payload as a whole stands in the first or last packet only.
func (c *cutter) putTCP(packet []byte) {
	segment := packet[c.ipLen:]
	copy(segment, c.pkt.TransportHeader().Slice())
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

	ip := c.pkt.Network()
	tcp.SetChecksum(0)
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(segment)))
	tcp.SetChecksum(^checksum.Checksum(segment, sum))
}
