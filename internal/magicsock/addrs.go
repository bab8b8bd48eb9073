package magicsock

import (
	"net/netip"
	"slices"
	"sync"
)

// addrBook says which peer an address on the underlay is. The loop writes into
// it what disco has proven; receivers read.
type addrBook struct {
	mu    sync.RWMutex
	peers map[netip.AddrPort]*peer
}

// maxAddrs bounds the addresses of one peer; the oldest goes first. It is more
// than a path has candidates.
const maxAddrs = 128

// set says that an address is p's from now on, whoever had it before.
func (b *addrBook) set(addr netip.AddrPort, p *peer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.peers[addr]
	if before == p {
		return
	}
	if before != nil {
		before.addrs = slices.DeleteFunc(before.addrs, func(a netip.AddrPort) bool { return a == addr })
	}
	if b.peers == nil {
		b.peers = make(map[netip.AddrPort]*peer)
	}
	if len(p.addrs) == maxAddrs {
		delete(b.peers, p.addrs[0])
		p.addrs = slices.Delete(p.addrs, 0, 1)
	}
	p.addrs = append(p.addrs, addr)
	b.peers[addr] = p
}

// forget says that no address is p's any more.
func (b *addrBook) forget(p *peer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, addr := range p.addrs {
		delete(b.peers, addr)
	}
	p.addrs = nil
}
