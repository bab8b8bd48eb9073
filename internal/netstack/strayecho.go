package netstack

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// takeEcho takes an echo request, a whole packet, to an address that is not
// ours. gVisor would answer it for everybody.
func (st *strays) takeEcho(packet []byte) {
	if !st.wanted[kindPing].Load() {
		return
	}
	from, to := addressesOf(packet)
	stray := &Stray{
		Network: NetworkPing,
		Src:     netip.AddrPortFrom(fromTCPIP(from), 0),
		Dst:     netip.AddrPortFrom(fromTCPIP(to), 0),
	}
	stray.place = st.claim(stray.Src.Addr())
	if stray.place == nil {
		return
	}
	stray.request = &echoRequest{stack: st.stack, packet: slices.Clone(packet)}
	if !st.offer(stray) {
		stray.place.release()
	}
}

// An echoRequest is a packet that asks for itself.
type echoRequest struct {
	stack  *Stack
	packet []byte
}

func (r *echoRequest) accept() (net.Conn, error) {
	if header.IPVersion(r.packet) == header.IPv6Version {
		echo6(r.packet)
	} else {
		echo4(r.packet)
	}
	r.stack.Inject(r.packet)
	return nil, nil
}

func (r *echoRequest) reject() {}

const replyHopLimit = 64

// echo4 makes an answer of a request, without the IP options that it may have.
//
//	IP header
//	type 8, then 0 │ code 0 │ checksum, 2 bytes │ identifier, 2 │ sequence, 2 │ data      RFC 792
func echo4(packet []byte) {
	ip := header.IPv4(packet)
	from, to := ip.SourceAddress(), ip.DestinationAddress()
	message := header.ICMPv4(ip.Payload())
	options := packet[header.IPv4MinimumSize:ip.HeaderLength()]
	for i := range options {
		options[i] = byte(header.IPv4OptionNOPType)
	}
	ip.SetSourceAddress(to)
	ip.SetDestinationAddress(from)
	ip.SetTTL(replyHopLimit)
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
	message.SetType(header.ICMPv4EchoReply)
	message.SetChecksum(0)
	message.SetChecksum(^checksum.Checksum(message, 0))
}

// echo6 makes an answer of a request: type 128, then 129 (RFC 4443, section
// 4.1).
func echo6(packet []byte) {
	ip := header.IPv6(packet)
	from, to := ip.SourceAddress(), ip.DestinationAddress()
	message := header.ICMPv6(ip.Payload())
	ip.SetSourceAddress(to)
	ip.SetDestinationAddress(from)
	ip.SetHopLimit(replyHopLimit)
	message.SetType(header.ICMPv6EchoReply)
	message.SetChecksum(0)
	sum := header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, to, from, uint16(len(message)))
	binary.BigEndian.PutUint16(message[2:], ^checksum.Checksum(message, sum))
}
