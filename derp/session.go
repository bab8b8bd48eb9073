package derp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/meshnet-go/meshnet/key"
)

// session is one connection of a client that has logged in. One goroutine reads
// what the client sends and passes it on; another writes what is in its outbox,
// while there is something.
type session struct {
	destination
	key     key.NodePublic
	nc      net.Conn
	addr    netip.AddrPort
	flags   PeerFlags // what it is
	trusted bool      // it knows the mesh key
	since   time.Time
	home    atomic.Bool // it says that this is its home

	// Owned by the reader.
	r       io.Reader
	head    [headerSize + key.Size]byte
	sender  sender
	limit   *bucket // nil: none
	notHere *bucket
	ways    routes
	// forwarded are the ways of packets that another relay sends on, by source.
	forwarded map[key.NodePublic]routes
}

// newSession makes the session of a client that has proven its key.
func (s *Server) newSession(hello hello, nc net.Conn, br *bufio.Reader) *session {
	c := &session{
		key:     hello.key,
		nc:      nc,
		addr:    remoteAddr(nc),
		flags:   hello.flags(),
		trusted: hello.trusted,
		since:   time.Now(),
		r:       reader(nc, br),
		sender:  newSender(),
		notHere: newBucket(notHerePerSecond, notHereBurst),
		ways:    make(routes),
	}
	if c.trusted {
		c.out = newOutbox(&s.messages, meshPacketBytes, meshDiscoBytes)
		c.conn = &timedConn{Conn: nc, write: meshWriteTimeout}
		c.news = newNews()
		c.forwarded = make(map[key.NodePublic]routes)
		return c
	}
	c.out = newOutbox(&s.messages, packetBytes, discoBytes)
	c.conn = &timedConn{Conn: nc, write: serverWriteTimeout}
	if s.limit.BytesPerSecond > 0 {
		c.limit = newBucket(s.limit.BytesPerSecond, s.limit.Burst)
	}
	return c
}

// reader returns what reads from nc, after what br has read already. TLS keeps
// the rest of a record that was read in part: another buffer would be another
// copy of each packet, and memory for each idle client.
func reader(nc net.Conn, br *bufio.Reader) io.Reader {
	if _, ok := nc.(*tls.Conn); ok {
		return &unbuffered{left: br, nc: nc}
	}
	return br
}

// unbuffered reads what is left in a buffer, and then past it.
type unbuffered struct {
	left *bufio.Reader // nil when it is empty
	nc   net.Conn
}

func (u *unbuffered) Read(p []byte) (int, error) {
	if u.left != nil && u.left.Buffered() > 0 {
		return u.left.Read(p[:min(len(p), u.left.Buffered())])
	}
	u.left = nil
	return u.nc.Read(p)
}

// serve logs a client in and works for it until the connection ends.
func (s *Server) serve(nc net.Conn, rw *bufio.ReadWriter, notIdeal bool) error {
	hello, err := s.login(nc, rw)
	if err != nil {
		s.past.refuse()
		return fmt.Errorf("log in: %w", err)
	}
	hello.notIdeal = notIdeal
	c := s.newSession(hello, nc, rw.Reader)
	// The first that is written is that the client is in, but it is written
	// only when others can reach it here.
	info, err := s.serverInfo(c)
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	start := c.out.tell(info)
	s.join(c)
	defer s.leave(c)
	nc.SetReadDeadline(time.Time{})
	s.start(&c.destination, start)
	s.log.Debug("derp: client is in", "client", c.key.Short(), "addr", c.addr)

	ctx, cancel := context.WithCancel(s.ctx)
	defer s.keepAlive(ctx, c).Stop()
	defer cancel()
	err = s.read(ctx, c)
	closeNow(nc) // ends a write under way
	c.out.close()
	return errors.Join(err, c.err)
}

// keepAlive tells the client now and then that we are there, until ctx ends.
func (s *Server) keepAlive(ctx context.Context, c *session) *time.Timer {
	period := keepAlivePeriod + rand.N(keepAliveJitter)
	var timer *time.Timer
	timer = time.AfterFunc(math.MaxInt64, func() {
		if ctx.Err() == nil {
			s.tell(&c.destination, s.messages.get(FrameKeepAlive, key.NodePublic{}, 0))
			timer.Reset(period)
		}
	})
	timer.Reset(period)
	return timer
}
