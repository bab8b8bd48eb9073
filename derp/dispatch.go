package derp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

const (
	// How often a client is told that a peer is not here.
	notHerePerSecond = 1
	notHereBurst     = 3

	maxForwardSources = 16 << 10 // clients of another relay whose ways are kept

	// A disco packet: magic, sender's key, nonce, box. That is all that a
	// relay knows of disco.
	discoMagic   = "TS💬"
	minDiscoSize = len(discoMagic) + key.Size + 24
)

var errNotTrusted = errors.New("it has not shown that it knows the mesh key")

// read does what the client's frames ask for, until the connection ends.
func (s *Server) read(ctx context.Context, c *session) error {
	for {
		if _, err := io.ReadFull(c.r, c.head[:headerSize]); err != nil {
			return err
		}
		typ, size, err := parseHeader(c.head[:], maxFrameSize)
		if err != nil {
			return err
		}
		if err := c.throttle(ctx, headerSize+size); err != nil {
			return err
		}
		if err := s.do(c, typ, size); err != nil {
			return err
		}
	}
}

// do reads the rest of a frame, and does what it asks for.
func (s *Server) do(c *session, typ FrameType, size int) error {
	switch typ {
	case frameSendPacket:
		return s.sendPacket(c, size)
	case framePing:
		return s.answerPing(c, size)
	case frameNotePreferred:
		return c.notePreferred(size)
	case frameForwardPacket, frameWatchConns, frameClosePeer:
		if !c.trusted {
			return fmt.Errorf("frame of type %02x: %w", byte(typ), errNotTrusted)
		}
		return s.doTrusted(c, typ, size)
	default: // Pong, and what we do not know
		return c.skip(size)
	}
}

// doTrusted is do for the frames of other relays.
func (s *Server) doTrusted(c *session, typ FrameType, size int) error {
	switch typ {
	case frameForwardPacket:
		return s.forwardPacket(c, size)
	case frameClosePeer:
		return s.closePeer(c, size)
	default:
		if c.key != s.public { // else it is us
			s.registry.watch(c)
			s.start(&c.destination, c.out.nudge())
		}
		return c.skip(size)
	}
}

// throttle holds up a client who sends more than it may.
func (c *session) throttle(ctx context.Context, n int) error {
	if c.limit == nil {
		return nil
	}
	wait := c.limit.spend(time.Now(), n)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readKey reads a key into memory of c's own.
func (c *session) readKey() (key.NodePublic, error) {
	b := c.head[headerSize:]
	_, err := io.ReadFull(c.r, b)
	return key.NodePublicFromRaw32([key.Size]byte(b)), err
}

func (c *session) skip(size int) error {
	_, err := io.CopyN(io.Discard, c.r, int64(size))
	return err
}

// sendPacket passes a packet on to its destination.
func (s *Server) sendPacket(c *session, size int) error {
	if size < key.Size || size > key.Size+MaxPacketSize {
		return fmt.Errorf("packet frame of %d bytes", size)
	}
	dst, err := c.readKey()
	if err != nil {
		return err
	}
	m, err := s.readPacket(c, c.key, dst, size-key.Size)
	if err != nil {
		return err
	}
	s.pass(c, s.route(c.ways, c.key, dst, false), m)
	return nil
}

// forwardPacket passes a packet on that comes from a client of another relay.
func (s *Server) forwardPacket(c *session, size int) error {
	if size < 2*key.Size || size > 2*key.Size+MaxPacketSize {
		return fmt.Errorf("forwarded packet's frame of %d bytes", size)
	}
	src, err := c.readKey()
	if err != nil {
		return err
	}
	dst, err := c.readKey()
	if err != nil {
		return err
	}
	m, err := s.readPacket(c, src, dst, size-2*key.Size)
	if err != nil {
		return err
	}
	ways := c.forwarded[src]
	if ways == nil {
		if len(c.forwarded) >= maxForwardSources {
			clear(c.forwarded)
		}
		ways = make(routes)
		c.forwarded[src] = ways
	}
	s.pass(c, s.route(ways, src, dst, true), m)
	return nil
}

func (s *Server) readPacket(c *session, src, dst key.NodePublic, size int) (*message, error) {
	m := s.messages.get(FrameRecvPacket, src, size)
	m.dst = dst
	if _, err := io.ReadFull(c.r, m.data); err != nil {
		s.messages.put(m)
		return nil, err
	}
	c.count.received(m)
	return m, nil
}

// pass puts a packet into the outbox at the end of its way. A nil way leads
// nowhere. Then its sender is told if it is looking for a peer, but not another
// relay, which hears of all who come and go.
func (s *Server) pass(c *session, r *route, m *message) {
	if r == nil {
		c.count.unreachable.Add(1)
		if m.peer == c.key && isDisco(m.data) && c.notHere.take(time.Now(), 1) {
			s.tellGone(&c.destination, m.dst, PeerGoneNotHere)
		}
		s.messages.put(m)
		return
	}
	if r.to.remote {
		m.typ = frameForwardPacket
	}
	l, f := lanePacket, &r.packets
	if isDisco(m.data) {
		l, f = laneDisco, &r.disco
	}
	for {
		wait, start := r.to.out.offer(l, f, m, c.sender.room, time.Now())
		s.start(r.to, start)
		if wait == 0 {
			return
		}
		c.sender.wait(wait)
	}
}

// sender is who reads packets from a connection, and where it waits.
type sender struct {
	room  chan struct{}
	timer *time.Timer // nil until it is needed
}

func newSender() sender { return sender{room: make(chan struct{}, 1)} }

// wait waits for room, or for as long as wait.
func (s *sender) wait(wait time.Duration) {
	if s.timer == nil {
		s.timer = time.NewTimer(wait)
	} else {
		s.timer.Reset(wait)
	}
	select {
	case <-s.room:
		s.timer.Stop()
	case <-s.timer.C:
	}
}

func isDisco(packet []byte) bool {
	return len(packet) >= minDiscoSize && string(packet[:len(discoMagic)]) == discoMagic
}

// tellGone tells to that it cannot reach peer here.
func (s *Server) tellGone(to *destination, peer key.NodePublic, reason PeerGoneReason) {
	m := s.messages.get(FramePeerGone, peer, 1)
	m.data[0] = byte(reason)
	s.tell(to, m)
}

func (s *Server) answerPing(c *session, size int) error {
	if size < pingSize || size > maxPingSize {
		return fmt.Errorf("ping of %d bytes", size)
	}
	m := s.messages.get(FramePong, key.NodePublic{}, pingSize)
	if _, err := io.ReadFull(c.r, m.data); err != nil {
		s.messages.put(m)
		return err
	}
	s.tell(&c.destination, m)
	return c.skip(size - pingSize)
}

func (c *session) notePreferred(size int) error {
	if size == 0 {
		return nil
	}
	if _, err := io.ReadFull(c.r, c.head[:1]); err != nil {
		return err
	}
	c.home.Store(c.head[0] != 0)
	return c.skip(size - 1)
}

// closePeer ends the connections of a client.
func (s *Server) closePeer(c *session, size int) error {
	if size < key.Size {
		return errShort
	}
	k, err := c.readKey()
	if err != nil {
		return err
	}
	s.Disconnect(k)
	return c.skip(size - key.Size)
}
