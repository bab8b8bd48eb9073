package path

import "net/netip"

// better reports whether path a should be used in place of b, which is in use.
// Points are the percentage by which one is faster than the other, and a bonus
// for the kind of address. A gain of one point is no gain: paths that are about
// equal must not take turns.
func better(a, b *candidate) bool {
	return points(a, b) > points(b, a)+1
}

func points(a, b *candidate) int {
	faster := 0
	if a.latency < b.latency {
		faster = int(100 - a.latency*100/b.latency)
	}
	return faster + bonus(a.addr.Addr())
}

// bonus prefers what is nearer by its kind, and costs nobody money, unless it
// is much slower; and IPv6, which has fewer boxes in its way.
func bonus(ip netip.Addr) (points int) {
	switch {
	case ip.IsLoopback():
		points = 50
	case ip.IsLinkLocalUnicast():
		points = 30
	case ip.IsPrivate():
		points = 20
	}
	if ip.Is6() {
		points += 10
	}
	return points
}
