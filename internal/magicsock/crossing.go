package magicsock

import (
	"slices"
	"time"
)

// Of two initiations that cross, the one of the smaller key goes first:
//
//	smaller key ── initiation ──╲╱── initiation ── larger key
//	   holds it ────────────────╱╲──────────────── answers
//	   drops it ──────────────── response ──────── its own is given up
//
// It does not matter whether the other node knows of that.

// crossed is an initiation of a peer that crosses ours.
type crossed struct {
	peer   *peer
	ours   begun
	region int // of the relay it came through; 0: none
	data   []byte
}

// held are the initiations that crossed ours and wait, one of a peer at most.
type held struct {
	initiations []crossed
	alarm       alarm // for the first to be let go
}

// keepCrossed hands the loop a copy of a peer's initiation, if it has time: if
// not, WireGuard sends another. Receivers call it.
func (c *Conn) keepCrossed(p *peer, ours begun, region int, packet []byte) {
	if len(c.inbox.crossings) == cap(c.inbox.crossings) {
		return
	}
	select {
	case c.inbox.crossings <- crossed{p, ours, region, slices.Clone(packet)}:
	default:
	}
}

// handleCrossed holds a peer's initiation until ours is answered, or lets it go
// first.
func (c *Conn) handleCrossed(x crossed) {
	if c.node.Compare(x.peer.key) > 0 {
		c.letGo(x)
		return
	}
	c.held.initiations = slices.DeleteFunc(c.held.initiations, func(h crossed) bool { return h.peer == x.peer })
	c.held.initiations = append(c.held.initiations, x)
	c.held.setAlarm()
}

// endCrossings lets those initiations go that have been held long enough.
func (c *Conn) endCrossings() {
	now := time.Now()
	c.held.initiations = slices.DeleteFunc(c.held.initiations, func(x crossed) bool {
		due := now.Sub(x.ours.at) >= crossingTime
		if due {
			c.letGo(x)
		}
		return due
	})
	c.held.setAlarm()
}

func (h *held) setAlarm() {
	var due time.Time
	for _, x := range h.initiations {
		if at := x.ours.at.Add(crossingTime); due.IsZero() || at.Before(due) {
			due = at
		}
	}
	h.alarm.set(due)
}

// letGo lets WireGuard have an initiation that crossed ours, unless that is
// answered.
func (c *Conn) letGo(x crossed) {
	if x.peer.handshakes.giveUp(x.ours) {
		c.release(x.region, x.peer.key, x.data)
	}
}
