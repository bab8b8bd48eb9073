// Package wg runs wireguard-go between a [conn.Bind] and a [tun.Device].
//
// Its configuration is Go values. They are compared with what WireGuard was
// told before, and only the difference reaches it, as text in WireGuard's
// configuration protocol (https://www.wireguard.com/xplatform/).
//
// A peer's endpoint names the peer, not an address: the Bind's ParseEndpoint
// gets the hex digits of the node key, and knows where the peer is. WireGuard
// therefore never changes an endpoint by itself.
package wg

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/meshnet-go/meshnet/internal/psk"
	"github.com/meshnet-go/meshnet/key"
)

// Device is a running WireGuard device. Its methods may be called from any
// goroutine.
type Device struct {
	dev *device.Device

	mu     sync.Mutex // held across changes, so that they happen one at a time
	closed bool
	self   key.NodePublic // never a peer of itself
	have   config         // what dev was told
}

// New starts WireGuard, without a key and without peers. The device owns tun
// and closes it; bind it opens and closes, perhaps more than once. A nil
// logger is silent.
func New(tun tun.Device, bind conn.Bind, logger *slog.Logger) (*Device, error) {
	w := newWindow()
	dev := device.NewDevice(windowedTun{tun, w}, windowedBind{bind, w}, newLogger(logger))
	dev.DisableSomeRoamingForBrokenMobileSemantics() // before there is a peer: endpoints stay what we set
	if err := dev.Up(); err != nil {
		dev.Close()
		return nil, fmt.Errorf("starting WireGuard: %w", err)
	}
	return &Device{dev: dev}, nil
}

// SetPrivateKey makes k the key that peers know this node by. Sessions made
// under another key end; WireGuard makes new ones when there is traffic. A
// peer with this very key is dropped.
func (d *Device) SetPrivateKey(k key.NodePrivate) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.self = k.Public()
	if err := d.change(d.have.without(d.self)); err != nil {
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
	return d.change(newConfig(peers, d.self))
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
	var b strings.Builder
	line(&b, "public_key", peer.Hex())
	line(&b, "update_only", "true")
	line(&b, "preshared_key", hex.EncodeToString(k[:]))
	return d.dev.IpcSet(b.String())
}

// change tells WireGuard the difference between what it has and want. The
// caller holds d.mu.
func (d *Device) change(want config) error {
	if d.closed {
		return net.ErrClosed
	}
	text := diff(d.have, want)
	if text == "" {
		return nil
	}
	if err := d.dev.IpcSet(text); err != nil {
		// How much of it was done is not known; nothing is a known state.
		d.dev.RemoveAllPeers()
		d.have = nil
		return fmt.Errorf("configuring WireGuard: %w", err)
	}
	d.have = want
	return nil
}

// Close stops WireGuard and closes the tun device. Closing twice is allowed.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.dev.Close()
	return nil
}
