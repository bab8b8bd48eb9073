package magicsock

import (
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/internal/psk"
)

// Before each handshake a preshared key is agreed on with the peer, if it can
// and wants that; the initiation waits meanwhile:
//
//	WireGuard ── send ── beginnings ── loop: psk.Peer ── preshare ── WireGuard
//	                                                 └── sendNow ── the peer

// agreement is what is agreed with a peer, and being agreed.
type agreement struct {
	*psk.Peer
	initiation []byte    // that waits; nil: none
	declined   time.Time // when we last declined an offer
}

// beginning is an initiation that WireGuard has for a peer.
type beginning struct {
	peer *peer
	data []byte
}

// begin hands the loop a copy of an initiation, if it has time: if not,
// WireGuard makes another. Senders call it.
func (c *Conn) begin(p *peer, initiation []byte) {
	select {
	case c.inbox.beginnings <- beginning{p, slices.Clone(initiation)}:
	default:
	}
}

// handleBeginning agrees on a key, or sends the initiation if that cannot be.
func (c *Conn) handleBeginning(b beginning) {
	p := b.peer
	switch {
	case !c.current(p):
	case p.disco.IsZero():
		c.sendNow(p, [][]byte{b.data})
	default:
		p.agreement.initiation = b.data
		c.agree(p, c.agreementWith(p).Begin(time.Now()))
	}
}

// handleOffer answers a peer that wants a preshared key.
func (c *Conn) handleOffer(p *peer, m disco.KeyOffer) {
	now := time.Now()
	if c.preshare != nil {
		c.agree(p, c.agreementWith(p).HandleOffer(now, m))
		return
	}
	if now.Sub(p.agreement.declined) >= answerInterval {
		p.agreement.declined = now
		c.sendRelayedDisco(p, c.relayOf(p), disco.KeyAnswer{ID: m.ID, Declined: true})
	}
}

func (c *Conn) handleKeyAnswer(p *peer, m disco.KeyAnswer) {
	if c.preshare != nil {
		c.agree(p, c.agreementWith(p).HandleAnswer(m))
	}
}

func (c *Conn) agreementWith(p *peer) *psk.Peer {
	if p.agreement.Peer == nil {
		p.agreement.Peer = psk.New(c.node, p.key)
	}
	return p.agreement.Peer
}

// agree does what an agreement says.
func (c *Conn) agree(p *peer, out psk.Output) {
	if out.Key != nil {
		c.preshare(p.key, *out.Key)
		p.preshared.Store(!out.Key.IsZero())
	}
	if out.Message != nil {
		c.sendRelayedDisco(p, c.relayOf(p), out.Message)
	}
	initiation := p.agreement.initiation
	if out.Initiation != psk.Hold {
		p.agreement.initiation = nil
	}
	if out.Initiation == psk.Send && initiation != nil {
		c.sendNow(p, [][]byte{initiation})
	}
	c.agreeing.set(p, !p.agreement.Deadline().IsZero())
}

// endAgreement forgets what was agreed with a peer that is another process now,
// or that we are another node for.
func (c *Conn) endAgreement(p *peer) {
	if p.agreement.Peer == nil {
		return
	}
	p.agreement = agreement{}
	c.agreeing.set(p, false)
	if p.preshared.Swap(false) {
		c.preshare(p.key, psk.Key{})
	}
}

// agreeing are the peers whose agreements have a deadline.
type agreeing struct {
	peers []*peer
	alarm alarm // for the first
}

// set notes whether a peer is one of them.
func (a *agreeing) set(p *peer, has bool) {
	a.peers = slices.DeleteFunc(a.peers, func(q *peer) bool { return p == q })
	if has {
		a.peers = append(a.peers, p)
	}
	var due time.Time
	for _, q := range a.peers {
		if at := q.agreement.Deadline(); due.IsZero() || at.Before(due) {
			due = at
		}
	}
	a.alarm.set(due)
}

// lookAtAgreements looks at those that are due.
func (c *Conn) lookAtAgreements() {
	now := time.Now()
	for _, p := range slices.Clone(c.agreeing.peers) {
		if !p.agreement.Deadline().After(now) {
			c.agree(p, p.agreement.Tick(now))
		}
	}
}
