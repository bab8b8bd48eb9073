package meshnet

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/meshnet-go/meshnet/internal/control"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// What the coordinator may have us ping: enough to see how a mesh hangs
// together, too little to flood a peer with.
const (
	maxAsked      = 4 // at once
	askedBurst    = 20
	askedInterval = 250 * time.Millisecond
)

// asked are the pings to peers that the coordinator asks for. It belongs to a
// session, whose goroutine calls its methods.
type asked struct {
	session *control.Session
	ctx     context.Context // ends with the session
	slots   chan struct{}   // holds one for each that is under way
	full    time.Time       // when all that was asked for will be earned
	running sync.WaitGroup
}

// startAsked returns one that sends nothing more when stop has returned.
func startAsked(ctx context.Context, session *control.Session) (a *asked, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	a = &asked{session: session, ctx: ctx, slots: make(chan struct{}, maxAsked)}
	return a, func() {
		cancel()
		a.running.Wait()
	}
}

// kindsOf returns the kinds of ping that are asked for and that there are, each
// once.
func kindsOf(p *tailcfg.PingRequest) (kinds []PingKind) {
	for _, kind := range []PingKind{PingDisco, PingTSMP, PingICMP} {
		for name := range strings.SplitSeq(p.Types, ",") {
			if name == kind.wire() {
				kinds = append(kinds, kind)
				break
			}
		}
	}
	return kinds
}

// wire returns the kind's name in the control protocol.
func (k PingKind) wire() string {
	if k == PingDisco {
		return string(k)
	}
	return strings.ToUpper(string(k))
}

// send has pings sent and answered, unless they are too many.
func (a *asked) send(n *node, p *tailcfg.PingRequest) {
	if p == nil {
		return
	}
	for _, kind := range kindsOf(p) {
		if !a.admit(time.Now()) {
			n.cfg.log.Debug("the coordinator asks for too many pings")
			return
		}
		a.running.Go(func() {
			defer func() { <-a.slots }()
			result, ok := n.pingFor(a.ctx, kind, p)
			if !ok {
				return // silence tells that there is none
			}
			if err := a.session.Answer(a.ctx, p, result); err != nil {
				n.cfg.log.Debug("telling the coordinator how a ping went", "err", err)
			}
		})
	}
}

// admit counts one more that is under way, or reports false.
func (a *asked) admit(now time.Time) bool {
	if a.full.Before(now) {
		a.full = now
	}
	if a.full.Sub(now) > (askedBurst-1)*askedInterval {
		return false
	}
	select {
	case a.slots <- struct{}{}:
		a.full = a.full.Add(askedInterval)
		return true
	default:
		return false
	}
}

// pingFor pings once for the coordinator. It reports false when no answer came.
func (n *node) pingFor(ctx context.Context, kind PingKind, p *tailcfg.PingRequest) (tailcfg.PingResponse, bool) {
	ctx, cancel := context.WithTimeout(ctx, pingExpiry)
	defer cancel()
	v, ip := n.view.load(), p.IP.Unmap()
	result := tailcfg.PingResponse{Type: kind.wire(), IP: ip.String()}
	if v.netMap == nil {
		return result, false
	}
	peer, ok := v.netMap.ByAddr(ip)
	switch {
	case !ok:
		result.Err = "no matching peer"
		return result, true
	case peer == v.netMap.Self:
		result.Err, result.IsLocalIP = "that is this node", true
		return result, true
	}
	result.NodeName, _, _ = strings.Cut(peer.Name, ".")
	if own := addrs(peer); len(own) > 0 {
		result.NodeIP = own[0].String()
	}
	err := n.measure(ctx, v, peer, ip, kind, &result)
	if ctx.Err() != nil {
		return result, false
	}
	if err != nil {
		result.Err = err.Error()
	}
	return result, true
}

// measure pings the peer, which has ip, and fills in what the answer says.
func (n *node) measure(ctx context.Context, v view, peer *tailcfg.Node, ip netip.Addr, kind PingKind, result *tailcfg.PingResponse) error {
	if kind != PingDisco {
		once, err := n.pinger(v, peer, ip, kind)
		if err != nil {
			return err
		}
		answer, err := once(ctx)
		if err != nil {
			return err
		}
		result.LatencySeconds = answer.Latency.Seconds()
		return nil
	}
	pong, err := n.magic.Ping(ctx, peer.Key)
	if err != nil {
		return err
	}
	result.LatencySeconds = pong.Latency.Seconds()
	if pong.Relay != 0 {
		result.DERPRegionID, result.DERPRegionCode = pong.Relay, relayPath(v.netMap, pong.Relay).Relay
	} else {
		result.Endpoint = pong.Direct.String()
	}
	return nil
}
