package control

import (
	"net"
	"sync"
	"time"
)

// A Spare is the connection by which a coordinator has shown its key. The Noise
// connection that comes next goes by it, which saves the round trips of TCP and
// TLS. The zero value has none yet. It is closed by [Spare.Close], or by who takes
// the connection.
type Spare struct {
	mu     sync.Mutex
	conn   net.Conn // nil: none
	put    time.Time
	closed bool
}

// spareTime is how long a spare connection is good: servers close idle ones.
const spareTime = 5 * time.Second

// keep takes a connection over, in place of another.
func (s *Spare) keep(nc net.Conn) {
	if s == nil {
		nc.Close()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
	if s.closed {
		nc.Close()
		return
	}
	s.conn, s.put = nc, time.Now()
}

// take returns the connection, or nil.
func (s *Spare) take() net.Conn {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.put) >= spareTime {
		s.drop()
	}
	nc := s.conn
	s.conn = nil
	return nc
}

func (s *Spare) drop() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// Close closes the connection, and those that come later.
func (s *Spare) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.drop()
}
