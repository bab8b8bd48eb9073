// Package either has a listener for connections with TLS and without.
package either

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync"
)

// NewListener returns a listener whose connections are of TLS if their first byte
// says so. They are for protocols in which the client speaks first, as in HTTP; a
// web server does not notice which has TLS.
func NewListener(ln net.Listener, config *tls.Config) net.Listener { return listener{ln, config} }

type listener struct {
	net.Listener
	config *tls.Config
}

func (ln listener) Accept() (net.Conn, error) {
	nc, err := ln.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &undecided{Conn: nc, config: ln.config}, nil
}

// handshakeRecord is the first byte of TLS (RFC 8446, section 5.1).
const handshakeRecord = 0x16

// An undecided connection is one of TLS if its first byte says so, which is
// read by the first Read.
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
