package derp

import (
	"sync"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

const (
	smallData   = 1800    // what a pooled message has room for
	messageCost = 2 << 10 // memory that one takes, with its room

	// largeData is the room for packets between nodes that know that relays carry
	// more than a link of 1,500 bytes.
	largeData = 9 << 10
)

// message is a frame on its way through the relay.
type message struct {
	typ  FrameType
	peer key.NodePublic // in front of data, for the types that have one: of packets, the source
	dst  key.NodePublic // of ForwardPacket, behind peer
	data []byte

	small [smallData]byte
	large *[largeData]byte // nil when small does, and when both are too small

	// Owned by the outbox while it has the message.
	at   time.Time // when it came
	next *message
}

// messages is where messages come from and go back to.
type messages struct {
	pool  sync.Pool // of *message
	large sync.Pool // of *[largeData]byte
}

// get returns a message whose data has size bytes.
func (p *messages) get(typ FrameType, peer key.NodePublic, size int) *message {
	m, _ := p.pool.Get().(*message)
	if m == nil {
		m = new(message)
	}
	m.typ, m.peer = typ, peer
	switch {
	case size <= smallData:
		m.data = m.small[:size]
	case size <= largeData:
		if m.large, _ = p.large.Get().(*[largeData]byte); m.large == nil {
			m.large = new([largeData]byte)
		}
		m.data = m.large[:size]
	default:
		m.data = make([]byte, size)
	}
	return m
}

func (p *messages) put(m *message) {
	if m.large != nil {
		p.large.Put(m.large)
	}
	m.data, m.large, m.next = nil, nil, nil
	p.pool.Put(m)
}

// cost returns how much memory m takes.
func (m *message) cost() int {
	if len(m.data) <= smallData {
		return messageCost
	}
	return messageCost + cap(m.data)
}

// size returns the length of the frame.
func (m *message) size() int {
	n := headerSize + len(m.data)
	switch m.typ {
	case FrameRecvPacket, FramePeerGone:
		n += key.Size
	case frameForwardPacket:
		n += 2 * key.Size
	}
	return n
}

// appendTo appends the frame.
func (m *message) appendTo(dst []byte) []byte {
	dst = appendHeader(dst, m.typ, m.size()-headerSize)
	switch m.typ {
	case FrameRecvPacket, FramePeerGone:
		dst = m.peer.AppendRaw(dst)
	case frameForwardPacket:
		dst = m.dst.AppendRaw(m.peer.AppendRaw(dst))
	}
	return append(dst, m.data...)
}

// list is messages in a row.
type list struct {
	first, last *message
	n, cost     int
}

func (l *list) push(m *message) {
	m.next = nil
	if l.last == nil {
		l.first = m
	} else {
		l.last.next = m
	}
	l.last = m
	l.n++
	l.cost += m.cost()
}

// pop returns the oldest message, or nil.
func (l *list) pop() *message {
	m := l.first
	if m == nil {
		return nil
	}
	l.first = m.next
	if l.first == nil {
		l.last = nil
	}
	m.next = nil
	l.n--
	l.cost -= m.cost()
	return m
}
