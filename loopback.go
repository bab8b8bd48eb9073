package meshnet

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net"
)

// Loopback serves SOCKS5 and HTTP proxying into the mesh on one port of
// 127.0.0.1, for programs on the machine that cannot be given a Dial function.
// It returns the port's address, and the password that clients must give, with
// any user name: every user of the machine can reach the port. The password is
// new in each process.
//
// Loopback starts the node if need be and does not wait for it. Every call
// returns the same; [Server.Close] ends it. A program that wants another port,
// or other rules, serves [Server.SOCKS5] and [Server.HTTPProxy] itself.
func (s *Server) Loopback() (addr, credential string, err error) {
	if _, err := s.start(); err != nil {
		return "", "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", "", net.ErrClosed
	}
	if s.loopback == nil {
		if s.loopback, err = s.serveLoopback(); err != nil {
			return "", "", fmt.Errorf("meshnet: serving proxies on loopback: %w", err)
		}
	}
	return s.loopback.addr, s.loopback.credential, nil
}

// A loopback is the port of Server.Loopback.
type loopback struct {
	addr, credential string

	stop context.CancelFunc
	done chan struct{} // closed when it is over
}

func (s *Server) serveLoopback() (*loopback, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &loopback{addr: ln.Addr().String(), credential: rand.Text(), stop: stop, done: make(chan struct{})}
	socks, proxy := s.SOCKS5(), s.HTTPProxy()
	socks.Auth, proxy.Auth = l.auth, l.auth
	proxy.SOCKS = socks.ServeConn
	go func() {
		defer close(l.done)
		proxy.Serve(ctx, ln) // ends with ctx
	}()
	return l, nil
}

func (l *loopback) auth(_, password string) bool {
	return subtle.ConstantTimeCompare([]byte(password), []byte(l.credential)) == 1
}

// close ends the port and every connection through it.
func (l *loopback) close() {
	l.stop()
	<-l.done
}
