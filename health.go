package meshnet

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meshnet-go/meshnet/internal/cert"
	"github.com/meshnet-go/meshnet/internal/netmap"
	"github.com/meshnet-go/meshnet/internal/netstack"
)

const (
	// expirySoon is how long before its expiry a key is worth a word: a weekend
	// should not lie between.
	expirySoon = 72 * time.Hour
	// wrongClock is how far the host's clock may be from the coordinator's.
	// Certificates and keys expire by it.
	wrongClock = 2 * time.Minute
)

// health says what is wrong now, and what to do.
func (v view) health(now time.Time) (problems []string) {
	add := func(sentence string) {
		if sentence != "" {
			problems = append(problems, sentence)
		}
	}
	if v.state != StateRunning {
		add(v.notUp())
		return problems
	}
	add(v.unheard())
	add(v.relayHealth())
	add(v.udpHealth())
	add(v.expiryHealth(now))
	add(v.clockHealth())
	add(v.filterHealth())
	for _, sentence := range v.netMap.Health {
		add("The coordinator says: " + sentence)
	}
	return problems
}

// notUp says what a node waits for that is not in the mesh.
func (v view) notUp() string {
	switch {
	case v.state == StateNeedsLogin:
		return "The node is not in the mesh: sign in at " + v.authURL + "."
	case v.state == StateNeedsApproval:
		return "The node is not in the mesh: an admin must approve it."
	case v.state == StateLoggedOut:
		return "The node has logged out. Call Up to join the mesh again."
	case v.state == StateFailed:
		return fmt.Sprintf("The node is not in the mesh: %v. When that is mended, call Up.", v.err)
	case errors.As(v.err, new(*ControlURLError)):
		return fmt.Sprintf("The node is not in the mesh: %v. It is tried again.", v.err)
	case v.err != nil:
		return fmt.Sprintf("The coordinator cannot be reached, and is tried again: %v. Check ControlURL and the network.", v.err)
	}
	return ""
}

func (v view) unheard() string {
	switch {
	case v.lost == nil:
		return ""
	case !v.heard.IsZero():
		return fmt.Sprintf("The coordinator has not been heard since %s, and is tried again: %v. Peers are reached as they were known then, "+
			"until %s. Check the network and the coordinator.", v.heard.UTC().Format(time.RFC3339), v.lost, v.heard.Add(maxMapAge).UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("The coordinator is not heard, and is tried again: %v. Peers are reached as before, "+
		"but changes of the mesh are not known. Check the network and the coordinator.", v.lost)
}

func (v view) relayHealth() string {
	if v.relay.Connected || len(v.netMap.DERPMap.IDs()) == 0 {
		return ""
	}
	if v.relay.HomeDERP == 0 {
		return "No relay answers, so that peers cannot find this node. Allow outgoing TCP to port 443 of the relays."
	}
	return fmt.Sprintf("The home relay, %s, is not connected, so that peers cannot find this node. "+
		"Allow outgoing TCP to port 443 of the relays.", relayPath(v.netMap, v.relay.HomeDERP).Relay)
}

func (v view) udpHealth() string {
	if info := v.relay.NetInfo; hostHasUDP && info != nil && info.WorkingUDP != nil && !*info.WorkingUDP {
		return "UDP does not get out of this network, so that all packets go through relays. Allow outgoing UDP."
	}
	return ""
}

func (v view) expiryHealth(now time.Time) string {
	at := v.netMap.Expiry(v.netMap.Self)
	if at.IsZero() || at.Sub(now) > expirySoon {
		return ""
	}
	return fmt.Sprintf("The node's key expires at %s. Call Reauth, have an admin renew it, or set an AuthKey that admits the node again.",
		at.UTC().Format(time.RFC3339))
}

func (v view) clockHealth() string {
	delta := v.netMap.ClockDelta().Round(time.Second)
	switch {
	case delta > wrongClock:
		return fmt.Sprintf("The clock of this host is %v behind the coordinator's. Set it.", delta)
	case delta < -wrongClock:
		return fmt.Sprintf("The clock of this host is %v ahead of the coordinator's. Set it.", -delta)
	}
	return ""
}

func (v view) filterHealth() string {
	if v.netMap.FilterKnown {
		return ""
	}
	return "The coordinator has sent no packet filter, so that nothing is let in. Check the policy of the mesh."
}

// health says what is wrong with the routes that the user wants and offers.
func (r routes) health(m *netmap.Map) (problems []string) {
	if r.exitNode != "" {
		if why := r.exitProblem(m); why != "" {
			problems = append(problems, fmt.Sprintf("The exit node %s %s, so that the Internet is not reached. "+
				"Check the name in ExitNode, the mesh's policy, and whether the coordinator has approved that node as one.", r.exitNode, why))
		}
	}
	approved := r.approved(m.Self)
	var waiting []string
	for _, p := range r.advertise {
		if !slices.Contains(approved, p) {
			waiting = append(waiting, p.String())
		}
	}
	if len(waiting) > 0 {
		problems = append(problems, fmt.Sprintf("No peer may use what this node leads to: %s. Have the coordinator approve it.", strings.Join(waiting, ", ")))
	}
	return problems
}

// certificateHealth says why ListenTLS has no certificate, or not for long.
func (n *node) certificateHealth(now time.Time) []string {
	k := n.keeping.keeper.Load()
	if k == nil {
		return nil
	}
	switch h := k.held.load(); {
	case h.err == nil:
		return nil
	case cert.InForce(h.cert, now):
		return []string{fmt.Sprintf("The TLS certificate, which is good until %s, is not renewed: %v. It is tried again.",
			h.cert.Leaf.NotAfter.UTC().Format(time.RFC3339), h.err)}
	default:
		return []string{fmt.Sprintf("ListenTLS has no certificate: %v. It is tried again.", h.err)}
	}
}

// routeHealth adds whether anything takes what peers send through the node.
func (n *node) routeHealth(m *netmap.Map) []string {
	problems := n.cfg.routes.health(m)
	f := n.cfg.fallbacks
	taken := n.cfg.router != nil || n.cfg.tun != nil || f.has(netstack.NetworkTCP) || f.has(netstack.NetworkUDP)
	if len(n.cfg.routes.advertise) > 0 && !taken {
		problems = append(problems, "This node offers routes, but refuses what peers send there. Set Router, or register fallback handlers.")
	}
	return problems
}
