package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync"
)

// either is a listener for connections with TLS and without.
type either struct {
	net.Listener
	config *tls.Config
}

func (e either) Accept() (net.Conn, error) {
	nc, err := e.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &undecided{Conn: nc, config: e.config}, nil
}

// handshakeRecord is the first byte of TLS (RFC 8446, section 5.1).
const handshakeRecord = 0x16

// An undecided connection is one of TLS if its first byte says so, which is
// read by the first Read. Its web server writes nothing before.
type undecided struct {
	net.Conn // below
	config   *tls.Config

	begin  sync.Once
	stream net.Conn // what the connection turned out to be
	err    error
}

func (u *undecided) Read(p []byte) (int, error) {
	u.begin.Do(u.decide)
	if u.err != nil {
		return 0, u.err
	}
	return u.stream.Read(p)
}

func (u *undecided) Write(p []byte) (int, error) {
	u.begin.Do(u.decide)
	if u.err != nil {
		return 0, u.err
	}
	return u.stream.Write(p)
}

func (u *undecided) decide() {
	first := make([]byte, 1)
	if _, u.err = io.ReadFull(u.Conn, first); u.err != nil {
		return
	}
	begun := &resumed{u.Conn, io.MultiReader(bytes.NewReader(first), u.Conn)}
	u.stream = begun
	if first[0] == handshakeRecord {
		u.stream = tls.Server(begun, u.config)
	}
}

// A resumed connection is one of which a byte has been read.
type resumed struct {
	net.Conn
	r io.Reader
}

func (r *resumed) Read(p []byte) (int, error) { return r.r.Read(p) }
