package netstack

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// superSegment returns a TCP packet as gVisor hands it to a link with host GSO.
func superSegment(src, dst netip.AddrPort, seq uint32, flags header.TCPFlags, mss int, payload []byte) *stack.PacketBuffer {
	var views buffer.Buffer
	for chunk := range slices.Chunk(payload, 1000) { // several views, as of several writes
		views.Append(buffer.NewViewWithData(chunk))
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: 100, Payload: views})
	options := []byte{header.TCPOptionNOP, header.TCPOptionNOP, header.TCPOptionTS, 10, 1, 2, 3, 4, 5, 6, 7, 8}
	tcp := header.TCP(pkt.TransportHeader().Push(header.TCPMinimumSize + len(options)))
	tcp.Encode(&header.TCPFields{
		SrcPort: src.Port(), DstPort: dst.Port(), SeqNum: seq, AckNum: 77,
		DataOffset: uint8(len(tcp)), Flags: flags, WindowSize: 1234,
	})
	copy(tcp[header.TCPMinimumSize:], options)
	if src.Addr().Is4() {
		ip := header.IPv4(pkt.NetworkHeader().Push(header.IPv4MinimumSize))
		ip.Encode(&header.IPv4Fields{
			TotalLength: uint16(pkt.Size()), ID: 65535, TTL: 64, Protocol: uint8(header.TCPProtocolNumber),
			SrcAddr: toTCPIP(src.Addr()), DstAddr: toTCPIP(dst.Addr()),
		})
		pkt.NetworkProtocolNumber = header.IPv4ProtocolNumber
	} else {
		ip := header.IPv6(pkt.NetworkHeader().Push(header.IPv6MinimumSize))
		ip.Encode(&header.IPv6Fields{
			PayloadLength: uint16(len(tcp) + len(payload)), TransportProtocol: header.TCPProtocolNumber, HopLimit: 64,
			SrcAddr: toTCPIP(src.Addr()), DstAddr: toTCPIP(dst.Addr()),
		})
		pkt.NetworkProtocolNumber = header.IPv6ProtocolNumber
	}
	pkt.TransportProtocolNumber = header.TCPProtocolNumber
	pkt.GSOOptions = stack.GSO{Type: stack.GSOTCPv4, NeedsCsum: true, MSS: uint16(mss)}
	return pkt
}

// cut returns the packets that the cutter makes of pkt, when some MTUs are
// raised.
func cut(pkt *stack.PacketBuffer, raised map[netip.Prefix]int) [][]byte {
	var c cutter
	var packets [][]byte
	for c.start(pkt, newMTUs(defaultMTU, raised)); c.busy(); {
		buf := make([]byte, 65535)
		packets = append(packets, buf[:c.next(buf)])
	}
	return packets
}

// tcpOf returns the TCP segment of an IP packet and its payload, after
// checking lengths and checksums.
func tcpOf(t *testing.T, packet []byte) (header.TCP, []byte) {
	t.Helper()
	var (
		ip header.Network
		ok bool
	)
	if header.IPVersion(packet) == header.IPv4Version {
		ip4 := header.IPv4(packet)
		ip, ok = ip4, ip4.IsValid(len(packet)) && ip4.IsChecksumValid() && int(ip4.TotalLength()) == len(packet)
	} else {
		ip6 := header.IPv6(packet)
		ip, ok = ip6, ip6.IsValid(len(packet)) && int(ip6.PayloadLength()) == len(packet)-header.IPv6MinimumSize
	}
	if !ok {
		t.Fatalf("the IP header of %x is not valid", packet)
	}
	tcp := header.TCP(ip.Payload())
	payload := tcp.Payload()
	if !tcp.IsChecksumValid(ip.SourceAddress(), ip.DestinationAddress(), checksum.Checksum(payload, 0), uint16(len(payload))) {
		t.Fatalf("the TCP checksum of %x is wrong", packet)
	}
	return tcp, payload
}

func TestCut(t *testing.T) {
	const (
		seq = 1<<32 - 3000 // wraps around
		mss = 1228
		all = header.TCPFlagAck | header.TCPFlagPsh | header.TCPFlagFin | header.TCPFlagCwr
	)
	random := rand.NewChaCha8([32]byte{})
	for _, ends := range [][2]netip.Addr{{a4, b4}, {a6, b6}} {
		headers := 32 + header.IPv4MinimumSize
		if ends[0].Is6() {
			headers = 32 + header.IPv6MinimumSize
		}
		for piece, raised := range map[int]map[netip.Prefix]int{
			mss:             nil,
			1373:            raise(1373+headers, ends[1]),
			8900 - headers:  raise(8900, ends[1]),
			65535 - headers: raise(65535, ends[1]),
		} {
			for _, size := range []int{0, 1, mss - 1, mss, mss + 1, 2 * mss, 8900, 65000} {
				want := make([]byte, size)
				random.Read(want)
				packets := cut(superSegment(netip.AddrPortFrom(ends[0], 1), netip.AddrPortFrom(ends[1], 2), seq, all, mss, want), raised)
				if n := max(1, (size+piece-1)/piece); len(packets) != n {
					t.Errorf("%d bytes make %d packets; want %d", size, len(packets), n)
				}
				var got []byte
				for i, packet := range packets {
					tcp, payload := tcpOf(t, packet)
					flags := header.TCPFlags(header.TCPFlagAck)
					if i == 0 {
						flags |= header.TCPFlagCwr
					}
					if i == len(packets)-1 {
						flags |= header.TCPFlagPsh | header.TCPFlagFin
					}
					if tcp.Flags() != flags {
						t.Errorf("packet %d of %d has flags %v; want %v", i, len(packets), tcp.Flags(), flags)
					}
					if want := uint32(seq + i*piece); tcp.SequenceNumber() != want || tcp.AckNumber() != 77 || tcp.WindowSize() != 1234 {
						t.Errorf("packet %d has sequence number %d; want %d", i, tcp.SequenceNumber(), want)
					}
					if len(tcp.Options()) != 12 || tcp.Options()[4] != 1 {
						t.Errorf("packet %d has options %x", i, tcp.Options())
					}
					if ends[0].Is4() && header.IPv4(packet).ID() != 65535+uint16(i) {
						t.Errorf("packet %d has ID %d", i, header.IPv4(packet).ID())
					}
					got = append(got, payload...)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("the payload of %d bytes is not what it was", size)
				}
			}
		}
	}
}

func TestCutIntoTooSmallABuffer(t *testing.T) {
	var c cutter
	c.start(superSegment(netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), 1, header.TCPFlagAck, 1228, make([]byte, 5000)), newMTUs(defaultMTU, nil))
	if n := c.next(make([]byte, 100)); n != 0 || c.busy() {
		t.Errorf("the cutter returned %d and goes on: %v", n, c.busy())
	}
}

// gVisor answers some packets of a handshake before it knows the peer's MSS.
func TestCutWithoutMSS(t *testing.T) {
	packets := cut(superSegment(netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), 1, header.TCPFlagAck, 0, nil), nil)
	if len(packets) != 1 {
		t.Fatalf("%d packets; want 1", len(packets))
	}
	tcpOf(t, packets[0])
}

// FuzzWrite gives the device what a hostile peer may send.
func FuzzWrite(f *testing.F) {
	for _, ends := range [][2]netip.Addr{{b4, a4}, {b6, a6}} {
		for _, packet := range cut(superSegment(netip.AddrPortFrom(ends[0], 1), netip.AddrPortFrom(ends[1], 80), 1, header.TCPFlagAck, 100, make([]byte, 250)), nil) {
			f.Add(packet, uint16(len(packet)))
		}
		f.Add(cut(superSegment(netip.AddrPortFrom(ends[0], 1), netip.AddrPortFrom(ends[1], 80), 1, header.TCPFlagSyn, 100, nil), nil)[0], uint16(3))
	}
	f.Add([]byte{0x45}, uint16(0))
	s := newStack(f, a4, a6)
	mustListen(f, s, "tcp", "0.0.0.0:80")
	mustListenUDP(f, s, "udp", "0.0.0.0:80")
	go pump(s.Tun(), newStack(f, b4, b6).Tun())
	f.Fuzz(func(t *testing.T, packets []byte, split uint16) {
		at := min(int(split), len(packets))
		if _, err := s.Tun().Write([][]byte{packets[:at], packets[at:], packets}, 0); err != nil {
			t.Fatal(err)
		}
	})
}
