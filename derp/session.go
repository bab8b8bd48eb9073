package derp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

const (
	// How often a client is told that a peer is not here.
	notHerePerSecond = 1
	notHereBurst     = 3

	maxRoutes = 4096 // peers that a client sends to

	// A disco packet: magic, sender's key, nonce, box. That is all that a
	// relay knows of disco.
	discoMagic   = "TS💬"
	minDiscoSize = len(discoMagic) + key.Size + 24
)

// session is one connection of a client that has logged in. Two goroutines
// serve it: one reads what the client sends and passes it on, the other writes
// what is in its outbox.
type session struct {
	key    key.NodePublic
	nc     net.Conn
	out    *outbox
	active atomic.Bool // the newest connection of its key, so packets go here

	// Owned by the reader.
	r       *bufio.Reader
	notHere *bucket
	// routes has the connections to which this client has sent packets. It
	// saves the look-up for the next one, and says who must hear when the
	// client is gone.
	routes map[key.NodePublic]*session
}

// serve logs a client in and works for it until the connection ends.
func (s *Server) serve(nc net.Conn, rw *bufio.ReadWriter) error {
	client, err := s.login(nc, rw)
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	c := &session{
		key:     client,
		nc:      nc,
		out:     newOutbox(&s.messages),
		r:       rw.Reader,
		notHere: newBucket(notHerePerSecond, notHereBurst),
		routes:  make(map[key.NodePublic]*session),
	}
	// Registered first, so that a client who reads that it is in can be
	// reached; what comes for it until then waits in the outbox.
	s.register(c)
	defer s.leave(c)
	if err := sendServerInfo(rw.Writer, s.key, client); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	nc.SetDeadline(time.Time{})
	s.log.Debug("derp: client is in", "client", client.Short(), "addr", nc.RemoteAddr())

	ctx, cancel := context.WithCancel(s.ctx)
	written := make(chan error, 1)
	go func() {
		written <- s.write(ctx, c)
		closeNow(nc) // ends the reader
	}()
	err = s.read(c)
	cancel()
	closeNow(nc) // ends a write under way
	return errors.Join(err, <-written)
}

// login returns the client's key. The connection has a deadline meanwhile.
func (s *Server) login(nc net.Conn, rw *bufio.ReadWriter) (key.NodePublic, error) {
	if err := sendServerKey(rw.Writer, s.public); err != nil {
		return key.NodePublic{}, err
	}
	client, err := readClientInfo(rw.Reader, s.key)
	if err != nil {
		return key.NodePublic{}, err
	}
	if s.admit != nil {
		ctx, cancel := context.WithTimeout(s.ctx, handshakeTimeout)
		defer cancel()
		if err := s.admit(ctx, client, remoteAddr(nc)); err != nil {
			return key.NodePublic{}, fmt.Errorf("client %s is not admitted: %w", client.Short(), err)
		}
	}
	return client, nil
}

// leave takes c out, and tells those who have heard from its key, when this
// was its last connection, that it is gone.
func (s *Server) leave(c *session) {
	last := s.unregister(c)
	c.out.close()
	if !last {
		return
	}
	for _, dst := range c.routes {
		s.tellGone(dst, c.key, PeerGoneDisconnected)
	}
}

// tellGone puts a PeerGone frame about peer into dst's outbox.
func (s *Server) tellGone(dst *session, peer key.NodePublic, reason PeerGoneReason) {
	m := s.messages.get(FramePeerGone, peer, 1)
	m.data[0] = byte(reason)
	dst.out.push(laneControl, m)
}

// read does what the client's frames ask for, until the connection ends.
func (s *Server) read(c *session) error {
	for {
		typ, size, err := readHeader(c.r, maxFrameSize)
		if err != nil {
			return err
		}
		switch typ {
		case frameSendPacket:
			err = s.forward(c, size)
		case framePing:
			err = s.answerPing(c, size)
		case frameForwardPacket, frameWatchConns, frameClosePeer:
			err = fmt.Errorf("frame of type %02x is for relays of a mesh", byte(typ))
		default: // NotePreferred, Pong, and what we do not know
			_, err = c.r.Discard(size)
		}
		if err != nil {
			return err
		}
	}
}

// forward passes a packet on to its destination.
func (s *Server) forward(c *session, size int) error {
	if size < key.Size || size > key.Size+MaxPacketSize {
		return fmt.Errorf("packet frame of %d bytes", size)
	}
	to, err := c.r.Peek(key.Size)
	if err != nil {
		return err
	}
	dst := key.NodePublicFromRaw32([key.Size]byte(to))
	c.r.Discard(key.Size)
	m := s.messages.get(FrameRecvPacket, c.key, size-key.Size)
	if _, err := io.ReadFull(c.r, m.data); err != nil {
		s.messages.put(m)
		return err
	}

	peer := s.route(c, dst)
	disco := isDisco(m.data)
	switch {
	case peer != nil && disco:
		peer.out.push(laneDisco, m)
	case peer != nil:
		peer.out.push(laneOther, m)
	default:
		s.messages.put(m)
		if disco && c.notHere.take(time.Now(), 1) {
			s.tellGone(c, dst, PeerGoneNotHere)
		}
	}
	return nil
}

// route returns the connection that gets packets for dst, or nil.
func (s *Server) route(c *session, dst key.NodePublic) *session {
	if peer := c.routes[dst]; peer != nil && peer.active.Load() {
		return peer
	}
	peer := s.lookup(dst)
	if peer == nil {
		delete(c.routes, dst) // what it leads to has ended
		return nil
	}
	if len(c.routes) >= maxRoutes {
		clear(c.routes) // some will not hear when c leaves
	}
	c.routes[dst] = peer
	return peer
}

func isDisco(packet []byte) bool {
	return len(packet) >= minDiscoSize && string(packet[:len(discoMagic)]) == discoMagic
}

func (s *Server) answerPing(c *session, size int) error {
	if size < pingSize || size > maxPingSize {
		return fmt.Errorf("ping of %d bytes", size)
	}
	m := s.messages.get(FramePong, key.NodePublic{}, pingSize)
	if _, err := io.ReadFull(c.r, m.data); err != nil {
		return err
	}
	c.out.push(laneControl, m)
	_, err := c.r.Discard(size - pingSize)
	return err
}

// write writes what comes into the outbox, and a keep-alive now and then,
// until ctx or the connection ends.
func (s *Server) write(ctx context.Context, c *session) error {
	conn := &timedConn{Conn: c.nc, write: serverWriteTimeout}
	keepAlive := time.NewTicker(keepAlivePeriod + rand.N(keepAliveJitter))
	defer keepAlive.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.out.wake:
		case <-keepAlive.C:
			c.out.push(laneControl, s.messages.get(FrameKeepAlive, key.NodePublic{}, 0))
		}
		if err := s.drain(c.out, conn); err != nil {
			return err
		}
	}
}

// drain writes all that is in the outbox, in as few writes as possible. The
// buffer is borrowed: most clients are idle most of the time.
func (s *Server) drain(out *outbox, conn io.Writer) error {
	w, _ := s.writers.Get().(*bufio.Writer)
	if w == nil {
		w = bufio.NewWriterSize(nil, serverBuffer)
	}
	w.Reset(conn)
	defer func() {
		w.Reset(nil)
		s.writers.Put(w)
	}()
	for m := out.pop(); m != nil; m = out.pop() {
		err := m.writeTo(w)
		s.messages.put(m)
		if err != nil {
			return err
		}
	}
	return w.Flush()
}

func (m *message) writeTo(w *bufio.Writer) error {
	switch m.typ {
	case FrameRecvPacket, FramePeerGone:
		return writePeerFrame(w, m.typ, m.peer, m.data)
	default:
		return writeFrame(w, m.typ, m.data)
	}
}
