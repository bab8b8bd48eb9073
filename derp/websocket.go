package derp

import (
	"bufio"
	"net/http"

	"github.com/meshnet-go/meshnet/internal/wsconn"
)

// subprotocol is what both sides of a WebSocket must name. Without it, early
// versions of Tailscale meant the ordinary upgrade.
const subprotocol = "derp"

// serveWebSocket is serveRelay for browsers and for those whom nothing else
// gets through to us. A page of any origin may come: what proves who a client
// is, is its key, which no page gets by a visitor's browser.
func (s *Server) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	nc, err := wsconn.Accept(w, r, subprotocol)
	if err != nil { // the client has been told
		s.log.Debug("derp: a WebSocket was not accepted", "addr", r.RemoteAddr, "err", err)
		return
	}
	if !s.registry.addConn(nc) {
		s.past.refuse()
		closeNow(nc)
		return
	}
	s.serveConn(nc, bufio.NewReadWriter(bufio.NewReader(nc), bufio.NewWriter(nc)), isNotIdeal(r))
}
