package netstack

import (
	"bytes"
	"encoding/binary"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A joiner is the opposite of a cutter: it joins the TCP packets of a batch
// that follow each other, so that gVisor walks its layers once for many. It copies
// each packet once, into a buffer for all that are joined; gVisor's own package
// for this chains a buffer per packet.
//
// Packets stay in the order in which they came, as far as they are of one
// connection. Packets of UDP are not held back.
type joiner struct {
	dispatcher stack.NetworkDispatcher
	runs       [maxRuns]run // in the order of their first packets
	count      int          // of runs
	pieces     [batchSize]piece
	used       int // of pieces
}

// maxRuns is how many connections one batch is sorted into.
const maxRuns = 16

// maxJoined is how long a packet can be: by its length field, in IPv6 without the
// header.
const maxJoined = 65535

// A run is packets of one connection that become one.
type run struct {
	first, last segment // packets
	next        uint32  // sequence number behind the last
	payload     int     // bytes
	head, tail  int     // of its chain in joiner.pieces
}

// A piece is the payload of a packet in a run.
type piece struct {
	payload []byte
	next    int // in joiner.pieces
}

// A segment is a packet of TCP that may be one of many: it carries bytes, and
// nothing that must be seen by itself.
type segment struct {
	packet   []byte
	protocol tcpip.NetworkProtocolNumber
	ip, head int // lengths of the IP header, and of that and the TCP header
}

// add gives the joiner a packet, which must not change until the joiner is put
// back. It may be passed on at once, or with others later, at the latest then.
func (j *joiner) add(packet []byte, protocol tcpip.NetworkProtocolNumber) {
	s, isTCP, joins := segmentOf(packet, protocol)
	if !isTCP {
		j.deliver(buffer.MakeWithData(packet), protocol)
		return
	}
	at := j.find(s)
	if joins && at >= 0 && j.runs[at].takes(s) && j.used < batchSize {
		j.extend(&j.runs[at], s)
		return
	}
	if at >= 0 {
		j.pass(at)
	}
	if !joins || j.used == batchSize {
		j.deliver(buffer.MakeWithData(packet), protocol)
		return
	}
	if j.count == maxRuns {
		j.pass(0)
	}
	j.begin(s)
}

// segmentOf reads a packet. One that is not TCP, or is damaged, is not TCP; of the
// others those join that are plain: without IP options, fragmentation and urgent
// data, with payload, and with no flag but ACK and PSH.
func segmentOf(packet []byte, protocol tcpip.NetworkProtocolNumber) (s segment, isTCP, joins bool) {
	s = segment{packet: packet, protocol: protocol}
	plain := true
	if protocol == header.IPv4ProtocolNumber {
		ip := header.IPv4(packet)
		if len(packet) < header.IPv4MinimumSize+header.TCPMinimumSize || ip.HeaderLength() != header.IPv4MinimumSize ||
			tcpip.TransportProtocolNumber(ip.Protocol()) != header.TCPProtocolNumber || ip.FragmentOffset() != 0 || ip.Flags()&header.IPv4FlagMoreFragments != 0 {
			return s, false, false
		}
		s.ip, plain = header.IPv4MinimumSize, int(ip.TotalLength()) == len(packet)
	} else {
		ip := header.IPv6(packet)
		if len(packet) < header.IPv6MinimumSize+header.TCPMinimumSize || tcpip.TransportProtocolNumber(ip.NextHeader()) != header.TCPProtocolNumber {
			return s, false, false
		}
		s.ip, plain = header.IPv6MinimumSize, int(ip.PayloadLength()) == len(packet)-header.IPv6MinimumSize
	}
	offset := int(s.tcp().DataOffset())
	s.head = s.ip + offset
	plain = plain && offset >= header.TCPMinimumSize && s.head < len(packet)
	return s, true, plain && s.tcp().Flags()&^header.TCPFlagPsh == header.TCPFlagAck
}

func (s *segment) tcp() header.TCP { return header.TCP(s.packet[s.ip:]) }

func (s *segment) payload() []byte { return s.packet[s.head:] }

// flow returns what tells the connection: addresses and ports, which are last in
// the header of IP and first in that of TCP.
func (s *segment) flow() []byte {
	addrs := 8
	if s.ip == header.IPv6MinimumSize {
		addrs = 32
	}
	return s.packet[s.ip-addrs : s.ip+4]
}

// alike reports whether two packets of a connection say the same besides their
// payload: the class and the life of the packet, what is acknowledged, and TCP's
// options.
func (s *segment) alike(other *segment) bool {
	return s.head == other.head && s.class() == other.class() &&
		s.tcp().AckNumber() == other.tcp().AckNumber() &&
		bytes.Equal(s.tcp()[header.TCPMinimumSize:s.head-s.ip], other.tcp()[header.TCPMinimumSize:s.head-s.ip])
}

// class returns the fields of the IP header that differ between packets which must
// not be joined: type of service and time to live, or traffic class, flow label and
// hop limit.
func (s *segment) class() (class uint64) {
	if s.ip == header.IPv4MinimumSize {
		return uint64(s.packet[1])<<8 | uint64(s.packet[8])
	}
	return uint64(binary.BigEndian.Uint32(s.packet))<<8 | uint64(s.packet[7])
}

// find returns the run of the packet's connection, or -1.
func (j *joiner) find(s segment) int {
	for i := range j.runs[:j.count] {
		if bytes.Equal(j.runs[i].first.flow(), s.flow()) {
			return i
		}
	}
	return -1
}

// takes reports whether the packet goes on where the run ends.
func (r *run) takes(s segment) bool {
	return s.tcp().SequenceNumber() == r.next && r.first.alike(&s) && r.first.head+r.payload+len(s.payload()) <= maxJoined
}

func (j *joiner) begin(s segment) {
	r := &j.runs[j.count]
	j.count++
	*r = run{first: s, last: s, next: s.tcp().SequenceNumber() + uint32(len(s.payload())), payload: len(s.payload()), head: j.used, tail: j.used}
	j.pieces[j.used] = piece{payload: s.payload()}
	j.used++
}

func (j *joiner) extend(r *run, s segment) {
	r.last = s
	r.next += uint32(len(s.payload()))
	r.payload += len(s.payload())
	j.pieces[j.used] = piece{payload: s.payload()}
	j.pieces[r.tail].next, r.tail = j.used, j.used
	j.used++
}

// pass delivers a run and forgets it.
func (j *joiner) pass(at int) {
	r := j.runs[at]
	copy(j.runs[at:], j.runs[at+1:j.count])
	j.count--
	j.runs[j.count] = run{}
	payload := buffer.NewView(r.payload)
	for i := r.head; ; i = j.pieces[i].next {
		payload.Write(j.pieces[i].payload)
		if i == r.tail {
			break
		}
	}
	// The headers stand by themselves, because gVisor copies them.
	data := buffer.MakeWithView(r.headers())
	data.Append(payload)
	j.deliver(data, r.first.protocol)
}

// headers returns those of the whole. Window and PSH are what the last packet
// says. Checksums are of no interest: see link.Capabilities.
func (r *run) headers() *buffer.View {
	view := buffer.NewViewWithData(r.first.packet[:r.first.head])
	if packet := view.AsSlice(); r.first.ip == header.IPv4MinimumSize {
		ip := header.IPv4(packet)
		ip.SetTotalLength(uint16(r.first.head + r.payload))
		ip.SetChecksum(0)
		ip.SetChecksum(^ip.CalculateChecksum())
	} else {
		header.IPv6(packet).SetPayloadLength(uint16(r.first.head + r.payload - header.IPv6MinimumSize))
	}
	tcp, last := header.TCP(view.AsSlice()[r.first.ip:]), r.last.tcp()
	tcp.SetFlags(uint8(last.Flags()))
	tcp.SetWindowSize(last.WindowSize())
	return view
}

// deliver hands a packet to the stack.
func (j *joiner) deliver(data buffer.Buffer, protocol tcpip.NetworkProtocolNumber) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: data})
	defer pkt.DecRef()
	pkt.NetworkProtocolNumber = protocol
	pkt.RXChecksumValidated = true // see link.Capabilities
	j.dispatcher.DeliverNetworkPacket(protocol, pkt)
}

// joiners are those not in use: WireGuard writes from one goroutine per peer.
type joiners struct{ pool sync.Pool }

func (p *joiners) get(dispatcher stack.NetworkDispatcher) *joiner {
	j, ok := p.pool.Get().(*joiner)
	if !ok {
		j = new(joiner)
	}
	j.dispatcher = dispatcher
	return j
}

// put has j pass on what is left, and takes it back. It keeps nothing of what it
// was given.
func (p *joiners) put(j *joiner) {
	for j.count > 0 {
		j.pass(0)
	}
	clear(j.pieces[:j.used])
	j.used, j.dispatcher = 0, nil
	p.pool.Put(j)
}
