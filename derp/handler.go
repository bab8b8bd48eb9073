package derp

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/internal/wsconn"
)

const (
	pathDERP    = "/derp"
	upgradeDERP = "DERP"

	fastStartHeader = "Derp-Fast-Start" // 1: the client knows our key already
	idealNodeHeader = "Ideal-Node"
)

// ServeHTTP implements [net/http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case pathDERP:
		s.serveRelay(w, r)
	case "/derp/probe", pathLatency:
		serveProbe(w, r)
	case "/generate_204":
		serveNoContent(w, r)
	default:
		http.NotFound(w, r)
	}
}

// serveRelay takes the connection out of HTTP, and serves it.
func (s *Server) serveRelay(w http.ResponseWriter, r *http.Request) {
	if r.TLS == nil && !s.plain {
		http.Error(w, "DERP is served over TLS", http.StatusForbidden)
		return
	}
	if wsconn.Offered(r, subprotocol) {
		s.serveWebSocket(w, r)
		return
	}
	hijacker, ok := w.(http.Hijacker) // HTTP/2 has none
	if !ok || !strings.EqualFold(r.Header.Get("Upgrade"), upgradeDERP) {
		w.Header().Set("Upgrade", upgradeDERP)
		w.Header().Set("Connection", "Upgrade")
		http.Error(w, "DERP needs an upgrade of an HTTP/1.1 connection", http.StatusUpgradeRequired)
		return
	}
	nc, rw, err := hijacker.Hijack()
	if err != nil {
		s.log.Warn("derp: the web server does not give its connection away", "err", err)
		http.Error(w, "DERP is not available here", http.StatusInternalServerError)
		return
	}
	if !s.registry.addConn(nc) {
		s.past.refuse()
		refuse(nc, rw.Writer)
		return
	}
	if r.Header.Get(fastStartHeader) != "1" {
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\n"+
			"Upgrade: %s\r\n"+
			"Connection: Upgrade\r\n"+
			"Derp-Version: %d\r\n"+
			"Derp-Public-Key: %s\r\n"+
			"\r\n", upgradeDERP, protocolVersion, s.public.Hex())
	}
	s.serveConn(nc, rw, isNotIdeal(r))
}

// serveConn serves a connection that was added to the registry. It returns at
// once: what the web server needed for the request is free meanwhile, and a
// new goroutine begins with a small stack.
func (s *Server) serveConn(nc net.Conn, rw *bufio.ReadWriter, notIdeal bool) {
	nc.SetDeadline(time.Now().Add(handshakeTimeout))
	go func() {
		defer s.registry.removeConn(nc)
		defer closeNow(nc)
		err := s.serve(nc, rw, notIdeal)
		s.log.Debug("derp: connection ended", "addr", nc.RemoteAddr(), "err", err)
	}()
}

// isNotIdeal reports whether the client would rather be at another relay of the
// region.
func isNotIdeal(r *http.Request) bool { return r.Header.Get(idealNodeHeader) != "" }

// refuse turns a connection away: the relay is full, or closed.
func refuse(nc net.Conn, w *bufio.Writer) {
	defer closeNow(nc)
	nc.SetDeadline(time.Now().Add(serverWriteTimeout))
	w.WriteString("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	w.Flush()
}

// serveProbe answers those who measure how far the relay is, from browsers
// too.
func serveProbe(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
}

// serveNoContent proves to a client that no captive portal stands between it
// and us: it echoes a word that a portal would not know of.
func serveNoContent(w http.ResponseWriter, r *http.Request) {
	if challenge := r.Header.Get("X-Tailscale-Challenge"); isChallenge(challenge) {
		w.Header().Set("X-Tailscale-Response", "response "+challenge)
	}
	w.Header().Set("Cache-Control", "no-cache, no-store, must-revalidate, no-transform, max-age=0")
	w.WriteHeader(http.StatusNoContent)
}

func isChallenge(s string) bool {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:"
	return s != "" && len(s) <= 64 && strings.Trim(s, alphabet) == ""
}

// remoteAddr returns where a client connects from, or the zero value.
func remoteAddr(nc net.Conn) netip.AddrPort {
	addr, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
