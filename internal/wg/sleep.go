package wg

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/meshnet-go/meshnet/key"
)

// A peer costs WireGuard two goroutines, some 20 KiB and an agreement on a key,
// and most peers of a large mesh never have anything for each other. So WireGuard
// knows those that are awake:
//
//	asleep ── a packet for it, or its initiation ──► awake
//	  ▲                                                │
//	  └─────── nothing for sleepAfter, twice ──────────┘
//
// By then all sessions have ended (WireGuard's REJECT_AFTER_TIME, 3 minutes), so
// that nothing is lost.

// sleepAfter is how often there is a look whether peers that are awake are in use.
const sleepAfter = 200 * time.Second

// peer is a Peer, of which WireGuard may know.
type peer struct {
	key key.NodePublic

	awake atomic.Bool // WireGuard knows it; written with Device.mu held
	used  atomic.Bool // since the last look

	// Guarded by Device.mu.
	settings
	wanted bool      // awake or about to be
	last   PeerStats // at the last look
	past   PeerStats // of the times when it was awake before
}

// wake tells WireGuard of a peer. It is called by whoever reads the packet that
// concerns it.
func (d *Device) wake(p *peer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || p.awake.Load() || d.peers[p.key] != p {
		return
	}
	p.wanted = true
	if err := d.change(); err != nil {
		d.log.Errorf("Waking a peer: %v", err)
		return
	}
	p.awake.Store(true) // not before, or its packets could find no peer
	if !d.looking {
		d.looking = true
		d.looks = time.AfterFunc(sleepAfter, d.look)
	}
}

// look puts to sleep who is not in use.
func (d *Device) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looking = false
	if d.closed {
		return
	}
	stats, err := d.awakeStats()
	if err != nil {
		d.log.Errorf("Looking who is in use: %v", err)
		return
	}
	slept := false
	for _, p := range d.peers {
		if !p.awake.Load() {
			continue
		}
		now := stats[p.key]
		if used := p.used.Swap(false); used || now != p.last {
			p.last, d.looking = now, true
			continue
		}
		p.past, p.last = p.past.plus(now), PeerStats{}
		p.wanted = false
		p.awake.Store(false) // before its packets can find no peer
		slept = true
	}
	if slept {
		if err := d.change(); err != nil {
			d.log.Errorf("Putting peers to sleep: %v", err)
		}
	}
	if d.looking {
		d.looks = time.AfterFunc(sleepAfter, d.look)
	}
}

// nobody stands for the peers that are asleep where one that is awake has a wider
// prefix, such as an exit node: else that could send in their name. Nothing is
// known of its private key.
var nobody = key.NodePublicFromRaw32([key.Size]byte{31: 0x40})

// nobodys are the prefixes of nobody.
func (d *Device) nobodys() (prefixes []netip.Prefix) {
	for prefix, p := range d.nested {
		if !p.wanted {
			prefixes = append(prefixes, prefix)
		}
	}
	return sorted(prefixes)
}

// A wakingTun is the device, where the packets for peers come from.
type wakingTun struct {
	tun.Device
	dev *Device

	// Of the one who reads: where the last packet went.
	table *table
	dst   netip.Addr
	to    *peer
}

func (t *wakingTun) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n, err := t.Device.Read(bufs, sizes, offset)
	if now := t.dev.table.Load(); now != t.table {
		t.table, t.dst, t.to = now, netip.Addr{}, nil
	}
	for i := range n {
		if dst := destination(bufs[i][offset : offset+sizes[i]]); dst != t.dst {
			t.dst, t.to = dst, nil
			if dst.IsValid() {
				t.to = t.table.owner(dst, dst.BitLen())
			}
		}
		if t.to != nil {
			t.dev.use(t.to)
		}
	}
	return n, err
}

// use notes that there is a packet for or from a peer.
func (d *Device) use(p *peer) {
	if !p.used.Load() {
		p.used.Store(true)
	}
	if !p.awake.Load() {
		d.wake(p)
	}
}

// A wakingBind is the bind, where the initiations of peers come from. Of those
// that are asleep WireGuard can understand nothing else.
type wakingBind struct {
	conn.Bind
	dev *Device
}

func (b wakingBind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	receivers, port, err := b.Bind.Open(port)
	for i, receive := range receivers {
		receivers[i] = func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
			n, err := receive(packets, sizes, eps)
			for i := range n {
				if sizes[i] == initiationSize && packets[i][0] == typeInitiation {
					b.wake(eps[i])
				}
			}
			return n, err
		}
	}
	return receivers, port, err
}

// Of the first message of a handshake (WireGuard's paper, section 5.4).
const (
	typeInitiation = 1
	initiationSize = 148
)

// wake wakes the peer whose key the bytes of an endpoint are.
func (b wakingBind) wake(ep conn.Endpoint) {
	raw := ep.DstToBytes()
	if len(raw) != key.Size {
		return
	}
	if p := b.dev.table.Load().byKey[key.NodePublicFromRaw32([key.Size]byte(raw))]; p != nil {
		b.dev.use(p)
	}
}

func (s PeerStats) plus(now PeerStats) PeerStats {
	if now.LastHandshake.IsZero() {
		now.LastHandshake = s.LastHandshake
	}
	now.RxBytes += s.RxBytes
	now.TxBytes += s.TxBytes
	return now
}

// awakeStats returns what WireGuard counts of those that are awake.
func (d *Device) awakeStats() (map[key.NodePublic]PeerStats, error) {
	text, err := d.dev.IpcGet()
	if err != nil {
		return nil, fmt.Errorf("reading WireGuard's counters: %w", err)
	}
	return parseStats(text), nil
}
