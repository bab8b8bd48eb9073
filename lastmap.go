package meshnet

import "time"

// A node that starts goes by the map of its last run until the coordinator has
// answered, or has refused it:
//
//	start ── the map of the last run, if it is good      goByLastMap
//	  ├─ first map of the stream: replaces it            handleMap
//	  ├─ refused, or a person must sign in: forgotten    forgetMap
//	  └─ too old, or our key has expired: out of force   dropLastMap
//
// Peers and relays are where they were, or else they are found when the
// coordinator tells; the packet filter is the one that was in force.

// goByLastMap puts the map of the last run into force.
func (n *node) goByLastMap() {
	if n.maps == nil || n.credentialChanged() { // what the node is, is to be decided anew
		return
	}
	now := time.Now()
	m, heard := n.loadMap(now)
	if m == nil {
		return
	}
	if err := n.apply(m, now); err != nil {
		n.cfg.log.Warn("the network map of the last run", "err", err)
		n.cutAllOff()
		return
	}
	n.cfg.log.Info("going by the network map of the last run", "heard", heard, "peers", len(m.Peers))
	n.view.update(func(v *view) {
		v.state, v.netMap, v.relay, v.heard = StateRunning, m, n.magic.Local(), heard
	})
	n.magic.PeersReady()
	n.becomeReady()
}

// dropLastMap puts the map of the last run out of force, if it still is in.
func (n *node) dropLastMap() {
	v := n.view.load()
	if v.heard.IsZero() {
		return
	}
	n.cutAllOff()
	n.view.update(func(v *view) {
		v.state, v.err, v.lost = StateStarting, v.lost, nil
		v.netMap, v.heard = nil, time.Time{}
	})
}

// keepMap has the map kept for the next run, while the coordinator stands by it.
func (n *node) keepMap() {
	v := n.view.load()
	if n.maps == nil || !v.live() || v.lost != nil {
		return
	}
	n.maps.keep(keptMap{savedMap: savedMap{
		Version:    savedMapVersion,
		ControlURL: n.cfg.controlURL.String(),
		ControlKey: n.server,
		NodeKey:    n.id.node.Public(),
		Heard:      time.Now(),
	}, m: v.netMap})
}

// forgetMap sees to it that the next run begins without a map, and this one goes
// on without that of the last: the coordinator no longer knows the node.
func (n *node) forgetMap() {
	n.dropLastMap()
	if n.maps != nil {
		n.maps.keep(keptMap{})
	}
}
