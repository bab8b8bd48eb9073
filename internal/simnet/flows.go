package simnet

import (
	"net/netip"
	"time"
)

// flows remembers things until they expire. Its zero value is empty.
type flows[K comparable] struct {
	expires map[K]time.Duration
	sweepAt int // entries at which those that are over are looked for
}

const leastSweep = 64

// note remembers k.
func (f *flows[K]) note(now, expires time.Duration, k K) {
	if f.expires == nil {
		f.expires = make(map[K]time.Duration)
		f.sweepAt = leastSweep
	}
	f.expires[k] = expires
	if len(f.expires) < f.sweepAt {
		return
	}
	for k, expires := range f.expires {
		if expires <= now {
			delete(f.expires, k)
		}
	}
	f.sweepAt = max(leastSweep, 2*len(f.expires))
}

// alive says whether k is remembered.
func (f *flows[K]) alive(now time.Duration, k K) bool { return now < f.expires[k] }

// A firewall lets in what answers: packets from an address and port that the
// same inside address and port has sent to. It has no clock.
type firewall struct {
	timeout time.Duration
	sent    flows[firewallKey]
	open    map[firewallKey]time.Duration // on request; without remote, until when
}

type firewallKey struct {
	transport      transport
	inside, remote netip.AddrPort
}

func (f *firewall) outbound(now time.Duration, proto transport, inside, remote netip.AddrPort) {
	f.sent.note(now, now+f.timeout, firewallKey{proto, inside, remote})
}

func (f *firewall) inbound(now time.Duration, proto transport, remote, inside netip.AddrPort) bool {
	if now < f.open[firewallKey{transport: proto, inside: inside}] {
		return true
	}
	// A TCP packet here is a connection from outside.
	return proto == udp && f.sent.alive(now, firewallKey{proto, inside, remote})
}

// forward opens an inside port to everybody.
func (f *firewall) forward(expires time.Duration, proto transport, inside netip.AddrPort) {
	if f.open == nil {
		f.open = make(map[firewallKey]time.Duration)
	}
	f.open[firewallKey{transport: proto, inside: inside}] = expires
}

func (f *firewall) unforward(proto transport, inside netip.AddrPort) {
	delete(f.open, firewallKey{transport: proto, inside: inside})
}

// reset forgets everything.
func (f *firewall) reset() { *f = firewall{timeout: f.timeout} }
