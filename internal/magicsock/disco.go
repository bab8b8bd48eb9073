package magicsock

import (
	"errors"
	"net/netip"

	"github.com/meshnet-go/meshnet/internal/disco"
)

// handleDisco acts on a disco message. Only the loop calls it. Whatever is not
// sealed by a peer's disco key for ours is dropped; so is a message whose peer
// has meanwhile gone.
func (c *Conn) handleDisco(packet discoPacket) {
	p := packet.from
	from, ok := disco.Source(packet.data)
	if !ok || p.disco.IsZero() || from != p.disco || (*c.peers.Load())[p.key] != p {
		return
	}
	message, err := disco.Open(packet.data, p.sharedWith(c.disco))
	if err != nil {
		if !errors.Is(err, disco.ErrUnknownType) {
			c.log.Debug("a disco message is dropped", "peer", p.key.Short(), "err", err)
		}
		return
	}
	switch m := message.(type) {
	case disco.Ping:
		// Peers and `tailscale ping` want to know whether we are there, by any
		// way they try.
		c.pong(p, packet.region, m.TxID)
	case disco.Pong, disco.CallMeMaybe:
		// We ping nobody yet, and have no address to be called at.
	}
}

// pong answers a ping that came through a relay region, the same way back.
func (c *Conn) pong(p *peer, region int, tx disco.TxID) {
	src := disco.RegionAddr(region)
	if src == (netip.AddrPort{}) {
		return
	}
	pong := disco.Seal(nil, c.discoPublic, p.sharedWith(c.disco), disco.Pong{TxID: tx, Src: src})
	if err := c.relays.Send(region, p.key, pong); err != nil {
		c.log.Debug("a pong is lost", "peer", p.key.Short(), "region", region, "err", err)
	}
}
