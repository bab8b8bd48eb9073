package simnet

import (
	"errors"
	"io"
	"net"
	"time"
)

// A stream is one end of a connection.
type stream struct {
	in, out       *half
	local, remote *net.TCPAddr

	closed bool // guarded by Network.mu
	abort  bool // SetLinger(0); likewise
}

// Read reads from the connection.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.in.readInto(p)
	if err != nil && err != io.EOF {
		err = s.opError("read", "read", err)
	}
	return n, err
}

// Write writes to the connection. It waits when the other end is 256 KiB
// behind.
func (s *stream) Write(p []byte) (int, error) {
	n, err := s.out.writeFrom(p)
	if err != nil {
		err = s.opError("write", "write", err)
	}
	return n, err
}

// Close closes the connection. What was written still arrives, and then the
// end.
func (s *stream) Close() error {
	n := s.in.circuit.net
	n.lock()
	defer n.unlock()
	if s.closed {
		return s.opError("close", "close", net.ErrClosed)
	}
	s.closed = true
	if s.abort {
		s.in.circuit.fail(errReset)
	}
	s.in.closeRead()
	s.out.closeWrite(true)
	return nil
}

// CloseWrite ends the sending direction.
func (s *stream) CloseWrite() error {
	n := s.in.circuit.net
	n.lock()
	defer n.unlock()
	if s.closed {
		return s.opError("close", "shutdown", net.ErrClosed)
	}
	s.out.closeWrite(false)
	return nil
}

// SetLinger(0) makes Close reset the connection; other numbers do not. There
// is no waiting in Close.
func (s *stream) SetLinger(seconds int) error {
	n := s.in.circuit.net
	n.lock()
	defer n.unlock()
	s.abort = seconds == 0
	return nil
}

// LocalAddr returns our address, a *net.TCPAddr.
func (s *stream) LocalAddr() net.Addr { return s.local }

// RemoteAddr returns the other's address as we know it, a *net.TCPAddr.
func (s *stream) RemoteAddr() net.Addr { return s.remote }

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline says until when reads wait.
func (s *stream) SetReadDeadline(t time.Time) error {
	return s.deadlineError(s.in.setDeadline(&s.in.read, t))
}

// SetWriteDeadline says until when writes wait.
func (s *stream) SetWriteDeadline(t time.Time) error {
	return s.deadlineError(s.out.setDeadline(&s.out.write, t))
}

func (s *stream) deadlineError(err error) error {
	if err == nil {
		return nil
	}
	return s.opError("set", "setsockopt", err)
}

func (s *stream) opError(op, call string, err error) error {
	return opError(op, call, "tcp", s.local, s.remote, err)
}
