// Package wg runs wireguard-go between a [conn.Bind] and a [tun.Device].
//
// Its configuration is Go values. They are compared with what WireGuard was
// told before, and only the difference reaches it, as text in WireGuard's
// configuration protocol (https://www.wireguard.com/xplatform/). It is told of a
// peer when there is something to exchange: see sleep.go.
//
// A peer's endpoint names the peer, not an address: the Bind's ParseEndpoint
// gets the hex digits of the node key, and knows where the peer is. WireGuard
// therefore never changes an endpoint by itself.
package wg

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/meshnet-go/meshnet/internal/psk"
	"github.com/meshnet-go/meshnet/key"
)

// Device is a running WireGuard device. Its methods may be called from any
// goroutine.
type Device struct {
	dev   *device.Device
	log   *device.Logger
	table atomic.Pointer[table] // of peers

	mu      sync.Mutex // held across changes, so that they happen one at a time
	closed  bool
	self    key.NodePublic // never a peer of itself
	peers   map[key.NodePublic]*peer
	nested  map[netip.Prefix]*peer // of table
	have    config                 // what dev was told
	looking bool
	looks   *time.Timer // when looking
}

// New starts WireGuard, without a key and without peers. The device owns tun
// and closes it; bind it opens and closes, perhaps more than once. A nil
// logger is silent.
func New(tun tun.Device, bind conn.Bind, logger *slog.Logger) (*Device, error) {
	d := &Device{log: newLogger(logger), have: make(config)}
	d.table.Store(newTable(nil))
	w := newWindows()
	d.dev = device.NewDevice(&wakingTun{Device: windowedTun{tun, w}, dev: d}, wakingBind{windowedBind{bind, w}, d}, d.log)
	d.dev.DisableSomeRoamingForBrokenMobileSemantics() // before there is a peer: endpoints stay what we set
	if err := d.dev.Up(); err != nil {
		d.dev.Close()
		return nil, fmt.Errorf("starting WireGuard: %w", err)
	}
	return d, nil
}

// SetPrivateKey makes k the key that peers know this node by. Sessions made
// under another key end; WireGuard makes new ones when there is traffic. A
// peer with this very key is dropped.
func (d *Device) SetPrivateKey(k key.NodePrivate) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.self = k.Public()
	if d.peers[d.self] != nil {
		delete(d.peers, d.self)
		d.tabulate()
	}
	if err := d.change(); err != nil {
		return err
	}
	return d.dev.SetPrivateKey(k.Raw32()) // not as text: no log or pool gets to hold it
}

// SetPeers makes peers all that there are. Sessions with peers that stay are
// kept, whatever becomes of their prefixes. A prefix belongs to one peer: of
// several that claim it, the first in the list gets it. A peer without a key
// and one with our own key are left out.
func (d *Device) SetPeers(peers []Peer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.settle(newConfig(peers, d.self)) {
		d.tabulate()
	}
	return d.change()
}

// Peers returns how many peers there are, whether they are awake or not.
func (d *Device) Peers() int { return len(d.table.Load().byKey) }

// settle makes the peers those of want, and reports whether anything is new.
func (d *Device) settle(want config) (changed bool) {
	next := make(map[key.NodePublic]*peer, len(want))
	for k, to := range want {
		p := d.peers[k]
		if p == nil {
			p, changed = &peer{key: k, settings: to}, true
		}
		if !slices.Equal(p.prefixes, to.prefixes) {
			p.prefixes, changed = to.prefixes, true
		}
		next[k] = p
	}
	changed = changed || len(next) != len(d.peers)
	d.peers = next
	return changed
}

// tabulate makes the peers known to those who look for them.
func (d *Device) tabulate() {
	t := newTable(d.peers)
	d.nested = t.nested()
	d.table.Store(t)
}

// SetPresharedKey makes k the preshared key of a peer for the handshakes to come,
// without any if it is zero. Sessions are kept. It is no error if there is no
// such peer.
func (d *Device) SetPresharedKey(peer key.NodePublic, k psk.Key) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return net.ErrClosed
	}
	p := d.peers[peer]
	if p == nil {
		return nil
	}
	p.preshared = k
	return d.change()
}

// change tells WireGuard the difference between what it has and what it is to
// have. The caller holds d.mu.
func (d *Device) change() error {
	if d.closed {
		return net.ErrClosed
	}
	want := make(config)
	for k, p := range d.peers {
		if p.wanted {
			want[k] = p.settings
		}
	}
	if len(d.nested) > 0 {
		want[nobody] = settings{prefixes: d.nobodys()}
	}
	text := diff(d.have, want)
	if text == "" {
		return nil
	}
	if err := d.dev.IpcSet(text); err != nil {
		// How much of it was done is not known; nothing is a known state.
		d.dev.RemoveAllPeers()
		for _, p := range d.peers {
			p.wanted = false
			p.awake.Store(false)
		}
		clear(d.have)
		return fmt.Errorf("configuring WireGuard: %w", err)
	}
	d.have = want
	return nil
}

// Close stops WireGuard and closes the tun device. Closing twice is allowed.
func (d *Device) Close() error {
	d.mu.Lock()
	d.closed = true
	if d.looks != nil {
		d.looks.Stop()
	}
	d.mu.Unlock() // for the readers, which Close waits for, and which may want to wake a peer
	d.dev.Close()
	return nil
}
