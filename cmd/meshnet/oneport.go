package main

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"
)

const (
	firstByteTimeout = 10 * time.Second
	maxSilent        = 1024 // connections whose first byte has not come
	handshakeRecord  = 0x16 // how a connection of TLS begins (RFC 8446, section 5.1)
)

// A onePort parts the connections of one listener into those that begin with
// TLS and the rest, so that a relay, which is reached over TLS alone, and a
// coordinator on plain HTTP need but one port.
type onePort struct {
	ln         net.Listener
	tls, plain *branch
	silent     chan struct{} // a place for each
	closed     chan struct{}
	close      sync.Once
}

// splitTLS begins to accept the connections of ln, which ends when either of
// the two listeners is closed.
func splitTLS(ln net.Listener) (tls, plain net.Listener) {
	p := &onePort{ln: ln, silent: make(chan struct{}, maxSilent), closed: make(chan struct{})}
	p.tls = &branch{port: p, conns: make(chan net.Conn)}
	p.plain = &branch{port: p, conns: make(chan net.Conn)}
	go p.accept()
	return p.tls, p.plain
}

func (p *onePort) accept() {
	defer p.end()
	pause := time.Duration(0)
	for {
		c, err := p.ln.Accept()
		if err == nil {
			pause = 0
			p.welcome(c)
			continue
		}
		if passing, ok := err.(interface{ Temporary() bool }); !ok || !passing.Temporary() {
			return
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		select {
		case <-time.After(pause):
		case <-p.closed:
			return
		}
	}
}

// welcome waits for what a connection begins with, unless too many do.
func (p *onePort) welcome(c net.Conn) {
	select {
	case p.silent <- struct{}{}:
		go p.part(c)
	default:
		c.Close()
	}
}

func (p *onePort) part(c net.Conn) {
	defer func() { <-p.silent }()
	first := make([]byte, 1)
	c.SetReadDeadline(time.Now().Add(firstByteTimeout))
	if _, err := io.ReadFull(c, first); err != nil {
		c.Close()
		return
	}
	c.SetReadDeadline(time.Time{})
	to := p.plain
	if first[0] == handshakeRecord {
		to = p.tls
	}
	select {
	case to.conns <- &begun{Conn: c, first: bytes.NewReader(first)}:
	case <-p.closed:
		c.Close()
	}
}

func (p *onePort) end() {
	p.close.Do(func() {
		close(p.closed)
		p.ln.Close()
	})
}

// A branch is the listener for one kind of connection.
type branch struct {
	port  *onePort
	conns chan net.Conn
}

func (b *branch) Accept() (net.Conn, error) {
	select {
	case c := <-b.conns:
		return c, nil
	case <-b.port.closed:
		return nil, net.ErrClosed
	}
}

func (b *branch) Close() error {
	b.port.end()
	return nil
}

func (b *branch) Addr() net.Addr { return b.port.ln.Addr() }

// A begun connection is one of which a byte has been read.
type begun struct {
	net.Conn
	first *bytes.Reader
}

func (c *begun) Read(p []byte) (int, error) {
	if len(p) > 0 && c.first.Len() > 0 {
		return c.first.Read(p)
	}
	return c.Conn.Read(p)
}
