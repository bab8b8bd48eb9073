package netstack

import (
	"net"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// TestVanishedPeerIsNoticed holds the settings: gVisor's clock is the real one,
// and what they do takes two minutes.
func TestVanishedPeerIsNoticed(t *testing.T) {
	a, b := newPair(t)
	client, server := connect(t, a, b, b4)
	for side, conn := range map[string]net.Conn{"dialed": client, "accepted": server} {
		ep := conn.(*tcpConn).ep
		if !ep.SocketOptions().GetKeepAlive() {
			t.Errorf("the %s connection is not kept alive", side)
		}
		var idle tcpip.KeepaliveIdleOption
		var interval tcpip.KeepaliveIntervalOption
		ep.GetSockOpt(&idle)
		ep.GetSockOpt(&interval)
		count, _ := ep.GetSockOptInt(tcpip.KeepaliveCountOption)
		if got := time.Duration(idle) + time.Duration(count)*time.Duration(interval); got != 150*time.Second {
			t.Errorf("the %s connection gives its peer up after %v", side, got)
		}
	}
}
