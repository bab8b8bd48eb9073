package magicsock

import (
	"errors"
	"net/netip"
	"time"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/internal/path"
)

// handleDisco acts on a disco message. Only the loop calls it. Whatever is not
// sealed by a peer's disco key for ours is dropped; so is a message whose peer
// has meanwhile gone.
func (c *Conn) handleDisco(packet discoPacket) {
	p := packet.from
	from, ok := disco.Source(packet.data)
	if !ok || p.disco.IsZero() || from != p.disco || !c.current(p) {
		return
	}
	message, err := disco.Open(packet.data, p.sharedWith(c.disco))
	if err != nil {
		if !errors.Is(err, disco.ErrUnknownType) {
			c.log.Debug("a disco message is dropped", "peer", p.key.Short(), "err", err)
		}
		return
	}
	if packet.addr.IsValid() {
		c.handleDirect(p, packet, message)
	} else {
		c.handleRelayed(p, packet.region, message)
	}
}

// handleDirect acts on a message that came from an address on the underlay.
func (c *Conn) handleDirect(p *peer, packet discoPacket, message disco.Message) {
	from := packet.addr
	switch m := message.(type) {
	case disco.Ping:
		if p = c.owner(p, m); p == nil {
			return
		}
		c.cameBy(p, packet)
		// First the table, then the pong: the peer sends data when it has the
		// pong, and by then we know who is at that address.
		c.addrs.set(from, p)
		c.pongDirect(p, packet, m.TxID)
		c.happened(p, func(path *path.Peer, now time.Time) path.Output { return path.HandlePing(now, from) })
	case disco.Pong:
		// Of those with the disco key one has been pinged; the pong does not say
		// which.
		for _, p := range (*c.discos.Load())[p.disco] {
			if c.pongCame(p, packet, m.TxID) {
				return
			}
		}
	case disco.CallMeMaybe, disco.Hello, disco.KeyOffer, disco.KeyAnswer:
		// Only a relay says truly who sent it.
	}
}

// pongCame acts on a pong, and reports whether p was pinged for it.
func (c *Conn) pongCame(p *peer, packet discoPacket, tx disco.TxID) bool {
	from := packet.addr
	c.cameBy(p, packet)
	if c.asked.answered(p, tx, Pong{Direct: from}) {
		return true
	}
	answered := c.happened(p, func(path *path.Peer, now time.Time) path.Output {
		return path.HandlePong(now, from, tx)
	})
	if answered {
		c.addrs.set(from, p)
	}
	return answered
}

// owner returns the peer that a ping is from, of those that share a disco key
// with p: the one it names, or p when it names none. It returns nil when that is
// no peer: then p has renewed its node key, which we are about to hear, and must
// not think that we know that this address is the new key's.
func (c *Conn) owner(p *peer, ping disco.Ping) *peer {
	if ping.NodeKey.IsZero() {
		return p
	}
	if named := (*c.peers.Load())[ping.NodeKey]; named != nil && named.disco == p.disco {
		return named
	}
	return nil
}

// handleRelayed acts on a message that came through a relay region.
func (c *Conn) handleRelayed(p *peer, region int, message disco.Message) {
	switch m := message.(type) {
	case disco.Ping:
		// Peers and `tailscale ping` want to know whether we are there, by any
		// way they try.
		c.pongRelayed(p, region, m.TxID)
	case disco.Pong:
		// Paths are not pinged through relays, but users do.
		c.asked.answered(p, m.TxID, Pong{Relay: region})
	case disco.CallMeMaybe:
		c.happened(p, func(path *path.Peer, now time.Time) path.Output {
			return path.HandleCallMeMaybe(now, m.Endpoints)
		})
	case disco.Hello:
		c.handleHello(p, m)
	case disco.KeyOffer:
		c.handleOffer(p, m)
	case disco.KeyAnswer:
		c.handleKeyAnswer(p, m)
	}
}

// pongDirect answers a ping, by the socket and to the address that it came by,
// and tells the peer that address.
func (c *Conn) pongDirect(p *peer, ping discoPacket, tx disco.TxID) {
	to := ping.addr
	u := c.sockets.to(to.Addr())
	if ping.by != nil {
		u = ping.by.conn
	}
	if u == nil {
		return
	}
	pong := disco.Seal(nil, c.discoPublic, p.sharedWith(c.disco), disco.Pong{TxID: tx, Src: to})
	if err := u.WriteBatch([][]byte{pong}, to); err != nil {
		c.log.Debug("a pong is lost", "peer", p.key.Short(), "to", to, "err", err)
	}
}

// pongRelayed answers a ping that came through a relay region, the same way
// back.
func (c *Conn) pongRelayed(p *peer, region int, tx disco.TxID) {
	src := disco.RegionAddr(region)
	if src == (netip.AddrPort{}) {
		return
	}
	c.sendRelayedDisco(p, region, disco.Pong{TxID: tx, Src: src})
}

// sendRelayedDisco sends a message through a relay region, unless that is 0 or
// the peer has no disco key.
func (c *Conn) sendRelayedDisco(p *peer, region int, m disco.Message) {
	if region == 0 || p.disco.IsZero() {
		return
	}
	packet := disco.Seal(nil, c.discoPublic, p.sharedWith(c.disco), m)
	if err := c.relays.Send(region, p.key, packet); err != nil {
		c.log.Debug("a disco message is lost", "peer", p.key.Short(), "region", region, "err", err)
	}
}
