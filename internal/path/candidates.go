package path

import (
	"net/netip"
	"slices"
	"time"

	"github.com/meshnet-go/meshnet/internal/disco"
)

// source says who named a candidate. It may be several.
type source uint8

const (
	fromCoordinator source = 1 << iota
	fromCall
)

// Each source has its own room, so that none can push out what the others
// named: all together are about 100. A node has a dozen endpoints, and a machine
// full of container networks some thirty.
const (
	maxNamed   = 40 // by one source
	maxLearned = 20 // that answered or pinged us, and that nobody named
)

// silentTime is how long a learned candidate stays without a ping or pong.
const silentTime = activeTime

// candidate is an address where the peer may be.
type candidate struct {
	addr    netip.AddrPort
	sources source
	heard   time.Time // last ping or pong from there

	pinged     time.Time // last; zero: never since the network changed
	pingedBack time.Time // last, because it pinged us

	answered time.Time // last pong; zero: none, or the path failed since
	latency  time.Duration
}

// proven reports whether the candidate has answered lately enough to be trusted.
func (c *candidate) proven(now time.Time) bool {
	return !c.answered.IsZero() && now.Before(c.answered.Add(trustTime))
}

// forget forgets that there was a path to the candidate.
func (c *candidate) forget() { c.answered, c.latency = time.Time{}, 0 }

// candidates is a table without duplicates. It is short, and its order is that
// in which they are pinged.
type candidates []*candidate

func (cs candidates) find(addr netip.AddrPort) *candidate {
	for _, c := range cs {
		if c.addr == addr {
			return c
		}
	}
	return nil
}

func (cs *candidates) add(addr netip.AddrPort) *candidate {
	c := &candidate{addr: addr}
	*cs = append(*cs, c)
	return c
}

// replace makes addrs all that a source names, but for those that are useless
// or too many.
func (cs *candidates) replace(s source, addrs []netip.AddrPort) {
	for _, c := range *cs {
		c.sources &^= s
	}
	named := 0
	for _, addr := range addrs {
		addr = unmap(addr)
		if named == maxNamed {
			break
		}
		if !usable(addr) {
			continue
		}
		c := cs.find(addr)
		if c == nil {
			c = cs.add(addr)
		}
		if c.sources&s == 0 {
			c.sources |= s
			named++
		}
	}
}

// learn returns the candidate with an address that the peer was heard from, a
// new one if need be. Another one that was learned makes room, though not keep.
// It returns nil for a useless address.
func (cs *candidates) learn(addr netip.AddrPort, now time.Time, keep *candidate) *candidate {
	if c := cs.find(addr); c != nil || !usable(addr) {
		return c
	}
	cs.prune(now, keep)
	cs.limitLearned(maxLearned-1, keep)
	return cs.add(addr)
}

// prune drops candidates that no source names and that are silent or too many,
// except keep.
func (cs *candidates) prune(now time.Time, keep *candidate) {
	*cs = slices.DeleteFunc(*cs, func(c *candidate) bool {
		return c.sources == 0 && c != keep && now.Sub(c.heard) > silentTime
	})
	cs.limitLearned(maxLearned, keep)
}

// limitLearned leaves at most so many candidates that no source names, not
// counting keep.
func (cs *candidates) limitLearned(limit int, keep *candidate) {
	learned := 0
	for _, c := range *cs {
		if c.sources == 0 && c != keep {
			learned++
		}
	}
	for ; learned > limit; learned-- {
		worst := -1
		for i, c := range *cs {
			if c.sources == 0 && c != keep && (worst < 0 || c.lessUsefulThan((*cs)[worst])) {
				worst = i
			}
		}
		*cs = slices.Delete(*cs, worst, worst+1)
	}
}

// lessUsefulThan orders learned candidates: a path that answered is worth more
// than any number of addresses that somebody pinged us from.
func (c *candidate) lessUsefulThan(other *candidate) bool {
	if c.answered.IsZero() != other.answered.IsZero() {
		return c.answered.IsZero()
	}
	return c.heard.Before(other.heard)
}

// unmap writes IPv4 addresses in one way, so that they can be compared.
func unmap(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// usable reports whether an address can be one of a peer. Others tell us
// addresses, so none may make us send to many, to ourselves in disguise or
// to nowhere.
func usable(addr netip.AddrPort) bool {
	ip := addr.Addr()
	_, relay := disco.Region(addr)
	switch {
	case !ip.IsValid(), addr.Port() == 0, relay:
		return false
	case ip.IsUnspecified(), ip.IsMulticast(), ip == broadcast:
		return false
	case ip.Is6() && ip.IsLinkLocalUnicast() && ip.Zone() == "":
		return false // the system could not tell which link is meant
	}
	return true
}
