package magicsock

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/meshnet-go/meshnet/internal/disco"
	"github.com/meshnet-go/meshnet/internal/netcheck"
	"github.com/meshnet-go/meshnet/internal/path"
	"github.com/meshnet-go/meshnet/key"
)

// What the user asks: whether a peer is there, and what the network is like.

// asked is what was asked and is not answered yet. The loop owns it.
type asked struct {
	pings  map[disco.TxID]askedPing
	rounds []askedRound
}

type askedPing struct {
	disco  key.DiscoPublic // whose pong it must be
	sent   time.Time
	answer chan<- Pong // holds one
}

type askedRound struct {
	since  time.Time
	report chan<- netcheck.Report // holds one
}

// Pong is a peer's answer to a ping.
type Pong struct {
	Latency time.Duration
	Direct  netip.AddrPort // where it came from; invalid when it came through a relay
	Relay   int            // the region that it came through; 0 when it came direct
}

// Why a peer cannot be pinged.
var (
	errNoPeer  = errors.New("no such peer")
	errNoDisco = errors.New("the peer does not speak disco")
	errNoWay   = errors.New("no path and no relay leads to the peer")
)

// Ping sends a peer one disco ping, the way that packets to it take, and waits
// for the pong. Like a packet it has a better path looked for.
func (c *Conn) Ping(ctx context.Context, k key.NodePublic) (Pong, error) {
	answer := make(chan Pong, 1)
	var tx disco.TxID
	rand.Read(tx[:])     // never fails
	err := net.ErrClosed // unless the loop says otherwise
	c.do(func() { err = c.sendAsked(k, tx, answer) })
	if err != nil {
		return Pong{}, err
	}
	defer c.do(func() { delete(c.asked.pings, tx) })
	select {
	case pong := <-answer:
		return pong, nil
	case <-ctx.Done():
		return Pong{}, ctx.Err()
	case <-c.stopped:
		return Pong{}, net.ErrClosed
	}
}

// sendAsked sends the ping of a user.
func (c *Conn) sendAsked(k key.NodePublic, tx disco.TxID, answer chan<- Pong) error {
	p := (*c.peers.Load())[k]
	switch {
	case p == nil:
		return errNoPeer
	case p.disco.IsZero():
		return errNoDisco
	}
	c.happened(p, func(path *path.Peer, now time.Time) path.Output { return path.Sent(now, false) })
	way, region := p.way(), c.relayOf(p)
	if !way.Direct.IsValid() && region == 0 {
		return errNoWay
	}
	if c.asked.pings == nil {
		c.asked.pings = make(map[disco.TxID]askedPing)
	}
	c.asked.pings[tx] = askedPing{p.disco, time.Now(), answer}
	if way.Direct.IsValid() {
		if err := c.ping(p, path.Ping{To: way.Direct, TxID: tx}); err != nil && !way.Relay {
			delete(c.asked.pings, tx)
			return err
		}
	}
	if way.Relay {
		c.sendRelayedDisco(p, region, disco.Ping{TxID: tx, NodeKey: c.node})
	}
	return nil
}

// answered hands a user the pong to a ping of its own, and reports whether it
// was one.
func (a *asked) answered(p *peer, tx disco.TxID, pong Pong) bool {
	ping, ok := a.pings[tx]
	if !ok || ping.disco != p.disco {
		return false
	}
	delete(a.pings, tx)
	pong.Latency = time.Since(ping.sent)
	ping.answer <- pong
	return true
}

// Netcheck looks at the network anew and returns what is known then, within ten
// seconds. Without any relay to ask there is nothing to know, and it waits for
// ctx, whose error comes with what is known all the same.
func (c *Conn) Netcheck(ctx context.Context) (report netcheck.Report, err error) {
	answer := make(chan netcheck.Report, 1)
	c.do(func() {
		now := time.Now()
		c.asked.rounds = append(c.asked.rounds, askedRound{now, answer})
		c.underlay.check.Refresh(now)
		c.checked()
	})
	select {
	case report := <-answer:
		return report, nil
	case <-c.stopped:
		return netcheck.Report{}, net.ErrClosed
	case <-ctx.Done():
	}
	c.do(func() {
		report = c.underlay.check.Report()
		c.asked.drop(answer)
	})
	return report, ctx.Err()
}

// tellRounds hands the report to those who asked before the last round ended.
func (c *Conn) tellRounds() {
	if len(c.asked.rounds) == 0 {
		return
	}
	report := c.underlay.check.Report()
	waiting := c.asked.rounds[:0]
	for _, r := range c.asked.rounds {
		if report.At.Before(r.since) {
			waiting = append(waiting, r)
			continue
		}
		r.report <- report
	}
	clear(c.asked.rounds[len(waiting):])
	c.asked.rounds = waiting
}

func (a *asked) drop(report chan<- netcheck.Report) {
	for i, r := range a.rounds {
		if r.report == report {
			a.rounds = append(a.rounds[:i], a.rounds[i+1:]...)
			return
		}
	}
}
