package meshnet

import (
	"context"
	"fmt"
	"time"
)

// Close takes the node off the mesh and ends everything that was opened
// through it: listeners, connections, waiting calls. Peers' TCP connections are
// reset. An ephemeral node logs out. Close returns when all of that is over,
// within a second; wireguard-go's idle workers end by themselves a moment later.
// Close may be called at any time, from several goroutines, and more than once.
// See [Server.Shutdown] to let connections come to their end.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	n, proxies := s.node, s.loopback
	s.mu.Unlock()
	if proxies != nil {
		proxies.close()
	}
	if n != nil {
		n.close()
	}
	return nil
}

// Shutdown closes all TCP listeners, waits until the TCP connections have been
// closed and what was written to them has arrived, and then is [Server.Close].
// New connections are refused meanwhile; datagrams, Dial and all else go on as
// before. When ctx ends first, the connections that are left are reset, and the
// error wraps ctx's: in either case the Server is closed.
//
// A server of connections of its own ends before: with net/http it is
// [net/http.Server.Shutdown] that closes connections which are idle.
func (s *Server) Shutdown(ctx context.Context) error {
	var err error
	if n := s.running(); n != nil {
		n.stack.StopListening()
		err = n.stack.Drain(ctx)
		n.waitLull(n.bytesSent(), 0) // the last of a connection's packets acknowledges its end
	}
	s.Close()
	if err != nil {
		return fmt.Errorf("meshnet: waiting for connections to end: %w", err)
	}
	return nil
}

const (
	// farewellPatience bounds how long Close waits for the resets of connections
	// to leave.
	farewellPatience = 200 * time.Millisecond
	// farewellLull is how long nothing leaves when all has left, relays' queues
	// included.
	farewellLull = 10 * time.Millisecond
	// resetSize is the least that a reset is long in WireGuard: header, TCP over
	// IPv4, filled up to 16 bytes, and tag.
	resetSize = 16 + 48 + 16

	// logoutPatience bounds how long Close waits for the coordinator to hear that
	// an ephemeral node has gone. It forgets the node a little later anyway.
	logoutPatience = 600 * time.Millisecond
)

// hangUp resets the connections and gives the resets time to leave: WireGuard
// sends them in goroutines of its own, and tells only how much it has sent.
func (n *node) hangUp() {
	before := n.bytesSent()
	told := n.stack.HangUp()
	if told == 0 {
		return
	}
	n.waitLull(before, uint64(told)*resetSize)
}

// waitLull waits until nothing leaves the node, after so many bytes have left at
// least since there were before, but not for long.
func (n *node) waitLull(before, least uint64) {
	patience := time.NewTimer(farewellPatience)
	defer patience.Stop()
	look := time.NewTicker(farewellLull)
	defer look.Stop()
	for last := before; ; {
		select {
		case <-look.C:
		case <-patience.C:
			return
		}
		sent := n.bytesSent()
		if sent == last && sent-before >= least {
			return
		}
		last = sent
	}
}

// bytesSent is what WireGuard has sent so far.
func (n *node) bytesSent() (sum uint64) {
	if n.wg == nil {
		return 0
	}
	stats, err := n.wg.Stats()
	if err != nil {
		n.cfg.log.Debug("reading WireGuard's counters", "err", err)
	}
	for _, peer := range stats {
		sum += peer.TxBytes
	}
	return sum
}
