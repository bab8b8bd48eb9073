// Package wsconn has streams of bytes that travel in the binary messages of a
// WebSocket: that is how browsers reach coordinators and relays.
//
//	message  │ 1…16 KiB │ 1…16 KiB │ …
//	stream   │  no boundary means anything
//
// A subprotocol, which both sides name, says what the stream is. A browser has
// its WebSocket from the page that it shows (browser_js.go); everybody else has
// github.com/coder/websocket on a connection (conn.go).
package wsconn

import (
	"fmt"
	"net/http"
	"strings"
)

// maxMessage is the size of the largest message that is sent. Tailscale's relays
// and clients read no message of more than 32 KiB (observed in v1.102.5), though
// a packet may have twice as much.
const maxMessage = 16 << 10

// SubprotocolError is a server's that has WebSockets, but not for us.
type SubprotocolError struct{ Wanted string }

func (e *SubprotocolError) Error() string {
	return fmt.Sprintf("the server has WebSockets, but none for %q", e.Wanted)
}

// Offered reports whether a request asks for a WebSocket and offers the
// subprotocol.
func Offered(r *http.Request, subprotocol string) bool {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return false
	}
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for offered := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(offered) == subprotocol {
				return true
			}
		}
	}
	return false
}
