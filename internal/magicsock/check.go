package magicsock

import (
	"context"
	"math"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/derp/derpmap"
	"github.com/meshnet-go/meshnet/internal/netcheck"
	"github.com/meshnet-go/meshnet/internal/stun"
	"github.com/meshnet-go/meshnet/internal/tailcfg"
)

// The loop drives a netcheck.State: it tells it what happened, sends the STUN
// requests that it wants, and takes over what it found out: our public
// addresses and the home region.

// underlay is what we know of the network underneath.
type underlay struct {
	host    Host
	derpMap *derpmap.Map
	regions map[int]bool // of derpMap, those with a relay
	home    int          // the region; 0 when none can be
	check   *netcheck.State
	alarm   alarm // of check
	report  netcheck.Report
	netInfo *tailcfg.NetInfo // of report
}

func newUnderlay() underlay {
	return underlay{check: netcheck.New(), alarm: newAlarm(), netInfo: new(tailcfg.NetInfo)}
}

// callers are who is to be called when our public addresses are known.
type callers struct {
	peers []*peer
	alarm alarm // for when they are not
}

// lookupTimeout bounds the look-up of a STUN server's name. A round of requests
// takes no longer.
const lookupTimeout = 3 * time.Second

// callPatience is how long a call-me-maybe waits for the public addresses that
// it is to name: longer than a STUN server takes, and less than what a person
// notices.
const callPatience = 250 * time.Millisecond

// staleAfter is the age of public addresses from which on they are asked for
// again before a peer is told of them: the least time that NATs keep a mapping.
const staleAfter = 27 * time.Second

// answer is what a STUN server said.
type answer struct {
	tx           stun.TxID
	from, mapped netip.AddrPort
}

// checked does what the state of the network wants done, after an event.
func (c *Conn) checked() {
	c.underlay.check.SetActive(len(c.schedule.byTime) > 0)
	if at := c.relays.Heard(c.underlay.home); !at.IsZero() {
		c.underlay.check.HandleFrame(at, c.underlay.home)
	}
	for {
		out := c.underlay.check.Tick(time.Now())
		c.carryOutCheck(out)
		if len(out.Probes) == 0 {
			break
		}
		// Some may have failed at once, and others are wanted in their place.
	}
	c.tellRounds()
	c.underlay.alarm.set(c.underlay.check.Deadline())
}

// carryOutCheck sends what the state of the network wants sent, and takes over
// what is news.
func (c *Conn) carryOutCheck(out netcheck.Output) {
	for _, p := range out.Probes {
		c.probe(p)
	}
	for _, p := range out.HTTPS {
		c.background.Go(func() { c.probeHTTPS(p) })
	}
	if out.Changed {
		c.underlay.report = c.underlay.check.Report()
		c.underlay.netInfo = c.underlay.report.NetInfo()
		c.setHome(c.underlay.report.Home)
		c.publish()
		c.routeAll()
	}
}

func (c *Conn) setHome(region int) {
	if region == c.underlay.home {
		return
	}
	c.log.Info("the home region changes", "from", c.underlay.home, "to", region)
	c.underlay.home = region
	c.relays.SetHome(region)
}

// relaysChanged tells the state of the network which relays are connected.
func (c *Conn) relaysChanged() {
	now := time.Now()
	for region := range c.underlay.regions {
		c.underlay.check.HandleRelay(now, region, c.relays.Connected(region))
	}
	c.checked()
	c.publish()
	c.routeAll()
}

// setNetwork says over what there may be UDP.
func (c *Conn) setNetwork() {
	has := func(is func(netip.Addr) bool) bool { return slices.ContainsFunc(c.underlay.host.Addrs, is) }
	c.underlay.check.SetNetwork(time.Now(), netcheck.Network{
		IPv4: c.sockets.v4 != nil && has(netip.Addr.Is4),
		IPv6: c.sockets.v6 != nil && has(netip.Addr.Is6),

		HasIPv6: c.sockets.v6 != nil,
	})
	c.checked()
}

// probe sends a STUN request, after it has found the server's address.
func (c *Conn) probe(p netcheck.Probe) {
	host, port := p.Server()
	if ip, err := netip.ParseAddr(host); err == nil {
		c.request(p, netip.AddrPortFrom(ip.Unmap(), port))
		return
	}
	c.background.Go(func() {
		ip, ok := c.lookup(host, p.IPv6)
		c.do(func() {
			if ok {
				c.request(p, netip.AddrPortFrom(ip, port))
			} else {
				c.underlay.check.HandleFailed(p.TxID)
			}
			c.checked()
		})
	})
}

// lookup finds an address of a STUN server, until the Conn is closed.
func (c *Conn) lookup(host string, ip6 bool) (netip.Addr, bool) {
	ctx, cancel := context.WithTimeout(c.ctx, lookupTimeout)
	defer cancel()
	network := "ip4"
	if ip6 {
		network = "ip6"
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
	if err != nil || len(found) == 0 {
		return netip.Addr{}, false
	}
	return found[0].Unmap(), true
}

// httpsTimeout is how long a State waits for the result of an HTTPSProbe.
const httpsTimeout = 5 * time.Second

// probeHTTPS measures how far a region is, for where UDP is blocked.
func (c *Conn) probeHTTPS(p netcheck.HTTPSProbe) {
	ctx, cancel := context.WithTimeout(c.ctx, httpsTimeout)
	defer cancel()
	latency, err := c.relays.ProbeLatency(ctx, p.Region)
	if err != nil {
		c.log.Debug("the latency of a relay cannot be measured", "region", p.Region, "err", err)
	}
	c.do(func() {
		c.underlay.check.HandleProbe(p, latency, err == nil)
		c.checked()
	})
}

func (c *Conn) request(p netcheck.Probe, to netip.AddrPort) {
	u := c.sockets.to(to.Addr())
	if u == nil || u.WriteBatch([][]byte{stun.AppendRequest(nil, p.TxID)}, to) != nil {
		c.underlay.check.HandleFailed(p.TxID)
		return
	}
	c.underlay.check.HandleSent(time.Now(), p.TxID, to)
}

// deliverAnswer hands the loop what a STUN server said, if the loop has time.
func (c *Conn) deliverAnswer(packet []byte, from netip.AddrPort) {
	tx, mapped, err := stun.ParseResponse(packet)
	if err != nil {
		return
	}
	select {
	case c.inbox.answers <- answer{tx, from, mapped}:
	default:
	}
}

func (c *Conn) handleAnswer(a answer) {
	c.underlay.check.HandleResponse(time.Now(), a.tx, a.from, a.mapped)
	c.checked()
}

// call asks a peer to ping our endpoints, as soon as these are known to be
// those of now.
func (c *Conn) call(p *peer) {
	now := time.Now()
	if !c.stale(now) {
		c.callMeMaybe(p)
		return
	}
	c.underlay.check.Refresh(now)
	c.checked()
	if len(c.callers.peers) == 0 {
		c.callers.alarm.Reset(callPatience)
	}
	if !slices.Contains(c.callers.peers, p) {
		c.callers.peers = append(c.callers.peers, p)
	}
}

// stale says whether our public addresses should be asked for before a peer is
// told of them.
func (c *Conn) stale(now time.Time) bool {
	r := c.underlay.check.Report()
	return r.UDP != netcheck.No && len(r.Endpoints) > 0 && now.Sub(newest(r.Endpoints)) > staleAfter
}

func newest(endpoints []netcheck.Endpoint) (seen time.Time) {
	for _, e := range endpoints {
		if e.Seen.After(seen) {
			seen = e.Seen
		}
	}
	return seen
}

// sendCalls sends the calls that have waited long enough.
func (c *Conn) sendCalls() {
	c.publish()
	for _, p := range c.callers.peers {
		if c.current(p) {
			c.callMeMaybe(p)
		}
	}
	c.callers.peers = nil
}

// regions returns the regions that have a relay, in order, and whose IDs fit
// where the protocols carry a region as a port.
func regions(m *derpmap.Map) []int {
	return slices.DeleteFunc(m.IDs(), func(id int) bool { return id < 1 || id > math.MaxUint16 })
}
